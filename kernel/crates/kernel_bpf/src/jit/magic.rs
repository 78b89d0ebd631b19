//! Divisors as multipliers: the unsigned quotient by a constant is the upper part of a product
//! (Granlund and Montgomery, "Division by Invariant Integers using Multiplication", 1994).

#![forbid(unsafe_code)]

/// How to divide by a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Magic {
    /// The multiplier, without its highest bit if `add`.
    pub multiplier: u64,
    /// Shift the dividend to the right by this first.
    pub before: u8,
    /// Shift the upper half of the product to the right by this.
    pub shift: u8,
    /// The multiplier has one bit more than the width: with `p` the upper half of the product,
    /// the quotient is `((n - p) / 2 + p) >> shift`.
    pub add: bool,
}

/// For 64-bit dividends; the divisor is at least 3 and no power of two.
#[must_use]
pub fn divide64(divisor: u64) -> Magic {
    magic(divisor, 64)
}

/// For 32-bit dividends; the divisor is at least 3 and no power of two.
#[must_use]
pub fn divide32(divisor: u32) -> Magic {
    magic(u64::from(divisor), 32)
}

fn magic(divisor: u64, bits: u32) -> Magic {
    // The smallest exponent for which the rounded-up multiplier is exact enough for every
    // dividend below `2^(bits - before)`.
    let log = 63 - divisor.leading_zeros();
    let (multiplier, shift) = multiplier(divisor, bits, bits, log);
    if multiplier >> bits == 0 {
        return Magic { multiplier: multiplier as u64, before: 0, shift, add: false };
    }
    let even = divisor.trailing_zeros();
    if even != 0 {
        let (odd, precision) = (divisor >> even, bits - even);
        let (multiplier, shift) = self::multiplier(odd, bits, precision, 63 - odd.leading_zeros());
        if multiplier >> bits == 0 {
            let before = even as u8;
            return Magic { multiplier: multiplier as u64, before, shift, add: false };
        }
    }
    let rest = multiplier & ((1 << bits) - 1);
    Magic { multiplier: rest as u64, before: 0, shift: shift - 1, add: true }
}

/// The multiplier and the shift for dividends of `precision` bits.
fn multiplier(divisor: u64, bits: u32, precision: u32, log: u32) -> (u128, u8) {
    let d = u128::from(divisor);
    let mut shift = log + 1;
    // 2^(bits + shift) / divisor, without 129-bit numbers.
    let power = |extra: u32| -> (u128, u128) {
        // (2^(bits + shift) + 2^(bits + shift - precision) * extra) / divisor
        let high = (1u128 << (bits + shift - 1)) / d * 2;
        let rest = (1u128 << (bits + shift - 1)) % d * 2;
        let add = if extra == 0 { 0 } else { 1u128 << (bits + shift - precision) };
        (high + (rest + add) / d, (rest + add) % d)
    };
    let (mut low, _) = power(0);
    let (mut high, _) = power(1);
    while low / 2 < high / 2 && shift > 0 {
        low /= 2;
        high /= 2;
        shift -= 1;
    }
    (high, shift as u8)
}

#[cfg(test)]
mod tests {
    use super::{Magic, divide32, divide64};

    fn quotient(n: u64, magic: Magic, bits: u32) -> u64 {
        let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        let n = n & mask;
        let p = ((u128::from(n >> magic.before) * u128::from(magic.multiplier)) >> bits) as u64;
        let p = if magic.add { ((n - p) >> 1) + p } else { p };
        p >> magic.shift
    }

    #[test]
    fn multiplying_divides() {
        let mut numbers = alloc::vec![];
        for shift in 0..64 {
            for near in 0..5u64 {
                numbers.push((1u64 << shift).wrapping_add(near).wrapping_sub(2));
            }
        }
        numbers.extend([7, 10, 100, 641, 1000, 1_000_003, 0x1234_5678_9abc_def1, u64::MAX / 3]);
        for &divisor in &numbers {
            if divisor < 3 || divisor.is_power_of_two() {
                continue;
            }
            for &base in &numbers {
                let multiple = base / divisor * divisor;
                for n in [base, multiple, multiple.wrapping_sub(1), u64::MAX - base] {
                    let magic = divide64(divisor);
                    assert_eq!(quotient(n, magic, 64), n / divisor, "{n} / {divisor}: {magic:?}");
                    if let Ok(narrow) = u32::try_from(divisor) {
                        let magic = divide32(narrow);
                        let n = n & 0xffff_ffff;
                        let found = quotient(n, magic, 32);
                        assert_eq!(found, n / divisor, "{n} / {divisor}: {magic:?}");
                    }
                }
            }
        }
    }
}
