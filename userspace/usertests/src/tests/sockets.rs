//! Connected sockets: both ways, ends, flags, refusals.

use super::family;
use crate::calls::{self, close, read, write};
use crate::check::{Outcome, check, equal, fails, ok};
use lemma_rt::general::{
    __NR_recvfrom, __NR_sendto, __NR_shutdown, __NR_socketpair, O_CLOEXEC, O_NONBLOCK, SIGPIPE,
};
use lemma_rt::{Errno, signal};

family!("sockets": both_ways, ends, shut_down, transfers, flags, errors);

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
