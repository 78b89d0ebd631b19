//! User address spaces: one four-level tree each, whose upper half is the kernel's.

use core::ops::ControlFlow;

use super::entry::{Entry, Flags};
use super::layout::{USER_END, USER_START};
use super::paging::{self, table};
use crate::arch::traits::{MapError, Mapping, PAGE_SIZE, PageTable, PhysAddr, Protection};
use crate::arch::up;

/// Entries of the root that belong to the user.
const USER_ENTRIES: usize = 256;

/// A user address space. Owns its tables, not the frames that they map.
#[derive(Debug)]
pub struct Table {
    root: u64,
}

/// What a walk does with an entry that holds a table or a page.
type Visit<'a> = dyn FnMut(usize, &mut Entry) -> ControlFlow<()> + 'a;

/// Bytes that one entry of a table at `level` covers.
const fn span(level: u32) -> usize {
    PAGE_SIZE << (9 * (level - 1))
}

/// Visits the used last-level entries of `[start, end)` below a table, ascending.
///
/// # Safety
/// `current` is a table at `level` of a tree that the caller owns; `base` is its first address.
unsafe fn walk(
    current: u64,
    level: u32,
    base: usize,
    start: usize,
    end: usize,
    visit: &mut Visit<'_>,
) -> ControlFlow<()> {
    let first = start.saturating_sub(base) / span(level);
    for slot in first..512 {
        let address = base + slot * span(level);
        if address >= end {
            break;
        }
        // SAFETY: a table has 512 entries, and the caller owns the tree.
        let entry = unsafe { &mut (*table(current))[slot] };
        if level == 1 {
            if entry.is_used() {
                visit(address, entry)?;
            }
        } else if entry.is_present() {
            // SAFETY: a present inner entry holds a table one level down.
            unsafe { walk(entry.frame(), level - 1, address, start, end, visit)? };
        }
    }
    ControlFlow::Continue(())
}

/// Frees the empty tables in `[start, end)` below a table; says whether that one is empty too.
///
/// # Safety
/// As for `walk`.
unsafe fn free_empty(current: u64, level: u32, base: usize, start: usize, end: usize) -> bool {
    let slots = if level == 4 { USER_ENTRIES } else { 512 };
    if level > 1 {
        for slot in start.saturating_sub(base) / span(level)..slots {
            let address = base + slot * span(level);
            if address >= end {
                break;
            }
            // SAFETY: as in `walk`.
            let entry = unsafe { &mut (*table(current))[slot] };
            if !entry.is_present() {
                continue;
            }
            // SAFETY: as in `walk`.
            if unsafe { free_empty(entry.frame(), level - 1, address, start, end) } {
                up::free_table_frame(PhysAddr(entry.frame()));
                *entry = Entry::EMPTY;
            }
        }
    }
    // SAFETY: as in `walk`.
    unsafe { (*table(current)).iter().take(slots).all(|entry| !entry.is_used()) }
}

impl Table {
    fn is_active(&self) -> bool {
        paging::active() == self.root
    }

    /// Drops the translation of a page whose entry changed.
    fn flush(&self, page: usize) {
        if self.is_active() {
            paging::flush(page);
        }
    }

    fn find(&self, page: usize) -> Option<*mut Entry> {
        if page >= USER_END {
            return None;
        }
        // SAFETY: the tree is this object's own, and `&self` keeps it as it is.
        unsafe { paging::entry_finding(self.root, page) }
    }
}

fn check(page: usize) -> Result<(), MapError> {
    if page.is_multiple_of(PAGE_SIZE) && (USER_START..USER_END).contains(&page) {
        Ok(())
    } else {
        Err(MapError::BadAddress)
    }
}

impl PageTable for Table {
    fn new() -> Result<Self, MapError> {
        let root = paging::new_table()?;
        // SAFETY: the new table is ours alone; the kernel's upper half never changes.
        unsafe {
            let from = &*table(paging::root());
            let to = &mut *table(root);
            to[USER_ENTRIES..].copy_from_slice(&from[USER_ENTRIES..]);
        }
        Ok(Self { root })
    }

    fn map(
        &mut self,
        page: usize,
        frame: PhysAddr,
        protection: Protection,
    ) -> Result<(), MapError> {
        check(page)?;
        let new = Entry::user(frame, protection)?;
        // SAFETY: `&mut self`: the tree is this object's own.
        unsafe {
            let entry = paging::entry_making(self.root, page, 1, Flags::USER_TABLE)?;
            if (*entry).is_used() {
                return Err(MapError::AlreadyMapped);
            }
            *entry = new;
        }
        Ok(())
    }

    fn unmap(&mut self, page: usize) -> Option<Mapping> {
        let entry = self.find(page)?;
        // SAFETY: `&mut self`: the tree is this object's own.
        let old = unsafe { entry.replace(Entry::EMPTY) }.mapping()?;
        self.flush(page);
        Some(old)
    }

    fn protect(&mut self, page: usize, protection: Protection) -> bool {
        let Some(mapping) = self.query(page) else { return false };
        self.replace(page, mapping.frame, protection).is_some()
    }

    fn replace(&mut self, page: usize, frame: PhysAddr, protection: Protection) -> Option<Mapping> {
        let entry = self.find(page)?;
        let new = Entry::user(frame, protection).ok()?;
        // SAFETY: `&mut self`: the tree is this object's own.
        let old = unsafe {
            let old = (*entry).mapping()?;
            *entry = new;
            old
        };
        self.flush(page);
        Some(old)
    }

    fn query(&self, page: usize) -> Option<Mapping> {
        // SAFETY: `&self` keeps the tree as it is.
        unsafe { *self.find(page)? }.mapping()
    }

    fn for_each(
        &mut self,
        start: usize,
        end: usize,
        each: &mut dyn FnMut(usize, Mapping) -> Option<Protection>,
    ) {
        let active = self.is_active();
        let end = end.min(USER_END);
        // SAFETY: `&mut self`: the tree is this object's own.
        let _ = unsafe {
            walk(self.root, 4, 0, start, end, &mut |page, entry| {
                if let Some(mapping) = entry.mapping()
                    && let Some(protection) = each(page, mapping)
                    && let Ok(new) = Entry::user(mapping.frame, protection)
                {
                    *entry = new;
                    if active {
                        paging::flush(page);
                    }
                }
                ControlFlow::Continue(())
            })
        };
    }

    fn unmap_each(&mut self, start: usize, end: usize, each: &mut dyn FnMut(usize, Mapping)) {
        let active = self.is_active();
        let end = end.min(USER_END);
        // SAFETY: `&mut self`: the tree is this object's own.
        let _ = unsafe {
            walk(self.root, 4, 0, start, end, &mut |page, entry| {
                if let Some(mapping) = entry.mapping() {
                    *entry = Entry::EMPTY;
                    if active {
                        paging::flush(page);
                    }
                    each(page, mapping);
                }
                ControlFlow::Continue(())
            })
        };
    }

    fn prune(&mut self, start: usize, end: usize) {
        // SAFETY: `&mut self`: the tree is this object's own.
        unsafe { free_empty(self.root, 4, 0, start, end.min(USER_END)) };
        if self.is_active() {
            // The CPU may have kept the freed tables in its paging-structure caches.
            paging::activate(self.root);
        }
    }

    fn root(&self) -> PhysAddr {
        PhysAddr(self.root)
    }

    fn activate(root: PhysAddr) {
        paging::activate(root.0);
    }
}

/// Frees every table below an inner entry.
///
/// # Safety
/// As for `walk`.
unsafe fn free_tables(current: u64, level: u32) {
    let slots = if level == 4 { USER_ENTRIES } else { 512 };
    if level > 1 {
        // SAFETY: as in `walk`.
        for entry in unsafe { (*table(current)).iter().take(slots) } {
            if entry.is_present() {
                // SAFETY: as in `walk`.
                unsafe { free_tables(entry.frame(), level - 1) };
            }
        }
    }
    up::free_table_frame(PhysAddr(current));
}

impl Drop for Table {
    /// Frees the tables. The pages must have been unmapped or be owned elsewhere.
    fn drop(&mut self) {
        if self.is_active() {
            paging::activate(paging::root());
        }
        // SAFETY: the tree is this object's own, no CPU uses it, and nobody will again.
        unsafe { free_tables(self.root, 4) };
    }
}

/// Back to the kernel's own address space, without any user half.
pub(super) fn activate_kernel() {
    paging::activate(paging::root());
}
