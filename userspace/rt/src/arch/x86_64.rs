//! x86_64: `syscall`, the TSC, and Linux's calling convention (rax; rdi rsi rdx r10 r8 r9).

use super::LegacyCalls;
use core::arch::asm;
use linux_raw_sys::general::{
    __NR_access, __NR_dup2, __NR_fork, __NR_lstat, __NR_mkdir, __NR_open, __NR_pipe, __NR_poll,
    __NR_readlink, __NR_rename, __NR_rmdir, __NR_stat, __NR_time, __NR_unlink, __NR_vfork,
    SA_RESTORER, kernel_sigaction,
};

/// What `uname -m` prints on this machine.
pub const NAME: &str = "x86_64";

/// This architecture is old enough to have all of them.
pub const LEGACY_CALLS: Option<LegacyCalls> = Some(LegacyCalls {
    open: __NR_open as usize,
    stat: __NR_stat as usize,
    lstat: __NR_lstat as usize,
    access: __NR_access as usize,
    pipe: __NR_pipe as usize,
    dup2: __NR_dup2 as usize,
    fork: __NR_fork as usize,
    vfork: __NR_vfork as usize,
    mkdir: __NR_mkdir as usize,
    rmdir: __NR_rmdir as usize,
    unlink: __NR_unlink as usize,
    rename: __NR_rename as usize,
    readlink: __NR_readlink as usize,
    time: __NR_time as usize,
    poll: __NR_poll as usize,
});

/// The body of `_start`: calls `$begin` with the stack pointer that the kernel set up.
#[doc(hidden)]
#[macro_export]
macro_rules! first_instructions_of_this_machine {
    ($begin:path) => {
        core::arch::naked_asm!(
            "xor ebp, ebp",
            "mov rdi, rsp",
            "and rsp, -16",
            "call {begin}",
            "ud2",
            begin = sym $begin
        )
    };
}
pub use crate::first_instructions_of_this_machine as first_instructions;

/// Defines a function that makes a system call with so many arguments.
macro_rules! define_syscall {
    ($name:ident $(, $argument:ident in $register:tt)*) => {
        /// Makes a system call; returns what the kernel returned, errors as `-errno`.
        ///
        /// # Safety
        /// Whatever the call does to this process's memory and descriptors must be allowed.
        #[inline(always)]
        pub unsafe fn $name(number: usize $(, $argument: usize)*) -> isize {
            let result;
            // SAFETY: the registers are the convention's; the effect is the caller's promise.
            unsafe {
                asm!(
                    "syscall",
                    inlateout("rax") number as isize => result,
                    $(in($register) $argument,)*
                    lateout("rcx") _,
                    lateout("r11") _,
                    options(nostack),
                );
            }
            result
        }
    };
}

define_syscall!(syscall0);
define_syscall!(syscall1, first in "rdi");
define_syscall!(syscall2, first in "rdi", second in "rsi");
define_syscall!(syscall3, first in "rdi", second in "rsi", third in "rdx");
define_syscall!(syscall4, first in "rdi", second in "rsi", third in "rdx", fourth in "r10");
define_syscall!(syscall5, first in "rdi", second in "rsi", third in "rdx", fourth in "r10", fifth in "r8");
define_syscall!(syscall6, first in "rdi", second in "rsi", third in "rdx", fourth in "r10", fifth in "r8", sixth in "r9");

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
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "pop rax",
            "pop rdi",
            "call rax",
            "xor edi, edi",
            "mov eax, 60",
            "syscall",
            "2:",
            inlateout("rax") linux_raw_sys::general::__NR_clone as isize => result,
            in("rdi") flags,
            in("rsi") stack,
            in("rdx") tid,
            in("r10") tid,
            in("r8") 0,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

core::arch::global_asm!(
    ".globl lemma_rt_signal_return",
    ".type lemma_rt_signal_return, @function",
    "lemma_rt_signal_return:",
    "mov eax, 15",
    "syscall",
    "ud2",
);

unsafe extern "C" {
    fn lemma_rt_signal_return();
}

/// The kernel's structure for a signal's disposition; x86_64 wants a return trampoline.
pub fn signal_action(handler: usize, flags: usize, mask: u64) -> kernel_sigaction {
    // SAFETY: all fields are integers, nullable function pointers or arrays of integers.
    let mut action: kernel_sigaction = unsafe { core::mem::zeroed() };
    // SAFETY: an `Option` of a function pointer has the layout of an address, 0 being `None`.
    unsafe {
        (&raw mut action.sa_handler_kernel).cast::<usize>().write(handler);
    }
    action.sa_flags = (flags | SA_RESTORER as usize) as _;
    action.sa_restorer = Some(lemma_rt_signal_return);
    action.sa_mask.sig[0] = mask as _;
    action
}

/// The time-stamp counter, in ticks.
#[inline(always)]
pub fn counter() -> u64 {
    // SAFETY: reads a register that user mode may read.
    unsafe {
        core::arch::x86_64::_mm_lfence();
        core::arch::x86_64::_rdtsc()
    }
}

/// A function that only returns, as code.
pub const RETURN_INSTRUCTION: &[u8] = &[0xc3];

/// Makes code that was written visible to instruction fetches; nothing is needed here.
pub fn synchronise_code() {}

/// Divides by zero: SIGFPE.
pub fn divide_by_zero() {
    // SAFETY: traps.
    unsafe {
        asm!("xor edx, edx", "mov eax, 1", "xor ecx, ecx", "div ecx", out("eax") _, out("ecx") _, out("edx") _);
    }
}

/// Runs an instruction that does not exist: SIGILL.
pub fn illegal_instruction() {
    // SAFETY: traps.
    unsafe {
        asm!("ud2");
    }
}
