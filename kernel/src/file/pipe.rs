//! Pipes (`pipe(7)`): a queue of bytes with a reading and a writing end.
//!
//! Bytes pass through a buffer of the caller on their way from and to user memory, because the
//! queue's lock is not held during user copies. Writes of up to [`PIPE_BUF`] bytes are atomic.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use kernel_abi::file::ioctl::FIONREAD;
use kernel_sync::TaskLock;
use kernel_vfs::page::{self, PagePool};
use kernel_vfs::{
    ByteQueue, File, FileType, FsError, Metadata, OpenFile, OpenFlags, Readiness, Sink, Source,
    Time,
};

use super::{poll, wall_clock};
use crate::mcore::WaitQueue;
use crate::mcore::mtask::job;
use crate::mem::memapi::may_allocate;
use crate::mem::user::write_user;

/// Bytes that a pipe holds.
const CAPACITY: usize = 65_536;
/// Writes up to this size are not mixed with others.
const PIPE_BUF: usize = 4096;
/// Transfers up to this size use a buffer on the stack.
const SMALL: usize = 64;

/// Buffers for larger transfers.
static POOL: kernel_sync::OnceCell<PagePool> = kernel_sync::OnceCell::new();

fn pool() -> &'static PagePool {
    loop {
        match POOL.get() {
            Some(pool) => return pool,
            // If another was set meanwhile, that one is found.
            None => drop(POOL.set(PagePool::new(PIPE_BUF))),
        }
    }
}

struct State {
    bytes: ByteQueue,
    reader_open: bool,
    writer_open: bool,
    /// Tasks in the two queues, or on their way there.
    readers_waiting: u32,
    writers_waiting: u32,
    /// How often something was written, and how often a full pipe has got room; the other end's
    /// closing counts, too.
    written: u64,
    emptied: u64,
}

impl State {
    /// There is room for a write that is not divided.
    fn has_room(&self) -> bool {
        CAPACITY.saturating_sub(self.bytes.len()) >= PIPE_BUF
    }
}

struct Pipe {
    number: u64,
    created: Time,
    state: TaskLock<State>,
    readers: WaitQueue,
    writers: WaitQueue,
}

/// The reading end.
pub(super) struct Reader(Arc<Pipe>);
/// The writing end.
pub(super) struct Writer(Arc<Pipe>);

/// A new pipe: its reading and its writing end.
///
/// # Errors
/// `OutOfMemory`.
pub fn new(flags: OpenFlags) -> Result<(Arc<OpenFile>, Arc<OpenFile>), FsError> {
    let (reader, writer) = ends()?;
    Ok((
        OpenFile::new(Arc::new(reader), None, flags),
        OpenFile::new(Arc::new(writer), None, flags | OpenFlags::WRITE_ONLY),
    ))
}

/// The ends of a new pipe, for what is made of pipes.
pub(super) fn ends() -> Result<(Reader, Writer), FsError> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    may_allocate(2 * PIPE_BUF).map_err(|_| FsError::OutOfMemory)?;
    let pipe = Arc::new(Pipe {
        number: NEXT.fetch_add(1, Ordering::Relaxed),
        created: wall_clock(),
        state: TaskLock::new(State {
            bytes: ByteQueue::new(),
            reader_open: true,
            writer_open: true,
            readers_waiting: 0,
            writers_waiting: 0,
            written: 0,
            emptied: 0,
        }),
        readers: WaitQueue::new(),
        writers: WaitQueue::new(),
    });
    Ok((Reader(Arc::clone(&pipe)), Writer(pipe)))
}

/// Makes room in a queue, if there is memory; for a moment the old and the new ring are there.
#[cold]
fn grow(bytes: &mut ByteQueue, more: usize) -> Result<(), FsError> {
    may_allocate(4 * (bytes.len() + more)).map_err(|_| FsError::OutOfMemory)?;
    bytes.reserve(more)
}

impl Pipe {
    /// Waits until there is something to read; `false` at the end.
    fn wait_readable(&self, flags: OpenFlags) -> Result<bool, FsError> {
        {
            let mut state = self.state.lock();
            if !state.bytes.is_empty() {
                return Ok(true);
            }
            if !state.writer_open {
                return Ok(false);
            }
            if flags.contains(OpenFlags::NONBLOCK) {
                return Err(FsError::WouldBlock);
            }
            state.readers_waiting += 1;
        }
        let result = self.readers.wait_until(|| {
            let state = self.state.lock();
            let readable = !state.bytes.is_empty();
            (readable || !state.writer_open).then_some(readable)
        });
        self.state.lock().readers_waiting -= 1;
        result.map_err(|_| FsError::Interrupted)
    }

    /// Waits until there is room for `count` bytes.
    fn wait_writable(&self, count: usize, flags: OpenFlags) -> Result<(), FsError> {
        let look = |state: &State| {
            if !state.reader_open {
                Some(Err(FsError::BrokenPipe))
            } else if CAPACITY.saturating_sub(state.bytes.len()) >= count {
                Some(Ok(()))
            } else {
                None
            }
        };
        {
            let mut state = self.state.lock();
            if let Some(result) = look(&state) {
                return result;
            }
            if flags.contains(OpenFlags::NONBLOCK) {
                return Err(FsError::WouldBlock);
            }
            state.writers_waiting += 1;
        }
        let result = self.writers.wait_until(|| look(&self.state.lock()));
        self.state.lock().writers_waiting -= 1;
        result.map_err(|_| FsError::Interrupted)?
    }

    /// Moves up to `buffer.len()` bytes out of the queue.
    #[inline]
    fn take(&self, buffer: &mut [u8]) -> usize {
        let (count, wake) = {
            let mut state = self.state.lock();
            let was_full = !state.has_room();
            let count = state.bytes.pop(buffer);
            state.emptied += u64::from(was_full && state.has_room());
            (count, state.writers_waiting > 0)
        };
        if wake {
            self.writers.wake_all();
        }
        poll::changed();
        count
    }

    /// Puts bytes that could not be delivered back to the front. A writer may have filled their
    /// place meanwhile; then they are lost, as the reader's memory was.
    #[cold]
    fn put_back(&self, bytes: &[u8]) {
        self.state.lock().bytes.push_front(bytes);
    }

    /// Appends bytes, waiting for room as long as they do not fit: all at once if they are at most
    /// `PIPE_BUF`. Returns how many; an error only if none.
    fn append(&self, bytes: &[u8], atomic: bool, flags: OpenFlags) -> Result<usize, FsError> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = bytes.get(done..).unwrap_or(&[]);
            let wanted = if atomic { rest.len() } else { 1 };
            let (count, wake) = {
                let mut state = self.state.lock();
                let room = CAPACITY.saturating_sub(state.bytes.len());
                if state.reader_open && room >= wanted {
                    let count = room.min(rest.len());
                    if state.bytes.len() + count > state.bytes.capacity()
                        && let Err(error) = grow(&mut state.bytes, count)
                    {
                        return if done > 0 { Ok(done) } else { Err(error) };
                    }
                    let count = state.bytes.push(rest.get(..count).unwrap_or(&[]));
                    state.written += 1;
                    (count, state.readers_waiting > 0)
                } else {
                    (0, false)
                }
            };
            if wake {
                self.readers.wake_all();
            }
            if count > 0 {
                poll::changed();
                done += count;
                continue;
            }
            match self.wait_writable(wanted, flags) {
                Ok(()) => {}
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            inode: self.number,
            file_type: FileType::Fifo,
            mode: 0o600,
            links: 1,
            uid: 0,
            gid: 0,
            device: 0,
            size: 0,
            block_size: PIPE_BUF as u32,
            blocks: 0,
            accessed: self.created,
            modified: self.created,
            changed: self.created,
        }
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, FsError> {
        if command != FIONREAD {
            return Err(FsError::NotTerminal);
        }
        let count = self.state.lock().bytes.len();
        write_user(argument, count as u32).map(|()| 0).map_err(|_| FsError::Fault)
    }
}

impl Reader {
    /// Nothing will be read any more.
    pub(super) fn close(&self) {
        self.mark_closed();
        self.tell_closed();
    }

    /// The first half of that: writers are not told yet.
    pub(super) fn mark_closed(&self) {
        let mut state = self.0.state.lock();
        state.reader_open = false;
        state.emptied += 1;
    }

    /// The second half.
    pub(super) fn tell_closed(&self) {
        self.0.writers.wake_all();
        poll::changed();
    }

    /// It will be read again.
    pub(super) fn reopen(&self) {
        self.0.state.lock().reader_open = true;
    }

    /// Whether something will still be written.
    pub(super) fn has_writer(&self) -> bool {
        self.0.state.lock().writer_open
    }

    /// Delivers what was taken out of the queue.
    #[inline]
    fn deliver(&self, bytes: &[u8], sink: &mut dyn Sink) -> Result<usize, FsError> {
        let copied = sink.put(bytes);
        if copied < bytes.len() {
            self.0.put_back(bytes.get(copied..).unwrap_or(&[]));
            if copied == 0 {
                return Err(FsError::Fault);
            }
        }
        Ok(copied)
    }

    /// A read of at most `buffer.len()` bytes.
    #[inline]
    fn read_small(
        &self,
        buffer: &mut [u8],
        sink: &mut dyn Sink,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        loop {
            let count = self.0.take(buffer);
            if count > 0 {
                return self.deliver(buffer.get(..count).unwrap_or(&[]), sink);
            }
            if !self.0.wait_readable(flags)? {
                return Ok(0);
            }
        }
    }

    /// A larger one, page by page, as far as there is something without waiting.
    fn read_pages(&self, sink: &mut dyn Sink, flags: OpenFlags) -> Result<usize, FsError> {
        let mut page = pool().take();
        let buffer = page::make_mut(&mut page);
        let mut done = 0;
        let result = loop {
            let length = sink.remaining().min(PIPE_BUF);
            let part = buffer.get_mut(..length).unwrap_or(&mut []);
            let step = if done == 0 {
                self.read_small(part, sink, flags)
            } else {
                let count = self.0.take(part);
                self.deliver(part.get(..count).unwrap_or(&[]), sink)
            };
            match step {
                Ok(count) => {
                    done += count;
                    if count < length || sink.remaining() == 0 {
                        break Ok(done);
                    }
                }
                Err(_) if done > 0 => break Ok(done),
                Err(error) => break Err(error),
            }
        };
        pool().give(page);
        result
    }
}

impl File for Reader {
    #[inline]
    fn read(
        &self,
        _offset: &mut u64,
        sink: &mut dyn Sink,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        match sink.remaining() {
            0 => Ok(0),
            wanted @ 1..=SMALL => {
                let mut buffer = [0; SMALL];
                self.read_small(buffer.get_mut(..wanted).unwrap_or(&mut []), sink, flags)
            }
            _ => self.read_pages(sink, flags),
        }
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, FsError> {
        self.0.ioctl(command, argument)
    }

    fn readiness(&self) -> Readiness {
        let state = self.0.state.lock();
        let mut ready = Readiness::empty();
        ready.set(Readiness::READ, !state.bytes.is_empty());
        ready.set(Readiness::HANG_UP, !state.writer_open);
        ready
    }

    fn activity(&self, _what: Readiness) -> Option<u64> {
        Some(self.0.state.lock().written)
    }

    fn metadata(&self) -> Result<Metadata, FsError> {
        Ok(self.0.metadata())
    }

    fn label(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "pipe:[{}]", self.0.number)
    }
}

impl Writer {
    /// Writes what there is, as far as it can; an error only if nothing was written.
    pub(super) fn transfer(
        &self,
        source: &mut dyn Source,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        match source.remaining() {
            0 => Ok(0),
            total @ 1..=SMALL => self.write_small(total, source, flags),
            total => self.write_pages(total, source, flags),
        }
    }

    /// A write of at most [`SMALL`] bytes.
    #[inline]
    fn write_small(
        &self,
        total: usize,
        source: &mut dyn Source,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        let mut buffer = [0; SMALL];
        match source.take(buffer.get_mut(..total).unwrap_or(&mut [])) {
            0 => Err(FsError::Fault),
            taken => self.0.append(buffer.get(..taken).unwrap_or(&[]), true, flags),
        }
    }

    /// A larger one, page by page.
    fn write_pages(
        &self,
        total: usize,
        source: &mut dyn Source,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        let mut page = pool().take();
        let mut done = 0;
        let result = loop {
            let length = source.remaining().min(PIPE_BUF);
            if length == 0 {
                break Ok(());
            }
            let buffer = page::make_mut(&mut page).get_mut(..length).unwrap_or(&mut []);
            let taken = source.take(buffer);
            if taken == 0 {
                break Err(FsError::Fault);
            }
            let bytes = buffer.get(..taken).unwrap_or(&[]);
            match self.0.append(bytes, total <= PIPE_BUF, flags) {
                Ok(count) => {
                    done += count;
                    if count < length {
                        break Ok(());
                    }
                }
                Err(error) => break Err(error),
            }
        };
        pool().give(page);
        match result {
            Err(error) if done == 0 => Err(error),
            _ => Ok(done),
        }
    }
}

impl File for Writer {
    fn write(
        &self,
        _offset: &mut u64,
        source: &mut dyn Source,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        match source.remaining() {
            0 => Ok(0),
            // All or nothing, unless the source's memory ends before.
            total @ 1..=SMALL => self.write_small(total, source, flags),
            total => {
                let done = self.write_pages(total, source, flags)?;
                // That nothing was written is told the caller by an error, and the signal goes
                // with that.
                if done < total && !self.0.state.lock().reader_open {
                    job::broken_pipe();
                }
                Ok(done)
            }
        }
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, FsError> {
        self.0.ioctl(command, argument)
    }

    fn readiness(&self) -> Readiness {
        let state = self.0.state.lock();
        let mut ready = Readiness::empty();
        ready.set(Readiness::WRITE, state.has_room());
        ready.set(Readiness::ERROR, !state.reader_open);
        ready
    }

    fn activity(&self, _what: Readiness) -> Option<u64> {
        Some(self.0.state.lock().emptied)
    }

    fn metadata(&self) -> Result<Metadata, FsError> {
        Ok(self.0.metadata())
    }

    fn label(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "pipe:[{}]", self.0.number)
    }
}

impl Writer {
    /// Nothing will be written any more.
    pub(super) fn close(&self) {
        self.mark_closed();
        self.tell_closed();
    }

    /// The first half of that: readers are not told yet.
    pub(super) fn mark_closed(&self) {
        let mut state = self.0.state.lock();
        state.writer_open = false;
        state.written += 1;
    }

    /// The second half.
    pub(super) fn tell_closed(&self) {
        self.0.readers.wake_all();
        poll::changed();
    }

    /// Something may be written again.
    pub(super) fn reopen(&self) {
        self.0.state.lock().writer_open = true;
    }

    /// Whether what is written will still be read, and this end is not closed.
    pub(super) fn is_open(&self) -> bool {
        let state = self.0.state.lock();
        state.reader_open && state.writer_open
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.close();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}
