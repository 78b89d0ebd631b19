//! The CPU's side of page tables: which trees it uses, what it remembers of them.
//!
//! The kernel's tree is in TTBR1, global in the TLB; a user's is in TTBR0, and all users have
//! the same address-space identifier, so a change of the tree forgets all users' translations.
//! In the order of D8.13.5 and D8.16 of the Arm Architecture Reference Manual: an entry is
//! written, made visible to the table walkers (DSB), and what was known of it forgotten (TLBI,
//! DSB, ISB); another frame takes a page's place only after the entry was invalid in between.

use core::arch::asm;

use super::asm::{read_register, write_register};
use super::entry::Entry;
use super::layout::{DIRECT_MAP, LEVELS, USER_END};
use crate::arch::traits::PAGE_SIZE;

/// Entries of a root table that belong to the user: all of TTBR0's.
pub(in crate::arch) const USER_ENTRIES: usize = 512;

/// TCR_EL1.EPD0: no walks through TTBR0.
const NO_USER_WALKS: u64 = 1 << 7;
/// SCTLR_EL1.WXN: what is writable is not executable.
const WRITE_IMPLIES_NO_EXECUTE: u64 = 1 << 19;

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
    level == 2 || level == 3
}

/// A new root has no part of the kernel's.
pub(in crate::arch) fn prepare_root(_root: u64, _kernel: u64) {}

/// The kernel's own tree is complete: uses it from now on, and no user's.
pub(in crate::arch) fn install_kernel(root: u64) {
    // SAFETY: the tree maps the image, this stack, and all RAM as they are mapped now, and each
    // page as its part of the image needs it.
    unsafe {
        asm!("dsb ishst", options(nostack, preserves_flags));
        write_register!("ttbr1_el1", root);
        asm!("isb", "tlbi vmalle1", "dsb ish", "isb", options(nostack, preserves_flags));
    }
    activate_kernel(root);
    let control = read_register!("sctlr_el1") | WRITE_IMPLIES_NO_EXECUTE;
    // SAFETY: no page of the tree is writable and executable.
    unsafe {
        write_register!("sctlr_el1", control);
        asm!("isb", options(nostack, preserves_flags));
    }
}

/// This CPU has no user's tree.
pub(in crate::arch) fn activate_kernel(_kernel: u64) {
    let translation = read_register!("tcr_el1") | NO_USER_WALKS;
    // SAFETY: the kernel runs on TTBR1 alone.
    unsafe {
        write_register!("tcr_el1", translation);
        write_register!("ttbr0_el1", 0u64);
        forget_users();
    }
}

/// Forgets all translations that are not global.
///
/// # Safety
/// Always sound; unsafe for the instructions.
#[inline]
unsafe fn forget_users() {
    // SAFETY: TLB maintenance changes no memory.
    unsafe {
        asm!("isb", "tlbi aside1, xzr", "dsb nsh", "isb", options(nostack, preserves_flags));
    }
}

/// Makes a user's tree this CPU's, and forgets what the CPU knew of users' translations.
pub(in crate::arch) fn activate(root: u64) {
    let translation = read_register!("tcr_el1") & !NO_USER_WALKS;
    // SAFETY: every root that gets here is a tree of users' pages.
    unsafe {
        asm!("dsb ishst", options(nostack, preserves_flags));
        write_register!("ttbr0_el1", root);
        write_register!("tcr_el1", translation);
        forget_users();
    }
}

/// The root of the user's tree that this CPU has; 0 for none.
pub(in crate::arch) fn active() -> u64 {
    read_register!("ttbr0_el1") & Entry::FRAME
}

/// Forgets one page's translation on this CPU.
pub(in crate::arch) fn flush(page: usize) {
    // SAFETY: TLB maintenance changes no memory. Identifier 0 stands in the upper bits; global
    // entries go too.
    unsafe {
        asm!("dsb nshst", "tlbi vaae1, {}", "dsb nsh", "isb",
            in(reg) page >> 12 & ((1 << 44) - 1), options(nostack, preserves_flags));
    }
}

/// Entries of users were written where there were none: walks see them from now on.
#[inline]
pub(in crate::arch) fn published() {
    // SAFETY: barriers.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// The same of the kernel's.
#[inline]
pub(in crate::arch) fn mapped_kernel() {
    published();
}

/// See [`crate::arch::Architecture::synchronise_code`].
#[inline]
pub(in crate::arch) fn synchronise_code() {}

/// A user page is about to be mapped to be executed: instruction fetches see what was written
/// to it (D7.5.10; lengths of lines from CTR_EL0).
pub(in crate::arch) fn prepare_code(frame: u64) {
    let start = DIRECT_MAP + frame as usize;
    let types = read_register!("ctr_el0");
    // CTR_EL0.IDC and DIC: no cleaning, no invalidation needed.
    if types & 1 << 28 == 0 {
        let line = 4usize << (types >> 16 & 15);
        for address in (start..start + PAGE_SIZE).step_by(line) {
            // SAFETY: cleans a line of memory in the direct map.
            unsafe {
                asm!("dc cvau, {}", in(reg) address, options(nostack, preserves_flags));
            }
        }
    }
    // SAFETY: barriers and cache maintenance.
    unsafe {
        asm!("dsb ish", options(nostack, preserves_flags));
        if types & 1 << 29 == 0 {
            asm!("ic ialluis", "dsb ish", options(nostack, preserves_flags));
        }
        asm!("isb", options(nostack, preserves_flags));
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
    // SAFETY: the caller's promise. Volatile, so that the walkers see both writes in order.
    unsafe {
        let old = entry.read();
        if old.is_present() && old.frame() != new.frame() {
            entry.write_volatile(Entry::EMPTY);
            if active {
                flush(page);
            }
            forget();
            entry.write_volatile(new);
            return published();
        }
        entry.write_volatile(new);
    }
    if active {
        flush(page);
    } else {
        published();
    }
    forget();
}

/// More pages are forgotten all at once.
const FEW_PAGES: usize = 32;

/// Makes all CPUs forget users' translations of `[start, end)`, and tables: the CPUs tell each
/// other.
pub(in crate::arch) fn flush_others(_cpus: u64, start: usize, end: usize) {
    // SAFETY: TLB maintenance changes no memory. Identifier 0 stands in the upper bits.
    unsafe {
        asm!("dsb ishst", options(nostack, preserves_flags));
        if end - start > FEW_PAGES * PAGE_SIZE {
            asm!("tlbi aside1is, xzr", options(nostack, preserves_flags));
        } else {
            for page in (start..end).step_by(PAGE_SIZE) {
                asm!("tlbi vaae1is, {}", in(reg) page >> 12 & ((1 << 44) - 1),
                    options(nostack, preserves_flags));
            }
        }
        asm!("dsb ish", "isb", options(nostack, preserves_flags));
    }
}

/// Makes all CPUs forget all translations.
pub(in crate::arch) fn flush_all() {
    // SAFETY: TLB maintenance changes no memory.
    unsafe {
        asm!("dsb ishst", "tlbi vmalle1is", "dsb ish", "isb", options(nostack, preserves_flags));
    }
}

/// A further CPU, which has the boot CPU's trees, goes on without a user's.
pub(super) fn install_on_further_cpu() {
    activate_kernel(0);
    let control = read_register!("sctlr_el1") | WRITE_IMPLIES_NO_EXECUTE;
    // SAFETY: no page of the kernel's tree is writable and executable; what was known of the
    // memory that the CPU came through is forgotten.
    unsafe {
        write_register!("sctlr_el1", control);
        asm!("isb", "tlbi vmalle1", "dsb nsh", "isb", options(nostack, preserves_flags));
    }
}
