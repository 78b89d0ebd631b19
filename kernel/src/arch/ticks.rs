//! From a counter's ticks to nanoseconds and back, without a division: nanoseconds =
//! (ticks × factor) >> 32.

use core::sync::atomic::{AtomicU64, Ordering};

const NANOS: u64 = 1_000_000_000;

/// How fast a counter counts.
pub(super) struct Rate {
    /// Nanoseconds per tick, times 2^32; 0 before `set`: time stands still.
    nanos: AtomicU64,
    /// Ticks per nanosecond, times 2^32.
    ticks: AtomicU64,
}

/// How many ticks of `to` hertz are in one of `from` hertz, times 2^32.
fn factor(from: u64, to: u64) -> u64 {
    (u128::from(to) << 32).checked_div(u128::from(from)).unwrap_or(0) as u64
}

#[inline]
fn scale(value: u64, factor: u64) -> u64 {
    ((u128::from(value) * u128::from(factor)) >> 32) as u64
}

impl Rate {
    pub(super) const fn new() -> Self {
        Self { nanos: AtomicU64::new(0), ticks: AtomicU64::new(0) }
    }

    pub(super) fn set(&self, hertz: u64) {
        self.nanos.store(factor(hertz, NANOS), Ordering::Relaxed);
        self.ticks.store(factor(NANOS, hertz), Ordering::Relaxed);
    }

    /// So many ticks in nanoseconds.
    #[inline]
    pub(super) fn to_nanos(&self, ticks: u64) -> u64 {
        scale(ticks, self.nanos.load(Ordering::Relaxed))
    }

    /// The first tick after so many nanoseconds.
    #[inline]
    pub(super) fn tick_after(&self, nanos: u64) -> u64 {
        scale(nanos, self.ticks.load(Ordering::Relaxed)).saturating_add(1)
    }
}
