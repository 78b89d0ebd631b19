//! What a kernel stack tells: where the chain of frames begins, and what the user's registers
//! were.

use core::arch::asm;

use super::frame::{Frame, SIZE};
use super::layout::USER_END;
use crate::arch::copy_nofault::copy_nofault;
use crate::arch::traits::TrapFrame;

/// How far below where a frame pointer points the pair of frame pointer and return address begins.
pub(in crate::arch) const FRAME_BELOW: usize = 0;

/// This function's frame pointer, so its caller's, as it is inlined.
#[inline(always)]
pub(in crate::arch) fn frame_pointer() -> usize {
    let pointer;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, x29", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// See [`crate::arch::Architecture::user_frame`]. Every entry stores the frame at the same
/// place; before the first, other words are there, which hardly look like one.
pub(in crate::arch) fn user_frame(stack_top: usize) -> Option<Frame> {
    let mut frame = Frame::default();
    let start = stack_top.checked_sub(SIZE)?;
    let read = copy_nofault((&raw mut frame) as usize, start, SIZE) == 0;
    let is_one = read && frame.from_user() && (1..USER_END).contains(&frame.pc);
    is_one.then_some(frame)
}
