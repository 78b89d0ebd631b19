//! `usertests hostile`: system calls with hostile arguments, then with random ones.
//!
//! A worker process makes the calls and notes in shared memory how far it is; whatever happens to
//! it, the supervisor starts another one that goes on behind that call. A worker may die or
//! sleep; the system may not: a call that can never sleep and does not return is a hang, and at
//! the end the system must still do ordinary work. What would hurt bystanders (killing others,
//! turning the machine off, mounting) is masked; see [`tame`].

mod arguments;
mod table;

use crate::calls;
use alloc::ffi::CString;
use alloc::format;
use arguments::Arguments;
use core::sync::atomic::{AtomicU64, Ordering};
use lemma_rt::general::{
    __NR_epoll_create1, __NR_eventfd2, __NR_socketpair, O_CREAT, O_DIRECTORY, O_NONBLOCK, O_RDWR,
    SIGKILL, WNOHANG,
};
use lemma_rt::{eprintln, error_text, println, show, sys};
use table::Call;

/// A worker ends after this many calls, so that each starts with what it needs in place.
const CALLS_PER_WORKER: u64 = 500;

/// A call that may sleep is given up after this time, in nanoseconds.
const PATIENCE: u64 = 30_000_000;

/// A call that may not sleep hangs if it takes longer, in nanoseconds.
const HANG: u64 = 60_000_000_000;

/// What worker and supervisor share.
struct Progress {
    /// The number of the call that is being made.
    index: AtomicU64,
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
fn supervise(first: u64, count: u64, seed: u64) -> Result<(), alloc::string::String> {
    let failed = |what: &str| {
        let what = alloc::string::String::from(what);
        move |error| format!("{what}: {}", error_text(error))
    };
    let page = calls::map_shared(4096).map_err(failed("mmap"))?;
    // SAFETY: mapped for as long as the process lives; zeros are a valid value.
    let progress = unsafe { &*(page as *const Progress) };
    progress.index.store(first, Ordering::Relaxed);
    let directory = format!("/tmp/hostile.{}", calls::getpid());
    let directory = CString::new(directory).unwrap_or_default();
    let end = first + count;
    let (mut died, mut slept) = (0, 0);
    while progress.index.load(Ordering::Acquire) < end {
        let start = progress.index.load(Ordering::Acquire);
        let until = end.min(start + CALLS_PER_WORKER);
        let _ = calls::mkdir(&directory, 0o700);
        let pid = match sys::fork().map_err(failed("fork"))? {
            Some(pid) => pid,
            None => work(progress, &directory, until, seed),
        };
        match watch(pid, progress, seed)? {
            Ended::Done => {}
            Ended::Died => died += 1,
            Ended::Slept => slept += 1,
        }
        // A worker that ended at a call must not make the next one end at the same.
        if progress.index.load(Ordering::Acquire) < until {
            progress.index.fetch_add(1, Ordering::AcqRel);
        }
        reap();
    }
    crate::harness::remove(directory.as_bytes());
    still_works()?;
    println!(
        "usertests: hostile: {count} calls of {} system calls, {died} workers died, {slept} slept",
        table::COUNT
    );
    Ok(())
}

enum Ended {
    Done,
    Died,
    Slept,
}

/// Waits for a worker, and ends it if it sleeps.
fn watch(pid: i32, progress: &Progress, seed: u64) -> Result<Ended, alloc::string::String> {
    let mut last = progress.index.load(Ordering::Acquire);
    let mut since = calls::monotonic();
    loop {
        match sys::wait(pid, WNOHANG) {
            Ok(Some((_, status))) if status.exited() == Some(0) => return Ok(Ended::Done),
            Ok(Some(_)) => return Ok(Ended::Died),
            Ok(None) | Err(lemma_rt::Errno::INTR) => {}
            Err(error) => return Err(format!("wait4: {}", error_text(error))),
        }
        let index = progress.index.load(Ordering::Acquire);
        let now = calls::monotonic();
        if index != last {
            (last, since) = (index, now);
        }
        let (call, arguments) = prepare(index, seed, None);
        let waited = now.saturating_sub(since);
        if waited > if call.may_sleep { PATIENCE } else { HANG } {
            let _ = sys::kill(pid, SIGKILL as i32);
            let _ = sys::wait_for(pid);
            if call.may_sleep {
                return Ok(Ended::Slept);
            }
            return Err(format!(
                "call {index}, {} with {arguments:x?}, did not return (seed {seed})",
                call.name
            ));
        }
        calls::pause_for(1);
    }
}

/// Takes in children of dead workers, where they become ours.
fn reap() {
    while let Ok(Some(_)) = sys::wait(-1, WNOHANG) {}
}

/// The call with this index, with its arguments as numbers; the addresses in them are those of
/// `own`, or for a report, of nothing.
fn prepare(index: u64, seed: u64, own: Option<&Arguments>) -> (&'static Call, [usize; 6]) {
    let mut random = arguments::Random::new(index, seed);
    let systematic = (table::COUNT * arguments::SYSTEMATIC) as u64;
    let (call, arguments) = if index < systematic {
        let round = index as usize / table::COUNT;
        let call = table::nth(index as usize % table::COUNT);
        (call, arguments::systematic(round, &mut random, own))
    } else {
        let call = table::nth(random.below(table::COUNT));
        (call, arguments::random(&mut random, own))
    };
    (call, tame(call, arguments))
}

/// The number at which a worker has its own file open.
const OWN_FILE: i32 = 4;

/// Takes from the arguments what would hurt bystanders.
fn tame(call: &Call, mut arguments: [usize; 6]) -> [usize; 6] {
    const CLONE_VM: usize = 0x100;
    const NAMESPACES: usize = 0x7e02_0080;
    const POPULATE_OR_LOCK: usize = 0x8000 | 0x2000;
    let hostile = |number: usize| arguments::HOSTILE[number % arguments::HOSTILE.len()];
    match call.name {
        // Only itself, its own group, or no one.
        "kill" | "tgkill" | "tkill" => {
            let own = calls::getpid() as usize;
            arguments[0] = [own, 0, i32::MAX as usize, -i32::MAX as usize][arguments[0] % 4];
            if call.name == "tgkill" && arguments[0] == 0 {
                arguments[0] = own;
            }
        }
        // The device files that are open belong to everyone.
        "fchmod" | "fchown" | "fchmodat" | "fchownat" | "utimensat" => {
            arguments[0] = match arguments[0] {
                0..0x10_0000 if call.name.ends_with("at") => lemma_rt::general::AT_FDCWD as usize,
                0..0x10_0000 => OWN_FILE as usize,
                other => other,
            };
        }
        // Files and pipes, no devices.
        "mknodat" => arguments[2] &= !0o060_000,
        "reboot" => arguments[0] &= 0xffff,
        "prlimit64" => arguments[0] = 0,
        // A second process on the same stack would do anything.
        "clone" => {
            arguments[0] &= !NAMESPACES;
            if arguments[1] == 0 {
                arguments[0] &= !CLONE_VM;
            }
        }
        // Not where anyone has files.
        "mount" | "umount2" => {
            for argument in arguments.iter_mut().take(2) {
                *argument = hostile(*argument);
            }
        }
        // Much memory only as a reservation.
        "mmap" => {
            if arguments[1] < 1 << 46 {
                arguments[1] &= 0xf_ffff;
            }
            arguments[3] &= !POPULATE_OR_LOCK;
        }
        "brk" => arguments[0] &= !0xff_ffff_0000,
        // Reading waits for more; clearing and the console's level are not ours.
        "syslog" => arguments[0] = [3, 9, 10, 11, usize::MAX][arguments[0] % 5],
        "setitimer" => arguments[0] |= 4,
        // Not while the worker lives.
        "alarm" => arguments[0] |= 1 << 20,
        // The machine's clock and name stay, if the kernel looks at what it is given.
        "clock_settime" if arguments[0] as i32 == 0 => arguments[1] = hostile(arguments[1]),
        "sethostname" if arguments[1] as i32 <= 64 => {
            arguments[0] = hostile(arguments[0]);
            arguments[1] |= 1;
        }
        // Its few commands, and one more.
        "arch_prctl" => arguments[0] = 0x1000 + arguments[0] % 6,
        _ => {}
    }
    arguments
}

/// In a worker: makes calls up to `until` and ends.
fn work(progress: &Progress, directory: &CString, until: u64, seed: u64) -> ! {
    let _ = calls::setsid();
    let _ = calls::chdir(directory);
    if let Ok(null) = calls::open(c"/dev/null", O_RDWR, 0) {
        for number in 0..3 {
            let _ = calls::dup3(null, number, 0);
        }
    }
    for path in [c"d", c"d/e"] {
        let _ = calls::mkdir(path, 0o700);
    }
    let _ = calls::make(c"a", b"#!/nonexistent\n");
    let _ = calls::symlink(c"l", c"l");
    if let Ok(own) = calls::open(c"a", O_RDWR | O_CREAT, 0o600)
        && own != OWN_FILE
    {
        let _ = calls::dup3(own, OWN_FILE, 0);
    }
    let _ = calls::open(c".", O_DIRECTORY, 0);
    let _ = calls::open(c"/dev/zero", O_RDWR, 0);
    let mut ends = [0; 2];
    let _ = calls::pipe2(&mut ends, O_NONBLOCK);
    let flags = O_NONBLOCK as usize;
    let (family, stream, ends) = (1, 1 | flags, ends.as_mut_ptr() as usize);
    for (number, arguments) in [
        (__NR_socketpair, [family, stream, 0, ends, 0, 0]),
        (__NR_epoll_create1, [0; 6]),
        (__NR_eventfd2, [1, flags, 0, 0, 0, 0]),
    ] {
        let _ = calls::raw(number as usize, arguments);
    }
    let Some(own) = Arguments::new() else { sys::exit(1) };
    let me = calls::getpid();
    loop {
        let index = progress.index.load(Ordering::Acquire);
        if index >= until {
            sys::exit(0);
        }
        let (call, arguments) = prepare(index, seed, Some(&own));
        let result = match call.name {
            "vfork" => vfork(call.number, arguments),
            _ => calls::raw(call.number, arguments),
        };
        // A copy of this process ends at once.
        if result == Ok(0) && calls::getpid() != me {
            sys::exit(0);
        }
        progress.index.store(index + 1, Ordering::Release);
    }
}

/// `vfork`, whose child has the stack of its parent, and ends before it changes that.
#[inline(never)]
fn vfork(number: usize, arguments: [usize; 6]) -> lemma_rt::Result<usize> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the child touches no memory.
    match unsafe { lemma_rt::syscall!(number, a, b, c, d, e, f) } {
        Ok(0) => sys::exit(0),
        result => result,
    }
}

/// Afterwards, the system does what it always did.
fn still_works() -> Result<(), alloc::string::String> {
    let failed = |error| format!("afterwards: {}", error_text(error));
    let status = calls::in_child(|| 42).map_err(failed)?;
    if status.exited() != Some(42) {
        return Err(format!("afterwards: a child ended with {status:?}"));
    }
    let path = CString::new(format!("/tmp/hostile.{}", calls::getpid())).unwrap_or_default();
    calls::make(&path, b"works").map_err(failed)?;
    let content = calls::content(&path).map_err(failed)?;
    calls::unlink(&path).map_err(failed)?;
    let memory = calls::map(1 << 20).map_err(failed)?;
    calls::poke(memory + 12_345, 1);
    calls::munmap(memory, 1 << 20).map_err(failed)?;
    if content == b"works" { Ok(()) } else { Err("afterwards: a file differs".into()) }
}
