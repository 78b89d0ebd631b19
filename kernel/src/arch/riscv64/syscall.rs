//! The way in for system calls, `ecall`, whose entry code is in trap.rs; and the way out to user
//! mode for the first time.

use super::frame::Frame;
use crate::arch::up;

unsafe extern "C" {
    /// In trap.rs.
    fn leave_kernel(frame: &Frame) -> !;
}

/// Runs one system call. Entered with interrupts on, returns with them off, ready to leave.
pub(super) extern "C" fn syscall_handler(frame: &mut Frame) {
    crate::syscall::dispatch_syscall(frame);
    super::mask::disable();
    up::return_to_user(frame);
}

/// Leaves the kernel with every register from `frame`, but `tp`, which is this CPU's block's.
pub(in crate::arch) fn enter_user(frame: &Frame) -> ! {
    // SAFETY: the frame is a complete one for user mode; interrupts are off, so nobody uses
    // the stack that is left behind.
    unsafe { leave_kernel(frame) }
}
