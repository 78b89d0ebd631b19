//! The only code of the user programs that knows which CPU it runs on: the first instructions,
//! the system-call instruction, starting a thread, returning from a signal, the clock counter.
//!
//! Each architecture's file defines the same items.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
pub use aarch64::{
    LEGACY_CALLS, NAME, RETURN_INSTRUCTION, clone_thread, counter, divide_by_zero,
    first_instructions, illegal_instruction, signal_action, synchronise_code, syscall0, syscall1,
    syscall2, syscall3, syscall4, syscall5, syscall6,
};

#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "riscv64")]
pub use riscv64::{
    LEGACY_CALLS, NAME, RETURN_INSTRUCTION, clone_thread, counter, divide_by_zero,
    first_instructions, illegal_instruction, signal_action, synchronise_code, syscall0, syscall1,
    syscall2, syscall3, syscall4, syscall5, syscall6,
};

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub use x86_64::{
    LEGACY_CALLS, NAME, RETURN_INSTRUCTION, clone_thread, counter, divide_by_zero,
    first_instructions, illegal_instruction, signal_action, synchronise_code, syscall0, syscall1,
    syscall2, syscall3, syscall4, syscall5, syscall6,
};

/// The numbers of old calls that newer architectures no longer have, where this one has them.
#[derive(Clone, Copy, Debug)]
pub struct LegacyCalls {
    pub open: usize,
    pub stat: usize,
    pub lstat: usize,
    pub access: usize,
    pub pipe: usize,
    pub dup2: usize,
    pub fork: usize,
    pub vfork: usize,
    pub mkdir: usize,
    pub rmdir: usize,
    pub unlink: usize,
    pub rename: usize,
    pub readlink: usize,
    pub time: usize,
    pub poll: usize,
}
