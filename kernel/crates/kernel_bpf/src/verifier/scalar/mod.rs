//! [`Scalar`]: what is known about a 64-bit number: its bits, and its signed and
//! unsigned bounds at 64 and 32 bits, kept in step with each other.
//!
//! [`tnum`] and [`range`] are the parts, [`alu`] the operators, [`cond`] what a
//! comparison's outcome says about its operands.

pub mod alu;
pub mod cond;
#[cfg(test)]
mod exhaustive;
pub mod range;
#[cfg(test)]
mod tests;
pub mod tnum;

use range::Range;
use tnum::{Tnum, sign_extend};

/// A set of 64-bit numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scalar {
    pub bits: Tnum,
    pub r64: Range<64>,
    /// Of the low half.
    pub r32: Range<32>,
}

impl Scalar {
    /// Every number.
    pub const UNKNOWN: Scalar = Scalar { bits: Tnum::UNKNOWN, r64: Range::FULL, r32: Range::FULL };

    /// One number.
    #[must_use]
    pub const fn constant(x: u64) -> Scalar {
        Scalar { bits: Tnum::constant(x), r64: Range::constant(x), r32: Range::constant(x) }
    }

    /// Unsigned bounds.
    #[must_use]
    pub fn unsigned(min: u64, max: u64) -> Scalar {
        let mut scalar = Scalar { r64: Range::unsigned(min, max), ..Self::UNKNOWN };
        scalar.sync();
        scalar
    }

    /// Signed bounds.
    #[must_use]
    pub fn signed(min: i64, max: i64) -> Scalar {
        let mut scalar = Scalar { r64: Range::signed(min, max), ..Self::UNKNOWN };
        scalar.sync();
        scalar
    }

    /// The number, when there is only one.
    #[must_use]
    pub const fn as_constant(&self) -> Option<u64> {
        self.bits.as_constant()
    }

    /// The low half, when there is only one.
    #[must_use]
    pub const fn as_constant32(&self) -> Option<u32> {
        match self.bits.truncate(32).as_constant() {
            Some(low) => Some(low as u32),
            None => None,
        }
    }

    /// Whether `x` is a member.
    #[must_use]
    pub const fn contains(&self, x: u64) -> bool {
        self.bits.contains(x) && self.r64.contains(x) && self.r32.contains(x)
    }

    /// Whether there is no member. Exact only after [`Scalar::sync`].
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.r64.is_empty() || self.r32.is_empty()
    }

    /// Whether every member of `other` is a member of `self`.
    #[must_use]
    pub const fn includes(&self, other: &Scalar) -> bool {
        self.r64.includes(&other.r64)
            && self.r32.includes(&other.r32)
            && self.bits.includes(other.bits)
    }

    /// A set that holds the members of both.
    #[must_use]
    pub fn union(&self, other: &Scalar) -> Scalar {
        Scalar {
            bits: self.bits.union(other.bits),
            r64: self.r64.union(&other.r64),
            r32: self.r32.union(&other.r32),
        }
    }

    /// Carries what each part knows over to the others. An impossible combination
    /// comes out empty.
    pub fn sync(&mut self) {
        if let Some(x) = self.bits.as_constant() {
            let empty = !self.r64.contains(x) || !self.r32.contains(x);
            *self = Scalar::constant(x);
            if empty {
                self.mark_empty();
            }
            return;
        }
        self.narrow_by_bits();
        // Two rounds reach the fixed point in practice; fewer lose precision only.
        for _ in 0..2 {
            self.r64.deduce();
            self.r32.deduce();
            if self.is_empty() {
                self.mark_empty();
                return;
            }
            self.across();
        }
        self.r64.deduce();
        self.r32.deduce();
        if self.is_empty() {
            self.mark_empty();
            return;
        }
        let low = self.bits.truncate(32).intersect(self.r32.bits());
        let bits = self.bits.intersect(self.r64.bits());
        let known = match (bits, low) {
            (Some(bits), Some(low)) => {
                let low = bits.truncate(32).intersect(low);
                low.map(|low| bits.with_low32(low))
            }
            _ => None,
        };
        let Some(bits) = known else {
            self.mark_empty();
            return;
        };
        self.bits = bits;
        self.narrow_by_bits();
        if self.is_empty() {
            self.mark_empty();
        }
    }

    fn mark_empty(&mut self) {
        self.r64.umin = 1;
        self.r64.umax = 0;
    }

    fn narrow_by_bits(&mut self) {
        self.r64.narrow_by_bits(self.bits);
        self.r32.narrow_by_bits(self.bits);
    }

    /// Between the widths.
    fn across(&mut self) {
        const LOW: u64 = 0xffff_ffff;
        let (r64, r32) = (&mut self.r64, &mut self.r32);
        // One upper half: the lower halves are ordered as the whole numbers are.
        if r64.umin >> 32 == r64.umax >> 32 {
            r32.umin = r32.umin.max(r64.umin & LOW);
            r32.umax = r32.umax.min(r64.umax & LOW);
        }
        // Sign-extended 32-bit numbers: both widths have the same signed bounds.
        let (smin32, smax32) = (i64::from(i32::MIN), i64::from(i32::MAX));
        if r64.smin >= smin32 && r64.smax <= smax32 {
            r32.smin = r32.smin.max(r64.smin);
            r32.smax = r32.smax.min(r64.smax);
            r64.smin = r64.smin.max(r32.smin);
            r64.smax = r64.smax.min(r32.smax);
        }
        // Lower halves within bounds move the ends inwards.
        r64.umin = r64.umin.max((r64.umin & !LOW) | r32.umin);
        r64.umax = r64.umax.min((r64.umax & !LOW) | r32.umax);
        r64.smin = r64.smin.max((r64.smin & !(LOW as i64)) | r32.umin as i64);
        r64.smax = r64.smax.min((r64.smax & !(LOW as i64)) | r32.umax as i64);
    }

    /// The low half, zero-extended.
    #[must_use]
    pub fn zero_extend32(&self) -> Scalar {
        let mut scalar = Scalar {
            bits: self.bits.truncate(32),
            r64: Range::unsigned(self.r32.umin, self.r32.umax),
            r32: self.r32,
        };
        scalar.sync();
        scalar
    }

    /// The low `bytes` bytes, zero-extended.
    #[must_use]
    pub fn truncate(&self, bytes: u32) -> Scalar {
        match bytes {
            8.. => *self,
            4 => self.zero_extend32(),
            _ => {
                let bits = self.bits.truncate(bytes * 8);
                let max = tnum::low_mask(bytes * 8);
                let r64 = if self.r64.umax <= max {
                    Range::unsigned(self.r64.umin, self.r64.umax)
                } else {
                    Range::unsigned(0, max)
                };
                let mut scalar = Scalar { bits, r64, r32: Range::FULL };
                scalar.sync();
                scalar
            }
        }
    }

    /// The low `from` bits, sign-extended to 64.
    #[must_use]
    pub fn sign_extend(&self, from: u32) -> Scalar {
        if let Some(x) = self.as_constant() {
            return Scalar::constant(sign_extend(x, from) as u64);
        }
        let most = (tnum::low_mask(from) >> 1) as i64;
        let (mut smin, mut smax) = (-most - 1, most);
        if from == 32 {
            smin = self.r32.smin;
            smax = self.r32.smax;
        }
        // Numbers that are not changed keep their bounds.
        if self.r64.smin >= -most - 1 && self.r64.smax <= most {
            smin = smin.max(self.r64.smin);
            smax = smax.min(self.r64.smax);
        }
        let value = sign_extend(self.bits.value, from) as u64;
        let mask = sign_extend(self.bits.mask, from) as u64;
        let bits = Tnum { value: value & !mask, mask };
        let mut scalar = Scalar { bits, r64: Range::signed(smin, smax), r32: Range::FULL };
        scalar.sync();
        scalar
    }
}
