//! [`OpenFile`]: an open file description, in the words of `open(2)`: the offset and the status
//! flags that descriptors made by `dup` and `fork` share.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use kernel_sync::Mutex;

use crate::claim::Claim;
use crate::dentry::Dentry;
use crate::error::FsError;
use crate::file::{DirectorySink, File};
use crate::io::{Sink, Source};
use crate::set_id;
use crate::types::{FileType, Identity, Metadata, OFFSET_MAX, OpenFlags};
use crate::writers::Writer;

/// Where a seek starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    Start,
    Current,
    End,
    /// At the first byte of data from an offset on.
    Data,
    /// At the first hole from an offset on; there is one at the end of a file.
    Hole,
}

/// What an open file keeps others from.
#[derive(Default)]
pub struct Holds {
    /// That the inode is written or executed.
    pub claim: Option<Claim>,
    /// That its mount is written to.
    pub writer: Option<Writer>,
}

/// An open file description.
pub struct OpenFile {
    file: Arc<dyn File>,
    /// The name it was opened by; `None` for pipes, BPF objects and the like.
    dentry: Option<Arc<Dentry>>,
    flags: AtomicU32,
    /// What it keeps others from as long as it is open.
    _holds: Holds,
    seekable: bool,
    /// The offset. Held during reads and writes at the offset of seekable files, so that two
    /// sharers never transfer the same bytes (POSIX, 2.9.7). A copy to or from user memory never
    /// takes it, so that is safe although the copy may sleep.
    position: Mutex<u64>,
}

impl OpenFile {
    /// The flags that `fcntl(F_SETFL)` may change.
    pub const CHANGEABLE: OpenFlags = OpenFlags::APPEND
        .union(OpenFlags::NONBLOCK)
        .union(OpenFlags::DIRECT)
        .union(OpenFlags::NO_ATIME);

    /// A description of `file`, opened by the name `dentry` if it has one. Flags that only matter
    /// while opening are dropped.
    pub fn new(file: Arc<dyn File>, dentry: Option<Arc<Dentry>>, flags: OpenFlags) -> Arc<Self> {
        Self::holding(file, dentry, flags, Holds::default())
    }

    /// The same, which keeps others from something.
    pub fn holding(
        file: Arc<dyn File>,
        dentry: Option<Arc<Dentry>>,
        flags: OpenFlags,
        holds: Holds,
    ) -> Arc<Self> {
        let transient = OpenFlags::CREATE
            | OpenFlags::EXCLUSIVE
            | OpenFlags::NO_TTY
            | OpenFlags::TRUNCATE
            | OpenFlags::CLOSE_ON_EXEC;
        let flags = flags.difference(transient);
        let seekable = file.seekable();
        Arc::new(Self {
            file,
            dentry,
            flags: AtomicU32::new(flags.bits()),
            _holds: holds,
            seekable,
            position: Mutex::new(0),
        })
    }

    /// The object behind it.
    #[inline]
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    #[inline]
    pub fn dentry(&self) -> Option<&Arc<Dentry>> {
        self.dentry.as_ref()
    }

    /// Access mode and status flags.
    #[inline]
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Replaces the changeable status flags; others are ignored, as `F_SETFL` does.
    pub fn set_status(&self, flags: OpenFlags) {
        let keep = self.flags().difference(Self::CHANGEABLE);
        self.flags.store((keep | flags & Self::CHANGEABLE).bits(), Ordering::Relaxed);
    }

    fn is_directory(&self) -> bool {
        self.dentry.as_ref().is_some_and(|dentry| dentry.file_type() == FileType::Directory)
    }

    /// Reads at the offset and advances it.
    #[inline]
    pub fn read(&self, sink: &mut dyn Sink) -> Result<usize, FsError> {
        let flags = self.flags();
        if !flags.readable() {
            return Err(FsError::BadDescriptor);
        }
        self.read_with(flags, sink)
    }

    /// [`read`](Self::read), by a caller that has found in `flags`, the file's own, that it may.
    #[inline]
    pub fn read_with(&self, flags: OpenFlags, sink: &mut dyn Sink) -> Result<usize, FsError> {
        if self.seekable {
            let mut position = self.position.lock();
            let mut offset = *position;
            let result = self.file.read(&mut offset, sink, flags);
            *position = offset;
            result
        } else {
            self.file.read(&mut 0, sink, flags)
        }
    }

    /// Writes at the offset and advances it.
    #[inline]
    pub fn write(&self, source: &mut dyn Source) -> Result<usize, FsError> {
        let flags = self.flags();
        if !flags.writable() {
            return Err(FsError::BadDescriptor);
        }
        self.write_with(flags, source)
    }

    /// [`write`](Self::write), by a caller that has found in `flags`, the file's own, that it may.
    #[inline]
    pub fn write_with(&self, flags: OpenFlags, source: &mut dyn Source) -> Result<usize, FsError> {
        if self.seekable {
            let mut position = self.position.lock();
            let mut offset = *position;
            let result = self.file.write(&mut offset, source, flags);
            *position = offset;
            result
        } else {
            self.file.write(&mut 0, source, flags)
        }
    }

    fn takes_offsets(&self) -> bool {
        self.seekable || self.is_directory() || self.file.ignores_offsets()
    }

    /// Reads at `offset`; the description's own offset stays.
    pub fn read_at(&self, mut offset: u64, sink: &mut dyn Sink) -> Result<usize, FsError> {
        let flags = self.flags();
        if !self.takes_offsets() {
            return Err(FsError::IllegalSeek);
        }
        if !flags.readable() {
            return Err(FsError::BadDescriptor);
        }
        self.file.read(&mut offset, sink, flags)
    }

    /// Writes at `offset`; the description's own offset stays. With `APPEND` it writes at the
    /// end all the same, as Linux does (`pwrite(2)`, BUGS).
    pub fn write_at(&self, mut offset: u64, source: &mut dyn Source) -> Result<usize, FsError> {
        let flags = self.flags();
        if !self.takes_offsets() {
            return Err(FsError::IllegalSeek);
        }
        if !flags.writable() {
            return Err(FsError::BadDescriptor);
        }
        self.file.write(&mut offset, source, flags)
    }

    /// Moves the offset and returns it.
    pub fn seek(&self, whence: Whence, by: i64) -> Result<u64, FsError> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(FsError::BadDescriptor);
        }
        if !self.takes_offsets() {
            return Err(FsError::IllegalSeek);
        }
        if !self.seekable && self.file.ignores_offsets() {
            return Ok(0);
        }
        let is_regular = || self.metadata().is_ok_and(|data| data.file_type == FileType::Regular);
        let mut position = self.position.lock();
        let base = match whence {
            Whence::Start => 0,
            Whence::Current => *position,
            Whence::End => self.file.size()?,
            // All of a file counts as data, as lseek(2) allows.
            Whence::Data | Whence::Hole if is_regular() => {
                let size = self.file.size()?;
                let from = u64::try_from(by).ok().filter(|from| *from < size);
                let from = from.ok_or(FsError::NoSuchDevice)?;
                *position = if whence == Whence::Data { from } else { size };
                return Ok(*position);
            }
            Whence::Data | Whence::Hole => return Err(FsError::InvalidArgument),
        };
        let target = base
            .checked_add_signed(by)
            .filter(|target| *target <= OFFSET_MAX)
            .ok_or(FsError::InvalidArgument)?;
        *position = target;
        Ok(target)
    }

    /// The offset, for `/proc/PID/fdinfo`.
    pub fn position(&self) -> u64 {
        *self.position.lock()
    }

    /// Reports directory entries from the offset on, and advances it.
    pub fn read_directory(&self, sink: &mut dyn DirectorySink) -> Result<(), FsError> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(FsError::BadDescriptor);
        }
        if !self.is_directory() {
            return Err(FsError::NotDirectory);
        }
        if self.dentry.as_ref().is_some_and(|dentry| dentry.is_unlinked()) {
            return Err(FsError::NotFound);
        }
        let mut position = self.position.lock();
        self.file.read_directory(&mut position, sink)
    }

    /// What `fstat` tells: of the inode, or of the object itself.
    pub fn metadata(&self) -> Result<Metadata, FsError> {
        match &self.dentry {
            Some(dentry) => dentry.inode().metadata(),
            None => self.file.metadata(),
        }
    }

    /// Sets the size of the file, on behalf of `who`.
    pub fn truncate(&self, size: u64, who: &Identity<'_>) -> Result<(), FsError> {
        let flags = self.flags();
        if flags.contains(OpenFlags::PATH) {
            return Err(FsError::BadDescriptor);
        }
        let dentry = self.dentry.as_ref().ok_or(FsError::InvalidArgument)?;
        if dentry.file_type() != FileType::Regular || !flags.writable() {
            return Err(FsError::InvalidArgument);
        }
        set_id::before_change(who, dentry)?;
        dentry.inode().truncate(size)
    }
}
