//! Advisory locks: `flock`, and the commands of `fcntl` that lock.

use alloc::sync::Arc;

use kernel_abi::Errno;
use kernel_vfs::advisory::Lock;
use kernel_vfs::{FdTable, Inode, OpenFile, OpenFlags};

use super::SyscallResult;
use super::errno::OrErrno;
use super::path::Caller;
use crate::file::locks::{self, Kind, Owner};
use crate::mcore::current;
use crate::mem::user::{read_user, write_user};

const F_GETLK: u32 = 5;
const F_SETLK: u32 = 6;
const F_SETLKW: u32 = 7;
const F_OFD_GETLK: u32 = 36;
const F_OFD_SETLK: u32 = 37;
const F_OFD_SETLKW: u32 = 38;

/// `l_type` of `struct flock`.
const SHARED: u16 = 0;
const EXCLUSIVE: u16 = 1;
const UNLOCK: u16 = 2;

fn inode(file: &OpenFile) -> Result<&Arc<dyn Inode>, Errno> {
    file.dentry().map(|dentry| dentry.inode()).ok_or(Errno::EINVAL)
}

/// `flock(2)`.
pub fn flock([fd, operation, ..]: [usize; 6]) -> SyscallResult {
    const DO_NOT_WAIT: usize = 4;
    let file = Caller::new().file(fd)?;
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    let owner = Owner::Description(Arc::downgrade(&file));
    let (exclusive, inode) = match operation & !DO_NOT_WAIT {
        1 => (false, inode(&file)?),
        2 => (true, inode(&file)?),
        8 => {
            locks::unlock(inode(&file)?, Kind::Whole, &owner, 0, u64::MAX);
            return Ok(0);
        }
        _ => return Err(Errno::EINVAL),
    };
    let pid = current().pid() as i32;
    let wanted = Lock { owner, exclusive, start: 0, last: u64::MAX, pid };
    let waits = operation & DO_NOT_WAIT == 0;
    locks::lock(inode, Kind::Whole, &wanted, waits).or_errno().map(|()| 0)
}

/// The bytes that a `struct flock` names: the first and the last.
fn range(file: &OpenFile, whence: u16, start: i64, length: i64) -> Result<(u64, u64), Errno> {
    let base = match whence {
        0 => 0,
        1 => file.position() as i64,
        2 => file.file().size().or_errno()? as i64,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(start).ok_or(Errno::EOVERFLOW)?;
    // A negative length is what lies before.
    let (first, last) = match length {
        0 => (start, i64::MAX),
        1.. => (start, start.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?),
        _ => (start.checked_add(length).ok_or(Errno::EINVAL)?, start - 1),
    };
    let first = u64::try_from(first).map_err(|_| Errno::EINVAL)?;
    // To the end of the file, however far it grows.
    let last = if last == i64::MAX { u64::MAX } else { last as u64 };
    Ok((first, last))
}

/// A command of `fcntl` on locks; `None` if it is another one.
pub(super) fn fcntl(
    files: &Arc<FdTable>,
    file: &Arc<OpenFile>,
    command: u32,
    address: usize,
) -> Option<SyscallResult> {
    let of_description = match command {
        F_GETLK | F_SETLK | F_SETLKW => false,
        F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW => true,
        _ => return None,
    };
    let owner = if of_description {
        Owner::Description(Arc::downgrade(file))
    } else {
        Owner::Process(Arc::downgrade(files))
    };
    Some(lock_range(file, command, address, owner))
}

fn lock_range(file: &OpenFile, command: u32, address: usize, owner: Owner) -> SyscallResult {
    // struct flock: type and whence, start, length, process.
    let [kinds, start, length, process] = read_user::<[u64; 4]>(address)?;
    let (kind, whence) = (kinds as u16, (kinds >> 16) as u16);
    let (first, last) = range(file, whence, start as i64, length as i64)?;
    let of_description = matches!(owner, Owner::Description(_));
    if of_description && process as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    let pid = if of_description { -1 } else { current().pid() as i32 };
    let inode = inode(file)?;
    let wanted = Lock { owner, exclusive: kind == EXCLUSIVE, start: first, last, pid };
    if matches!(command, F_GETLK | F_OFD_GETLK) {
        if kind > EXCLUSIVE {
            return Err(Errno::EINVAL);
        }
        let Some(found) = locks::conflict(inode, Kind::Range, &wanted) else {
            write_user(address, UNLOCK)?;
            return Ok(0);
        };
        let length = if found.last == u64::MAX { 0 } else { found.last - found.start + 1 };
        let kind = if found.exclusive { EXCLUSIVE } else { SHARED };
        write_user(address, [u64::from(kind), found.start, length, found.pid as u32 as u64])?;
        return Ok(0);
    }
    match kind {
        SHARED if !file.flags().readable() => Err(Errno::EBADF),
        EXCLUSIVE if !file.flags().writable() => Err(Errno::EBADF),
        SHARED | EXCLUSIVE => {
            let waits = matches!(command, F_SETLKW | F_OFD_SETLKW);
            locks::lock(inode, Kind::Range, &wanted, waits).or_errno().map(|()| 0)
        }
        UNLOCK => {
            locks::unlock(inode, Kind::Range, &wanted.owner, first, last);
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}
