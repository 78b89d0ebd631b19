//! [`File`]: an object that can be read and written through a descriptor.
//!
//! A regular file's inode is usually its own `File`; a pipe's end, a terminal or a BPF map are
//! `File`s without an inode. Offset and status flags belong to the description,
//! [`OpenFile`](crate::OpenFile), and are passed in.

use alloc::sync::Arc;
use core::any::Any;
use core::fmt;

use crate::error::FsError;
use crate::io::{Sink, Source};
use crate::mapped::Mappable;
use crate::types::{FileType, Metadata, OpenFlags, Readiness};

/// One entry that [`File::read_directory`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry<'a> {
    pub inode: u64,
    pub file_type: FileType,
    pub name: &'a [u8],
    /// The offset at which reading continues after this entry.
    pub next: u64,
}

/// Takes directory entries. Called with the directory locked: it only stores in kernel memory.
pub trait DirectorySink {
    /// Takes `entry`; `false` if there is no room for it and the reading should stop.
    fn entry(&mut self, entry: DirectoryEntry<'_>) -> bool;
}

/// A page frame that an object offers to be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SharedFrame {
    /// Its physical address.
    pub address: u64,
    /// It can only be read, though the mapping may be one that can be written: writing there is
    /// `SIGBUS`.
    pub read_only: bool,
}

impl SharedFrame {
    /// One that can be written where the mapping can.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self { address, read_only: false }
    }
}

/// An open object. What it does not support, it need not implement: the errors are Linux's.
pub trait File: Any + Send + Sync {
    /// Reads at `offset`, advances it, and returns how many bytes; 0 is the end of the file.
    /// Waits for the first byte unless `flags` has `NONBLOCK`; an error only if nothing was read.
    fn read(
        &self,
        _offset: &mut u64,
        _sink: &mut dyn Sink,
        _flags: OpenFlags,
    ) -> Result<usize, FsError> {
        Err(FsError::InvalidArgument)
    }
    /// Writes at `offset` (at the end, if `flags` has `APPEND`), advances it, and returns how many
    /// bytes; an error only if nothing was written.
    fn write(
        &self,
        _offset: &mut u64,
        _source: &mut dyn Source,
        _flags: OpenFlags,
    ) -> Result<usize, FsError> {
        Err(FsError::InvalidArgument)
    }
    /// Whether offsets mean anything: true for files on a disk, false for pipes and terminals.
    fn seekable(&self) -> bool {
        false
    }
    /// Seeking and offsets are accepted and mean nothing: `/dev/null`.
    fn ignores_offsets(&self) -> bool {
        false
    }
    /// Where the end is, for `SEEK_END`.
    fn size(&self) -> Result<u64, FsError> {
        Err(FsError::IllegalSeek)
    }
    /// Reports the entries of a directory from `offset` on, advancing it.
    fn read_directory(
        &self,
        _offset: &mut u64,
        _sink: &mut dyn DirectorySink,
    ) -> Result<(), FsError> {
        Err(FsError::NotDirectory)
    }
    /// Device control. `argument` is often a user pointer, not yet checked.
    fn ioctl(&self, _command: u32, _argument: usize) -> Result<usize, FsError> {
        Err(FsError::NotTerminal)
    }
    /// Makes what was written durable; `data_only` may leave times behind.
    fn sync(&self, _data_only: bool) -> Result<(), FsError> {
        Err(FsError::InvalidArgument)
    }
    /// What could be done now without waiting.
    fn readiness(&self) -> Readiness {
        Readiness::READ | Readiness::WRITE
    }
    /// How often something has happened that can have made the object ready for one of `what`:
    /// a number that changes with each such event. `None` for what is always ready, and can not
    /// be waited for by `epoll(7)`.
    fn activity(&self, _what: Readiness) -> Option<u64> {
        None
    }
    /// What `fstat` tells of an object that has no inode.
    fn metadata(&self) -> Result<Metadata, FsError> {
        Err(FsError::BadDescriptor)
    }
    /// The page frame that holds the object's byte `offset` (a multiple of the page size), for a
    /// shared mapping of an object that has frames of its own. Regular files have not: they are
    /// [`mappable`](Self::mappable).
    fn shared_frame(&self, _offset: u64, _writable: bool) -> Result<SharedFrame, FsError> {
        Err(FsError::NoDevice)
    }
    /// A shared mapping of `length` bytes from `offset` on is being made, which is, or may become,
    /// `writable`: what it is to hold as long as it is there, where the object wants to know of
    /// its mappings. Called before [`shared_frame`](Self::shared_frame).
    ///
    /// # Errors
    /// If the object cannot be mapped so.
    fn mapped(
        &self,
        _offset: u64,
        _length: usize,
        _writable: bool,
    ) -> Result<Option<Arc<dyn Any + Send + Sync>>, FsError> {
        Ok(None)
    }
    /// Itself, if its pages can be shared with mappings.
    fn mappable(&self) -> Option<&dyn Mappable> {
        None
    }
    /// An object for one opening of a device, where openings have a state of their own; without
    /// one, all share the device's object.
    fn opened(&self) -> Option<Arc<dyn File>> {
        None
    }
    /// Further lines for `/proc/PID/fdinfo/N`.
    fn describe(&self, _out: &mut dyn fmt::Write) -> fmt::Result {
        Ok(())
    }
    /// What `/proc/PID/fd/N` points to if the description has no path: `pipe:[7]`.
    fn label(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("anon_inode:[file]")
    }
}

impl dyn File {
    /// This object as the concrete type `T`, if it is one.
    #[inline]
    pub fn downcast_ref<T: File>(&self) -> Option<&T> {
        let any: &dyn Any = self;
        any.downcast_ref()
    }

    /// The same for a shared handle.
    pub fn downcast_arc<T: File>(self: Arc<Self>) -> Result<Arc<T>, Arc<Self>> {
        if self.downcast_ref::<T>().is_none() {
            return Err(self);
        }
        let again = Arc::clone(&self);
        let any: Arc<dyn Any + Send + Sync> = self;
        any.downcast::<T>().map_err(|_| again)
    }
}
