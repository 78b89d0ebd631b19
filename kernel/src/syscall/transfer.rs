//! From file to file, and hints: `sendfile fadvise64 fallocate`.

use alloc::vec::Vec;

use kernel_abi::Errno;
use kernel_abi::file::MAX_RW_COUNT;
use kernel_vfs::{FileType, OpenFile, OpenFlags, SliceSink, SliceSource, Whence};

use super::SyscallResult;
use super::errno::OrErrno;
use super::file::{before_write, readable, writable, write_error};
use super::path::Caller;
use crate::mcore::current;
use crate::mem::memapi::may_allocate;
use crate::mem::user::{read_user, write_user};

/// Bytes that are copied at a time.
const PIECE: usize = 16 * 1024;

fn file_type(file: &OpenFile) -> Option<FileType> {
    file.dentry().map(|dentry| dentry.file_type())
}

/// `sendfile(2)`: from a regular file to any other. With an `offset` the description's own stays.
pub fn sendfile([to, from, offset, count, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let (source, target) = (caller.file(from)?, caller.file(to)?);
    readable(&source)?;
    let flags = writable(&target)?;
    if file_type(&source) != Some(FileType::Regular) || flags.contains(OpenFlags::APPEND) {
        return Err(Errno::EINVAL);
    }
    let start = match offset {
        0 => source.position(),
        address => u64::try_from(read_user::<i64>(address)?).map_err(|_| Errno::EINVAL)?,
    };
    let count = count.min(MAX_RW_COUNT);
    let mut buffer = Vec::new();
    may_allocate(PIECE)?;
    buffer.try_reserve_exact(count.min(PIECE)).map_err(|_| Errno::ENOMEM)?;
    buffer.resize(count.min(PIECE), 0);
    let mut done = 0;
    let mut result = Ok(());
    while done < count && !current().has_signal() {
        let length = (count - done).min(PIECE);
        let piece = buffer.get_mut(..length).unwrap_or_default();
        let read = source.read_at(start + done as u64, &mut SliceSink::new(piece)).or_errno();
        let written = read.and_then(|read| match piece.get(..read).unwrap_or_default() {
            [] => Ok(0),
            bytes => {
                let mut bytes = SliceSource::new(bytes);
                before_write(&caller, &target, &bytes)?;
                target.write(&mut bytes).map_err(write_error)
            }
        });
        match written {
            Ok(0) => break,
            Ok(written) => {
                done += written;
                if written < length {
                    break;
                }
            }
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    if done == 0 {
        result?;
        if count > 0 && current().has_signal() {
            return Err(Errno::EINTR);
        }
    }
    let end = start + done as u64;
    match offset {
        0 => drop(source.seek(Whence::Start, end as i64).or_errno()?),
        address => write_user(address, end)?,
    }
    Ok(done)
}

/// `fadvise64(2)`: advice is taken and changes nothing.
pub fn fadvise64([fd, _, length, advice, ..]: [usize; 6]) -> SyscallResult {
    const LAST: usize = 5;
    let file = Caller::new().file(fd)?;
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    if file_type(&file).is_none_or(|kind| kind == FileType::Fifo) {
        return Err(Errno::ESPIPE);
    }
    if advice > LAST || (length as i64) < 0 { Err(Errno::EINVAL) } else { Ok(0) }
}

/// `fallocate(2)`: no file system here can do it, as Linux's ext2 cannot.
pub fn fallocate([fd, _, offset, length, ..]: [usize; 6]) -> SyscallResult {
    let file = Caller::new().file(fd)?;
    writable(&file)?;
    if (offset as i64) < 0 || length as i64 <= 0 {
        return Err(Errno::EINVAL);
    }
    match file_type(&file) {
        Some(FileType::Regular) => Err(Errno::EOPNOTSUPP),
        Some(FileType::Directory) => Err(Errno::EISDIR),
        Some(FileType::Fifo) | None => Err(Errno::ESPIPE),
        Some(_) => Err(Errno::ENODEV),
    }
}
