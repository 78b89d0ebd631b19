//! Event polls: what is told of when, level- and edge-triggered and once.

use super::family;
use super::proc::sleeps;
use crate::calls::{self, in_child, monotonic, raw};
use crate::check::{Outcome, check, equal, fails, ok};
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use lemma_rt::general::{
    __NR_epoll_create1, __NR_epoll_ctl, __NR_epoll_pwait, __NR_epoll_pwait2, __NR_eventfd2,
    __NR_socketpair, EFD_NONBLOCK, EPOLL_CLOEXEC, O_NONBLOCK, O_RDONLY, O_RDWR, SIGALRM, SIGUSR1,
    epoll_event,
};
use lemma_rt::{Result, signal, sys};

family!("epoll":
    level, edge, edge_of_counter, edge_of_writer, once, modified, removed, closed, hang_up,
    closed_by_peer, takes_turns, waits, times_out, times_out_exactly, masked, nested, watched_by_poll, errors
);

const IN: u32 = 0x1;
const OUT: u32 = 0x4;
const ERROR: u32 = 0x8;
const HANG_UP: u32 = 0x10;
const PEER_CLOSED: u32 = 0x2000;
const EXCLUSIVE: u32 = 1 << 28;
const ONE_SHOT: u32 = 1 << 30;
const EDGE: u32 = 1 << 31;

const ADD: usize = 1;
const DELETE: usize = 2;
const MODIFY: usize = 3;

pub(super) fn create() -> Result<i32> {
    raw(__NR_epoll_create1 as usize, [EPOLL_CLOEXEC as usize, 0, 0, 0, 0, 0]).map(|fd| fd as i32)
}

fn control(poll: i32, operation: usize, fd: i32, events: u32, data: u64) -> Result<usize> {
    let event = epoll_event { events, data };
    let address = (&raw const event) as usize;
    raw(__NR_epoll_ctl as usize, [poll as usize, operation, fd as usize, address, 0, 0])
}

pub(super) fn add(poll: i32, fd: i32, events: u32) -> Result<usize> {
    control(poll, ADD, fd, events, fd as u64)
}

/// Waits for at most `most` events, so many milliseconds: events and data of each.
fn wait_for(poll: i32, most: usize, milliseconds: i32) -> Result<Vec<(u32, u64)>> {
    let mut events = [epoll_event { events: 0, data: 0 }; 8];
    let address = events.as_mut_ptr() as usize;
    let arguments = [poll as usize, address, most, milliseconds as usize, 0, 8];
    let count = raw(__NR_epoll_pwait as usize, arguments)?;
    Ok(events.iter().take(count).map(|event| (event.events, event.data)).collect())
}

/// What is there now.
pub(super) fn look(poll: i32) -> Result<Vec<(u32, u64)>> {
    wait_for(poll, 8, 0)
}

/// The ends of a pipe that does not wait.
fn pipe() -> Result<[i32; 2]> {
    let mut ends = [0; 2];
    calls::pipe2(&mut ends, O_NONBLOCK)?;
    Ok(ends)
}

fn counter() -> Result<i32> {
    raw(__NR_eventfd2 as usize, [0, EFD_NONBLOCK as usize, 0, 0, 0, 0]).map(|fd| fd as i32)
}

fn level() -> Outcome {
    let poll = ok!(create());
    let [reader, writer] = ok!(pipe());
    ok!(control(poll, ADD, reader, IN, u64::MAX - 5));
    equal!(ok!(look(poll)), []);
    ok!(calls::write(writer, b"ab"));
    // As long as there is something, it is told of, with all of the data.
    equal!(ok!(look(poll)), [(IN, u64::MAX - 5)]);
    ok!(calls::read(reader, &mut [0]));
    equal!(ok!(look(poll)), [(IN, u64::MAX - 5)]);
    ok!(calls::read(reader, &mut [0]));
    equal!(ok!(look(poll)), []);
    // Only what was asked for.
    ok!(add(poll, writer, IN));
    equal!(ok!(look(poll)), []);
    Ok(())
}

fn edge() -> Outcome {
    let poll = ok!(create());
    let [reader, writer] = ok!(pipe());
    ok!(calls::write(writer, b"a"));
    ok!(add(poll, reader, IN | EDGE));
    // What is there at first is news; then only what comes.
    equal!(ok!(look(poll)), [(IN, reader as u64)]);
    equal!(ok!(look(poll)), []);
    ok!(calls::write(writer, b"b"));
    equal!(ok!(look(poll)), [(IN, reader as u64)]);
    equal!(ok!(look(poll)), []);
    // Reading is no news.
    ok!(calls::read(reader, &mut [0]));
    equal!(ok!(look(poll)), []);
    // What came and went is none either.
    ok!(calls::write(writer, b"c"));
    ok!(calls::read(reader, &mut [0; 8]));
    equal!(ok!(look(poll)), []);
    Ok(())
}

fn edge_of_counter() -> Outcome {
    let poll = ok!(create());
    let counter = ok!(counter());
    ok!(add(poll, counter, IN | EDGE));
    for _ in 0..3 {
        ok!(calls::write(counter, &1u64.to_ne_bytes()));
        equal!(ok!(look(poll)), [(IN, counter as u64)]);
        equal!(ok!(look(poll)), []);
    }
    ok!(control(poll, MODIFY, counter, IN | OUT | EDGE, 7));
    equal!(ok!(look(poll)), [(IN | OUT, 7)]);
    ok!(calls::read(counter, &mut [0; 8]));
    equal!(ok!(look(poll)), [(OUT, 7)]);
    equal!(ok!(look(poll)), []);
    Ok(())
}

/// A full pipe that gets room is news to its writer.
fn edge_of_writer() -> Outcome {
    let poll = ok!(create());
    let [reader, writer] = ok!(pipe());
    ok!(add(poll, writer, OUT | EDGE));
    equal!(ok!(look(poll)), [(OUT, writer as u64)]);
    equal!(ok!(look(poll)), []);
    let page = [1; 4096];
    while calls::write(writer, &page).is_ok() {}
    equal!(ok!(look(poll)), []);
    ok!(calls::read(reader, &mut [0; 8192]));
    equal!(ok!(look(poll)), [(OUT, writer as u64)]);
    equal!(ok!(look(poll)), []);
    Ok(())
}

fn once() -> Outcome {
    let poll = ok!(create());
    let [reader, writer] = ok!(pipe());
    ok!(add(poll, reader, IN | ONE_SHOT));
    ok!(calls::write(writer, b"a"));
    equal!(ok!(look(poll)), [(IN, reader as u64)]);
    ok!(calls::write(writer, b"b"));
    equal!(ok!(look(poll)), []);
    // It is still there, though: it can be asked for again.
    fails!(add(poll, reader, IN), EXIST);
    ok!(control(poll, MODIFY, reader, IN | ONE_SHOT, 5));
    equal!(ok!(look(poll)), [(IN, 5)]);
    equal!(ok!(look(poll)), []);
    // Not even the end is told of.
    ok!(calls::close(writer));
    equal!(ok!(look(poll)), []);
    Ok(())
}

fn modified() -> Outcome {
    let poll = ok!(create());
    let [reader, writer] = ok!(pipe());
    fails!(control(poll, MODIFY, reader, IN, 0), NOENT);
    ok!(calls::write(writer, b"a"));
    ok!(add(poll, reader, 0));
    equal!(ok!(look(poll)), []);
    ok!(control(poll, MODIFY, reader, IN, 1));
    equal!(ok!(look(poll)), [(IN, 1)]);
    // A change is news.
    ok!(control(poll, MODIFY, reader, IN | EDGE, 2));
    equal!(ok!(look(poll)), [(IN, 2)]);
    equal!(ok!(look(poll)), []);
    ok!(control(poll, MODIFY, reader, IN | EDGE, 3));
    equal!(ok!(look(poll)), [(IN, 3)]);
    Ok(())
}

fn removed() -> Outcome {
    let poll = ok!(create());
    let [reader, writer] = ok!(pipe());
    ok!(calls::write(writer, b"a"));
    ok!(add(poll, reader, IN));
    // No event is needed to take one out.
    ok!(raw(__NR_epoll_ctl as usize, [poll as usize, DELETE, reader as usize, 0, 0, 0]));
    equal!(ok!(look(poll)), []);
    fails!(control(poll, DELETE, reader, 0, 0), NOENT);
    ok!(add(poll, reader, IN));
    equal!(ok!(look(poll)).len(), 1);
    Ok(())
}

/// A file leaves the set when its last descriptor is closed.
fn closed() -> Outcome {
    let poll = ok!(create());
    let [reader, writer] = ok!(pipe());
    ok!(calls::write(writer, b"a"));
    ok!(add(poll, reader, IN));
    let other = ok!(calls::dup(reader));
    // The same file by another number is another member.
    ok!(add(poll, other, IN));
    equal!(ok!(look(poll)).len(), 2);
    ok!(calls::close(reader));
    equal!(ok!(look(poll)).len(), 2);
    ok!(calls::close(other));
    equal!(ok!(look(poll)), []);
    // The number may be another file's now.
    let [again, writer] = ok!(pipe());
    equal!(again, reader);
    ok!(add(poll, again, IN));
    equal!(ok!(look(poll)), []);
    ok!(calls::write(writer, b"a"));
    equal!(ok!(look(poll)), [(IN, again as u64)]);
    Ok(())
}

fn hang_up() -> Outcome {
    let poll = ok!(create());
    let [reader, writer] = ok!(pipe());
    // These are told of without being asked for.
    ok!(add(poll, reader, 0));
    ok!(calls::close(writer));
    equal!(ok!(look(poll)), [(HANG_UP, reader as u64)]);
    let [reader, writer] = ok!(pipe());
    ok!(add(poll, writer, EDGE));
    ok!(calls::close(reader));
    let found = ok!(look(poll));
    check!(found.contains(&(ERROR, writer as u64)), " {found:?}");
    Ok(())
}

fn closed_by_peer() -> Outcome {
    let mut ends = [0; 2];
    let address = ends.as_mut_ptr() as usize;
    ok!(raw(__NR_socketpair as usize, [1, 1, 0, address, 0, 0]));
    let poll = ok!(create());
    ok!(add(poll, ends[0], IN | OUT | PEER_CLOSED | EDGE));
    equal!(ok!(look(poll)), [(OUT, ends[0] as u64)]);
    equal!(ok!(look(poll)), []);
    ok!(calls::write(ends[1], b"a"));
    equal!(ok!(look(poll)), [(IN | OUT, ends[0] as u64)]);
    ok!(calls::close(ends[1]));
    let all = IN | OUT | PEER_CLOSED | HANG_UP;
    equal!(ok!(look(poll)), [(all, ends[0] as u64)]);
    Ok(())
}

/// With room for one event, all have their turn.
fn takes_turns() -> Outcome {
    let poll = ok!(create());
    let mut seen = Vec::new();
    for _ in 0..3 {
        let counter = ok!(counter());
        ok!(calls::write(counter, &1u64.to_ne_bytes()));
        ok!(add(poll, counter, IN));
    }
    for _ in 0..6 {
        let found = ok!(wait_for(poll, 1, 0));
        equal!(found.len(), 1);
        seen.push(found[0].1);
    }
    check!(seen[..3] == seen[3..], " {seen:?}");
    check!(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2], " {seen:?}");
    Ok(())
}

fn waits() -> Outcome {
    let poll = ok!(create());
    let [reader, writer] = ok!(pipe());
    ok!(add(poll, reader, IN | EDGE));
    let Some(pid) = ok!(sys::fork()) else {
        for byte in b"abc" {
            calls::pause_for(5);
            let _ = calls::write(writer, &[*byte]);
            // The next one when this one was read.
            while calls::poll(&mut [(reader, 1)], 0) != Ok(0) {
                calls::pause_for(1);
            }
        }
        sys::exit(0)
    };
    for expected in b"abc" {
        equal!(ok!(wait_for(poll, 8, -1)), [(IN, reader as u64)]);
        let mut byte = [0];
        ok!(calls::read(reader, &mut byte));
        equal!(byte[0], *expected);
    }
    equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    // What is added while it waits counts, too.
    let late = ok!(counter());
    ok!(calls::write(late, &1u64.to_ne_bytes()));
    let own = calls::getpid();
    let Some(pid) = ok!(sys::fork()) else {
        let waits = sleeps(&format!("{own}"));
        sys::exit(i32::from(waits.is_err() || add(poll, late, IN).is_err()))
    };
    equal!(ok!(wait_for(poll, 8, -1)), [(IN, late as u64)]);
    equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    Ok(())
}

fn times_out() -> Outcome {
    let poll = ok!(create());
    let [reader, _writer] = ok!(pipe());
    ok!(add(poll, reader, IN));
    let start = monotonic();
    equal!(ok!(wait_for(poll, 8, 20)), []);
    check!(monotonic() - start >= 20_000_000);
    Ok(())
}

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// A signal ends the wait, also one that only the wait lets through.
fn masked() -> Outcome {
    for number in [SIGALRM, SIGUSR1] {
        // SAFETY: the handler changes an atomic, no more.
        ok!(unsafe { signal::set_handler(number as i32, count as *const () as usize, 0, 0) });
    }
    let poll = ok!(create());
    let own = calls::getpid();
    let status = ok!(in_child(|| {
        calls::pause_for(5);
        i32::from(sys::kill(own, SIGUSR1 as i32).is_err())
    }));
    equal!(status.exited(), Some(0));
    equal!(SIGNALS.load(Ordering::Relaxed), 1);
    let Some(pid) = ok!(sys::fork()) else {
        let waits = sleeps(&format!("{own}"));
        sys::exit(i32::from(waits.is_err() || sys::kill(own, SIGUSR1 as i32).is_err()))
    };
    fails!(wait_for(poll, 8, -1), INTR);
    equal!(SIGNALS.load(Ordering::Relaxed), 2);
    equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    // Blocked but for the wait.
    ok!(signal::set_mask(0, 1 << (SIGALRM - 1)));
    ok!(sys::kill(own, SIGALRM as i32));
    equal!(SIGNALS.load(Ordering::Relaxed), 2);
    let (mut event, mask) = (epoll_event { events: 0, data: 0 }, 0u64);
    let (event, mask) = ((&raw mut event) as usize, (&raw const mask) as usize);
    let forever = -1i32 as usize;
    fails!(raw(__NR_epoll_pwait as usize, [poll as usize, event, 1, forever, mask, 8]), INTR);
    equal!(SIGNALS.load(Ordering::Relaxed), 3);
    Ok(())
}

fn nested() -> Outcome {
    let (outer, inner) = (ok!(create()), ok!(create()));
    let counter = ok!(counter());
    ok!(add(inner, counter, IN));
    ok!(add(outer, inner, IN));
    equal!(ok!(look(outer)), []);
    ok!(calls::write(counter, &1u64.to_ne_bytes()));
    equal!(ok!(look(outer)), [(IN, inner as u64)]);
    // To be asked is not to be told.
    equal!(ok!(look(outer)), [(IN, inner as u64)]);
    equal!(ok!(look(inner)), [(IN, counter as u64)]);
    ok!(calls::read(counter, &mut [0; 8]));
    equal!(ok!(look(outer)), []);
    // None is in itself, at whatever remove.
    fails!(add(outer, outer, IN), INVAL);
    fails!(add(inner, outer, IN), LOOP);
    Ok(())
}

fn watched_by_poll() -> Outcome {
    let poll = ok!(create());
    let counter = ok!(counter());
    ok!(add(poll, counter, IN));
    equal!(calls::poll(&mut [(poll, 1)], 0), Ok(0));
    let Some(pid) = ok!(sys::fork()) else {
        calls::pause_for(5);
        sys::exit(i32::from(calls::write(counter, &1u64.to_ne_bytes()).is_err()))
    };
    equal!(calls::poll(&mut [(poll, 1)], 60_000), Ok(1));
    equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    Ok(())
}

fn errors() -> Outcome {
    fails!(raw(__NR_epoll_create1 as usize, [1, 0, 0, 0, 0, 0]), INVAL);
    let poll = ok!(create());
    let [reader, writer] = ok!(pipe());
    fails!(add(poll, 900, IN), BADF);
    fails!(add(900, reader, IN), BADF);
    fails!(add(reader, writer, IN), INVAL);
    fails!(control(poll, 9, reader, IN, 0), INVAL);
    let null = [poll as usize, ADD, reader as usize, 0, 0, 0];
    fails!(raw(__NR_epoll_ctl as usize, null), FAULT);
    ok!(add(poll, reader, IN));
    fails!(add(poll, reader, IN), EXIST);
    // What is always ready cannot be waited for.
    ok!(calls::make(c"file", b"content"));
    for (path, flags) in [(c"file", O_RDWR), (c".", O_RDONLY), (c"/dev/null", O_RDWR)] {
        fails!(add(poll, ok!(calls::open(path, flags, 0)), IN), PERM);
    }
    // One waiter of several cannot be changed, nor be combined with everything.
    fails!(control(poll, MODIFY, reader, IN | EXCLUSIVE, 0), INVAL);
    fails!(add(poll, writer, OUT | EXCLUSIVE | ONE_SHOT), INVAL);
    ok!(add(poll, writer, OUT | EXCLUSIVE));
    fails!(control(poll, MODIFY, writer, OUT, 0), INVAL);

    for most in [0, -1] {
        fails!(wait_for(poll, most as usize, 0), INVAL);
    }
    fails!(wait_for(reader, 8, 0), INVAL);
    fails!(wait_for(900, 8, 0), BADF);
    // What cannot be delivered is not lost.
    ok!(control(poll, MODIFY, reader, IN | ONE_SHOT, 0));
    ok!(calls::close(writer));
    let nowhere = [poll as usize, 8, 8, 0, 0, 8];
    fails!(raw(__NR_epoll_pwait as usize, nowhere), FAULT);
    equal!(ok!(look(poll)), [(HANG_UP, 0)]);
    Ok(())
}

/// `epoll_pwait2` takes nanoseconds.
fn times_out_exactly() -> Outcome {
    let poll = ok!(create());
    let counter = ok!(raw(__NR_eventfd2 as usize, [0; 6])) as i32;
    ok!(add(poll, counter, IN));
    let mut event = epoll_event { events: 0, data: 0 };
    let mut wait = |time: &[i64; 2]| {
        let (room, time) = ((&raw mut event) as usize, time.as_ptr() as usize);
        raw(__NR_epoll_pwait2 as usize, [poll as usize, room, 1, time, 0, 8])
    };
    let start = monotonic();
    equal!(wait(&[0, 3_500_000]), Ok(0));
    check!(monotonic() - start >= 3_500_000);
    fails!(wait(&[0, 1_000_000_000]), INVAL);
    fails!(wait(&[-1, 0]), INVAL);
    equal!(calls::write(counter, &1u64.to_ne_bytes()), Ok(8));
    equal!(wait(&[50, 0]), Ok(1));
    let epoll_event { events, data } = event;
    equal!((events, data), (IN, counter as u64));
    fails!(raw(__NR_epoll_pwait2 as usize, [poll as usize, 8, 1, 0, 0, 8]), FAULT);
    Ok(())
}
