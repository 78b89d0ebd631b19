//! Sockets: `socketpair shutdown sendto recvfrom sendmsg recvmsg getsockopt getsockname getpeername`,
//! for connected streams. There are no networks and no addresses: `socket` knows no family. Messages
//! carry bytes only, no descriptors.

use alloc::sync::Arc;

use kernel_abi::Errno;
use kernel_abi::file::IOV_MAX;
use kernel_vfs::{FsError, OpenFile, OpenFlags, Source};

use super::SyscallResult;
use super::errno::OrErrno;
use super::file::{Vector, sink, source, write_error};
use super::path::Caller;
use crate::arch::abi;
use crate::file::socketpair::{self, Socket};
use crate::mem::user::{copy_to_user, read_user, write_user};

/// `AF_UNIX`, `SOCK_STREAM`.
const UNIX: usize = 1;
const STREAM: usize = 1;
/// The bits of a socket's type that name it; above them are flags as of `open`.
const TYPE: usize = 0xf;
/// More than the last address family.
const FAMILIES: usize = 46;

/// Flags of transfers: do not wait; no signal for a broken stream; descriptors that come with a
/// message are closed by `execve`.
const DONT_WAIT: u32 = 0x40;
const NO_SIGNAL: u32 = 0x4000;
const CLOSE_ON_EXEC: u32 = 0x4000_0000;

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
    send(&file, flags as u32, &mut source(buffer, count)?)
}

/// Sends bytes to the peer.
fn send(file: &OpenFile, flags: u32, bytes: &mut dyn Source) -> SyscallResult {
    let open = transfer_flags(file, flags)?;
    file.write_with(open, bytes).map_err(|error| match error {
        FsError::BrokenPipe if flags & NO_SIGNAL != 0 => Errno::EPIPE,
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

/// `struct msghdr` in words: the address, its length, the buffers, how many there are, control data,
/// its length, flags.
type MessageHeader = [usize; 7];

/// Where the lengths of address and control data are in it, and the flags.
const ADDRESS_LENGTH_AT: usize = 8;
const CONTROL_LENGTH_AT: usize = 40;
const FLAGS_AT: usize = 48;

/// The buffers of a message.
fn message_buffers(header: &MessageHeader) -> Result<Vector, Errno> {
    let [_, _, list, count, ..] = *header;
    if count > IOV_MAX {
        return Err(Errno::EMSGSIZE);
    }
    Vector::read(list, count)
}

/// `sendmsg(2)`, to the peer, without control data.
pub fn sendmsg([fd, message, flags, ..]: [usize; 6]) -> SyscallResult {
    let file = socket_file(fd)?;
    let header: MessageHeader = read_user(message)?;
    let [address, length, _, _, _, control_length, _] = header;
    let mut buffers = message_buffers(&header)?;
    if address != 0 && length as u32 != 0 {
        return Err(Errno::EISCONN);
    }
    if control_length != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    send(&file, flags as u32, &mut buffers)
}

/// `recvmsg(2)`, from the peer, which has no address and sends no control data.
pub fn recvmsg([fd, message, flags, ..]: [usize; 6]) -> SyscallResult {
    let file = socket_file(fd)?;
    let header: MessageHeader = read_user(message)?;
    let mut buffers = message_buffers(&header)?;
    // Descriptors that do not come are closed by `execve` as well.
    let open = transfer_flags(&file, flags as u32 & !CLOSE_ON_EXEC)?;
    let received = file.read_with(open, &mut buffers).or_errno()?;
    if header[0] != 0 {
        write_user(message.wrapping_add(ADDRESS_LENGTH_AT), 0u32)?;
    }
    write_user(message.wrapping_add(CONTROL_LENGTH_AT), 0usize)?;
    write_user(message.wrapping_add(FLAGS_AT), flags as u32 & CLOSE_ON_EXEC)?;
    Ok(received)
}

/// `getsockopt(2)`: what a socket is; there is nothing to adjust.
pub fn getsockopt([fd, level, name, value, length, _]: [usize; 6]) -> SyscallResult {
    const SOCKET: usize = 1;
    const SO_TYPE: usize = 3;
    const SO_ERROR: usize = 4;
    const SO_ACCEPTCONN: usize = 30;
    const SO_PROTOCOL: usize = 38;
    const SO_DOMAIN: usize = 39;
    socket_file(fd)?;
    if level != SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    let room = usize::try_from(read_user::<u32>(length)? as i32).map_err(|_| Errno::EINVAL)?;
    let found = match name {
        SO_TYPE => STREAM as u32,
        SO_DOMAIN => UNIX as u32,
        SO_ERROR | SO_ACCEPTCONN | SO_PROTOCOL => 0,
        _ => return Err(Errno::ENOPROTOOPT),
    };
    give(&found.to_ne_bytes(), value, room)?;
    write_user(length, room.min(size_of::<u32>()) as u32)?;
    Ok(0)
}

/// As much of these bytes as there is room for.
fn give(bytes: &[u8], to: usize, room: usize) -> Result<(), Errno> {
    Ok(copy_to_user(to, bytes.get(..room).unwrap_or(bytes))?)
}

/// `getsockname(2)`: the family, and no name.
pub fn getsockname([fd, address, length, ..]: [usize; 6]) -> SyscallResult {
    socket_file(fd)?;
    let room = usize::try_from(read_user::<u32>(length)? as i32).map_err(|_| Errno::EINVAL)?;
    let family = (UNIX as u16).to_ne_bytes();
    write_user(length, family.len() as u32)?;
    give(&family, address, room)?;
    Ok(0)
}

/// `getpeername(2)`: the peer has no name either.
pub fn getpeername(arguments: [usize; 6]) -> SyscallResult {
    getsockname(arguments)
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
