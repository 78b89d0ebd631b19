//! Results of 32 bits that are read in 64: below and above 2^31, through copies, around loops and
//! where ways meet.

use std::format;
use std::string::String;

use super::agree;

const BEGINNINGS: [&str; 6] = [
    "w2 = *(u8 *)(r1 + 3)",
    "w2 = *(u16 *)(r1 + 8)",
    "r2 = *(u32 *)(r1 + 12)",
    "r2 = *(u64 *)(r1 + 16)",
    "w2 = 0x7fffffff",
    "w2 = -2",
];

const OPERATIONS: [&str; 14] = [
    "w2 += 12",
    "w2 += w2",
    "w2 <<= 15",
    "w2 <<= 23",
    "w2 -= 300",
    "w2 *= 257",
    "w2 &= 0x7fffff00",
    "w2 |= -2147483648",
    "w2 ^= w3",
    "w2 s>>= 1",
    "w2 s/= 3",
    "w2 = -w2",
    "w3 = w2\n r2 = r3\n r2 += 5",
    "r2 &= 0xffff",
];

#[test]
fn upper_halves_are_what_they_should_be() {
    for begin in BEGINNINGS {
        for first in OPERATIONS {
            for second in OPERATIONS {
                let start = format!("w3 = *(u32 *)(r1 + 20)\n {begin}\n {first}\n");
                // Straight on, as an address's part, and compared.
                agree(&format!("{start} {second}\n r0 = r2\n r0 += r3\n exit"));
                agree(&format!(
                    "{start} {second}\n r2 >>= 31\n r2 += r1\n r0 = r2\n r0 -= r1\n exit"
                ));
                agree(&format!(
                    "{start} if w2 s< w3 goto +3\n {second}\n r0 = r2\n exit\n r0 = 7\n exit"
                ));
                // Where two ways meet, and around a loop.
                agree(&format!(
                    "{start} if r3 s> 5 goto other\n {second}\n other: w2 ^= 3\n r0 = r2\n exit"
                ));
                agree(&format!(
                    "{start} r4 = 0\n loop: {second}\n w2 ^= w3\n r4 += 1\n if r4 != 5 goto loop
                     r0 = r2\n exit"
                ));
            }
        }
    }
}

/// Blocks in reverse, each of which leads to the one before it: more ways backwards than are
/// followed to find out what is zero or read.
#[test]
fn many_ways_backwards() {
    for blocks in [3, 22, 23, 24, 25, 26, 60] {
        let ways: String = (1..=blocks).map(|n| format!("b{n}: goto b{}\n ", n - 1)).collect();
        for first in ["w2 = w1", "r2 = r1\n w2 |= 1", "if w1 < 5 goto +1\n w2 = w1"] {
            agree(&format!(
                "r1 = 0x1122334455667788 ll\n r2 = r1\n goto b{blocks}
                 b0: {first}\n r2 >>= 32\n r0 = r1\n r0 += r2\n exit
                 {ways}"
            ));
        }
    }
}

/// Half of the frame pointer is a number like any other, the rest of its register is zero.
#[test]
fn half_of_the_frame_pointer_is_a_number() {
    for text in [
        "w2 = w10\n r0 = r2\n r0 >>= 32\n exit",
        "w2 = w10\n w3 = w2\n r0 = r3\n r0 >>= 32\n exit",
        "w2 = w10\n r3 = r10\n w3 ^= w2\n r0 = r3\n exit",
        "w2 = w10\n w3 = 5\n w3 += w2\n w3 -= w2\n r0 = r3\n exit",
        "w2 = w10\n w3 = 5\n w3 &= w2\n w3 &= 3\n r0 = r3\n exit",
        "w2 = w10\n if w2 == w10 goto +2\n r0 = 1\n exit\n r0 = 2\n exit",
        "w2 = w10\n if w2 == 5 goto +2\n r0 = 1\n exit\n r0 = 2\n exit",
        "if r10 == 5 goto +2\n r0 = 1\n exit\n r0 = 2\n exit",
        // A division needs registers of its own.
        "r0 = 7\n w2 = w10\n r3 = 100\n r3 /= 7\n w4 = w2\n w5 = w10\n w4 ^= w5\n r0 += r4\n exit",
    ] {
        agree(text);
    }
}

/// A stack slot of four bytes that lives in a register has no upper half, also where the program
/// has not written it and something else is there.
#[test]
fn half_a_slot_that_was_never_written() {
    for loops in [0, 3] {
        assert_eq!(
            agree(&format!(
                "r4 = {loops}\n l: r0 = *(u32 *)(r10 - 8)\n *(u32 *)(r10 - 8) = 7
                 r3 = *(u32 *)(r10 - 8)\n r0 >>= 32\n r4 -= 1\n if r4 s> 0 goto l\n exit"
            )),
            0
        );
    }
}
