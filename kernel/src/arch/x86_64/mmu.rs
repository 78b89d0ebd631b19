//! The CPU's side of page tables: which tree it uses, what it remembers of one.

use x86_64::VirtAddr;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr4, Cr4Flags};

use super::cpu::{FEATURES, has};
use super::entry::Entry;
use super::layout::{LEVELS, USER_END};
use crate::arch::paging::table;

/// Entries of a root table that belong to the user; the others are the kernel's.
pub(in crate::arch) const USER_ENTRIES: usize = 256;

/// Levels of a user's page tables.
pub(in crate::arch) const fn user_levels() -> u32 {
    LEVELS
}

/// See [`crate::arch::Architecture::user_end`].
pub(in crate::arch) const fn user_end() -> usize {
    USER_END
}

/// See [`crate::arch::Architecture::translation`].
pub(in crate::arch) const fn translation() -> Option<&'static str> {
    None
}

/// Whether an entry at this level, above 1, can map memory itself.
pub(in crate::arch) fn has_blocks(level: u32) -> bool {
    level == 2 || level == 3 && has(&FEATURES.huge_pages)
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
}

/// Makes the kernel's own tree, without any user half, this CPU's.
pub(in crate::arch) fn activate_kernel(kernel: u64) {
    activate(kernel);
}

/// Makes a user's tree this CPU's, and forgets what the CPU knew of users' translations.
pub(in crate::arch) fn activate(root: u64) {
    // SAFETY: every root that gets here maps the kernel's half as it is mapped now.
    unsafe { core::arch::asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// The root of this CPU's address space.
pub(in crate::arch) fn active() -> u64 {
    let value: u64;
    // SAFETY: reading CR3 has no effect.
    unsafe {
        core::arch::asm!("mov {}, cr3", out(reg) value,
            options(nostack, nomem, preserves_flags));
    }
    value & Entry::FRAME
}

/// Forgets one page's translation on this CPU.
pub(in crate::arch) fn flush(page: usize) {
    tlb::flush(VirtAddr::new_truncate(page as u64));
}

/// Entries of users were written where there were none: nothing to be done here.
#[inline]
pub(in crate::arch) fn published() {}

/// The same of the kernel's.
#[inline]
pub(in crate::arch) fn mapped_kernel() {}

/// See [`crate::arch::Architecture::synchronise_code`].
#[inline]
pub(in crate::arch) fn synchronise_code() {}

/// A page is about to be mapped to be executed: nothing to be done here.
#[inline]
pub(in crate::arch) fn prepare_code(_frame: u64) {}

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

/// Makes other CPUs, a bit for each, forget users' translations of `[start, end)`, and tables.
pub(in crate::arch) fn flush_others(cpus: u64, _start: usize, _end: usize) {
    super::smp::flush_others(cpus);
}

/// Forgets all translations on this CPU, the kernel's included.
pub(super) fn flush_all() {
    // SAFETY: turning global pages off and on again forgets everything, and changes nothing else
    // (Intel SDM vol. 3, section 4.10.4.1). Interrupts are off: the register stays as it is read.
    unsafe {
        let value = Cr4::read();
        Cr4::write(value - Cr4Flags::PAGE_GLOBAL);
        Cr4::write(value);
    }
}
