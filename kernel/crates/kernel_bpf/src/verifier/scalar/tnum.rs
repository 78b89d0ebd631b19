//! [`Tnum`]: which bits of a number are known.
//!
//! A tri-state number stands for every `x` with `x & !mask == value`. The algebra is
//! that of Vishwanathan et al., "Sound, Precise, and Fast Abstract Interpretation
//! with Tristate Numbers" (CGO 2022).

/// Known bits of a 64-bit number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tnum {
    /// The known bits; 0 where unknown.
    pub value: u64,
    /// 1 where the bit is unknown.
    pub mask: u64,
}

impl Tnum {
    /// Nothing known.
    pub const UNKNOWN: Tnum = Tnum { value: 0, mask: u64::MAX };

    /// A known number.
    #[must_use]
    pub const fn constant(value: u64) -> Tnum {
        Tnum { value, mask: 0 }
    }

    /// The number, when every bit is known.
    #[must_use]
    pub const fn as_constant(self) -> Option<u64> {
        if self.mask == 0 { Some(self.value) } else { None }
    }

    /// The least tri-state number that holds all of `min..=max`.
    #[must_use]
    pub const fn range(min: u64, max: u64) -> Tnum {
        let differ = min ^ max;
        let bits = 64 - differ.leading_zeros();
        if bits > 63 {
            return Tnum::UNKNOWN;
        }
        let delta = (1u64 << bits) - 1;
        Tnum { value: min & !delta, mask: delta }
    }

    /// Whether every member of `other` is a member of `self`.
    #[must_use]
    pub const fn includes(self, other: Tnum) -> bool {
        other.mask & !self.mask == 0 && other.value & !self.mask == self.value
    }

    /// Whether `x` is a member.
    #[must_use]
    pub const fn contains(self, x: u64) -> bool {
        x & !self.mask == self.value
    }

    /// Numbers that are members of both; `None` when there are none.
    #[must_use]
    pub const fn intersect(self, other: Tnum) -> Option<Tnum> {
        if (self.value ^ other.value) & !self.mask & !other.mask != 0 {
            return None;
        }
        let mask = self.mask & other.mask;
        Some(Tnum { value: (self.value | other.value) & !mask, mask })
    }

    /// A tri-state number that holds the members of both.
    #[must_use]
    pub const fn union(self, other: Tnum) -> Tnum {
        let mask = self.mask | other.mask | (self.value ^ other.value);
        Tnum { value: self.value & !mask, mask }
    }

    /// The low `bits` bits, the rest 0.
    #[must_use]
    pub const fn truncate(self, bits: u32) -> Tnum {
        let keep = low_mask(bits);
        Tnum { value: self.value & keep, mask: self.mask & keep }
    }

    /// The low half of `low` under the upper half of `self`.
    #[must_use]
    pub const fn with_low32(self, low: Tnum) -> Tnum {
        let upper = !0u64 << 32;
        let low = low.truncate(32);
        Tnum { value: (self.value & upper) | low.value, mask: (self.mask & upper) | low.mask }
    }

    #[must_use]
    pub const fn add(self, other: Tnum) -> Tnum {
        let masks = self.mask.wrapping_add(other.mask);
        let values = self.value.wrapping_add(other.value);
        let sum = masks.wrapping_add(values);
        let carries = sum ^ values;
        let mask = carries | self.mask | other.mask;
        Tnum { value: values & !mask, mask }
    }

    #[must_use]
    pub const fn sub(self, other: Tnum) -> Tnum {
        let difference = self.value.wrapping_sub(other.value);
        let alpha = difference.wrapping_add(self.mask);
        let beta = difference.wrapping_sub(other.mask);
        let mask = (alpha ^ beta) | self.mask | other.mask;
        Tnum { value: difference & !mask, mask }
    }

    #[must_use]
    pub const fn neg(self) -> Tnum {
        Tnum::constant(0).sub(self)
    }

    #[must_use]
    pub const fn and(self, other: Tnum) -> Tnum {
        let alpha = self.value | self.mask;
        let beta = other.value | other.mask;
        let value = self.value & other.value;
        Tnum { value, mask: alpha & beta & !value }
    }

    #[must_use]
    pub const fn or(self, other: Tnum) -> Tnum {
        let value = self.value | other.value;
        let mask = self.mask | other.mask;
        Tnum { value, mask: mask & !value }
    }

    #[must_use]
    pub const fn xor(self, other: Tnum) -> Tnum {
        let value = self.value ^ other.value;
        let mask = self.mask | other.mask;
        Tnum { value: value & !mask, mask }
    }

    /// Long multiplication over the bits of `self`.
    #[must_use]
    pub const fn mul(mut self, mut other: Tnum) -> Tnum {
        if self.mask == u64::MAX || other.mask == u64::MAX {
            // Nothing is known of one factor: only factors of two survive.
            let zeros = (self.value | self.mask).trailing_zeros()
                + (other.value | other.mask).trailing_zeros();
            let mask = if zeros >= 64 { 0 } else { u64::MAX << zeros };
            return Tnum { value: 0, mask };
        }
        let value = self.value.wrapping_mul(other.value);
        let mut uncertain = Tnum::constant(0);
        while self.value != 0 || self.mask != 0 {
            if self.value & 1 != 0 {
                uncertain = uncertain.add(Tnum { value: 0, mask: other.mask });
            } else if self.mask & 1 != 0 {
                uncertain = uncertain.add(Tnum { value: 0, mask: other.value | other.mask });
            }
            self = self.shr(1);
            other = other.shl(1);
        }
        Tnum::constant(value).add(uncertain)
    }

    /// By less than 64.
    #[must_use]
    pub const fn shl(self, by: u32) -> Tnum {
        Tnum { value: self.value << by, mask: self.mask << by }
    }

    /// By less than 64.
    #[must_use]
    pub const fn shr(self, by: u32) -> Tnum {
        Tnum { value: self.value >> by, mask: self.mask >> by }
    }

    /// Arithmetic shift of a `bits`-wide number by less than `bits`.
    #[must_use]
    pub const fn sar(self, by: u32, bits: u32) -> Tnum {
        let value = sign_extend(self.value, bits) >> by;
        let mask = sign_extend(self.mask, bits) >> by;
        Tnum { value: value as u64, mask: mask as u64 }.truncate(bits)
    }
}

/// The low `bits` bits set, for 1 to 64.
#[must_use]
pub const fn low_mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

/// The low `bits` bits of `x` as a signed number.
#[must_use]
pub const fn sign_extend(x: u64, bits: u32) -> i64 {
    let shift = 64 - bits;
    ((x << shift) as i64) >> shift
}
