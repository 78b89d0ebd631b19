//! The small devices of `/dev`: `null`, `zero`, `full`, `random`, `kmsg`.

use kernel_vfs::{File, FsError, OpenFlags, Readiness, Sink, Source};

use crate::mcore::current;
use crate::random;

/// Bytes that are made or taken at a time.
const PIECE: usize = 256;
/// Bytes that are given without a look for signals.
const STRETCH: usize = 64 * 1024;

/// Takes everything; is empty.
pub(super) struct Null;

impl File for Null {
    fn read(&self, _: &mut u64, _: &mut dyn Sink, _: OpenFlags) -> Result<usize, FsError> {
        Ok(0)
    }

    fn write(&self, _: &mut u64, source: &mut dyn Source, _: OpenFlags) -> Result<usize, FsError> {
        Ok(source.skip(usize::MAX))
    }

    fn ignores_offsets(&self) -> bool {
        true
    }
}

/// Endless zeros; takes everything.
pub(super) struct Zero;

impl File for Zero {
    fn read(&self, _: &mut u64, sink: &mut dyn Sink, _: OpenFlags) -> Result<usize, FsError> {
        zeros(sink)
    }

    fn write(&self, _: &mut u64, source: &mut dyn Source, _: OpenFlags) -> Result<usize, FsError> {
        Ok(source.skip(usize::MAX))
    }

    fn ignores_offsets(&self) -> bool {
        true
    }
}

/// Endless zeros; a disk that is full.
pub(super) struct Full;

impl File for Full {
    fn read(&self, _: &mut u64, sink: &mut dyn Sink, _: OpenFlags) -> Result<usize, FsError> {
        zeros(sink)
    }

    fn write(&self, _: &mut u64, source: &mut dyn Source, _: OpenFlags) -> Result<usize, FsError> {
        if source.remaining() == 0 { Ok(0) } else { Err(FsError::NoSpace) }
    }

    fn ignores_offsets(&self) -> bool {
        true
    }
}

/// As many zeros as are wanted, or until a signal comes.
fn zeros(sink: &mut dyn Sink) -> Result<usize, FsError> {
    match sink.put_zeros(STRETCH) {
        count @ 1..STRETCH => Ok(count),
        count => none_or_more_zeros(sink, count),
    }
}

/// After none, which may be a fault, or a whole stretch, which may be followed by others. Apart,
/// so that the usual case does without the registers that this needs.
#[cold]
#[inline(never)]
fn none_or_more_zeros(sink: &mut dyn Sink, first: usize) -> Result<usize, FsError> {
    if first == 0 {
        return if sink.remaining() > 0 { Err(FsError::Fault) } else { Ok(0) };
    }
    let mut done = first;
    while !current().has_signal() {
        let count = sink.put_zeros(STRETCH);
        done += count;
        if count < STRETCH {
            break;
        }
    }
    Ok(done)
}

/// Random bytes. What is written is taken and not believed.
pub(super) struct Random;

impl File for Random {
    fn read(&self, _: &mut u64, sink: &mut dyn Sink, _: OpenFlags) -> Result<usize, FsError> {
        let mut done = 0;
        while sink.remaining() > 0 {
            let mut piece = [0; PIECE];
            let length = sink.remaining().min(PIECE);
            let Some(bytes) = piece.get_mut(..length) else { break };
            random::fill(bytes);
            let copied = sink.put(bytes);
            done += copied;
            if copied < length {
                return if done > 0 { Ok(done) } else { Err(FsError::Fault) };
            }
            if done.is_multiple_of(STRETCH) && current().has_signal() {
                break;
            }
        }
        Ok(done)
    }

    fn write(&self, _: &mut u64, source: &mut dyn Source, _: OpenFlags) -> Result<usize, FsError> {
        Ok(source.skip(usize::MAX))
    }

    fn ignores_offsets(&self) -> bool {
        true
    }

    fn activity(&self, _: Readiness) -> Option<u64> {
        Some(0)
    }
}

/// The kernel's log: read from the beginning, as text; a line that is written is logged.
pub(super) struct KernelMessages;

impl File for KernelMessages {
    fn read(&self, offset: &mut u64, sink: &mut dyn Sink, _: OpenFlags) -> Result<usize, FsError> {
        let mut skip = usize::try_from(*offset).unwrap_or(usize::MAX);
        let mut done = 0;
        let mut fault = false;
        crate::log::read_all(&mut |bytes| {
            let skipped = skip.min(bytes.len());
            skip -= skipped;
            let bytes = bytes.get(skipped..).unwrap_or(&[]);
            let bytes = bytes.get(..sink.remaining()).unwrap_or(bytes);
            if !fault && !bytes.is_empty() {
                let copied = sink.put(bytes);
                done += copied;
                fault = copied < bytes.len();
            }
        });
        *offset += done as u64;
        if fault && done == 0 { Err(FsError::Fault) } else { Ok(done) }
    }

    fn write(&self, _: &mut u64, source: &mut dyn Source, _: OpenFlags) -> Result<usize, FsError> {
        let mut line = [0; PIECE];
        let count = source.remaining();
        let taken = source.take(line.get_mut(..count.min(PIECE)).unwrap_or(&mut []));
        if taken == 0 && count > 0 {
            return Err(FsError::Fault);
        }
        let text = line.get(..taken).unwrap_or(&[]).trim_ascii_end();
        log::info!("{}", alloc::string::String::from_utf8_lossy(text));
        Ok(taken + source.skip(usize::MAX))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Result<u64, FsError> {
        Ok(0)
    }
}
