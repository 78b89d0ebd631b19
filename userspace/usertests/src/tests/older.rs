//! System calls that only x86_64 has: the older ones, instead of which later architectures have
//! others, and `arch_prctl`.

use super::family;
use crate::calls::{self, make, raw, stat_of};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use core::ffi::CStr;
use core::sync::atomic::{AtomicUsize, Ordering};
use lemma_rt::general::{
    __NR_alarm, __NR_arch_prctl, __NR_chmod, __NR_chown, __NR_creat, __NR_epoll_create,
    __NR_epoll_ctl, __NR_epoll_wait, __NR_eventfd, __NR_fork, __NR_getpgrp, __NR_lchown, __NR_link,
    __NR_mknod, __NR_pause, __NR_renameat, __NR_select, __NR_setitimer, __NR_symlink, __NR_time,
    __NR_vfork, AT_FDCWD, CLOCK_REALTIME, SIGALRM, epoll_event, timespec,
};
use lemma_rt::{Result, signal, sys};

family!("older":
    names, modes, owners, counters, event_polls, selects, alarms, pauses, clock, groups, children,
    thread_pointers
);

fn text(path: &CStr) -> usize {
    path.as_ptr() as usize
}

fn call(number: u32, one: usize, two: usize, three: usize) -> Result<usize> {
    raw(number as usize, [one, two, three, 0, 0, 0])
}

fn names() -> Outcome {
    let fd = ok!(call(__NR_creat, text(c"a"), 0o640, 0)) as i32;
    equal!(ok!(stat_of(c"a")).st_mode, 0o100_640);
    equal!(calls::write(fd, b"hello"), Ok(5));
    // For writing only.
    fails!(calls::read(fd, &mut [0; 1]), BADF);
    ok!(call(__NR_link, text(c"a"), text(c"b"), 0));
    equal!(ok!(stat_of(c"a")).st_nlink, 2);
    fails!(call(__NR_link, text(c"a"), text(c"b"), 0), EXIST);
    ok!(call(__NR_symlink, text(c"b"), text(c"l"), 0));
    equal!(ok!(calls::content(c"l")), b"hello");
    let here = AT_FDCWD as usize;
    ok!(raw(__NR_renameat as usize, [here, text(c"b"), here, text(c"c"), 0, 0]));
    fails!(stat_of(c"b"), NOENT);
    equal!(ok!(calls::content(c"c")), b"hello");
    fails!(raw(__NR_renameat as usize, [here, text(c"b"), here, text(c"c"), 0, 0]), NOENT);
    // It empties what is there, and leaves the mode.
    ok!(call(__NR_creat, text(c"c"), 0o777, 0));
    let stat = ok!(stat_of(c"a"));
    equal!((stat.st_size, stat.st_mode), (0, 0o100_640));
    fails!(call(__NR_creat, text(c"."), 0o777, 0), ISDIR);
    ok!(call(__NR_mknod, text(c"p"), 0o010_640, 0));
    equal!(ok!(stat_of(c"p")).st_mode, 0o010_640);
    fails!(call(__NR_mknod, text(c"p"), 0o010_640, 0), EXIST);
    Ok(())
}

fn modes() -> Outcome {
    ok!(make(c"a", b""));
    ok!(call(__NR_chmod, text(c"a"), 0o604, 0));
    equal!(ok!(stat_of(c"a")).st_mode, 0o100_604);
    fails!(call(__NR_chmod, text(c"missing"), 0, 0), NOENT);
    fails!(call(__NR_chmod, 8, 0, 0), FAULT);
    Ok(())
}

fn owners() -> Outcome {
    if calls::getuid() != Ok(0) {
        skip!("needs the superuser");
    }
    ok!(make(c"a", b""));
    ok!(calls::symlink(c"a", c"l"));
    ok!(call(__NR_chown, text(c"l"), 7, 8));
    ok!(call(__NR_lchown, text(c"l"), 9, 10));
    let (file, link) = (ok!(stat_of(c"a")), ok!(calls::lstat(c"l")));
    equal!((file.st_uid, file.st_gid), (7, 8));
    equal!((link.st_uid, link.st_gid), (9, 10));
    fails!(call(__NR_chown, text(c"missing"), 7, 8), NOENT);
    fails!(call(__NR_lchown, text(c"missing"), 7, 8), NOENT);
    Ok(())
}

fn counters() -> Outcome {
    let fd = ok!(call(__NR_eventfd, 3, 0, 0)) as i32;
    let mut count = [0; 8];
    equal!(calls::read(fd, &mut count), Ok(8));
    equal!(u64::from_ne_bytes(count), 3);
    Ok(())
}

fn event_polls() -> Outcome {
    const IN: u32 = 1;
    const ADD: usize = 1;
    fails!(call(__NR_epoll_create, 0, 0, 0), INVAL);
    let poll = ok!(call(__NR_epoll_create, 1, 0, 0));
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    let event = epoll_event { events: IN, data: 42 };
    let at = (&raw const event) as usize;
    ok!(raw(__NR_epoll_ctl as usize, [poll, ADD, ends[0] as usize, at, 0, 0]));
    let mut found = [epoll_event { events: 0, data: 0 }; 4];
    let room = found.as_mut_ptr() as usize;
    equal!(raw(__NR_epoll_wait as usize, [poll, room, 4, 0, 0, 0]), Ok(0));
    equal!(calls::write(ends[1], b"x"), Ok(1));
    equal!(raw(__NR_epoll_wait as usize, [poll, room, 4, usize::MAX, 0, 0]), Ok(1));
    let [epoll_event { events, data }, ..] = found;
    equal!((events, data), (IN, 42));
    fails!(raw(__NR_epoll_wait as usize, [poll, room, 0, 0, 0, 0]), INVAL);
    fails!(raw(__NR_epoll_wait as usize, [poll, 8, 4, 0, 0, 0]), FAULT);
    Ok(())
}

fn selects() -> Outcome {
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    let bit = 1u64 << ends[0];
    let select = |set: &mut [u64; 16], time: &mut [i64; 2]| {
        let (set, time) = (set.as_mut_ptr() as usize, time.as_mut_ptr() as usize);
        raw(__NR_select as usize, [ends[0] as usize + 1, set, 0, 0, time, 0])
    };
    let mut set = [0; 16];
    set[0] = bit;
    let before = calls::monotonic();
    equal!(select(&mut set, &mut [0, 20_000]), Ok(0));
    check!(calls::monotonic() - before >= 20_000_000);
    equal!(set[0], 0);
    equal!(calls::write(ends[1], b"x"), Ok(1));
    set[0] = bit;
    let mut time = [50, 0];
    equal!(select(&mut set, &mut time), Ok(1));
    equal!(set[0], bit);
    // What was left of the time.
    check!(time[0] >= 40 && time[0] < 50, " {time:?}");
    fails!(select(&mut set, &mut [-1, 0]), INVAL);
    Ok(())
}

static ALARMS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: i32) {
    ALARMS.fetch_add(1, Ordering::Relaxed);
}

fn count_alarms() -> Result<()> {
    // SAFETY: the handler changes an atomic.
    unsafe { signal::set_handler(SIGALRM as i32, count as *const () as usize, 0, 0) }
}

fn alarms() -> Outcome {
    ok!(count_alarms());
    let start = calls::monotonic();
    equal!(call(__NR_alarm, 100, 0, 0), Ok(0));
    // The seconds that were left, to the nearest; the last one counts.
    let before = calls::monotonic();
    let left = ok!(call(__NR_alarm, 1, 0, 0)) as u64 * 1_000_000_000;
    let elapsed = calls::monotonic() - start;
    check!(
        (100_000_000_000 - elapsed..=100_500_000_000).contains(&(left + 500_000_000)),
        " {left}"
    );
    while ALARMS.load(Ordering::Relaxed) == 0 {
        calls::pause_for(10);
    }
    check!(calls::monotonic() - before >= 1_000_000_000);
    equal!(call(__NR_alarm, 0, 0, 0), Ok(0));
    // Taken back.
    ok!(call(__NR_alarm, 1, 0, 0));
    let left = ok!(call(__NR_alarm, 0, 0, 0));
    // Unless it has come before, on a slow machine.
    let before = ALARMS.load(Ordering::Relaxed);
    check!(left == 1 || before == 2, " {left}");
    calls::pause_for(1100);
    equal!(ALARMS.load(Ordering::Relaxed), before);
    Ok(())
}

/// The same signal, without a second's wait; again and again, as the first may come too early.
fn alarm_in_a_moment() -> Result<usize> {
    // Seconds and microseconds: from one to the next, and until the first.
    let timer = [0usize, 20_000, 0, 20_000];
    call(__NR_setitimer, 0, timer.as_ptr() as usize, 0)
}

/// Until a handler has run.
fn pauses() -> Outcome {
    ok!(count_alarms());
    ok!(alarm_in_a_moment());
    fails!(call(__NR_pause, 0, 0, 0), INTR);
    check!(ALARMS.load(Ordering::Relaxed) > 0);
    equal!(call(__NR_alarm, 0, 0, 0).map(|left| left <= 1), Ok(true));
    // Without a handler it ends the process.
    let status = ok!(calls::in_child(|| {
        let ready = signal::reset(SIGALRM as i32).is_ok() && alarm_in_a_moment().is_ok();
        let _ = call(__NR_pause, 0, 0, 0);
        i32::from(ready)
    }));
    equal!(status.signaled(), Some(SIGALRM as i32));
    Ok(())
}

fn clock() -> Outcome {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    ok!(calls::clock_gettime(CLOCK_REALTIME, &mut time));
    let mut stored = 0i64;
    let now = ok!(call(__NR_time, (&raw mut stored) as usize, 0, 0)) as i64;
    equal!(stored, now);
    check!((now - time.tv_sec).abs() <= 1, " {now}, not {}", time.tv_sec);
    ok!(call(__NR_time, 0, 0, 0));
    fails!(call(__NR_time, 8, 0, 0), FAULT);
    Ok(())
}

fn groups() -> Outcome {
    equal!(call(__NR_getpgrp, 0, 0, 0).map(|group| group as i32), calls::getpgid(0));
    let status = ok!(calls::in_child(|| {
        let own = calls::getpid();
        let moved = calls::setpgid(0, 0).is_ok();
        i32::from(!moved || call(__NR_getpgrp, 0, 0, 0) != Ok(own as usize))
    }));
    equal!(status.exited(), Some(0));
    Ok(())
}

fn children() -> Outcome {
    match ok!(call(__NR_fork, 0, 0, 0)) {
        0 => sys::exit(6),
        pid => equal!(ok!(sys::wait_for(pid as i32)).exited(), Some(6)),
    }
    let before = calls::monotonic();
    let pid = ok!(borrowing_child());
    // Its parent waits until it has ended.
    check!(calls::monotonic() - before >= 20_000_000);
    equal!(ok!(sys::wait_for(pid)).exited(), Some(7));
    Ok(())
}

/// A child of `vfork`, on the stack of its parent, that sleeps for 20 ms.
#[inline(never)]
fn borrowing_child() -> Result<i32> {
    let time = timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    // SAFETY: the child changes nothing of its parent's: it makes two calls.
    match unsafe { lemma_rt::syscall!(__NR_vfork) } {
        Ok(0) => {
            let _ = raw(
                lemma_rt::general::__NR_nanosleep as usize,
                [(&raw const time) as usize, 0, 0, 0, 0, 0],
            );
            sys::exit(7)
        }
        result => result.map(|pid| pid as i32),
    }
}

fn thread_pointers() -> Outcome {
    const SET_GS: usize = 0x1001;
    const SET_FS: usize = 0x1002;
    const GET_FS: usize = 0x1003;
    const GET_GS: usize = 0x1004;
    for (set, get) in [(SET_FS, GET_FS), (SET_GS, GET_GS)] {
        let mut found = 0usize;
        let room = (&raw mut found) as usize;
        match call(__NR_arch_prctl, set, 0x1234_5678, 0) {
            // Older CPUs do not let users have the second one.
            Err(lemma_rt::Errno::INVAL) if set == SET_GS => continue,
            result => ok!(result),
        };
        ok!(call(__NR_arch_prctl, get, room, 0));
        equal!(found, 0x1234_5678);
        // Where no user has memory.
        fails!(call(__NR_arch_prctl, set, 1 << 63, 0), PERM);
        ok!(call(__NR_arch_prctl, set, 0, 0));
        fails!(call(__NR_arch_prctl, get, 8, 0), FAULT);
    }
    fails!(call(__NR_arch_prctl, 0x1006, 0, 0), INVAL);
    Ok(())
}
