//! System-call numbers of RISC-V 64: the generic ones, but for those that were superseded before
//! RISC-V came.

pub use super::generic::*;

use super::ABSENT;

/// `riscv_flush_icache(2)`.
pub const RISCV_FLUSH_ICACHE: usize = 259;
/// User space makes `renameat2`.
pub const RENAMEAT: usize = ABSENT;
