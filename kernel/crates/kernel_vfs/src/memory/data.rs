//! The data of a regular file in memory: pages by index, holes where none is.
//!
//! Locks, in order: `writer` (sleeping, one writer or truncation at a time), `pages` (spinning).
//! Neither is held while a sink is called; `writer` is held while a source is, which is safe
//! because resolving a fault on user memory only ever reads files.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::sync::Arc;

use kernel_sync::{Mutex, TaskLock};

use super::{PAGE, Shared};
use crate::claim::Claims;
use crate::error::FsError;
use crate::io::{Sink, Source};
use crate::page::{self, Page};
use crate::types::OFFSET_MAX;

/// Writes up to this many bytes go through a buffer on the stack.
const SMALL: usize = 256;

#[derive(Default)]
struct Pages {
    size: u64,
    pages: BTreeMap<u64, Page>,
}

/// A file's bytes.
pub(super) struct Data {
    shared: Arc<Shared>,
    writer: Mutex<()>,
    pub(super) claims: Claims,
    pages: TaskLock<Pages>,
}

impl Data {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, writer: Mutex::new(()), claims: Claims::new(), pages: TaskLock::default() }
    }

    pub(super) fn size(&self) -> u64 {
        self.pages.lock().size
    }

    /// Size in bytes, and pages in use.
    pub(super) fn extent(&self) -> (u64, u64) {
        let pages = self.pages.lock();
        (pages.size, pages.pages.len() as u64)
    }

    pub(super) fn read(&self, offset: &mut u64, sink: &mut dyn Sink) -> Result<usize, FsError> {
        let mut done = 0;
        loop {
            let within = (*offset % PAGE as u64) as usize;
            let (page, length) = {
                let pages = self.pages.lock();
                let left = pages.size.saturating_sub(*offset);
                let length = left.min((PAGE - within) as u64) as usize;
                let length = length.min(sink.remaining());
                if length == 0 {
                    return Ok(done);
                }
                (pages.pages.get(&(*offset / PAGE as u64)).cloned(), length)
            };
            let copied = match &page {
                Some(page) => sink.put(page.get(within..within + length).unwrap_or(&[])),
                None => sink.put_zeros(length),
            };
            *offset += copied as u64;
            done += copied;
            if copied < length {
                return if done > 0 { Ok(done) } else { Err(FsError::Fault) };
            }
        }
    }

    pub(super) fn write(
        &self,
        offset: &mut u64,
        source: &mut dyn Source,
        append: bool,
    ) -> Result<usize, FsError> {
        let _writer = self.writer.lock();
        if append {
            *offset = self.size();
        }
        if source.remaining() > 0 && *offset >= OFFSET_MAX {
            return Err(FsError::FileTooLarge);
        }
        let mut done = 0;
        loop {
            let within = (*offset % PAGE as u64) as usize;
            let room = OFFSET_MAX.saturating_sub(*offset);
            let length = source.remaining().min(PAGE - within);
            let length = (length as u64).min(room) as usize;
            if length == 0 {
                return Ok(done);
            }
            let result = if length == PAGE {
                self.write_page(*offset, source)
            } else {
                self.write_part(*offset, length, source)
            };
            match result {
                Ok(copied) => {
                    *offset += copied as u64;
                    done += copied;
                    if copied < length {
                        return if done > 0 { Ok(done) } else { Err(FsError::Fault) };
                    }
                }
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes a whole page: fills one that nobody sees, then puts it in place.
    fn write_page(&self, offset: u64, source: &mut dyn Source) -> Result<usize, FsError> {
        let mut fresh = self.shared.pool.take();
        let copied = source.take(page::make_mut(&mut fresh));
        if copied < PAGE {
            let result = self.merge(offset, fresh.get(..copied).unwrap_or(&[]));
            self.shared.pool.give(fresh);
            return result;
        }
        let mut pages = self.pages.lock();
        let index = offset / PAGE as u64;
        let before = match pages.pages.get_mut(&index) {
            Some(page) => Some(core::mem::replace(page, fresh)),
            None => {
                self.shared.reserve_page()?;
                pages.pages.insert(index, fresh)
            }
        };
        pages.size = pages.size.max(offset + PAGE as u64);
        drop(pages);
        if let Some(before) = before {
            self.shared.pool.give(before);
        }
        Ok(PAGE)
    }

    /// Writes `length` bytes within one page.
    fn write_part(
        &self,
        offset: u64,
        length: usize,
        source: &mut dyn Source,
    ) -> Result<usize, FsError> {
        if length <= SMALL {
            let mut buffer = [0; SMALL];
            let copied = source.take(buffer.get_mut(..length).unwrap_or(&mut []));
            return self.merge(offset, buffer.get(..copied).unwrap_or(&[]));
        }
        let mut scratch = self.shared.pool.take();
        let copied = source.take(page::make_mut(&mut scratch).get_mut(..length).unwrap_or(&mut []));
        let result = self.merge(offset, scratch.get(..copied).unwrap_or(&[]));
        self.shared.pool.give(scratch);
        result
    }

    /// Puts bytes into the page at `offset`, making it if there is a hole.
    fn merge(&self, offset: u64, bytes: &[u8]) -> Result<usize, FsError> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let within = (offset % PAGE as u64) as usize;
        let index = offset / PAGE as u64;
        let mut pages = self.pages.lock();
        let page = match pages.pages.entry(index) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.shared.reserve_page()?;
                entry.insert(page::zeroed(PAGE))
            }
        };
        if let Some(place) = page::make_mut(page).get_mut(within..within + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        pages.size = pages.size.max(offset + bytes.len() as u64);
        Ok(bytes.len())
    }

    pub(super) fn truncate(&self, size: u64) -> Result<(), FsError> {
        if size > OFFSET_MAX {
            return Err(FsError::FileTooLarge);
        }
        let _writer = self.writer.lock();
        let mut pages = self.pages.lock();
        if size >= pages.size {
            pages.size = size;
            return Ok(());
        }
        let removed = pages.pages.split_off(&size.div_ceil(PAGE as u64));
        let within = (size % PAGE as u64) as usize;
        if within > 0
            && let Some(page) = pages.pages.get_mut(&(size / PAGE as u64))
            && let Some(tail) = page::make_mut(page).get_mut(within..)
        {
            tail.fill(0);
        }
        pages.size = size;
        drop(pages);
        self.shared.release_pages(removed.len() as u64);
        Ok(())
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let count = self.pages.get_mut().pages.len() as u64;
        self.shared.release_pages(count);
    }
}
