//! Sums and shifts that become part of the address of an access, with the register that held the
//! sum read later and not; constants that loops load.

use std::format;
use std::string::String;

use super::agree;

/// What computes an address in r2, out of the memory's at r1 and numbers in r3 and r4.
const ADDRESSES: [&str; 9] = [
    "r2 += r3",
    "r2 += 5",
    "r2 += r3\n r2 += 3",
    "r2 += 4\n r2 += r4",
    "r4 <<= 2\n r2 += r4",
    "r4 <<= 3\n r4 += r2\n r2 = r4\n r4 = 3",
    "r5 = r2\n r5 += r3\n r2 = r5\n r2 += 1",
    "r2 += r3\n r2 += r4",
    "r5 = r4\n r5 <<= 1\n r2 += r5\n r2 -= 2",
];

#[test]
fn accesses_of_sums() {
    for address in ADDRESSES {
        for size in ["u8", "u16", "u32", "u64"] {
            for offset in [0, 2, 16] {
                let begin = format!("r2 = r1\n r3 = 7\n r4 = 3\n {address}\n");
                let at = format!("*({size} *)(r2 + {offset})");
                for (access, result) in [
                    (format!("r2 = {at}"), "r0 = r2"),
                    (format!("r0 = {at}"), "r0 ^= 1"),
                    (format!("r0 = {at}"), "r2 -= r1\n r0 += r2\n r0 += r4"),
                    (format!("r4 = {at}"), "r0 = r4\n r0 += r3"),
                    (format!("{at} = r3"), "r0 = 0"),
                    (format!("{at} = r4"), "r0 = r4"),
                    (format!("{at} = 77"), "r0 = r2\n r0 -= r1"),
                    (format!("r0 = r2\n r2 -= r1\n *({size} *)(r0 + {offset}) = r2"), "r0 = r2"),
                ] {
                    agree(&format!("{begin} {access}\n {result}\n exit"));
                }
            }
        }
    }
}

/// A sum that is stored where it points to.
#[test]
fn a_sum_as_address_and_value() {
    agree(
        "r2 = r1\n r3 = 8\n r2 += r3\n *(u64 *)(r2 + 0) = r2\n r0 = *(u64 *)(r1 + 8)
         r0 -= r1\n r2 = 0\n *(u64 *)(r1 + 8) = r2\n exit",
    );
}

#[test]
fn constants_in_loops() {
    let constants = [0x8000_0000u64, 0xffff_ffff_0000_0000, 0x0123_4567_89ab_cdef, u64::MAX >> 1];
    for count in 1..=4 {
        let mut body = String::from("r0 = 0\n r2 = 0\n r9 = 1\n loop: r2 += 1\n");
        for constant in &constants[..count] {
            body += &format!("r3 = {constant:#x} ll\n r3 += r2\n r0 ^= r3\n r0 *= 31\n");
        }
        // The same constant again, changed; and on the stack, which wants registers too.
        body += &format!("r4 = {:#x} ll\n r4 <<= 1\n r0 += r4\n", constants[0]);
        for spilled in ["", "*(u64 *)(r10 - 8) = r0\n r5 = *(u64 *)(r10 - 8)\n r0 += r5\n"] {
            agree(&format!("{body} {spilled} if r2 != 7 goto loop\n r0 += r9\n exit"));
        }
    }
}
