//! Branches over one move, which become moves under a condition: every condition and kind of
//! operand, on values around the bounds, with the registers the same and different.

use std::format;
use std::string::String;

use super::{agree, times};

const VALUES: [u64; 6] = [0, 1, 0x7fff_ffff, 0x8000_0000, u64::MAX, 0x8000_0000_0000_0000];
const CONDITIONS: [&str; 11] = ["==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&"];

fn holds(condition: &str, wide: bool, a: u64, b: u64) -> bool {
    let (a, b) = if wide { (a, b) } else { (u64::from(a as u32), u64::from(b as u32)) };
    let sign = |value: u64| if wide { value as i64 } else { i64::from(value as i32) };
    match condition {
        "==" => a == b,
        "!=" => a != b,
        ">" => a > b,
        ">=" => a >= b,
        "<" => a < b,
        "<=" => a <= b,
        "s>" => sign(a) > sign(b),
        "s>=" => sign(a) >= sign(b),
        "s<" => sign(a) < sign(b),
        "s<=" => sign(a) <= sign(b),
        _ => a & b != 0,
    }
}

#[test]
fn every_condition_and_operand() {
    for condition in CONDITIONS {
        for (r, wide) in [("r", true), ("w", false)] {
            for a in VALUES {
                for b in VALUES {
                    let text = format!(
                        "r2 = {a:#x} ll\n r3 = {b:#x} ll\n r4 = 5\n r5 = 0x1234567890abcdef ll
                         if {r}2 {condition} {r}3 goto +1\n r4 = r5\n r0 = r4\n exit"
                    );
                    let holds = holds(condition, wide, a, b);
                    let expected = if holds { 5 } else { 0x1234_5678_90ab_cdef };
                    assert_eq!(agree(&text), expected, "{text}");
                }
                for b in [0, 1, -1, 127, -128, 128, i32::MAX, i32::MIN] {
                    let text = format!(
                        "r2 = {a:#x} ll\n r4 = 5\n if {r}2 {condition} {b} goto +1\n r4 = -3
                         r0 = r4\n exit"
                    );
                    let holds = holds(condition, wide, a, i64::from(b) as u64);
                    assert_eq!(agree(&text), if holds { 5 } else { -3i64 as u64 }, "{text}");
                }
            }
        }
    }
}

/// A comparison with zero and another of the same register at once: what the first one leaves
/// behind may not be taken for the second one's answer.
#[test]
fn one_comparison_with_zero_after_another() {
    for first in CONDITIONS {
        for second in CONDITIONS {
            for (r, wide) in [("r", true), ("w", false)] {
                for a in VALUES {
                    let before = [
                        format!("if {r}2 {first} 0 goto +5"),
                        format!("r4 = 5\n if {r}2 {first} 0 goto +1\n r4 = r3"),
                    ];
                    for before in before {
                        let text = format!(
                            "r0 = 0\n r2 = {a:#x} ll\n r3 = 9\n {before}
                             if {r}2 {second} 0 goto +2\n r0 += 1\n exit\n r0 += 2\n exit
                             r0 += 4\n exit"
                        );
                        let leaves = before.starts_with("if") && holds(first, wide, a, 0);
                        let expected = match (leaves, holds(second, wide, a, 0)) {
                            (true, _) => 4,
                            (false, true) => 2,
                            (false, false) => 1,
                        };
                        assert_eq!(agree(&text), expected, "{text}");
                    }
                }
            }
        }
    }
}

/// What the two moves are, and with what the register that they choose is compared.
#[test]
fn every_kind_of_move() {
    let wide = "0x8877665544332211 ll";
    let befores = ["r4 = 7", "w4 = w2", "r4 = r2", "r4 = r1\n r4 = *(u8 *)(r4 + 1)"];
    let moves = ["r4 = 0", "r4 = 1", "r4 = -1", "w4 = -1", "w4 = 9", "r4 = r3", "w4 = w3"];
    for before in befores {
        for chosen in moves {
            for test in ["r2 == 0", "w2 != 0", "r4 > 6", "w4 s< w3", "r3 == r4", "r4 & 1"] {
                for behind in ["", "goto +1\n r4 = 77\n", "goto +2\n r4 = 77\n r4 += r2\n"] {
                    let over = if behind.is_empty() { 1 } else { behind.matches('\n').count() + 1 };
                    let text: String = format!(
                        "r2 = {wide}\n r3 = 0xfedcba9876543210 ll\n {before}
                         if {test} goto +{over}\n {chosen}\n {behind} r0 = r4\n r0 *= 3
                         r0 += r2\n exit"
                    );
                    agree(&text);
                }
            }
        }
    }
}

/// The move is a target of its own, or the branch leads elsewhere: no selection.
#[test]
fn what_only_looks_like_one() {
    for first in [0, 1] {
        agree(&format!(
            "r2 = {first}\n r4 = 1\n if r2 == 1 goto +1\n if r4 == 1 goto +1\n r4 = 9
             r0 = r4\n exit"
        ));
        agree(&format!(
            "r2 = {first}\n r4 = 1\n if r2 == 0 goto +2\n r4 = 9\n r4 += 5\n r0 = r4\n exit"
        ));
        // In a loop; with the target of the selection that of the loop's branch too.
        for back in [-5, -3] {
            agree(&format!(
                "r0 = 0\n r2 = {first}\n r4 = 3\n if r2 == 5 goto +1\n r4 = r2\n r0 += r4
                 r2 += 1\n if r2 s< 9 goto {back}\n exit"
            ));
        }
    }
}

/// The branch of a selection leads to the loop behind it no more: its rounds stand several times.
#[test]
fn a_loop_behind_a_selection() {
    let text = "r0 = 0\n r3 = 9\n r2 = 8\n if r1 == 0 goto +1\n r3 = 5
                r0 += r3\n r2 -= 1\n if r2 != 0 goto -3\n exit";
    assert_eq!(agree(text), 40);
    assert_eq!(times(text, &[5, 6, 7]), [8, 8, 1]);
}

/// More selections lead to one slot than are counted: it stays a target.
#[test]
fn more_selections_than_are_counted() {
    for chosen in [0, 254, 255, 299, 300] {
        let each = |number: usize| {
            format!("if r2 != {number} goto +3\n if r3 == 0 goto x\n r4 = {number}\n goto x\n")
        };
        let all: String = (0..300).map(each).collect();
        for third in [0, 1] {
            let text = format!(
                "r3 = {third}\n r4 = 7\n r2 = {chosen}\n {all} r4 = 1000\n x: r0 = r4\n exit"
            );
            let expected = if chosen == 300 {
                1000
            } else if third == 0 {
                7
            } else {
                chosen
            };
            assert_eq!(agree(&text), expected, "{chosen} {third}");
        }
    }
}
