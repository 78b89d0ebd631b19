//! [`CpuSet`]: which CPUs, as a word that they change themselves.
//!
//! An address space has one of the CPUs that may remember its translations. A CPU enters itself
//! before it begins to use the page tables, and leaves when it has begun to use others. Who takes
//! a right away changes the tables first and looks at the set then ([`CpuSet::others`]): a CPU
//! that is not in it will find the tables as they are now.

use core::sync::atomic::{AtomicU64, Ordering, fence};

use super::traits::MAX_CPUS;
use super::{Arch, Architecture};

const _: () = assert!(MAX_CPUS <= 64, "a CPU is a bit of a word");

/// A set of CPUs, by number.
#[derive(Debug, Default)]
pub struct CpuSet(AtomicU64);

impl CpuSet {
    /// No CPU.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Enters a CPU.
    #[inline]
    pub fn insert(&self, cpu: usize) {
        self.0.fetch_or(1 << cpu, Ordering::SeqCst);
    }

    /// Takes a CPU out; whether it was in.
    #[inline]
    pub fn remove(&self, cpu: usize) -> bool {
        self.0.fetch_and(!(1 << cpu), Ordering::SeqCst) & 1 << cpu != 0
    }

    /// Whether the CPU is in.
    #[inline]
    pub fn contains(&self, cpu: usize) -> bool {
        self.0.load(Ordering::Relaxed) & 1 << cpu != 0
    }

    /// All members, a bit for each.
    #[inline]
    pub fn bits(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The members but this CPU, a bit for each, after all that this CPU has written. The caller
    /// stays on its CPU.
    #[inline]
    pub fn others(&self) -> u64 {
        if Arch::cpus_online() == 1 {
            return 0;
        }
        fence(Ordering::SeqCst);
        self.0.load(Ordering::SeqCst) & !(1 << Arch::cpu_id())
    }
}

/// The numbers of the CPUs whose bits are set.
pub fn numbers(mut bits: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let number = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (number < 64).then_some(number)
    })
}
