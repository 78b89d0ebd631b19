//! Loops whose number of rounds is known: the result is that of each round, and each repetition
//! belongs to its instructions.

use std::format;
use std::vec::Vec;

use super::{agree, times};

#[test]
fn every_number_of_rounds() {
    for rounds in 1..=33u64 {
        for (start, step) in [(0, 1), (0, 3), (-7, 5), (40, -1), (1 << 40, -(1 << 20)), (-9, -2)] {
            let end = start + step * rounds as i64;
            let Ok(end) = i32::try_from(end) else { continue };
            let text = format!(
                "r0 = 0\n r2 = {start} ll\n r0 *= 3\n r0 += r2\n r2 += {step}
                 if r2 != {end} goto -4\n exit"
            );
            let mut expected = 0u64;
            for round in 0..rounds {
                let counter = start + step * round as i64;
                expected = expected.wrapping_mul(3).wrapping_add(counter as u64);
            }
            assert_eq!(agree(&text), expected, "{text}");
            let repeated = [8, 4, 2, 1].into_iter().find(|by| rounds.is_multiple_of(*by)).unwrap();
            let repeated = repeated as usize;
            assert_eq!(times(&text, &[3, 4, 5, 6, 7]), [repeated, repeated, repeated, 1, 1]);
        }
    }
}

#[test]
fn counters_of_32_bits() {
    for (start, step, end, rounds) in [
        (0u32, 1, 16, 16u64),
        (16, -1, 0, 16),
        (0xffff_fff0, 1, -1, 15),
        (0xffff_ff00, 16, -32, 14),
        // Round the end of the numbers: left as it is.
        (0xffff_fff8, 1, 0, 8),
        (4, -1, -4, 8),
    ] {
        let text = format!(
            "r0 = 0\n w2 = {}\n r0 *= 5\n r0 += r2\n w2 += {step}\n if w2 != {end} goto -4\n exit",
            start as i32
        );
        let mut expected = 0u64;
        for round in 0..rounds {
            let counter = start.wrapping_add((step as u32).wrapping_mul(round as u32));
            expected = expected.wrapping_mul(5).wrapping_add(u64::from(counter));
        }
        assert_eq!(agree(&text), expected, "{text}");
    }
}

#[test]
fn memory_in_each_round() {
    let text = "r0 = 0\n r2 = 0\n r3 = r1
                r4 = *(u8 *)(r3 + 0)\n r0 += r4\n *(u8 *)(r3 + 32) = r0\n r4 = r0\n r4 <<= 1
                lock *(u64 *)(r1 + 56) += r4\n r3 += 1\n r2 += 1\n if r2 != 24 goto -9\n exit";
    agree(text);
    assert_eq!(times(text, &[3, 5, 8]), [4, 4, 4]);
}

/// A body that ends with what has no code: the branch behind it keeps its place.
#[test]
fn a_last_operation_without_code() {
    let text = "r0 = 0\n r2 = 8\n r0 += 1\n r2 -= 1\n r3 = 7\n if r2 != 0 goto -4\n exit";
    agree(text);
    assert_eq!(times(text, &[2, 3, 4, 5, 6]), [8, 8, 0, 1, 1]);
}

/// A tail that is a loop whose rounds are repeated is not copied.
#[test]
fn a_loop_in_a_tail() {
    let text = "r0 = 0\n r6 = 3\n r1 = 0\n r0 += 2\n r1 += 1\n if r1 != 8 goto -3
                r6 -= 1\n if r6 == 0 goto +1\n goto -7\n exit";
    assert_eq!(agree(text), 48);
    assert_eq!(times(text, &[2, 3, 5]), [1, 8, 1]);
}

/// Loops that look like one, and are not: another way in or out, an unknown beginning, a counter
/// that is written twice, or by another operation, a call, a way that never meets the end.
#[test]
fn what_only_looks_like_one() {
    let tail = "r0 += 1\n exit";
    for (text, slot) in [
        ("r0 = 0\n r2 = 8\n if r1 == 0 goto +1\n r0 += 1\n r2 -= 1\n if r2 != 0 goto -3\n", 4),
        (
            "r0 = 0\n r2 = *(u8 *)(r1 + 0)\n r2 &= 7\n r2 += 1\n r0 += 1\n r2 -= 1\n if r2 != 0 goto -3\n",
            4,
        ),
        ("r0 = 0\n r2 = 8\n r0 += 1\n r2 -= 1\n r2 -= 1\n if r2 != 0 goto -4\n", 2),
        ("r0 = 0\n r2 = 256\n r0 += 1\n r2 >>= 1\n if r2 != 0 goto -3\n", 2),
        ("r0 = 0\n r2 = 8\n r0 += 1\n r2 += -1\n if w2 != 0 goto -3\n", 2),
        ("r0 = 0\n r2 = 8\n r0 += r2\n r2 -= 1\n if r2 s> 0 goto -3\n", 2),
        ("r0 = 0\n r2 = 8\n r0 += r2\n if r0 > 20 goto +2\n r2 -= 1\n if r2 != 0 goto -4\n", 2),
        (
            "r0 = 0\n r2 = 8\n if r0 > 9 goto +1\n r0 += 2\n r0 += r2\n r2 -= 1\n if r2 != 0 goto -3\n",
            4,
        ),
    ] {
        let text = format!("{text} {tail}");
        agree(&text);
        assert_eq!(times(&text, &[slot]), [1], "{text}");
    }
}

/// A loop in a loop: the inner counter gets its constant anew in each round of the outer one.
#[test]
fn loops_within_loops() {
    let text = "r0 = 0\n r3 = 5\n r2 = 12\n r0 += r2\n r0 ^= r3\n r2 -= 1\n if r2 != 0 goto -4
                r3 -= 1\n if r3 != 0 goto -7\n exit";
    agree(text);
    assert_eq!(times(text, &[3, 7]), [4, 1]);
}

/// A program that is nothing but short loops gets no more than half as long again.
#[test]
fn the_code_stays_small() {
    let one = "r2 = 8\n r0 += r2\n r2 -= 1\n if r2 != 0 goto -3\n";
    let text = |count| format!("r0 = 0\n {} exit", one.repeat(count));
    let slots: Vec<usize> = (0..4000).collect();
    let nodes: usize = times(&text(1000), &slots).iter().sum();
    assert!((5500..=6100).contains(&nodes), "{nodes}");
    agree(&text(20));
}

/// Two ways lead to the loop, with different numbers of rounds.
#[test]
fn a_loop_with_two_ways_in() {
    let text = "r0 = 0\n r3 = *(u8 *)(r1 + 0)\n r2 = 3\n if r3 != 0 goto +2\n r2 = 8\n r5 = 1
                r0 += 1\n r2 += -1\n if r2 != 0 goto -3\n exit";
    // Repeated, it would not end when it is entered with 3.
    assert_eq!(times(text, &[6, 7]), [1, 1]);
    assert_eq!(agree(text), 3);
}
