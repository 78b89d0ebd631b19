//! Pipes: order, blocking, ends, limits, SIGPIPE.

use super::family;
use crate::calls::{self, close, pipe2, read, write};
use crate::check::{Outcome, check, equal, fails, ok};
use core::sync::atomic::{AtomicUsize, Ordering};
use lemma_rt::general::{
    F_GETFD, F_GETFL, F_SETFL, FD_CLOEXEC, O_CLOEXEC, O_NONBLOCK, O_RDONLY, O_WRONLY, SIGPIPE,
};
use lemma_rt::{signal, sys};

family!("pipes":
    order, end_of_file, broken, normal_band, broken_thread, broken_halfway, nonblocking, blocking_reader, blocking_writer, atomic_writes,
    flags, directions, through_children, stat_of_pipe, poll_without_end
);

fn pipe() -> lemma_rt::Result<(i32, i32)> {
    let mut ends = [0; 2];
    pipe2(&mut ends, 0)?;
    Ok((ends[0], ends[1]))
}

fn order() -> Outcome {
    let (reader, writer) = ok!(pipe());
    equal!(write(writer, b"one"), Ok(3));
    equal!(write(writer, b"two"), Ok(3));
    let mut buffer = [0; 4];
    equal!(read(reader, &mut buffer), Ok(4));
    equal!(&buffer, b"onet");
    equal!(read(reader, &mut buffer), Ok(2));
    equal!(&buffer[..2], b"wo");
    // Round and round the ring.
    let mut piece = [0; 3000];
    for round in 0..100u8 {
        equal!(write(writer, &[round; 3000]), Ok(3000));
        let mut got = 0;
        while got < 3000 {
            got += ok!(read(reader, &mut piece[got..]));
        }
        check!(piece.iter().all(|&byte| byte == round), " in round {round}");
    }
    Ok(())
}

fn end_of_file() -> Outcome {
    let (reader, writer) = ok!(pipe());
    let copy = ok!(calls::dup(writer));
    equal!(write(writer, b"last"), Ok(4));
    ok!(close(writer));
    ok!(close(copy));
    let mut buffer = [0; 10];
    equal!(read(reader, &mut buffer), Ok(4));
    equal!(read(reader, &mut buffer), Ok(0));
    equal!(read(reader, &mut buffer), Ok(0));
    Ok(())
}

fn broken() -> Outcome {
    ok!(signal::ignore(SIGPIPE as i32));
    let (reader, writer) = ok!(pipe());
    equal!(write(writer, b"x"), Ok(1));
    ok!(close(reader));
    fails!(write(writer, b"x"), PIPE);
    // Not ignored, the signal kills.
    ok!(signal::reset(SIGPIPE as i32));
    let status = ok!(calls::in_child(|| {
        let _ = write(writer, b"x");
        0
    }));
    equal!(status.signaled(), Some(SIGPIPE as i32));
    Ok(())
}

extern "C" fn note_broken(_: i32) {
    BROKEN.fetch_add(1, Ordering::Relaxed);
}

static BROKEN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn write_broken(writer: usize) {
    let mut pending = 0;
    let result = write(writer as i32, b"x");
    let _ = calls::rt_sigpending(&mut pending, 8);
    if result == Err(lemma_rt::Errno::PIPE) && pending == 1 << (SIGPIPE - 1) {
        BROKEN.fetch_add(1, Ordering::Relaxed);
    }
}

/// The signal goes to the thread that has written.
fn broken_thread() -> Outcome {
    ok!(signal::set_mask(0, 1 << (SIGPIPE - 1)));
    let (reader, writer) = ok!(pipe());
    ok!(close(reader));
    ok!(lemma_rt::thread::spawn(write_broken, writer as usize)).join();
    equal!(BROKEN.load(Ordering::Relaxed), 1);
    let mut pending = 0;
    ok!(calls::rt_sigpending(&mut pending, 8));
    equal!(pending, 0);
    Ok(())
}

/// A write of which the reader has taken only a part says how much, and the signal comes too.
fn broken_halfway() -> Outcome {
    let address = note_broken as *const () as usize;
    // SAFETY: the handler changes an atomic.
    ok!(unsafe { signal::set_handler(SIGPIPE as i32, address, 0, 0) });
    let (reader, writer) = ok!(pipe());
    let Some(pid) = ok!(lemma_rt::sys::fork()) else {
        let _ = close(writer);
        // Not before the writer waits for room.
        let mut filled = 0u32;
        for _ in 0..60_000 {
            if filled >= 65_536 {
                break;
            }
            let place = (&raw mut filled) as usize;
            if calls::ioctl(reader, lemma_rt::ioctl::FIONREAD, place).is_err() {
                lemma_rt::sys::exit(2);
            }
            calls::pause_for(1);
        }
        lemma_rt::sys::exit(i32::from(read(reader, &mut [0; 4096]) != Ok(4096)))
    };
    ok!(close(reader));
    let written = ok!(write(writer, &alloc::vec![7; 1 << 20]));
    equal!(ok!(lemma_rt::sys::wait_for(pid)).code(), 0);
    check!((65_536..1 << 20).contains(&written), " {written}");
    equal!(BROKEN.load(Ordering::Relaxed), 1);
    Ok(())
}

fn nonblocking() -> Outcome {
    let mut ends = [0; 2];
    ok!(pipe2(&mut ends, O_NONBLOCK));
    let [reader, writer] = ends;
    let mut buffer = alloc::vec![0; 4096];
    fails!(read(reader, &mut buffer), AGAIN);
    let mut total = 0;
    let last = loop {
        match write(writer, &buffer) {
            Ok(count) => total += count,
            error => break error,
        }
    };
    fails!(last, AGAIN);
    equal!(total, 65536);
    equal!(read(reader, &mut buffer), Ok(4096));
    equal!(write(writer, &buffer), Ok(4096));
    // More than fits writes what fits.
    equal!(read(reader, &mut buffer), Ok(4096));
    equal!(write(writer, &[0; 10_000]), Ok(4096));
    ok!(close(writer));
    while ok!(read(reader, &mut buffer)) > 0 {}
    Ok(())
}

fn blocking_reader() -> Outcome {
    let (reader, writer) = ok!(pipe());
    let Some(pid) = ok!(sys::fork()) else {
        let mut byte = [0];
        let _ = close(writer);
        let got = read(reader, &mut byte);
        sys::exit(if got == Ok(1) && byte == *b"!" { 7 } else { 1 });
    };
    calls::pause_for(50);
    let mut status = 0;
    equal!(calls::wait4(pid, &mut status, lemma_rt::general::WNOHANG), Ok(0));
    equal!(write(writer, b"!"), Ok(1));
    equal!(ok!(sys::wait_for(pid)).exited(), Some(7));
    Ok(())
}

fn blocking_writer() -> Outcome {
    const TOTAL: usize = 300_000;
    let (reader, writer) = ok!(pipe());
    let Some(pid) = ok!(sys::fork()) else {
        let _ = close(reader);
        // One call, larger than the pipe: it ends when all of it is written.
        let data: alloc::vec::Vec<u8> = (0..TOTAL).map(|index| (index % 251) as u8).collect();
        sys::exit(i32::from(write(writer, &data) != Ok(TOTAL)));
    };
    ok!(close(writer));
    let mut position = 0;
    let mut buffer = [0; 5000];
    loop {
        let count = ok!(read(reader, &mut buffer));
        if count == 0 {
            break;
        }
        for &byte in &buffer[..count] {
            check!(byte == (position % 251) as u8, " at {position}");
            position += 1;
        }
    }
    equal!(position, TOTAL);
    equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    Ok(())
}

/// Writes of up to 4096 bytes are not mixed with others (PIPE_BUF).
fn atomic_writes() -> Outcome {
    let (reader, writer) = ok!(pipe());
    let mut pids = alloc::vec::Vec::new();
    for letter in b'a'..b'd' {
        match ok!(sys::fork()) {
            None => {
                let _ = close(reader);
                let block = [letter; 1000];
                let failed = (0..60).any(|_| write(writer, &block) != Ok(1000));
                sys::exit(i32::from(failed));
            }
            Some(pid) => pids.push(pid),
        }
    }
    ok!(close(writer));
    let mut block = [0; 1000];
    for number in 0..180 {
        let mut got = 0;
        while got < 1000 {
            let count = ok!(read(reader, &mut block[got..]));
            check!(count > 0, " in block {number}");
            got += count;
        }
        check!(block.iter().all(|byte| *byte == block[0]), " in block {number}");
    }
    equal!(read(reader, &mut block), Ok(0));
    for pid in pids {
        equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    }
    Ok(())
}

fn flags() -> Outcome {
    let mut ends = [0; 2];
    ok!(pipe2(&mut ends, O_CLOEXEC));
    equal!(calls::fcntl(ends[0], F_GETFD, 0), Ok(FD_CLOEXEC as i32));
    equal!(ok!(calls::fcntl(ends[0], F_GETFL, 0)) as u32 & 3, O_RDONLY);
    equal!(ok!(calls::fcntl(ends[1], F_GETFL, 0)) as u32 & 3, O_WRONLY);
    ok!(calls::fcntl(ends[0], F_SETFL, O_NONBLOCK as usize));
    fails!(read(ends[0], &mut [0]), AGAIN);
    fails!(pipe2(&mut ends, 1), INVAL);
    fails!(calls::raw(lemma_rt::general::__NR_pipe2 as usize, [0; 6]), FAULT);
    Ok(())
}

fn directions() -> Outcome {
    let (reader, writer) = ok!(pipe());
    fails!(write(reader, b"x"), BADF);
    fails!(read(writer, &mut [0]), BADF);
    Ok(())
}

fn through_children() -> Outcome {
    // Three processes in a row, as a shell makes them.
    let (first, to_first) = ok!(pipe());
    let (second, to_second) = ok!(pipe());
    let increment = |from: i32, to: i32| {
        let mut byte = [0];
        while read(from, &mut byte) == Ok(1) {
            if write(to, &[byte[0] + 1]) != Ok(1) {
                return 1;
            }
        }
        0
    };
    let Some(pid) = ok!(sys::fork()) else {
        let _ = (close(to_first), close(second));
        sys::exit(increment(first, to_second));
    };
    ok!(close(first));
    ok!(close(to_second));
    equal!(write(to_first, b"HAL"), Ok(3));
    ok!(close(to_first));
    let mut all = alloc::vec::Vec::new();
    let mut buffer = [0; 2];
    loop {
        match ok!(read(second, &mut buffer)) {
            0 => break,
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
    equal!(all, b"IBM");
    equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    Ok(())
}

fn stat_of_pipe() -> Outcome {
    let (reader, _) = ok!(pipe());
    equal!(ok!(calls::fstat(reader)).st_mode & 0o170_000, 0o010_000);
    Ok(())
}

/// Reading and writing are of the normal band, too.
fn normal_band() -> Outcome {
    const NORMAL: i16 = 0x40 | 0x100;
    let (reader, writer) = ok!(pipe());
    // `poll` keeps what it finds in its own list, so what is found is told one by one.
    equal!(calls::poll(&mut [(writer, 0x100)], 0), Ok(1));
    equal!(calls::poll(&mut [(reader, NORMAL)], 0), Ok(0));
    ok!(write(writer, b"x"));
    equal!(calls::poll(&mut [(reader, 0x40)], 0), Ok(1));
    equal!(calls::poll(&mut [(reader, 0x100)], 0), Ok(0));
    Ok(())
}

/// Any negative time of `poll` is none, not -1 alone.
fn poll_without_end() -> Outcome {
    let (reader, writer) = ok!(pipe());
    for time in [-1, -2] {
        let Some(pid) = ok!(sys::fork()) else {
            calls::pause_for(20);
            sys::exit(i32::from(write(writer, b"x") != Ok(1)))
        };
        equal!(calls::poll(&mut [(reader, 1)], time), Ok(1));
        equal!(read(reader, &mut [0; 2]), Ok(1));
        equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    }
    Ok(())
}
