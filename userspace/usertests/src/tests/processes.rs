//! fork, exit, wait4, numbers, groups, sessions.

use super::family;
use crate::calls::{self, in_child, wait4};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use crate::shared::Shared;
use core::sync::atomic::{AtomicU32, Ordering};
use lemma_rt::general::{CLONE_VFORK, CLONE_VM, SIGCHLD, SIGKILL, WNOHANG};
use lemma_rt::{arch, sys};

family!("processes":
    exit_status, numbers, no_children, wait_for_one, wait_nohang, wait_for_any, wait_errors,
    copy_on_write, orphans, groups, sessions, killed, many, deep, vfork_and_fork_calls,
    fault_kills, divide_kills, illegal_kills, killed_in_vfork, identifiers, scheduling
);

fn exit_status() -> Outcome {
    for code in [0, 1, 77, 255] {
        equal!(ok!(in_child(|| code)).exited(), Some(code));
    }
    // Only the low byte counts.
    equal!(ok!(in_child(|| 256 + 3)).exited(), Some(3));
    // `exit` ends the only thread, so the process.
    let status = ok!(in_child(|| {
        let _ = calls::raw(lemma_rt::general::__NR_exit as usize, [9, 0, 0, 0, 0, 0]);
        1
    }));
    equal!(status.exited(), Some(9));
    Ok(())
}

fn numbers() -> Outcome {
    let me = calls::getpid();
    check!(me > 1);
    equal!(calls::gettid(), Ok(me));
    let status = ok!(in_child(|| {
        let fine = calls::getppid() == Ok(me) && calls::getpid() != me;
        i32::from(!fine)
    }));
    equal!(status.exited(), Some(0));
    check!(ok!(calls::getppid()) > 0);
    Ok(())
}

fn no_children() -> Outcome {
    fails!(sys::wait(-1, 0), CHILD);
    fails!(sys::wait(-1, WNOHANG), CHILD);
    fails!(sys::wait(1, 0), CHILD);
    Ok(())
}

fn start(code: i32, milliseconds: i64) -> lemma_rt::Result<i32> {
    match sys::fork()? {
        Some(pid) => Ok(pid),
        None => {
            calls::pause_for(milliseconds);
            sys::exit(code)
        }
    }
}

fn wait_for_one() -> Outcome {
    let slow = ok!(start(1, 100));
    let quick = ok!(start(2, 0));
    let mut status = 0;
    equal!(wait4(slow, &mut status, 0), Ok(slow));
    equal!(status, 1 << 8);
    equal!(wait4(quick, &mut status, 0), Ok(quick));
    equal!(status, 2 << 8);
    fails!(wait4(quick, &mut status, 0), CHILD);
    Ok(())
}

fn wait_nohang() -> Outcome {
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    let Some(pid) = ok!(sys::fork()) else {
        let _ = calls::close(ends[1]);
        let _ = calls::read(ends[0], &mut [0]);
        sys::exit(5)
    };
    let mut status = 99;
    equal!(wait4(pid, &mut status, WNOHANG), Ok(0));
    equal!(calls::write(ends[1], b"x"), Ok(1));
    equal!(wait4(pid, &mut status, 0), Ok(pid));
    equal!(status, 5 << 8);
    Ok(())
}

fn wait_for_any() -> Outcome {
    let mut pids = alloc::vec::Vec::new();
    for code in 0..5 {
        pids.push(ok!(start(code, 10)));
    }
    let mut codes = 0;
    for _ in 0..5 {
        let (pid, status) = ok!(ok!(sys::wait(-1, 0)).ok_or(lemma_rt::Errno::CHILD));
        let code = status.exited().unwrap_or(-1);
        equal!(pids.get(code as usize), Some(&pid));
        codes |= 1 << code;
    }
    equal!(codes, 0b11111);
    fails!(sys::wait(-1, 0), CHILD);
    Ok(())
}

fn wait_errors() -> Outcome {
    let mut status = 0;
    fails!(wait4(-1, &mut status, 0x1000), INVAL);
    let pid = ok!(start(0, 0));
    calls::pause_for(20);
    let wait4_number = lemma_rt::general::__NR_wait4 as usize;
    // No status asked for.
    equal!(calls::raw(wait4_number, [pid as usize, 0, 0, 0, 0, 0]), Ok(pid as usize));
    let pid = ok!(start(0, 0));
    fails!(calls::raw(wait4_number, [pid as usize, 8, 0, 0, 0, 0]), FAULT);
    Ok(())
}

fn copy_on_write() -> Outcome {
    const PAGES: usize = 64;
    let memory = ok!(calls::map(PAGES * 4096));
    for page in 0..PAGES {
        calls::poke(memory + page * 4096, page as u8);
    }
    let child = || {
        for page in 0..PAGES {
            if calls::peek(memory + page * 4096) != page as u8 {
                return 1;
            }
            calls::poke(memory + page * 4096, 200);
        }
        // A grandchild sees the child's.
        let grandchild = || i32::from(calls::peek(memory + 4096) != 200);
        in_child(grandchild).map_or(2, sys::Status::code)
    };
    equal!(ok!(in_child(child)).code(), 0);
    for page in 0..PAGES {
        equal!(calls::peek(memory + page * 4096), page as u8);
    }
    // What the parent changes, a child does not see.
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    let Some(pid) = ok!(sys::fork()) else {
        let mut byte = [0];
        let _ = calls::read(ends[0], &mut byte);
        sys::exit(i32::from(calls::peek(memory) != 0));
    };
    calls::poke(memory, 77);
    equal!(calls::write(ends[1], b"x"), Ok(1));
    equal!(ok!(sys::wait_for(pid)).code(), 0);
    Ok(())
}

fn orphans() -> Outcome {
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    let me = calls::getpid();
    let status = ok!(in_child(|| {
        let parent = calls::getpid();
        match sys::fork() {
            Ok(None) => {
                // Someone else becomes the parent when ours has ended.
                while calls::getppid() == Ok(parent) {
                    calls::pause_for(1);
                }
                let foster = calls::getppid().unwrap_or(0);
                let fine = foster > 0 && foster != me;
                let _ = calls::write(ends[1], if fine { b"y" } else { b"n" });
                0
            }
            _ => 0,
        }
    }));
    equal!(status.code(), 0);
    let mut byte = [0];
    equal!(calls::read(ends[0], &mut byte), Ok(1));
    equal!(&byte, b"y");
    Ok(())
}

fn groups() -> Outcome {
    let me = calls::getpid();
    let group = ok!(calls::getpgid(0));
    equal!(calls::getpgid(me), Ok(group));
    let child = || {
        let child = calls::getpid();
        let inherited = calls::getpgid(0) == Ok(group);
        let set = calls::setpgid(0, 0).is_ok() && calls::getpgid(0) == Ok(child);
        i32::from(!(inherited && set))
    };
    equal!(ok!(in_child(child)).code(), 0);
    fails!(calls::setpgid(0, -1), INVAL);
    fails!(calls::getpgid(i32::MAX), SRCH);
    fails!(calls::setpgid(1, 0), SRCH);
    // Waiting for a group.
    let Some(pid) = ok!(sys::fork()) else {
        let _ = calls::setpgid(0, 0);
        calls::pause_for(20);
        sys::exit(4)
    };
    let _ = calls::setpgid(pid, pid);
    let mut status = 0;
    equal!(wait4(-pid, &mut status, 0), Ok(pid));
    equal!(status, 4 << 8);
    Ok(())
}

fn sessions() -> Outcome {
    let session = ok!(calls::getsid(0));
    check!(session >= 0);
    let child = || {
        let me = calls::getpid();
        let leads =
            calls::setsid() == Ok(me) && calls::getsid(0) == Ok(me) && calls::getpgid(0) == Ok(me);
        // A group's leader cannot start another session.
        let again = calls::setsid() == Err(lemma_rt::Errno::PERM);
        i32::from(!(leads && again))
    };
    equal!(ok!(in_child(child)).code(), 0);
    equal!(calls::getsid(0), Ok(session));
    Ok(())
}

fn killed() -> Outcome {
    let pid = ok!(start(0, 10_000));
    ok!(sys::kill(pid, SIGKILL as i32));
    let status = ok!(sys::wait_for(pid));
    equal!(status.signaled(), Some(SIGKILL as i32));
    equal!(status.exited(), None);
    fails!(sys::kill(pid, 0), SRCH);
    Ok(())
}

fn many() -> Outcome {
    for round in 0..100 {
        equal!(ok!(in_child(|| round)).exited(), Some(round));
    }
    let mut pids = alloc::vec::Vec::new();
    for _ in 0..40 {
        pids.push(ok!(start(0, 5)));
    }
    for pid in pids {
        equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    }
    Ok(())
}

/// A chain of processes, each the child of the one before.
fn deep() -> Outcome {
    fn descend(depth: i32) -> i32 {
        if depth == 0 {
            return 0;
        }
        match in_child(|| descend(depth - 1)) {
            Ok(status) => status.exited().map_or(200, |code| code + 1),
            Err(_) => 201,
        }
    }
    equal!(descend(20), 20);
    Ok(())
}

fn vfork_and_fork_calls() -> Outcome {
    let Some(legacy) = arch::LEGACY_CALLS else { return Ok(()) };
    match ok!(calls::raw(legacy.fork, [0; 6])) {
        0 => sys::exit(6),
        pid => equal!(ok!(sys::wait_for(pid as i32)).exited(), Some(6)),
    }
    Ok(())
}

fn fault_kills() -> Outcome {
    for address in [0usize, 8, 1 << 63, usize::MAX - 7, 0xffff_8000_0000_0000] {
        let read = ok!(in_child(|| i32::from(calls::peek(address))));
        equal!(read.signaled(), Some(11));
        let write = ok!(in_child(|| {
            calls::poke(address, 1);
            0
        }));
        equal!(write.signaled(), Some(11));
    }
    // Running what is not there.
    let status = ok!(in_child(|| {
        // SAFETY: in a child, which dies of it.
        let nowhere: extern "C" fn() = unsafe { core::mem::transmute(4096usize) };
        nowhere();
        0
    }));
    equal!(status.signaled(), Some(11));
    Ok(())
}

fn divide_kills() -> Outcome {
    let Some(status) = ok!(trap(arch::divide_by_zero)) else { return Ok(()) };
    equal!(status, 8);
    Ok(())
}

fn illegal_kills() -> Outcome {
    let Some(status) = ok!(trap(arch::illegal_instruction)) else { return Ok(()) };
    equal!(status, 4);
    Ok(())
}

/// The signal of which a child dies when it runs this; `None` if it lives.
fn trap(run: fn()) -> lemma_rt::Result<Option<i32>> {
    let status = in_child(|| {
        run();
        0
    })?;
    Ok(status.signaled())
}

/// What the child of a `vfork` has done.
const STARTED: u32 = 1;
const ENDED: u32 = 2;

/// Says who runs and that it does, sleeps long, and says that it has.
extern "C" fn sleep_long(shared: usize) {
    // SAFETY: memory that is shared with the test, which holds it until all have ended.
    let [number, state] = unsafe { &*(shared as *const [AtomicU32; 2]) };
    number.store(calls::gettid().unwrap_or(0) as u32, Ordering::Relaxed);
    state.store(STARTED, Ordering::Release);
    calls::pause_for(60_000);
    state.store(ENDED, Ordering::Release);
}

/// A process that waits for the child of its `vfork` can be killed while that goes on.
fn killed_in_vfork() -> Outcome {
    let shared: Shared<[AtomicU32; 2]> = ok!(Shared::new());
    let [number, state] = shared.get();
    let pid = match ok!(sys::fork()) {
        Some(pid) => pid,
        None => {
            let mut stack = alloc::vec![0u128; 1024];
            let top = stack.as_mut_ptr_range().end as usize;
            let flags = (CLONE_VM | CLONE_VFORK | SIGCHLD) as usize;
            let mut tid = 0;
            let address = core::ptr::from_ref(shared.get()) as usize;
            // SAFETY: this process waits until the child, which uses the stack, has ended.
            unsafe { arch::clone_thread(flags, top, &raw mut tid, sleep_long, address) };
            sys::exit(1);
        }
    };
    while state.load(Ordering::Acquire) == 0 {
        calls::pause_for(1);
    }
    ok!(sys::kill(pid, SIGKILL as i32));
    equal!(ok!(sys::wait_for(pid)).signaled(), Some(SIGKILL as i32));
    equal!(state.load(Ordering::Acquire), STARTED);
    check!(number.load(Ordering::Relaxed) > 0);
    ok!(sys::kill(number.load(Ordering::Relaxed) as i32, SIGKILL as i32));
    Ok(())
}

/// The three identifiers of the user, as `getresuid` tells them.
fn users() -> lemma_rt::Result<[u32; 3]> {
    let mut ids = [0u32; 3];
    let at = ids.as_mut_ptr() as usize;
    let arguments = [at, at + 4, at + 8, 0, 0, 0];
    calls::raw(lemma_rt::general::__NR_getresuid as usize, arguments)?;
    // SAFETY: the array lives; the kernel has written into it.
    Ok(unsafe { ids.as_ptr().cast::<[u32; 3]>().read_volatile() })
}

fn identifiers() -> Outcome {
    use lemma_rt::general::{__NR_setgroups, __NR_setresuid, __NR_setreuid};
    if calls::getuid() != Ok(0) {
        skip!("needs the superuser");
    }
    const KEEP: usize = u32::MAX as usize;
    let set =
        |ids: [usize; 3]| calls::raw(__NR_setresuid as usize, [ids[0], ids[1], ids[2], 0, 0, 0]);
    let exchange = |real: usize, effective: usize| {
        calls::raw(__NR_setreuid as usize, [real, effective, 0, 0, 0, 0])
    };
    equal!(calls::raw(__NR_setgroups as usize, [0; 6]), Ok(0));
    ok!(set([10, 20, 30]));
    equal!(users(), Ok([10, 20, 30]));
    // Without privilege, each may be one of the three.
    fails!(set([11, KEEP, KEEP]), PERM);
    ok!(set([KEEP, 30, KEEP]));
    equal!(users(), Ok([10, 30, 30]));
    ok!(set([30, 10, KEEP]));
    equal!(users(), Ok([30, 10, 30]));
    fails!(exchange(KEEP, 20), PERM);
    // The real one may not become the saved one.
    ok!(set([10, 10, 30]));
    fails!(exchange(30, KEEP), PERM);
    ok!(exchange(KEEP, 30));
    equal!(users(), Ok([10, 30, 30]));
    ok!(exchange(30, 10));
    equal!(users(), Ok([30, 10, 10]));
    fails!(calls::raw(__NR_setgroups as usize, [0; 6]), PERM);
    Ok(())
}

fn scheduling() -> Outcome {
    use lemma_rt::general::{
        __NR_getpriority, __NR_sched_get_priority_max, __NR_sched_getscheduler,
    };
    let call =
        |number: u32, one: usize, two: usize| calls::raw(number as usize, [one, two, 0, 0, 0, 0]);
    equal!(call(__NR_sched_getscheduler, 0, 0), Ok(0));
    fails!(call(__NR_sched_getscheduler, usize::MAX, 0), INVAL);
    fails!(call(__NR_sched_getscheduler, 4_000_000, 0), SRCH);
    equal!(call(__NR_sched_get_priority_max, 1, 0), Ok(99));
    equal!(call(__NR_sched_get_priority_max, 0, 0), Ok(0));
    fails!(call(__NR_sched_get_priority_max, 99, 0), INVAL);
    check!(ok!(call(__NR_getpriority, 0, 0)) <= 40);
    fails!(call(__NR_getpriority, 7, 0), INVAL);
    fails!(call(__NR_getpriority, 0, 4_000_000), SRCH);
    Ok(())
}
