//! How a running program touches memory: by address, where the verifier proved that it may.
//!
//! A program may race with another CPU on a map's value, as C programs on Linux do. Each
//! access is one machine access that the compiler can neither see through nor repeat, because
//! the address comes from an integer; what a race can do is mix two values.

use core::ptr;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use crate::map::{ArrayLookup, within};

/// Reads a number.
///
/// # Safety
/// The address is that of readable memory of this size, in any alignment.
#[inline(always)]
pub(crate) unsafe fn load<T: Copy>(address: u64) -> T {
    // SAFETY: as the caller promises.
    unsafe { ptr::with_exposed_provenance::<T>(address as usize).read_unaligned() }
}

/// Writes a number.
///
/// # Safety
/// The address is that of writable memory of this size, in any alignment.
#[inline(always)]
pub(crate) unsafe fn store<T: Copy>(address: u64, value: T) {
    // SAFETY: as the caller promises.
    unsafe { ptr::with_exposed_provenance_mut::<T>(address as usize).write_unaligned(value) }
}

/// Types that are accessed atomically.
pub(crate) trait AtomicCell {}
impl AtomicCell for AtomicU8 {}
impl AtomicCell for AtomicU16 {}
impl AtomicCell for AtomicU32 {}
impl AtomicCell for AtomicU64 {}

/// A number as an atomic.
///
/// # Safety
/// The address is that of writable (for a load: readable) memory, aligned to its size.
#[inline(always)]
pub(crate) unsafe fn atomic<'a, T: AtomicCell>(address: u64) -> &'a T {
    // SAFETY: as the caller promises; the reference is used for one access.
    unsafe { &*ptr::with_exposed_provenance::<T>(address as usize) }
}

/// Reads from the packet of a context, whose start and end addresses lie at `field` bytes into
/// the context; `None` beyond the packet.
///
/// # Safety
/// `context` is that of a packet, as described in [`crate::context::PacketContext`].
#[inline]
pub(crate) unsafe fn packet<T: Copy>(context: u64, field: i32, index: u32) -> Option<T> {
    let field = context.wrapping_add_signed(i64::from(field));
    // SAFETY: the context has the two addresses there.
    let (start, end) = unsafe { (load::<u64>(field), load::<u64>(field.wrapping_add(8))) };
    let length = end.checked_sub(start)?;
    let last = u64::from(index).checked_add(size_of::<T>() as u64)?;
    // SAFETY: the access lies within the packet.
    (last <= length).then(|| unsafe { load::<T>(start + u64::from(index)) })
}

/// The address of the value whose index is at `key`, 0 beyond the array.
///
/// # Safety
/// `array` is the address of an [`ArrayLookup`] that lives, `key` that of four readable bytes.
#[inline(always)]
pub(super) unsafe fn array_value(array: u64, key: u64, cpu: impl Fn() -> usize) -> u64 {
    // SAFETY: the caller's promise.
    let (array, index) = unsafe {
        (&*ptr::with_exposed_provenance::<ArrayLookup>(array as usize), load::<u32>(key))
    };
    if index >= array.entries {
        return 0;
    }
    (array.base + index as usize * array.stride + within(cpu(), array.cpus) * array.cpu_stride)
        as u64
}
