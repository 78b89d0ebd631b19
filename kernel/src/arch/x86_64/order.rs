//! The order of accesses to memory and to device registers.
//!
//! The CPU keeps writes in order, and reads, whatever they go to; the compiler need not.

use core::sync::atomic::{Ordering, compiler_fence};

/// See [`crate::arch::Architecture::publish_to_devices`].
#[inline]
pub(in crate::arch) fn publish_to_devices() {
    compiler_fence(Ordering::Release);
}

/// See [`crate::arch::Architecture::observe_devices`].
#[inline]
pub(in crate::arch) fn observe_devices() {
    compiler_fence(Ordering::Acquire);
}
