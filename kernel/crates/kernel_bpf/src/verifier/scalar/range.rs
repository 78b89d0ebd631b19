//! [`Range`]: signed and unsigned bounds of a number of some width.
//!
//! The width is a constant parameter, so that the same code is tested at 8 bits, where much can be
//! tried, and used at 32 and 64.

use super::tnum::{Tnum, low_mask, sign_extend};

/// Bounds, both ends included. Unsigned bounds are zero-extended, signed ones
/// sign-extended. A range with a minimum above its maximum is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range<const BITS: u32> {
    pub umin: u64,
    pub umax: u64,
    pub smin: i64,
    pub smax: i64,
}

impl<const BITS: u32> Range<BITS> {
    const MASK: u64 = low_mask(BITS);
    const SMAX: i64 = (Self::MASK >> 1) as i64;
    const SMIN: i64 = -Self::SMAX - 1;

    /// Every number.
    pub const FULL: Self = Self { umin: 0, umax: Self::MASK, smin: Self::SMIN, smax: Self::SMAX };

    /// One number; its low bits count.
    #[must_use]
    pub const fn constant(x: u64) -> Self {
        let x = x & Self::MASK;
        let s = sign_extend(x, BITS);
        Self { umin: x, umax: x, smin: s, smax: s }
    }

    /// From unsigned bounds.
    #[must_use]
    pub const fn unsigned(umin: u64, umax: u64) -> Self {
        Self { umin, umax, ..Self::FULL }
    }

    /// From signed bounds.
    #[must_use]
    pub const fn signed(smin: i64, smax: i64) -> Self {
        Self { smin, smax, ..Self::FULL }
    }

    /// Whether no number fits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.umin > self.umax || self.smin > self.smax
    }

    /// Whether the number, given by its low bits, fits.
    #[must_use]
    pub const fn contains(&self, x: u64) -> bool {
        let x = x & Self::MASK;
        let s = sign_extend(x, BITS);
        self.umin <= x && x <= self.umax && self.smin <= s && s <= self.smax
    }

    /// Whether every number of `other` fits in `self`.
    #[must_use]
    pub const fn includes(&self, other: &Self) -> bool {
        self.umin <= other.umin
            && other.umax <= self.umax
            && self.smin <= other.smin
            && other.smax <= self.smax
    }

    /// Numbers in both, possibly none.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self {
            umin: self.umin.max(other.umin),
            umax: self.umax.min(other.umax),
            smin: self.smin.max(other.smin),
            smax: self.smax.min(other.smax),
        }
    }

    /// The least range that holds both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self {
            umin: self.umin.min(other.umin),
            umax: self.umax.max(other.umax),
            smin: self.smin.min(other.smin),
            smax: self.smax.max(other.smax),
        }
    }

    /// Narrows by known bits.
    pub fn narrow_by_bits(&mut self, bits: Tnum) {
        let bits = bits.truncate(BITS);
        let sign = 1u64 << (BITS - 1);
        self.umin = self.umin.max(bits.value);
        self.umax = self.umax.min(bits.value | bits.mask);
        let least = sign_extend(bits.value | (bits.mask & sign), BITS);
        let greatest = sign_extend(bits.value | (bits.mask & !sign), BITS);
        self.smin = self.smin.max(least);
        self.smax = self.smax.min(greatest);
    }

    /// Narrows the signed bounds by the unsigned and the other way round. As a set
    /// of unsigned numbers, signed bounds of unlike sign are a lower and an upper
    /// piece with a gap between them.
    pub fn deduce(&mut self) {
        let (ulow, uhigh) = (self.smin as u64 & Self::MASK, self.smax as u64 & Self::MASK);
        if self.smin < 0 && self.smax >= 0 {
            let lower = self.umin <= uhigh;
            let upper = self.umax >= ulow;
            match (lower, upper) {
                (true, false) => {
                    self.umax = self.umax.min(uhigh);
                    self.smin = self.umin as i64;
                    self.smax = self.umax as i64;
                }
                (false, true) => {
                    self.umin = self.umin.max(ulow);
                    self.smin = sign_extend(self.umin, BITS);
                    self.smax = sign_extend(self.umax, BITS);
                }
                (false, false) => {
                    self.umin = 1;
                    self.umax = 0;
                }
                (true, true) => {}
            }
        } else {
            self.umin = self.umin.max(ulow);
            self.umax = self.umax.min(uhigh);
            if self.umin <= self.umax {
                self.smin = sign_extend(self.umin, BITS);
                self.smax = sign_extend(self.umax, BITS);
            }
        }
    }

    /// The bits that all numbers within the unsigned bounds share.
    #[must_use]
    pub const fn bits(&self) -> Tnum {
        Tnum::range(self.umin, self.umax)
    }

    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        let mut sum = Self::FULL;
        let wide = |a: u64, b: u64| u128::from(a) + u128::from(b);
        let (low, high) = (wide(self.umin, other.umin), wide(self.umax, other.umax));
        // Exact when neither end wraps around, or both do.
        if (low > u128::from(Self::MASK)) == (high > u128::from(Self::MASK)) {
            sum.umin = low as u64 & Self::MASK;
            sum.umax = high as u64 & Self::MASK;
        }
        let low = i128::from(self.smin) + i128::from(other.smin);
        let high = i128::from(self.smax) + i128::from(other.smax);
        sum.set_signed(low, high);
        sum
    }

    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        let mut difference = Self::FULL;
        let (low_wraps, high_wraps) = (self.umin < other.umax, self.umax < other.umin);
        if low_wraps == high_wraps {
            difference.umin = self.umin.wrapping_sub(other.umax) & Self::MASK;
            difference.umax = self.umax.wrapping_sub(other.umin) & Self::MASK;
        }
        let low = i128::from(self.smin) - i128::from(other.smax);
        let high = i128::from(self.smax) - i128::from(other.smin);
        difference.set_signed(low, high);
        difference
    }

    /// Sets signed bounds from exact ones, when both ends wrap around alike.
    fn set_signed(&mut self, low: i128, high: i128) {
        let side =
            |x: i128| i32::from(x > i128::from(Self::SMAX)) - i32::from(x < i128::from(Self::SMIN));
        if side(low) == side(high) {
            self.smin = sign_extend(low as u64, BITS);
            self.smax = sign_extend(high as u64, BITS);
        }
    }

    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        let mut product = Self::FULL;
        let fits = |x: u64, y: u64| x.checked_mul(y).filter(|&p| p <= Self::MASK);
        if let Some(high) = fits(self.umax, other.umax) {
            product.umin = self.umin * other.umin;
            product.umax = high;
        }
        let pairs = [
            (self.smin, other.smin),
            (self.smin, other.smax),
            (self.smax, other.smin),
            (self.smax, other.smax),
        ]
        .map(|(a, b)| i128::from(a) * i128::from(b));
        let low = pairs.into_iter().fold(pairs[0], i128::min);
        let high = pairs.into_iter().fold(pairs[0], i128::max);
        if low >= i128::from(Self::SMIN) && high <= i128::from(Self::SMAX) {
            product.smin = low as i64;
            product.smax = high as i64;
        }
        product
    }

    /// `self & other`, where `bits` are the known bits of the result.
    #[must_use]
    pub fn and(&self, other: &Self, bits: Tnum) -> Self {
        let mut result = Self::unsigned(0, self.umax.min(other.umax));
        // A negative number under a mask that is not negative loses its sign; two
        // negative numbers give one that is below both.
        if self.smin >= 0 || other.smin >= 0 {
            result.smin = 0;
        }
        result.narrow_by_bits(bits);
        result
    }

    /// `self | other`, where `bits` are the known bits of the result.
    #[must_use]
    pub fn or(&self, other: &Self, bits: Tnum) -> Self {
        let mut result = Self::unsigned(self.umin.max(other.umin), Self::MASK);
        result.narrow_by_bits(bits);
        result
    }

    /// `self ^ other`, where `bits` are the known bits of the result.
    #[must_use]
    pub fn xor(&self, bits: Tnum) -> Self {
        let mut result = Self::FULL;
        let _ = self;
        result.narrow_by_bits(bits);
        result
    }

    /// Left shift by `min..=max`, below the width.
    #[must_use]
    pub fn shl(&self, min: u32, max: u32) -> Self {
        let mut result = Self::FULL;
        if self.umax <= Self::MASK >> max {
            result.umin = self.umin << min;
            result.umax = self.umax << max;
        }
        if min == max {
            let low = i128::from(self.smin) << max;
            let high = i128::from(self.smax) << max;
            if low >= i128::from(Self::SMIN) && high <= i128::from(Self::SMAX) {
                result.smin = low as i64;
                result.smax = high as i64;
            }
        }
        result
    }

    /// Logical right shift by `min..=max`, below the width.
    #[must_use]
    pub fn shr(&self, min: u32, max: u32) -> Self {
        Self::unsigned(self.umin >> max, self.umax >> min)
    }

    /// Arithmetic right shift by `min..=max`, below the width.
    #[must_use]
    pub fn sar(&self, min: u32, max: u32) -> Self {
        let low = if self.smin < 0 { self.smin >> min } else { self.smin >> max };
        let high = if self.smax < 0 { self.smax >> max } else { self.smax >> min };
        Self::signed(low, high)
    }

    /// Unsigned division; by zero it is 0.
    #[must_use]
    pub fn div(&self, other: &Self) -> Self {
        let high = self.umax / other.umin.max(1);
        let low = if other.umin == 0 { 0 } else { self.umin / other.umax };
        Self::unsigned(low, high)
    }

    /// Unsigned remainder; by zero it is the dividend.
    #[must_use]
    pub fn rem(&self, other: &Self) -> Self {
        if other.umin > 0 && self.umax < other.umin {
            return *self;
        }
        if other.umin == 0 {
            return Self::unsigned(0, self.umax);
        }
        Self::unsigned(0, self.umax.min(other.umax - 1))
    }
}
