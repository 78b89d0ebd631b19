//! Instructions of the kernel that may fault: each machine's copy loops note theirs in the
//! `.ex_table` section, and its trap code asks [`fixup`] before it calls a fault a bug.

use super::image::{ex_table_end, ex_table_start};

/// Where to go on after a fault at one of the instructions in `[from, end)`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Fixup {
    from: usize,
    end: usize,
    pub(super) target: usize,
    pub(super) kind: usize,
}

impl Fixup {
    /// `mem` may resolve the fault; the instruction is then repeated.
    pub(super) const RESOLVE: usize = 0;
    /// The fault is final.
    pub(super) const NO_RESOLVE: usize = 1;
}

/// The entry for an instruction, if it may fault.
pub(super) fn fixup(instruction: usize) -> Option<Fixup> {
    let start = ex_table_start();
    let count = (ex_table_end() - start) / size_of::<Fixup>();
    // SAFETY: the linker script gathers `Fixup`s, and nothing else, in this range.
    let table = unsafe { core::slice::from_raw_parts(start as *const Fixup, count) };
    table.iter().find(|entry| (entry.from..entry.end).contains(&instruction)).copied()
}
