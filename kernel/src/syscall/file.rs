//! Reading and writing: `read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2
//! lseek`, and what makes it durable: `fsync fdatasync sync syncfs`.

use alloc::vec::Vec;

use kernel_abi::Errno;
use kernel_abi::file::{IOV_MAX, MAX_RW_COUNT, SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET};
use kernel_vfs::{
    Dentry, FileType, FsError, OpenFile, OpenFlags, Sink, Source, Whence, mount, set_id,
};

use super::SyscallResult;
use super::errno::OrErrno;
use super::path::Caller;
use crate::file::VFS;
use crate::mcore::mtask::job;
use crate::mem::user::{UserSink, UserSource, is_user_range, read_user};

/// Where a read goes, its length limited as Linux does.
#[inline]
pub(super) fn sink(address: usize, length: usize) -> Result<UserSink, Errno> {
    Ok(UserSink::new(address, length)?.limited(MAX_RW_COUNT))
}

/// Where a write comes from, likewise.
#[inline]
pub(super) fn source(address: usize, length: usize) -> Result<UserSource, Errno> {
    Ok(UserSource::new(address, length)?.limited(MAX_RW_COUNT))
}

/// The error number of a failed write; a broken pipe is told the thread by a signal, too.
#[cold]
pub(super) fn write_error(error: FsError) -> Errno {
    if error == FsError::BrokenPipe {
        job::broken_pipe();
    }
    Err::<(), _>(error).or_errno().err().unwrap_or(Errno::EIO)
}

/// The flags of a file that may be read.
#[inline]
pub(super) fn readable(file: &OpenFile) -> Result<OpenFlags, Errno> {
    Some(file.flags()).filter(|flags| flags.readable()).ok_or(Errno::EBADF)
}

/// The flags of a file that may be written.
#[inline]
pub(super) fn writable(file: &OpenFile) -> Result<OpenFlags, Errno> {
    Some(file.flags()).filter(|flags| flags.writable()).ok_or(Errno::EBADF)
}

/// Before the caller writes into a file: what runs with its owner's rights must not be changed by
/// others.
#[inline(always)]
pub(super) fn before_write(
    caller: &Caller,
    file: &OpenFile,
    from: &impl Source,
) -> Result<(), Errno> {
    match file.dentry() {
        Some(dentry) if dentry.file_type() == FileType::Regular => {
            before_change(caller, dentry, from.remaining())
        }
        _ => Ok(()),
    }
}

/// Not inlined: devices, which have no such bits, do without the registers that this needs.
#[inline(never)]
fn before_change(caller: &Caller, dentry: &Dentry, bytes: usize) -> Result<(), Errno> {
    if bytes == 0 {
        return Ok(());
    }
    set_id::before_change(&caller.identity(), dentry).or_errno()
}

/// `read(2)`.
pub fn read([fd, buffer, count, ..]: [usize; 6]) -> SyscallResult {
    let file = Caller::new().file(fd)?;
    let flags = readable(&file)?;
    file.read_with(flags, &mut sink(buffer, count)?).or_errno()
}

/// `write(2)`.
pub fn write([fd, buffer, count, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let file = caller.file(fd)?;
    let flags = writable(&file)?;
    let mut source = source(buffer, count)?;
    before_write(&caller, &file, &source)?;
    file.write_with(flags, &mut source).map_err(write_error)
}

/// `pread64(2)`.
pub fn pread64([fd, buffer, count, offset, ..]: [usize; 6]) -> SyscallResult {
    if (offset as isize) < 0 {
        return Err(Errno::EINVAL);
    }
    let file = Caller::new().file(fd)?;
    readable(&file)?;
    file.read_at(offset as u64, &mut sink(buffer, count)?).or_errno()
}

/// `pwrite64(2)`.
pub fn pwrite64([fd, buffer, count, offset, ..]: [usize; 6]) -> SyscallResult {
    if (offset as isize) < 0 {
        return Err(Errno::EINVAL);
    }
    let caller = Caller::new();
    let file = caller.file(fd)?;
    writable(&file)?;
    let mut source = source(buffer, count)?;
    before_write(&caller, &file, &source)?;
    file.write_at(offset as u64, &mut source).map_err(write_error)
}

/// The buffers of `readv(2)`, `writev(2)` and messages, used one after the other.
pub(super) struct Vector {
    buffers: Vec<(usize, usize)>,
    /// The one in use, and what is left of all.
    at: usize,
    left: usize,
}

impl Vector {
    /// Copies and checks the list (`struct iovec`: address and length).
    pub(super) fn read(list: usize, count: usize) -> Result<Self, Errno> {
        if count > IOV_MAX {
            return Err(Errno::EINVAL);
        }
        let mut buffers = Vec::new();
        buffers.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        let mut left = 0usize;
        for index in 0..count {
            let entry = list.checked_add(16 * index).ok_or(Errno::EFAULT)?;
            let [address, length]: [usize; 2] = read_user(entry)?;
            if length > isize::MAX as usize {
                return Err(Errno::EINVAL);
            }
            if !is_user_range(address, length) {
                return Err(Errno::EFAULT);
            }
            let length = length.min(MAX_RW_COUNT - left);
            left += length;
            buffers.push((address, length));
        }
        Ok(Self { buffers, at: 0, left })
    }

    /// The next piece, of at most `limit` bytes: where it is and how long.
    fn piece(&mut self, limit: usize) -> Option<(usize, usize)> {
        loop {
            let &(address, length) = self.buffers.get(self.at)?;
            if length > 0 {
                return Some((address, length.min(limit)));
            }
            self.at += 1;
        }
    }

    fn advance(&mut self, count: usize) {
        if let Some((address, length)) = self.buffers.get_mut(self.at) {
            *address += count;
            *length -= count;
            self.left -= count;
        }
    }

    /// Uses up to `total` bytes, piece by piece; `transfer` says how many of a piece it did.
    fn each(
        &mut self,
        total: usize,
        mut transfer: impl FnMut(usize, usize, usize) -> usize,
    ) -> usize {
        let mut done = 0;
        while done < total {
            let Some((address, length)) = self.piece(total - done) else { break };
            let count = transfer(done, address, length);
            self.advance(count);
            done += count;
            if count < length {
                break;
            }
        }
        done
    }
}

impl Sink for Vector {
    fn remaining(&self) -> usize {
        self.left
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        self.each(bytes.len(), |done, address, length| {
            let part = bytes.get(done..done + length).unwrap_or(&[]);
            UserSink::new(address, length).map_or(0, |mut sink| sink.put(part))
        })
    }
}

impl Source for Vector {
    fn remaining(&self) -> usize {
        self.left
    }

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        self.each(buffer.len(), |done, address, length| {
            let part = buffer.get_mut(done..done + length).unwrap_or(&mut []);
            UserSource::new(address, length).map_or(0, |mut source| source.take(part))
        })
    }

    fn skip(&mut self, count: usize) -> usize {
        self.each(count, |_, _, length| length)
    }
}

/// `readv(2)`.
pub fn readv([fd, list, count, ..]: [usize; 6]) -> SyscallResult {
    let file = Caller::new().file(fd)?;
    readable(&file)?;
    let mut vector = Vector::read(list, count)?;
    file.read(&mut vector).or_errno()
}

/// `writev(2)`.
pub fn writev([fd, list, count, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let file = caller.file(fd)?;
    writable(&file)?;
    let mut vector = Vector::read(list, count)?;
    before_write(&caller, &file, &vector)?;
    file.write(&mut vector).map_err(write_error)
}

/// The offset of `preadv(2)` and its kin, which comes in one register.
fn vector_offset(offset: usize) -> Result<u64, Errno> {
    u64::try_from(offset as i64).map_err(|_| Errno::EINVAL)
}

/// `preadv(2)`.
pub fn preadv([fd, list, count, offset, ..]: [usize; 6]) -> SyscallResult {
    let offset = vector_offset(offset)?;
    let file = Caller::new().file(fd)?;
    readable(&file)?;
    file.read_at(offset, &mut Vector::read(list, count)?).or_errno()
}

/// `pwritev(2)`.
pub fn pwritev([fd, list, count, offset, ..]: [usize; 6]) -> SyscallResult {
    let offset = vector_offset(offset)?;
    let caller = Caller::new();
    let file = caller.file(fd)?;
    writable(&file)?;
    let mut vector = Vector::read(list, count)?;
    before_write(&caller, &file, &vector)?;
    file.write_at(offset, &mut vector).map_err(write_error)
}

/// `preadv2(2)`, without flags; the offset -1 means the description's own.
pub fn preadv2([fd, list, count, offset, high, flags]: [usize; 6]) -> SyscallResult {
    match (flags as u32, offset as i64) {
        (0, -1) => readv([fd, list, count, 0, 0, 0]),
        (0, _) => preadv([fd, list, count, offset, high, 0]),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// `pwritev2(2)`, likewise.
pub fn pwritev2([fd, list, count, offset, high, flags]: [usize; 6]) -> SyscallResult {
    match (flags as u32, offset as i64) {
        (0, -1) => writev([fd, list, count, 0, 0, 0]),
        (0, _) => pwritev([fd, list, count, offset, high, 0]),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// `lseek(2)`. Holes are not looked for: to `SEEK_DATA` and `SEEK_HOLE` all of a file is data.
pub fn lseek([fd, offset, whence, ..]: [usize; 6]) -> SyscallResult {
    let file = Caller::new().file(fd)?;
    let whence = match whence as u32 {
        SEEK_SET => Whence::Start,
        SEEK_CUR => Whence::Current,
        SEEK_END => Whence::End,
        SEEK_DATA => Whence::Data,
        SEEK_HOLE => Whence::Hole,
        _ => return Err(Errno::EINVAL),
    };
    file.seek(whence, offset as i64).or_errno().map(|offset| offset as usize)
}

fn sync_file(fd: usize, data_only: bool) -> SyscallResult {
    let file = Caller::new().file(fd)?;
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    file.file().sync(data_only).or_errno().map(|()| 0)
}

/// `fsync(2)`.
pub fn fsync([fd, ..]: [usize; 6]) -> SyscallResult {
    sync_file(fd, false)
}

/// `fdatasync(2)`.
pub fn fdatasync([fd, ..]: [usize; 6]) -> SyscallResult {
    sync_file(fd, true)
}

/// `sync(2)`: always succeeds, as in Linux; what failed is in the log.
pub fn sync(_: [usize; 6]) -> SyscallResult {
    if let Err(error) = mount::sync_all(&VFS) {
        log::error!("sync: {error:?}");
    }
    Ok(0)
}

/// `syncfs(2)`.
pub fn syncfs([fd, ..]: [usize; 6]) -> SyscallResult {
    let file = Caller::new().file(fd)?;
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    match file.dentry() {
        Some(dentry) => dentry.mount().file_system().sync().or_errno().map(|()| 0),
        None => Ok(0),
    }
}
