//! The CPU's side of page tables: which tree it uses, what it remembers of one.
//!
//! Every tree has the kernel's half, whose entries are global; all users have the same
//! address-space identifier, so a change of the tree forgets all users' translations. A CPU may
//! remember that an entry was not there (Privileged Architecture, 12.2.1): the kernel's are
//! fenced when they are made; a user's access that faults for that is repeated, and fenced, by
//! the trap code.

use core::arch::asm;

use super::asm::{read_csr, write_csr};
use super::entry::Entry;
use super::{cpu, sbi, smp};
use crate::arch::paging::table;
use crate::arch::traits::PAGE_SIZE;
use crate::arch::{cpu_set, secondary};

/// Entries of a root table that belong to the user; the others are the kernel's.
pub(in crate::arch) const USER_ENTRIES: usize = 256;

/// `satp`: Sv39.
pub(super) const MODE: usize = 8 << 60;
const PAGE_NUMBER: usize = (1 << 44) - 1;

/// What `satp` holds for the tree with this root.
pub(super) fn tables(root: u64) -> usize {
    MODE | (root >> 12) as usize
}

/// Whether an entry at this level, above 1, can map memory itself.
pub(in crate::arch) fn has_blocks(_level: u32) -> bool {
    true
}

/// Gives a new root, whose user half is empty, the kernel's half.
pub(in crate::arch) fn prepare_root(root: u64, kernel: u64) {
    // SAFETY: the new table is the caller's alone; the kernel's upper half never changes.
    unsafe {
        let from = &*table(kernel);
        let to = &mut *table(root);
        to[USER_ENTRIES..].copy_from_slice(&from[USER_ENTRIES..]);
    }
}

/// The kernel's own tree is complete: uses it from now on.
pub(in crate::arch) fn install_kernel(root: u64) {
    activate(root);
    mapped_kernel();
}

/// Makes the kernel's own tree, without any user half, this CPU's.
pub(in crate::arch) fn activate_kernel(kernel: u64) {
    activate(kernel);
}

/// Makes a user's tree this CPU's, and forgets what the CPU knew of users' translations.
pub(in crate::arch) fn activate(root: u64) {
    // SAFETY: every root that gets here maps the kernel's half as it is mapped now. The
    // identifier is 0, in a register, so that global entries stay.
    unsafe {
        write_csr!("satp", tables(root));
        asm!("sfence.vma zero, {}", in(reg) 0usize, options(nostack, preserves_flags));
    }
}

/// The root of this CPU's address space.
pub(in crate::arch) fn active() -> u64 {
    ((read_csr!("satp") & PAGE_NUMBER) as u64) << 12
}

/// Forgets one page's translation on this CPU.
#[inline]
pub(in crate::arch) fn flush(page: usize) {
    // SAFETY: forgetting translations changes no memory.
    unsafe { asm!("sfence.vma {}, zero", in(reg) page, options(nostack, preserves_flags)) };
}

/// Entries of users were written where there were none: nothing to be done here.
#[inline]
pub(in crate::arch) fn published() {}

/// Entries of the kernel were written where there were none: accesses see them from now on, on
/// this CPU at once, on the others after the fault that they may cause (trap.rs).
#[inline]
pub(in crate::arch) fn mapped_kernel() {
    forget_everything();
    if secondary::online() > 1 {
        cpu::tell_of_new_pages();
    }
}

fn forget_everything() {
    // SAFETY: forgetting translations changes no memory.
    unsafe { asm!("sfence.vma", options(nostack, preserves_flags)) };
}

/// A page is about to be mapped to be executed: instruction fetches see what was written to it.
pub(in crate::arch) fn prepare_code(_frame: u64) {
    synchronise_code();
}

/// See [`crate::arch::Architecture::synchronise_code`].
pub(in crate::arch) fn synchronise_code() {
    // SAFETY: a fence.
    unsafe { asm!("fence.i", options(nostack, preserves_flags)) };
    if secondary::online() > 1 {
        sbi::fence_code_everywhere();
    }
}

/// Replaces the entry of a page; `active`: this CPU may know the old one. `forget` makes the
/// others forget it.
///
/// # Safety
/// The entry is in a table of a tree that the caller owns.
#[inline]
pub(in crate::arch) unsafe fn change(
    entry: *mut Entry,
    new: Entry,
    page: usize,
    active: bool,
    forget: impl FnOnce(),
) {
    // SAFETY: the caller's promise.
    unsafe { entry.write_volatile(new) };
    if active {
        flush(page);
    }
    forget();
}

/// More pages are forgotten all at once.
const FEW_PAGES: usize = 32;

/// Makes other CPUs, a bit for each, forget users' translations of `[start, end)`, and tables;
/// returns when they have. Firmware interrupts them, whatever they do.
pub(in crate::arch) fn flush_others(cpus: u64, start: usize, end: usize) {
    // All at once is also what makes tables forgotten.
    let few = end - start <= FEW_PAGES * PAGE_SIZE;
    let (start, length) = if few { (start, end - start) } else { (0, usize::MAX) };
    for number in cpu_set::numbers(cpus) {
        if let Some(hart) = smp::hart(number) {
            sbi::fence_translations(Some(hart), start, length);
        }
    }
}

/// Makes all CPUs forget all translations.
pub(in crate::arch) fn flush_all() {
    forget_everything();
    if secondary::online() > 1 {
        sbi::fence_translations(None, 0, usize::MAX);
    }
}
