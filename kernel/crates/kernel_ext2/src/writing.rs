//! When the disk may be changed, and when it is clean.
//!
//! Each operation that changes something holds a [`Pass`] from [`Volume::begin_change`] until the
//! change is complete. To end writing (a read-only remount, an unmount, the last moment before the
//! machine stops) means to close the gate, which waits for running operations and refuses new
//! ones, then to write everything back, and only then to mark the disk as clean: never while
//! something is half-done.

use core::sync::atomic::{AtomicU32, Ordering};

use kernel_sync::{Gate, Mutex, Pass};
use kernel_vfs::{BlockDevice, FsError, now};

use crate::filesystem::Volume;
use crate::layout::{
    DESCRIPTOR_SIZE, RO_COMPAT_LARGE_FILE, STATE_ERROR, STATE_VALID, SUPERBLOCK_OFFSET,
    SUPERBLOCK_SIZE, get16, get32, put16, put32, to_disk_time,
};

/// Whether the disk may be changed now.
pub(crate) struct Writing {
    gate: Gate,
    /// Held by who opens or closes the gate, until the disk says so too. Taken before the gate is
    /// entered, never inside.
    transition: Mutex<()>,
    /// Head of the list of orphans that a crash has left, until the first writing frees them.
    old_orphans: AtomicU32,
}

impl Writing {
    /// Not yet.
    pub(crate) const fn new(old_orphans: u32) -> Self {
        Self {
            gate: Gate::new(false),
            transition: Mutex::new(()),
            old_orphans: AtomicU32::new(old_orphans),
        }
    }
}

/// Why writing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Files may go on being read. If it fails, writing goes on too, unless the disk cannot even be
    /// marked as in use again.
    Remount,
    /// Nothing comes after it.
    ForGood,
}

impl<D: BlockDevice + 'static> Volume<D> {
    pub(crate) fn is_read_only(&self) -> bool {
        !self.writing.gate.is_open()
    }

    /// The right to change something, to be held until the change is complete, and asked for by
    /// who has none yet. Frees what waits for it.
    ///
    /// # Errors
    /// `ReadOnly`.
    #[inline]
    pub(crate) fn begin_change(&self) -> Result<Pass<'_>, FsError> {
        let pass = match self.writing.gate.enter() {
            Some(pass) => pass,
            None => self.begin_change_late()?,
        };
        if self.has_doomed() {
            self.settle();
        }
        Ok(pass)
    }

    /// The gate is closed; but if a remount fails it is opened again.
    #[cold]
    fn begin_change_late(&self) -> Result<Pass<'_>, FsError> {
        let _transition = self.writing.transition.lock();
        self.writing.gate.enter().ok_or(FsError::ReadOnly)
    }

    /// As [`begin_change`](Self::begin_change), for what can be left undone: never waits, so that
    /// one who holds a pass already may call it.
    #[inline]
    pub(crate) fn try_change(&self) -> Option<Pass<'_>> {
        self.writing.gate.enter()
    }

    /// The disk is going to be changed: it is not clean from now on.
    ///
    /// # Errors
    /// `ReadOnly` if it cannot be written at all, and those of the disk.
    pub(crate) fn begin_writing(&self) -> Result<(), FsError> {
        let _transition = self.writing.transition.lock();
        if self.writing.gate.is_open() {
            return Ok(());
        }
        if self.geometry.read_only || self.cache.device().read_only() {
            return Err(FsError::ReadOnly);
        }
        self.free_old_orphans(self.writing.old_orphans.swap(0, Ordering::Relaxed));
        self.modify_superblock(|bytes| {
            let mounts = get16(bytes, 52).saturating_add(1);
            put16(bytes, 52, mounts);
            put32(bytes, 44, to_disk_time(now()));
        })?;
        self.write_everything()?;
        self.writing.gate.open();
        Ok(())
    }

    /// Waits until nothing is half-done, and writes everything; the disk is clean after that, if it
    /// was so at the beginning.
    ///
    /// # Errors
    /// `Busy`: a file without a name is still in use, so that its blocks could not be freed later;
    /// at the end for good that is no error, but leaves the disk marked as it is after a crash.
    /// Otherwise those of the disk.
    pub(crate) fn end_writing(&self, end: End) -> Result<(), FsError> {
        let _transition = self.writing.transition.lock();
        if !self.writing.gate.is_open() {
            return Ok(());
        }
        self.writing.gate.close();
        let result = self.close_disk(end);
        if result.is_err() && end == End::Remount {
            // The mark may be on the disk already. Where it cannot be taken back, nothing is
            // changed any more.
            let taken_back = self.write_superblock(false).and_then(|()| self.cache.flush());
            if taken_back.is_ok() {
                self.writing.gate.open();
            }
        }
        result
    }

    /// Writes everything, and the mark that it is. The gate is closed.
    fn close_disk(&self, end: End) -> Result<(), FsError> {
        self.write_everything()?;
        let orphans = self.allocator.lock().first_orphan() != 0;
        match (orphans, end) {
            (true, End::Remount) => return Err(FsError::Busy),
            (true, End::ForGood) => return Ok(()),
            (false, _) => {}
        }
        self.write_superblock(true)?;
        self.cache.flush()
    }

    /// Writes back everything that is dirty, and waits for it.
    pub(crate) fn sync(&self) -> Result<(), FsError> {
        if let Some(_pass) = self.try_change() {
            return self.write_everything();
        }
        // Who closes the gate writes everything, unless that fails.
        let _transition = self.writing.transition.lock();
        if self.writing.gate.is_open() { self.write_everything() } else { Ok(()) }
    }

    /// As [`sync`](Self::sync), for one who keeps the gate as it is.
    fn write_everything(&self) -> Result<(), FsError> {
        let mapped = self.write_dirty_pages();
        self.settle();
        let changed = self.allocator.lock().take_changed();
        let per_block = (self.geometry.block_size / DESCRIPTOR_SIZE) as u32;
        for (number, counters) in changed {
            let block = self.geometry.first_block + 1 + number / per_block;
            let offset = (number % per_block) as usize * DESCRIPTOR_SIZE;
            self.cache.modify(block, |bytes| counters.encode(bytes, offset))?;
        }
        self.write_superblock(false)?;
        self.cache.flush().and(mapped)
    }

    fn modify_superblock(&self, mut change: impl FnMut(&mut [u8])) -> Result<(), FsError> {
        let block_size = self.geometry.block_size as u64;
        let offset = (SUPERBLOCK_OFFSET % block_size) as usize;
        self.cache.modify((SUPERBLOCK_OFFSET / block_size) as u32, |bytes| {
            if let Some(bytes) = bytes.get_mut(offset..offset + SUPERBLOCK_SIZE) {
                change(bytes);
            }
        })
    }

    /// Brings the superblock up to date; `closed`: nothing more will be written.
    fn write_superblock(&self, closed: bool) -> Result<(), FsError> {
        let (free_blocks, free_inodes, orphan) = {
            let allocator = self.allocator.lock();
            let (blocks, inodes) = allocator.free();
            (blocks as u32, inodes as u32, allocator.first_orphan())
        };
        let valid = if closed && self.was_clean { STATE_VALID } else { 0 };
        let error = if self.errors.load(Ordering::Relaxed) { STATE_ERROR } else { 0 };
        self.modify_superblock(|bytes| {
            put32(bytes, 12, free_blocks);
            put32(bytes, 16, free_inodes);
            put32(bytes, 48, to_disk_time(now()));
            let others = get16(bytes, 58) & !(STATE_VALID | STATE_ERROR);
            put16(bytes, 58, others | valid | error);
            if self.geometry.dynamic {
                put32(bytes, 232, orphan);
            }
        })
    }

    /// Allows files of 2 GiB and more, which old readers do not know.
    pub(crate) fn allow_large_files(&self) -> Result<(), FsError> {
        if self.large_files.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !self.geometry.dynamic {
            return Err(FsError::FileTooLarge);
        }
        self.modify_superblock(|bytes| {
            let features = get32(bytes, 100) | RO_COMPAT_LARGE_FILE;
            put32(bytes, 100, features);
        })?;
        self.large_files.store(true, Ordering::Relaxed);
        Ok(())
    }
}
