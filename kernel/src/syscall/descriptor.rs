//! Descriptors: `open openat creat close close_range dup dup2 dup3 pipe pipe2 eventfd eventfd2 fcntl
//! ioctl`.

use alloc::sync::Arc;

use kernel_abi::Errno;
use kernel_abi::file::{
    AT_FDCWD, F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFD, F_SETFL, FD_CLOEXEC,
    ioctl as request,
};
use kernel_vfs::{DESCRIPTOR_LIMIT, FileType, OpenFile, OpenFlags};

use super::errno::OrErrno;
use super::path::{Caller, PathBuffer};
use super::{SyscallResult, lock};
use crate::arch::abi;
use crate::file::{eventfd, locks, pipe};
use crate::mem::memapi::may_allocate;
use crate::mem::user::{read_user, write_user};

/// `__O_TMPFILE`: no file system here can do it.
const TMPFILE: u32 = 0o2000_0000;
/// Memory that an open may need.
const OPEN_COST: usize = 4096;

/// `open(2)`.
pub fn open([path, flags, mode, ..]: [usize; 6]) -> SyscallResult {
    open_at(AT_FDCWD as usize, path, flags, mode)
}

/// `openat(2)`.
pub fn openat([directory, path, flags, mode, ..]: [usize; 6]) -> SyscallResult {
    open_at(directory, path, flags, mode)
}

/// `creat(2)`.
pub fn creat([path, mode, ..]: [usize; 6]) -> SyscallResult {
    let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE_ONLY;
    open_at(AT_FDCWD as usize, path, abi::user_open_flags(flags.bits()) as usize, mode)
}

/// The flags of an open; unknown ones are ignored, as Linux does.
fn open_flags(flags: usize) -> Result<OpenFlags, Errno> {
    let flags = abi::open_flags(flags as u32);
    let known = OpenFlags::from_bits_truncate(flags);
    if flags & TMPFILE != 0 {
        let complete = known.contains(OpenFlags::DIRECTORY) && known.writable();
        return Err(if complete { Errno::EOPNOTSUPP } else { Errno::EINVAL });
    }
    if known.contains(OpenFlags::PATH) {
        return Ok(known
            & (OpenFlags::PATH
                | OpenFlags::DIRECTORY
                | OpenFlags::NO_FOLLOW
                | OpenFlags::CLOSE_ON_EXEC));
    }
    if known.contains(OpenFlags::CREATE | OpenFlags::DIRECTORY) {
        return Err(Errno::EINVAL);
    }
    Ok(known | OpenFlags::LARGE_FILE)
}

#[inline]
fn open_at(directory: usize, path: usize, flags: usize, mode: usize) -> SyscallResult {
    let flags = open_flags(flags)?;
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let caller = Caller::new();
    let files = caller.files()?;
    files.check_room().or_errno()?;
    may_allocate(OPEN_COST)?;
    let start = caller.start(directory, path)?;
    let mode = mode as u16 & 0o7777 & !caller.context()?.umask();
    let file = caller.walk()?.open(&start, path, flags, mode).or_errno()?;
    let close_on_exec = flags.contains(OpenFlags::CLOSE_ON_EXEC);
    files.install(file, close_on_exec).or_errno().map(|fd| fd as usize)
}

/// `close(2)`.
pub fn close([fd, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let files = caller.files()?;
    let file = files.remove(fd as u32).or_errno()?;
    locks::closed(files, file);
    Ok(0)
}

/// `close_range(2)`. A table of descriptors that other processes share is not copied first
/// (`CLOSE_RANGE_UNSHARE`).
pub fn close_range([first, last, flags, ..]: [usize; 6]) -> SyscallResult {
    const CLOSE_ON_EXEC: u32 = 4;
    let (first, last, flags) = (first as u32, last as u32, flags as u32);
    if flags & !CLOSE_ON_EXEC != 0 || first > last {
        return Err(Errno::EINVAL);
    }
    let caller = Caller::new();
    let files = caller.files()?;
    for fd in files.list().into_iter().filter(|fd| (first..=last).contains(fd)) {
        // One that another thread has closed meanwhile is as it should be.
        if flags == 0 {
            if let Ok(file) = files.remove(fd) {
                locks::closed(files, file);
            }
        } else {
            let _ = files.set_close_on_exec(fd, true);
        }
    }
    Ok(0)
}

/// `dup(2)`.
pub fn dup([fd, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let file = caller.file(fd)?;
    caller.files()?.install(file, false).or_errno().map(|fd| fd as usize)
}

/// Makes `fd` name `file`, and closes what it named before.
fn replace(
    caller: &Caller,
    fd: usize,
    file: Arc<OpenFile>,
    close_on_exec: bool,
) -> Result<(), Errno> {
    let files = caller.files()?;
    if let Some(before) = files.replace(fd as u32, file, close_on_exec).or_errno()? {
        locks::closed(files, before);
    }
    Ok(())
}

/// `dup2(2)`.
pub fn dup2([old, new, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let file = caller.file(old)?;
    if old as u32 == new as u32 {
        return Ok(old as u32 as usize);
    }
    replace(&caller, new, file, false)?;
    Ok(new as u32 as usize)
}

/// `dup3(2)`.
pub fn dup3([old, new, flags, ..]: [usize; 6]) -> SyscallResult {
    let close_on_exec = OpenFlags::CLOSE_ON_EXEC.bits();
    if flags as u32 & !close_on_exec != 0 || old as u32 == new as u32 {
        return Err(Errno::EINVAL);
    }
    if new as u32 >= DESCRIPTOR_LIMIT {
        return Err(Errno::EBADF);
    }
    let caller = Caller::new();
    let file = caller.file(old)?;
    replace(&caller, new, file, flags as u32 != 0)?;
    Ok(new as u32 as usize)
}

/// `pipe(2)`.
pub fn pipe([ends, ..]: [usize; 6]) -> SyscallResult {
    make_pipe(ends, OpenFlags::empty())
}

/// `pipe2(2)`. Packet mode (`O_DIRECT`) is not supported.
pub fn pipe2([ends, flags, ..]: [usize; 6]) -> SyscallResult {
    let flags = OpenFlags::from_bits(abi::open_flags(flags as u32)).ok_or(Errno::EINVAL)?;
    if !(OpenFlags::CLOSE_ON_EXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL);
    }
    make_pipe(ends, flags)
}

fn make_pipe(ends: usize, flags: OpenFlags) -> SyscallResult {
    let caller = Caller::new();
    let files = caller.files()?;
    let (reader, writer) = pipe::new(flags).or_errno()?;
    let close_on_exec = flags.contains(OpenFlags::CLOSE_ON_EXEC);
    let read_end = files.install(reader, close_on_exec).or_errno()?;
    let result = files.install(writer, close_on_exec).or_errno().and_then(|write_end| {
        write_user(ends, [read_end, write_end]).map_err(|fault| {
            drop(files.remove(write_end));
            fault.into()
        })
    });
    if result.is_err() {
        drop(files.remove(read_end));
    }
    result.map(|()| 0)
}

/// `eventfd(2)`, without flags.
pub fn eventfd([count, ..]: [usize; 6]) -> SyscallResult {
    eventfd2([count, 0, 0, 0, 0, 0])
}

/// `eventfd2(2)`.
pub fn eventfd2([count, flags, ..]: [usize; 6]) -> SyscallResult {
    const SEMAPHORE: u32 = 1;
    let semaphore = flags as u32 & SEMAPHORE != 0;
    let flags = abi::open_flags(flags as u32 & !SEMAPHORE);
    let flags = OpenFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    if !(OpenFlags::CLOSE_ON_EXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL);
    }
    let caller = Caller::new();
    let files = caller.files()?;
    let file = eventfd::new(count as u32, semaphore, flags).or_errno()?;
    let close_on_exec = flags.contains(OpenFlags::CLOSE_ON_EXEC);
    files.install(file, close_on_exec).or_errno().map(|fd| fd as usize)
}

/// `fcntl(2)`. Leases and signals are not supported.
pub fn fcntl([fd, command, argument, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let file = caller.file(fd)?;
    let files = caller.files()?;
    match command as u32 {
        F_DUPFD | F_DUPFD_CLOEXEC => {
            let minimum = u32::try_from(argument).map_err(|_| Errno::EINVAL)?;
            let close_on_exec = command as u32 == F_DUPFD_CLOEXEC;
            files.install_from(minimum, file, close_on_exec).or_errno().map(|fd| fd as usize)
        }
        F_GETFD => files.close_on_exec(fd as u32).or_errno().map(usize::from),
        F_SETFD => {
            let value = argument as u32 & FD_CLOEXEC != 0;
            files.set_close_on_exec(fd as u32, value).or_errno().map(|()| 0)
        }
        F_GETFL => Ok(abi::user_open_flags(file.flags().bits()) as usize),
        F_SETFL if file.flags().contains(OpenFlags::PATH) => Err(Errno::EBADF),
        F_SETFL => {
            file.set_status(OpenFlags::from_bits_truncate(abi::open_flags(argument as u32)));
            Ok(0)
        }
        _ if file.flags().contains(OpenFlags::PATH) => Err(Errno::EBADF),
        command => lock::fcntl(files, &file, command, argument).unwrap_or(Err(Errno::EINVAL)),
    }
}

/// `ioctl(2)`: what all files know is done here, the rest by the file.
pub fn ioctl([fd, command, argument, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let file = caller.file(fd)?;
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    match command as u32 {
        request::FIOCLEX | request::FIONCLEX => {
            let value = command as u32 == request::FIOCLEX;
            caller.files()?.set_close_on_exec(fd as u32, value).or_errno().map(|()| 0)
        }
        request::FIONBIO => {
            let on: u32 = read_user(argument)?;
            let flags = file.flags();
            let changed = if on != 0 {
                flags | OpenFlags::NONBLOCK
            } else {
                flags.difference(OpenFlags::NONBLOCK)
            };
            file.set_status(changed);
            Ok(0)
        }
        request::FIONREAD if is_regular(&file) => {
            let size = file.file().size().or_errno()?;
            let left = size.saturating_sub(file.position());
            write_user(argument, left.min(i32::MAX as u64) as u32)?;
            Ok(0)
        }
        command => file.file().ioctl(command, argument).or_errno(),
    }
}

fn is_regular(file: &OpenFile) -> bool {
    file.dentry().is_some_and(|dentry| dentry.file_type() == FileType::Regular)
}
