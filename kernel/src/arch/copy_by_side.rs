//! Copies on machines that reach users' memory in another way than the kernel's: which of the
//! machine's functions is for which side. Each says how many bytes it did not copy.

use super::machine::layout::USER_END;

unsafe extern "C" {
    fn copy_from_user_resolving(to: usize, from: usize, length: usize) -> usize;
    fn copy_from_user_not_resolving(to: usize, from: usize, length: usize) -> usize;
    fn copy_from_kernel_not_resolving(to: usize, from: usize, length: usize) -> usize;
    fn copy_to_user_resolving(to: usize, from: usize, length: usize) -> usize;
    fn clear_user_resolving(to: usize, length: usize) -> usize;
}

/// See [`crate::arch::Architecture::copy_user`].
#[inline]
pub(super) fn copy(to: usize, from: usize, length: usize) -> usize {
    // SAFETY: a fault at any of the user's addresses is fixed up; the kernel's side is valid
    // by the contract of the caller.
    unsafe {
        if to < USER_END {
            copy_to_user_resolving(to, from, length)
        } else {
            copy_from_user_resolving(to, from, length)
        }
    }
}

/// See [`crate::arch::Architecture::clear_user`].
#[inline]
pub(super) fn clear(to: usize, length: usize) -> usize {
    // SAFETY: as in `copy`.
    unsafe { clear_user_resolving(to, length) }
}

/// Copies from anywhere but devices' registers, resolving no fault.
#[inline]
pub(super) fn copy_unresolved(to: usize, from: usize, length: usize) -> usize {
    // SAFETY: `to` is valid by the contract of the caller; a fault at `from` is fixed up.
    unsafe {
        if from < USER_END {
            copy_from_user_not_resolving(to, from, length)
        } else {
            copy_from_kernel_not_resolving(to, from, length)
        }
    }
}
