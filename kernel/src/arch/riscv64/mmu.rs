//! The CPU's side of page tables: which tree it uses, what it remembers of one.
//!
//! The kernel's own tree has three levels (Sv39), as every CPU that can run this kernel follows
//! them. On CPUs that follow four, users' trees have four (Sv48; [`choose_levels`]): the last entry
//! of their roots leads to the kernel's root, so that the kernel's addresses mean the same under
//! both.
//!
//! Every tree has the kernel's half, whose entries are global; all users have the same
//! address-space identifier, so a change of the tree forgets all users' translations. A CPU may
//! remember that an entry was not there (Privileged Architecture, 12.2.1): the kernel's are
//! fenced when they are made; a user's access that faults for that is repeated, and fenced, by
//! the trap code.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::asm::{read_csr, write_csr};
use super::entry::Entry;
use super::layout::{LEVELS, MOST_LEVELS};
use super::{cpu, sbi, smp};
use crate::arch::paging::{new_table, root, table};
use crate::arch::traits::{PAGE_SIZE, PhysAddr};
use crate::arch::{cpu_set, secondary, up};

/// Entries of a root table that belong to the user; the others are the kernel's.
pub(in crate::arch) const USER_ENTRIES: usize = 256;

/// The entry of a root with four levels that covers the kernel's half of three.
const KERNEL_ENTRY: usize = 511;

const PAGE_NUMBER: usize = (1 << 44) - 1;

/// What `satp` says of trees with so many levels: 8 is Sv39, 9 Sv48 (Privileged Architecture,
/// 12.1.11).
pub(super) const fn mode(levels: u32) -> usize {
    (levels as usize + 5) << 60
}

/// What `satp` holds for the tree with this root and so many levels.
pub(super) const fn tables(root: u64, levels: u32) -> usize {
    mode(levels) | (root >> 12) as usize
}

/// How many levels users' trees have. Changes once at most, before there are users.
static USER_LEVELS: AtomicU32 = AtomicU32::new(LEVELS);

/// The root of the tree with so many that has no user half; 0: the kernel's own is one.
static EMPTY_TREE: AtomicU64 = AtomicU64::new(0);

/// Levels of a user's page tables.
#[inline]
pub(in crate::arch) fn user_levels() -> u32 {
    USER_LEVELS.load(Ordering::Relaxed)
}

/// See [`crate::arch::Architecture::user_end`].
#[inline]
pub(in crate::arch) fn user_end() -> usize {
    1 << (11 + 9 * user_levels())
}

/// See [`crate::arch::Architecture::translation`].
pub(in crate::arch) fn translation() -> Option<&'static str> {
    Some(if user_levels() == LEVELS { "sv39" } else { "sv48" })
}

/// Gives users four levels of tables, if this CPU follows them and the command line does not say
/// `no4lvl`, Linux's word. A mode that a CPU does not have makes no difference when it is written
/// (Privileged Architecture, 12.1.11); the CPUs of a machine are expected to have the same.
pub(super) fn choose_levels(command_line: &str) {
    let mut words = command_line.split_ascii_whitespace().take_while(|&word| word != "--");
    if words.any(|word| word == "no4lvl") {
        return;
    }
    let Ok(empty) = new_table() else { return };
    link_kernel(empty, root());
    let wanted = tables(empty, MOST_LEVELS);
    // SAFETY: the tree maps the kernel's half as it is mapped now, and there is no other.
    unsafe { write_csr!("satp", wanted) };
    forget_everything();
    if read_csr!("satp") == wanted {
        EMPTY_TREE.store(empty, Ordering::Relaxed);
        USER_LEVELS.store(MOST_LEVELS, Ordering::Relaxed);
    } else {
        up::free_table_frame(PhysAddr(empty));
    }
}

/// Gives the root of an otherwise empty tree of four levels the kernel's half.
fn link_kernel(root: u64, kernel: u64) {
    // SAFETY: the table is the caller's alone.
    unsafe { (*table(root))[KERNEL_ENTRY] = Entry::kernel_table(kernel) };
}

/// What `satp` holds for the tree without a user half.
pub(super) fn kernel_tables() -> usize {
    match EMPTY_TREE.load(Ordering::Relaxed) {
        0 => tables(root(), LEVELS),
        empty => tables(empty, MOST_LEVELS),
    }
}

/// Whether an entry at this level, above 1, can map memory itself.
pub(in crate::arch) fn has_blocks(_level: u32) -> bool {
    true
}

/// Gives a new root, whose user half is empty, the kernel's half.
pub(in crate::arch) fn prepare_root(root: u64, kernel: u64) {
    if user_levels() > LEVELS {
        return link_kernel(root, kernel);
    }
    // SAFETY: the new table is the caller's alone; the kernel's upper half never changes.
    unsafe {
        let from = &*table(kernel);
        let to = &mut *table(root);
        to[USER_ENTRIES..].copy_from_slice(&from[USER_ENTRIES..]);
    }
}

/// The kernel's own tree is complete: uses it from now on.
pub(in crate::arch) fn install_kernel(_root: u64) {
    use_tables(kernel_tables());
    mapped_kernel();
}

/// Makes the kernel's own tree, without any user half, this CPU's.
pub(in crate::arch) fn activate_kernel(_kernel: u64) {
    use_tables(kernel_tables());
}

/// Makes a user's tree this CPU's, and forgets what the CPU knew of users' translations.
#[inline]
pub(in crate::arch) fn activate(root: u64) {
    use_tables(tables(root, user_levels()));
}

#[inline]
fn use_tables(value: usize) {
    // SAFETY: every tree that gets here maps the kernel's half as it is mapped now. The
    // identifier is 0, in a register, so that global entries stay.
    unsafe {
        write_csr!("satp", value);
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
