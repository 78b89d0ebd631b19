//! AArch64: `svc 0`, the virtual counter, and Linux's calling convention (x8; x0 to x5).

use super::LegacyCalls;
use core::arch::asm;
use linux_raw_sys::general::kernel_sigaction;

/// What `uname -m` prints on this machine.
pub const NAME: &str = "aarch64";

/// None: this architecture came after them.
pub const LEGACY_CALLS: Option<LegacyCalls> = None;

/// The body of `_start`: calls `$begin` with the stack pointer that the kernel set up.
#[doc(hidden)]
#[macro_export]
macro_rules! first_instructions_of_this_machine {
    ($begin:path) => {
        core::arch::naked_asm!(
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, sp",
            "and sp, x0, #-16",
            "bl {begin}",
            "brk #0",
            begin = sym $begin
        )
    };
}
pub use crate::first_instructions_of_this_machine as first_instructions;

/// Makes a system call without arguments; returns what the kernel returned, errors as `-errno`.
///
/// # Safety
/// Whatever the call does to this process's memory and descriptors must be allowed.
#[inline(always)]
pub unsafe fn syscall0(number: usize) -> isize {
    let result;
    // SAFETY: the registers are the convention's; the effect is the caller's promise.
    unsafe {
        asm!("svc 0", in("x8") number, lateout("x0") result, options(nostack));
    }
    result
}

/// Defines a function that makes a system call with so many arguments.
macro_rules! define_syscall {
    ($name:ident, $first:ident $(, $argument:ident in $register:tt)*) => {
        /// Makes a system call; returns what the kernel returned, errors as `-errno`.
        ///
        /// # Safety
        /// Whatever the call does to this process's memory and descriptors must be allowed.
        #[inline(always)]
        pub unsafe fn $name(number: usize, $first: usize $(, $argument: usize)*) -> isize {
            let result;
            // SAFETY: the registers are the convention's; the effect is the caller's promise.
            unsafe {
                asm!(
                    "svc 0",
                    in("x8") number,
                    inlateout("x0") $first as isize => result,
                    $(in($register) $argument,)*
                    options(nostack),
                );
            }
            result
        }
    };
}

define_syscall!(syscall1, first);
define_syscall!(syscall2, first, second in "x1");
define_syscall!(syscall3, first, second in "x1", third in "x2");
define_syscall!(syscall4, first, second in "x1", third in "x2", fourth in "x3");
define_syscall!(syscall5, first, second in "x1", third in "x2", fourth in "x3", fifth in "x4");
define_syscall!(syscall6, first, second in "x1", third in "x2", fourth in "x3", fifth in "x4", sixth in "x5");

/// `clone` for a thread: the child runs `function(argument)` on the given stack and exits.
///
/// # Safety
/// `stack_top` is 16-aligned and ends a writable area that lives as long as the thread; `tid`
/// likewise.
pub unsafe fn clone_thread(
    flags: usize,
    stack_top: usize,
    tid: *mut i32,
    function: extern "C" fn(usize),
    argument: usize,
) -> isize {
    let stack = (stack_top - 16) as *mut usize;
    // SAFETY: two words below the top of the caller's stack area.
    unsafe {
        stack.write(function as usize);
        stack.add(1).write(argument);
    }
    let result;
    // SAFETY: the parent continues as after any call; the child finds function and argument on
    // its own stack and never returns to the caller.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "ldp x9, x0, [sp], #16",
            "blr x9",
            "mov x0, #0",
            "mov x8, #93",
            "svc 0",
            "2:",
            in("x8") linux_raw_sys::general::__NR_clone as usize,
            inlateout("x0") flags as isize => result,
            in("x1") stack,
            in("x2") tid,
            in("x3") 0,
            in("x4") tid,
            lateout("x9") _,
            lateout("x30") _,
        );
    }
    result
}

/// The kernel's structure for a signal's disposition; the kernel supplies the return trampoline.
pub fn signal_action(handler: usize, flags: usize, mask: u64) -> kernel_sigaction {
    // SAFETY: all fields are integers, nullable function pointers or arrays of integers.
    let mut action: kernel_sigaction = unsafe { core::mem::zeroed() };
    // SAFETY: an `Option` of a function pointer has the layout of an address, 0 being `None`.
    unsafe {
        (&raw mut action.sa_handler_kernel).cast::<usize>().write(handler);
    }
    action.sa_flags = flags as _;
    action.sa_mask.sig[0] = mask as _;
    action
}

/// The virtual counter, scaled to nanoseconds.
#[inline(always)]
pub fn counter() -> u64 {
    let (ticks, frequency): (u64, u64);
    // SAFETY: reads registers that user mode may read.
    unsafe {
        asm!("isb", "mrs {}, cntvct_el0", "mrs {}, cntfrq_el0", out(reg) ticks, out(reg) frequency);
    }
    ticks.wrapping_mul(1_000_000_000u64.checked_div(frequency).unwrap_or(1))
}

/// A function that only returns, as code.
pub const RETURN_INSTRUCTION: &[u8] = &[0xc0, 0x03, 0x5f, 0xd6];

/// Makes code that was written visible to instruction fetches.
pub fn synchronise_code() {
    // SAFETY: barriers and a hint.
    unsafe {
        asm!("dsb ish", "isb");
    }
}

/// Division by zero gives zero on this architecture: no signal.
pub fn divide_by_zero() {}

/// Runs an instruction that does not exist: SIGILL.
pub fn illegal_instruction() {
    // SAFETY: traps.
    unsafe {
        asm!("udf #0");
    }
}
