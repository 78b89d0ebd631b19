//! Waiting and being told: `pselect6`, event counters, interval timers.

use super::family;
use super::proc::sleeps;
use crate::calls::{self, in_child, monotonic, raw};
use crate::check::{Outcome, check, equal, fails, ok};
use alloc::format;
use core::sync::atomic::{AtomicUsize, Ordering};
use lemma_rt::Errno;
use lemma_rt::general::{
    __NR_eventfd2, __NR_getitimer, __NR_pselect6, __NR_setitimer, EFD_NONBLOCK, EFD_SEMAPHORE,
    SIGALRM, timespec,
};
use lemma_rt::signal;

family!("events":
    select_sets, select_time, select_errors, counter, counter_semaphore, counter_waits,
    counter_errors, timer_once, timer_repeats, timer_value, timer_of_child
);

/// `pselect6` without a mask.
fn select(
    count: usize,
    sets: [Option<&mut u64>; 3],
    time: Option<&timespec>,
) -> Result<usize, Errno> {
    let [read, write, except] =
        sets.map(|set| set.map_or(0, |set| core::ptr::from_mut(set) as usize));
    let time = time.map_or(0, |time| core::ptr::from_ref(time) as usize);
    raw(__NR_pselect6 as usize, [count, read, write, except, time, 0])
}

const AT_ONCE: timespec = timespec { tv_sec: 0, tv_nsec: 0 };

/// The descriptors of a pipe, low enough for one word of a set.
fn pipe() -> Result<[i32; 2], Errno> {
    let mut ends = [0; 2];
    calls::pipe2(&mut ends, 0)?;
    Ok(ends)
}

fn select_sets() -> Outcome {
    let [reader, writer] = ok!(pipe());
    let (mut read, mut write) = (1 << reader, 1 << writer);
    equal!(select(64, [Some(&mut read), Some(&mut write), None], Some(&AT_ONCE)), Ok(1));
    equal!((read, write), (0, 1 << writer));
    ok!(calls::write(writer, b"x"));
    read = 1 << reader;
    let mut except = 1 << reader;
    let count = select(64, [Some(&mut read), Some(&mut write), Some(&mut except)], None);
    equal!(count, Ok(2));
    equal!((read, write, except), (1 << reader, 1 << writer, 0));
    // What lies behind the count is not looked at, and stays.
    read = 1 << reader;
    equal!(select(reader as usize, [Some(&mut read), None, None], Some(&AT_ONCE)), Ok(0));
    // The end of a file can be read, too.
    ok!(calls::close(writer));
    ok!(calls::read(reader, &mut [0]));
    read = 1 << reader;
    equal!(select(64, [Some(&mut read), None, None], None), Ok(1));
    Ok(())
}

fn select_time() -> Outcome {
    let [reader, _writer] = ok!(pipe());
    let mut read = 1 << reader;
    let start = monotonic();
    let time = timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    equal!(select(64, [Some(&mut read), None, None], Some(&time)), Ok(0));
    equal!(read, 0);
    check!(monotonic() - start >= 20_000_000);
    // No sets at all: it sleeps.
    let start = monotonic();
    let time = timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    equal!(select(0, [None, None, None], Some(&time)), Ok(0));
    check!(monotonic() - start >= 5_000_000);
    Ok(())
}

fn select_errors() -> Outcome {
    let mut read = 1 << 50;
    fails!(select(64, [Some(&mut read), None, None], Some(&AT_ONCE)), BADF);
    fails!(select(usize::MAX, [None, None, None], Some(&AT_ONCE)), INVAL);
    let wrong = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    fails!(select(0, [None, None, None], Some(&wrong)), INVAL);
    fails!(raw(__NR_pselect6 as usize, [64, 1, 0, 0, 0, 0]), FAULT);
    Ok(())
}

fn eventfd(count: usize, flags: u32) -> Result<i32, Errno> {
    raw(__NR_eventfd2 as usize, [count, flags as usize, 0, 0, 0, 0]).map(|fd| fd as i32)
}

fn take(fd: i32) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    calls::read(fd, &mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn add(fd: i32, value: u64) -> Result<usize, Errno> {
    calls::write(fd, &value.to_ne_bytes())
}

fn counter() -> Outcome {
    let fd = ok!(eventfd(3, EFD_NONBLOCK));
    equal!(calls::poll(&mut [(fd, 5)], 0), Ok(1));
    equal!(take(fd), Ok(3));
    fails!(take(fd), AGAIN);
    equal!(add(fd, 4), Ok(8));
    equal!(add(fd, 5), Ok(8));
    equal!(take(fd), Ok(9));
    equal!(add(fd, u64::MAX - 1), Ok(8));
    fails!(add(fd, 1), AGAIN);
    equal!(take(fd), Ok(u64::MAX - 1));
    Ok(())
}

fn counter_semaphore() -> Outcome {
    let fd = ok!(eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE));
    equal!(take(fd), Ok(1));
    equal!(take(fd), Ok(1));
    fails!(take(fd), AGAIN);
    Ok(())
}

fn counter_waits() -> Outcome {
    let fd = ok!(eventfd(0, 0));
    let status = ok!(in_child(|| match lemma_rt::sys::fork() {
        Ok(None) => {
            let waits = calls::getppid().is_ok_and(|pid| sleeps(&format!("{pid}")).is_ok());
            i32::from(!waits || add(fd, 7) != Ok(8))
        }
        Ok(Some(pid)) => {
            let taken = take(fd);
            let other = lemma_rt::sys::wait_for(pid);
            i32::from(taken != Ok(7) || other.is_ok_and(|status| status.exited() != Some(0)))
        }
        Err(_) => 2,
    }));
    equal!(status.exited(), Some(0));
    Ok(())
}

fn counter_errors() -> Outcome {
    fails!(eventfd(0, 2), INVAL);
    let fd = ok!(eventfd(1, 0));
    fails!(calls::read(fd, &mut [0; 7]), INVAL);
    fails!(calls::write(fd, &[0; 7]), INVAL);
    fails!(add(fd, u64::MAX), INVAL);
    Ok(())
}

static ALARMS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: i32) {
    ALARMS.fetch_add(1, Ordering::Relaxed);
}

fn handle_alarms() -> Result<(), Errno> {
    // SAFETY: the handler changes an atomic, no more.
    unsafe { signal::set_handler(SIGALRM as i32, count as *const () as usize, 0, 0) }
}

/// Sets the timer to expire after `first` microseconds and then every `period`; what it was.
fn set_timer(first: u64, period: u64) -> Result<[u64; 4], Errno> {
    let new = [0, period, 0, first];
    let mut old = [0; 4];
    let (new, old_address) = (new.as_ptr() as usize, old.as_mut_ptr() as usize);
    raw(__NR_setitimer as usize, [0, new, old_address, 0, 0, 0])?;
    Ok(old)
}

fn timer_once() -> Outcome {
    ok!(handle_alarms());
    // It is let through by the wait, however late that is.
    ok!(signal::set_mask(0, 1 << (SIGALRM - 1)));
    let start = monotonic();
    equal!(set_timer(10_000, 0), Ok([0; 4]));
    let mut left = timespec { tv_sec: 100, tv_nsec: 0 };
    fails!(calls::ppoll(&mut [], Some(&mut left), Some(0)), INTR);
    check!(monotonic() - start >= 10_000_000);
    equal!(ALARMS.load(Ordering::Relaxed), 1);
    equal!(set_timer(0, 0), Ok([0; 4]));
    Ok(())
}

fn timer_repeats() -> Outcome {
    ok!(handle_alarms());
    ok!(set_timer(1000, 2000));
    while ALARMS.load(Ordering::Relaxed) < 5 {
        calls::pause_for(1);
    }
    let [_, period, ..] = ok!(set_timer(0, 0));
    equal!(period, 2000);
    Ok(())
}

/// Sets the timer to expire in 1000.9 seconds, long after the test.
fn set_long_timer(period: u64) -> Result<usize, Errno> {
    let new = [0, period, 1000, 900_000];
    raw(__NR_setitimer as usize, [0, new.as_ptr() as usize, 0, 0, 0, 0])
}

fn timer_value() -> Outcome {
    let start = monotonic();
    ok!(set_long_timer(7));
    let mut value = [0u64; 4];
    ok!(raw(__NR_getitimer as usize, [0, value.as_mut_ptr() as usize, 0, 0, 0, 0]));
    let [_, period, seconds, left] = value;
    equal!(period, 7);
    let (left, elapsed) = (seconds * 1_000_000 + left, (monotonic() - start).div_ceil(1000));
    check!((1_000_900_000 - elapsed..=1_000_900_000).contains(&left), " {left} after {elapsed}");
    // Without a new value it ends.
    ok!(raw(__NR_setitimer as usize, [0; 6]));
    equal!(set_timer(0, 0), Ok([0, 0, 0, 0]));
    fails!(set_timer(1_000_000, 0), INVAL);
    fails!(raw(__NR_getitimer as usize, [3, value.as_mut_ptr() as usize, 0, 0, 0, 0]), INVAL);
    fails!(raw(__NR_getitimer as usize, [0, 1, 0, 0, 0, 0]), FAULT);
    Ok(())
}

/// A timer is the process's own.
fn timer_of_child() -> Outcome {
    ok!(set_long_timer(0));
    let status = ok!(in_child(|| i32::from(set_timer(0, 0) != Ok([0; 4]))));
    equal!(status.exited(), Some(0));
    let status = ok!(in_child(|| {
        // By default the signal ends the process.
        let _ = signal::reset(SIGALRM as i32);
        let _ = set_timer(1000, 0);
        calls::pause_for(10_000);
        0
    }));
    equal!(status.signaled(), Some(SIGALRM as i32));
    ok!(set_timer(0, 0));
    Ok(())
}
