//! Where things are in a user address space. Nothing is placed at random: a program finds the
//! same addresses in each run, as on Linux with `norandmaps`.
//!
//! From the bottom: the program at its link address (a relocatable one at [`PROGRAM_BASE`]),
//! its heap behind it, mappings from [`MAP_TOP`] downward, and the stack from [`STACK_TOP`]
//! downward. Mappings and stack lie close together, so they share page tables.

use crate::arch::{Arch, Architecture, PAGE_SIZE};

/// The lowest address that may be mapped: Linux's default `vm.mmap_min_addr`.
pub const USER_LOW: usize = if Arch::USER_START > 0x1_0000 { Arch::USER_START } else { 0x1_0000 };
/// One past the highest address of a user.
pub const USER_END: usize = Arch::USER_END;
/// One past the highest byte of the first thread's stack.
pub const STACK_TOP: usize = USER_END - PAGE_SIZE;
/// How far the stack may grow: Linux's default for `RLIMIT_STACK`.
pub const STACK_LIMIT: usize = 8 << 20;
/// The lowest address that the stack may reach.
pub const STACK_LOW: usize = STACK_TOP - STACK_LIMIT;
/// What is mapped of the stack from the start.
pub const STACK_INITIAL: usize = 132 * 1024;
/// Mappings without a chosen address go below this, highest first.
pub const MAP_TOP: usize = STACK_LOW - (2 << 20);
/// Where a relocatable program is loaded: two thirds up, as Linux does.
pub const PROGRAM_BASE: usize = (USER_END / 3 * 2) & !(PAGE_SIZE - 1);
