//! Programs that look right as long as one of the verifier's shortcuts (pruning, identities, joins,
//! taking what is known for granted) is taken too far. Each of them was accepted once.

use kernel_bpf::prog_type::ProgType::{self, RawTracepoint as RawTp, SocketFilter, Xdp};
use kernel_bpf::verifier::{Cause, VerifyOptions};

use crate::common::{accept, refuse, refuse_with};

/// So many instructions and jumps, that states are kept of what comes next.
const FILL: &str = "goto +0\n goto +0\n r1 = 1\n r2 = 1\n r3 = 1\n r4 = 1\n r5 = 1\n r1 = 1\n";

/// As it is, and with a state kept wherever one may be.
fn refuse_both(kind: ProgType, text: &str, cause: Cause) {
    refuse(kind, text, cause);
    let options = VerifyOptions { every_state: true, ..VerifyOptions::cloud() };
    refuse_with(kind, 0, text, cause, &options);
}

/// `number` copies of a number, the last one compared, at a distance from the others; the first is
/// used as an index.
fn copies(number: usize, distance: i32) -> String {
    let (less, more) = if distance == 0 {
        (String::new(), String::new())
    } else {
        (format!("r0 -= {distance}\n"), format!("r{number} += {distance}\n"))
    };
    let all: String = (1..=number).map(|copy| format!("r{copy} = r0\n")).collect();
    format!(
        "r7 = map[6][0]+0 ll\n r0 = *(u64 *)(r7 + 0)\n {less}{all}{more} if r{number} > 15 goto out
         r7 += r0\n r0 = *(u8 *)(r7 + 0)\n out: r0 = 0\n exit"
    )
}

#[test]
fn many_copies_of_a_number_are_narrowed_as_far_apart_as_they_are() {
    for number in 1..=6 {
        accept(SocketFilter, &copies(number, 0));
        refuse_both(SocketFilter, &copies(number, 0x800_0000), Cause::OutOfBounds);
    }
}

#[test]
fn the_copy_that_is_compared_matters_among_many() {
    let text =
        "r9 = map[6][0]+0 ll\n r0 = *(u64 *)(r9 + 0)\n r8 = *(u64 *)(r9 + 8)\n r0 += 0x7000000
         r1 = r0\n r2 = r0\n r3 = r0\n r4 = r0\n r5 = r0\n if r8 == 0 goto b\n r6 = r0\n goto +0
         goto +0\n r7 = 1\n r7 = 1\n r7 = 1\n r7 = 1\n goto c\n b: r6 = 0\n goto c
         c: if r6 > 15 goto out\n r9 += r0\n r0 = *(u64 *)(r9 + 0)\n out: r0 = 1\n exit";
    refuse_both(SocketFilter, text, Cause::PointerArithmetic);
}

/// A path comes into a loop half-way, with another number in a register that the loop leaves alone
/// and what follows it uses.
#[test]
fn what_a_loop_leaves_alone_matters_behind_it() {
    let text = |other: &str| {
        format!(
            "r9 = map[6][0]+0 ll\n r6 = *(u64 *)(r9 + 0)\n if r6 == 0 goto two\n r6 = 0
             h: may_goto out\n r0 = 0\n {FILL} goto c\n c: r0 += 1\n goto h
             two: r6 = {other}\n r0 = 0\n goto c\n out: r9 += r6\n r0 = *(u64 *)(r9 + 0)\n exit"
        )
    };
    refuse_both(SocketFilter, &text("0x1ffffff0"), Cause::OutOfBounds);
    accept(SocketFilter, &text("8"));
}

/// Going on by a `may_goto` uses up rounds; leaving by it does not.
#[test]
fn a_way_back_that_uses_no_rounds_is_no_end() {
    refuse_both(Xdp, "l: may_goto n\n n: goto l", Cause::InfiniteLoop);
    let text = format!(
        "r1 = 0\n h: may_goto x\n r0 = 0\n {FILL} goto c\n c: r0 = 1\n goto h\n x: r0 = 0\n goto c"
    );
    refuse_both(Xdp, &text, Cause::InfiniteLoop);
}

#[test]
fn only_a_plain_lookup_by_a_constant_finds_something() {
    let text =
        "r1 = 0\n *(u32 *)(r10 - 4) = r1\n r1 = map[7] ll\n r2 = r10\n r2 += -4\n r3 = 100000
                call HELPER\n r0 = *(u64 *)(r0 + 0)\n exit";
    let helper = |name| text.replace("HELPER", name);
    refuse_both(Xdp, &helper("bpf_map_lookup_percpu_elem"), Cause::MayBeNull);
    accept(Xdp, &helper("bpf_map_lookup_elem"));
}

/// A callback puts another pointer into one of two places that were null together.
#[test]
fn places_that_callbacks_write_are_null_on_their_own() {
    let text = "r1 = -1\n *(u32 *)(r10 - 20) = r1\n r1 = map[0] ll\n r2 = r10\n r2 += -20\n call 1
         *(u64 *)(r10 - 8) = r0\n *(u64 *)(r10 - 16) = r0\n r1 = 1\n r2 = func cb ll\n r3 = r10
         r4 = 0\n call bpf_loop\n r1 = *(u64 *)(r10 - 8)\n if r1 == 0 goto out
         r2 = *(u64 *)(r10 - 16)\n r0 = *(u64 *)(r2 + 0)\n exit\n out: r0 = 0\n exit
         cb: r6 = r2\n *(u32 *)(r10 - 4) = 0\n r1 = map[0] ll\n r2 = r10\n r2 += -4\n call 1
         if r0 == 0 goto end\n *(u64 *)(r6 - 8) = r0\n end: r0 = 0\n exit";
    refuse_both(Xdp, text, Cause::MayBeNull);
}

/// The key of an inner walk is kept where the outer one's was, and used when the walk is over.
#[test]
fn keys_of_elements_are_there_for_their_round() {
    let text = "r1 = map[0] ll\n r2 = func cb1 ll\n r3 = 0\n r4 = 0\n call bpf_for_each_map_elem
         r0 = 0\n exit
         cb1: *(u64 *)(r10 - 8) = r2\n r1 = map[0] ll\n r2 = func cb2 ll\n r3 = r10\n r4 = 0
         call bpf_for_each_map_elem\n r1 = *(u64 *)(r10 - 8)\n r0 = *(u32 *)(r1 + 0)\n r0 &= 1\n exit
         cb2: KEEP\n r0 = 0\n exit";
    refuse_both(Xdp, &text.replace("KEEP", "*(u64 *)(r4 - 8) = r2"), Cause::NotAPointer);
    accept(Xdp, &text.replace("KEEP", "*(u64 *)(r4 - 16) = r2"));
}

#[test]
fn legacy_loads_take_the_whole_context() {
    let text = "r6 = r1\n r2 = *(u32 *)(r1 + 0)\n r2 &= MASK\n r6 += r2\n r0 = *(u8 *)skb[0]
                r0 = 0\n exit";
    refuse_both(SocketFilter, &text.replace("MASK", "0xff8"), Cause::BadArgument);
    accept(SocketFilter, &text.replace("MASK", "0"));
}

/// Null, and on a path that is pruned a number.
#[test]
fn numbers_that_are_null_for_a_helper_matter() {
    let ways = |reg: &str, call: &str| {
        format!(
            "r9 = r1\n call bpf_get_prandom_u32\n r8 = r0\n {reg} = 0\n if r8 > 100 goto two\n r0 = 1
             r0 = 1\n r0 = 1\n goto +0\n goto +0\n r0 = 1\n r0 = 1\n r0 = 1\n goto j
             two: {reg} = 0x1234567\n goto j\n j: {call}\n r0 = 0\n exit"
        )
    };
    let cookie = ways("r7", "r1 = r7\n call bpf_get_netns_cookie");
    refuse_both(ProgType::SchedCls, &cookie, Cause::BadArgument);
    let socket = ways("r7", "r1 = r9\n r2 = r7\n r3 = 0\n call bpf_sk_assign");
    refuse_both(ProgType::SchedCls, &socket, Cause::BadArgument);
    let storage = ways(
        "r7",
        "call bpf_get_current_task_btf\n r2 = r0\n r1 = map[8] ll\n r3 = r7\n r4 = 1
         call bpf_task_storage_get",
    );
    refuse_both(RawTp, &storage, Cause::BadArgument);
}

/// A bloom filter is asked for a value, which must be there.
#[test]
fn a_bloom_filter_reads_what_it_is_asked_for() {
    let text = "INIT r1 = map[9] ll\n r2 = r10\n r2 += -8\n call bpf_map_peek_elem\n r0 = 0\n exit";
    let options = VerifyOptions::cloud().for_unprivileged();
    let without = text.replace("INIT", "");
    refuse_with(SocketFilter, 0, &without, Cause::Uninitialised, &options);
    accept(SocketFilter, &text.replace("INIT", "*(u64 *)(r10 - 8) = 1\n"));
}
