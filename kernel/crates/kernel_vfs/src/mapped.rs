//! Pages of files that shared mappings have in common, and with `read(2)` and `write(2)`.
//!
//! While a page of a file is mapped shared, it lies in a frame of its own, a [`SharedPage`], which
//! the file keeps in its [`SharedPages`]. Users change it there without asking, so from the first
//! write fault on (the page is *dirty*) it is the frame that says what the file holds: reads are
//! answered from it, writes go into it too, and what is written back comes out of it. A file can
//! be mapped so if it is [`Mappable`].
//!
//! A right that a mapping has been given is taken back by [`revoke`]: to write, before a page is
//! written back, so that the next store faults and makes it dirty again; or altogether, before a
//! page that was cut off is freed. A fault that is under way meanwhile is not seen by that. So each
//! file has a *revision*: it changes, under the lock that guards the pages, before rights are taken
//! back; and who maps a page first finds, with the address space locked, that it is still the one
//! at which the page was looked up.
//!
//! **Locks.** [`revoke`] takes address spaces' locks: no lock of a file is held that a fault may
//! wait for while an address space is locked, which is what [`Mappable::unmapped`] takes.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kernel_sync::OnceCell;

use crate::error::FsError;
use crate::io::Sink;
use crate::memory::PAGE;
use crate::open_file::OpenFile;
use crate::page::{self, PagePool};

/// A page of memory that users may be changing. It is freed with its last handle.
pub trait SharedPage: Send + Sync {
    /// The physical address.
    fn frame(&self) -> u64;
    /// Copies the bytes from `at` on into `target`.
    fn read(&self, at: usize, target: &mut [u8]);
    /// Replaces the bytes from `at` on.
    fn write(&self, at: usize, bytes: &[u8]);
}

/// What mappings lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The right to write.
    Writing,
    /// The page.
    All,
}

/// What the machine does for mappings.
pub struct Machine {
    /// A page of zeros; `OutOfMemory` if there is none.
    pub new_page: fn() -> Result<Arc<dyn SharedPage>, FsError>,
    /// Takes pages of a file away from all address spaces.
    pub revoke: fn(&Mapped, Range<u64>, Revoked),
}

static MACHINE: OnceCell<Machine> = OnceCell::new();

/// Installs the machine. Later calls change nothing; without one, no file can be mapped so.
pub fn install(machine: Machine) {
    // A second one is refused: the first stays.
    let _ = MACHINE.set(machine);
}

/// A page of zeros.
pub fn new_page() -> Result<Arc<dyn SharedPage>, FsError> {
    MACHINE.get().map_or(Err(FsError::NoDevice), |machine| (machine.new_page)())
}

/// Takes the pages in `range` away from all mappings of a file, whose revision has changed.
pub fn revoke(file: &Mapped, range: Range<u64>, what: Revoked) {
    if let Some(machine) = MACHINE.get().filter(|_| file.is_mapped()) {
        (machine.revoke)(file, range, what);
    }
}

/// Who maps a file; its address stands for the file.
#[derive(Default)]
pub struct Mapped {
    mappings: AtomicUsize,
    revision: AtomicU64,
}

impl Mapped {
    /// Whether somebody maps the file.
    pub fn is_mapped(&self) -> bool {
        self.mappings.load(Ordering::Acquire) > 0
    }

    /// Changes when rights are about to be taken back.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Rights are about to be taken back. The lock that guards the file's pages is held.
    pub fn revise(&self) {
        self.revision.fetch_add(1, Ordering::AcqRel);
    }
}

/// A page that a fault asked for, and the revision at which it was the file's.
pub struct Located {
    pub page: Arc<dyn SharedPage>,
    pub revision: u64,
}

/// A file whose pages can be shared with mappings.
pub trait Mappable {
    /// Who maps it.
    fn mapped(&self) -> &Mapped;
    /// The page `index`, for a fault; `write`: to be written, so that it gets its place in the file
    /// and is dirty. An error if it lies beyond the end.
    ///
    /// To read takes no lock that is held while a [`Source`](crate::Source) is asked.
    fn page(&self, index: u64, write: bool) -> Result<Located, FsError>;
    /// Called when the last mapping is gone: the pages are not shared any more. The lock of an
    /// address space may be held.
    fn unmapped(&self);
}

/// The right to map an open file, as long as it is held.
pub struct Mapping {
    file: Arc<OpenFile>,
}

impl Mapping {
    /// # Errors
    /// `NoDevice` if it cannot be mapped.
    pub fn new(file: Arc<OpenFile>) -> Result<Arc<Self>, FsError> {
        let mappable = file.file().mappable().ok_or(FsError::NoDevice)?;
        mappable.mapped().mappings.fetch_add(1, Ordering::AcqRel);
        Ok(Arc::new(Self { file }))
    }

    pub fn file(&self) -> &Arc<OpenFile> {
        &self.file
    }

    /// As [`Mappable::page`].
    pub fn page(&self, index: u64, write: bool) -> Result<Located, FsError> {
        self.file.file().mappable().ok_or(FsError::NoDevice)?.page(index, write)
    }

    /// Whether what was looked up at `revision` is still the file's.
    pub fn is_current(&self, revision: u64) -> bool {
        self.file.file().mappable().is_some_and(|file| file.mapped().revision() == revision)
    }

    /// Whether it is a mapping of the file that `mapped` belongs to.
    pub fn is_of(&self, mapped: &Mapped) -> bool {
        self.identity() == core::ptr::from_ref(mapped) as usize
    }

    /// A number that no other file has as long as this mapping is held.
    pub fn identity(&self) -> usize {
        self.file.file().mappable().map_or(0, |file| core::ptr::from_ref(file.mapped()) as usize)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let Some(file) = self.file.file().mappable() else { return };
        if file.mapped().mappings.fetch_sub(1, Ordering::AcqRel) == 1 {
            file.unmapped();
        }
    }
}

struct Slot {
    page: Arc<dyn SharedPage>,
    dirty: bool,
}

/// The pages of a file that are shared, by their index. Guarded by a lock of the file's.
#[derive(Default)]
pub struct SharedPages(BTreeMap<u64, Slot>);

impl SharedPages {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, index: u64) -> Option<&Arc<dyn SharedPage>> {
        self.0.get(&index).map(|slot| &slot.page)
    }

    /// The page, if the file is not known to hold the same.
    pub fn dirty(&self, index: u64) -> Option<&Arc<dyn SharedPage>> {
        self.0.get(&index).filter(|slot| slot.dirty).map(|slot| &slot.page)
    }

    /// All of those, ascending.
    pub fn all_dirty(&self) -> Vec<u64> {
        self.0.iter().filter(|(_, slot)| slot.dirty).map(|(&index, _)| index).collect()
    }

    /// The first page of all.
    pub fn first(&self) -> Option<(u64, &Arc<dyn SharedPage>)> {
        self.0.first_key_value().map(|(&index, slot)| (index, &slot.page))
    }

    /// Shares a page that is not there.
    pub fn insert(&mut self, index: u64, page: Arc<dyn SharedPage>) {
        self.0.insert(index, Slot { page, dirty: false });
    }

    /// Says whether the file is known to hold the same as the page.
    pub fn set_dirty(&mut self, index: u64, dirty: bool) {
        if let Some(slot) = self.0.get_mut(&index) {
            slot.dirty = dirty;
        }
    }

    /// Writes `bytes`, which lie in one page, at byte `offset` of the file; `false` if the page is
    /// not shared.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> bool {
        let Some(page) = self.get(offset / PAGE as u64) else { return false };
        page.write((offset % PAGE as u64) as usize, bytes);
        true
    }

    /// Zeroes what is behind byte `size` in its page, and says which that is if it is shared.
    pub fn clear_tail(&self, size: u64) -> Option<u64> {
        const ZEROS: [u8; PAGE] = [0; PAGE];
        let within = (size % PAGE as u64) as usize;
        let index = size / PAGE as u64;
        let page = self.get(index).filter(|_| within > 0)?;
        page.write(within, ZEROS.get(within..)?);
        Some(index)
    }

    /// Takes out the pages from `first` on; whoever maps them has to lose them before they are
    /// dropped.
    #[must_use]
    pub fn cut(&mut self, first: u64) -> Self {
        Self(self.0.split_off(&first))
    }

    /// Takes out a page.
    pub fn remove(&mut self, index: u64) {
        self.0.remove(&index);
    }

    /// Takes out every page that the file is known to hold.
    pub fn forget_clean(&mut self) {
        self.0.retain(|_, slot| slot.dirty);
    }
}

/// Hands `length` bytes of a page on, from `at` on, as they are at one moment.
pub fn put(
    page: &dyn SharedPage,
    at: usize,
    length: usize,
    sink: &mut dyn Sink,
    pool: &PagePool,
) -> usize {
    let mut scratch = pool.take();
    let bytes = page::make_mut(&mut scratch).get_mut(..length).unwrap_or(&mut []);
    page.read(at, bytes);
    let taken = sink.put(bytes);
    pool.give(scratch);
    taken
}
