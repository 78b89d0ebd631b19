//! Signal frames as bytes: what the machines' `signal.rs` share.

use core::mem::MaybeUninit;

/// The bytes of a part of a signal frame.
///
/// # Safety
/// It has no padding, and all of it is initialised.
pub(super) unsafe fn bytes<T>(part: &T) -> &[u8] {
    // SAFETY: the caller's promise; the length is the part's.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(part).cast(), size_of::<T>()) }
}

/// The bytes that a part of a signal frame is to be read into.
pub(super) fn room<T>(part: &mut MaybeUninit<T>) -> &mut [MaybeUninit<u8>] {
    // SAFETY: bytes that need not be initialised make up anything; the length is the part's.
    unsafe { core::slice::from_raw_parts_mut(part.as_mut_ptr().cast(), size_of::<T>()) }
}
