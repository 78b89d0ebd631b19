//! Connected sockets: both ways, ends, flags, refusals.

use super::family;
use crate::calls::{self, close, read, write};
use crate::check::{Outcome, check, equal, fails, ok};
use lemma_rt::general::{
    __NR_getpeername, __NR_getsockname, __NR_getsockopt, __NR_recvfrom, __NR_recvmsg, __NR_sendmsg,
    __NR_sendto, __NR_shutdown, __NR_socket, __NR_socketpair, O_CLOEXEC, O_NONBLOCK, SIGPIPE,
};
use lemma_rt::{Errno, signal};

family!("sockets":
    both_ways, ends, shut_down, transfers, messages, message_errors, options, names, flags, errors,
    families
);

const UNIX: usize = 1;
const STREAM: usize = 1;
const NO_SIGNAL: usize = 0x4000;
const DONT_WAIT: usize = 0x40;
const POLLIN: i16 = 1;
const POLLOUT: i16 = 4;

fn pair(kind: usize) -> Result<[i32; 2], Errno> {
    let mut ends = [0; 2];
    calls::raw(__NR_socketpair as usize, [UNIX, kind, 0, ends.as_mut_ptr() as usize, 0, 0])?;
    // SAFETY: the array lives; the kernel has written into it.
    Ok(unsafe { ends.as_ptr().cast::<[i32; 2]>().read_volatile() })
}

fn both_ways() -> Outcome {
    let [one, two] = ok!(pair(STREAM));
    equal!(write(one, b"there"), Ok(5));
    equal!(write(two, b"back"), Ok(4));
    let mut buffer = [0; 10];
    equal!(read(two, &mut buffer), Ok(5));
    equal!(&buffer[..5], b"there");
    equal!(read(one, &mut buffer), Ok(4));
    equal!(&buffer[..4], b"back");
    equal!(ok!(calls::fstat(one)).st_mode & 0o170_000, 0o140_000);
    fails!(calls::lseek(one, 0, 0), SPIPE);
    Ok(())
}

fn ends() -> Outcome {
    ok!(signal::ignore(SIGPIPE as i32));
    let [one, two] = ok!(pair(STREAM));
    equal!(calls::poll(&mut [(one, POLLIN)], 0), Ok(0));
    equal!(calls::poll(&mut [(one, POLLOUT)], 0), Ok(1));
    equal!(write(two, b"last"), Ok(4));
    ok!(close(two));
    equal!(calls::poll(&mut [(one, POLLIN)], 0), Ok(1));
    let mut buffer = [0; 10];
    equal!(read(one, &mut buffer), Ok(4));
    equal!(read(one, &mut buffer), Ok(0));
    fails!(write(one, b"x"), PIPE);
    Ok(())
}

fn shut_down() -> Outcome {
    ok!(signal::ignore(SIGPIPE as i32));
    let shutdown =
        |fd: i32, how: usize| calls::raw(__NR_shutdown as usize, [fd as usize, how, 0, 0, 0, 0]);
    let [one, two] = ok!(pair(STREAM));
    equal!(shutdown(one, 1), Ok(0));
    fails!(write(one, b"x"), PIPE);
    let mut buffer = [0; 10];
    equal!(read(two, &mut buffer), Ok(0));
    // The other direction is open.
    equal!(write(two, b"yes"), Ok(3));
    equal!(read(one, &mut buffer), Ok(3));
    fails!(shutdown(one, 3), INVAL);
    Ok(())
}

fn transfers() -> Outcome {
    let [one, two] = ok!(pair(STREAM));
    let text = b"text";
    let send = |flags: usize| {
        let arguments = [one as usize, text.as_ptr() as usize, text.len(), flags, 0, 0];
        calls::raw(__NR_sendto as usize, arguments)
    };
    let mut buffer = [0u8; 10];
    let at = buffer.as_mut_ptr() as usize;
    let receive =
        |flags: usize| calls::raw(__NR_recvfrom as usize, [two as usize, at, 10, flags, 0, 0]);
    fails!(receive(DONT_WAIT), AGAIN);
    equal!(send(NO_SIGNAL), Ok(4));
    equal!(receive(0), Ok(4));
    // Without a signal, this process lives on.
    ok!(close(two));
    fails!(send(NO_SIGNAL), PIPE);
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    let to_pipe = [ends[1] as usize, text.as_ptr() as usize, 4, 0, 0, 0];
    fails!(calls::raw(__NR_sendto as usize, to_pipe), NOTSOCK);
    Ok(())
}

/// `struct msghdr` in words, of this list of buffers.
fn message(list: &[[usize; 2]]) -> [usize; 7] {
    [0, 0, list.as_ptr() as usize, list.len(), 0, 0, 0]
}

fn at(bytes: &[u8]) -> [usize; 2] {
    [bytes.as_ptr() as usize, bytes.len()]
}

fn send_message(fd: i32, message: &[usize; 7], flags: usize) -> Result<usize, Errno> {
    let message = message.as_ptr() as usize;
    calls::raw(__NR_sendmsg as usize, [fd as usize, message, flags, 0, 0, 0])
}

fn receive_message(fd: i32, message: &mut [usize; 7], flags: usize) -> Result<usize, Errno> {
    let message = message.as_mut_ptr() as usize;
    calls::raw(__NR_recvmsg as usize, [fd as usize, message, flags, 0, 0, 0])
}

/// What a message leaves in its buffers.
fn messages() -> Outcome {
    const CLOSE_ON_EXEC: usize = 0x4000_0000;
    let [one, two] = ok!(pair(STREAM));
    let sent = [at(b"in "), at(b""), at(b"pieces")];
    equal!(send_message(one, &message(&sent), 0), Ok(9));
    let (mut first, mut rest, mut name) = ([0u8; 4], [0u8; 16], [7u8; 16]);
    let room =
        [[first.as_mut_ptr() as usize, first.len()], [rest.as_mut_ptr() as usize, rest.len()]];
    let mut header = message(&room);
    (header[0], header[1]) = (name.as_mut_ptr() as usize, name.len());
    (header[4], header[5], header[6]) = (name.as_mut_ptr() as usize, 16, 1);
    equal!(receive_message(two, &mut header, CLOSE_ON_EXEC), Ok(9));
    equal!((&first, &rest[..5]), (b"in p", &b"ieces"[..]));
    // No address, no control data; the flags are those of what was received.
    equal!((header[1] as u32, header[5], header[6] as u32), (0, 0, CLOSE_ON_EXEC as u32));
    fails!(receive_message(two, &mut message(&room), DONT_WAIT), AGAIN);
    ok!(close(one));
    equal!(receive_message(two, &mut message(&room), 0), Ok(0));
    fails!(send_message(two, &message(&sent), NO_SIGNAL), PIPE);
    Ok(())
}

fn message_errors() -> Outcome {
    let [one, _two] = ok!(pair(STREAM));
    let list = [at(b"text")];
    let address = [1u8, 0, b'x', 0];
    let mut header = message(&list);
    (header[0], header[1]) = (address.as_ptr() as usize, 4);
    fails!(send_message(one, &header, 0), ISCONN);
    let mut header = message(&list);
    header[3] = 1025;
    fails!(send_message(one, &header, 0), MSGSIZE);
    fails!(receive_message(one, &mut header, 0), MSGSIZE);
    header[2] = 8;
    header[3] = 1;
    fails!(send_message(one, &header, 0), FAULT);
    for call in [__NR_sendmsg, __NR_recvmsg] {
        fails!(calls::raw(call as usize, [one as usize, 8, 0, 0, 0, 0]), FAULT);
    }
    let directory = ok!(calls::open(c".", 0, 0));
    fails!(send_message(directory, &message(&list), 0), NOTSOCK);
    Ok(())
}

fn options() -> Outcome {
    const SOCKET: usize = 1;
    let [one, _two] = ok!(pair(STREAM));
    let get = |level: usize, name: usize, room: i32| {
        let (mut value, mut length) = (-1i32, room);
        let at = [&raw mut value as usize, &raw mut length as usize];
        let arguments = [one as usize, level, name, at[0], at[1], 0];
        calls::raw(__NR_getsockopt as usize, arguments).map(|_| {
            // SAFETY: both live; the kernel has written into them.
            unsafe { ((&raw const value).read_volatile(), (&raw const length).read_volatile()) }
        })
    };
    // SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ERROR, SO_ACCEPTCONN.
    for (name, value) in [(3, 1), (39, 1), (38, 0), (4, 0), (30, 0)] {
        equal!(get(SOCKET, name, 4), Ok((value, 4)));
        equal!(get(SOCKET, name, 100), Ok((value, 4)));
    }
    equal!(get(SOCKET, 3, 0), Ok((-1, 0)));
    fails!(get(SOCKET, 3, -1), INVAL);
    fails!(get(SOCKET, 4000, 4), NOPROTOOPT);
    fails!(get(0, 3, 4), OPNOTSUPP);
    fails!(calls::raw(__NR_getsockopt as usize, [one as usize, SOCKET, 3, 8, 8, 0]), FAULT);
    Ok(())
}

/// Neither of two connected sockets has a name.
fn names() -> Outcome {
    let [one, _two] = ok!(pair(STREAM));
    let directory = ok!(calls::open(c".", 0, 0)) as usize;
    for call in [__NR_getsockname, __NR_getpeername] {
        let (mut address, mut length) = ([0xffu8; 16], 16u32);
        let at = [address.as_mut_ptr() as usize, &raw mut length as usize];
        ok!(calls::raw(call as usize, [one as usize, at[0], at[1], 0, 0, 0]));
        // SAFETY: it lives; the kernel has written into it.
        equal!(unsafe { (&raw const length).read_volatile() }, 2);
        equal!((calls::peek(at[0]), calls::peek(at[0] + 1), calls::peek(at[0] + 2)), (1, 0, 0xff));
        fails!(calls::raw(call as usize, [one as usize, at[0], 8, 0, 0, 0]), FAULT);
        fails!(calls::raw(call as usize, [directory, at[0], at[1], 0, 0, 0]), NOTSOCK);
    }
    Ok(())
}

fn flags() -> Outcome {
    let [one, _two] = ok!(pair(STREAM | O_NONBLOCK as usize | O_CLOEXEC as usize));
    fails!(read(one, &mut [0]), AGAIN);
    equal!(calls::fcntl(one, lemma_rt::general::F_GETFD, 0), Ok(1));
    let mut sent = 0usize;
    while let Ok(count) = write(one, &[0; 4096]) {
        sent += count;
    }
    check!(sent >= 65_536, "{sent}");
    fails!(write(one, b"x"), AGAIN);
    Ok(())
}

fn errors() -> Outcome {
    let make = |family: usize, kind: usize, protocol: usize, ends: usize| {
        calls::raw(__NR_socketpair as usize, [family, kind, protocol, ends, 0, 0])
    };
    let mut ends = [0i32; 2];
    let at = ends.as_mut_ptr() as usize;
    fails!(make(UNIX, STREAM, 7, at), PROTONOSUPPORT);
    fails!(make(99, STREAM, 0, at), AFNOSUPPORT);
    fails!(make(UNIX, STREAM | 0x100, 0, at), INVAL);
    fails!(make(UNIX, STREAM, 0, 1), FAULT);
    Ok(())
}

/// A family that there is not is refused.
fn families() -> Outcome {
    let socket = |family: usize, kind: usize, protocol: usize| {
        calls::raw(__NR_socket as usize, [family, kind, protocol, 0, 0, 0])
    };
    fails!(socket(9999, STREAM, 0), AFNOSUPPORT);
    fails!(socket(usize::MAX, STREAM, 0), AFNOSUPPORT);
    // One that there may be gives a descriptor.
    match socket(UNIX, STREAM, 0) {
        Ok(fd) => drop(ok!(close(fd as i32))),
        Err(error) => equal!(error, Errno::AFNOSUPPORT),
    }
    Ok(())
}
