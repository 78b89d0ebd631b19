//! RISC-V 64: `ecall`, the time register, and Linux's calling convention (a7; a0 to a5).

use super::LegacyCalls;
use core::arch::asm;
use linux_raw_sys::general::kernel_sigaction;

/// What `uname -m` prints on this machine.
pub const NAME: &str = "riscv64";

/// None: this architecture came after them.
pub const LEGACY_CALLS: Option<LegacyCalls> = None;

/// The body of `_start`: calls `$begin` with the stack pointer that the kernel set up.
#[doc(hidden)]
#[macro_export]
macro_rules! first_instructions_of_this_machine {
    ($begin:path) => {
        core::arch::naked_asm!(
            ".option push",
            ".option norelax",
            "lla gp, __global_pointer$",
            ".option pop",
            "mv s0, zero",
            "mv ra, zero",
            "mv a0, sp",
            "andi sp, sp, -16",
            "call {begin}",
            "ebreak",
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
        asm!("ecall", in("a7") number, lateout("a0") result, options(nostack));
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
                    "ecall",
                    in("a7") number,
                    inlateout("a0") $first as isize => result,
                    $(in($register) $argument,)*
                    options(nostack),
                );
            }
            result
        }
    };
}

define_syscall!(syscall1, first);
define_syscall!(syscall2, first, second in "a1");
define_syscall!(syscall3, first, second in "a1", third in "a2");
define_syscall!(syscall4, first, second in "a1", third in "a2", fourth in "a3");
define_syscall!(syscall5, first, second in "a1", third in "a2", fourth in "a3", fifth in "a4");
define_syscall!(syscall6, first, second in "a1", third in "a2", fourth in "a3", fifth in "a4", sixth in "a5");

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
            "ecall",
            "bnez a0, 2f",
            "ld t0, 0(sp)",
            "ld a0, 8(sp)",
            "addi sp, sp, 16",
            "jalr t0",
            "li a0, 0",
            "li a7, 93",
            "ecall",
            "2:",
            in("a7") linux_raw_sys::general::__NR_clone as usize,
            inlateout("a0") flags as isize => result,
            in("a1") stack,
            in("a2") tid,
            in("a3") 0,
            in("a4") tid,
            lateout("t0") _,
            lateout("ra") _,
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

/// The time register, scaled to nanoseconds (10 MHz on the machines at hand).
#[inline(always)]
pub fn counter() -> u64 {
    let ticks: u64;
    // SAFETY: reads a register that user mode may read.
    unsafe {
        asm!("rdtime {}", out(reg) ticks);
    }
    ticks.wrapping_mul(100)
}

/// A function that only returns, as code.
pub const RETURN_INSTRUCTION: &[u8] = &[0x67, 0x80, 0x00, 0x00];

/// Makes code that was written visible to instruction fetches, on whatever CPU.
pub fn synchronise_code() {
    // SAFETY: changes no memory. It fails only where the flags, none here, are unknown.
    let _ = unsafe { syscall3(linux_raw_sys::general::__NR_riscv_flush_icache as usize, 0, 0, 0) };
}

/// Division by zero gives all ones on this architecture: no signal.
pub fn divide_by_zero() {}

/// Runs an instruction that does not exist: SIGILL.
pub fn illegal_instruction() {
    // SAFETY: traps.
    unsafe {
        asm!("unimp");
    }
}
