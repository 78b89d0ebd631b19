//! A copy and the arithmetic on it, which are lowered together: every operation, with the copy
//! itself and other registers as operands, in every width, and entered by jumps in between.

use std::format;

use super::agree;

const BEGIN: &str = "r3 = 0x81234567f9abcdef ll\n r2 = 0x123456780a0b0c0d ll\n";
const END: &str = "r0 = r4\n r0 *= 3\n r0 ^= r3\n exit";

#[test]
fn arithmetic_on_a_copy() {
    let operators =
        ["+=", "-=", "*=", "/=", "s/=", "|=", "&=", "<<=", ">>=", "%=", "s%=", "^=", "s>>="];
    for operator in operators {
        for (copy, result) in [("r", "r"), ("r", "w"), ("w", "r"), ("w", "w")] {
            for operand in ["4", "3", "2"] {
                agree(&format!(
                    "{BEGIN} {copy}4 = {copy}3\n {result}4 {operator} {result}{operand}\n {END}"
                ));
            }
            for constant in ["0", "1", "-1", "255", "65535", "7", "16", "-2147483648"] {
                agree(&format!(
                    "{BEGIN} {copy}4 = {copy}3\n {result}4 {operator} {constant}\n {END}"
                ));
            }
        }
    }
}

/// The value that is copied is a sum, a copy, or a half itself.
#[test]
fn arithmetic_on_a_copy_of_what_is_known() {
    for known in
        ["r3 = r2\n", "w3 = w2\n", "r3 = r2\n r3 += 5\n", "r3 = r2\n r3 <<= 2\n", "r3 = 7\n"]
    {
        for second in
            ["r4 += 9", "w4 += 9", "r4 <<= 3", "r4 ^= r2", "w4 -= w3", "r4 &= 255", "r4 |= 0"]
        {
            agree(&format!("{BEGIN} {known} r4 = r3\n {second}\n r2 += r4\n r3 ^= r2\n {END}"));
        }
    }
}

#[test]
fn jumps_between_a_copy_and_what_is_computed_from_it() {
    let rotation = ["r4 = r3", "r4 <<= 13", "r3 >>= 51", "r4 |= r3"];
    let half = ["w4 = w3", "w4 <<= 13", "w3 >>= 19", "w4 |= w3"];
    let mixed = ["w4 = w3", "r4 <<= 13", "r3 >>= 51", "r4 |= r3"];
    let sum = ["r4 = r3", "r4 += r2", "r3 += 1", "r4 ^= r3"];
    for sequence in [rotation, half, mixed, sum] {
        for entered in 0..5 {
            for first in [0, 1] {
                let mut text = format!("{BEGIN} r4 = 0x55aa\n r1 = {first}\n if r1 == 0 goto l\n");
                for (at, insn) in sequence.iter().chain(&["r0 = r4"]).enumerate() {
                    let label = if at == entered { "l: " } else { "" };
                    text += &format!("{label}{insn}\n");
                }
                agree(&format!("{text} exit"));
            }
        }
    }
}

/// An address is a sum with a multiple of what its own register has held.
#[test]
fn a_sum_with_a_multiple_of_the_old_value() {
    for (shift, by) in [(1, 2), (2, 4), (3, 8)] {
        for sum in ["r4 = r5\n r4 += r2", "r4 = r2\n r4 += r5"] {
            agree(&format!(
                "r5 = r10\n r5 += -64\n *(u64 *)(r10 - 64) = 1\n *(u64 *)(r10 - 56) = 2
                 *(u64 *)(r10 - 48) = 3\n *(u64 *)(r10 - 40) = 4\n r4 = {}\n r2 = r4
                 r2 <<= {shift}\n {sum}\n r0 = *(u64 *)(r4 + 0)\n exit",
                16 / by,
            ));
        }
    }
}
