//! Descriptors: `open openat creat close dup dup2 dup3 pipe pipe2 fcntl ioctl poll ppoll`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_abi::Errno;
use kernel_abi::file::{
    AT_FDCWD, F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFD, F_SETFL, FD_CLOEXEC,
    ioctl as request,
};
use kernel_vfs::{DESCRIPTOR_LIMIT, FileType, OpenFile, OpenFlags, Readiness};

use super::SyscallResult;
use super::errno::OrErrno;
use super::path::{Caller, PathBuffer};
use super::time::{read_timespec, to_timespec};
use crate::arch::abi;
use crate::file::{pipe, poll};
use crate::mcore::mtask::signal;
use crate::mcore::{current, now_ns};
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
    let file = Caller::new().files()?.remove(fd as u32).or_errno()?;
    drop(file);
    Ok(0)
}

/// `dup(2)`.
pub fn dup([fd, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let file = caller.file(fd)?;
    caller.files()?.install(file, false).or_errno().map(|fd| fd as usize)
}

/// `dup2(2)`.
pub fn dup2([old, new, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let file = caller.file(old)?;
    if old as u32 == new as u32 {
        return Ok(old as u32 as usize);
    }
    let before = caller.files()?.replace(new as u32, file, false).or_errno()?;
    drop(before);
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
    let before = caller.files()?.replace(new as u32, file, flags as u32 != 0).or_errno()?;
    drop(before);
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

/// `fcntl(2)`. Locks, leases and signals are not supported.
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
        _ => Err(Errno::EINVAL),
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

/// `POLLNVAL`: the descriptor is not open.
const INVALID: u16 = 0x20;

/// How long a wait for readiness may last.
#[derive(Clone, Copy)]
enum Patience {
    /// Only a look.
    None,
    /// Up to a time on the scale of `now_ns`.
    Until(u64),
    Forever,
}

impl Patience {
    /// For so many nanoseconds from now.
    fn of(nanoseconds: u64) -> Self {
        match nanoseconds {
            0 => Self::None,
            nanoseconds => Self::Until(current().wait_deadline(nanoseconds)),
        }
    }
}

/// `poll(2)`: milliseconds; negative is for ever.
pub fn poll([list, count, timeout, ..]: [usize; 6]) -> SyscallResult {
    let patience = match u64::try_from(timeout as i32) {
        Ok(milliseconds) => Patience::of(milliseconds * 1_000_000),
        Err(_) => Patience::Forever,
    };
    let result = wait_for_any(list, count, patience);
    if let (Err(Errno::EINTR), Patience::Until(deadline)) = (result, patience) {
        current().note_interrupted_wait(deadline);
    }
    result
}

/// `ppoll(2)`: with the signal mask at `mask`, if there is one, while it waits; leaves at `time`
/// what is left of the time.
pub fn ppoll([list, count, time, mask, set_bytes, _]: [usize; 6]) -> SyscallResult {
    let patience = match time {
        0 => Patience::Forever,
        address => Patience::of(read_timespec(address)?),
    };
    if mask != 0 {
        if set_bytes != size_of::<u64>() {
            return Err(Errno::EINVAL);
        }
        signal::suspend_with(read_user(mask)?);
    }
    let result = wait_for_any(list, count, patience);
    if mask != 0 && result != Err(Errno::EINTR) {
        // Otherwise the signal is dealt with first.
        signal::end_suspension();
    }
    if let Patience::Until(deadline) = patience {
        // Memory that cannot be written is not an error here, as on Linux.
        let _ = write_user(time, to_timespec(deadline.saturating_sub(now_ns())));
    }
    result
}

/// Waits until one of `count` descriptors in the user's `list` is ready; how many are.
fn wait_for_any(list: usize, count: usize, patience: Patience) -> SyscallResult {
    if count > DESCRIPTOR_LIMIT as usize {
        return Err(Errno::EINVAL);
    }
    let caller = Caller::new();
    // struct pollfd: descriptor, events, returned events; one word.
    let mut entries: Vec<(Option<Arc<OpenFile>>, u64)> = Vec::new();
    entries.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    for index in 0..count {
        let address = list.checked_add(8 * index).ok_or(Errno::EFAULT)?;
        let word: u64 = read_user(address)?;
        let file = if (word as i32) < 0 { None } else { caller.file(word as usize).ok() };
        entries.push((file, word & 0xffff_ffff_ffff));
    }
    let mut look = || {
        let mut ready = 0;
        for (file, word) in &mut entries {
            let events = (*word >> 32) as u16;
            let found = match file {
                Some(file) => {
                    let always = Readiness::ERROR | Readiness::HANG_UP;
                    file.file().readiness().bits() & (events | always.bits())
                }
                None if (*word as i32) < 0 => 0,
                None => INVALID,
            };
            *word = *word & 0xffff_ffff_ffff | u64::from(found) << 48;
            ready += usize::from(found != 0);
        }
        (ready > 0).then_some(ready)
    };
    let ready = match (look(), patience) {
        (Some(ready), _) => ready,
        (None, Patience::None) => 0,
        (None, Patience::Until(deadline)) => {
            poll::wait(look, Some(deadline)).or_errno()?.unwrap_or(0)
        }
        (None, Patience::Forever) => poll::wait(look, None).or_errno()?.unwrap_or(0),
    };
    for (index, (_, word)) in entries.iter().enumerate() {
        // The returned events are the last two of eight bytes.
        write_user(list.wrapping_add(8 * index + 6), (*word >> 48) as u16)?;
    }
    Ok(ready)
}
