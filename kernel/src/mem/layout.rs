//! Where things are in a user address space. Nothing is placed at random: a program finds the
//! same addresses in each run, as on Linux with `norandmaps`.
//!
//! From the bottom: the program at its link address (a relocatable one at [`program_base`]),
//! its heap behind it, mappings from [`map_top`] downward, and the stack from [`stack_top`]
//! downward. Mappings and stack lie close together, so they share page tables. All of this
//! follows from how many addresses the machine gives users, as on Linux: what wants low addresses
//! has to ask for them.

use crate::arch::{Arch, Architecture, PAGE_SIZE};

/// The lowest address that may be mapped: Linux's default `vm.mmap_min_addr`.
pub const USER_LOW: usize = if Arch::USER_START > 0x1_0000 { Arch::USER_START } else { 0x1_0000 };
/// How far the stack may grow: Linux's default for `RLIMIT_STACK`.
pub const STACK_LIMIT: usize = 8 << 20;
/// What is mapped of the stack from the start.
pub const STACK_INITIAL: usize = 132 * 1024;

/// One past the highest address of a user.
#[inline]
pub fn user_end() -> usize {
    Arch::user_end()
}

/// One past the highest byte of the first thread's stack.
pub fn stack_top() -> usize {
    user_end() - PAGE_SIZE
}

/// The lowest address that the stack may reach.
pub fn stack_low() -> usize {
    stack_top() - STACK_LIMIT
}

/// Mappings without a chosen address go below this, highest first.
pub fn map_top() -> usize {
    stack_low() - (2 << 20)
}

/// Where a relocatable program is loaded: two thirds up, as Linux does.
pub fn program_base() -> usize {
    (user_end() / 3 * 2) & !(PAGE_SIZE - 1)
}
