//! Rotations as compilers write them, two shifts and an or, in every order and with every
//! register as the result: with what is in between read later, and not.

use std::format;
use std::string::String;

use super::agree;

const VALUE: u64 = 0x8123_4567_89ab_cdef;

/// The two shifts, and the registers of their results.
fn shifts(r: &str, way: u32, one: &str, two: &str) -> (String, u32, u32) {
    let text = match way {
        0 => format!("{r}4 = {r}3\n {r}4 {one}\n {r}5 = {r}3\n {r}5 {two}\n"),
        1 => format!("{r}4 = {r}3\n {r}5 = {r}3\n {r}4 {one}\n {r}5 {two}\n"),
        2 => format!("{r}5 = {r}3\n {r}4 = {r}3\n {r}4 {one}\n {r}5 {two}\n"),
        _ => format!("{r}4 = {r}3\n {r}4 {one}\n {r}3 {two}\n"),
    };
    (text, 4, if way < 3 { 5 } else { 3 })
}

#[test]
fn shifts_that_are_a_rotation() {
    for (r, bits) in [("r", 64), ("w", 32)] {
        for left in [1, 13, bits - 1] {
            let expected = match bits {
                64 => VALUE.rotate_left(left),
                _ => u64::from((VALUE as u32).rotate_left(left)),
            };
            let (up, down) = (format!("<<= {left}"), format!(">>= {}", bits - left));
            for (one, two) in [(&up, &down), (&down, &up)] {
                for way in 0..4 {
                    let (shifts, first, second) = shifts(r, way, one, two);
                    for (to, from) in [(first, second), (second, first)] {
                        let begin = format!("r3 = {VALUE:#x} ll\n r5 = 0\n {shifts}");
                        let rotated = format!("{begin} {r}{to} |= {r}{from}\n");
                        assert_eq!(agree(&format!("{rotated} r0 = r{to}\n exit")), expected);
                        // With every register read, and as an operand.
                        agree(&format!(
                            "{rotated} r0 = r3\n r0 *= 3\n r0 += r4\n r0 *= 5\n r0 += r5\n exit"
                        ));
                        agree(&format!("{rotated} r2 = 77\n {r}2 ^= {r}{to}\n r0 = r2\n exit"));
                        // Amounts that are none.
                        let other = shifts.replace(&up, "<<= 7");
                        agree(&format!(
                            "r3 = {VALUE:#x} ll\n {other} {r}{to} |= {r}{from}\n r0 = r{to}\n exit"
                        ));
                    }
                }
            }
        }
    }
}

/// A shift and a mask, in either order, which some machines do at once: every mask of low bits.
#[test]
fn shifts_and_masks_of_low_bits() {
    for bits in 1..=31 {
        let mask = (1u64 << bits) - 1;
        for by in [1, 7, 31] {
            for r in ["r", "w"] {
                let value = if r == "r" { VALUE } else { VALUE & 0xffff_ffff };
                let begin = format!("r0 = {VALUE:#x} ll\n");
                let down = format!("{begin} {r}0 >>= {by}\n {r}0 &= {mask}\n exit");
                assert_eq!(agree(&down), value >> by & mask, "{down}");
                let up = format!("{begin} {r}0 &= {mask}\n {r}0 <<= {by}\n exit");
                let whole = (value & mask) << by;
                let whole = if r == "r" { whole } else { whole & 0xffff_ffff };
                assert_eq!(agree(&up), whole, "{up}");
            }
        }
    }
}
