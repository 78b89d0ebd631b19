//! User address spaces: one tree of tables each.
//!
//! Each inner entry counts the used entries of its table, so a table is freed when its last
//! page goes, without looking at the other 511. A table that is freed so is all zero; some are
//! kept as they are for the next address space ([`SPARE`]), roots with their kernel half.
//!
//! Other CPUs may use the same tree, and walk it while it is changed. A table is linked when it
//! is complete; what is taken out is kept ([`Removal`]) until no CPU remembers it.

use core::mem::MaybeUninit;
use core::sync::atomic::{Ordering, fence};

use kernel_sync::SpinLock;

use super::cpu_set::CpuSet;
use super::machine::Entry;
use super::machine::layout::USER_START;
use super::machine::mmu::{self, USER_ENTRIES, user_end, user_levels};
use super::paging::{self, index, span, table};
use super::traits::{MapError, Mapping, PAGE_SIZE, PageTable, PhysAddr, Protection};
use super::{secondary, up};

/// Tables that are empty and not in use.
struct Spare<const N: usize> {
    tables: [u64; N],
    count: usize,
}

impl<const N: usize> Spare<N> {
    const fn new() -> Self {
        Self { tables: [0; N], count: 0 }
    }

    fn push(&mut self, table: u64) -> bool {
        match self.tables.get_mut(self.count) {
            Some(slot) => {
                *slot = table;
                self.count += 1;
                true
            }
            None => false,
        }
    }

    fn pop(&mut self) -> Option<u64> {
        self.count = self.count.checked_sub(1)?;
        self.tables.get(self.count).copied()
    }
}

static SPARE: SpinLock<Spare<32>> = SpinLock::new(Spare::new());
/// Roots: the user's half is empty, the kernel's, if it is there, complete.
static SPARE_ROOTS: SpinLock<Spare<8>> = SpinLock::new(Spare::new());

fn take_table() -> Result<u64, MapError> {
    let spare = SPARE.lock().pop();
    spare.map_or_else(paging::new_table, Ok)
}

/// The entry that links a table, which walks may follow at once: what is in the table is
/// written before.
#[inline]
fn linked(table: u64) -> Entry {
    fence(Ordering::Release);
    Entry::user_table(table)
}

/// Takes back a table without any used entry.
fn give_table(table: u64) {
    if !SPARE.lock().push(table) {
        up::free_table_frame(PhysAddr(table));
    }
}

/// A user address space. Owns its tables, not the frames that they map.
#[derive(Debug)]
pub struct Table {
    /// As the entry that would hold it: the address, and the count of used user entries.
    root: Entry,
}

/// The slots of a table at `level`, whose first address is `base`, that `[start, end)` touches.
/// `end` is above `base`.
fn slots(level: u32, base: usize, start: usize, end: usize) -> core::ops::Range<usize> {
    let first = start.saturating_sub(base) / span(level);
    let limit = if level == user_levels() { USER_ENTRIES } else { 512 };
    first..limit.min((end - base).div_ceil(span(level)))
}

/// Visits the used last-level entries of `[start, end)` below the table that `holder` holds,
/// ascending.
///
/// # Safety
/// `holder` holds a table at `level` of a tree that the caller owns; `base` is its first
/// address.
unsafe fn visit(
    holder: Entry,
    level: u32,
    base: usize,
    start: usize,
    end: usize,
    each: &mut dyn FnMut(usize, &mut Entry),
) {
    let mut left = holder.used();
    for slot in slots(level, base, start, end) {
        if left == 0 {
            return;
        }
        let address = base + slot * span(level);
        // SAFETY: a table has 512 entries, and the caller owns the tree.
        let entry = unsafe { &mut (*table(holder.frame()))[slot] };
        if !entry.is_used() {
            continue;
        }
        left -= 1;
        if level == 1 {
            each(address, entry);
        } else {
            // SAFETY: a used inner entry holds a table one level down.
            unsafe { visit(*entry, level - 1, address, start, end, each) };
        }
    }
}

/// How much of each is kept before the other CPUs have to be asked.
const KEPT: usize = 32;

/// What was taken out of a tree and may still be remembered.
struct Removal<'a> {
    root: u64,
    /// This CPU uses the tree.
    active: bool,
    /// There are other CPUs, so that pages and tables are kept until [`Self::settle`].
    keeps: bool,
    users: &'a CpuSet,
    each: &'a mut dyn FnMut(usize, Mapping),
    /// The first `page_count` are written; with one CPU, none is.
    pages: [MaybeUninit<(usize, Mapping)>; KEPT],
    page_count: usize,
    /// The first `table_count` are written.
    tables: [MaybeUninit<u64>; KEPT],
    table_count: usize,
    freed: bool,
}

impl<'a> Removal<'a> {
    fn new(table: &Table, users: &'a CpuSet, each: &'a mut dyn FnMut(usize, Mapping)) -> Self {
        Self {
            root: table.root.frame(),
            active: table.is_active(),
            keeps: secondary::online() > 1,
            users,
            each,
            pages: [const { MaybeUninit::uninit() }; KEPT],
            page_count: 0,
            tables: [const { MaybeUninit::uninit() }; KEPT],
            table_count: 0,
            freed: false,
        }
    }

    fn page(&mut self, page: usize, old: Entry) {
        if self.active {
            mmu::flush(page);
        }
        let Some(mapping) = old.mapping() else { return };
        if !self.keeps {
            (self.each)(page, mapping);
            return;
        }
        if self.page_count == KEPT {
            self.settle();
        }
        if let Some(slot) = self.pages.get_mut(self.page_count) {
            slot.write((page, mapping));
            self.page_count += 1;
        }
    }

    /// A table without any used entry.
    fn table(&mut self, table: u64) {
        self.freed = true;
        if !self.keeps {
            give_table(table);
            return;
        }
        if self.table_count == KEPT {
            self.settle();
        }
        if let Some(slot) = self.tables.get_mut(self.table_count) {
            slot.write(table);
            self.table_count += 1;
        }
    }

    /// Makes every CPU forget what was taken out, and lets go of it.
    fn settle(&mut self) {
        if self.freed && self.active {
            // The CPU may have kept freed tables in its paging-structure caches.
            mmu::activate(self.root);
        }
        self.freed = false;
        let pages = self.pages.get(..self.page_count).unwrap_or(&[]);
        let tables = self.tables.get(..self.table_count).unwrap_or(&[]);
        // SAFETY: so many of each are written.
        let (pages, tables) = unsafe { (pages.assume_init_ref(), tables.assume_init_ref()) };
        if !tables.is_empty() {
            forget(self.users, USER_START, user_end());
        } else if let (Some((first, _)), Some((last, _))) = (pages.first(), pages.last()) {
            forget(self.users, *first, *last + PAGE_SIZE);
        }
        for &(page, mapping) in pages {
            (self.each)(page, mapping);
        }
        for &table in tables {
            give_table(table);
        }
        (self.page_count, self.table_count) = (0, 0);
    }
}

/// Makes the other CPUs forget what they know of user addresses in `[start, end)`.
#[inline]
fn forget(users: &CpuSet, start: usize, end: usize) {
    let others = users.others();
    if others != 0 {
        mmu::flush_others(others, start, end);
    }
}

/// Empties the last-level entries of `[start, end)` below the table that `holder` holds, and
/// takes the tables out that become empty, but for that one.
///
/// # Safety
/// As for `visit`.
unsafe fn remove(
    holder: &mut Entry,
    level: u32,
    base: usize,
    start: usize,
    end: usize,
    removal: &mut Removal<'_>,
) {
    let mut used = holder.used();
    for slot in slots(level, base, start, end) {
        if used == 0 {
            break;
        }
        // SAFETY: as in `visit`.
        let entry = unsafe { &mut (*table(holder.frame()))[slot] };
        if !entry.is_used() {
            continue;
        }
        let address = base + slot * span(level);
        if level == 1 {
            let old = core::mem::replace(entry, Entry::EMPTY);
            used -= 1;
            removal.page(address, old);
        } else {
            // SAFETY: as in `visit`.
            unsafe { remove(entry, level - 1, address, start, end, removal) };
            if entry.used() == 0 {
                let empty = entry.frame();
                *entry = Entry::EMPTY;
                removal.table(empty);
                used -= 1;
            }
        }
    }
    *holder = holder.with_used(used);
}

/// Takes the right to write from the pages of `[start, end)` below `from`, and maps them in the
/// same way below `to`.
///
/// # Safety
/// As for `visit`, for both trees.
unsafe fn share(
    from: Entry,
    to: &mut Entry,
    level: u32,
    base: usize,
    start: usize,
    end: usize,
    each: &mut dyn FnMut(PhysAddr) -> bool,
) -> Result<(), MapError> {
    let mut left = from.used();
    for slot in slots(level, base, start, end) {
        if left == 0 {
            break;
        }
        // SAFETY: as in `visit`.
        let entry = unsafe { &mut (*table(from.frame()))[slot] };
        if !entry.is_used() {
            continue;
        }
        left -= 1;
        let address = base + slot * span(level);
        // SAFETY: as in `visit`.
        let copy = unsafe { &mut (*table(to.frame()))[slot] };
        if level == 1 {
            if copy.is_used() || !each(PhysAddr(entry.frame())) {
                return Err(MapError::OutOfMemory);
            }
            let read_only = entry.without_write();
            *entry = read_only;
            *copy = read_only;
            *to = to.with_used(to.used() + 1);
        } else {
            if !copy.is_used() {
                *copy = linked(take_table()?);
                *to = to.with_used(to.used() + 1);
            }
            // SAFETY: as in `visit`.
            unsafe { share(*entry, copy, level - 1, address, start, end, each)? };
        }
    }
    Ok(())
}

impl Table {
    fn is_active(&self) -> bool {
        mmu::active() == self.root.frame()
    }

    fn find(&self, page: usize) -> Option<*mut Entry> {
        if page >= user_end() {
            return None;
        }
        // SAFETY: the tree is this object's own, and `&self` keeps it as it is.
        unsafe { paging::entry_finding(self.root.frame(), user_levels(), page) }
    }
}

/// The entry of a page; what will be executed is made ready for it.
fn user_entry(frame: PhysAddr, protection: Protection) -> Result<Entry, MapError> {
    let entry = Entry::user(frame, protection)?;
    if protection.contains(Protection::EXECUTE) {
        mmu::prepare_code(frame.0);
    }
    Ok(entry)
}

/// Whether an access that `old` allows is not allowed by `new`.
fn takes_away(old: Protection, new: Protection) -> bool {
    !(new | Protection::USER).contains(old)
}

fn check(page: usize) -> Result<(), MapError> {
    if page.is_multiple_of(PAGE_SIZE) && (USER_START..user_end()).contains(&page) {
        Ok(())
    } else {
        Err(MapError::BadAddress)
    }
}

impl PageTable for Table {
    fn new() -> Result<Self, MapError> {
        let spare = SPARE_ROOTS.lock().pop();
        let root = match spare {
            Some(root) => root,
            None => {
                let root = paging::new_table()?;
                mmu::prepare_root(root, paging::root());
                root
            }
        };
        Ok(Self { root: Entry::user_table(root) })
    }

    fn map(
        &mut self,
        page: usize,
        frame: PhysAddr,
        protection: Protection,
    ) -> Result<(), MapError> {
        check(page)?;
        let new = user_entry(frame, protection)?;
        let mut holder = &raw mut self.root;
        for level in (1..=user_levels()).rev() {
            // SAFETY: `&mut self`: the tree is this object's own; `holder` is the root or an
            // entry of a table in it, and holds a table at this level.
            unsafe {
                let entry = &raw mut (*table((*holder).frame()))[index(page, level)];
                if level == 1 {
                    if (*entry).is_used() {
                        return Err(MapError::AlreadyMapped);
                    }
                    // What is in the page is written before it can be seen.
                    fence(Ordering::Release);
                    *entry = new;
                    *holder = (*holder).with_used((*holder).used() + 1);
                } else if !(*entry).is_used() {
                    // An empty table that is left behind by a failure further down goes with
                    // the next page that is removed near it, or with the whole.
                    *entry = linked(take_table()?);
                    *holder = (*holder).with_used((*holder).used() + 1);
                }
                holder = entry;
            }
        }
        mmu::published();
        Ok(())
    }

    fn unmap(&mut self, page: usize, users: &CpuSet) -> Option<Mapping> {
        let mut old = None;
        self.unmap_each(page, page.checked_add(PAGE_SIZE)?, users, &mut |_, mapping| {
            old = Some(mapping);
        });
        old
    }

    fn protect(&mut self, page: usize, protection: Protection, users: &CpuSet) -> bool {
        let Some(mapping) = self.query(page) else { return false };
        self.replace(page, mapping.frame, protection, users).is_some()
    }

    fn replace(
        &mut self,
        page: usize,
        frame: PhysAddr,
        protection: Protection,
        users: &CpuSet,
    ) -> Option<Mapping> {
        let entry = self.find(page)?;
        let new = user_entry(frame, protection).ok()?;
        // SAFETY: `&mut self`: the tree is this object's own.
        unsafe {
            let old = (*entry).mapping()?;
            let takes_away = old.frame != frame || takes_away(old.protection, protection);
            fence(Ordering::Release);
            mmu::change(entry, new, page, self.is_active(), || {
                if takes_away {
                    forget(users, page, page + PAGE_SIZE);
                }
            });
            Some(old)
        }
    }

    fn query(&self, page: usize) -> Option<Mapping> {
        // SAFETY: `&self` keeps the tree as it is.
        unsafe { *self.find(page)? }.mapping()
    }

    fn for_each(
        &mut self,
        start: usize,
        end: usize,
        users: &CpuSet,
        each: &mut dyn FnMut(usize, Mapping) -> Option<Protection>,
    ) {
        let active = self.is_active();
        let mut taken: Option<(usize, usize)> = None;
        // SAFETY: `&mut self`: the tree is this object's own.
        unsafe {
            visit(self.root, user_levels(), 0, start, end.min(user_end()), &mut |page, entry| {
                if let Some(mapping) = entry.mapping()
                    && let Some(protection) = each(page, mapping)
                    && let Ok(new) = user_entry(mapping.frame, protection)
                {
                    if takes_away(mapping.protection, protection) {
                        taken = Some((taken.map_or(page, |(first, _)| first), page));
                    }
                    mmu::change(entry, new, page, active, || {});
                }
            });
        }
        if let Some((first, last)) = taken {
            forget(users, first, last + PAGE_SIZE);
        }
    }

    fn unmap_each(
        &mut self,
        start: usize,
        end: usize,
        users: &CpuSet,
        each: &mut dyn FnMut(usize, Mapping),
    ) {
        let mut removal = Removal::new(self, users, each);
        // SAFETY: `&mut self`: the tree is this object's own.
        unsafe {
            remove(&mut self.root, user_levels(), 0, start, end.min(user_end()), &mut removal);
        }
        removal.settle();
    }

    fn share_each(
        &mut self,
        child: &mut Self,
        start: usize,
        end: usize,
        users: &CpuSet,
        each: &mut dyn FnMut(PhysAddr) -> bool,
    ) -> Result<(), MapError> {
        let end = end.min(user_end());
        // SAFETY: `&mut` to both: the trees are these objects' own.
        let result =
            unsafe { share(self.root, &mut child.root, user_levels(), 0, start, end, each) };
        if self.is_active() {
            // All translations at once: there are many.
            mmu::activate(self.root.frame());
        }
        forget(users, start, end);
        result
    }

    fn root(&self) -> PhysAddr {
        PhysAddr(self.root.frame())
    }

    fn activate(root: PhysAddr) {
        mmu::activate(root.0);
    }
}

/// Frees every table below an inner entry and the table itself, which may hold pages.
///
/// # Safety
/// As for `visit`; no CPU uses the tree, and nobody will again.
unsafe fn free_tables(holder: Entry, level: u32) {
    if level > 1 {
        let slots = if level == user_levels() { USER_ENTRIES } else { 512 };
        // SAFETY: as in `visit`.
        for entry in unsafe { (*table(holder.frame())).iter().take(slots) } {
            if entry.is_present() {
                // SAFETY: as in `visit`.
                unsafe { free_tables(*entry, level - 1) };
            }
        }
    }
    up::free_table_frame(PhysAddr(holder.with_used(0).frame()));
}

impl Drop for Table {
    /// Frees the tables. The pages must have been unmapped or be owned elsewhere.
    fn drop(&mut self) {
        if self.is_active() {
            mmu::activate_kernel(paging::root());
        }
        if self.root.used() == 0 && SPARE_ROOTS.lock().push(self.root.frame()) {
            return;
        }
        // SAFETY: the tree is this object's own, no CPU uses it, and nobody will again.
        unsafe { free_tables(self.root, user_levels()) };
    }
}

/// Back to the kernel's own address space, without any user half.
pub(super) fn activate_kernel() {
    mmu::activate_kernel(paging::root());
}
