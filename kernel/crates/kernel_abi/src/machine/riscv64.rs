//! RISC-V 64.

pub use super::generic::{clone_arguments, stat};
pub use super::signal_action::without_restorer::{
    SignalActionWords, signal_action, signal_action_words,
};
pub use crate::syscall::riscv64 as numbers;

/// Where `struct epoll_event`, aligned as usual, has its data: behind the events.
pub const EPOLL_DATA: usize = 8;

/// The smallest alternate signal stack (`MINSIGSTKSZ`).
pub const MIN_SIGNAL_STACK: usize = 2048;

/// The kernel's values, which are x86_64's, of a user's flags of `open(2)`: the same
/// (`asm-generic/fcntl.h`).
#[inline]
pub const fn open_flags(user: u32) -> u32 {
    user
}

/// The user's values of the kernel's flags.
#[inline]
pub const fn user_open_flags(flags: u32) -> u32 {
    flags
}
