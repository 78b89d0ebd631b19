//! Devices: null, zero, full, random, and what terminals answer.

use super::family;
use crate::calls::{self, open, read, write};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use lemma_rt::general::{
    __NR_read, __NR_readv, __NR_setitimer, O_NOCTTY, O_RDONLY, O_RDWR, O_WRONLY, SEEK_SET, SIGALRM,
};
use lemma_rt::ioctl::{TCGETS, TIOCGSID, TIOCGWINSZ, TIOCSCTTY};
use lemma_rt::{signal, sys};

family!("devices":
    null, zero, zeros_without_end, zeros_and_others, full, random, not_terminals, numbers,
    mapped_zero, terminal_kept
);

fn null() -> Outcome {
    let fd = ok!(open(c"/dev/null", O_RDWR, 0));
    equal!(write(fd, &[1; 100_000]), Ok(100_000));
    equal!(read(fd, &mut [0; 10]), Ok(0));
    equal!(calls::lseek(fd, 100, SEEK_SET), Ok(0));
    ok!(calls::close(ok!(open(c"/dev/null", O_WRONLY | lemma_rt::general::O_TRUNC, 0))));
    Ok(())
}

fn zero() -> Outcome {
    let fd = ok!(open(c"/dev/zero", O_RDWR, 0));
    let mut buffer = alloc::vec![1; 10_000];
    equal!(read(fd, &mut buffer), Ok(10_000));
    check!(buffer.iter().all(|&byte| byte == 0));
    equal!(write(fd, &buffer), Ok(10_000));
    Ok(())
}

extern "C" fn nothing(_: i32) {}

/// A signal ends a read that would take long.
fn zeros_without_end() -> Outcome {
    const LENGTH: usize = 4 << 20;
    const TIMES: usize = 500;
    let fd = ok!(open(c"/dev/zero", O_RDONLY, 0));
    let buffer = ok!(calls::map(LENGTH));
    // SAFETY: the handler does nothing.
    ok!(unsafe { signal::set_handler(SIGALRM as i32, nothing as *const () as usize, 0, 0) });
    let vector = [[buffer, LENGTH]; TIMES];
    let arguments = [fd as usize, vector.as_ptr() as usize, TIMES, 0, 0, 0];
    // In 20 ms, and then every 20 ms: the first may come before the read.
    let timer = [0u64, 20_000, 0, 20_000];
    ok!(calls::raw(__NR_setitimer as usize, [0, timer.as_ptr() as usize, 0, 0, 0, 0]));
    let count = calls::raw(__NR_readv as usize, arguments);
    let none = [0u64; 4];
    ok!(calls::raw(__NR_setitimer as usize, [0, none.as_ptr() as usize, 0, 0, 0, 0]));
    let count = ok!(count);
    check!(count > 0 && count < LENGTH * TIMES, " {count} bytes");
    ok!(calls::munmap(buffer, LENGTH));
    Ok(())
}

/// Others run while one reads very much at once: they see the beginning of what it reads before
/// the end.
fn zeros_and_others() -> Outcome {
    const LENGTH: usize = 16 << 20;
    let fd = ok!(open(c"/dev/zero", O_RDONLY, 0));
    let buffer = ok!(calls::map_shared(LENGTH));
    let last = buffer + LENGTH - 1;
    let mut mask = [0u64; 16];
    ok!(calls::sched_getaffinity(0, 128, &mut mask));
    // Both on the first CPU.
    let word = mask.iter().position(|&word| word != 0).unwrap_or(0);
    let first = mask[word] & mask[word].wrapping_neg();
    mask = [0; 16];
    mask[word] = first;
    ok!(calls::sched_setaffinity(0, 128, &mask));
    let mut seen = false;
    for _ in 0..500 {
        for page in (0..LENGTH).step_by(4096) {
            calls::poke(buffer + page, 1);
        }
        calls::poke(last, 1);
        let Some(pid) = ok!(sys::fork()) else {
            let arguments = [fd as usize, buffer, LENGTH, 0, 0, 0];
            sys::exit(i32::from(calls::raw(__NR_read as usize, arguments) != Ok(LENGTH)))
        };
        while calls::peek(buffer) != 0 {
            let _ = calls::sched_yield();
        }
        seen |= calls::peek(last) != 0;
        equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
        if seen {
            break;
        }
    }
    ok!(calls::munmap(buffer, LENGTH));
    check!(seen);
    Ok(())
}

fn full() -> Outcome {
    let fd = ok!(open(c"/dev/full", O_RDWR, 0));
    fails!(write(fd, b"x"), NOSPC);
    let mut buffer = [1; 10];
    equal!(read(fd, &mut buffer), Ok(10));
    equal!(buffer, [0; 10]);
    Ok(())
}

fn random() -> Outcome {
    for path in [c"/dev/random", c"/dev/urandom"] {
        let fd = ok!(open(path, O_RDONLY, 0));
        let (mut one, mut other) = ([0; 64], [0; 64]);
        equal!(read(fd, &mut one), Ok(64));
        equal!(read(fd, &mut other), Ok(64));
        check!(one != other && one != [0; 64]);
    }
    let (mut one, mut other) = ([0; 200], [0; 200]);
    equal!(calls::getrandom(&mut one, 0), Ok(200));
    equal!(calls::getrandom(&mut other, 1), Ok(200));
    check!(one != other);
    // All values occur: 8 KiB without one of them is as good as impossible.
    let mut many = alloc::vec![0; 8192];
    equal!(calls::getrandom(&mut many, 0), Ok(8192));
    check!((0..=255).all(|value| many.contains(&value)));
    fails!(calls::getrandom(&mut one, 0x100), INVAL);
    Ok(())
}

fn not_terminals() -> Outcome {
    let null = ok!(open(c"/dev/null", O_RDWR, 0));
    ok!(calls::make(c"f", b""));
    let file = ok!(open(c"f", O_RDONLY, 0));
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    let mut room = [0u8; 64];
    for fd in [null, file, ends[0]] {
        fails!(calls::ioctl(fd, TCGETS, room.as_mut_ptr() as usize), NOTTY);
        fails!(calls::ioctl(fd, TIOCGWINSZ, room.as_mut_ptr() as usize), NOTTY);
        fails!(calls::ioctl(fd, 0xdead_beef, 0), NOTTY);
    }
    fails!(calls::ioctl(99, TCGETS, 0), BADF);
    Ok(())
}

fn numbers() -> Outcome {
    for (path, minor) in
        [(c"/dev/null", 3), (c"/dev/zero", 5), (c"/dev/full", 7), (c"/dev/urandom", 9)]
    {
        let stat = ok!(calls::stat_of(path));
        equal!(stat.st_mode & 0o170_000, 0o020_000);
        equal!(stat.st_rdev as u64, 256 + minor);
    }
    Ok(())
}

fn mapped_zero() -> Outcome {
    let fd = ok!(open(c"/dev/zero", O_RDWR, 0));
    let memory = ok!(calls::mmap(0, 8192, 3, lemma_rt::general::MAP_PRIVATE, fd, 0));
    equal!(calls::peek(memory + 5000), 0);
    calls::poke(memory + 5000, 1);
    equal!(calls::peek(memory + 5000), 1);
    Ok(())
}

/// A new session does not get the terminal of another by asking for it.
fn terminal_kept() -> Outcome {
    let Ok(fd) = open(c"/dev/console", O_RDWR | O_NOCTTY, 0) else {
        skip!("there is no console to be opened");
    };
    let mut owner = 0u32;
    let asked = calls::ioctl(fd, TIOCGSID, (&raw mut owner) as usize);
    if asked.is_err() || owner == 0 {
        skip!("the console is not the terminal of a session that can be seen");
    }
    let status = ok!(calls::in_child(|| {
        let session = calls::setsid();
        // Another user's process, so that it may not steal it either.
        let user = calls::setuid(1000);
        let taken = calls::ioctl(fd, TIOCSCTTY, 0);
        let stolen = calls::ioctl(fd, TIOCSCTTY, 1);
        let refused = Err(lemma_rt::Errno::PERM);
        i32::from(session.is_err() || user.is_err() || taken != refused || stolen != refused)
    }));
    equal!(status.code(), 0);
    let mut now = 0u32;
    ok!(calls::ioctl(fd, TIOCGSID, (&raw mut now) as usize));
    equal!(now, owner);
    Ok(())
}
