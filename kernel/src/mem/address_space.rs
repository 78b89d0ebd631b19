//! A user's address space: its regions and its page tables, and what system calls do to them.
//! How a page comes into the table when it is touched is `demand.rs`; moving a mapping is
//! `remap.rs`.
//!
//! Pages of private regions are owned by the mapping; after [`AddressSpace::fork`] two mappings own the same frame, read-only, and the
//! first to write gets a copy. Pages of shared regions are owned by what is behind the region.
//! A shared page of a file is mapped without the right to write until it is written (`shared_file.rs`).
//!
//! One mutex guards regions and tables. It is not held while a file is read: a fault looks up
//! its region, lets go, reads, and looks again.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use kernel_mem::{Region, RegionError, Regions, Rights};
use kernel_sync::Mutex;
use kernel_vfs::OpenFile;

use super::backing::{Backing, SharedMemory};
use super::demand::FaultError;
use super::fault;
use super::layout::{STACK_INITIAL, USER_LOW, map_top, stack_top, user_end};
use super::memapi::{OutOfMemory, may_allocate, may_promise};
use super::phys;
use crate::arch::{
    Arch, Architecture, CpuSet, FaultAccess, PAGE_SIZE, PageTable, PhysAddr, Protection,
};

pub(super) type Table = <Arch as Architecture>::Table;

/// Why a request about memory failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryError {
    /// A range that is empty, unaligned, or outside the user's addresses.
    Invalid,
    /// Memory, address space or the number of regions is exhausted; or a part is not mapped.
    NoMemory,
    /// Something is mapped there already (`MAP_FIXED_NOREPLACE`).
    Exists,
    /// Writable and executable at once, or writable where an object is only to be read.
    Forbidden,
    /// An address that may not be mapped.
    NotPermitted,
    /// The range is not mapped, or not by one region.
    NotMapped,
}

/// Where a new mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Here if it is free, else anywhere.
    Hint(usize),
    /// Here, in place of what is there.
    Replace(usize),
    /// Here or nowhere.
    Exactly(usize),
}

pub(super) struct Inner {
    pub(super) regions: Regions<Backing>,
    pub(super) table: Table,
    /// The heap is `[heap_start, heap_end)`; `heap_end` is what `brk` returns.
    heap_start: usize,
    heap_end: usize,
}

/// An address space. Threads share one through an `Arc`.
pub struct AddressSpace {
    root: PhysAddr,
    pub(super) inner: Mutex<Inner>,
    /// Pages that are mapped now.
    pub(super) resident: AtomicUsize,
    /// CPUs that may remember its translations.
    pub(super) cpus: CpuSet,
    /// Processes that run in it: more than one only between `vfork` and `execve`.
    users: AtomicUsize,
}

impl From<RegionError> for MemoryError {
    fn from(error: RegionError) -> Self {
        match error {
            RegionError::BadRange => Self::Invalid,
            RegionError::Overlap => Self::Exists,
            RegionError::NotMapped | RegionError::TooMany | RegionError::OutOfMemory => {
                Self::NoMemory
            }
        }
    }
}

impl From<OutOfMemory> for MemoryError {
    fn from(_: OutOfMemory) -> Self {
        Self::NoMemory
    }
}

/// What a page of a region with these rights may be used for when nothing holds it back.
pub(super) fn protection(rights: Rights) -> Protection {
    let mut protection = Protection::empty();
    protection.set(Protection::READ, rights.contains(Rights::READ));
    protection.set(Protection::WRITE, rights.contains(Rights::WRITE));
    protection.set(Protection::EXECUTE, rights.contains(Rights::EXECUTE));
    protection | Protection::USER
}

/// Whether the list of regions may grow by `more`: it is the kernel's memory.
pub(super) fn may_grow(regions: &Regions<Backing>, more: usize) -> Result<(), OutOfMemory> {
    match regions.growth_bytes(more) {
        0 => Ok(()),
        bytes => may_allocate(bytes),
    }
}

/// Refuses rights that no page may have.
fn check_rights(rights: Rights) -> Result<(), MemoryError> {
    if rights.contains(Rights::WRITE | Rights::EXECUTE) {
        return Err(MemoryError::Forbidden);
    }
    Ok(())
}

/// Others get to run once in so many pages: the lock of an address space is one that may be held
/// meanwhile.
const STRETCH: usize = 4096;

/// The range of `length` bytes from `start`, rounded up to whole pages.
fn page_range(start: usize, length: usize) -> Result<(usize, usize), MemoryError> {
    let length = kernel_mem::page_align_up(length).ok_or(MemoryError::NoMemory)?;
    let end = start.checked_add(length).ok_or(MemoryError::Invalid)?;
    if !start.is_multiple_of(PAGE_SIZE) || length == 0 || end > user_end() {
        return Err(MemoryError::Invalid);
    }
    Ok((start, end))
}

impl AddressSpace {
    /// An address space without any region.
    ///
    /// # Errors
    /// If there is no memory for its root table.
    pub fn new() -> Result<Self, OutOfMemory> {
        let table = Table::new().map_err(|_| OutOfMemory)?;
        let inner = Inner { regions: Regions::new(), table, heap_start: 0, heap_end: 0 };
        Ok(Self::with(inner, 0))
    }

    fn with(inner: Inner, resident: usize) -> Self {
        Self {
            root: inner.table.root(),
            inner: Mutex::new(inner),
            resident: AtomicUsize::new(resident),
            cpus: CpuSet::new(),
            users: AtomicUsize::new(1),
        }
    }

    /// Makes this the address space of this CPU. Interrupts are off.
    #[inline]
    pub fn activate(&self) {
        self.cpus.insert(Arch::cpu_id());
        Table::activate(self.root);
    }

    /// This CPU has another address space now, or none. Interrupts are off.
    #[inline]
    pub fn deactivated(&self) {
        self.cpus.remove(Arch::cpu_id());
    }

    /// Whether this CPU, whose address space it was made, still uses it.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.cpus.contains(Arch::cpu_id())
    }

    /// Pages that are mapped now.
    pub fn resident_pages(&self) -> usize {
        self.resident.load(Ordering::Relaxed)
    }

    /// Bytes in all regions.
    pub fn mapped_bytes(&self) -> usize {
        self.inner.lock().regions.bytes()
    }

    /// Calls `each` with every region, ascending, for `/proc/PID/maps`. The address space is
    /// locked meanwhile: `each` must not touch user memory.
    pub fn for_each_region(&self, mut each: impl FnMut(&Region<Backing>)) {
        self.inner.lock().regions.iter().for_each(&mut each);
    }

    /// The range of the heap that `brk` moves.
    pub fn heap(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.heap_start, inner.heap_end)
    }

    /// Accounts for a page that is no longer mapped.
    pub(super) fn forget_page(&self, frame: PhysAddr, private: bool) {
        self.resident.fetch_sub(1, Ordering::Relaxed);
        if private {
            phys::release(frame);
        }
    }

    /// Whether more than one process runs in it.
    pub fn is_shared(&self) -> bool {
        self.users.load(Ordering::Relaxed) > 1
    }

    /// A further process runs in it.
    pub fn join(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }

    /// A process no longer runs in it; with the last, everything is unmapped.
    pub fn leave(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.clear();
        }
    }

    fn clear(&self) {
        let inner = &mut *self.inner.lock();
        for region in inner.regions.iter() {
            self.take_away(&mut inner.table, &region.backing, region.start, region.end);
        }
        inner.regions = Regions::new();
    }

    /// Maps `length` bytes, and returns where.
    ///
    /// # Errors
    /// As [`MemoryError`] says; then nothing has changed, except that with
    /// [`Placement::Replace`] the old mapping may be gone.
    pub fn map(
        &self,
        placement: Placement,
        length: usize,
        rights: Rights,
        backing: Backing,
    ) -> Result<usize, MemoryError> {
        check_rights(rights)?;
        let length = kernel_mem::page_align_up(length).ok_or(MemoryError::NoMemory)?;
        if length == 0 {
            return Err(MemoryError::Invalid);
        }
        let inner = &mut *self.inner.lock();
        let start = match placement {
            Placement::Hint(hint) => inner.place(hint & !(PAGE_SIZE - 1), length)?,
            Placement::Replace(start) | Placement::Exactly(start) => {
                if !start.is_multiple_of(PAGE_SIZE) {
                    return Err(MemoryError::Invalid);
                }
                if length > user_end() || start > user_end() - length {
                    return Err(MemoryError::NoMemory);
                }
                if start < USER_LOW {
                    return Err(MemoryError::NotPermitted);
                }
                start
            }
        };
        let end = start + length;
        if let Placement::Replace(_) = placement {
            self.unmap_locked(inner, start, end)?;
        }
        may_grow(&inner.regions, 1)?;
        inner.regions.insert(Region { start, end, rights, grows_down: false, backing })?;
        Ok(start)
    }

    /// Maps the stack of a new program.
    ///
    /// # Errors
    /// If there is no memory for the region.
    pub fn map_stack(&self) -> Result<(), MemoryError> {
        let region = Region {
            start: stack_top() - STACK_INITIAL,
            end: stack_top(),
            rights: Rights::READ | Rights::WRITE,
            grows_down: true,
            backing: Backing::Anonymous,
        };
        Ok(self.inner.lock().regions.insert(region)?)
    }

    /// Maps a page of code that several programs share until one of them writes to it.
    ///
    /// # Errors
    /// As [`map`](Self::map), or `NoMemory` if there is none for the page tables.
    pub(super) fn map_code(&self, page: usize, frame: PhysAddr) -> Result<(), MemoryError> {
        let rights = Rights::READ | Rights::EXECUTE;
        self.map(Placement::Exactly(page), PAGE_SIZE, rights, Backing::Anonymous)?;
        if !phys::share(frame) {
            return Err(MemoryError::NoMemory);
        }
        if self.inner.lock().table.map(page, frame, protection(rights)).is_err() {
            phys::release(frame);
            return Err(MemoryError::NoMemory);
        }
        self.resident.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sets where the heap begins: the first page behind the program.
    pub fn set_heap_start(&self, start: usize) {
        let mut inner = self.inner.lock();
        inner.heap_start = start;
        inner.heap_end = start;
    }

    /// Unmaps whatever is in the range.
    ///
    /// # Errors
    /// `Invalid`, or `NoMemory` if a region would be cut in two and cannot.
    pub fn unmap(&self, start: usize, length: usize) -> Result<(), MemoryError> {
        let (start, end) = page_range(start, length).map_err(|_| MemoryError::Invalid)?;
        self.unmap_locked(&mut self.inner.lock(), start, end)
    }

    pub(super) fn unmap_locked(
        &self,
        inner: &mut Inner,
        start: usize,
        end: usize,
    ) -> Result<(), MemoryError> {
        let Inner { regions, table, .. } = inner;
        // What takes no memory gives some back even where there is none.
        may_grow(regions, regions.cuts(start, end))?;
        regions.remove(start, end, |part| {
            self.take_away(table, &part.backing, part.start, part.end);
        })?;
        Ok(())
    }

    /// Unmaps the pages of a region in `[start, end)`, and gives back those that the mapping owns.
    pub(super) fn take_away(&self, table: &mut Table, backing: &Backing, start: usize, end: usize) {
        let private = backing.is_private();
        let mut removed = 0;
        table.unmap_each(start, end, &self.cpus, &mut |_, mapping| {
            removed += 1;
            if private {
                phys::release(mapping.frame);
            }
            if removed % STRETCH == 0 {
                fault::give_way();
            }
        });
        self.resident.fetch_sub(removed, Ordering::Relaxed);
    }

    /// Drops the contents of the private pages in the range: they read as new (`MADV_DONTNEED`).
    ///
    /// # Errors
    /// `Invalid`, or `NoMemory` if a part is not mapped.
    pub fn discard(&self, start: usize, length: usize) -> Result<(), MemoryError> {
        if length == 0 {
            return Ok(());
        }
        let (start, end) = page_range(start, length)?;
        let inner = &mut *self.inner.lock();
        let whole = inner.regions.is_mapped(start, end);
        for region in inner.regions.overlapping(start, end) {
            let (from, to) = (region.start.max(start), region.end.min(end));
            self.take_away(&mut inner.table, &region.backing, from, to);
        }
        if whole { Ok(()) } else { Err(MemoryError::NoMemory) }
    }

    /// Whether the whole range is mapped.
    ///
    /// # Errors
    /// `Invalid` or `NoMemory`.
    pub fn check_mapped(&self, start: usize, length: usize) -> Result<(), MemoryError> {
        if length == 0 {
            return Ok(());
        }
        let (start, end) = page_range(start, length)?;
        let mapped = self.inner.lock().regions.is_mapped(start, end);
        if mapped { Ok(()) } else { Err(MemoryError::NoMemory) }
    }

    /// Gives the range other rights.
    ///
    /// # Errors
    /// As [`MemoryError`] says; then nothing has changed, unless there is a hole in the range:
    /// what is before that has the rights all the same, as on Linux.
    pub fn protect(&self, start: usize, length: usize, rights: Rights) -> Result<(), MemoryError> {
        check_rights(rights)?;
        if !start.is_multiple_of(PAGE_SIZE) {
            return Err(MemoryError::Invalid);
        }
        if length == 0 {
            return Ok(());
        }
        let (start, end) = page_range(start, length).map_err(|_| MemoryError::NoMemory)?;
        let Inner { regions, table, .. } = &mut *self.inner.lock();
        let (wanted, end) = (end, regions.mapped_until(start, end));
        if end == start {
            return Err(MemoryError::NoMemory);
        }
        let read_only = |region: &Region<Backing>| region.backing.is_read_only();
        if rights.contains(Rights::WRITE) && regions.overlapping(start, end).iter().any(read_only) {
            return Err(MemoryError::Forbidden);
        }
        let promised = regions.overlapping(start, end).iter().filter(|region| {
            let is = |rights| region.backing.is_promised(rights);
            is(rights) && !is(region.rights)
        });
        may_promise(promised.map(|part| part.end.min(end) - part.start.max(start)).sum())?;
        may_grow(regions, regions.cuts(start, end))?;
        regions.protect(start, end, rights)?;
        let new = protection(rights);
        table.for_each(start, end, &self.cpus, &mut |_, mapping| {
            // A page that is not writable now may be shared; writing it has to fault first.
            let writable = mapping.protection.contains(Protection::WRITE);
            Some(if writable { new } else { new - Protection::WRITE })
        });
        if end < wanted { Err(MemoryError::NoMemory) } else { Ok(()) }
    }

    /// Moves the end of the heap to `end`, if that is possible; the end of the heap now.
    pub fn set_break(&self, end: usize) -> usize {
        let inner = &mut *self.inner.lock();
        let old = inner.heap_end;
        if end < inner.heap_start || end >= map_top() {
            return old;
        }
        let Some(new_page) = kernel_mem::page_align_up(end) else { return old };
        let Some(old_page) = kernel_mem::page_align_up(old) else { return old };
        let done = if new_page > old_page {
            let region = Region {
                start: old_page,
                end: new_page,
                rights: Rights::READ | Rights::WRITE,
                grows_down: false,
                backing: Backing::Anonymous,
            };
            may_grow(&inner.regions, 1).is_ok() && inner.regions.insert(region).is_ok()
        } else {
            new_page == old_page || self.unmap_locked(inner, new_page, old_page).is_ok()
        };
        if done {
            inner.heap_end = end;
        }
        inner.heap_end
    }

    /// A copy for a new process: private pages are shared until one of the two writes.
    ///
    /// # Errors
    /// If there is no memory for the regions or the page tables.
    pub fn fork(&self) -> Result<Self, OutOfMemory> {
        let mut child = Table::new().map_err(|_| OutOfMemory)?;
        let inner = &mut *self.inner.lock();
        may_allocate(inner.regions.clone_bytes())?;
        let regions = inner.regions.try_clone().map_err(|_| OutOfMemory)?;
        let mut copied = 0;
        let mut failed = false;
        for region in inner.regions.iter().filter(|region| region.backing.is_private()) {
            let table = &mut inner.table;
            let (start, end) = (region.start, region.end);
            let shared = table.share_each(&mut child, start, end, &self.cpus, &mut |frame| {
                // The child's tables come from memory that users may have.
                let shared = may_allocate(0).is_ok() && phys::share(frame);
                copied += usize::from(shared);
                if copied % STRETCH == 0 {
                    fault::give_way();
                }
                shared
            });
            if shared.is_err() {
                failed = true;
                break;
            }
        }
        let (heap_start, heap_end) = (inner.heap_start, inner.heap_end);
        let child = Inner { regions, table: child, heap_start, heap_end };
        let child = Self::with(child, copied);
        // Dropping the child gives back what it shares so far.
        if failed { Err(OutOfMemory) } else { Ok(child) }
    }

    /// Writes `bytes` at `address`, which is in a private region, from outside: for the stack
    /// of a program that does not run yet.
    ///
    /// # Errors
    /// As `resolve`.
    pub fn write_initial(&self, address: usize, bytes: &[u8]) -> Result<(), FaultError> {
        let mut at = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            let in_page = at % PAGE_SIZE;
            let (part, more) = rest.split_at(rest.len().min(PAGE_SIZE - in_page));
            self.resolve(at, FaultAccess::Write)?;
            let mapping = self.inner.lock().table.query(at - in_page);
            let frame = mapping.ok_or(FaultError::NotMapped)?.frame;
            // SAFETY: the frame belongs to this address space, which no CPU runs in yet, so
            // nobody else uses its bytes.
            let target = unsafe { phys::bytes_mut(frame) };
            if let Some(target) = target.get_mut(in_page..in_page + part.len()) {
                target.copy_from_slice(part);
            }
            at += part.len();
            rest = more;
        }
        Ok(())
    }

    /// The first file that is mapped shared in `[start, end)`, and where its region ends.
    pub fn shared_file(&self, start: usize, end: usize) -> Option<(Arc<OpenFile>, usize)> {
        let inner = self.inner.lock();
        inner.regions.overlapping(start, end).iter().find_map(|region| match &region.backing {
            Backing::SharedFile(shared) => Some((Arc::clone(shared.mapping.file()), region.end)),
            _ => None,
        })
    }

    /// The memory at `address`, if processes may share it, and the offset in it.
    pub fn shared_memory(&self, address: usize) -> Option<(SharedMemory, usize)> {
        let inner = self.inner.lock();
        let region = inner.regions.find(address)?;
        let at = address - region.start;
        match &region.backing {
            Backing::Anonymous | Backing::Unreserved | Backing::File(_) => None,
            Backing::Shared { pages, offset } => {
                Some((SharedMemory::Pages(Arc::clone(pages)), offset + at))
            }
            Backing::SharedFile(shared) => {
                let memory = SharedMemory::File(Arc::clone(&shared.mapping));
                Some((memory, shared.offset as usize + at))
            }
            Backing::Object { file, offset, .. } => {
                Some((SharedMemory::Object(Arc::clone(file)), *offset as usize + at))
            }
        }
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Inner {
    /// Where `length` bytes go: at `hint` if it is free and allowed, else as high as possible.
    pub(super) fn place(&self, hint: usize, length: usize) -> Result<usize, MemoryError> {
        if hint >= USER_LOW
            && let Some(end) = hint.checked_add(length)
            && end <= user_end()
            && self.regions.overlapping(hint, end).is_empty()
        {
            return Ok(hint);
        }
        self.regions
            .find_gap(length, USER_LOW, map_top())
            .or_else(|| self.regions.find_gap(length, map_top(), user_end()))
            .ok_or(MemoryError::NoMemory)
    }
}
