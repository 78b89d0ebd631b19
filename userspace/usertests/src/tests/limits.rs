//! What a process may use, what it has used, and how it is scheduled.

use super::family;
use crate::calls::{self, in_child, raw};
use crate::check::{Outcome, check, equal, fails, ok};
use lemma_rt::Errno;
use lemma_rt::general::{
    __NR_getrlimit, __NR_getrusage, __NR_prlimit64, __NR_sched_get_priority_min,
    __NR_sched_getparam, __NR_sched_setscheduler, __NR_setrlimit, __NR_times,
    CLOCK_PROCESS_CPUTIME_ID, timespec,
};

family!("limits": limits, limit_errors, usage, ticks, policies);

const STACK: usize = 3;
const FILES: usize = 7;

/// A resource's soft and hard limit.
fn limit(resource: usize) -> lemma_rt::Result<[u64; 2]> {
    let mut limit = [0u64; 2];
    raw(__NR_getrlimit as usize, [resource, limit.as_mut_ptr() as usize, 0, 0, 0, 0])?;
    // SAFETY: the array lives; the kernel has written into it.
    Ok(unsafe { limit.as_ptr().cast::<[u64; 2]>().read_volatile() })
}

fn set(resource: usize, limit: [u64; 2]) -> lemma_rt::Result<usize> {
    raw(__NR_setrlimit as usize, [resource, limit.as_ptr() as usize, 0, 0, 0, 0])
}

fn limits() -> Outcome {
    for resource in 0..16 {
        let [soft, hard] = ok!(limit(resource));
        check!(soft <= hard, " {soft} over {hard} of resource {resource}");
        let mut again = [0u64; 2];
        let room = again.as_mut_ptr() as usize;
        for pid in [0, calls::getpid() as usize] {
            ok!(raw(__NR_prlimit64 as usize, [pid, resource, 0, room, 0, 0]));
            equal!(again, [soft, hard]);
        }
        // To what it is.
        ok!(set(resource, [soft, hard]));
    }
    check!(ok!(limit(STACK))[0] >= 1 << 16 && ok!(limit(FILES))[0] >= 64);
    // As many descriptors as that, and no more.
    let [most, _] = ok!(limit(FILES));
    fails!(calls::dup3(0, most as i32, 0), BADF);
    ok!(calls::dup3(0, most as i32 - 1, 0));
    Ok(())
}

fn limit_errors() -> Outcome {
    fails!(limit(99), INVAL);
    fails!(set(99, [0; 2]), INVAL);
    fails!(set(FILES, [2, 1]), INVAL);
    fails!(raw(__NR_getrlimit as usize, [FILES, 8, 0, 0, 0, 0]), FAULT);
    fails!(raw(__NR_setrlimit as usize, [FILES, 8, 0, 0, 0, 0]), FAULT);
    fails!(raw(__NR_prlimit64 as usize, [0, FILES, 8, 0, 0, 0]), FAULT);
    fails!(raw(__NR_prlimit64 as usize, [4_000_000, FILES, 0, 0, 0, 0]), SRCH);
    Ok(())
}

/// Microseconds of user and system time, as `getrusage` tells them.
fn used(who: isize) -> lemma_rt::Result<i64> {
    let mut usage = [0i64; 18];
    raw(__NR_getrusage as usize, [who as usize, usage.as_mut_ptr() as usize, 0, 0, 0, 0])?;
    // SAFETY: the array lives; the kernel has written into it.
    let [seconds, rest, more, most, ..] =
        unsafe { usage.as_ptr().cast::<[i64; 18]>().read_volatile() };
    Ok((seconds + more) * 1_000_000 + rest + most)
}

/// Works for so many milliseconds of this process's time.
fn work(milliseconds: i64) -> i32 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    let mut now = || match calls::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mut time) {
        Ok(_) => time.tv_sec * 1_000_000_000 + time.tv_nsec,
        Err(_) => i64::MAX,
    };
    let end = now() + milliseconds * 1_000_000;
    while now() < end {}
    0
}

fn usage() -> Outcome {
    const OWN: isize = 0;
    const CHILDREN: isize = -1;
    const THREAD: isize = 1;
    let before = ok!(used(OWN));
    work(60);
    let grown = ok!(used(OWN)) - before;
    // Some kernels count whole ticks.
    check!(grown >= 40_000, " 60 ms became {grown} us");
    check!(ok!(used(THREAD)) > 0);
    let before = ok!(used(CHILDREN));
    ok!(in_child(|| work(60)));
    let grown = ok!(used(CHILDREN)) - before;
    check!(grown >= 40_000, " 60 ms of a child became {grown} us");
    fails!(used(5), INVAL);
    fails!(raw(__NR_getrusage as usize, [0, 8, 0, 0, 0, 0]), FAULT);
    Ok(())
}

fn ticks() -> Outcome {
    let mut ticks = [0i64; 4];
    let room = ticks.as_mut_ptr() as usize;
    let first = ok!(raw(__NR_times as usize, [room, 0, 0, 0, 0, 0]));
    work(60);
    ok!(in_child(|| work(60)));
    let second = ok!(raw(__NR_times as usize, [room, 0, 0, 0, 0, 0]));
    // A hundred in a second.
    check!(second - first >= 11, " {first}, then {second}");
    // SAFETY: the array lives; the kernel has written into it.
    let [user, system, child_user, child_system] =
        unsafe { ticks.as_ptr().cast::<[i64; 4]>().read_volatile() };
    check!(user + system >= 4 && child_user + child_system >= 4, " {ticks:?}");
    ok!(raw(__NR_times as usize, [0; 6]));
    fails!(raw(__NR_times as usize, [8, 0, 0, 0, 0, 0]), FAULT);
    Ok(())
}

fn policies() -> Outcome {
    const OTHER: usize = 0;
    const FIRST_IN_FIRST_OUT: usize = 1;
    let lowest = |policy: usize| raw(__NR_sched_get_priority_min as usize, [policy, 0, 0, 0, 0, 0]);
    equal!(lowest(OTHER), Ok(0));
    equal!(lowest(FIRST_IN_FIRST_OUT), Ok(1));
    fails!(lowest(99), INVAL);
    let set = |tid: usize, policy: usize, priority: &u32| {
        let priority = core::ptr::from_ref(priority) as usize;
        raw(__NR_sched_setscheduler as usize, [tid, policy, priority, 0, 0, 0])
    };
    equal!(set(0, OTHER, &0), Ok(0));
    fails!(set(0, OTHER, &1), INVAL);
    fails!(set(0, 99, &0), INVAL);
    fails!(set(usize::MAX, OTHER, &0), INVAL);
    fails!(set(4_000_000, OTHER, &0), SRCH);
    fails!(raw(__NR_sched_setscheduler as usize, [0, OTHER, 8, 0, 0, 0]), FAULT);
    let mut priority = u32::MAX;
    let room = (&raw mut priority) as usize;
    ok!(raw(__NR_sched_getparam as usize, [0, room, 0, 0, 0, 0]));
    equal!(priority, 0);
    fails!(raw(__NR_sched_getparam as usize, [0, 8, 0, 0, 0, 0]), FAULT);
    fails!(raw(__NR_sched_getparam as usize, [4_000_000, room, 0, 0, 0, 0]), SRCH);
    // Real time is not for everybody.
    let status = ok!(in_child(|| {
        let changed = calls::getuid() != Ok(0) || calls::setuid(1000).is_ok();
        i32::from(!changed || set(0, FIRST_IN_FIRST_OUT, &1) != Err(Errno::PERM))
    }));
    equal!(status.exited(), Some(0));
    Ok(())
}
