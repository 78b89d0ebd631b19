//! Jumps of every length about the one where x86_64's short forms end: forwards, backwards, over
//! other jumps that get longer themselves. And so far that the other machines' branches do not
//! reach.

use std::format;
use std::string::String;

use super::{agree, times};

/// Instructions: usual ones, and some that take much more code.
const FILLERS: [&str; 2] = ["r0 += 0x1234567\n ", "r0 %= 1000003\n "];

/// Up to 44 of each kind.
fn fillings() -> impl Iterator<Item = String> {
    FILLERS.iter().flat_map(|filler| (1..45).map(|count| filler.repeat(count)))
}

#[test]
fn forwards() {
    for filling in fillings() {
        agree(&format!("r0 = 1\n r1 = 5\n if r1 > 4 goto l\n {filling} l: r0 ^= r1\n exit"));
        agree(&format!("r0 = 1\n r1 = 5\n if r1 > 9 goto l\n {filling} l: r0 ^= r1\n exit"));
        agree(&format!("r0 = 1\n goto l\n {filling} l: r0 ^= 3\n exit"));
    }
}

#[test]
fn backwards() {
    for filling in fillings() {
        agree(&format!("r0 = 1\n r1 = 5\n l: {filling} r1 -= 1\n if r1 != 0 goto l\n exit"));
        agree(&format!(
            "r0 = 1\n r1 = 3\n goto m\n l: {filling} m: r1 -= 1\n if r1 == 0 goto n\n goto l
             n: exit"
        ));
    }
}

/// Jumps that reach only while those that they cross are short, in both directions, with code
/// behind them whose place moves too.
#[test]
fn across_others() {
    for filler in FILLERS {
        for count in 1..30 {
            let (one, two) = (filler.repeat(count), FILLERS[0].repeat(15 - count % 15));
            agree(&format!(
                "r0 = 1\n r1 = 4\n r2 = 0
                 again: if r1 s> 3 goto far\n r0 += r1
                 if r2 s> 7 goto further\n {one}
                 far: r0 ^= r1\n {two}
                 further: r2 += 3\n r1 -= 1\n if r1 != 0 goto again
                 call function\n exit
                 function: r0 = r1\n if r1 == 0 goto end\n {one} end: r0 += 7\n exit"
            ));
        }
    }
}

/// Chains of jumps, each over the next two, where only the last is too far, and makes the one
/// before it too far, and so on: for every number of rounds of looking for those.
#[test]
fn chains() {
    // 12 bytes each on x86_64, and 9.
    let (long, short) = ("*(u64 *)(r10 - 8) = 5\n ", "*(u64 *)(r10 - 504) = 6\n ");
    let body = format!("{}{short}", long.repeat(4));
    for links in [1, 2, 5, 14, 15, 16, 17, 18, 40, 1500] {
        let chain = format!("if r3 == 0 goto +12\n {body}").repeat(links);
        agree(&format!(
            "r5 = r10\n r5 += -512\n *(u64 *)(r5 + 0) = 1\n r0 = 0\n r3 = 0
             {} {chain} {long} r0 += 7\n {body} {body} r0 *= 3\n exit",
            "r2 = 1\n ".repeat(300),
        ));
    }
}

/// Branches that only a jump makes reach on AArch64, whose test of a bit goes 32 KiB, and on
/// RISC-V, whose branches go 4 KiB.
#[test]
fn far_branches() {
    for count in [1000, 9000] {
        let filler = FILLERS[0].repeat(count);
        for (one, two) in [("r1 & 2", "r0 & 4"), ("r1 == 2", "r0 == 7")] {
            agree(&format!(
                "r0 = 1\n r1 = 3\n again: if {one} goto l\n {filler} l: r0 ^= r1\n r1 -= 1
                 if r1 != 0 goto again\n call function\n exit
                 function: if {two} goto end\n {filler} end: r0 += 7\n exit"
            ));
        }
    }
}

/// Positions lead back to their instructions, also where code has been moved apart.
#[test]
fn positions_move_with_the_code() {
    for (filler, count) in [(0, 10), (0, 18), (0, 30), (1, 3), (1, 4), (1, 5), (1, 9)] {
        let filler = FILLERS[filler].repeat(count);
        let text = format!(
            "r0 = 1\n r1 = 5\n if r1 s> 4 goto l\n if r1 == 9 goto l\n {filler} l: r0 ^= r1\n exit"
        );
        assert_eq!(times(&text, &[2, 3, 4, 4 + count, 5 + count]), [1; 5]);
    }
}
