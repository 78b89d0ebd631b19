//! Files that are mapped shared: their pages, which come out of blocks and are written back to them.
//! See [`kernel_vfs::mapped`].
//!
//! A page is up to four blocks. Those that are before the end of the file get their place on the
//! disk by the write fault that makes the page dirty, so that writing it back needs no space; and
//! a page that the end of the file runs through can not be written to without another fault after
//! the file has grown.

use alloc::sync::Arc;

use kernel_sync::MutexGuard;
use kernel_vfs::mapped::{self, Located, Mappable, Mapped, Revoked, SharedPage};
use kernel_vfs::memory::PAGE;
use kernel_vfs::page;
use kernel_vfs::{BlockDevice, FsError, now};

use crate::inode::{Body, Ext2Inode};
use crate::layout::to_disk_time;

impl<D: BlockDevice + 'static> Ext2Inode<D> {
    /// The blocks of page `index` before the end of the file: number in the file, place in the page,
    /// and bytes of it that are the file's.
    fn blocks_of(&self, index: u64) -> impl Iterator<Item = (u64, usize, usize)> + use<D> {
        let block_size = self.volume.geometry.block_size;
        let per_page = (PAGE / block_size) as u64;
        let size = self.meta().size;
        (0..per_page).map_while(move |step| {
            let block = index.checked_mul(per_page)?.checked_add(step)?;
            let left = size.saturating_sub(block.checked_mul(block_size as u64)?);
            let length = left.min(block_size as u64) as usize;
            (length > 0).then_some((block, step as usize * block_size, length))
        })
    }

    /// The page `index`, shared from now on.
    fn share(&self, body: &mut Body, index: u64) -> Result<Arc<dyn SharedPage>, FsError> {
        if let Some(page) = body.shared.get(index) {
            return Ok(Arc::clone(page));
        }
        let mut any = false;
        let new = mapped::new_page()?;
        for (block, at, length) in self.blocks_of(index) {
            any = true;
            let place = self.find_block(body, block)?;
            if place != 0 {
                let bytes = self.volume.cache.get(place)?;
                new.write(at, bytes.get(..length).unwrap_or(&[]));
            }
        }
        if !any {
            return Err(FsError::NoSuchDevice);
        }
        body.shared.insert(index, Arc::clone(&new));
        Ok(new)
    }

    fn page_to_read(&self, index: u64) -> Result<Located, FsError> {
        let mut body = self.body();
        if self.blocks_of(index).next().is_none() {
            return Err(FsError::NoSuchDevice);
        }
        let page = self.share(&mut body, index)?;
        Ok(Located { page, revision: self.mapped.revision() })
    }

    fn page_to_write(&self, index: u64) -> Result<Located, FsError> {
        let _pass = self.volume.begin_change()?;
        let _writer = self.writer.lock();
        let mut body = self.body();
        if self.blocks_of(index).next().is_none() {
            return Err(FsError::NoSuchDevice);
        }
        let page = self.share(&mut body, index)?;
        let filled = self.fill_holes(&mut body, index);
        let time = to_disk_time(now());
        self.change_meta(|meta| (meta.modified, meta.changed) = (time, time));
        self.store(&body)?;
        filled?;
        body.shared.set_dirty(index, true);
        self.volume.note_dirty(self.number());
        Ok(Located { page, revision: self.mapped.revision() })
    }

    fn fill_holes(&self, body: &mut Body, index: u64) -> Result<(), FsError> {
        for (block, ..) in self.blocks_of(index) {
            if self.find_block(body, block)? == 0 {
                let mut zeros = self.volume.cache.pool().take();
                page::make_mut(&mut zeros).fill(0);
                self.place(body, block, zeros)?;
            }
        }
        Ok(())
    }

    /// Writes the dirty pages back to their blocks, after which they are clean. The caller may change
    /// the disk.
    pub(crate) fn write_dirty_pages(&self) -> Result<(), FsError> {
        // Nobody makes a page dirty meanwhile.
        let _writer = self.writer.lock();
        let body = self.body();
        let dirty = body.shared.all_dirty();
        let (Some(&first), Some(&last)) = (dirty.first(), dirty.last()) else { return Ok(()) };
        self.revoke(body, first..last + 1, Revoked::Writing);
        let mut body = self.body();
        // What cannot be written keeps nothing else from the disk.
        let each = dirty.iter().map(|&index| self.write_page(&mut body, index));
        let written = each.fold(Ok(()), Result::and);
        if !self.mapped.is_mapped() {
            body.shared.forget_clean();
        }
        written
    }

    /// Gives up the dirty pages, so that the file is again what the disk holds; `false` if a mapping
    /// shows them.
    pub(crate) fn lose_dirty_pages(&self) -> bool {
        let mut body = self.body();
        if self.mapped.is_mapped() {
            return false;
        }
        for index in body.shared.all_dirty() {
            body.shared.set_dirty(index, false);
        }
        body.shared.forget_clean();
        true
    }

    /// Takes pages away from all mappings. The lock is given back first.
    pub(crate) fn revoke(
        &self,
        body: MutexGuard<'_, Body>,
        range: core::ops::Range<u64>,
        what: Revoked,
    ) {
        self.mapped.revise();
        drop(body);
        mapped::revoke(&self.mapped, range, what);
    }

    /// Writes a dirty page back.
    fn write_page(&self, body: &mut Body, index: u64) -> Result<(), FsError> {
        let Some(page) = body.shared.dirty(index).cloned() else { return Ok(()) };
        for (block, at, length) in self.blocks_of(index) {
            let mut bytes = self.volume.cache.pool().take();
            let target = page::make_mut(&mut bytes);
            let (content, tail) = target.split_at_mut(length);
            page.read(at, content);
            // Behind the end of the file.
            tail.fill(0);
            // The file has grown since the page was written, by a hole, which stays one.
            let hole = self.find_block(body, block)? == 0;
            if hole && bytes.iter().all(|byte| *byte == 0) {
                continue;
            }
            self.place(body, block, bytes)?;
            if hole {
                self.store(body)?;
            }
        }
        body.shared.set_dirty(index, false);
        Ok(())
    }
}

impl<D: BlockDevice + 'static> Mappable for Ext2Inode<D> {
    fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    fn page(&self, index: u64, write: bool) -> Result<Located, FsError> {
        if write { self.page_to_write(index) } else { self.page_to_read(index) }
    }

    /// Does not wait for the gate, and takes no lock that somebody holds while waiting for a user's
    /// memory, but for that of the body: an address space may be locked. What cannot be written now
    /// stays, and is written with the rest.
    fn unmapped(&self) {
        let pass = self.volume.try_change();
        let mut body = self.body();
        if self.mapped.is_mapped() {
            return;
        }
        if pass.is_some() {
            for index in body.shared.all_dirty() {
                let _ = self.write_page(&mut body, index);
            }
        }
        body.shared.forget_clean();
        let left = !body.shared.all_dirty().is_empty();
        drop(body);
        if left && let Some(inode) = self.volume.known(self.number()) {
            self.volume.keep_dirty(inode, 0);
        }
    }
}
