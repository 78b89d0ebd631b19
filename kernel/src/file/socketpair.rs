//! Connected sockets (`socketpair(2)`, `unix(7)`): two pipes, one each way. Streams only, without
//! addresses and without messages that carry descriptors.
//!
//! Unlike on Linux, a socket that is closed before it has read all does not reset its peer, which
//! finds the end of the stream.

use alloc::sync::Arc;
use core::fmt;

use kernel_vfs::{File, FileType, FsError, Metadata, OpenFile, OpenFlags, Readiness, Sink, Source};

use super::pipe::{self, Reader, Writer};

/// One of two connected sockets.
pub struct Socket {
    incoming: Reader,
    outgoing: Writer,
}

/// Two connected sockets; `flags` may have `NONBLOCK`.
///
/// # Errors
/// `OutOfMemory`.
pub fn new(flags: OpenFlags) -> Result<[Arc<OpenFile>; 2], FsError> {
    let (first, to_first) = pipe::ends()?;
    let (second, to_second) = pipe::ends()?;
    let open = |incoming, outgoing| {
        let socket = Arc::new(Socket { incoming, outgoing });
        OpenFile::new(socket, None, flags | OpenFlags::READ_WRITE)
    };
    Ok([open(first, to_second), open(second, to_first)])
}

impl Socket {
    /// Ends the stream in one or both directions (`shutdown(2)`).
    pub fn shut_down(&self, reading: bool, writing: bool) {
        if reading {
            self.incoming.close();
        }
        if writing {
            self.outgoing.close();
        }
    }
}

impl File for Socket {
    fn read(
        &self,
        offset: &mut u64,
        sink: &mut dyn Sink,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        self.incoming.read(offset, sink, flags)
    }

    fn write(
        &self,
        _offset: &mut u64,
        source: &mut dyn Source,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        if !self.outgoing.is_open() {
            return Err(FsError::BrokenPipe);
        }
        self.outgoing.transfer(source, flags)
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, FsError> {
        self.incoming.ioctl(command, argument)
    }

    fn readiness(&self) -> Readiness {
        let (sends, receives) = (self.outgoing.is_open(), self.incoming.has_writer());
        let mut ready = self.incoming.readiness() & Readiness::READ;
        ready |= self.outgoing.readiness() & Readiness::WRITE;
        // At the end of a stream there is something to find out at once.
        ready.set(Readiness::READ, ready.contains(Readiness::READ) || !receives);
        ready.set(Readiness::WRITE, ready.contains(Readiness::WRITE) || !sends);
        ready.set(Readiness::READ_CLOSED, !receives);
        ready.set(Readiness::HANG_UP, !sends && !receives);
        ready
    }

    fn activity(&self, what: Readiness) -> Option<u64> {
        let incoming = self.incoming.activity(what)?;
        let outgoing =
            if what.contains(Readiness::WRITE) { self.outgoing.activity(what)? } else { 0 };
        Some(incoming.wrapping_add(outgoing))
    }

    fn metadata(&self) -> Result<Metadata, FsError> {
        let pipe = self.incoming.metadata()?;
        Ok(Metadata { file_type: FileType::Socket, mode: 0o777, ..pipe })
    }

    fn label(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let number = self.incoming.metadata().map_or(0, |pipe| pipe.inode);
        write!(out, "socket:[{number}]")
    }
}
