//! Named pipes, and the other nodes that `mknod` makes.

use super::family;
use crate::calls::{self, close, in_child, make, open, pause_for, read, write};
use crate::check::{Outcome, check, equal, fails, ok};
use core::ffi::CStr;
use lemma_rt::general::{
    AT_FDCWD, O_CREAT, O_EXCL, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, S_IFBLK,
    S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, SEEK_SET, SIGALRM, SIGPIPE,
    timespec,
};
use lemma_rt::{Errno, Result, signal, sys};

family!("fifos":
    nodes, node_errors, of_others, sides_wait, writers_come_and_go, unless_told, both_sides,
    ends_and_begins_again, broken, emptied, polled, not_seekable, renamed, interrupted
);

const POLLIN: i16 = 1;
const POLLOUT: i16 = 4;
const POLLERR: i16 = 8;
const POLLHUP: i16 = 16;

fn node(path: &CStr, mode: u32) -> Result<usize> {
    calls::mknodat(AT_FDCWD, path, mode, 0)
}

fn fifo(path: &CStr) -> Result<usize> {
    node(path, S_IFIFO | 0o600)
}

/// What is ready of a descriptor now.
fn ready(fd: i32) -> Result<i16> {
    let wanted = (POLLIN | POLLOUT) as u64;
    let mut entry = fd as u32 as u64 | wanted << 32;
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    calls::ppoll_raw((&raw mut entry) as usize, 1, (&raw mut time) as usize, 0, 8)?;
    Ok((entry >> 48) as i16)
}

fn nodes() -> Outcome {
    ok!(calls::umask(0o022));
    for (path, mode, shown) in [
        (c"p", S_IFIFO | 0o666, S_IFIFO | 0o644),
        (c"s", S_IFSOCK | 0o777, S_IFSOCK | 0o755),
        (c"f", S_IFREG | 0o640, S_IFREG | 0o640),
        (c"g", 0o4711, S_IFREG | 0o4711),
    ] {
        ok!(node(path, mode));
        let found = ok!(calls::lstat(path));
        equal!((found.st_mode as u32, found.st_size, found.st_nlink as u32), (shown, 0, 1));
        fails!(node(path, mode), EXIST);
    }
    equal!(ok!(calls::content(c"f")), []);
    fails!(open(c"s", O_RDWR, 0), NXIO);
    // What a directory says of them.
    let mut buffer = [0; 1024];
    let directory = ok!(open(c".", O_RDONLY, 0));
    let length = ok!(calls::getdents64(directory, &mut buffer));
    let mut rest = &buffer[..length];
    let mut seen = 0;
    while let [.., _] = rest {
        let size = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
        let (kind, name) = (rest[18], rest[19]);
        let expected = match name {
            b'p' => 1,
            b's' => 12,
            b'f' | b'g' => 8,
            _ => kind,
        };
        equal!(kind, expected);
        seen += 1;
        rest = &rest[size..];
    }
    equal!(seen, 6);
    Ok(())
}

fn node_errors() -> Outcome {
    fails!(node(c"x", S_IFDIR | 0o700), PERM);
    for mode in [S_IFLNK, 0o150_000, S_IFMT] {
        fails!(node(c"x", mode | 0o700), INVAL);
    }
    fails!(fifo(c"none/x"), NOENT);
    fails!(fifo(c"x/"), NOENT);
    fails!(fifo(c""), NOENT);
    fails!(fifo(c"."), EXIST);
    ok!(make(c"f", b""));
    fails!(fifo(c"f/x"), NOTDIR);
    fails!(calls::mknodat(77, c"x", S_IFIFO, 0), BADF);
    ok!(fifo(c"p"));
    fails!(open(c"p", O_CREAT | O_EXCL | O_RDWR, 0o600), EXIST);
    fails!(open(c"p", O_RDONLY | lemma_rt::general::O_DIRECTORY, 0), NOTDIR);
    fails!(calls::truncate(c"p", 0), INVAL);
    // A place in the tree is no side.
    ok!(open(c"p", O_PATH, 0));
    fails!(open(c"p", O_WRONLY | O_NONBLOCK, 0), NXIO);
    Ok(())
}

/// Devices are the superuser's to make; permissions count for pipes as for files.
fn of_others() -> Outcome {
    ok!(fifo(c"p"));
    let privileged = ok!(calls::geteuid()) == 0;
    let status = ok!(in_child(|| {
        if privileged && (calls::chmod(c".", 0o777), calls::setuid(1)) != (Ok(0), Ok(0)) {
            return 1;
        }
        for mode in [S_IFCHR, S_IFBLK] {
            if calls::mknodat(AT_FDCWD, c"d", mode | 0o600, 0x103) != Err(Errno::PERM) {
                return 2;
            }
        }
        if privileged && open(c"p", O_RDWR, 0) != Err(Errno::ACCESS) {
            return 3;
        }
        i32::from(fifo(c"q").is_err() || open(c"q", O_RDWR, 0).is_err()) * 4
    }));
    equal!(status.code(), 0);
    if privileged {
        match calls::mknodat(AT_FDCWD, c"d", S_IFCHR | 0o600, 0x7ff0) {
            // Linux in a user namespace lets nobody.
            Err(Errno::PERM) => return Ok(()),
            made => ok!(made),
        };
        let found = ok!(calls::lstat(c"d"));
        equal!((found.st_mode as u32, found.st_rdev as u64), (S_IFCHR | 0o600, 0x7ff0));
        fails!(open(c"d", O_RDONLY, 0), NXIO);
    }
    Ok(())
}

/// The first of the two that comes waits for the other.
fn sides_wait() -> Outcome {
    ok!(fifo(c"p"));
    for reader_first in [true, false] {
        let child = ok!(sys::fork());
        if child.is_none() == reader_first {
            let Ok(fd) = open(c"p", O_RDONLY, 0) else { sys::exit(1) };
            let mut buffer = [0; 8];
            let found = [read(fd, &mut buffer), read(fd, &mut [0; 8])];
            if child.is_none() {
                sys::exit(i32::from(found != [Ok(4), Ok(0)] || &buffer[..4] != b"text"));
            }
            equal!(found, [Ok(4), Ok(0)]);
            ok!(close(fd));
        } else {
            if child.is_some() {
                // Long enough, mostly, for the other to wait by now.
                pause_for(20);
            }
            let written = open(c"p", O_WRONLY, 0).and_then(|fd| {
                let written = write(fd, b"text")?;
                close(fd).map(|_| written)
            });
            if child.is_none() {
                sys::exit(i32::from(written != Ok(4)));
            }
            equal!(written, Ok(4));
        }
        if let Some(child) = child {
            equal!(ok!(sys::wait_for(child)).code(), 0);
        }
    }
    Ok(())
}

/// A writer that waited, writes and goes again while the reader that it waited for is still on its
/// way.
fn writers_come_and_go() -> Outcome {
    const ROUNDS: usize = 200;
    ok!(fifo(c"p"));
    let mut go = [0; 2];
    ok!(calls::pipe2(&mut go, 0));
    let Some(child) = ok!(sys::fork()) else {
        for _ in 0..ROUNDS {
            let written = read(go[0], &mut [0])
                .and_then(|_| open(c"p", O_WRONLY, 0))
                .and_then(|fd| write(fd, b"text").and_then(|_| close(fd)));
            if written.is_err() {
                sys::exit(1);
            }
        }
        sys::exit(0)
    };
    for _ in 0..ROUNDS {
        ok!(write(go[1], b"g"));
        let fd = ok!(open(c"p", O_RDONLY, 0));
        equal!([read(fd, &mut [0; 8]), read(fd, &mut [0; 8])], [Ok(4), Ok(0)]);
        ok!(close(fd));
    }
    equal!(ok!(sys::wait_for(child)).code(), 0);
    Ok(())
}

fn unless_told() -> Outcome {
    ok!(fifo(c"p"));
    fails!(open(c"p", O_WRONLY | O_NONBLOCK, 0), NXIO);
    let reader = ok!(open(c"p", O_RDONLY | O_NONBLOCK, 0));
    // Nobody writes: that is the end.
    equal!(read(reader, &mut [0; 4]), Ok(0));
    // With the other side there, neither waits.
    let writer = ok!(open(c"p", O_WRONLY, 0));
    fails!(read(reader, &mut [0; 4]), AGAIN);
    equal!(write(writer, b"ab"), Ok(2));
    let other = ok!(open(c"p", O_RDONLY, 0));
    let mut byte = [0];
    equal!(read(other, &mut byte), Ok(1));
    equal!(&byte, b"a");
    equal!(read(reader, &mut byte), Ok(1));
    equal!(&byte, b"b");
    fails!(write(reader, b"x"), BADF);
    fails!(read(writer, &mut byte), BADF);
    Ok(())
}

fn both_sides() -> Outcome {
    ok!(fifo(c"p"));
    let both = ok!(open(c"p", O_RDWR | O_TRUNC, 0));
    equal!(write(both, b"abc"), Ok(3));
    let mut buffer = [0; 8];
    equal!(read(both, &mut buffer), Ok(3));
    // It is its own writer, so there is no end.
    let again = ok!(open(c"p", O_RDONLY | O_NONBLOCK, 0));
    fails!(read(again, &mut buffer), AGAIN);
    let found = ok!(calls::fstat(both));
    let named = ok!(calls::stat_of(c"p"));
    equal!((found.st_ino, found.st_mode), (named.st_ino, named.st_mode));
    fails!(open(c"p", 3, 0), INVAL);
    Ok(())
}

/// After the last writer comes the end, until there is another.
fn ends_and_begins_again() -> Outcome {
    ok!(fifo(c"p"));
    let reader = ok!(open(c"p", O_RDONLY | O_NONBLOCK, 0));
    let mut buffer = [0; 8];
    for text in [b"one", b"two"] {
        let (first, second) = (ok!(open(c"p", O_WRONLY, 0)), ok!(open(c"p", O_WRONLY, 0)));
        equal!(write(first, text), Ok(3));
        ok!(close(first));
        equal!(read(reader, &mut buffer), Ok(3));
        equal!(&buffer[..3], text);
        fails!(read(reader, &mut buffer), AGAIN);
        equal!(write(second, b"x"), Ok(1));
        ok!(close(second));
        equal!(read(reader, &mut buffer), Ok(1));
        equal!(read(reader, &mut buffer), Ok(0));
    }
    Ok(())
}

fn broken() -> Outcome {
    ok!(signal::ignore(SIGPIPE as i32));
    ok!(fifo(c"p"));
    let reader = ok!(open(c"p", O_RDONLY | O_NONBLOCK, 0));
    let writer = ok!(open(c"p", O_WRONLY, 0));
    ok!(close(reader));
    fails!(write(writer, b"x"), PIPE);
    fails!(open(c"p", O_WRONLY | O_NONBLOCK, 0), NXIO);
    let reader = ok!(open(c"p", O_RDONLY, 0));
    equal!(write(writer, b"y"), Ok(1));
    let mut byte = [0];
    equal!(read(reader, &mut byte), Ok(1));
    equal!(&byte, b"y");
    Ok(())
}

/// What nobody has read is kept only as long as somebody has the pipe open.
fn emptied() -> Outcome {
    ok!(fifo(c"p"));
    let reader = ok!(open(c"p", O_RDONLY | O_NONBLOCK, 0));
    let writer = ok!(open(c"p", O_WRONLY, 0));
    equal!(write(writer, b"kept"), Ok(4));
    ok!(close(writer));
    let mut buffer = [0; 2];
    equal!(read(reader, &mut buffer), Ok(2));
    ok!(close(reader));
    let reader = ok!(open(c"p", O_RDONLY | O_NONBLOCK, 0));
    equal!(read(reader, &mut buffer), Ok(0));
    Ok(())
}

fn polled() -> Outcome {
    ok!(fifo(c"p"));
    let reader = ok!(open(c"p", O_RDONLY | O_NONBLOCK, 0));
    // There was no writer yet who could have gone.
    equal!(ready(reader), Ok(0));
    let writer = ok!(open(c"p", O_WRONLY | O_NONBLOCK, 0));
    equal!((ready(reader), ready(writer)), (Ok(0), Ok(POLLOUT)));
    equal!(write(writer, b"x"), Ok(1));
    equal!(ready(reader), Ok(POLLIN));
    ok!(close(writer));
    equal!(ready(reader), Ok(POLLIN | POLLHUP));
    equal!(read(reader, &mut [0]), Ok(1));
    equal!(ready(reader), Ok(POLLHUP));
    let writer = ok!(open(c"p", O_WRONLY | O_NONBLOCK, 0));
    equal!(ready(reader), Ok(0));
    ok!(close(reader));
    equal!(ready(writer), Ok(POLLOUT | POLLERR));
    let both = ok!(open(c"p", O_RDWR, 0));
    equal!((ready(both), ready(writer)), (Ok(POLLOUT), Ok(POLLOUT)));
    Ok(())
}

fn not_seekable() -> Outcome {
    ok!(fifo(c"p"));
    let both = ok!(open(c"p", O_RDWR, 0));
    fails!(calls::lseek(both, 0, SEEK_SET), SPIPE);
    fails!(calls::pread(both, &mut [0], 0), SPIPE);
    fails!(calls::ftruncate(both, 0), INVAL);
    Ok(())
}

/// The pipe goes with its node, not with its name; and does not need one.
fn renamed() -> Outcome {
    ok!(fifo(c"p"));
    let both = ok!(open(c"p", O_RDWR, 0));
    ok!(calls::link(c"p", c"q"));
    ok!(calls::rename(c"p", c"r"));
    let writer = ok!(open(c"q", O_WRONLY, 0));
    equal!(write(writer, b"x"), Ok(1));
    equal!(read(both, &mut [0]), Ok(1));
    ok!(fifo(c"p"));
    fails!(open(c"p", O_WRONLY | O_NONBLOCK, 0), NXIO);
    for path in [c"p", c"q", c"r"] {
        ok!(calls::unlink(path));
    }
    equal!(write(writer, b"y"), Ok(1));
    equal!(read(both, &mut [0]), Ok(1));
    Ok(())
}

extern "C" fn noted(_: i32) {}

/// A signal ends the waiting, and who waited is no side any more.
fn interrupted() -> Outcome {
    ok!(fifo(c"p"));
    let before = calls::getpid();
    // SAFETY: the handler does nothing.
    ok!(unsafe { signal::set_handler(SIGALRM as i32, noted as *const () as usize, 0, 0) });
    let child = ok!(sys::fork());
    let Some(child) = child else {
        pause_for(30);
        while sys::kill(before, SIGALRM as i32).is_ok() {
            pause_for(20);
        }
        sys::exit(0)
    };
    fails!(open(c"p", O_RDONLY, 0), INTR);
    ok!(sys::kill(child, lemma_rt::general::SIGKILL as i32));
    ok!(sys::wait_for(child));
    fails!(open(c"p", O_WRONLY | O_NONBLOCK, 0), NXIO);
    check!(ready(ok!(open(c"p", O_RDWR, 0))) == Ok(POLLOUT));
    Ok(())
}
