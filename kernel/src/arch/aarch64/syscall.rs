//! The way in for system calls, `svc`, whose entry code is in trap.rs; and the way out to user
//! mode for the first time.

use super::cpu;
use super::frame::Frame;
use crate::arch::up;

unsafe extern "C" {
    /// In trap.rs.
    fn leave_kernel(frame: &Frame, stack_top: usize) -> !;
}

/// Runs one system call. Entered with interrupts on, returns with them off, ready to leave.
pub(super) extern "C" fn syscall_handler(frame: &mut Frame) {
    crate::syscall::dispatch_syscall(frame);
    super::mask::disable();
    up::return_to_user(frame);
}

/// Leaves the kernel with every register from `frame`.
pub(in crate::arch) fn enter_user(frame: &Frame) -> ! {
    // SAFETY: the frame is a complete one for user mode; interrupts are off, so nobody uses
    // the stack that is left behind.
    unsafe { leave_kernel(frame, cpu::kernel_stack()) }
}
