//! The abstract operators against the concrete ones: every constant of 8 bits, every tri-state
//! number of 5 bits, and random properties at 64 and 32. `exhaustive` has the ranges of 8 bits.

use super::Scalar;
use super::alu::{alu, bits_of, byte_order, concrete, concrete_at, neg, range_of};
use super::cond::{self, decided, narrow};
use super::range::Range;
use super::tnum::{Tnum, low_mask, sign_extend};
use crate::insn::{AluOp, ByteOrder, Cond, SwapWidth, Width};
use std::vec::Vec;

/// Every pair of 8-bit constants and of constants with full ranges.
#[test]
fn constants_exhaustively_at_8_bits() {
    let full = Range::<8>::FULL;
    for op in AluOp::ALL {
        for x in 0..256u64 {
            let cx = Range::<8>::constant(x);
            let by_any =
                range_of::<8>(op, &cx, &full, bits_of::<8>(op, cx.bits(), full.bits(), &full));
            for y in 0..256u64 {
                let cy = Range::<8>::constant(y);
                let exact = concrete_at(op, 8, x, y);
                let bits = bits_of::<8>(op, cx.bits(), cy.bits(), &cy);
                assert!(bits.contains(exact), "{op:?} {x} {y}");
                assert!(range_of::<8>(op, &cx, &cy, bits).contains(exact), "{op:?} {x} {y}");
                assert!(by_any.contains(exact), "{op:?} {x} {y}");
                let any =
                    range_of::<8>(op, &full, &cy, bits_of::<8>(op, full.bits(), cy.bits(), &cy));
                assert!(any.contains(exact), "{op:?} {x} {y} {any:?}");
            }
        }
    }
}

/// All tri-state numbers of 5 bits, at the bottom and across the 32-bit border.
#[test]
fn known_bits_hold_every_result() {
    let mut all = Vec::new();
    for mask in 0..32u64 {
        for value in 0..32u64 {
            if value & mask == 0 {
                all.push(Tnum { value, mask });
            }
        }
    }
    let members = |t: Tnum| (0..32u64).filter(move |&x| t.contains(x));
    for &a in &all {
        for &b in &all {
            let results = [a.add(b), a.sub(b), a.mul(b), a.and(b), a.or(b), a.xor(b)];
            let meet = a.intersect(b);
            let join = a.union(b);
            for x in members(a) {
                for y in members(b) {
                    let exact = [x + y, x.wrapping_sub(y), x * y, x & y, x | y, x ^ y];
                    for (result, exact) in results.iter().zip(exact) {
                        assert!(result.contains(exact), "{a:?} {b:?}");
                    }
                    if x == y {
                        assert!(meet.unwrap().contains(x));
                    }
                    assert!(join.contains(x) && join.contains(y));
                }
            }
        }
        for by in 0..8 {
            for x in members(a) {
                assert!(a.shl(by).contains(x << by));
                assert!(a.shr(by).contains(x >> by));
            }
            for x in members(a) {
                let exact = (sign_extend(x, 5) >> by.min(4)) as u64 & low_mask(5);
                assert!(a.sar(by.min(4), 5).contains(exact));
            }
        }
        assert!(a.mask.count_ones() < 6);
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Numbers near the places where bounds break.
    fn number(&mut self) -> u64 {
        let r = self.next();
        let small = (r >> 8) % 9;
        let base = match r % 12 {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << 31,
            3 => 1 << 32,
            4 => 1 << 63,
            5 => u64::from(u32::MAX),
            6 => i32::MIN as i64 as u64,
            7 => 1 << ((r >> 16) % 64),
            8 => (r >> 16) & 0xffff,
            _ => self.next() >> ((r >> 32) % 64),
        };
        if r & 0x80 == 0 { base.wrapping_add(small) } else { base.wrapping_sub(small) }
    }

    /// A set and one of its members, made by narrowing the set of all numbers by
    /// facts that hold for the member.
    fn scalar(&mut self) -> (Scalar, u64) {
        let x = self.number();
        let mut scalar = Scalar::UNKNOWN;
        match self.next() % 5 {
            0 => return (Scalar::constant(x), x),
            1 => return (scalar, x),
            _ => {}
        }
        for _ in 0..self.next() % 4 {
            let cond = Cond::ALL[(self.next() % 11) as usize];
            let width = if self.next() & 1 == 0 { Width::W64 } else { Width::W32 };
            let y = self.number();
            let outcome = cond::concrete(cond, width, x, y);
            assert!(narrow(cond, width, outcome, &mut scalar, &mut Scalar::constant(y)));
            assert!(scalar.contains(x), "{cond:?} {width:?} {x:x} {y:x} {scalar:x?}");
        }
        if self.next() & 3 == 0 {
            let mask = self.number();
            scalar.bits = scalar.bits.intersect(Tnum { value: x & !mask, mask }).unwrap();
            scalar.sync();
            assert!(scalar.contains(x), "{x:x} {scalar:x?}");
        }
        (scalar, x)
    }
}

#[test]
fn scalars_hold_every_result() {
    let mut random = Random(0x1234_5678_9abc_def1);
    // Debug builds are slow; the same seed always gives the same cases.
    let rounds = if cfg!(debug_assertions) { 20_000 } else { 2_000_000 };
    for _ in 0..rounds {
        let (a, x) = random.scalar();
        let (b, y) = random.scalar();
        let op = AluOp::ALL[(random.next() % 13) as usize];
        for width in [Width::W64, Width::W32] {
            let result = alu(op, width, &a, &b);
            let exact = concrete(op, width, x, y);
            assert!(
                result.contains(exact),
                "{op:?} {width:?} {x:x} {y:x} = {exact:x} not in {result:x?}\n{a:x?}\n{b:x?}"
            );
            let negated = neg(width, &a);
            assert!(negated.contains(concrete(AluOp::Sub, width, 0, x)));
        }
        assert!(a.zero_extend32().contains(x & 0xffff_ffff));
        for bytes in [1, 2, 4, 8] {
            assert!(a.truncate(bytes).contains(x & low_mask(bytes * 8)));
            assert!(a.sign_extend(bytes * 8).contains(sign_extend(x, bytes * 8) as u64));
        }
        let swapped = byte_order(ByteOrder::ToBig, SwapWidth::B32, &a);
        assert!(swapped.contains(u64::from((x as u32).swap_bytes())));
        let cond = Cond::ALL[(random.next() % 11) as usize];
        for width in [Width::W64, Width::W32] {
            let outcome = cond::concrete(cond, width, x, y);
            let (mut na, mut nb) = (a, b);
            assert!(narrow(cond, width, outcome, &mut na, &mut nb), "{cond:?} {x:x} {y:x}");
            assert!(na.contains(x) && nb.contains(y), "{cond:?} {width:?} {x:x} {y:x}");
            assert!(a.includes(&na), "narrowing never widens: {cond:?} {a:x?} {na:x?}");
            if let Some(always) = decided(cond, width, &a, &b) {
                assert_eq!(always, outcome);
            }
        }
    }
}
