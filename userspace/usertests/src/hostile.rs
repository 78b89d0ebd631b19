//! `usertests hostile`: system calls with hostile arguments, then with random ones.
//!
//! A worker process makes the calls and notes each in shared memory before it makes it; whatever
//! happens to it, the supervisor starts another one that goes on behind that call, so every call
//! is made. A worker may die in a call that can end a process, or sleep in one that can sleep; in
//! any other call both are failures, and so is a worker that ends before its first call. At the
//! end the system must still do ordinary work. What would hurt bystanders (killing others, turning
//! the machine off, mounting over their files) is masked; see [`worker`].
//!
//! Three workers in four belong to the superuser, if this process does; a call by which one becomes
//! somebody else is its last. The fourth belongs to another user.

mod arguments;
mod attributes;
mod table;
mod worker;

use crate::calls;
use crate::shared::Shared;
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use arguments::Arguments;
use core::sync::atomic::{AtomicU64, Ordering};
use lemma_rt::general::{AT_FDCWD, SIGKILL, WNOHANG};
use lemma_rt::{eprintln, error_text, println, show, sys};
use table::Call;

/// A worker ends after this many calls, so that each starts with what it needs in place.
const CALLS_PER_WORKER: u64 = 500;

/// A call that may sleep is given up after this time, in nanoseconds.
const PATIENCE: u64 = 30_000_000;

/// A call that may not sleep hangs if it takes longer, in nanoseconds.
const HANG: u64 = 60_000_000_000;

/// Who the workers are that do not belong to the superuser.
const OTHER_USER: u32 = 1000;

/// What worker and supervisor share.
struct Progress {
    /// How many calls have been begun, those before the first counted: the next one's number.
    begun: AtomicU64,
    /// How many have returned.
    returned: AtomicU64,
}

impl Progress {
    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }
}

/// Runs `usertests hostile`; the exit status, or `None` if the options are wrong.
pub(crate) fn main(options: &[&[u8]]) -> Option<i32> {
    let (mut count, mut seed, mut first) = (100_000, 1, 0);
    for option in options.chunks(2) {
        let [name, value] = option else { return None };
        let value = show(value).parse().ok()?;
        match *name {
            b"--calls" => count = value,
            b"--seed" => seed = value,
            b"--from" => first = value,
            _ => return None,
        }
    }
    Some(match supervise(first, count, seed) {
        Ok(()) => 0,
        Err(text) => {
            eprintln!("usertests: hostile: {text}");
            1
        }
    })
}

/// Makes `count` calls, counted from `first`, in as many workers as that takes.
fn supervise(first: u64, count: u64, seed: u64) -> Result<(), String> {
    let shared: Shared<Progress> = Shared::new().map_err(failed("mmap"))?;
    let progress = shared.get();
    progress.begun.store(first, Ordering::Relaxed);
    let privileged = calls::geteuid() == Ok(0);
    let places = [Place::make("root")?, Place::make("user")?];
    if privileged {
        let path = &places[1].directory;
        calls::fchownat(AT_FDCWD, path, OTHER_USER, OTHER_USER, 0).map_err(failed("chown"))?;
    }
    let end = first + count;
    let (mut died, mut slept, mut mounts) = (0, 0, 0);
    let mut suspect = None;
    while progress.begun() < end {
        let start = progress.begun();
        let group = start / CALLS_PER_WORKER;
        let until = end.min((group + 1) * CALLS_PER_WORKER);
        let other_user = privileged && group % 4 == 3;
        let place = &places[usize::from(other_user)];
        let pid = match sys::fork().map_err(failed("fork"))? {
            Some(pid) => pid,
            None => worker::work(progress, &place.directory, until, seed, other_user),
        };
        let ended = watch(pid, start, progress, seed)?;
        mounts += place.tidy();
        reap();
        let Some(last) = progress.begun().checked_sub(1).filter(|&last| last >= start) else {
            return Err(format!("a worker ended before its first call, {start} (seed {seed})"));
        };
        match ended {
            Ended::Done => {}
            Ended::Slept => slept += 1,
            Ended::Died if prepare(last, seed, None).0.may_end() => died += 1,
            // It may have been a signal or damage that an earlier call of this worker left, and
            // then the call harms no fresh worker.
            Ended::Died if suspect != Some(last) => {
                suspect = Some(last);
                progress.begun.store(last, Ordering::Release);
            }
            Ended::Died => return Err(format!("a worker died in {}", describe(last, seed))),
        }
    }
    still_works()?;
    let returned = progress.returned.load(Ordering::Acquire);
    println!(
        "usertests: hostile: {count} calls of {} system calls, {returned} returned, {died} workers \
         died, {slept} slept; {mounts} mounts",
        table::COUNT
    );
    // Some end the worker or sleep, by far not most.
    if returned < count / 2 { Err(format!("only {returned} calls returned")) } else { Ok(()) }
}

/// How a failure of the supervisor itself is told.
fn failed(what: &'static str) -> impl Fn(lemma_rt::Errno) -> String {
    move |error| format!("{what}: {}", error_text(error))
}

/// A call, for a report.
fn describe(index: u64, seed: u64) -> String {
    let (call, arguments) = prepare(index, seed, None);
    format!("call {index}, {} with {arguments:x?} (seed {seed})", call.name)
}

/// Where workers of one user work.
struct Place {
    directory: CString,
    /// Where they mount.
    mount_point: CString,
}

impl Place {
    fn make(user: &str) -> Result<Self, String> {
        let directory = format!("/tmp/hostile.{}.{user}", calls::getpid());
        let mount_point = format!("{directory}/{}", show(worker::MOUNT_POINT.to_bytes()));
        let directory = CString::new(directory).unwrap_or_default();
        calls::mkdir(&directory, 0o700).map_err(failed("mkdir"))?;
        Ok(Self { directory, mount_point: CString::new(mount_point).unwrap_or_default() })
    }

    /// Takes away what a worker has mounted and pinned, and lets the next one in, whatever mode the
    /// directory was given; how much was mounted.
    fn tidy(&self) -> usize {
        let unmount = lemma_rt::general::__NR_umount2 as usize;
        let path = self.mount_point.as_ptr() as usize;
        let _ = calls::unlink(attributes::PIN);
        let _ = calls::chmod(&self.directory, 0o700);
        (0..1000).take_while(|_| calls::raw(unmount, [path, 0, 0, 0, 0, 0]).is_ok()).count()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        crate::harness::remove(self.directory.as_bytes());
    }
}

enum Ended {
    Done,
    Died,
    Slept,
}

/// Waits for a worker, whose first call is number `start`, and ends it if it sleeps.
fn watch(pid: i32, start: u64, progress: &Progress, seed: u64) -> Result<Ended, String> {
    let mut last = progress.begun();
    let mut since = calls::monotonic();
    loop {
        match sys::wait(pid, WNOHANG) {
            Ok(Some((_, status))) if status.exited() == Some(0) => return Ok(Ended::Done),
            Ok(Some(_)) => return Ok(Ended::Died),
            Ok(None) | Err(lemma_rt::Errno::INTR) => {}
            Err(error) => return Err(format!("wait4: {}", error_text(error))),
        }
        let begun = progress.begun();
        let now = calls::monotonic();
        if begun != last {
            (last, since) = (begun, now);
        }
        let may_sleep = begun > start && prepare(begun - 1, seed, None).0.may_sleep;
        if now.saturating_sub(since) > if may_sleep { PATIENCE } else { HANG } {
            let _ = sys::kill(pid, SIGKILL as i32);
            let _ = sys::wait_for(pid);
            if may_sleep {
                return Ok(Ended::Slept);
            }
            return Err(match begun.checked_sub(1).filter(|&last| last >= start) {
                Some(last) => format!("{} did not return", describe(last, seed)),
                None => format!("a worker made no call, {start} (seed {seed})"),
            });
        }
        calls::pause_for(1);
    }
}

/// Takes in children of dead workers, where they become ours.
fn reap() {
    while let Ok(Some(_)) = sys::wait(-1, WNOHANG) {}
}

/// How many calls are systematic; those behind them are random.
const SYSTEMATIC: u64 = (table::COUNT * arguments::SYSTEMATIC) as u64;

/// The call with this index, with its arguments as numbers; the addresses in them are those of
/// `own`, or for a report, of nothing.
fn prepare(index: u64, seed: u64, own: Option<&Arguments>) -> (&'static Call, [usize; 6]) {
    let mut random = arguments::Random::new(index, seed);
    let (call, arguments) = if index < SYSTEMATIC {
        let round = index as usize / table::COUNT;
        let call = table::nth(index as usize % table::COUNT);
        (call, arguments::systematic(round, &mut random, own))
    } else if has_attributes(index, seed) {
        (table::bpf(), [0; 6])
    } else {
        let call = table::nth(random.below(table::COUNT));
        (call, arguments::random(&mut random, own))
    };
    (call, worker::tame(call, arguments))
}

/// Whether the call is `bpf(2)` with well-formed attributes, which the worker makes: every fourth
/// of the random ones.
fn has_attributes(index: u64, seed: u64) -> bool {
    index >= SYSTEMATIC && arguments::Random::new(index, !seed).below(4) == 0
}

/// Afterwards, the system does what it always did.
fn still_works() -> Result<(), String> {
    let status = calls::in_child(|| 42).map_err(failed("afterwards"))?;
    if status.exited() != Some(42) {
        return Err(format!("afterwards: a child ended with {status:?}"));
    }
    let path = CString::new(format!("/tmp/hostile.{}", calls::getpid())).unwrap_or_default();
    calls::make(&path, b"works").map_err(failed("afterwards"))?;
    let content = calls::content(&path).map_err(failed("afterwards"))?;
    calls::unlink(&path).map_err(failed("afterwards"))?;
    let memory = calls::map(1 << 20).map_err(failed("afterwards"))?;
    calls::poke(memory + 12_345, 1);
    calls::munmap(memory, 1 << 20).map_err(failed("afterwards"))?;
    if content == b"works" { Ok(()) } else { Err("afterwards: a file differs".into()) }
}
