//! The legacy packet loads, which compiled code calls.

use crate::helper::Environment;
use crate::interpreter::memory;

/// Reads a number at `index` of the packet whose context is at `context`, in host order; -1
/// beyond the packet. `place` has the field of the context in its lower half, the size in bytes
/// in its upper half.
///
/// # Safety
/// `context` is that of a packet, with the packet's start and end at the field.
pub(super) unsafe extern "C" fn load(
    context: u64,
    index: u64,
    place: u64,
    _: u64,
    _: u64,
    _: &Environment<'_>,
) -> u64 {
    let (field, index) = (place as i32, index as u32);
    // SAFETY: the caller's promise.
    let value = unsafe {
        match place >> 32 {
            1 => memory::packet::<u8>(context, field, index).map(u64::from),
            2 => memory::packet(context, field, index).map(|n| u64::from(u16::from_be(n))),
            _ => memory::packet(context, field, index).map(|n| u64::from(u32::from_be(n))),
        }
    };
    value.unwrap_or(u64::MAX)
}
