//! Arithmetic on [`Scalar`]s: for each operator a set that holds every result.
//!
//! Shift amounts are taken modulo the width, and division follows RFC 9669, section
//! 4.1: a division by zero gives 0, a remainder by zero the dividend.

use super::Scalar;
use super::range::Range;
use super::tnum::{Tnum, low_mask, sign_extend};
use crate::insn::{AluOp, ByteOrder, SwapWidth, Width};

/// `a op b` at `width`; a 32-bit result is zero-extended.
#[must_use]
pub fn alu(op: AluOp, width: Width, a: &Scalar, b: &Scalar) -> Scalar {
    if let (Some(x), Some(y)) = (a.as_constant(), b.as_constant()) {
        return Scalar::constant(concrete(op, width, x, y));
    }
    match width {
        Width::W64 => {
            let bits = bits_of::<64>(op, a.bits, b.bits, &b.r64);
            let r64 = range_of::<64>(op, &a.r64, &b.r64, bits);
            // The low half of these depends on the low halves only.
            let low_only = matches!(
                op,
                AluOp::Add | AluOp::Sub | AluOp::Mul | AluOp::And | AluOp::Or | AluOp::Xor
            );
            let r32 = if low_only { range_of::<32>(op, &a.r32, &b.r32, bits) } else { Range::FULL };
            let mut result = Scalar { bits, r64, r32 };
            result.sync();
            result
        }
        Width::W32 => {
            let bits = bits_of::<32>(op, a.bits.truncate(32), b.bits.truncate(32), &b.r32);
            let bits = bits.truncate(32);
            let r32 = range_of::<32>(op, &a.r32, &b.r32, bits);
            let mut result = Scalar { bits, r64: Range::unsigned(r32.umin, r32.umax), r32 };
            result.sync();
            result
        }
    }
}

/// The shift amounts that a range stands for, modulo the width.
fn shift_amounts<const BITS: u32>(by: &Range<BITS>) -> (u32, u32) {
    if by.umax < u64::from(BITS) {
        (by.umin as u32, by.umax as u32)
    } else if by.umin == by.umax {
        let amount = by.umin as u32 % BITS;
        (amount, amount)
    } else {
        (0, BITS - 1)
    }
}

pub(super) fn bits_of<const BITS: u32>(op: AluOp, a: Tnum, b: Tnum, by: &Range<BITS>) -> Tnum {
    let shift = || {
        let (min, max) = shift_amounts::<BITS>(by);
        if min == max { Some(min) } else { None }
    };
    let unknown = Tnum::UNKNOWN.truncate(BITS);
    match op {
        AluOp::Add => a.add(b),
        AluOp::Sub => a.sub(b),
        AluOp::Mul => a.mul(b),
        AluOp::And => a.and(b),
        AluOp::Or => a.or(b),
        AluOp::Xor => a.xor(b),
        AluOp::Lsh => shift().map_or(unknown, |by| a.shl(by)),
        AluOp::Rsh => shift().map_or(unknown, |by| a.truncate(BITS).shr(by)),
        AluOp::Arsh => shift().map_or(unknown, |by| a.sar(by, BITS)),
        AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod => unknown,
    }
    .truncate(BITS)
}

pub(super) fn range_of<const BITS: u32>(
    op: AluOp,
    a: &Range<BITS>,
    b: &Range<BITS>,
    bits: Tnum,
) -> Range<BITS> {
    let (min, max) = shift_amounts::<BITS>(b);
    match op {
        AluOp::Add => a.add(b),
        AluOp::Sub => a.sub(b),
        AluOp::Mul => a.mul(b),
        AluOp::And => a.and(b, bits),
        AluOp::Or => a.or(b, bits),
        AluOp::Xor => a.xor(bits),
        AluOp::Lsh => a.shl(min, max),
        AluOp::Rsh => a.shr(min, max),
        AluOp::Arsh => a.sar(min, max),
        AluOp::Div => a.div(b),
        AluOp::Mod => a.rem(b),
        AluOp::SDiv => signed_div(a, b),
        AluOp::SMod => signed_rem(a, b),
    }
}

/// By a positive divisor the result keeps its sign and shrinks; anything else is
/// left unknown (the least number by -1 wraps around).
fn signed_div<const BITS: u32>(a: &Range<BITS>, b: &Range<BITS>) -> Range<BITS> {
    if b.smin <= 0 {
        return Range::FULL;
    }
    let low = if a.smin < 0 { a.smin / b.smin } else { a.smin / b.smax };
    let high = if a.smax < 0 { a.smax / b.smax } else { a.smax / b.smin };
    Range::signed(low, high)
}

/// The remainder has the sign of the dividend and is smaller than the divisor.
fn signed_rem<const BITS: u32>(a: &Range<BITS>, b: &Range<BITS>) -> Range<BITS> {
    if b.smin <= 0 {
        return Range::FULL;
    }
    let most = b.smax - 1;
    let low = if a.smin < 0 { a.smin.max(-most) } else { 0 };
    let high = if a.smax > 0 { a.smax.min(most) } else { 0 };
    Range::signed(low, high)
}

/// The result for two known numbers: the definition that the sets must hold.
#[must_use]
pub fn concrete(op: AluOp, width: Width, x: u64, y: u64) -> u64 {
    match width {
        Width::W64 => concrete_at(op, 64, x, y),
        Width::W32 => concrete_at(op, 32, x & 0xffff_ffff, y & 0xffff_ffff),
    }
}

/// At any width, for tests at small ones too; operands are truncated to it.
#[must_use]
pub fn concrete_at(op: AluOp, bits: u32, x: u64, y: u64) -> u64 {
    let by = (y % u64::from(bits)) as u32;
    let (sx, sy) = (sign_extend(x, bits), sign_extend(y, bits));
    let result = match op {
        AluOp::Add => x.wrapping_add(y),
        AluOp::Sub => x.wrapping_sub(y),
        AluOp::Mul => x.wrapping_mul(y),
        AluOp::Div => x.checked_div(y).unwrap_or(0),
        AluOp::Mod => x.checked_rem(y).unwrap_or(x),
        AluOp::SDiv if sy == 0 => 0,
        AluOp::SDiv => sx.wrapping_div(sy) as u64,
        AluOp::SMod if sy == 0 => x,
        AluOp::SMod => sx.wrapping_rem(sy) as u64,
        AluOp::Or => x | y,
        AluOp::And => x & y,
        AluOp::Xor => x ^ y,
        AluOp::Lsh => x << by,
        AluOp::Rsh => x >> by,
        AluOp::Arsh => (sx >> by) as u64,
    };
    result & low_mask(bits)
}

/// `-a` at `width`.
#[must_use]
pub fn neg(width: Width, a: &Scalar) -> Scalar {
    alu(AluOp::Sub, width, &Scalar::constant(0), a)
}

/// A byte-order instruction on a little-endian machine.
#[must_use]
pub fn byte_order(kind: ByteOrder, bits: SwapWidth, a: &Scalar) -> Scalar {
    let low = a.truncate(bits.bits() / 8);
    match kind {
        ByteOrder::ToLittle => low,
        ByteOrder::ToBig | ByteOrder::Swap => {
            let swap = |x: u64| x.swap_bytes() >> (64 - bits.bits());
            let bits = Tnum { value: swap(low.bits.value), mask: swap(low.bits.mask) };
            let mut result = Scalar { bits, ..Scalar::UNKNOWN };
            result.sync();
            result
        }
    }
}
