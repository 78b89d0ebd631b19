//! Paths that meet: one that comes later is covered by an earlier one only if what the
//! earlier one relied on holds for it too. Each program here goes wrong on a path that a
//! careless comparison of states would leave out.

use kernel_bpf::prog_type::ProgType::SocketFilter;
use kernel_bpf::verifier::{Cause, VerifyOptions};

use crate::common::{accept, load, refuse, refuse_with};

/// Three random numbers in r6, r7 and r9, and 64 bytes at r8.
const PRELUDE: &str = "r8 = map[6][0]+0 ll
    call bpf_get_prandom_u32\n r6 = r0
    call bpf_get_prandom_u32\n r7 = r0
    call bpf_get_prandom_u32\n r9 = r0\n";

/// Far enough from the last kept state that another one is kept.
fn way(label: &str) -> String {
    format!("if r9 == 77 goto {label}\n r1 = 1\n {label}: {}", "r1 = 2\n".repeat(9))
}

/// A path on which the byte at r10 - 7 is written as zero, then one on which a number is
/// spilled there: zero when r7 is 1, otherwise `number`.
fn byte_of_a_spill(number: u32) -> String {
    format!(
        "{PRELUDE} if r6 == 1 goto spill
        *(u64 *)(r10 - 8) = -1\n *(u8 *)(r10 - 7) = 0\n {} goto use
        spill: r1 = {number}\n if r7 != 1 goto store\n r1 = 0
        store: *(u64 *)(r10 - 8) = r1\n {} r0 = 0
        use: r0 = *(u8 *)(r10 - 7)\n r8 += r0\n r0 = *(u8 *)(r8 + 40)\n r0 = 0\n exit",
        way("a"),
        way("b"),
    )
}

#[test]
fn a_spilled_zero_that_stood_for_zero_bytes_must_be_zero() {
    accept(SocketFilter, &byte_of_a_spill(0));
    refuse(SocketFilter, &byte_of_a_spill(0xff00), Cause::OutOfBounds);
}

/// A number that is compared with another, both of which have copies: the copy of the one is
/// bounded by the other. `bits` of the other are known on the path that comes later.
fn copies_on_both_sides(bits: u32) -> String {
    format!(
        "r8 = map[6][0]+0 ll\n r6 = r1\n call bpf_get_prandom_u32\n r2 = r0
        r2 &= {bits}\n r9 = r2\n call bpf_get_prandom_u32\n if r0 == 1 goto on
        call bpf_get_prandom_u32\n r9 = r0\n r9 &= 7
        on: call bpf_get_prandom_u32\n r1 = r0\n r2 = r9
        r3 = r1\n r4 = r2\n if r1 > r2 goto out
        r8 += r3\n r0 = *(u8 *)(r8 + 40)\n out: r0 = 0\n exit"
    )
}

#[test]
fn copies_on_both_sides_of_a_comparison_matter() {
    let options = VerifyOptions { every_state: true, ..VerifyOptions::cloud() };
    load(SocketFilter, 0, &copies_on_both_sides(15), &options).unwrap();
    let late = copies_on_both_sides(255);
    refuse_with(SocketFilter, 0, &late, Cause::OutOfBounds, &options);
}
