//! System calls of RISC-V that no other architecture has.

use super::{Call, quick};
use lemma_rt::general as nr;

/// Those beside the ones that are everywhere.
pub(super) const CALLS: &[Call] = &[quick("riscv_flush_icache", nr::__NR_riscv_flush_icache)];
