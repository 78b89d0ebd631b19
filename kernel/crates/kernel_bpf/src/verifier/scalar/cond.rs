//! What the outcome of a comparison says about its operands.

use super::Scalar;
use super::range::Range;
use super::tnum::Tnum;
use crate::insn::{Cond, Width};

/// Narrows `a` and `b` by the knowledge that `a cond b` is `outcome` at `width`.
/// Returns false when that cannot be: then no concrete run goes this way.
#[must_use]
pub fn narrow(cond: Cond, width: Width, outcome: bool, a: &mut Scalar, b: &mut Scalar) -> bool {
    if cond == Cond::Set {
        narrow_set(width, outcome, a, b);
    } else {
        let cond = if outcome { cond } else { negate(cond) };
        if cond == Cond::Eq {
            if !narrow_equal(width, a, b) {
                return false;
            }
        } else {
            match width {
                Width::W64 => narrow_range(cond, &mut a.r64, &mut b.r64),
                Width::W32 => narrow_range(cond, &mut a.r32, &mut b.r32),
            }
        }
    }
    let (empty_a, empty_b) = match width {
        Width::W64 => (a.r64.is_empty(), b.r64.is_empty()),
        Width::W32 => (a.r32.is_empty(), b.r32.is_empty()),
    };
    if empty_a || empty_b {
        return false;
    }
    a.sync();
    b.sync();
    !a.is_empty() && !b.is_empty()
}

/// The condition that holds exactly when `cond` does not; not for `Set`.
fn negate(cond: Cond) -> Cond {
    match cond {
        Cond::Eq => Cond::Ne,
        Cond::Ne => Cond::Eq,
        Cond::Gt => Cond::Le,
        Cond::Le => Cond::Gt,
        Cond::Ge => Cond::Lt,
        Cond::Lt => Cond::Ge,
        Cond::Sgt => Cond::Sle,
        Cond::Sle => Cond::Sgt,
        Cond::Sge => Cond::Slt,
        Cond::Slt => Cond::Sge,
        Cond::Set => Cond::Set,
    }
}

fn narrow_equal(width: Width, a: &mut Scalar, b: &mut Scalar) -> bool {
    match width {
        Width::W64 => {
            let Some(bits) = a.bits.intersect(b.bits) else { return false };
            let both = Scalar { bits, r64: a.r64.intersect(&b.r64), r32: a.r32.intersect(&b.r32) };
            *a = both;
            *b = both;
        }
        Width::W32 => {
            let low = a.bits.truncate(32).intersect(b.bits.truncate(32));
            let Some(low) = low else { return false };
            let both = a.r32.intersect(&b.r32);
            a.bits = a.bits.with_low32(low);
            b.bits = b.bits.with_low32(low);
            a.r32 = both;
            b.r32 = both;
        }
    }
    true
}

fn narrow_set(width: Width, outcome: bool, a: &mut Scalar, b: &mut Scalar) {
    let (x, y) = (*a, *b);
    narrow_set_one(width, outcome, a, &y);
    narrow_set_one(width, outcome, b, &x);
}

/// Narrows `a` by `a & mask` being zero or not, when `mask` is known.
fn narrow_set_one(width: Width, outcome: bool, a: &mut Scalar, mask: &Scalar) {
    let mask = match width {
        Width::W64 => mask.as_constant(),
        Width::W32 => mask.as_constant32().map(u64::from),
    };
    let Some(mask) = mask else { return };
    if outcome {
        // At least one of the masked bits is set.
        let possible = mask & (a.bits.value | a.bits.mask);
        if possible == 0 {
            a.r64.umin = 1;
            a.r64.umax = 0;
            a.r32.umin = 1;
            a.r32.umax = 0;
        } else if possible.is_power_of_two() {
            a.bits = a.bits.or(Tnum::constant(possible));
        }
    } else if a.bits.value & mask != 0 {
        a.r64.umin = 1;
        a.r64.umax = 0;
        a.r32.umin = 1;
        a.r32.umax = 0;
    } else {
        a.bits = a.bits.and(Tnum::constant(!mask));
    }
}

/// For orderings and inequality. Bounds may come out empty.
pub(super) fn narrow_range<const BITS: u32>(cond: Cond, a: &mut Range<BITS>, b: &mut Range<BITS>) {
    match cond {
        Cond::Eq | Cond::Set => {}
        Cond::Ne => {
            not_equal(a, b);
            not_equal(b, a);
        }
        Cond::Lt => below_unsigned(a, b, true),
        Cond::Le => below_unsigned(a, b, false),
        Cond::Gt => below_unsigned(b, a, true),
        Cond::Ge => below_unsigned(b, a, false),
        Cond::Slt => below_signed(a, b, true),
        Cond::Sle => below_signed(a, b, false),
        Cond::Sgt => below_signed(b, a, true),
        Cond::Sge => below_signed(b, a, false),
    }
}

/// Takes a constant `b` off the ends of `a`.
fn not_equal<const BITS: u32>(a: &mut Range<BITS>, b: &Range<BITS>) {
    if b.umin != b.umax {
        return;
    }
    let empty = Range { umin: 1, umax: 0, ..Range::FULL };
    if a.umin == b.umin && a.umax == b.umin {
        *a = empty;
        return;
    }
    let signed = b.smin;
    if a.umin == b.umin {
        a.umin += 1;
    }
    if a.umax == b.umin {
        a.umax -= 1;
    }
    if b.smin == b.smax {
        if a.smin == signed && a.smax == signed {
            *a = empty;
            return;
        }
        if a.smin == signed {
            a.smin += 1;
        }
        if a.smax == signed {
            a.smax -= 1;
        }
    }
}

fn below_unsigned<const BITS: u32>(a: &mut Range<BITS>, b: &mut Range<BITS>, strict: bool) {
    let step = u64::from(strict);
    match (b.umax.checked_sub(step), a.umin.checked_add(step)) {
        (Some(most), Some(least)) => {
            a.umax = a.umax.min(most);
            b.umin = b.umin.max(least);
        }
        _ => *a = Range { umin: 1, umax: 0, ..Range::FULL },
    }
}

fn below_signed<const BITS: u32>(a: &mut Range<BITS>, b: &mut Range<BITS>, strict: bool) {
    let step = i64::from(strict);
    match (b.smax.checked_sub(step), a.smin.checked_add(step)) {
        (Some(most), Some(least)) => {
            a.smax = a.smax.min(most);
            b.smin = b.smin.max(least);
        }
        _ => *a = Range { umin: 1, umax: 0, ..Range::FULL },
    }
}

/// Whether `a cond b` always (`Some(true)`) or never (`Some(false)`) holds.
#[must_use]
pub fn decided(cond: Cond, width: Width, a: &Scalar, b: &Scalar) -> Option<bool> {
    let (mut x, mut y) = (*a, *b);
    if !narrow(cond, width, true, &mut x, &mut y) {
        return Some(false);
    }
    let (mut x, mut y) = (*a, *b);
    if !narrow(cond, width, false, &mut x, &mut y) {
        return Some(true);
    }
    None
}

/// The outcome for two known numbers.
#[must_use]
pub fn concrete(cond: Cond, width: Width, x: u64, y: u64) -> bool {
    let (x, y) = match width {
        Width::W64 => (x, y),
        // Sign extension keeps both orders.
        Width::W32 => (x as i32 as u64, y as i32 as u64),
    };
    let (sx, sy) = (x as i64, y as i64);
    match cond {
        Cond::Eq => x == y,
        Cond::Ne => x != y,
        Cond::Gt => x > y,
        Cond::Ge => x >= y,
        Cond::Lt => x < y,
        Cond::Le => x <= y,
        Cond::Set => x & y != 0,
        Cond::Sgt => sx > sy,
        Cond::Sge => sx >= sy,
        Cond::Slt => sx < sy,
        Cond::Sle => sx <= sy,
    }
}
