//! Threads on `clone`, and futexes.

use super::{family, proc};
use crate::calls::{self, in_child};
use crate::check::{Outcome, check, equal, fails, ok};
use alloc::format;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use lemma_rt::general::{__NR_clone, __NR_futex, __NR_gettid, SIGUSR1, timespec};
use lemma_rt::thread::{futex_wait, futex_wake, spawn};
use lemma_rt::{Errno, signal, sys, syscall};

family!("threads":
    share_memory, identities, ping_pong, share_descriptors, futex_errors, futex_timeout,
    futex_wakes_counted, shared_futex, exit_group_ends_all, exec_ends_others, clone_errors, mutex,
    requeued, timed_wait_interrupted, other_memory, signals_passed_on, siblings
);

static COUNTER: AtomicUsize = AtomicUsize::new(0);
static WORD: AtomicU32 = AtomicU32::new(0);
static REPLY: AtomicU32 = AtomicU32::new(0);
/// The threads that wait, by their numbers.
static WAITERS: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

extern "C" fn add(amount: usize) {
    for _ in 0..1000 {
        COUNTER.fetch_add(amount, Ordering::Relaxed);
    }
}

fn share_memory() -> Outcome {
    let mut threads = alloc::vec::Vec::new();
    for amount in 1..=8 {
        threads.push(ok!(spawn(add, amount)));
    }
    for thread in threads {
        thread.join();
    }
    equal!(COUNTER.load(Ordering::Relaxed), 36_000);
    // One after another, as often as one likes.
    for _ in 0..100 {
        ok!(spawn(add, 0)).join();
    }
    Ok(())
}

extern "C" fn identify(_: usize) {
    // SAFETY: touches no memory.
    let tid = unsafe { lemma_rt::syscall!(__NR_gettid) }.unwrap_or(0);
    COUNTER.store(tid, Ordering::Relaxed);
    REPLY.store(calls::getpid() as u32, Ordering::Relaxed);
}

fn identities() -> Outcome {
    ok!(spawn(identify, 0)).join();
    let me = calls::getpid();
    equal!(REPLY.load(Ordering::Relaxed), me as u32);
    check!(COUNTER.load(Ordering::Relaxed) != me as usize);
    Ok(())
}

extern "C" fn pong(rounds: usize) {
    for round in 0..rounds as u32 {
        futex_wait(&WORD, round);
        REPLY.store(round + 1, Ordering::Release);
        futex_wake(&REPLY, 1);
    }
}

fn ping_pong() -> Outcome {
    let thread = ok!(spawn(pong, 500));
    for round in 0..500 {
        WORD.store(round + 1, Ordering::Release);
        futex_wake(&WORD, 1);
        futex_wait(&REPLY, round);
    }
    thread.join();
    equal!(REPLY.load(Ordering::Relaxed), 500);
    Ok(())
}

extern "C" fn open_file(_: usize) {
    let fd = calls::open(c"a", lemma_rt::general::O_RDONLY, 0).unwrap_or(-1);
    COUNTER.store(fd as usize, Ordering::Relaxed);
    let _ = calls::chdir(c"d");
}

fn share_descriptors() -> Outcome {
    ok!(calls::make(c"a", b"x"));
    ok!(calls::mkdir(c"d", 0o755));
    ok!(spawn(open_file, 0)).join();
    let mut byte = [0];
    equal!(calls::read(COUNTER.load(Ordering::Relaxed) as i32, &mut byte), Ok(1));
    // The working directory is shared as well.
    ok!(calls::stat_of(c"../a"));
    Ok(())
}

fn futex(word: &AtomicU32, operation: usize, value: u32, fourth: usize) -> lemma_rt::Result<usize> {
    let arguments = [word.as_ptr() as usize, operation, value as usize, fourth, 0, 0];
    calls::raw(__NR_futex as usize, arguments)
}

fn futex_errors() -> Outcome {
    WORD.store(5, Ordering::Relaxed);
    fails!(futex(&WORD, 128, 6, 0), AGAIN);
    fails!(futex(&WORD, 99, 0, 0), NOSYS);
    fails!(calls::raw(__NR_futex as usize, [WORD.as_ptr() as usize + 1, 128, 0, 0, 0, 0]), INVAL);
    fails!(calls::raw(__NR_futex as usize, [8, 0, 0, 0, 0, 0]), FAULT);
    equal!(futex(&WORD, 129, 10, 0), Ok(0));
    Ok(())
}

fn futex_timeout() -> Outcome {
    let time = timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let before = calls::monotonic();
    fails!(futex(&WORD, 128, 0, (&raw const time) as usize), TIMEDOUT);
    check!(calls::monotonic() - before >= 50_000_000);
    let bad = timespec { tv_sec: 0, tv_nsec: -1 };
    fails!(futex(&WORD, 128, 0, (&raw const bad) as usize), INVAL);
    Ok(())
}

extern "C" fn sleeper(index: usize) {
    WAITERS[index].store(calls::gettid().unwrap_or(0) as u32, Ordering::Release);
    while futex(&WORD, 128, 0, 0) == Err(Errno::INTR) {}
    REPLY.fetch_add(1, Ordering::Relaxed);
}

fn futex_wakes_counted() -> Outcome {
    let mut threads = alloc::vec::Vec::new();
    for index in 0..WAITERS.len() {
        threads.push(ok!(spawn(sleeper, index)));
    }
    for waiter in &WAITERS {
        while waiter.load(Ordering::Acquire) == 0 {
            ok!(calls::sched_yield());
        }
        proc::sleeps(&format!("self/task/{}", waiter.load(Ordering::Acquire)))?;
    }
    equal!(futex_wake(&WORD, 1), 1);
    equal!(futex_wake(&WORD, 2), 2);
    equal!(futex_wake(&WORD, 10), 1);
    equal!(futex_wake(&WORD, 10), 0);
    for thread in threads {
        thread.join();
    }
    equal!(REPLY.load(Ordering::Relaxed), 4);
    Ok(())
}

/// Between processes, in shared memory.
fn shared_futex() -> Outcome {
    let page = ok!(calls::map_shared(4096));
    // SAFETY: mapped for as long as the process lives.
    let word = unsafe { &*(page as *const AtomicU32) };
    let me = calls::getpid();
    let Some(pid) = ok!(sys::fork()) else {
        let waits = proc::sleeps(&format!("{me}"));
        word.store(1, Ordering::Release);
        sys::exit(i32::from(waits.is_err() || futex(word, 1, 1, 0).is_err()))
    };
    while word.load(Ordering::Acquire) == 0 {
        let _ = futex(word, 0, 0, 0);
    }
    equal!(ok!(sys::wait_for(pid)).code(), 0);
    Ok(())
}

extern "C" fn sleep_long(_: usize) {
    calls::pause_for(60_000);
}

extern "C" fn end_all(_: usize) {
    sys::exit(23)
}

fn exit_group_ends_all() -> Outcome {
    let status = ok!(in_child(|| {
        let threads = [spawn(sleep_long, 0), spawn(sleep_long, 0), spawn(end_all, 0)];
        calls::pause_for(60_000);
        drop(threads);
        1
    }));
    equal!(status.exited(), Some(23));
    // The first thread may go before the others.
    extern "C" fn later(_: usize) {
        calls::pause_for(50);
        sys::exit(24)
    }
    let status = ok!(in_child(|| {
        let thread = spawn(later, 0);
        core::mem::forget(thread);
        let _ = calls::raw(lemma_rt::general::__NR_exit as usize, [1, 0, 0, 0, 0, 0]);
        2
    }));
    equal!(status.exited(), Some(24));
    Ok(())
}

static WAITER: AtomicU32 = AtomicU32::new(0);

extern "C" fn wait_at(address: usize) {
    WAITER.store(calls::gettid().unwrap_or(0) as u32, Ordering::Release);
    // SAFETY: mapped until this thread waits.
    let _ = futex(unsafe { &*(address as *const AtomicU32) }, 0, 0, 0);
    COUNTER.store(1, Ordering::Release);
}

/// A thread waits on shared memory that is then unmapped: a wake-up in other memory, mapped since,
/// is not for it.
fn other_memory() -> Outcome {
    let status = ok!(in_child(|| {
        for _ in 0..20 {
            COUNTER.store(0, Ordering::Relaxed);
            let Ok(page) = calls::map_shared(4096) else { return 1 };
            let Ok(thread) = spawn(wait_at, page) else { return 2 };
            core::mem::forget(thread);
            while WAITER.load(Ordering::Acquire) == 0 {
                calls::pause_for(1);
            }
            let waiter = format!("self/task/{}", WAITER.swap(0, Ordering::Relaxed));
            if proc::sleeps(&waiter).is_err() {
                return 6;
            }
            if calls::munmap(page, 4096).is_err() {
                return 3;
            }
            let Ok(page) = calls::map_shared(4096) else { return 4 };
            // SAFETY: mapped for as long as the process lives.
            let woken = futex(unsafe { &*(page as *const AtomicU32) }, 1, 10, 0);
            if woken != Ok(0) || COUNTER.load(Ordering::Acquire) != 0 {
                return 5;
            }
        }
        0
    }));
    equal!(status.exited(), Some(0));
    Ok(())
}

extern "C" fn handled(_: i32) {
    COUNTER.fetch_add(1, Ordering::Release);
}

extern "C" fn leave_at_once(_: usize) {
    let _ = signal::set_mask(2, 0);
    futex_wait(&WORD, 0);
}

extern "C" fn stay(before: usize) {
    let _ = signal::set_mask(2, 0);
    while COUNTER.load(Ordering::Acquire) == before {
        futex_wait(&REPLY, 0);
    }
}

/// A signal for the process, sent while the thread that would take it ends, is another thread's.
fn signals_passed_on() -> Outcome {
    COUNTER.store(0, Ordering::Relaxed);
    ok!(signal::set_mask(2, 1 << (SIGUSR1 - 1)));
    // SAFETY: the handler changes an atomic.
    ok!(unsafe { signal::set_handler(SIGUSR1 as i32, handled as *const () as usize, 0, 0) });
    for round in 0..200 {
        WORD.store(0, Ordering::Release);
        REPLY.store(0, Ordering::Release);
        let first = ok!(spawn(leave_at_once, 0));
        let second = ok!(spawn(stay, round));
        calls::pause_for(1);
        WORD.store(1, Ordering::Release);
        futex_wake(&WORD, 1);
        ok!(sys::kill(calls::getpid(), SIGUSR1 as i32));
        first.join();
        while COUNTER.load(Ordering::Acquire) == round {
            calls::pause_for(1);
        }
        equal!(COUNTER.load(Ordering::Acquire), round + 1);
        REPLY.store(1, Ordering::Release);
        futex_wake(&REPLY, 1);
        second.join();
    }
    Ok(())
}

fn exec_ends_others() -> Outcome {
    let path = lemma_rt::rustix::fs::readlink("/proc/self/exe", alloc::vec::Vec::new());
    let path = path.unwrap_or_else(|_| c"/bin/usertests".into());
    let status = ok!(in_child(|| {
        let thread = spawn(sleep_long, 0);
        calls::pause_for(20);
        let pid = alloc::ffi::CString::new(alloc::format!("{}", calls::getpid()));
        let words = [c"x".into(), c"--report".into(), c"pid".into(), pid.unwrap_or_default()];
        sys::execute(&path, &words, &[]);
        drop(thread);
        99
    }));
    equal!(status.code(), 0);
    Ok(())
}

fn clone_errors() -> Outcome {
    const THREAD: usize = 0x10000;
    const SIGHAND: usize = 0x800;
    const FS: usize = 0x200;
    const NEWNS: usize = 0x20000;
    let clone = |flags| calls::raw(__NR_clone as usize, [flags, 0, 0, 0, 0, 0]);
    fails!(clone(THREAD), INVAL);
    fails!(clone(SIGHAND), INVAL);
    fails!(clone(FS | NEWNS), INVAL);
    Ok(())
}

static LOCK: AtomicU32 = AtomicU32::new(0);

/// The classic futex mutex: 0 free, 1 taken, 2 taken and awaited.
extern "C" fn locked_adds(_: usize) {
    for _ in 0..2000 {
        if LOCK.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            while LOCK.swap(2, Ordering::Acquire) != 0 {
                futex_wait(&LOCK, 2);
            }
        }
        let value = COUNTER.load(Ordering::Relaxed);
        core::hint::black_box(value);
        COUNTER.store(value + 1, Ordering::Relaxed);
        if LOCK.swap(0, Ordering::Release) == 2 {
            futex_wake(&LOCK, 1);
        }
    }
}

fn mutex() -> Outcome {
    let mut threads = alloc::vec::Vec::new();
    for _ in 0..4 {
        threads.push(ok!(spawn(locked_adds, 0)));
    }
    for thread in threads {
        thread.join();
    }
    equal!(COUNTER.load(Ordering::Relaxed), 8000);
    Ok(())
}

/// Waits for `REPLY`, up to so many milliseconds, and keeps how that ended in `COUNTER`: 0 is a
/// wake-up.
extern "C" fn wait_for_reply(milliseconds: usize) {
    let (seconds, rest) = ((milliseconds / 1000) as i64, (milliseconds % 1000) as i64);
    let limit = timespec { tv_sec: seconds, tv_nsec: rest * 1_000_000 };
    // SAFETY: the kernel reads a word and a time.
    let result = unsafe { syscall!(__NR_futex, &raw const REPLY, 128, 0, &raw const limit) };
    let code = result.map_or_else(|error| error.raw_os_error() as usize, |_| 0);
    COUNTER.store(code, Ordering::Release);
}

fn requeued() -> Outcome {
    const REQUEUE: usize = 3 | 128;
    const CMP_REQUEUE: usize = 4 | 128;
    COUNTER.store(usize::MAX, Ordering::Relaxed);
    let requeue = |command: usize| {
        // SAFETY: the kernel reads a word; the other is only named.
        unsafe { syscall!(__NR_futex, &raw const REPLY, command, 0, 1, &raw const WORD, 0) }
    };
    // Who has been moved to another word still runs out of time.
    let thread = ok!(spawn(wait_for_reply, 500));
    // On a slow machine its time may be over before it is found.
    while ok!(requeue(CMP_REQUEUE)) == 0 && COUNTER.load(Ordering::Acquire) == usize::MAX {
        calls::pause_for(1);
    }
    thread.join();
    equal!(COUNTER.load(Ordering::Acquire), Errno::TIMEDOUT.raw_os_error() as usize);
    // It has left the other word: a wake-up there finds nobody.
    equal!(futex_wake(&WORD, 1), 0);
    // And who is woken at the word that it was moved to, wakes. Who is moved counts, though
    // `futex(2)` says otherwise of this command.
    let thread = ok!(spawn(wait_for_reply, 60_000));
    while ok!(requeue(REQUEUE)) == 0 {
        equal!(futex_wake(&WORD, 1), 0);
        calls::pause_for(1);
    }
    equal!(futex_wake(&REPLY, 1), 0);
    equal!(futex_wake(&WORD, 1), 1);
    thread.join();
    equal!(COUNTER.load(Ordering::Acquire), 0);
    Ok(())
}

extern "C" fn count_signal(_: i32) {
    COUNTER.fetch_add(1, Ordering::Relaxed);
}

/// A wait with a time is not made again after a handler, not even with `SA_RESTART`.
fn timed_wait_interrupted() -> Outcome {
    const WAIT_BITSET: usize = 9;
    let handler = count_signal as *const () as usize;
    let flags = lemma_rt::general::SA_RESTART as usize;
    // SAFETY: the handler changes an atomic.
    ok!(unsafe { lemma_rt::signal::set_handler(10, handler, flags, 0) });
    let me = calls::getpid();
    let second = 1_000_000_000;
    let absolute = (calls::monotonic() / second + 60) as i64;
    for (round, (operation, seconds)) in [(0, 60), (WAIT_BITSET, absolute)].into_iter().enumerate()
    {
        let Some(pid) = ok!(sys::fork()) else {
            let waits = proc::sleeps(&format!("{me}"));
            sys::exit(i32::from(waits.is_err() || sys::kill(me, 10).is_err()))
        };
        let time = timespec { tv_sec: seconds, tv_nsec: 0 };
        let word = WORD.as_ptr() as usize;
        let time = core::ptr::from_ref(&time) as usize;
        let arguments = [word, operation, 0, time, 0, u32::MAX as usize];
        fails!(calls::raw(__NR_futex as usize, arguments), INTR);
        equal!(COUNTER.load(Ordering::Relaxed), round + 1);
        equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    }
    Ok(())
}

/// A child made with `CLONE_PARENT` is its maker's sibling.
fn siblings() -> Outcome {
    const PARENT: usize = 0x8000;
    let me = calls::getpid();
    let shared: crate::shared::Shared<[AtomicU32; 2]> = ok!(crate::shared::Shared::new());
    let [pid, parent] = shared.get();
    let status = ok!(in_child(|| {
        match calls::raw(__NR_clone as usize, [PARENT, 0, 0, 0, 0, 0]) {
            Ok(0) => {
                parent.store(calls::getppid().unwrap_or(0) as u32, Ordering::Relaxed);
                7
            }
            Ok(sibling) => {
                pid.store(sibling as u32, Ordering::Relaxed);
                // It is not this one's child.
                let mut status = 0;
                i32::from(calls::wait4(-1, &mut status, 0) != Err(Errno::CHILD))
            }
            Err(_) => 2,
        }
    }));
    equal!(status.exited(), Some(0));
    let sibling = pid.load(Ordering::Relaxed) as i32;
    let status = ok!(sys::wait_for(sibling));
    equal!(status.exited(), Some(7));
    equal!(parent.load(Ordering::Relaxed) as i32, me);
    Ok(())
}
