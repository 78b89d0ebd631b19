//! Named pipes (`fifo(7)`): a pipe that comes to exist when somebody opens its name, with what was
//! written to it for as long as somebody has it open.

use alloc::sync::Arc;

use kernel_sync::TaskLock;
use kernel_vfs::special::Meeting;
use kernel_vfs::{File, FsError, OpenFlags, Readiness, Sink, Source};

use super::{pipe, poll};
use crate::mcore::WaitQueue;

/// How often one side is open now, and how often it was opened.
#[derive(Clone, Copy, Default)]
struct Side {
    open: u32,
    ever: u64,
}

impl Side {
    /// One more; whether it is the first.
    fn enter(&mut self) -> bool {
        self.open += 1;
        self.ever += 1;
        self.open == 1
    }

    /// One less; whether it was the last.
    fn leave(&mut self) -> bool {
        self.open -= 1;
        self.open == 0
    }
}

#[derive(Clone, Copy, Default)]
struct Sides {
    readers: Side,
    writers: Side,
}

/// The pipe behind a name. Its ends are closed while nobody has them.
struct Named {
    reader: pipe::Reader,
    writer: pipe::Writer,
    sides: TaskLock<Sides>,
    /// Who waits for the other side.
    opened: WaitQueue,
}

/// One opening.
struct End {
    named: Arc<Named>,
    reads: bool,
    writes: bool,
    /// How many writers there had been when it was opened to be read, without waiting for one.
    before: Option<u64>,
}

/// Opens what is behind a name: a reader waits for a writer and a writer for a reader, unless
/// `flags` has `NONBLOCK`. Who does both does not wait.
///
/// # Errors
/// `NoSuchDevice`: nobody reads, and the writer does not want to wait. `Interrupted`, `OutOfMemory`.
pub(super) fn open(meeting: &Meeting, flags: OpenFlags) -> Result<Arc<dyn File>, FsError> {
    let (reads, writes) = (flags.readable(), flags.writable());
    if !reads && !writes {
        return Err(FsError::InvalidArgument);
    }
    let named = meeting.join(Named::new)?;
    let waits = !flags.contains(OpenFlags::NONBLOCK);
    let (mut end, before) = End::enter(named, reads, writes, waits)?;
    match (reads, writes) {
        (true, false) if waits => end.named.wait(|now| now.writers, before.writers)?,
        (false, true) if waits => end.named.wait(|now| now.readers, before.readers)?,
        (true, false) if before.writers.open == 0 => end.before = Some(before.writers.ever),
        _ => {}
    }
    Ok(Arc::new(end))
}

impl Named {
    fn new() -> Result<Arc<Self>, FsError> {
        let (reader, writer) = pipe::ends()?;
        reader.close();
        writer.close();
        let (sides, opened) = (TaskLock::default(), WaitQueue::new());
        Ok(Arc::new(Self { reader, writer, sides, opened }))
    }

    /// Waits until the other side is open, or has been since this side came; who was there then may
    /// have written and gone.
    fn wait(&self, side: fn(&Sides) -> Side, before: Side) -> Result<(), FsError> {
        let there = || {
            let now = side(&self.sides.lock());
            (before.open > 0 || now.open > 0 || now.ever != before.ever).then_some(())
        };
        self.opened.wait_until(there).map_err(|_| FsError::Interrupted)
    }
}

impl End {
    /// Takes part; also how it was before.
    fn enter(
        named: Arc<Named>,
        reads: bool,
        writes: bool,
        waits: bool,
    ) -> Result<(Self, Sides), FsError> {
        let before = {
            let mut sides = named.sides.lock();
            let before = *sides;
            if !reads && !waits && sides.readers.open == 0 {
                return Err(FsError::NoSuchDevice);
            }
            if reads && sides.readers.enter() {
                named.reader.reopen();
            }
            if writes && sides.writers.enter() {
                named.writer.reopen();
            }
            before
        };
        named.opened.wake_all();
        poll::changed();
        Ok((Self { named, reads, writes, before: None }, before))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let (reader, writer) = {
            let mut sides = self.named.sides.lock();
            let ends = (self.reads && sides.readers.leave(), self.writes && sides.writers.leave());
            // Under the lock: who opens it now opens the end again after this.
            if ends.0 {
                self.named.reader.mark_closed();
            }
            if ends.1 {
                self.named.writer.mark_closed();
            }
            ends
        };
        if reader {
            self.named.reader.tell_closed();
        }
        if writer {
            self.named.writer.tell_closed();
        }
    }
}

impl File for End {
    fn read(
        &self,
        offset: &mut u64,
        sink: &mut dyn Sink,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        self.named.reader.read(offset, sink, flags)
    }

    fn write(
        &self,
        offset: &mut u64,
        source: &mut dyn Source,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        self.named.writer.write(offset, source, flags)
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, FsError> {
        self.named.reader.ioctl(command, argument)
    }

    fn readiness(&self) -> Readiness {
        let mut ready = Readiness::empty();
        if self.reads {
            ready |= self.named.reader.readiness();
            // Until there was a writer, none has gone.
            if self.before.is_some_and(|before| before == self.named.sides.lock().writers.ever) {
                ready -= Readiness::HANG_UP;
            }
        }
        if self.writes {
            ready |= self.named.writer.readiness();
        }
        ready
    }

    fn activity(&self, what: Readiness) -> Option<u64> {
        let of_reader = if self.reads { self.named.reader.activity(what)? } else { 0 };
        let of_writer = if self.writes { self.named.writer.activity(what)? } else { 0 };
        Some(of_reader.wrapping_add(of_writer))
    }
}
