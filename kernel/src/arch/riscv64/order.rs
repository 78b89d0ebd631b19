//! The order of accesses to memory and to device registers.
//!
//! They are apart for the memory model: only fences that name both keep an access to one on its
//! side of an access to the other (Unprivileged ISA, 2.7). Those of atomic operations name memory
//! only.

use core::arch::asm;

/// See [`crate::arch::Architecture::publish_to_devices`].
#[inline]
pub(in crate::arch) fn publish_to_devices() {
    // SAFETY: a fence.
    unsafe { asm!("fence w, o", options(nostack, preserves_flags)) };
}

/// See [`crate::arch::Architecture::observe_devices`].
#[inline]
pub(in crate::arch) fn observe_devices() {
    // SAFETY: a fence.
    unsafe { asm!("fence i, r", options(nostack, preserves_flags)) };
}
