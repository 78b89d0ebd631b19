//! Switching between tasks: callee-saved registers and stack, thread pointer.

use core::arch::{asm, naked_asm};

use x86_64::registers::model_specific::Msr;

use super::cpu::{FEATURES, has};
pub(in crate::arch) use super::fp::{FpState, restore_fp, save_fp};
use super::mask;

const MSR_FS_BASE: u32 = 0xc000_0100;
const MSR_KERNEL_GS_BASE: u32 = 0xc000_0102;

/// A task that is not running: all else is on its kernel stack.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Context {
    stack_pointer: usize,
}

/// What a new task's stack holds, as [`switch_stacks`] pops it.
#[repr(C)]
struct NewTask {
    r15: usize,
    r14: usize,
    r13: usize,
    r12: usize,
    rbx: usize,
    rbp: usize,
    return_address: usize,
    /// Keeps the stack aligned, and ends the chain of frames.
    end: [usize; 1],
}

/// See [`crate::arch::Architecture::new_context`].
pub(in crate::arch) fn new(
    stack_top: usize,
    entry: extern "C" fn(usize) -> !,
    argument: usize,
) -> Context {
    let stack_pointer = (stack_top & !15) - size_of::<NewTask>();
    let state = mask::save();
    let gs = user_gs();
    mask::restore(state);
    let task = NewTask {
        r15: gs,
        r14: 0,
        r13: argument,
        r12: entry as usize,
        rbx: 0,
        rbp: 0,
        return_address: start_task as *const () as usize,
        end: [0],
    };
    // SAFETY: the caller gives a fresh stack that ends at `stack_top`.
    unsafe { (stack_pointer as *mut NewTask).write(task) };
    Context { stack_pointer }
}

/// The first code of a new task: rsp is 8 below the (aligned) top.
#[unsafe(naked)]
extern "C" fn start_task() {
    naked_asm!(
        "mov rdi, r15",
        "push rax", // aligns the stack
        "call {set_user_gs}",
        "mov rdi, r13",
        "call r12",
        "ud2",
        set_user_gs = sym set_user_gs,
    )
}

/// Saves the running task in `from` and continues `to`.
///
/// # Safety
/// As for [`crate::arch::Architecture::switch`].
#[unsafe(naked)]
unsafe extern "C" fn switch_stacks(from: *mut Context, to: *const Context) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, [rsi]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Switches, and keeps the user's GS base with the task: a user can change it where the CPU
/// has FSGSBASE.
///
/// # Safety
/// As for [`crate::arch::Architecture::switch`].
pub(in crate::arch) unsafe fn switch(from: *mut Context, to: *const Context) {
    let gs = user_gs();
    // SAFETY: the caller's promise.
    unsafe { switch_stacks(from, to) };
    set_user_gs(gs);
}

/// The user's GS base, which waits in the swapped half while the kernel runs. Interrupts off.
fn user_gs() -> usize {
    debug_assert!(!mask::is_open(), "an interrupt would run on the user's GS base");
    if !has(&FEATURES.fsgsbase) {
        return 0;
    }
    let base;
    // SAFETY: interrupts are off, so nothing runs with the user's base in place; the paranoid
    // entries do not rely on it.
    unsafe { asm!("swapgs", "rdgsbase {}", "swapgs", out(reg) base, options(nostack)) };
    base
}

/// Sets the user's GS base. Interrupts off.
extern "C" fn set_user_gs(base: usize) {
    debug_assert!(!mask::is_open(), "an interrupt would run on the user's GS base");
    if has(&FEATURES.fsgsbase) {
        // SAFETY: as in `user_gs`.
        unsafe { asm!("swapgs", "wrgsbase {}", "swapgs", in(reg) base, options(nostack)) };
    } else if base != 0 {
        // SAFETY: the MSR holds the user's base; canonical, because it was one.
        unsafe { Msr::new(MSR_KERNEL_GS_BASE).write(base as u64) };
    }
}

/// The user's FS base.
#[inline]
pub(in crate::arch) fn thread_pointer() -> usize {
    if has(&FEATURES.fsgsbase) {
        let base;
        // SAFETY: CR4.FSGSBASE is on.
        unsafe { asm!("rdfsbase {}", out(reg) base, options(nostack, nomem)) };
        base
    } else {
        // SAFETY: the MSR exists in long mode.
        unsafe { Msr::new(MSR_FS_BASE).read() as usize }
    }
}

/// The user's GS base.
pub(in crate::arch) fn other_thread_pointer() -> Option<usize> {
    has(&FEATURES.fsgsbase).then(|| {
        let irq = mask::save();
        let base = user_gs();
        mask::restore(irq);
        base
    })
}

/// Sets the user's GS base, where it is kept for each task; an address that is not canonical counts
/// as zero.
pub(in crate::arch) fn set_other_thread_pointer(value: usize) {
    if has(&FEATURES.fsgsbase) {
        let irq = mask::save();
        set_user_gs(canonical_or_zero(value));
        mask::restore(irq);
    }
}

/// The CPU takes no other base. A user may have set one in the kernel's half, which is harmless.
#[inline]
fn canonical_or_zero(value: usize) -> usize {
    const UNUSED_BITS: u32 = 16;
    let extended = (value << UNUSED_BITS) as isize >> UNUSED_BITS;
    if extended as usize == value { value } else { 0 }
}

/// Sets the user's FS base; an address that is not canonical counts as zero.
#[inline]
pub(in crate::arch) fn set_thread_pointer(value: usize) {
    let value = canonical_or_zero(value);
    if has(&FEATURES.fsgsbase) {
        // SAFETY: CR4.FSGSBASE is on; the value is canonical.
        unsafe { asm!("wrfsbase {}", in(reg) value, options(nostack, nomem)) };
    } else {
        // SAFETY: the MSR exists in long mode; the value is canonical.
        unsafe { Msr::new(MSR_FS_BASE).write(value as u64) };
    }
}
