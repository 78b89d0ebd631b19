//! Loops that the machine bounds: `may_goto`.

use kernel_bpf::prog_type::ProgType::RawTracepoint as RawTp;
use kernel_bpf::verifier::Cause;

use crate::common::{accept, refuse};

const ROUNDS: u64 = 8 << 20;

#[test]
fn may_goto_ends_any_loop() {
    // Without it this loop has no end.
    let text = "r6 = r1\n r0 = 0\n l: may_goto out\n r0 += 1\n goto l\n out: r0 = 0\n exit";
    let proof = accept(RawTp, text);
    assert!(proof.processed < 30, "{}", proof.processed);
    // Three instructions a round; before, behind, and the last `may_goto`.
    assert!((3 * ROUNDS..3 * ROUNDS + 20).contains(&proof.worst_case), "{}", proof.worst_case);
    let endless = text.replace("may_goto out", "if r6 == 0 goto out").replace("r0 += 1", "r0 = 0");
    refuse(RawTp, &endless, Cause::InfiniteLoop);
}

#[test]
fn what_holds_in_every_round_is_known() {
    // The index is checked in each round.
    let body = "r2 = map[6][0]+0 ll\n if r7 > 63 goto out\n r2 += r7\n *(u8 *)(r2 + 0) = 1\n";
    let text = |body: &str| {
        format!("r7 = 0\n l: may_goto out\n {body} r7 += 1\n goto l\n out: r0 = 0\n exit")
    };
    accept(RawTp, &text(body));
    refuse(RawTp, &text(&body.replace("if r7 > 63 goto out\n", "")), Cause::OutOfBounds);
    refuse(RawTp, &text(&body.replace("> 63", "> 64")), Cause::OutOfBounds);
    // What one round leaves behind, the next one may find: the value on the stack.
    let text = "*(u64 *)(r10 - 8) = 8\n l: may_goto out\n r1 = *(u64 *)(r10 - 8)\n r2 = map[6][0]+0 ll\n r2 += r1\n \
                *(u8 *)(r2 + 0) = 1\n *(u64 *)(r10 - 8) = 70\n goto l\n out: r0 = 0\n exit";
    refuse(RawTp, text, Cause::OutOfBounds);
    accept(RawTp, &text.replace("70", "60"));
}

#[test]
fn loops_may_be_nested_and_have_branches() {
    let text = "r6 = r1\n r7 = 0\n a: may_goto out\n r8 = 0\n b: may_goto c\n r1 = *(u64 *)(r6 + 0)\n \
                if r1 == 7 goto b\n r8 += 1\n goto b\n c: r7 += r8\n goto a\n out: r0 = 0\n exit";
    let proof = accept(RawTp, text);
    assert!(proof.processed < 200, "{}", proof.processed);
    // The inner loop's rounds count in each of the outer one's.
    assert!(proof.worst_case > 4 * ROUNDS * ROUNDS, "{}", proof.worst_case);
    // The outer one's rounds are counted in a register that the inner one leaves alone.
    let text = "r6 = 0\n a: may_goto out\n r7 = 0\n b: may_goto c\n r7 += 1\n goto b\n c: r6 += 1\n goto a\n \
                out: r0 = 0\n exit";
    let proof = accept(RawTp, text);
    assert!(proof.processed < 100, "{}", proof.processed);
    // What it has counted is not known where it is used.
    let used = "r2 = map[6][0]+0 ll\n r2 += r6\n *(u8 *)(r2 + 0) = 1";
    let use_at = |label: &str| text.replace(label, &format!("{label}\n {used}\n"));
    refuse(RawTp, &use_at("b: may_goto c"), Cause::OutOfBounds);
    refuse(RawTp, &use_at("c: r6 += 1"), Cause::OutOfBounds);
    refuse(RawTp, &use_at("r7 = 0"), Cause::OutOfBounds);
    accept(RawTp, &use_at("b: may_goto c").replace("r7 = 0", "r7 = 0\n if r6 > 63 goto out"));
    // A counted loop within.
    let text = "r7 = 0\n a: may_goto out\n r8 = 0\n b: r8 += 1\n if r8 < 10 goto b\n goto a\n out: r0 = 0\n exit";
    let proof = accept(RawTp, text);
    assert!((23 * ROUNDS..24 * ROUNDS).contains(&proof.worst_case), "{}", proof.worst_case);
    // A reference may not pile up.
    let text = "a: may_goto out\n r1 = map[2] ll\n r2 = 16\n r3 = 0\n call bpf_ringbuf_reserve\n goto a\n out: r0 = 0\n exit";
    refuse(RawTp, text, Cause::Reference);
}

#[test]
fn a_loop_at_the_beginning_goes_round_as_often() {
    let proof = accept(RawTp, "l: may_goto out\n r2 = 1\n r3 = 2\n goto l\n out: r0 = 0\n exit");
    assert!((4 * ROUNDS..4 * ROUNDS + 20).contains(&proof.worst_case), "{}", proof.worst_case);
    // Of a callback as well.
    let text = "r1 = 2\n r2 = func cb ll\n r3 = 0\n r4 = 0\n call bpf_loop\n r0 = 0\n exit
                cb: may_goto out\n r2 = 1\n goto cb\n out: r0 = 0\n exit";
    let proof = accept(RawTp, text);
    assert!(proof.worst_case > 2 * 3 * ROUNDS, "{}", proof.worst_case);
}

#[test]
fn what_one_way_through_a_callback_uses_up_bounds_no_loop() {
    // The other way the callback uses up nothing, and the loop goes on for ever.
    let text = "r2 = 0\n l: may_goto x\n goto l\n x: may_goto t\n goto out
                t: r1 = 1\n r2 = func cb ll\n r3 = 0\n r4 = 0\n call bpf_loop\n goto x
                out: r0 = 0\n exit
                cb: call bpf_get_prandom_u32\n if r0 != 0 goto a\n may_goto +0\n a: r0 = 1\n exit";
    refuse(RawTp, text, Cause::InfiniteLoop);
}
