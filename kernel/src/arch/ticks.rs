//! From a counter's ticks to nanoseconds and back, without a division: nanoseconds =
//! (ticks × factor) >> 32.
//!
//! Neither factor is exact. Where the error of one would grow with the time that the machine has
//! run, as the way from a deadline to a tick, only the time that is left is converted.

use core::sync::atomic::{AtomicU64, Ordering};

const NANOS: u64 = 1_000_000_000;

/// How fast a counter counts.
pub(super) struct Rate {
    /// Nanoseconds per tick, times 2^32; 0 before `set`: time stands still.
    nanos: AtomicU64,
    /// Ticks per nanosecond, times 2^32, rounded up.
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
        let nanos = factor(hertz, NANOS);
        self.nanos.store(nanos, Ordering::Relaxed);
        // 2^64 divided by the other, so that ticks there and nanoseconds back are never fewer.
        self.ticks.store((u64::MAX / nanos.max(1)).saturating_add(1), Ordering::Relaxed);
    }

    /// Nanoseconds per tick, times 2^32.
    #[inline]
    pub(super) fn factor(&self) -> u64 {
        self.nanos.load(Ordering::Relaxed)
    }

    /// So many ticks in nanoseconds.
    #[inline]
    pub(super) fn to_nanos(&self, ticks: u64) -> u64 {
        scale(ticks, self.factor())
    }

    /// So many nanoseconds in ticks, or one more.
    #[inline]
    pub(super) fn to_ticks(&self, nanos: u64) -> u64 {
        scale(nanos, self.ticks.load(Ordering::Relaxed)).saturating_add(1)
    }

    /// A tick at which [`Self::to_nanos`] has reached `nanos`, seen from the tick `now`.
    #[inline]
    pub(super) fn tick_at(&self, nanos: u64, now: u64) -> u64 {
        let left = nanos.saturating_sub(self.to_nanos(now));
        now.saturating_add(self.to_ticks(left))
    }
}
