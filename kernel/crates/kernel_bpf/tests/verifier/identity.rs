//! Numbers that are copies of each other, or a constant apart: what is found out about one
//! holds for all.

use kernel_bpf::prog_type::ProgType;
use kernel_bpf::verifier::{Cause, VerifyOptions};

use crate::common::{accept, refuse, refuse_with};

/// Two numbers below 256, `r1` greater than `r0` by 4, and then `rest`.
fn apart(rest: &str) -> String {
    format!("call 7\n r0 &= 255\n r1 = r0\n r1 += 4\n {rest}\n out: r0 = 0\n exit")
}

#[test]
fn a_constant_apart_is_still_related() {
    // The division by zero is refused wherever the verifier gets.
    for rest in [
        "if r1 < 10 goto out\n if r0 >= 6 goto out\n r0 /= 0",
        "if r0 < 10 goto out\n if r1 >= 14 goto out\n r0 /= 0",
        "r2 = r0\n r2 += 8\n if r1 < 10 goto out\n if r2 >= 14 goto out\n r0 /= 0",
        "r2 = r1\n if r0 < 10 goto out\n if r2 >= 14 goto out\n r0 /= 0",
        "*(u64 *)(r10 - 8) = r1\n if r0 < 10 goto out\n r3 = *(u64 *)(r10 - 8)
         if r3 >= 14 goto out\n r0 /= 0",
        "if r1 == 9 goto yes\n goto out\n yes: if r0 == 5 goto out\n r0 /= 0",
    ] {
        accept(ProgType::SocketFilter, &apart(rest));
    }
    for rest in [
        // One too far.
        "if r1 < 10 goto out\n if r0 >= 7 goto out\n r0 /= 0",
        "if r0 < 10 goto out\n if r1 >= 15 goto out\n r0 /= 0",
        // No longer the same number.
        "r0 *= 2\n if r1 < 10 goto out\n if r0 >= 6 goto out\n r0 /= 0",
        "w1 += 1\n if r0 < 10 goto out\n if r1 >= 11 goto out\n r0 /= 0",
    ] {
        refuse(ProgType::SocketFilter, &apart(rest), Cause::BadInstruction);
    }
}

#[test]
fn sums_that_wrap_are_numbers_like_others() {
    // r1 = r0 + 4 is below 4 if r0 is one of the last four numbers.
    let text = "call 5\n r1 = r0\n r1 += 4\n if r1 >= 4 goto out\n r0 += 4\n if r0 <= 3 goto out
                r0 /= 0\n out: r0 = 0\n exit";
    accept(ProgType::SocketFilter, text);
    let text = "call 5\n r1 = r0\n r1 += 4\n if r1 >= 4 goto out\n if r0 > 3 goto wrapped
                r0 = 0\n exit\n wrapped: r0 /= 0\n out: r0 = 0\n exit";
    refuse(ProgType::SocketFilter, text, Cause::BadInstruction);
}

#[test]
fn paths_with_other_distances_are_not_the_same() {
    // Without regard to the distance the second path would seem covered by the first.
    let unsafe_on_one = "*(u64 *)(r10 - 8) = 0\n *(u64 *)(r10 - 16) = 0\n call 5\n r6 = r0
                r7 = r0\n call 7\n if r0 == 0 goto far\n r7 += 8\n goto both\n far: r7 += 100
                both: if r7 > 107 goto out\n if r7 < 100 goto out\n r1 = r10\n r1 += -8
                r1 += r6\n r0 = *(u8 *)(r1 + 0)\n out: r0 = 0\n exit";
    refuse(ProgType::SocketFilter, unsafe_on_one, Cause::OutOfBounds);
    // Whichever path is walked first.
    let (near, far) = ("r7 += 8", "r7 += 100");
    let other_order = unsafe_on_one.replace(far, "?").replace(near, far).replace("?", near);
    refuse(ProgType::SocketFilter, &other_order, Cause::OutOfBounds);
    let safe_on_both = unsafe_on_one.replace("r7 += 8", "r7 += 100");
    accept(ProgType::SocketFilter, &safe_on_both);
}

#[test]
fn unprivileged_loaders_get_no_distances() {
    let text = apart("if r1 < 10 goto out\n if r0 >= 6 goto out\n r0 /= 0");
    let options = VerifyOptions::cloud().for_unprivileged();
    refuse_with(ProgType::SocketFilter, 0, &text, Cause::BadInstruction, &options);
}

#[test]
fn every_program_that_sees_packets_may_ask_for_its_network() {
    for kind in [ProgType::SocketFilter, ProgType::CgroupSkb, ProgType::SchedCls] {
        accept(kind, "call 122\n r0 = 1\n exit");
    }
}
