//! The page of code that signal handlers return to where a user names no restorer: one frame,
//! mapped in each program above its stack, and copied if a program writes to it. What other
//! kernels keep in a vDSO. Machines whose Linux demands a restorer have none.

use kernel_sync::OnceCell;

use super::address_space::{AddressSpace, MemoryError};
use super::layout::stack_top;
use super::memapi::OutOfMemory;
use super::phys;
use crate::arch::{Arch, Architecture, PAGE_SIZE, PhysAddr};

const CODE: &[u8] = Arch::SIGNAL_RETURN;
const _: () = assert!(CODE.len() <= PAGE_SIZE);

/// Where the page is, on machines that have one.
pub fn address() -> Option<usize> {
    (!CODE.is_empty()).then(stack_top)
}

/// Never given back, so that no program is the only owner.
static FRAME: OnceCell<PhysAddr> = OnceCell::new();

/// The frame, filled when the first program asks.
fn frame() -> Result<PhysAddr, OutOfMemory> {
    if let Some(&frame) = FRAME.get() {
        return Ok(frame);
    }
    let frame = phys::alloc_zeroed().ok_or(OutOfMemory)?;
    // SAFETY: the frame has just been allocated; nobody else knows of it.
    let bytes = unsafe { phys::bytes_mut(frame) };
    for (to, from) in bytes.iter_mut().zip(CODE) {
        *to = *from;
    }
    match FRAME.set(frame) {
        Ok(()) => Ok(frame),
        Err(_) => {
            phys::release(frame);
            FRAME.get().copied().ok_or(OutOfMemory)
        }
    }
}

/// Maps the page for a new program, where there is one.
///
/// # Errors
/// If there is no memory.
pub fn map(space: &AddressSpace) -> Result<(), MemoryError> {
    match address() {
        Some(address) => space.map_code(address, frame()?),
        None => Ok(()),
    }
}
