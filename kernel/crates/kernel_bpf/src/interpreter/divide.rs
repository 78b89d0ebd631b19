//! Signed divisions and remainders as RFC 9669, section 4.1, has them.

#![forbid(unsafe_code)]

/// Signed division: by zero gives zero, and the one overflow wraps (RFC 9669, section 4.1).
#[inline(always)]
pub(super) const fn sdiv64(a: u64, b: u64) -> u64 {
    if b == 0 { 0 } else { (a as i64).wrapping_div(b as i64) as u64 }
}

#[inline(always)]
pub(super) const fn sdiv32(a: u32, b: u32) -> u32 {
    if b == 0 { 0 } else { (a as i32).wrapping_div(b as i32) as u32 }
}

/// Signed remainder, with the sign of the dividend: by zero leaves it as it is.
#[inline(always)]
pub(super) const fn smod64(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { (a as i64).wrapping_rem(b as i64) as u64 }
}

#[inline(always)]
pub(super) const fn smod32(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { (a as i32).wrapping_rem(b as i32) as u32 }
}
