//! What a kernel stack tells: who called whom, and what the user's registers were.

use core::arch::asm;

use super::cpu::USER_CODE;
use super::frame::Frame;
use super::layout::DIRECT_MAP;
use super::user;

/// This function's frame pointer, so its caller's, as it is inlined.
#[inline(always)]
pub(super) fn frame_pointer() -> usize {
    let pointer;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

/// Follows the chain from `frame_pointer`, innermost first; returns how many addresses it
/// wrote. Ends at the first frame that is not in kernel memory or not above the last one.
pub(super) fn backtrace(frame_pointer: usize, out: &mut [usize]) -> usize {
    let mut current = frame_pointer;
    let mut count = 0;
    for slot in out {
        if current < DIRECT_MAP || !current.is_multiple_of(8) {
            break;
        }
        // A frame begins with the caller's frame pointer and the return address.
        let mut frame = [0usize; 2];
        let size = size_of_val(&frame);
        if user::copy_nofault(frame.as_mut_ptr() as usize, current, size) != 0 {
            break;
        }
        let [caller, address] = frame;
        if address < DIRECT_MAP {
            break;
        }
        *slot = address;
        count += 1;
        if caller <= current {
            break;
        }
        current = caller;
    }
    count
}

/// See [`crate::arch::Architecture::user_frame`]. `syscall` leaves a word free above the frame,
/// interrupts do not; the code segment tells which of them it was, because what would be in its
/// place, the flags, always has the interrupt flag.
pub(super) fn user_frame(stack_top: usize) -> Option<Frame> {
    for free in [0, size_of::<usize>()] {
        let mut frame = Frame::default();
        let size = size_of::<Frame>();
        let start = stack_top.checked_sub(free + size)?;
        let read = user::copy_nofault((&raw mut frame) as usize, start, size) == 0;
        if read && frame.cs == usize::from(USER_CODE) {
            return Some(frame);
        }
    }
    None
}
