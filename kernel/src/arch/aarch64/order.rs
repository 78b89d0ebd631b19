//! The order of accesses to memory and to device registers.
//!
//! Devices need not be in the shareability domain that the CPUs' own barriers are for.

use core::arch::asm;

/// See [`crate::arch::Architecture::publish_to_devices`].
#[inline]
pub(in crate::arch) fn publish_to_devices() {
    // SAFETY: a barrier.
    unsafe { asm!("dmb oshst", options(nostack, preserves_flags)) };
}

/// See [`crate::arch::Architecture::observe_devices`].
#[inline]
pub(in crate::arch) fn observe_devices() {
    // SAFETY: a barrier.
    unsafe { asm!("dmb oshld", options(nostack, preserves_flags)) };
}
