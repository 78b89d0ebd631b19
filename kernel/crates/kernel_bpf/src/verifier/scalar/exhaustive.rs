//! The operators on ranges against the concrete ones, on every range of 8-bit numbers as the first
//! operand and every one as the second: each result is within what is said of it.
//!
//! All pairs take half an hour of one processor: what is not for that takes every
//! `LEMMA_RANGES_STEP`th range as the first operand, and begins elsewhere for each operator.

use std::vec::Vec;

use super::alu::{bits_of, concrete_at, range_of};
use super::cond::{self, narrow_range};
use super::range::Range;
use super::tnum::{Tnum, sign_extend};
use crate::insn::{AluOp, Cond, Width};

/// Numbers of 8 bits: those below 128, and those above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Set([u128; 2]);

impl Set {
    const NONE: Set = Set([0, 0]);

    fn with(mut self, x: u64) -> Set {
        self.0[x as usize / 128] |= 1 << (x % 128);
        self
    }

    fn and(self, other: Set) -> Set {
        Set([self.0[0] & other.0[0], self.0[1] & other.0[1]])
    }

    fn or(self, other: Set) -> Set {
        Set([self.0[0] | other.0[0], self.0[1] | other.0[1]])
    }

    /// Whether all of them fit into a range.
    fn within(self, range: &Range<8>) -> bool {
        let [low, high] = self.0;
        let ends = |half: u128| {
            (half != 0)
                .then(|| (u64::from(half.trailing_zeros()), 127 - u64::from(half.leading_zeros())))
        };
        let all = |half: Option<(u64, u64)>, more: u64| {
            half.is_none_or(|(first, last)| {
                range.contains(first + more) && range.contains(last + more)
            })
        };
        // Within one half both orders are the same.
        all(ends(low), 0) && all(ends(high), 128)
    }
}

/// Ranges that begin with the same number, each longer by one: in the order of unsigned numbers
/// from each, and in that of signed ones across zero.
fn families() -> Vec<(u64, Vec<(u64, Range<8>)>)> {
    let deduced = |mut range: Range<8>| {
        range.deduce();
        range
    };
    let mut all = Vec::new();
    for first in 0..256u64 {
        let ranges = (first..256).map(|last| (last, deduced(Range::unsigned(first, last))));
        all.push((first, ranges.collect()));
    }
    for first in 128..256u64 {
        let smin = sign_extend(first, 8);
        let ranges = (0..128).map(|last| (last, deduced(Range::signed(smin, last as i64))));
        all.push((first, ranges.collect()));
    }
    all
}

/// The numbers from `first` to `last`, going on at zero behind the greatest.
fn members(first: u64, last: u64) -> impl Iterator<Item = u64> {
    let count = (last.wrapping_sub(first) & 0xff) + 1;
    (0..count).map(move |more| (first + more) & 0xff)
}

/// The numbers by which a family's range is longer than the one before.
fn added(first: u64, last: u64, of: usize) -> impl Iterator<Item = u64> {
    let from = if of == 0 { first } else { last };
    members(from, last)
}

/// Every range, with its first and last member, so many apart.
fn firsts(families: &[(u64, Vec<(u64, Range<8>)>)], offset: usize) -> Vec<(u64, u64, Range<8>)> {
    let step = std::env::var("LEMMA_RANGES_STEP").ok().and_then(|step| step.parse().ok());
    let step = step.unwrap_or(if cfg!(debug_assertions) { 401 } else { 101 });
    let all = families
        .iter()
        .flat_map(|(first, ranges)| ranges.iter().map(|&(last, range)| (*first, last, range)));
    all.skip(offset * 311 % step).step_by(step).collect()
}

/// What results have in common: their ends in both orders, and their bits.
#[derive(Clone, Copy)]
struct Results {
    unsigned: (u8, u8),
    signed: (i8, i8),
    ones: u8,
    some: u8,
}

impl Results {
    const NONE: Results = Results { unsigned: (255, 0), signed: (127, -128), ones: 255, some: 0 };

    fn with(self, other: Results) -> Results {
        Results {
            unsigned: (
                self.unsigned.0.min(other.unsigned.0),
                self.unsigned.1.max(other.unsigned.1),
            ),
            signed: (self.signed.0.min(other.signed.0), self.signed.1.max(other.signed.1)),
            ones: self.ones & other.ones,
            some: self.some | other.some,
        }
    }

    fn of(x: u64) -> Results {
        let x = x as u8;
        Results { unsigned: (x, x), signed: (x as i8, x as i8), ones: x, some: x }
    }

    fn within(&self, range: &Range<8>, bits: Tnum) -> bool {
        range.umin <= u64::from(self.unsigned.0)
            && u64::from(self.unsigned.1) <= range.umax
            && range.smin <= i64::from(self.signed.0)
            && i64::from(self.signed.1) <= range.smax
            && bits.value & !u64::from(self.ones) == 0
            && u64::from(self.some) & !(bits.value | bits.mask) == 0
    }
}

#[test]
fn ranges_hold_every_result_at_8_bits() {
    let families = families();
    let check = |(number, op): (usize, AluOp)| {
        for (first, last, a) in firsts(&families, number) {
            let results = |y: u64| {
                let exact = members(first, last).map(|x| Results::of(concrete_at(op, 8, x, y)));
                exact.fold(Results::NONE, Results::with)
            };
            let by: Vec<Results> = (0..256).map(results).collect();
            for (begin, ranges) in &families {
                let mut exact = Results::NONE;
                for (at, (end, b)) in ranges.iter().enumerate() {
                    exact = added(*begin, *end, at).fold(exact, |all, y| all.with(by[y as usize]));
                    let bits = bits_of::<8>(op, a.bits(), b.bits(), b);
                    let bits = bits.intersect(Tnum::UNKNOWN.truncate(8)).unwrap();
                    let mut result = range_of::<8>(op, &a, b, bits);
                    result.deduce();
                    assert!(exact.within(&result, bits), "{op:?} {a:?} {b:?}: {result:?} {bits:?}");
                }
            }
        }
    };
    in_parallel(AluOp::ALL.into_iter().enumerate().collect(), check);
}

#[test]
fn comparisons_keep_every_pair_at_8_bits() {
    let families = families();
    let holds = |cond: Cond, x: u64, y: u64| {
        let wide = |x| sign_extend(x, 8) as u64;
        cond::concrete(cond, Width::W64, wide(x), wide(y))
    };
    let check = |(number, cond): (usize, Cond)| {
        let with: Vec<Set> = (0..256)
            .map(|y| (0..256).filter(|&x| holds(cond, x, y)).fold(Set::NONE, Set::with))
            .collect();
        for (first, last, a) in firsts(&families, number) {
            let in_a = members(first, last).fold(Set::NONE, Set::with);
            let some = |y: &u64| with[*y as usize].and(in_a) != Set::NONE;
            let partners = (0..256).filter(some).fold(Set::NONE, Set::with);
            for (begin, ranges) in &families {
                let (mut in_b, mut of_b) = (Set::NONE, Set::NONE);
                for (at, (end, b)) in ranges.iter().enumerate() {
                    for y in added(*begin, *end, at) {
                        in_b = in_b.with(y);
                        of_b = of_b.or(with[y as usize]);
                    }
                    let (mut narrow_a, mut narrow_b) = (a, *b);
                    match cond {
                        Cond::Eq => {
                            narrow_a = a.intersect(b);
                            narrow_b = narrow_a;
                        }
                        _ => narrow_range(cond, &mut narrow_a, &mut narrow_b),
                    }
                    assert!(of_b.and(in_a).within(&narrow_a), "{cond:?} {a:?} {b:?}: {narrow_a:?}");
                    assert!(
                        partners.and(in_b).within(&narrow_b),
                        "{cond:?} {a:?} {b:?}: {narrow_b:?}"
                    );
                }
            }
        }
    };
    // Bits in common say nothing of ranges.
    let conds = Cond::ALL.into_iter().filter(|cond| *cond != Cond::Set);
    in_parallel(conds.enumerate().collect(), check);
}

/// Checks all, on as many processors as there are.
fn in_parallel<T: Send>(all: Vec<T>, check: impl Fn(T) + Sync) {
    let left = std::sync::Mutex::new(all);
    let next = || left.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(one) = next() {
                    check(one);
                }
            });
        }
    });
}
