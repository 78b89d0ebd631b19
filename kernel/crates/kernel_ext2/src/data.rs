//! Reading, writing and truncating files.
//!
//! A reader finds a block and clones its page under the inode's `body` lock, and copies out of it
//! after letting go. A writer first fills a page that nobody else sees, and then, under the lock,
//! puts it in place (a whole block) or copies it in (a part of one).

use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_vfs::mapped::{self, Revoked, SharedPage, SharedPages};
use kernel_vfs::memory::PAGE;
use kernel_vfs::page::{self, Page};
use kernel_vfs::{BlockDevice, FsError, PATH_MAX, Sink, Source, now};

use crate::inode::{Body, Ext2Inode};
use crate::layout::to_disk_time;
use crate::map::largest_file;

/// Writes of at most this many bytes within a block go through a buffer on the stack.
const SMALL: usize = 256;
/// Blocks read ahead of a reader.
const READ_AHEAD: u64 = 16;
/// The largest size that needs no `large_file` feature.
const SMALL_FILE: u64 = 0x7fff_ffff;

/// A block on its way to a reader.
enum Found {
    Block(Page),
    /// A page that a mapping may have changed.
    Mapped(Arc<dyn SharedPage>),
    Hole,
}

impl<D: BlockDevice + 'static> Ext2Inode<D> {
    fn block_size(&self) -> usize {
        self.volume.geometry.block_size
    }

    /// The contents of the file's block `index`, which is `block`; reads ahead if it is not in
    /// memory.
    #[inline]
    fn fetch(&self, body: &mut Body, index: u64, block: u32, end: u64) -> Result<Page, FsError> {
        match self.volume.cache.cached(block) {
            Some(page) => Ok(page),
            None => self.fetch_ahead(body, index, block, end),
        }
    }

    /// What holds byte `offset` of a file of `end` blocks.
    #[inline]
    fn find(&self, body: &mut Body, offset: u64, end: u64) -> Result<Found, FsError> {
        if !body.shared.is_empty()
            && let Some(page) = body.shared.dirty(offset / PAGE as u64)
        {
            return Ok(Found::Mapped(Arc::clone(page)));
        }
        let index = offset / self.block_size() as u64;
        match self.find_block(body, index)? {
            0 => Ok(Found::Hole),
            block => self.fetch(body, index, block, end).map(Found::Block),
        }
    }

    #[cold]
    fn fetch_ahead(
        &self,
        body: &mut Body,
        index: u64,
        block: u32,
        end: u64,
    ) -> Result<Page, FsError> {
        let mut count = 1;
        while u64::from(count) < READ_AHEAD.min(end - index)
            && self.find_block(body, index + u64::from(count))? == block.wrapping_add(count)
        {
            count += 1;
        }
        self.volume.cache.load(block, count as usize)
    }

    pub(crate) fn read_data(
        &self,
        offset: &mut u64,
        sink: &mut dyn Sink,
        keep_time: bool,
    ) -> Result<usize, FsError> {
        let block_size = self.block_size();
        let mut done = 0;
        let mut stale;
        let result = loop {
            let within = (*offset % block_size as u64) as usize;
            let step = {
                let mut body = self.body();
                let size;
                (size, stale) = self.size_and_stale();
                let left = size.saturating_sub(*offset);
                let length = left.min((block_size - within) as u64) as usize;
                let length = length.min(sink.remaining());
                if length == 0 {
                    break Ok(done);
                }
                let end = size.div_ceil(block_size as u64);
                self.find(&mut body, *offset, end).map(|found| (found, length))
            };
            let (found, length) = match step {
                Ok(step) => step,
                Err(_) if done > 0 => break Ok(done),
                Err(error) => break Err(error),
            };
            let copied = match &found {
                Found::Block(page) => sink.put(page.get(within..within + length).unwrap_or(&[])),
                Found::Mapped(page) => {
                    let at = (*offset % PAGE as u64) as usize;
                    mapped::put(&**page, at, length, sink, self.volume.cache.pool())
                }
                Found::Hole => sink.put_zeros(length),
            };
            *offset += copied as u64;
            done += copied;
            if copied < length {
                break if done > 0 { Ok(done) } else { Err(FsError::Fault) };
            }
            if sink.remaining() == 0 {
                break Ok(done);
            }
        };
        // Within a write that reads what it writes from a mapped file, there is a pass already.
        if stale
            && done > 0
            && !keep_time
            && let Some(_pass) = self.volume.try_change()
        {
            self.note_access()?;
        }
        result
    }

    #[cold]
    fn note_access(&self) -> Result<(), FsError> {
        let time = to_disk_time(now());
        if self.meta().accessed == time {
            // Changed in the same second, or, as its times say, in the future.
            return Ok(());
        }
        let body = self.body();
        self.change_meta(|meta| meta.accessed = time);
        self.store(&body)
    }

    pub(crate) fn write_data(
        &self,
        offset: &mut u64,
        source: &mut dyn Source,
        append: bool,
    ) -> Result<usize, FsError> {
        let _pass = self.volume.begin_change()?;
        let _writer = self.writer.lock();
        let size = self.meta().size;
        if append {
            *offset = size;
        }
        let count = source.remaining() as u64;
        if count == 0 {
            return Ok(0);
        }
        let limit = self.size_limit(offset.saturating_add(count))?;
        if *offset >= limit {
            return Err(FsError::FileTooLarge);
        }
        if *offset > size {
            self.clear_tail(size)?;
        }
        let block_size = self.block_size();
        let mut done = 0;
        let mut failed = None;
        while failed.is_none() {
            let within = (*offset % block_size as u64) as usize;
            let length = source.remaining().min(block_size - within);
            let length = (length as u64).min(limit - *offset) as usize;
            if length == 0 {
                break;
            }
            match self.write_block(*offset, within, length, source) {
                Ok(copied) => {
                    *offset += copied as u64;
                    done += copied;
                    if copied < length {
                        failed = Some(FsError::Fault);
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        if done > 0 {
            let body = self.body();
            let time = to_disk_time(now());
            self.change_meta(|meta| (meta.modified, meta.changed) = (time, time));
            self.store(&body)?;
        }
        match failed {
            Some(error) if done == 0 => Err(error),
            _ => Ok(done),
        }
    }

    /// How large the file may become, if it is to reach `wanted`.
    fn size_limit(&self, wanted: u64) -> Result<u64, FsError> {
        if wanted > SMALL_FILE && self.volume.allow_large_files().is_err() {
            return Ok(SMALL_FILE);
        }
        Ok(largest_file(self.block_size()))
    }

    /// Writes `length` bytes at `offset`, which is `within` its block.
    fn write_block(
        &self,
        offset: u64,
        within: usize,
        length: usize,
        source: &mut dyn Source,
    ) -> Result<usize, FsError> {
        let pool = self.volume.cache.pool();
        if length <= SMALL && length < self.block_size() {
            let mut buffer = [0; SMALL];
            let copied = source.take(buffer.get_mut(..length).unwrap_or(&mut []));
            return self.merge(offset, within, buffer.get(..copied).unwrap_or(&[]));
        }
        let mut page = pool.take();
        let copied = source.take(page::make_mut(&mut page).get_mut(..length).unwrap_or(&mut []));
        if copied < self.block_size() {
            let result = self.merge(offset, within, page.get(..copied).unwrap_or(&[]));
            pool.give(page);
            return result;
        }
        let mut body = self.body();
        let index = offset / self.block_size() as u64;
        let shared = !body.shared.is_empty();
        let copy = shared.then(|| Page::clone(&page));
        self.place(&mut body, index, page)?;
        if let Some(copy) = copy {
            body.shared.write(offset, &copy);
        }
        self.grow(offset + copied as u64);
        Ok(copied)
    }

    /// Copies a part of a block into it.
    fn merge(&self, offset: u64, within: usize, bytes: &[u8]) -> Result<usize, FsError> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut body = self.body();
        let index = offset / self.block_size() as u64;
        let copy = |target: &mut [u8]| {
            if let Some(target) = target.get_mut(within..within + bytes.len()) {
                target.copy_from_slice(bytes);
            }
        };
        match self.find_block(&mut body, index)? {
            0 => {
                let mut page = self.volume.cache.pool().take();
                let target = page::make_mut(&mut page);
                target.fill(0);
                copy(target);
                self.place(&mut body, index, page)?;
            }
            block => self.volume.cache.modify(block, copy)?,
        }
        if !body.shared.is_empty() {
            body.shared.write(offset, bytes);
        }
        self.grow(offset + bytes.len() as u64);
        Ok(bytes.len())
    }

    /// Makes the file at least `end` bytes long.
    fn grow(&self, end: u64) {
        self.change_meta(|meta| meta.size = meta.size.max(end));
    }

    /// Zeroes what lies in the file's last block and in its last mapped page behind `size`, so that
    /// it reads as zeros when the file grows over it. That page has to be asked for again to be
    /// written: more blocks of it may be the file's then.
    fn clear_tail(&self, size: u64) -> Result<(), FsError> {
        let mut body = self.body();
        if let Some(index) = body.shared.clear_tail(size) {
            self.revoke(body, index..index + 1, Revoked::Writing);
            body = self.body();
            body.shared.clear_tail(size);
        }
        let within = (size % self.block_size() as u64) as usize;
        if within == 0 {
            return Ok(());
        }
        match self.find_block(&mut body, size / self.block_size() as u64)? {
            0 => Ok(()),
            block => self.volume.cache.modify(block, |bytes| {
                if let Some(tail) = bytes.get_mut(within..) {
                    tail.fill(0);
                }
            }),
        }
    }

    /// Sets the size: frees what is cut off, or adds a hole.
    pub(crate) fn set_size(&self, size: u64) -> Result<(), FsError> {
        let _pass = self.volume.begin_change()?;
        let _writer = self.writer.lock();
        if size > self.size_limit(size)? {
            return Err(FsError::FileTooLarge);
        }
        let before = self.meta().size;
        self.clear_tail(size.min(before))?;
        let mut body = self.body();
        let time = to_disk_time(now());
        self.change_meta(|meta| {
            meta.size = size;
            (meta.modified, meta.changed) = (time, time);
        });
        let mut result = Ok(());
        let mut mapped = SharedPages::default();
        let end = size.div_ceil(PAGE as u64);
        if size < before {
            result = self.release_from(&mut body, size.div_ceil(self.block_size() as u64));
            mapped = body.shared.cut(end);
        }
        let stored = self.store(&body);
        if !mapped.is_empty() {
            self.revoke(body, end..u64::MAX, Revoked::All);
        }
        stored.and(result)
    }

    /// The target of a symbolic link: in the inode if it is short, else in a block.
    pub(crate) fn link_target(&self) -> Result<Vec<u8>, FsError> {
        let meta = self.meta();
        let mut body = self.body();
        let length = meta.size as usize;
        if meta.has_blocks(self.block_size()) {
            let block = self.find_block(&mut body, 0)?;
            if block == 0 || length > PATH_MAX {
                return Err(self.volume.corrupted());
            }
            let page = self.volume.cache.get(block)?;
            return page.get(..length).map(<[u8]>::to_vec).ok_or_else(|| self.volume.corrupted());
        }
        let mut target: Vec<u8> =
            body.pointers.iter().flat_map(|pointer| pointer.to_le_bytes()).collect();
        if length >= target.len() {
            return Err(self.volume.corrupted());
        }
        target.truncate(length);
        Ok(target)
    }
}
