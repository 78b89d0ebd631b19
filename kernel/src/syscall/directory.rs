//! Names and directories: `mkdir mknod rmdir unlink rename link symlink readlink getdents64 chdir
//! fchdir chroot getcwd` and those of them that end in `at`.

use alloc::vec::Vec;

use kernel_abi::Errno;
use kernel_abi::file::{
    AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, RENAME_EXCHANGE, RENAME_NOREPLACE,
    dirent64,
};
use kernel_vfs::{DirectoryEntry, DirectorySink, FileType, NewNode, PATH_MAX, Whence};

use super::SyscallResult;
use super::errno::OrErrno;
use super::path::{Caller, PathBuffer};
use crate::mem::memapi::may_allocate;
use crate::mem::user::copy_to_user;

/// `AT_FDCWD` as it comes in a register.
const HERE: usize = AT_FDCWD as usize;
/// Memory that a new inode or a new name may need.
const CREATE_COST: usize = 8192;

/// `mkdir(2)`.
pub fn mkdir([path, mode, ..]: [usize; 6]) -> SyscallResult {
    mkdirat([HERE, path, mode, 0, 0, 0])
}

/// `mkdirat(2)`.
pub fn mkdirat([directory, path, mode, ..]: [usize; 6]) -> SyscallResult {
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let caller = Caller::new();
    may_allocate(CREATE_COST)?;
    let start = caller.start(directory, path)?;
    let mode = mode as u16 & 0o1777 & !caller.context()?.umask();
    caller.walk()?.make(&start, path, NewNode::Directory, mode).or_errno().map(|()| 0)
}

/// `mknod(2)`.
pub fn mknod([path, mode, device, ..]: [usize; 6]) -> SyscallResult {
    mknodat([HERE, path, mode, device, 0, 0])
}

/// `mknodat(2)`. A device node is only a name: devices are reached through `/dev`.
pub fn mknodat([directory, path, mode, device, ..]: [usize; 6]) -> SyscallResult {
    /// `S_IFMT`.
    const TYPE: u16 = 0o170_000;
    let node = match FileType::from_mode(mode as u16) {
        None if mode as u16 & TYPE == 0 => NewNode::Regular,
        Some(FileType::Regular) => NewNode::Regular,
        Some(file_type @ (FileType::Fifo | FileType::Socket)) => {
            NewNode::Special { file_type, device: 0 }
        }
        Some(file_type @ (FileType::CharacterDevice | FileType::BlockDevice)) => {
            NewNode::Special { file_type, device: device as u32 }
        }
        Some(FileType::Directory) => return Err(Errno::EPERM),
        Some(FileType::Symlink) | None => return Err(Errno::EINVAL),
    };
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let caller = Caller::new();
    may_allocate(CREATE_COST)?;
    let start = caller.start(directory, path)?;
    let mode = mode as u16 & 0o7777 & !caller.context()?.umask();
    caller.walk()?.make(&start, path, node, mode).or_errno().map(|()| 0)
}

/// `rmdir(2)`.
pub fn rmdir([path, ..]: [usize; 6]) -> SyscallResult {
    unlinkat([HERE, path, AT_REMOVEDIR as usize, 0, 0, 0])
}

/// `unlink(2)`.
pub fn unlink([path, ..]: [usize; 6]) -> SyscallResult {
    unlinkat([HERE, path, 0, 0, 0, 0])
}

/// `unlinkat(2)`.
pub fn unlinkat([directory, path, flags, ..]: [usize; 6]) -> SyscallResult {
    let flags = flags as u32;
    if flags & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL);
    }
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let caller = Caller::new();
    let start = caller.start(directory, path)?;
    let walk = caller.walk()?;
    let result = if flags == 0 { walk.unlink(&start, path) } else { walk.rmdir(&start, path) };
    result.or_errno().map(|()| 0)
}

/// `rename(2)`.
pub fn rename([old, new, ..]: [usize; 6]) -> SyscallResult {
    renameat2([HERE, old, HERE, new, 0, 0])
}

/// `renameat(2)`.
pub fn renameat([old_directory, old, new_directory, new, ..]: [usize; 6]) -> SyscallResult {
    renameat2([old_directory, old, new_directory, new, 0, 0])
}

/// `renameat2(2)`; there is no `RENAME_WHITEOUT`.
pub fn renameat2([old_directory, old, new_directory, new, flags, _]: [usize; 6]) -> SyscallResult {
    let flags = flags as u32;
    let both = RENAME_NOREPLACE | RENAME_EXCHANGE;
    if flags & !both != 0 || flags == both {
        return Err(Errno::EINVAL);
    }
    let (mut old_buffer, mut new_buffer) = (PathBuffer::new(), PathBuffer::new());
    let old = old_buffer.read(old)?;
    let new = new_buffer.read(new)?;
    let caller = Caller::new();
    may_allocate(CREATE_COST)?;
    let from = caller.start(old_directory, old)?;
    let to = caller.start(new_directory, new)?;
    let walk = caller.walk()?;
    let renamed = match flags {
        RENAME_EXCHANGE => walk.exchange(&from, old, &to, new),
        flags => walk.rename(&from, old, &to, new, flags == RENAME_NOREPLACE),
    };
    renamed.or_errno().map(|()| 0)
}

/// `link(2)`.
pub fn link([old, new, ..]: [usize; 6]) -> SyscallResult {
    linkat([HERE, old, HERE, new, 0, 0])
}

/// `linkat(2)`.
pub fn linkat([old_directory, old, new_directory, new, flags, _]: [usize; 6]) -> SyscallResult {
    let flags = flags as u32;
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let (mut old_buffer, mut new_buffer) = (PathBuffer::new(), PathBuffer::new());
    let old = old_buffer.read(old)?;
    let new = new_buffer.read(new)?;
    let caller = Caller::new();
    may_allocate(CREATE_COST)?;
    let walk = caller.walk()?;
    let from = caller.start(old_directory, old)?;
    let target = if old.is_empty() && flags & AT_EMPTY_PATH != 0 {
        caller.require_privilege().map_err(|_| Errno::ENOENT)?;
        alloc::sync::Arc::clone(&from)
    } else {
        walk.resolve(&from, old, flags & AT_SYMLINK_FOLLOW != 0).or_errno()?
    };
    let to = caller.start(new_directory, new)?;
    walk.link(&target, &to, new).or_errno().map(|()| 0)
}

/// `symlink(2)`.
pub fn symlink([target, path, ..]: [usize; 6]) -> SyscallResult {
    symlinkat([target, HERE, path, 0, 0, 0])
}

/// `symlinkat(2)`.
pub fn symlinkat([target, directory, path, ..]: [usize; 6]) -> SyscallResult {
    let (mut target_buffer, mut buffer) = (PathBuffer::new(), PathBuffer::new());
    let target = target_buffer.read(target)?;
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    let path = buffer.read(path)?;
    let caller = Caller::new();
    may_allocate(CREATE_COST)?;
    let start = caller.start(directory, path)?;
    caller.walk()?.make(&start, path, NewNode::Symlink(target), 0o777).or_errno().map(|()| 0)
}

/// `readlink(2)`.
pub fn readlink([path, buffer, size, ..]: [usize; 6]) -> SyscallResult {
    readlinkat([HERE, path, buffer, size, 0, 0])
}

/// `readlinkat(2)`. An empty path means the link that the descriptor was opened on.
pub fn readlinkat([directory, path, target, size, ..]: [usize; 6]) -> SyscallResult {
    let size = usize::try_from(size as i32).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let caller = Caller::new();
    let start = caller.start(directory, path)?;
    let text = if path.is_empty() {
        if start.file_type() != FileType::Symlink {
            return Err(Errno::ENOENT);
        }
        start.inode().read_link().or_errno()?
    } else {
        caller.walk()?.read_link(&start, path).or_errno()?
    };
    // What does not fit is cut off, silently.
    let part = text.get(..size).unwrap_or(&text);
    copy_to_user(target, part)?;
    Ok(part.len())
}

/// Most bytes of entries that are collected before they are copied.
const LISTING: usize = 32 * 1024;

/// Entries as `getdents64` lays them out.
struct Listing {
    bytes: Vec<u8>,
    limit: usize,
    /// There was an entry for which there was no room at all.
    too_small: bool,
}

impl DirectorySink for Listing {
    fn entry(&mut self, entry: DirectoryEntry<'_>) -> bool {
        let length = dirent64::length(entry.name.len());
        if length > self.limit - self.bytes.len() {
            self.too_small = self.bytes.is_empty();
            return false;
        }
        let end = self.bytes.len() + length;
        let kind = entry.file_type.directory_entry_type();
        let header = dirent64::header(entry.inode, entry.next, length as u16, kind);
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(entry.name);
        self.bytes.resize(end, 0);
        true
    }
}

/// `getdents64(2)`.
pub fn getdents64([fd, buffer, size, ..]: [usize; 6]) -> SyscallResult {
    let file = Caller::new().file(fd)?;
    let limit = (size as u32 as usize).min(LISTING);
    may_allocate(LISTING)?;
    let mut listing = Listing { bytes: Vec::new(), limit, too_small: false };
    listing.bytes.try_reserve(limit.min(1024)).map_err(|_| Errno::ENOMEM)?;
    let before = file.position();
    file.read_directory(&mut listing).or_errno()?;
    if listing.too_small {
        return Err(Errno::EINVAL);
    }
    if let Err(fault) = copy_to_user(buffer, &listing.bytes) {
        // Nothing was read, then.
        file.seek(Whence::Start, before as i64).or_errno()?;
        return Err(fault.into());
    }
    Ok(listing.bytes.len())
}

/// `chdir(2)`.
pub fn chdir([path, ..]: [usize; 6]) -> SyscallResult {
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let caller = Caller::new();
    let start = caller.start(HERE, path)?;
    let walk = caller.walk()?;
    let directory = walk.resolve(&start, path, true).or_errno()?;
    if directory.file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    walk.check_access(&directory, 1).or_errno()?;
    caller.context()?.set_working_directory(directory).or_errno().map(|()| 0)
}

/// `fchdir(2)`.
pub fn fchdir([fd, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let directory = caller.dentry(fd)?;
    if directory.file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    caller.walk()?.check_access(&directory, 1).or_errno()?;
    caller.context()?.set_working_directory(directory).or_errno().map(|()| 0)
}

/// `chroot(2)`. As on Linux the working directory stays, and with it, or with an open directory
/// above the new root, the way out of that.
pub fn chroot([path, ..]: [usize; 6]) -> SyscallResult {
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let caller = Caller::new();
    let start = caller.start(HERE, path)?;
    let walk = caller.walk()?;
    let directory = walk.resolve(&start, path, true).or_errno()?;
    if directory.file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    walk.check_access(&directory, 1).or_errno()?;
    caller.require_privilege()?;
    caller.context()?.set_root(directory).or_errno().map(|()| 0)
}

/// `getcwd(2)`: returns the length with the terminator.
pub fn getcwd([buffer, size, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let directory = caller.context()?.working_directory();
    let found = caller.walk()?.full_path_of(&directory).ok_or(Errno::ENOENT)?;
    let mut path = found.bytes;
    if !found.reachable {
        path.splice(0..0, *b"(unreachable)");
    }
    if path.len() > PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    path.push(0);
    if path.len() > size {
        return Err(Errno::ERANGE);
    }
    copy_to_user(buffer, &path)?;
    Ok(path.len())
}
