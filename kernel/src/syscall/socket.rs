//! Sockets: `socketpair shutdown sendto recvfrom`, for connected streams. There are no networks and
//! no addresses: `socket` knows no family.

use alloc::sync::Arc;

use kernel_abi::Errno;
use kernel_vfs::{FsError, OpenFile, OpenFlags};

use super::SyscallResult;
use super::errno::OrErrno;
use super::file::{sink, source, write_error};
use super::path::Caller;
use crate::arch::abi;
use crate::file::socketpair::{self, Socket};
use crate::mem::user::write_user;

/// `AF_UNIX`, `SOCK_STREAM`.
const UNIX: usize = 1;
const STREAM: usize = 1;
/// The bits of a socket's type that name it; above them are flags as of `open`.
const TYPE: usize = 0xf;
/// More than the last address family.
const FAMILIES: usize = 46;

/// Flags of `sendto` and `recvfrom`: do not wait; no signal for a broken stream.
const DONT_WAIT: u32 = 0x40;
const NO_SIGNAL: u32 = 0x4000;

/// `socket(2)`: what it makes could not be connected.
pub fn socket(_: [usize; 6]) -> SyscallResult {
    Err(Errno::EAFNOSUPPORT)
}

/// `socketpair(2)`.
pub fn socketpair([family, kind, protocol, ends, ..]: [usize; 6]) -> SyscallResult {
    let flags = OpenFlags::from_bits(abi::open_flags((kind & !TYPE) as u32));
    let flags = flags.ok_or(Errno::EINVAL)?;
    if !(OpenFlags::CLOSE_ON_EXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL);
    }
    match family {
        UNIX => {}
        family if family < FAMILIES => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EAFNOSUPPORT),
    }
    if protocol != 0 && protocol != UNIX {
        return Err(Errno::EPROTONOSUPPORT);
    }
    if kind & TYPE != STREAM {
        return Err(Errno::ESOCKTNOSUPPORT);
    }
    let caller = Caller::new();
    let files = caller.files()?;
    let [first, second] = socketpair::new(flags).or_errno()?;
    let close_on_exec = flags.contains(OpenFlags::CLOSE_ON_EXEC);
    let one = files.install(first, close_on_exec).or_errno()?;
    let result = files.install(second, close_on_exec).or_errno().and_then(|two| {
        write_user(ends, [one, two]).map_err(|fault| {
            drop(files.remove(two));
            fault.into()
        })
    });
    if result.is_err() {
        drop(files.remove(one));
    }
    result.map(|()| 0)
}

/// The description behind a descriptor, which has to be a socket.
fn socket_file(fd: usize) -> Result<Arc<OpenFile>, Errno> {
    let file = Caller::new().file(fd)?;
    if file.file().downcast_ref::<Socket>().is_some() { Ok(file) } else { Err(Errno::ENOTSOCK) }
}

/// The flags of a transfer.
fn transfer_flags(file: &OpenFile, flags: u32) -> Result<OpenFlags, Errno> {
    if flags & !(DONT_WAIT | NO_SIGNAL) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let mut open = file.flags();
    open.set(OpenFlags::NONBLOCK, open.contains(OpenFlags::NONBLOCK) || flags & DONT_WAIT != 0);
    Ok(open)
}

/// `sendto(2)`, to the peer.
pub fn sendto([fd, buffer, count, flags, address, _]: [usize; 6]) -> SyscallResult {
    let file = socket_file(fd)?;
    if address != 0 {
        return Err(Errno::EISCONN);
    }
    let open = transfer_flags(&file, flags as u32)?;
    let result = file.write_with(open, &mut source(buffer, count)?);
    result.map_err(|error| match error {
        FsError::BrokenPipe if flags as u32 & NO_SIGNAL != 0 => Errno::EPIPE,
        error => write_error(error),
    })
}

/// `recvfrom(2)`, from the peer, which has no address.
pub fn recvfrom([fd, buffer, count, flags, address, length]: [usize; 6]) -> SyscallResult {
    let file = socket_file(fd)?;
    let open = transfer_flags(&file, flags as u32)?;
    let received = file.read_with(open, &mut sink(buffer, count)?).or_errno()?;
    if address != 0 {
        write_user(length, 0u32)?;
    }
    Ok(received)
}

/// `shutdown(2)`.
pub fn shutdown([fd, how, ..]: [usize; 6]) -> SyscallResult {
    let file = socket_file(fd)?;
    let (reading, writing) = match how {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(Errno::EINVAL),
    };
    if let Some(socket) = file.file().downcast_ref::<Socket>() {
        socket.shut_down(reading, writing);
    }
    Ok(0)
}
