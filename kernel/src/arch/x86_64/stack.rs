//! What a kernel stack tells: where the chain of frames begins, and what the user's registers
//! were.

use core::arch::asm;

use super::cpu::USER_CODE;
use super::frame::Frame;
use crate::arch::copy_nofault::copy_nofault;

/// How far below where a frame pointer points the pair of frame pointer and return address begins.
pub(in crate::arch) const FRAME_BELOW: usize = 0;

/// This function's frame pointer, so its caller's, as it is inlined.
#[inline(always)]
pub(in crate::arch) fn frame_pointer() -> usize {
    let pointer;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// See [`crate::arch::Architecture::user_frame`]. `syscall` leaves a word free above the frame,
/// interrupts do not; the code segment tells which of them it was, because what would be in its
/// place, the flags, always has the interrupt flag.
pub(in crate::arch) fn user_frame(stack_top: usize) -> Option<Frame> {
    for free in [0, size_of::<usize>()] {
        let mut frame = Frame::default();
        let size = size_of::<Frame>();
        let start = stack_top.checked_sub(free + size)?;
        let read = copy_nofault((&raw mut frame) as usize, start, size) == 0;
        if read && frame.cs == usize::from(USER_CODE) {
            return Some(frame);
        }
    }
    None
}
