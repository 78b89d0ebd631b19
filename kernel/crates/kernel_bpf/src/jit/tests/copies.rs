//! A copy and the arithmetic on it, which are lowered together: every operation, with the copy
//! itself and other registers as operands, in every width, and entered by jumps in between.

use std::format;
use std::vec::Vec;

use super::{agree, times};

const BEGIN: &str = "r3 = 0x81234567f9abcdef ll\n r2 = 0x123456780a0b0c0d ll\n";
const END: &str = "r0 = r4\n r0 *= 3\n r0 ^= r3\n exit";

const OPERATORS: [&str; 13] =
    ["+=", "-=", "*=", "/=", "s/=", "|=", "&=", "<<=", ">>=", "%=", "s%=", "^=", "s>>="];

#[test]
fn arithmetic_on_a_copy() {
    for operator in OPERATORS {
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
    let sum = ["r4 = r3", "r4 += r2", "r3 += 1", "r4 ^= r3"];
    // In one width but for one instruction.
    let mixed = [
        ["w4 = w3", "r4 <<= 13", "r3 >>= 51", "r4 |= r3"],
        ["r4 = r3", "w4 <<= 13", "r3 >>= 19", "w4 |= w3"],
        ["r4 = r3", "r4 <<= 13", "w3 >>= 51", "r4 |= r3"],
        ["r4 = r3", "r4 <<= 13", "r3 >>= 51", "w4 |= w3"],
        ["r4 = r3", "w4 <<= 13", "w3 >>= 19", "r4 |= r3"],
    ];
    // Amounts that add up, but shift by nothing, or by all and so by nothing.
    let nothing = [
        ["r4 = r3", "r4 <<= 0", "r3 >>= 64", "r4 |= r3"],
        ["r4 = r3", "r4 <<= 64", "r3 >>= 0", "r4 |= r3"],
    ];
    // With two copies, so that the value stays; and such as look like it.
    let longer = [
        ["r4 = r3", "r4 <<= 13", "r5 = r3", "r5 >>= 51", "r4 |= r5"],
        ["r5 = r3", "r5 >>= 51", "r4 = r3", "r4 <<= 13", "r4 |= r5"],
        ["w4 = w3", "w4 <<= 13", "r5 = r3", "w5 >>= 19", "w4 |= w5"],
        ["r4 = r3", "r4 <<= 13", "w5 = w3", "r5 >>= 51", "r4 |= r5"],
        ["w4 = w4", "w4 >>= 19", "w5 = w4", "w5 <<= 13", "w4 |= w5"],
        ["w3 = w3", "w3 >>= 19", "w4 = w3", "w4 <<= 13", "w4 |= w3"],
        ["r4 = r3", "r4 >>= 51", "r4 = r3", "r4 <<= 13", "r4 |= r4"],
        ["r4 = r3", "r4 >>= 51", "r5 = r2", "r5 <<= 13", "r4 |= r5"],
        ["r4 = r3", "r3 >>= 51", "r5 = r3", "r5 <<= 13", "r4 |= r5"],
        ["r4 = r3", "r5 <<= 13", "r5 = r3", "r4 >>= 51", "r4 |= r5"],
        ["r4 = r3", "r5 >>= 51", "r5 = r3", "r4 <<= 13", "r4 |= r5"],
    ];
    let short = [rotation, half, sum].into_iter().chain(mixed).chain(nothing);
    let sequences = short.map(Vec::from).chain(longer.map(Vec::from));
    for sequence in sequences {
        for entered in 0..=sequence.len() {
            for first in [0, 1] {
                let mut text = format!(
                    "{BEGIN} r4 = 0x55aa\n r5 = 0x9876543\n r1 = {first}\n if r1 == 0 goto l\n"
                );
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

/// The second operand is what the register of the result held before.
#[test]
fn arithmetic_with_the_old_value_of_the_result() {
    for operator in OPERATORS {
        for result in ["r", "w"] {
            for (copy, other) in [("r", "r"), ("r", "w"), ("w", "r"), ("w", "w")] {
                agree(&format!(
                    "{BEGIN} r4 = 0x1234567898765432 ll\n {other}5 = {other}4
                     {copy}4 = {copy}3\n {result}4 {operator} {result}5\n {END}"
                ));
            }
        }
    }
}

#[test]
fn sums_with_a_copy_of_the_frame_pointer() {
    for sum in ["r4 += r2", "r4 += -8", "r4 -= r2", "r4 -= 8"] {
        agree(&format!("r2 = -64\n r4 = r10\n {sum}\n r4 -= r10\n r0 = r4\n exit"));
    }
}

/// Half of it is a number, which no operation takes from it but a move.
#[test]
fn a_rotation_of_the_frame_pointers_half() {
    for (one, two) in [("<<= 13", ">>= 19"), (">>= 19", "<<= 13")] {
        let rotation = format!("w4 = w10\n w4 {one}\n w5 = w10\n w5 {two}\n w4 |= w5\n");
        let apart = format!("w3 = w10\n w6 = w3\n w3 {one}\n r0 = 0\n w6 {two}\n w3 |= w6\n");
        let result = agree(&format!("{rotation} {apart} r0 = r3\n r0 ^= r4\n exit"));
        assert_eq!(result, 0);
    }
}

/// Repeated code leads back to each of the instructions that have become one, and to no other.
#[test]
fn rotations_in_loops_that_are_repeated() {
    let rotation = "r4 = r3\n r4 <<= 13\n r3 >>= 51\n r3 |= r4\n r0 ^= r3\n";
    let unrolled =
        format!("{BEGIN} r0 = 1\n r1 = 0\n l: {rotation} r1 += 1\n if r1 != 64 goto l\n exit");
    agree(&unrolled);
    // The rotation's code belongs to its last instruction.
    assert_eq!(times(&unrolled, &[6, 7, 8, 9, 10, 11]), [0, 0, 0, 8, 8, 8]);
    let tail = format!(
        "{BEGIN} r0 = 1\n r1 = 0\n goto m\n l: r4 = r3\n r4 <<= 13\n r3 >>= 51\n r3 |= r4
         if r1 s> 40 goto e\n m: r1 += 3\n if r1 s> 20 goto n\n r0 ^= r3\n goto l
         n: r0 += r3\n r0 *= 5\n r1 += 2\n goto l\n e: exit"
    );
    agree(&tail);
    assert_eq!(times(&tail, &[7, 8, 9, 10, 11]), [0, 0, 0, 3, 3]);
}
