//! System-call numbers of RISC-V 64: the generic ones, but for those that were superseded before
//! RISC-V came.

pub use super::generic::*;

use super::ABSENT;

/// User space makes `renameat2`.
pub const RENAMEAT: usize = ABSENT;
