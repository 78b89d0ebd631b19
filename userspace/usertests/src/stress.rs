//! `usertests stress`: much at once on all CPUs, for a chosen number of seconds.
//!
//! Workers, each a process, fork, share memory among threads, pass bytes through pipes and write
//! files, each checking what it finds; beside them programs are attached to a hook, replaced and
//! detached under the calls of other processes. A program counts each call of `getppid`: whatever
//! happens when, the count must be that of the calls made while one was attached. Nobody else
//! makes that call.

mod events;

use crate::calls::{self, content, in_child};
use crate::check::{Failure, Outcome, check, equal, ok};
use crate::shared::Shared;
use alloc::ffi::CString;
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use lemma_rt::thread::spawn;
use lemma_rt::{eprintln, error_text, println, show, sys};

const PAGE: usize = 4096;

/// When the workers end, on the clock of `monotonic`.
#[derive(Clone, Copy)]
struct Until(u64);

impl Until {
    fn is_past(self) -> bool {
        calls::monotonic() >= self.0
    }
}

/// A kind of work: its name, and what a worker does once.
type Kind = (&'static str, fn(round: u64) -> Outcome);

const KINDS: [Kind; 4] = [("forks", forks), ("memory", memory), ("pipes", pipes), ("files", files)];

/// Runs `usertests stress`; the exit status, or `None` if the options are wrong.
pub(crate) fn main(options: &[&[u8]]) -> Option<i32> {
    let (mut seconds, mut workers, mut replacements) = (5, 1, 1000);
    for option in options.chunks(2) {
        let [name, value] = option else { return None };
        let value: u64 = show(value).parse().ok()?;
        match *name {
            b"--seconds" => seconds = value,
            b"--workers" => workers = value,
            b"--replacements" => replacements = value,
            _ => return None,
        }
    }
    let directory = CString::new(format!("/tmp/stress.{}", calls::getpid())).ok()?;
    if let Err(error) = calls::mkdir(&directory, 0o755).and_then(|_| calls::chdir(&directory)) {
        eprintln!("usertests: stress: {}: {}", directory.to_string_lossy(), error_text(error));
        return Some(1);
    }
    let status = supervise(seconds, workers, replacements);
    let _ = calls::chdir(c"/");
    crate::harness::remove(directory.as_bytes());
    Some(status)
}

fn supervise(seconds: u64, workers: u64, replacements: u64) -> i32 {
    let until = Until(calls::monotonic() + seconds * 1_000_000_000);
    let rounds: Shared<[AtomicU64; KINDS.len()]> = match Shared::new() {
        Ok(rounds) => rounds,
        Err(error) => {
            eprintln!("usertests: stress: {}", error_text(error));
            return 1;
        }
    };
    let mut children = Vec::new();
    for _ in 0..workers.max(1) {
        for (kind, rounds) in KINDS.iter().zip(rounds.get()) {
            match sys::fork() {
                Ok(Some(pid)) => children.push(pid),
                Ok(None) => sys::exit(worker(kind, until, rounds)),
                Err(error) => eprintln!("usertests: stress: fork: {}", error_text(error)),
            }
        }
    }
    let mut failed = children.len() as u64 != workers.max(1) * KINDS.len() as u64;
    match events::count_exactly(until, replacements) {
        Ok(()) => {}
        Err(Failure::Skipped(reason)) => println!("stress: events: skipped: {reason}"),
        Err(Failure::Differs(text)) => {
            eprintln!("stress: events: {text}");
            failed = true;
        }
    }
    for pid in children {
        failed |= !sys::wait_for(pid).is_ok_and(|status| status.exited() == Some(0));
    }
    for ((name, _), rounds) in KINDS.iter().zip(rounds.get()) {
        println!("stress: {name}: {} rounds", rounds.load(Ordering::Relaxed));
    }
    println!("stress: {}", if failed { "FAILED" } else { "passed" });
    i32::from(failed)
}

fn worker(kind: &Kind, until: Until, rounds: &AtomicU64) -> i32 {
    let (name, work) = kind;
    let mut round = calls::getpid() as u64;
    while !until.is_past() {
        if let Err(failure) = work(round) {
            let (Failure::Differs(text) | Failure::Skipped(text)) = failure;
            eprintln!("stress: {name}: {text}");
            return 1;
        }
        round += 1;
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    0
}

/// Children, and children of children, end with what they were told to; what a child writes to
/// its memory the parent does not see.
fn forks(round: u64) -> Outcome {
    let own = Vec::from_iter((0..PAGE as u64 * 2).map(|index| index ^ round));
    let mut children = Vec::new();
    for code in 1..=4 {
        match ok!(sys::fork()) {
            Some(pid) => children.push((pid, code)),
            None => {
                let mut own = own;
                own.iter_mut().for_each(|word| *word = code);
                let status = in_child(|| own[PAGE] as i32 + 10);
                let right = status.is_ok_and(|status| status.exited() == Some(code as i32 + 10));
                sys::exit(if right && own.iter().all(|&word| word == code) {
                    code as i32
                } else {
                    99
                })
            }
        }
    }
    for (pid, code) in children {
        equal!(ok!(sys::wait_for(pid)).exited(), Some(code as i32));
    }
    check!(own.iter().enumerate().all(|(index, &word)| word == index as u64 ^ round));
    Ok(())
}

/// Where the threads of a process find their pages.
static PAGES: AtomicU64 = AtomicU64::new(0);
const THREADS: usize = 4;
const PAGES_EACH: usize = 8;

/// Fills each of its pages with its number.
extern "C" fn fill(thread: usize) {
    let start = PAGES.load(Ordering::Acquire) as usize + thread * PAGES_EACH * PAGE;
    for page in 0..PAGES_EACH {
        for at in (0..PAGE).step_by(64) {
            calls::poke(start + page * PAGE + at, thread as u8 + 1);
        }
    }
}

/// Threads fill pages of one mapping, while the mapping is changed around them: protected, shared
/// with a child, partly taken away.
fn memory(_: u64) -> Outcome {
    let own = THREADS * PAGES_EACH * PAGE;
    let start = ok!(calls::map(2 * own));
    PAGES.store(start as u64, Ordering::Release);
    let mut threads = Vec::new();
    for thread in 0..THREADS {
        threads.push(ok!(spawn(fill, thread)));
    }
    // The half that nobody uses, page by page.
    for page in (0..own).step_by(PAGE) {
        calls::poke(start + own + page, 1);
    }
    ok!(calls::mprotect(start + own, own / 2, 1));
    let child = ok!(sys::fork());
    if child.is_none() {
        // Its copy stays as it is, whatever the parent's threads do.
        let look = || (0..own).step_by(PAGE).map(|at| calls::peek(start + at)).collect::<Vec<_>>();
        let before = look();
        calls::pause_for(1);
        sys::exit(i32::from(before != look()))
    }
    ok!(calls::munmap(start + own, own));
    threads.into_iter().for_each(|thread| thread.join());
    for thread in 0..THREADS {
        let pages = start + thread * PAGES_EACH * PAGE..start + (thread + 1) * PAGES_EACH * PAGE;
        check!(pages.step_by(64).all(|at| calls::peek(at) == thread as u8 + 1));
    }
    equal!(ok!(sys::wait_for(child.unwrap_or(0))).exited(), Some(0));
    ok!(calls::munmap(start, own));
    Ok(())
}

/// A child sends back what it gets, in the same order.
fn pipes(round: u64) -> Outcome {
    let (mut there, mut back) = ([0; 2], [0; 2]);
    ok!(calls::pipe2(&mut there, 0));
    ok!(calls::pipe2(&mut back, 0));
    let Some(pid) = ok!(sys::fork()) else {
        let _ = (calls::close(there[1]), calls::close(back[0]));
        let mut buffer = [0; 512];
        while let Ok(count @ 1..) = calls::read(there[0], &mut buffer) {
            if calls::write(back[1], &buffer[..count]) != Ok(count) {
                sys::exit(1);
            }
        }
        sys::exit(0)
    };
    ok!(calls::close(there[0]));
    ok!(calls::close(back[1]));
    for message in 0..50 {
        let length = 1 + (round + message) as usize % 300;
        let sent: Vec<u8> = (0..length).map(|at| (round + message + at as u64) as u8).collect();
        equal!(ok!(calls::write(there[1], &sent)), length);
        let (mut got, mut done) = ([0; 300], 0);
        while done < length {
            done += ok!(calls::read(back[0], &mut got[done..length]));
        }
        check!(got[..length] == sent[..]);
    }
    ok!(calls::close(there[1]));
    ok!(calls::close(back[0]));
    equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    Ok(())
}

/// A file holds what was written, also under its next name, and is gone when it was unlinked.
fn files(round: u64) -> Outcome {
    let name = |kind| CString::new(format!("{kind}.{}", calls::getpid())).unwrap_or_default();
    let (first, second) = (name("first"), name("second"));
    let length = 1 + (round * 1031) as usize % (3 * PAGE);
    let bytes: Vec<u8> = (0..length).map(|at| (at as u64 * 7 + round) as u8).collect();
    ok!(calls::make(&first, &bytes));
    ok!(calls::rename(&first, &second));
    check!(ok!(content(&second)) == bytes);
    ok!(calls::unlink(&second));
    check!(calls::stat_of(&second).is_err());
    Ok(())
}
