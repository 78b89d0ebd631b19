//! Demand paging: [`AddressSpace::resolve`] answers a page fault.
//!
//! A page of zeros or a shared page is mapped at once; a page of a file is read first, without
//! the address space's lock, and mapped if the region is still there. Writing a page that two
//! mappings own makes a copy.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use kernel_mem::Rights;
use kernel_vfs::SliceSink;

use super::address_space::{AddressSpace, Inner, Table, protection};
use super::backing::{Backing, FileBacking};
use super::layout::stack_low;
use super::memapi::may_allocate;
use super::phys;
use crate::arch::{FaultAccess, MapError, Mapping, PAGE_SIZE, PageTable, PhysAddr, Protection};

/// Why a page fault has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// Nothing is mapped there: `SEGV_MAPERR`.
    NotMapped,
    /// The region does not allow the access: `SEGV_ACCERR`.
    Forbidden,
    /// The page is beyond the end of its file: `BUS_ADRERR`.
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
            let Outcome::NeedsFile(backing) = self.resolve_locked(address, access)? else {
                return Ok(());
            };
            let frame = read_page(&backing)?;
            if self.install(address, &backing, frame)? {
                return Ok(());
            }
            // The address space has changed meanwhile: look again.
            phys::release(frame);
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
        if let Some(mapping) = table.query(page) {
            return self.make_usable(table, page, mapping, protection, private, access);
        }
        let frame = match &found.backing {
            Backing::File(backing) if backing.valid.is_none_or(|valid| valid > at) => {
                return Ok(Outcome::NeedsFile(FileBacking {
                    file: Arc::clone(&backing.file),
                    offset: backing.offset + at as u64,
                    valid: backing.valid.map(|valid| valid - at),
                    shared: backing.shared,
                }));
            }
            Backing::Anonymous | Backing::File(_) => {
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
