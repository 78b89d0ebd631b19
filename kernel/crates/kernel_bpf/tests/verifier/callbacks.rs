//! Callbacks: what holds between rounds, what they may do, and what they cost.

use kernel_bpf::prog_type::ProgType::{RawTracepoint as RawTp, SocketFilter, Tracepoint};
use kernel_bpf::verifier::{Cause, VerifyOptions};

use crate::common::{accept, refuse, refuse_with};

/// Counts to `rounds` in a variable on the stack, by the body given.
fn counting(rounds: &str, body: &str, after: &str) -> String {
    format!(
        "*(u64 *)(r10 - 8) = 0\n r1 = {rounds}\n r2 = func f ll\n r3 = r10\n r3 += -8\n r4 = 0\n \
         call bpf_loop\n {after}\n exit\n f: {body}"
    )
}

#[test]
fn loops_by_callback_converge() {
    let body = "r3 = *(u64 *)(r2 + 0)\n r3 += 1\n *(u64 *)(r2 + 0) = r3\n r0 = 0\n exit";
    let proof = accept(RawTp, &counting("1000", body, "r0 = 0"));
    assert!(proof.processed < 100, "{}", proof.processed);
    // 1000 rounds of five instructions and what a round costs, and the main program.
    assert!((13_000..14_000).contains(&proof.worst_case), "{}", proof.worst_case);
    let ten = accept(RawTp, &counting("10", body, "r0 = 0"));
    assert!((130..300).contains(&ten.worst_case), "{}", ten.worst_case);
    assert_eq!(proof.call_depth, 2);
    // What the callback counted is unknown afterwards.
    let index = "r1 = *(u64 *)(r10 - 8)\n r2 = map[6][0]+0 ll\n r2 += r1\n r0 = *(u8 *)(r2 + 0)";
    refuse(RawTp, &counting("1000", body, index), Cause::PointerArithmetic);
    let checked =
        format!("r1 = *(u64 *)(r10 - 8)\n r0 = 0\n if r1 > 63 goto out\n {index}\n out: r0 = 0");
    accept(RawTp, &counting("1000", body, &checked));
}

#[test]
fn few_rounds_are_walked_one_by_one() {
    // Each round writes the next byte: only round by round it is in bounds.
    let body = "r3 = *(u64 *)(r2 + 0)\n r4 = map[6][0]+0 ll\n r4 += r3\n *(u8 *)(r4 + 0) = 1\n r3 += 1\n *(u64 *)(r2 + 0) = r3\n r0 = 0\n exit";
    accept(RawTp, &counting("64", body, "r0 = 0"));
    let rejection = refuse(RawTp, &counting("65", body, "r0 = 0"), Cause::OutOfBounds);
    assert_eq!(rejection.disassembly.as_deref(), Some("*(u8 *)(r4 + 0) = 1"));
    assert!(rejection.register_state.is_some());
}

#[test]
fn the_index_is_below_the_number_of_rounds() {
    let body = "r3 = map[6][0]+0 ll\n r3 += r1\n *(u8 *)(r3 + 0) = 1\n r0 = 0\n exit";
    accept(RawTp, &counting("64", body, "r0 = 0"));
    refuse(RawTp, &counting("65", body, "r0 = 0"), Cause::OutOfBounds);
}

#[test]
fn callbacks_return_zero_or_one() {
    accept(RawTp, &counting("8", "r0 = 1\n exit", "r0 = 0"));
    refuse(RawTp, &counting("8", "r0 = 2\n exit", "r0 = 0"), Cause::ReturnValue);
    refuse(RawTp, &counting("8", "r0 = r1\n exit", "r0 = 0"), Cause::ReturnValue);
    // The value written before stopping is there afterwards, or the first one.
    let body = "*(u64 *)(r2 + 0) = 5\n r0 = 1\n exit";
    let index = "r1 = *(u64 *)(r10 - 8)\n r2 = map[6][0]+59 ll\n r2 += r1\n r0 = *(u8 *)(r2 - 1)";
    accept(RawTp, &counting("8", body, index));
    let index = index.replace("+59", "+60").replace("r2 - 1", "r2 + 0");
    refuse(RawTp, &counting("8", body, &index), Cause::OutOfBounds);
}

#[test]
fn a_callback_gives_back_what_it_takes() {
    let reserve =
        "r1 = map[2] ll\n r2 = 16\n r3 = 0\n call bpf_ringbuf_reserve\n if r0 == 0 goto l\n";
    let body = format!("{reserve} l: r0 = 0\n exit");
    refuse(RawTp, &counting("8", &body, "r0 = 0"), Cause::Reference);
    let body = format!("{reserve} r1 = r0\n r2 = 0\n call bpf_ringbuf_submit\n l: r0 = 0\n exit");
    accept(RawTp, &counting("8", &body, "r0 = 0"));
    // A record of the caller may not be given back in each round.
    let text = format!(
        "r1 = map[2] ll\n r2 = 16\n r3 = 0\n call bpf_ringbuf_reserve\n if r0 == 0 goto out\n \
         *(u64 *)(r10 - 8) = r0\n {}",
        counting(
            "8",
            "r1 = *(u64 *)(r2 + 0)\n r2 = 0\n call bpf_ringbuf_submit\n r0 = 0\n exit",
            "out: r0 = 0"
        )
        .trim_start_matches("*(u64 *)(r10 - 8) = 0\n")
    );
    refuse(RawTp, &text, Cause::Reference);
}

#[test]
fn elements_of_maps_are_visited() {
    let each = |map: u32, body: &str| {
        format!(
            "r1 = map[{map}] ll\n r2 = func f ll\n r3 = 0\n r4 = 0\n call bpf_for_each_map_elem\n r0 = 0\n exit\n f: {body}"
        )
    };
    let sum = "r5 = *(u32 *)(r2 + 0)\n *(u64 *)(r3 + 40) = r5\n r0 = 0\n exit";
    let proof = accept(RawTp, &each(0, sum));
    assert!((4 * 11..300).contains(&proof.worst_case), "{}", proof.worst_case);
    refuse(RawTp, &each(0, &sum.replace("r3 + 40", "r3 + 48")), Cause::OutOfBounds);
    refuse(RawTp, &each(0, "*(u32 *)(r2 + 0) = 1\n r0 = 0\n exit"), Cause::ReadOnly);
    refuse(RawTp, &each(0, "r0 = *(u64 *)(r2 + 0)\n r0 = 0\n exit"), Cause::OutOfBounds);
    refuse(RawTp, &each(2, sum), Cause::MapMismatch);
    // A lookup by the key that was given.
    accept(RawTp, &each(1, "call bpf_map_lookup_elem\n r0 = 0\n exit"));
}

#[test]
fn callbacks_are_functions_of_privileged_programs() {
    let options = VerifyOptions::cloud().for_unprivileged();
    let text = counting("8", "r0 = 0\n exit", "r0 = 0");
    refuse_with(SocketFilter, 0, &text, Cause::UnknownFunction, &options);
    refuse(
        RawTp,
        "r1 = 1\n r2 = 5\n r3 = 0\n r4 = 0\n call bpf_loop\n r0 = 0\n exit",
        Cause::BadArgument,
    );
    // Stack of the callback counts on top of its caller's.
    let deep = counting(
        "8",
        "*(u64 *)(r10 - 400) = 0\n r0 = 0\n exit",
        "*(u64 *)(r10 - 200) = 0\n r0 = 0",
    );
    refuse(Tracepoint, &deep, Cause::StackDepth);
    // Nested, and too deeply nested.
    let nested = "r1 = 3\n r2 = func g ll\n r3 = 0\n r4 = 0\n call bpf_loop\n r0 = 0\n exit\n g: r0 = 0\n exit";
    let proof = accept(RawTp, &counting("5", nested, "r0 = 0"));
    assert_eq!(proof.call_depth, 3);
    assert!(proof.worst_case >= 5 * (3 * 10 + 20), "{}", proof.worst_case);
    let own = "r1 = 3\n r2 = func f ll\n r3 = 0\n r4 = 0\n call bpf_loop\n r0 = 0\n exit";
    refuse(RawTp, &counting("5", own, "r0 = 0"), Cause::StackDepth);
    let tail = "r1 = r2\n r2 = map[5] ll\n r3 = 0\n call bpf_tail_call\n r0 = 0\n exit";
    let text =
        "r6 = r1\n r1 = 1\n r2 = func f ll\n r3 = 0\n r4 = 0\n call bpf_loop\n r0 = 0\n exit\n f: ";
    refuse(RawTp, &format!("{text}{tail}"), Cause::BadInstruction);
}

/// What a callback leaves on its caller's stack decides what a pruned path stands for.
#[test]
fn paths_through_a_callback_are_not_confused() {
    // One path writes 8, the other 70: both reach the same instruction.
    let body = "call bpf_get_prandom_u32\n r6 = r10\n if r0 == 7 goto a\n r3 = 8\n goto b\n a: r3 = 70\n b: *(u64 *)(r10 - 8) = r3\n r0 = 0\n exit";
    accept(RawTp, &counting("8", body, "r0 = 0"));
    let body = "r7 = r2\n call bpf_get_prandom_u32\n r3 = 8\n if r0 == 7 goto b\n r3 = 70\n b: *(u64 *)(r7 + 0) = r3\n r0 = 0\n exit";
    let index = "r1 = *(u64 *)(r10 - 8)\n r2 = map[6][0]+0 ll\n r2 += r1\n r0 = *(u8 *)(r2 + 0)";
    refuse(RawTp, &counting("1", body, index), Cause::OutOfBounds);
    accept(RawTp, &counting("1", &body.replace("70", "60"), index));
}

/// A callback stands on the stack of the function that had it called, not of the one that
/// named it.
#[test]
fn the_stack_of_a_callback_counts_where_it_runs() {
    let text = |depth: u32| {
        format!(
            "r1 = func cb ll\n call f\n r0 = 0\n exit
            f: *(u64 *)(r10 - {depth}) = 1\n r2 = r1\n r1 = 1\n r3 = 0\n r4 = 0
            call bpf_loop\n r0 = 0\n exit
            cb: *(u64 *)(r10 - {depth}) = 1\n r0 = 0\n exit"
        )
    };
    assert_eq!(accept(RawTp, &text(256)).stack_depth, 512);
    refuse(RawTp, &text(264), Cause::StackDepth);
}

#[test]
fn what_few_rounds_count_is_known_afterwards() {
    let body = "r3 = *(u64 *)(r2 + 0)\n r3 += 1\n *(u64 *)(r2 + 0) = r3\n r0 = 0\n exit";
    let index = "r1 = *(u64 *)(r10 - 8)\n r2 = map[6][0]+0 ll\n r2 += r1\n r0 = *(u8 *)(r2 + 0)";
    for rounds in ["1", "2", "4", "63"] {
        accept(RawTp, &counting(rounds, body, index));
    }
    refuse(RawTp, &counting("64", body, index), Cause::OutOfBounds);
    // Loops in loops take no more work than there is.
    let text = "*(u64 *)(r10 - 8) = 0\n r1 = 64\n r2 = func a ll\n r3 = r10\n r3 += -8\n r4 = 0
                call bpf_loop\n r0 = 0\n exit
                a: r6 = r2\n r1 = *(u64 *)(r6 + 0)\n r1 += 1\n *(u64 *)(r6 + 0) = r1\n r1 = 64
                r2 = func b ll\n r3 = r6\n r4 = 0\n call bpf_loop\n r0 = 0\n exit
                b: r6 = r2\n r1 = *(u64 *)(r6 + 0)\n r1 += 1\n *(u64 *)(r6 + 0) = r1\n r1 = 64
                r2 = func c ll\n r3 = r6\n r4 = 0\n call bpf_loop\n r0 = 0\n exit
                c: r1 = *(u64 *)(r2 + 0)\n r1 += 1\n *(u64 *)(r2 + 0) = r1\n r0 = 0\n exit";
    accept(RawTp, text);
}

#[test]
fn callbacks_may_loop_on_their_own() {
    let body = "r2 = 0\n l: may_goto out\n r2 += 1\n goto l\n out: r0 = 0\n exit";
    for rounds in ["1", "2", "100", "10000"] {
        let proof = accept(RawTp, &counting(rounds, body, "r0 = 0"));
        assert!(proof.processed < 1000, "{}", proof.processed);
    }
}
