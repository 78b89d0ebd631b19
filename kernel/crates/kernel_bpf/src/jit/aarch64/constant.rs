//! Constants: in one instruction where it has room for them, otherwise in a register.

use super::super::emitter::Emission;
use super::asm::{
    Asm, D, Logic, Reg, SP, Shift, Sum, T0, W, ZERO, add_extended, logic_imm, movk, movn, movz,
    sum, sum_imm,
};

/// The field `N:immr:imms` of a logical immediate (Arm ARM, `DecodeBitMasks`): a run of ones in
/// an element of 2 to 64 bits, rotated and repeated. Neither 0 nor all ones are one.
pub(super) fn logical(value: u64, wide: bool) -> Option<u32> {
    let value = if wide { value } else { value & 0xffff_ffff | value << 32 };
    if value == 0 || value == u64::MAX {
        return None;
    }
    // The smallest element that repeats.
    let mut size = 64u32;
    while size > 2 {
        let half = size / 2;
        let mask = (1u64 << half) - 1;
        if value & mask != value >> half & mask {
            break;
        }
        size = half;
    }
    let mask = u64::MAX >> (64 - size);
    let element = value & mask;
    // Rotated so that the run of ones begins at bit 0.
    let inverted = !element & mask;
    let start = if element & 1 == 0 {
        element.trailing_zeros()
    } else {
        // The run goes over the end: it begins after the highest zero.
        (64 - inverted.leading_zeros()) % size
    };
    let rotated = (element >> start | element << ((size - start) % size)) & mask;
    let ones = rotated.trailing_ones();
    if rotated != u64::MAX >> (64 - ones) {
        return None;
    }
    let rotation = (size - start) % size;
    let n = u32::from(size == 64);
    let imms = (!(size * 2 - 1) & 0x3f) | (ones - 1);
    Some(n << 12 | rotation << 6 | imms)
}

/// What constants do with emissions.
pub(super) trait Constants {
    /// `d = value`
    fn constant(&mut self, d: Reg, value: u64);
    /// `d = n + value`; `n` and `d` may be the stack pointer.
    fn add(&mut self, wide: bool, d: Reg, n: Reg, value: i64);
    /// Compares `n` with `value`.
    fn compare(&mut self, wide: bool, n: Reg, value: i64);
    /// `d = n op value`
    fn logic_constant(&mut self, op: Logic, wide: bool, d: Reg, n: Reg, value: u64);
}

impl Constants for Emission {
    fn constant(&mut self, d: Reg, value: u64) {
        let half = |value: u64, index: u8| (value >> (16 * index)) as u16;
        let wide = value >> 32 != 0;
        let halves = if wide { 4 } else { 2 };
        let count = |skip: u16| (0..halves).filter(|&index| half(value, index) != skip).count();
        let (zeros, ones) = (count(0), count(0xffff));
        if zeros > 1
            && ones > 1
            && let Some(encoded) = logical(value, wide)
        {
            self.word(logic_imm(Logic::Or, wide, d, ZERO, encoded));
            return;
        }
        let negative = ones < zeros;
        let skip = if negative { 0xffff } else { 0 };
        let mut first = true;
        for index in 0..halves {
            let bits = half(value, index);
            if bits == skip {
                continue;
            }
            self.word(match (first, negative) {
                (true, false) => movz(wide, d, bits, index),
                (true, true) => movn(wide, d, !bits, index),
                (false, _) => movk(wide, d, bits, index),
            });
            first = false;
        }
        if first {
            self.word(if negative { movn(wide, d, 0, 0) } else { movz(D, d, 0, 0) });
        }
    }

    fn add(&mut self, wide: bool, d: Reg, n: Reg, value: i64) {
        let op = if value < 0 { Sum::Sub } else { Sum::Add };
        let amount = value.unsigned_abs();
        let (low, high) = ((amount & 0xfff) as u32, (amount >> 12) as u32);
        if amount < 1 << 12 {
            self.word(sum_imm(op, wide, d, n, low, false));
        } else if amount < 1 << 24 {
            self.word(sum_imm(op, wide, d, n, high, true));
            if low != 0 {
                self.word(sum_imm(op, wide, d, d, low, false));
            }
        } else {
            let value = if wide { value as u64 } else { u64::from(value as u32) };
            self.constant(T0, value);
            if n == SP {
                self.word(add_extended(d, n, T0, W, 0));
            } else {
                self.word(sum(Sum::Add, wide, d, n, T0, (Shift::Left, 0)));
            }
        }
    }

    fn compare(&mut self, wide: bool, n: Reg, value: i64) {
        // Subtracting a negative number and adding its opposite leave the same flags.
        let op = if value < 0 { Sum::Adds } else { Sum::Subs };
        let amount = value.unsigned_abs();
        if amount < 1 << 12 {
            self.word(sum_imm(op, wide, ZERO, n, amount as u32, false));
        } else if amount < 1 << 24 && amount & 0xfff == 0 {
            self.word(sum_imm(op, wide, ZERO, n, (amount >> 12) as u32, true));
        } else {
            let value = if wide { value as u64 } else { u64::from(value as u32) };
            self.constant(T0, value);
            self.word(sum(Sum::Subs, wide, ZERO, n, T0, (Shift::Left, 0)));
        }
    }

    fn logic_constant(&mut self, op: Logic, wide: bool, d: Reg, n: Reg, value: u64) {
        if let Some(encoded) = logical(value, wide) {
            self.word(logic_imm(op, wide, d, n, encoded));
        } else {
            self.constant(T0, if wide { value } else { value & 0xffff_ffff });
            self.word(super::asm::logic(op, wide, d, n, T0, (Shift::Left, 0)));
        }
    }
}
