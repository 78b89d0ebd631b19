//! Tails of loops that several ways share: copies do what the tail does, for each way, where the
//! branch jumps and where it does not.

use std::format;

use super::{agree, times};

/// What a tail does before its branch; r0 and r4 add up, r2 counts from 0 to 40.
const TAILS: [&str; 8] = [
    "r2 += 1",
    "r0 *= 3\n r0 += r4\n r2 += 1",
    "w0 ^= w4\n w4 = w0\n w2 += 1",
    "r4 = r0\n r4 >>= 3\n r0 += r4\n r2 += 1",
    "r2 += 1\n r4 = 7",
    "r3 = r2\n r3 <<= 2\n r0 += r3\n r2 += 1",
    // What only the code behind the loop reads, and what only the next round does.
    "r7 = r0\n r7 *= 5\n r2 += 1",
    "r8 = r0\n r8 += 77\n r2 += 1",
];

/// Three ways round a loop, by the counter's lowest bits, and one over the tail.
fn ways(tail: &str, branch: &str, behind: &str) -> std::string::String {
    format!(
        "r0 = 0\n r2 = 0\n r3 = 0\n r4 = 1\n r7 = 0\n r8 = 0\n *(u64 *)(r10 - 8) = 11\n goto head
         tail: {tail}\n {branch}
         {behind}
         head: r3 = r2\n r3 &= 3
         if r3 == 1 goto one\n if r3 == 2 goto two
         r0 += 5\n goto tail
         one: r4 += r0\n r0 -= r8\n goto tail
         two: r5 = *(u64 *)(r10 - 8)\n r0 += r5\n r5 += 1\n *(u64 *)(r10 - 8) = r5
         if r0 s> 1000000 goto tail
         r0 ^= r4\n goto tail"
    )
}

#[test]
fn each_way_does_what_the_tail_does() {
    let end = "r5 = *(u64 *)(r10 - 8)\n r0 += r5\n r0 ^= r4\n r0 ^= r7\n exit";
    for tail in TAILS {
        for branch in ["if r2 != 40 goto head", "if w2 < 39 goto head", "if r2 s<= 30 goto head"] {
            agree(&ways(tail, branch, end));
        }
        // The way out is the one that jumps; two ends of the loop.
        agree(&ways(tail, "if r2 == 40 goto out", &format!("goto head\n out: {end}")));
        agree(&ways(
            tail,
            "if r2 s< 9 goto head",
            &format!("if r2 s< 20 goto again\n {end}\n again: r0 += 9\n r2 += 2\n goto head"),
        ));
    }
}

#[test]
fn a_tail_stands_where_ways_lead_to_it() {
    let text = ways("r0 *= 3\n r2 += 1", "if r2 != 40 goto head", "r0 ^= r4\n exit");
    // Itself, and for each of three jumps, but not for the branch that leads there too.
    assert_eq!(times(&text, &[8, 9, 10, 11, 14]), [4, 4, 4, 1, 1]);
}

#[test]
fn what_is_no_tail_stands_once() {
    for (tail, branch, behind) in [
        // Too long, an access, and a branch over one move.
        ("r0 += 1\n r0 *= 3\n r0 += 2\n r0 *= 5\n r2 += 1", "if r2 != 40 goto head", "exit"),
        ("r5 = *(u8 *)(r1 + 0)\n r0 += r5\n r2 += 1", "if r2 != 40 goto head", "exit"),
        ("r2 += 1", "if r2 != 40 goto +1", "r0 = 3\n if r2 != 40 goto head\n exit"),
    ] {
        let text = ways(tail, branch, behind);
        agree(&text);
        assert_eq!(times(&text, &[8]), [1], "{text}");
    }
}

/// Ways that skip a tail's first part, in a function with arguments, and branches that are proved
/// to jump always or never.
#[test]
fn parts_of_tails_and_decided_branches() {
    let ways = "head: r3 = r2\n r3 &= 3\n if r3 == 1 goto one\n if r3 == 2 goto two
        r0 += 5\n goto tail\n one: r4 += r0\n goto part\n two: r0 ^= 77\n r5 = r4\n goto last";
    for branch in ["if r2 != 40 goto head", "if w2 < 3 goto head", "if w2 s> 60 goto head"] {
        let begin = "r0 = r1\n r2 = 0\n r3 = 0\n r4 = 1\n r5 = 9\n goto head";
        let tail = "tail: r0 *= 3\n part: r4 += r5\n last: r2 += 1";
        let sum = "r0 += r4\n r0 ^= r5\n exit";
        agree(&format!("r1 = 6\n {begin}\n {tail}\n {branch}\n {sum}\n {ways}"));
        agree(&format!(
            "r1 = 5\n call function\n r0 += 3\n exit
             function: {begin}\n {tail}\n {branch}\n {sum}\n {ways}"
        ));
    }
}

/// A program that is nothing but jumps to tails gets no more than half as long again.
#[test]
fn the_code_stays_small() {
    let jumps = "if r3 == 5 goto +2\n r3 ^= 1\n goto tail\n".repeat(1000);
    let text = format!(
        "r0 = 0\n r2 = 0\n r3 = 0\n goto head
         tail: r0 += 3\n r0 ^= r2\n r2 += 1\n if r2 != 40 goto head\n exit
         head: r3 += 1\n r3 &= 7\n {jumps} goto tail"
    );
    let slots: std::vec::Vec<usize> = (0..3100).collect();
    let nodes: usize = times(&text, &slots).iter().sum();
    assert!((4300..=4650).contains(&nodes), "{nodes}");
    agree(&text);
}
