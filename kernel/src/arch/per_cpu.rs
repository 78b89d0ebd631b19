//! Memory that one CPU owns.

use core::cell::UnsafeCell;

/// Memory that only its CPU writes, and that CPU's hardware reads.
#[repr(transparent)]
pub(super) struct PerCpu<T>(UnsafeCell<T>);

// SAFETY: reached by the one CPU that it belongs to; others take its address at most.
unsafe impl<T> Sync for PerCpu<T> {}

impl<T> PerCpu<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Where it is.
    pub(super) const fn get(&self) -> *mut T {
        self.0.get()
    }
}
