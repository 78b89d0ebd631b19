//! What the architecture layer calls in the kernel above it: the only arrows that point up.

use super::traits::{FaultAccess, PhysAddr, UserFault};
use super::{Arch, Architecture};

type Frame = <Arch as Architecture>::Frame;

/// A fault of user mode: resolves it or posts a signal. IRQs on; may sleep.
pub(super) fn handle_user_fault(frame: &mut Frame, fault: UserFault) {
    crate::mem::fault::handle_user_fault(frame, fault);
}

/// A fault on a user address inside a user copy: `true` if the access can be repeated. IRQs as
/// they were; may sleep.
pub(super) fn resolve_kernel_access(address: usize, access: FaultAccess) -> bool {
    crate::mem::fault::resolve_kernel_access(address, access)
}

/// The timer of this CPU has expired. IRQs off.
pub(super) fn timer_interrupt(frame: &mut Frame) {
    crate::mcore::timer_interrupt(frame);
}

/// Another CPU has interrupted this one. IRQs off.
pub(super) fn other_cpu() {
    crate::mcore::other_cpu();
}

/// This CPU has been asked to forget users' translations: whether it has stopped using a user's
/// page tables instead, because it runs no user's task. IRQs off.
#[cfg_attr(
    any(target_arch = "aarch64", target_arch = "riscv64"),
    expect(dead_code, reason = "its CPUs forget without the kernel's being asked")
)]
pub(super) fn leave_unused_space() -> bool {
    crate::mcore::leave_unused_space()
}

/// A stack for a further CPU's exceptions, for good: one past its end.
#[cfg_attr(
    any(target_arch = "aarch64", target_arch = "riscv64"),
    expect(dead_code, reason = "its CPUs share one")
)]
pub(super) fn new_stack() -> Option<usize> {
    crate::mem::virt::KernelStack::new().ok().map(crate::mem::virt::KernelStack::keep)
}

/// Bytes of it.
#[cfg_attr(
    any(target_arch = "aarch64", target_arch = "riscv64"),
    expect(dead_code, reason = "as above")
)]
pub(super) const STACK_BYTES: usize = crate::mem::virt::KERNEL_STACK_BYTES;

/// Stacks of the kernel lie side by side from the start of its mapping range: how far apart. The
/// first page of each is its guard page.
#[cfg_attr(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    expect(dead_code, reason = "their CPUs tell whether a stack has room")
)]
pub(super) const STACK_SLOT_BYTES: usize = crate::mem::virt::SLOT_BYTES;

/// How far that range goes.
#[cfg_attr(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    expect(dead_code, reason = "as above")
)]
pub(super) const STACK_AREA_BYTES: usize = crate::mem::virt::AREA_BYTES;

/// Before each return to user mode, IRQs off: pending signals, rescheduling.
#[inline]
pub(super) fn return_to_user(frame: &mut Frame) {
    crate::mcore::return_to_user(frame);
}

/// An exception that nothing can resolve: the last word. `address` is what was accessed.
pub(super) fn fatal_exception(frame: &Frame, name: &str, error: u64, address: Option<usize>) -> ! {
    crate::panic::exception(frame, name, error, address)
}

/// The machine is about to end: output that waits for an interrupt is written out.
pub(super) fn before_end() {
    crate::driver::uart::flush();
}

/// A zeroed frame for a page table.
pub(super) fn alloc_table_frame() -> Option<PhysAddr> {
    crate::mem::phys::alloc_zeroed()
}

/// The frames that compiled programs are in, which the direct map shows read-only; empty where
/// none are set aside.
pub(super) fn code_frames() -> core::ops::Range<u64> {
    crate::mem::code::frames()
}

/// Gives a page table's frame back.
pub(super) fn free_table_frame(frame: PhysAddr) {
    crate::mem::phys::release(frame);
}

/// How many entries of a page table are in use, as its frame keeps it.
#[cfg(target_arch = "riscv64")]
pub(super) fn table_use(frame: PhysAddr) -> u32 {
    crate::mem::phys::count(frame).saturating_sub(1)
}

/// Keeps that. The table must be without any when its frame is given back.
#[cfg(target_arch = "riscv64")]
pub(super) fn set_table_use(frame: PhysAddr, used: u32) {
    crate::mem::phys::set_count(frame, used + 1);
}
