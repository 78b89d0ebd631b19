//! Several CPUs: which ones a task may run on, and that those who want to run share them evenly.
//! The tests pass with one CPU, too.

use super::family;
use crate::calls;
use crate::check::{Failure, Outcome, check, equal, fails, mostly, ok, skip};
use crate::shared::Shared;
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use lemma_rt::general::{
    CLOCK_PROCESS_CPUTIME_ID, PRIO_PGRP, PRIO_PROCESS, PRIO_USER, SIGKILL, timespec,
};
use lemma_rt::sys;

family!("cpus": affinity, affinity_errors, moves_at_once, clocks_agree, moves_another, hogs_share, hogs_share_where_they_may, nice_values, nice_hogs_give_way);

fn priority(which: u32, who: i32) -> lemma_rt::Result<i32> {
    let number = lemma_rt::general::__NR_getpriority as usize;
    // The kernel's answer is 20 less the nice value.
    calls::raw(number, [which as usize, who as usize, 0, 0, 0, 0]).map(|value| 20 - value as i32)
}

fn set_priority(which: u32, who: i32, nice: i32) -> lemma_rt::Result<usize> {
    let number = lemma_rt::general::__NR_setpriority as usize;
    calls::raw(number, [which as usize, who as usize, nice as usize, 0, 0, 0])
}

/// Set for a process, a group, a user; inherited; bounded; and only the superuser gets less nice.
fn nice_values() -> Outcome {
    ok!(calls::setsid());
    let own = calls::getpid();
    let before = ok!(priority(PRIO_PROCESS, 0));
    let nicer = (before + 3).min(19);
    ok!(set_priority(PRIO_PROCESS, own, nicer));
    equal!((priority(PRIO_PROCESS, 0), priority(PRIO_PROCESS, own)), (Ok(nicer), Ok(nicer)));
    let status = ok!(calls::in_child(|| {
        if priority(PRIO_PROCESS, 0) != Ok(nicer) {
            return 1;
        }
        let _ = set_priority(PRIO_PROCESS, 0, 100);
        // Of a group, the least.
        i32::from((priority(PRIO_PROCESS, 0), priority(PRIO_PGRP, 0)) != (Ok(19), Ok(nicer))) * 2
    }));
    equal!(status.code(), 0);
    ok!(set_priority(PRIO_PGRP, own, 19));
    equal!(priority(PRIO_PGRP, 0), Ok(19));
    fails!(set_priority(7, 0, 0), INVAL);
    fails!(priority(7, 0), INVAL);
    fails!(set_priority(PRIO_PROCESS, 4_000_000, 0), SRCH);
    fails!(priority(PRIO_PGRP, 4_000_000), SRCH);
    fails!(priority(PRIO_USER, 4_000_000), SRCH);
    let text = ok!(calls::content(c"/proc/self/stat"));
    let text = lemma_rt::show(&text);
    let fields: Vec<_> = text.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    equal!(fields.get(15..17), Some(&["39", "19"][..]));
    if calls::geteuid() == Ok(0) {
        match set_priority(PRIO_PROCESS, 0, -100) {
            // Linux in a container may keep that to itself.
            Err(lemma_rt::Errno::ACCESS) => return Ok(()),
            result => ok!(result),
        };
        equal!(priority(PRIO_PROCESS, 0), Ok(-20));
        let status = ok!(calls::in_child(|| {
            let refused = calls::setuid(1).is_ok()
                && set_priority(PRIO_PROCESS, 0, -20).is_ok()
                && set_priority(PRIO_PROCESS, 0, 5).is_ok()
                && set_priority(PRIO_PROCESS, 0, 4) == Err(lemma_rt::Errno::ACCESS)
                && set_priority(PRIO_PROCESS, own, 5) == Err(lemma_rt::Errno::PERM);
            i32::from(!refused)
        }));
        equal!(status.code(), 0);
    }
    Ok(())
}

/// Of two that only run, on one CPU, the nice one gets little.
fn nice_hogs_give_way() -> Outcome {
    let cpu = ok!(allowed())[0];
    let shared: Shared<[AtomicU64; 2]> = ok!(Shared::new());
    let mut children = Vec::new();
    for (rounds, nice) in shared.get().iter().zip([0, 19]) {
        match ok!(sys::fork()) {
            Some(pid) => children.push(pid),
            None => {
                let _ = calls::sched_setaffinity(0, 128, &only(cpu));
                let _ = set_priority(PRIO_PROCESS, 0, nice);
                loop {
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
    let [normal, nice] = shared.get();
    while normal.load(Ordering::Relaxed) == 0 || nice.load(Ordering::Relaxed) == 0 {
        calls::pause_for(1);
    }
    let counts = || [normal, nice].map(|rounds| rounds.load(Ordering::Relaxed));
    let outcome = mostly(|| {
        let before = counts();
        calls::pause_for(300);
        // Little is not nothing, though it may be a while until its next turn.
        for _ in 0..500 {
            if counts()[1] != before[1] {
                break;
            }
            calls::pause_for(10);
        }
        let after = counts();
        let [normal, nice] = [0, 1].map(|index| after[index] - before[index]);
        let little = nice > 0 && normal > 8 * nice;
        Ok(if little { Ok(()) } else { Err(format!("{normal} and {nice}")) })
    });
    for pid in children {
        ok!(sys::kill(pid, SIGKILL as i32));
        ok!(sys::wait_for(pid));
    }
    outcome
}

/// The CPUs that this process may run on.
pub(super) fn allowed() -> lemma_rt::Result<Vec<u32>> {
    let mut mask = [0u64; 16];
    let length = calls::sched_getaffinity(0, size_of_val(&mask), &mut mask)?;
    let bits = |word: usize| (0..64).filter(move |bit| mask[word] >> bit & 1 != 0);
    Ok((0..length / 8)
        .flat_map(|word| bits(word).map(move |bit| (word * 64 + bit) as u32))
        .collect())
}

pub(super) fn only(cpu: u32) -> [u64; 16] {
    let mut mask = [0; 16];
    mask[cpu as usize / 64] = 1 << (cpu % 64);
    mask
}

fn here() -> lemma_rt::Result<u32> {
    let (mut cpu, mut node) = (u32::MAX, u32::MAX);
    calls::getcpu(&mut cpu, &mut node, 0)?;
    Ok(cpu)
}

fn affinity() -> Outcome {
    let cpus = ok!(allowed());
    check!(!cpus.is_empty());
    check!(cpus.contains(&ok!(here())));
    let last = cpus[cpus.len() - 1];
    ok!(calls::sched_setaffinity(0, 128, &only(last)));
    equal!(ok!(allowed()), [last]);
    // A child has it, too.
    let status = ok!(calls::in_child(|| i32::from(allowed() != Ok(alloc::vec![last]))));
    equal!(status.exited(), Some(0));
    Ok(())
}

fn affinity_errors() -> Outcome {
    let mut mask = [0u64; 16];
    fails!(calls::sched_getaffinity(0, 4, &mut mask), INVAL);
    fails!(calls::sched_getaffinity(0, 12, &mut mask), INVAL);
    fails!(calls::sched_getaffinity(4_194_303, 128, &mut mask), SRCH);
    fails!(calls::sched_setaffinity(0, 128, &mask), INVAL);
    fails!(calls::sched_setaffinity(4_194_303, 128, &only(0)), SRCH);
    let before = ok!(allowed());
    // CPUs that are not there do not count.
    mask[0] = u64::MAX;
    ok!(calls::sched_setaffinity(0, 128, &mask));
    check!(before.iter().all(|cpu| allowed().is_ok_and(|now| now.contains(cpu))));
    Ok(())
}

/// When the call returns, the caller runs where it may; and the clock of one CPU is not behind
/// that of another.
fn moves_at_once() -> Outcome {
    let cpus = ok!(allowed());
    let mut last = 0;
    for round in 0..200 {
        let cpu = cpus[round % cpus.len()];
        ok!(calls::sched_setaffinity(0, 128, &only(cpu)));
        equal!(ok!(here()), cpu);
        let now = calls::monotonic();
        check!(now >= last, " {now} ns on CPU {cpu}, after {last}");
        last = now;
    }
    Ok(())
}

/// Two CPUs pass on what their clocks say, as fast as they can: neither is behind the other.
fn clocks_agree() -> Outcome {
    const PASSES: u64 = 2000;
    let cpus = ok!(allowed());
    let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
    // Whose turn it is, what the clock said, and how often it went back.
    let shared: Shared<[AtomicU64; 3]> = ok!(Shared::new());
    let [turn, clock, back] = shared.get();
    let take_turns = |own: u64, cpu: u32| {
        let _ = calls::sched_setaffinity(0, 128, &only(cpu));
        for pass in (own..PASSES).step_by(2) {
            while turn.load(Ordering::Acquire) != pass {
                // With one CPU the other one needs it.
                if first == last {
                    let _ = calls::sched_yield();
                }
            }
            let now = calls::monotonic();
            back.fetch_add(u64::from(now < clock.load(Ordering::Relaxed)), Ordering::Relaxed);
            clock.store(now, Ordering::Relaxed);
            turn.store(pass + 1, Ordering::Release);
        }
    };
    let Some(pid) = ok!(sys::fork()) else {
        take_turns(1, last);
        sys::exit(0)
    };
    take_turns(0, first);
    equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    equal!(back.load(Ordering::Relaxed), 0);
    Ok(())
}

/// Another process that is running is moved, too.
fn moves_another() -> Outcome {
    let cpus = ok!(allowed());
    let shared: Shared<[AtomicU64; 2]> = ok!(Shared::new());
    let [stop, seen] = shared.get();
    let Some(pid) = ok!(sys::fork()) else {
        while stop.load(Ordering::Acquire) == 0 {
            seen.store(u64::from(here().unwrap_or(u32::MAX)) + 1, Ordering::Release);
        }
        sys::exit(0)
    };
    let mut outcome = Ok(());
    for round in 0..50 {
        let cpu = cpus[round % cpus.len()];
        if calls::sched_setaffinity(pid, 128, &only(cpu)).is_err() {
            outcome = Err(round);
            break;
        }
        // What it stored before may come late: not what it stores from now on.
        seen.store(0, Ordering::Release);
        let mut looks = 0;
        let found = loop {
            match seen.load(Ordering::Acquire) {
                0 => calls::pause_for(1),
                found if found == u64::from(cpu) + 1 => break true,
                // It may have been between its question and its answer.
                _ if looks == 3 => break false,
                _ => {
                    looks += 1;
                    seen.store(0, Ordering::Release);
                }
            }
        };
        if !found {
            outcome = Err(round);
            break;
        }
    }
    stop.store(1, Ordering::Release);
    ok!(sys::wait_for(pid));
    check!(outcome.is_ok(), " in round {outcome:?}");
    Ok(())
}

/// The CPU time of this process, in nanoseconds.
fn used() -> u64 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    if calls::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mut time).is_err() {
        return 0;
    }
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Most processes that only run at the same time.
const MOST_HOGS: usize = 16;

/// What such processes are told to do.
const RUN: u64 = 1;
const END: u64 = 2;

/// Where a process begins, and the CPUs to which it may go from there.
#[derive(Clone, Copy)]
struct Place {
    begins: [u64; 16],
    may_go: [u64; 16],
}

/// Runs a process in each place for so many milliseconds, from when all are there. The CPU time of
/// each, in nanoseconds, by the system's own account.
fn run_hogs(places: &[Place], milliseconds: i64) -> Result<Vec<u64>, Failure> {
    let shared: Shared<[AtomicU64; MOST_HOGS + 2]> = ok!(Shared::new());
    let [order, ready, times @ ..] = shared.get();
    let mut children = Vec::new();
    for (place, time) in places.iter().zip(times) {
        match ok!(sys::fork()) {
            Some(pid) => children.push(pid),
            None => {
                let begins = calls::sched_setaffinity(0, 128, &place.begins);
                ready.fetch_add(1, Ordering::Release);
                while order.load(Ordering::Acquire) == 0 {
                    calls::pause_for(1);
                }
                // Not before, so that nobody is put elsewhere by waking up.
                let may_go = calls::sched_setaffinity(0, 128, &place.may_go);
                let before = used();
                while order.load(Ordering::Relaxed) == RUN {
                    core::hint::black_box(order);
                }
                time.store(used() - before, Ordering::Release);
                sys::exit(i32::from(begins.is_err() || may_go.is_err()))
            }
        }
    }
    while ready.load(Ordering::Acquire) < children.len() as u64 {
        calls::pause_for(1);
    }
    order.store(RUN, Ordering::Release);
    calls::pause_for(milliseconds);
    order.store(END, Ordering::Release);
    for pid in children {
        equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    }
    Ok(times.iter().take(places.len()).map(|time| time.load(Ordering::Acquire)).collect())
}

/// Nobody gets twice as much as anybody else.
fn all_get_alike(measure: impl Fn() -> Result<Vec<u64>, Failure>, who: &str) -> Outcome {
    mostly(|| {
        let times = measure()?;
        let most = times.iter().copied().max().unwrap_or(0);
        let least = times.iter().copied().min().unwrap_or(0);
        Ok(if least * 2 > most { Ok(()) } else { Err(format!("{who}: {times:?} ns")) })
    })
}

/// Processes that do nothing but run get as much time as each other.
fn hogs_share() -> Outcome {
    let cpus = ok!(allowed()).len().min(MOST_HOGS / 2);
    let mut all = [0; 16];
    ok!(calls::sched_getaffinity(0, size_of_val(&all), &mut all));
    for hogs in [cpus, 2 * cpus] {
        let places = alloc::vec![Place { begins: all, may_go: all }; hogs];
        all_get_alike(|| run_hogs(&places, 300), &format!("{hogs} processes on {cpus} CPUs"))?;
    }
    Ok(())
}

/// Of processes that may run on two CPUs only, none waits while one of these has less to do, also
/// if others have as little.
fn hogs_share_where_they_may() -> Outcome {
    /// Processes that may run on both CPUs.
    const FREE: usize = 3;
    let cpus = ok!(allowed());
    if cpus.len() < 3 || cpus.len() > MOST_HOGS - FREE {
        skip!("for three CPUs at least, and {} at most", MOST_HOGS - FREE);
    }
    let (one, other) = (cpus[0], cpus[cpus.len() - 1]);
    let mut both = only(one);
    both[other as usize / 64] |= 1 << (other % 64);
    // One each for the others, the last of which is the other of the two.
    let places = cpus[1..].iter().map(|&cpu| Place { begins: only(cpu), may_go: only(cpu) });
    let free = [Place { begins: only(one), may_go: both }; FREE];
    let places: Vec<_> = places.chain(free).collect();
    let those_of_both = || Ok(run_hogs(&places, 800)?.split_off(cpus.len() - 2));
    all_get_alike(those_of_both, &format!("on two of {} CPUs", cpus.len()))
}
