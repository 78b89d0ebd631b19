//! Demand paging: [`AddressSpace::resolve`] answers a page fault.
//!
//! A page of zeros or a shared page is mapped at once; a page of a file is read first, without
//! the address space's lock, and mapped if the region is still there. Writing a page that two
//! mappings own makes a copy. A shared page of a file is asked for in the same way, and again when
//! it is to be written: the file has to know.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use kernel_mem::Rights;
use kernel_vfs::mapped::Located;
use kernel_vfs::{FsError, SliceSink};

use super::address_space::{AddressSpace, Inner, Table, protection};
use super::backing::{Backing, FileBacking};
use super::layout::stack_low;
use super::memapi::may_allocate;
use super::phys;
use super::shared_file::SharedFile;
use crate::arch::{FaultAccess, MapError, Mapping, PAGE_SIZE, PageTable, PhysAddr, Protection};

/// Why a page fault has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// Nothing is mapped there: `SEGV_MAPERR`.
    NotMapped,
    /// The region does not allow the access: `SEGV_ACCERR`.
    Forbidden,
    /// The page is beyond the end of its file, or cannot be read, or gets no place in it:
    /// `BUS_ADRERR`.
    BeyondFile,
    /// No memory for the page.
    OutOfMemory,
}

impl From<MapError> for FaultError {
    fn from(error: MapError) -> Self {
        match error {
            MapError::OutOfMemory => Self::OutOfMemory,
            MapError::WriteAndExecute => Self::Forbidden,
            MapError::AlreadyMapped | MapError::BadAddress => Self::NotMapped,
        }
    }
}

fn allows(rights: Rights, access: FaultAccess) -> bool {
    match access {
        // As on the machines below: what can be written or executed can be read.
        FaultAccess::Read => !rights.is_empty(),
        FaultAccess::Write => rights.contains(Rights::WRITE),
        FaultAccess::Execute => rights.contains(Rights::EXECUTE),
    }
}

impl AddressSpace {
    /// Answers a page fault: after `Ok` the access can be tried again. May sleep.
    ///
    /// # Errors
    /// If the access is not allowed or the page cannot be had.
    pub fn resolve(&self, address: usize, access: FaultAccess) -> Result<(), FaultError> {
        loop {
            match self.resolve_locked(address, access)? {
                Outcome::Done => return Ok(()),
                Outcome::NeedsFile(backing) => {
                    let frame = read_page(&backing)?;
                    if self.install(address, &backing, frame)? {
                        return Ok(());
                    }
                    phys::release(frame);
                }
                Outcome::NeedsShared(wanted) => {
                    let located = wanted.locate(access == FaultAccess::Write)?;
                    if self.install_shared(address, access, &wanted, &located)? {
                        return Ok(());
                    }
                }
            }
            // The address space or the file has changed meanwhile: look again.
        }
    }

    fn resolve_locked(&self, address: usize, access: FaultAccess) -> Result<Outcome, FaultError> {
        let page = address & !(PAGE_SIZE - 1);
        let Inner { regions, table, .. } = &mut *self.inner.lock();
        let found = match regions.find(address) {
            Some(region) => region,
            None => regions.grow_down(address, stack_low()).map_err(|_| FaultError::NotMapped)?,
        };
        if !allows(found.rights, access) {
            return Err(FaultError::Forbidden);
        }
        let mut protection = protection(found.rights);
        let private = found.backing.is_private();
        let at = page - found.start;
        let offered = match &found.backing {
            Backing::Object { file, offset, .. } => {
                let writable = found.rights.contains(Rights::WRITE);
                let frame = file.file().shared_frame(offset + at as u64, writable);
                let frame = frame.map_err(|_| FaultError::BeyondFile)?;
                if frame.read_only && access == FaultAccess::Write {
                    return Err(FaultError::BeyondFile);
                }
                protection.set(Protection::WRITE, writable && !frame.read_only);
                Some(PhysAddr(frame.address))
            }
            _ => None,
        };
        let mapped = table.query(page);
        if let Backing::SharedFile(shared) = &found.backing {
            let lacks = |mapping: Mapping| !mapping.protection.contains(Protection::WRITE);
            if mapped.is_none_or(|mapping| access == FaultAccess::Write && lacks(mapping)) {
                let mapping = Arc::clone(&shared.mapping);
                let offset = shared.offset + at as u64;
                return Ok(Outcome::NeedsShared(SharedFile { mapping, offset }));
            }
        }
        if let Some(mapping) = mapped {
            let private = private || matches!(found.backing, Backing::SharedFile(_));
            return self.make_usable(table, page, mapping, protection, private, access);
        }
        let frame = match &found.backing {
            Backing::File(backing) if backing.valid.is_none_or(|valid| valid > at) => {
                return Ok(Outcome::NeedsFile(FileBacking {
                    file: Arc::clone(&backing.file),
                    offset: backing.offset + at as u64,
                    valid: backing.valid.map(|valid| valid - at),
                }));
            }
            Backing::Anonymous
            | Backing::Unreserved
            | Backing::File(_)
            | Backing::SharedFile(_) => {
                let frame = phys::alloc_user_frame().ok_or(FaultError::OutOfMemory)?;
                phys::zero(frame);
                frame
            }
            Backing::Shared { pages, offset } => {
                pages.frame(offset + at).map_err(|_| FaultError::OutOfMemory)?
            }
            Backing::Object { .. } => offered.ok_or(FaultError::BeyondFile)?,
        };
        // The tables come from memory that users may have. A private page has just come from
        // there itself; many mappings of one shared page would otherwise eat up the reserve.
        if !private {
            may_allocate(TABLES_BYTES).map_err(|_| FaultError::OutOfMemory)?;
        }
        if let Err(error) = table.map(page, frame, protection) {
            if private {
                phys::release(frame);
            }
            return Err(error.into());
        }
        self.resident.fetch_add(1, Ordering::Relaxed);
        Ok(Outcome::Done)
    }

    /// Maps a page that was read from a file, if it still belongs there and is not mapped.
    fn install(
        &self,
        address: usize,
        backing: &FileBacking,
        frame: PhysAddr,
    ) -> Result<bool, FaultError> {
        let page = address & !(PAGE_SIZE - 1);
        let Inner { regions, table, .. } = &mut *self.inner.lock();
        let Some(region) = regions.find(address) else { return Ok(false) };
        let Backing::File(now) = &region.backing else { return Ok(false) };
        let offset = now.offset + (page - region.start) as u64;
        if !Arc::ptr_eq(&now.file, &backing.file) || offset != backing.offset {
            return Ok(false);
        }
        match table.map(page, frame, protection(region.rights)) {
            Ok(()) => {
                self.resident.fetch_add(1, Ordering::Relaxed);
                Ok(true)
            }
            Err(MapError::AlreadyMapped) => Ok(false),
            Err(error) => {
                phys::release(frame);
                Err(error.into())
            }
        }
    }

    /// Maps a shared page of a file, if it still belongs there; with the right to write only if it
    /// was asked for to be written.
    fn install_shared(
        &self,
        address: usize,
        access: FaultAccess,
        wanted: &SharedFile,
        located: &Located,
    ) -> Result<bool, FaultError> {
        let page = address & !(PAGE_SIZE - 1);
        let Inner { regions, table, .. } = &mut *self.inner.lock();
        let Some(region) = regions.find(address) else { return Ok(false) };
        let Backing::SharedFile(now) = &region.backing else { return Ok(false) };
        let offset = now.offset + (page - region.start) as u64;
        let same = now.mapping.identity() == wanted.mapping.identity() && offset == wanted.offset;
        if !same || !wanted.mapping.is_current(located.revision) {
            return Ok(false);
        }
        let mut rights = protection(region.rights);
        if access != FaultAccess::Write {
            rights -= Protection::WRITE;
        }
        if table.query(page).is_some() {
            // It was mapped to be read, or another thread was faster.
            if rights.contains(Protection::WRITE) {
                table.protect(page, rights, &self.cpus);
            }
            return Ok(true);
        }
        may_allocate(TABLES_BYTES).map_err(|_| FaultError::OutOfMemory)?;
        table.map(page, PhysAddr(located.page.frame()), rights)?;
        self.resident.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Makes a mapped page allow an access that its region allows.
    fn make_usable(
        &self,
        table: &mut Table,
        page: usize,
        mapping: Mapping,
        full: Protection,
        private: bool,
        access: FaultAccess,
    ) -> Result<Outcome, FaultError> {
        let writable = mapping.protection.contains(Protection::WRITE);
        if access != FaultAccess::Write || writable {
            // Another thread was faster, or the rights were widened since the page was mapped.
            let allowed = if writable || !private { full } else { full - Protection::WRITE };
            table.protect(page, allowed, &self.cpus);
        } else if !private || phys::count(mapping.frame) == 1 {
            table.protect(page, full, &self.cpus);
        } else {
            let own = phys::alloc_user_frame().ok_or(FaultError::OutOfMemory)?;
            phys::copy(own, mapping.frame);
            table.replace(page, own, full, &self.cpus);
            phys::release(mapping.frame);
        }
        Ok(Outcome::Done)
    }
}

/// What the page tables for one page may take at most.
const TABLES_BYTES: usize = 4 * PAGE_SIZE;

/// What a fault needs.
enum Outcome {
    /// Nothing more.
    Done,
    /// The page has to be read: it starts at `offset`.
    NeedsFile(FileBacking),
    /// The page has to be asked of the file: it starts at `offset`.
    NeedsShared(SharedFile),
}

impl SharedFile {
    /// The page at its beginning.
    fn locate(&self, write: bool) -> Result<Located, FaultError> {
        self.mapping.page(self.offset / PAGE_SIZE as u64, write).map_err(|error| match error {
            FsError::OutOfMemory => FaultError::OutOfMemory,
            _ => FaultError::BeyondFile,
        })
    }
}

/// A frame with a page of a file; what is not in the file is zero.
fn read_page(backing: &FileBacking) -> Result<PhysAddr, FaultError> {
    let frame = phys::alloc_user_frame().ok_or(FaultError::OutOfMemory)?;
    // SAFETY: the frame has just been allocated; nobody else knows of it.
    let bytes = unsafe { phys::bytes_mut(frame) };
    let wanted = backing.valid.map_or(PAGE_SIZE, |valid| valid.min(PAGE_SIZE));
    let (target, tail) = bytes.split_at_mut(wanted);
    let mut filled = 0;
    while let Some(part) = target.get_mut(filled..).filter(|part| !part.is_empty()) {
        match backing.file.read_at(backing.offset + filled as u64, &mut SliceSink::new(part)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(_) => {
                phys::release(frame);
                return Err(FaultError::BeyondFile);
            }
        }
    }
    if filled == 0 && backing.valid.is_none() {
        phys::release(frame);
        return Err(FaultError::BeyondFile);
    }
    if let Some(rest) = target.get_mut(filled..) {
        rest.fill(0);
    }
    tail.fill(0);
    Ok(frame)
}
