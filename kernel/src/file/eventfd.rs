//! Event counters (`eventfd(2)`): a number that writing adds to and reading takes, with waiting for
//! it to be more than zero, or to have room.

use alloc::sync::Arc;
use core::fmt;

use kernel_sync::TaskLock;
use kernel_vfs::{File, FsError, OpenFile, OpenFlags, Readiness, Sink, Source};

use super::poll;
use crate::mcore::WaitQueue;
use crate::mem::memapi::may_allocate;

/// The greatest count.
const MOST: u64 = u64::MAX - 1;
/// Bytes that a read or a write transfers.
const WORD: usize = size_of::<u64>();

/// What the lock of an event counter guards.
struct State {
    count: u64,
    /// How often something was added, and taken.
    added: u64,
    taken: u64,
}

/// An event counter.
struct EventCounter {
    state: TaskLock<State>,
    /// A read takes one, instead of all (`EFD_SEMAPHORE`).
    semaphore: bool,
    readers: WaitQueue,
    writers: WaitQueue,
}

/// A new event counter that begins with `count`; `flags` may have `NONBLOCK`.
///
/// # Errors
/// `OutOfMemory`.
pub fn new(count: u32, semaphore: bool, flags: OpenFlags) -> Result<Arc<OpenFile>, FsError> {
    may_allocate(size_of::<EventCounter>()).map_err(|_| FsError::OutOfMemory)?;
    let counter = EventCounter {
        state: TaskLock::new(State { count: count.into(), added: 0, taken: 0 }),
        semaphore,
        readers: WaitQueue::new(),
        writers: WaitQueue::new(),
    };
    Ok(OpenFile::new(Arc::new(counter), None, flags | OpenFlags::READ_WRITE))
}

impl EventCounter {
    /// Takes what a read gives, if there is something.
    fn take(&self) -> Option<u64> {
        let mut state = self.state.lock();
        if state.count == 0 {
            return None;
        }
        let taken = if self.semaphore { 1 } else { state.count };
        state.count -= taken;
        state.taken += 1;
        Some(taken)
    }

    /// Adds, if there is room.
    fn add(&self, value: u64) -> Option<()> {
        let mut state = self.state.lock();
        state.count = state.count.checked_add(value).filter(|&sum| sum <= MOST)?;
        state.added += 1;
        Some(())
    }
}

/// Does what `now` can do at once, or waits until it can.
fn wait<T>(
    queue: &WaitQueue,
    flags: OpenFlags,
    mut now: impl FnMut() -> Option<T>,
) -> Result<T, FsError> {
    match now() {
        Some(done) => Ok(done),
        None if flags.contains(OpenFlags::NONBLOCK) => Err(FsError::WouldBlock),
        None => queue.wait_until(now).map_err(|_| FsError::Interrupted),
    }
}

impl File for EventCounter {
    fn read(
        &self,
        _offset: &mut u64,
        sink: &mut dyn Sink,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        if sink.remaining() < WORD {
            return Err(FsError::InvalidArgument);
        }
        let taken = wait(&self.readers, flags, || self.take())?;
        self.writers.wake_all();
        poll::changed();
        // What cannot be delivered is lost, as on Linux.
        if sink.put(&taken.to_ne_bytes()) == WORD { Ok(WORD) } else { Err(FsError::Fault) }
    }

    fn write(
        &self,
        _offset: &mut u64,
        source: &mut dyn Source,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        if source.remaining() < WORD {
            return Err(FsError::InvalidArgument);
        }
        let mut bytes = [0; WORD];
        if source.take(&mut bytes) < WORD {
            return Err(FsError::Fault);
        }
        let value = u64::from_ne_bytes(bytes);
        if value > MOST {
            return Err(FsError::InvalidArgument);
        }
        wait(&self.writers, flags, || self.add(value))?;
        self.readers.wake_all();
        poll::changed();
        Ok(WORD)
    }

    fn readiness(&self) -> Readiness {
        let count = self.state.lock().count;
        let mut ready = Readiness::empty();
        ready.set(Readiness::READ, count > 0);
        ready.set(Readiness::WRITE, count < MOST);
        ready
    }

    fn activity(&self, what: Readiness) -> Option<u64> {
        let state = self.state.lock();
        let added = if what.contains(Readiness::READ) { state.added } else { 0 };
        let taken = if what.contains(Readiness::WRITE) { state.taken } else { 0 };
        Some(added + taken)
    }

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let count = self.state.lock().count;
        writeln!(out, "eventfd-count: {count:16x}")
    }

    fn label(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("anon_inode:[eventfd]")
    }
}
