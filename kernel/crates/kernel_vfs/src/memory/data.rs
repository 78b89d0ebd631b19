//! The data of a regular file in memory: pages by index, holes where none is.
//!
//! A page that is mapped shared is among the shared pages instead, and comes back when the last
//! mapping is gone.
//!
//! Locks, in order: `writer` (sleeping, one writer or truncation at a time), those of address
//! spaces, `pages` (spinning). Neither is held while a sink is called; `writer` is held while a
//! source is, which is safe because resolving a fault on a page that is read takes `pages` only.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::sync::Arc;

use kernel_sync::{Mutex, TaskLock};

use super::{PAGE, Shared};
use crate::claim::Claims;
use crate::error::FsError;
use crate::io::{Sink, Source};
use crate::mapped::{self, Located, Mapped, Revoked, SharedPage, SharedPages};
use crate::page::{self, Page};
use crate::types::OFFSET_MAX;

/// Writes up to this many bytes go through a buffer on the stack.
const SMALL: usize = 256;

#[derive(Default)]
struct Pages {
    size: u64,
    pages: BTreeMap<u64, Page>,
    /// Those that are mapped shared; no page is in both.
    shared: SharedPages,
}

/// A page on its way to a reader.
enum Found {
    Page(Page),
    Shared(Arc<dyn SharedPage>),
    Hole,
}

impl Pages {
    fn find(&self, index: u64) -> Found {
        match self.pages.get(&index) {
            Some(page) => Found::Page(page.clone()),
            None => match self.shared.get(index) {
                Some(page) => Found::Shared(Arc::clone(page)),
                None => Found::Hole,
            },
        }
    }

    /// How many there are.
    fn count(&self) -> u64 {
        (self.pages.len() + self.shared.len()) as u64
    }
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
        (pages.size, pages.count())
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
                (pages.find(*offset / PAGE as u64), length)
            };
            let copied = match &page {
                Found::Page(page) => sink.put(page.get(within..within + length).unwrap_or(&[])),
                Found::Shared(page) => {
                    mapped::put(&**page, within, length, sink, &self.shared.pool)
                }
                Found::Hole => sink.put_zeros(length),
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
        self.clear_before(*offset);
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
        if pages.shared.write(offset, &fresh) {
            pages.size = pages.size.max(offset + PAGE as u64);
            drop(pages);
            self.shared.pool.give(fresh);
            return Ok(PAGE);
        }
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
        if !pages.shared.write(offset, bytes) {
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
        }
        pages.size = pages.size.max(offset + bytes.len() as u64);
        Ok(bytes.len())
    }

    pub(super) fn truncate(&self, size: u64, mappings: &Mapped) -> Result<(), FsError> {
        if size > OFFSET_MAX {
            return Err(FsError::FileTooLarge);
        }
        let _writer = self.writer.lock();
        self.clear_before(size);
        let mut pages = self.pages.lock();
        if size >= pages.size {
            pages.size = size;
            return Ok(());
        }
        let end = size.div_ceil(PAGE as u64);
        let removed = pages.pages.split_off(&end);
        let mapped = pages.shared.cut(end);
        pages.shared.clear_tail(size);
        let within = (size % PAGE as u64) as usize;
        if within > 0
            && let Some(page) = pages.pages.get_mut(&(size / PAGE as u64))
            && let Some(tail) = page::make_mut(page).get_mut(within..)
        {
            tail.fill(0);
        }
        pages.size = size;
        if !mapped.is_empty() {
            mappings.revise();
        }
        drop(pages);
        if !mapped.is_empty() {
            mapped::revoke(mappings, end..u64::MAX, Revoked::All);
        }
        self.shared.release_pages((removed.len() + mapped.len()) as u64);
        Ok(())
    }

    /// Before the file grows to `offset`: what mappings have stored behind its end goes.
    fn clear_before(&self, offset: u64) {
        let pages = self.pages.lock();
        if offset > pages.size {
            pages.shared.clear_tail(pages.size);
        }
    }

    /// The page `index`, shared from now on. A hole is filled also for one who only reads, as by
    /// Linux's tmpfs.
    pub(super) fn share(&self, index: u64, mappings: &Mapped) -> Result<Located, FsError> {
        let new = mapped::new_page()?;
        let mut pages = self.pages.lock();
        if index >= pages.size.div_ceil(PAGE as u64) {
            return Err(FsError::NoSuchDevice);
        }
        let revision = mappings.revision();
        if let Some(page) = pages.shared.get(index) {
            return Ok(Located { page: Arc::clone(page), revision });
        }
        match pages.pages.remove(&index) {
            Some(page) => new.write(0, &page),
            None => self.shared.reserve_page()?,
        }
        pages.shared.insert(index, Arc::clone(&new));
        Ok(Located { page: new, revision })
    }

    /// Nobody maps the file any more: its pages become ordinary ones, unless somebody comes.
    pub(super) fn unshare(&self, mappings: &Mapped) {
        loop {
            let mut fresh = self.shared.pool.take();
            let mut pages = self.pages.lock();
            if mappings.is_mapped() {
                return;
            }
            let Some((index, page)) = pages.shared.first() else { return };
            page.read(0, page::make_mut(&mut fresh));
            pages.pages.insert(index, fresh);
            pages.shared.remove(index);
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let count = self.pages.get_mut().count();
        self.shared.release_pages(count);
    }
}
