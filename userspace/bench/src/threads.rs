//! Threads, futexes, signals.

use crate::measure::Bench;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use lemma_rt::general::SIGUSR1;
use lemma_rt::rustix::process::getpid;
use lemma_rt::thread::{Stack, futex_wait, futex_wake, spawn, spawn_on};
use lemma_rt::{Errno, signal, sys};

static CALL: AtomicU32 = AtomicU32::new(0);
static REPLY: AtomicU32 = AtomicU32::new(0);
static SIGNALS: AtomicI32 = AtomicI32::new(0);

extern "C" fn nothing(_: usize) {}

extern "C" fn answer(rounds: usize) {
    for round in 0..rounds as u32 {
        futex_wait(&CALL, round);
        REPLY.store(round + 1, Ordering::Release);
        futex_wake(&REPLY, 1);
    }
}

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn run(bench: &Bench) {
    match Stack::new() {
        Ok(mut stack) => {
            bench.row("thread_create_join", 50, 5, |_| spawn_on(&mut stack, nothing, 0).map(drop))
        }
        Err(error) => bench.failed("thread_create_join", error),
    }
    if bench.wants("futex_pingpong_roundtrip") {
        // Five batches, and one round to try.
        let rounds = 5 * bench.repetitions(300) + 1;
        match spawn(answer, rounds) {
            Ok(thread) => {
                let mut round = 0;
                bench.row("futex_pingpong_roundtrip", 300, 5, |_| -> lemma_rt::Result<()> {
                    CALL.store(round + 1, Ordering::Release);
                    futex_wake(&CALL, 1);
                    futex_wait(&REPLY, round);
                    round += 1;
                    Ok(())
                });
                thread.join();
            }
            Err(error) => bench.failed("futex_pingpong_roundtrip", error),
        }
    }
    if bench.wants("signal_self_kill_handler") {
        let number = SIGUSR1 as i32;
        // SAFETY: the handler changes an atomic, no more.
        let set = unsafe { signal::set_handler(number, count as *const () as usize, 0, 0) };
        let me = getpid().as_raw_nonzero().get();
        match set {
            Ok(()) => bench.row("signal_self_kill_handler", 500, 5, |_| sys::kill(me, number)),
            Err(error) => bench.failed("signal_self_kill_handler", error),
        }
        if SIGNALS.load(Ordering::Relaxed) == 0 {
            bench.failed("signal_self_kill_handler", Errno::INTR);
        }
    }
}
