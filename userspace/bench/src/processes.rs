//! Processes: fork, exec, pipes between them, yielding.

use crate::basic::{close, read, write};
use crate::measure::Bench;
use crate::memory;
use alloc::ffi::CString;
use core::sync::atomic::{AtomicU64, Ordering};
use lemma_rt::general::{__NR_pipe2, __NR_sched_yield, __NR_socketpair};
use lemma_rt::{Errno, Result, arch, println, sys, syscall};

/// `AF_UNIX`, `SOCK_STREAM`.
const AF_UNIX: usize = 1;
const SOCK_STREAM: usize = 1;

/// Starts a child that runs `run` and exits.
fn start(run: impl FnOnce()) -> Result<i32> {
    match sys::fork()? {
        Some(pid) => Ok(pid),
        None => {
            run();
            sys::exit(0)
        }
    }
}

fn pipe() -> Result<[usize; 2]> {
    let mut ends = [0i32; 2];
    // SAFETY: the kernel fills two integers.
    unsafe { syscall!(__NR_pipe2, ends.as_mut_ptr(), 0) }?;
    Ok(ends.map(|end| end as usize))
}

fn sched_yield() -> Result<usize> {
    // SAFETY: touches no memory.
    unsafe { syscall!(__NR_sched_yield) }
}

/// The program that is started: on the root of the disk, or beside this one.
fn hello() -> Option<CString> {
    let own = lemma_rt::show(lemma_rt::arguments().next().unwrap_or(b""));
    let beside = own
        .rsplit_once('/')
        .map_or("./hello".into(), |(directory, _)| alloc::format!("{directory}/hello"));
    ["/hello".into(), beside]
        .into_iter()
        .find(|path| lemma_rt::rustix::fs::stat(path.as_str()).is_ok())
        .and_then(|path| CString::new(path).ok())
}

pub(crate) fn run(bench: &Bench) {
    bench.row("fork_exit_wait", 30, 5, |_| sys::wait_for(start(|| {})?));
    match hello() {
        Some(path) => {
            let arguments = [path.clone()];
            let environment: alloc::vec::Vec<CString> =
                lemma_rt::environment().filter_map(|entry| CString::new(entry).ok()).collect();
            bench.row("fork_execve_wait", 20, 5, |_| {
                let status = sys::wait_for(start(|| {
                    sys::execute(&path, &arguments, &environment);
                    sys::exit(1)
                })?)?;
                if status.exited() == Some(0) { Ok(()) } else { Err(Errno::NOEXEC) }
            });
        }
        None => bench.failed("fork_execve_wait", Errno::NOENT),
    }
    if bench.wants_any(&["pipe_self_1byte", "pipe_pingpong_roundtrip"])
        && let Err(error) = pipes(bench)
    {
        bench.failed("pipe", error);
    }
    if bench.wants("unix_pingpong_roundtrip")
        && let Err(error) = sockets(bench)
    {
        bench.failed("unix_pingpong_roundtrip", error);
    }
    bench.row("sched_yield_alone", 500, 5, |_| sched_yield());
    if bench.wants("sched_yield_two_procs")
        && let Err(error) = two_yielding(bench)
    {
        bench.failed("sched_yield_two_procs", error);
    }
}

fn pipes(bench: &Bench) -> Result<()> {
    let (there, back) = (pipe()?, pipe()?);
    let mut byte = [0];
    bench.row("pipe_self_1byte", 500, 5, |_| {
        write(there[1], b"x")?;
        read(there[0], &mut byte)
    });
    let child = start(|| {
        let _ = close(there[1]);
        let mut byte = [0];
        while read(there[0], &mut byte) == Ok(1) {
            let _ = write(back[1], &byte);
        }
    })?;
    bench.row("pipe_pingpong_roundtrip", 300, 5, |_| {
        write(there[1], b"x")?;
        read(back[0], &mut byte)
    });
    for end in there.into_iter().chain(back) {
        let _ = close(end);
    }
    sys::wait_for(child).map(drop)
}

fn sockets(bench: &Bench) -> Result<()> {
    let mut ends = [0i32; 2];
    // SAFETY: the kernel fills two integers.
    unsafe { syscall!(__NR_socketpair, AF_UNIX, SOCK_STREAM, 0, ends.as_mut_ptr()) }?;
    let [here, there] = ends.map(|end| end as usize);
    let child = start(|| {
        let _ = close(here);
        let mut byte = [0];
        while read(there, &mut byte) == Ok(1) {
            let _ = write(there, &byte);
        }
    })?;
    close(there)?;
    let mut byte = [0];
    bench.row("unix_pingpong_roundtrip", 300, 5, |_| {
        write(here, b"x")?;
        read(here, &mut byte)
    });
    close(here)?;
    sys::wait_for(child).map(drop)
}

/// Two processes that do nothing but yield; counted over both.
fn two_yielding(bench: &Bench) -> Result<()> {
    let page = memory::map(4096, true)?;
    // SAFETY: mapped until the end of this function; zeros are valid counters.
    let [others, stop] = unsafe { &*(page as *const [AtomicU64; 2]) };
    let child = start(|| {
        while stop.load(Ordering::Relaxed) == 0 {
            others.fetch_add(1, Ordering::Relaxed);
            let _ = sched_yield();
        }
    })?;
    let mut tries = 0;
    while others.load(Ordering::Relaxed) < 200 && tries < 2_000_000 {
        let _ = sched_yield();
        tries += 1;
    }
    let first = others.load(Ordering::Relaxed);
    let mut own = 0;
    let start = arch::counter();
    while others.load(Ordering::Relaxed) - first < 500 && own < 2_000_000 {
        let _ = sched_yield();
        own += 1;
    }
    let ticks = arch::counter().wrapping_sub(start);
    let others = others.load(Ordering::Relaxed) - first;
    stop.store(1, Ordering::Relaxed);
    sys::wait_for(child)?;
    println!("# yields by this process {own}, by the other {others}");
    bench.report("sched_yield_two_procs", ticks * 100 / (own + others).max(1), "t/yield");
    memory::unmap(page, 4096).map(drop)
}
