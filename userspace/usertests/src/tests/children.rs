//! `waitid`: what it tells of children, and which it waits for.

use super::family;
use crate::calls::{self, raw};
use crate::check::{Outcome, check, equal, fails, ok};
use lemma_rt::general::{
    __NR_waitid, SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, WCONTINUED, WEXITED, WNOHANG, WNOWAIT,
    WSTOPPED,
};
use lemma_rt::{Result, sys};

family!("children": ends, stops, groups, nothing_yet, errors);

const ALL: usize = 0;
const ONE: usize = 1;
const GROUP: usize = 2;

const EXITED: i32 = 1;
const KILLED: i32 = 2;
const STOPPED: i32 = 5;
const CONTINUED: i32 = 6;

/// Signal, code, process and status of a `siginfo_t`.
type Told = (i32, i32, i32, i32);

fn wait(kind: usize, id: i32, options: u32) -> Result<Told> {
    let mut info = [-1i32; 32];
    let arguments = [kind, id as usize, info.as_mut_ptr() as usize, options as usize, 0, 0];
    raw(__NR_waitid as usize, arguments)?;
    // SAFETY: the array lives; the kernel has written into it.
    let info = unsafe { info.as_ptr().cast::<[i32; 32]>().read_volatile() };
    Ok((info[0], info[2], info[4], info[6]))
}

/// A child that runs this.
fn child(run: impl FnOnce() -> i32) -> Result<i32> {
    Ok(match sys::fork()? {
        None => sys::exit(run()),
        Some(pid) => pid,
    })
}

fn told(code: i32, pid: i32, status: u32) -> Result<Told> {
    Ok((SIGCHLD as i32, code, pid, status as i32))
}

fn ends() -> Outcome {
    let pid = ok!(child(|| 3));
    // Looked at only, it stays.
    equal!(wait(ONE, pid, WEXITED | WNOWAIT), told(EXITED, pid, 3));
    equal!(wait(ALL, 0, WEXITED | WNOWAIT), told(EXITED, pid, 3));
    equal!(wait(ONE, pid, WEXITED), told(EXITED, pid, 3));
    fails!(wait(ONE, pid, WEXITED), CHILD);
    let pid = ok!(child(|| {
        calls::pause_for(60_000);
        0
    }));
    ok!(sys::kill(pid, SIGKILL as i32));
    equal!(wait(ONE, pid, WEXITED), told(KILLED, pid, SIGKILL));
    Ok(())
}

fn stops() -> Outcome {
    let pid = ok!(child(|| {
        calls::pause_for(60_000);
        0
    }));
    ok!(sys::kill(pid, SIGSTOP as i32));
    equal!(wait(ONE, pid, WSTOPPED), told(STOPPED, pid, SIGSTOP));
    ok!(sys::kill(pid, SIGCONT as i32));
    equal!(wait(ONE, pid, WCONTINUED), told(CONTINUED, pid, SIGCONT));
    ok!(sys::kill(pid, SIGKILL as i32));
    equal!(wait(ONE, pid, WEXITED | WSTOPPED), told(KILLED, pid, SIGKILL));
    Ok(())
}

/// Only children of the group.
fn groups() -> Outcome {
    let own = ok!(child(|| 1));
    let other = ok!(child(|| {
        calls::pause_for(60_000);
        0
    }));
    ok!(calls::setpgid(other, other));
    ok!(sys::kill(other, SIGKILL as i32));
    equal!(wait(GROUP, other, WEXITED), told(KILLED, other, SIGKILL));
    fails!(wait(GROUP, other, WEXITED), CHILD);
    equal!(wait(GROUP, 0, WEXITED), told(EXITED, own, 1));
    Ok(())
}

/// Without a child that is ready, `WNOHANG` tells of none.
fn nothing_yet() -> Outcome {
    let pid = ok!(child(|| {
        calls::pause_for(60_000);
        0
    }));
    let (signal, _, of, _) = ok!(wait(ONE, pid, WEXITED | WNOHANG));
    equal!((signal, of), (0, 0));
    ok!(sys::kill(pid, SIGKILL as i32));
    // Nobody has to ask for the details.
    ok!(raw(__NR_waitid as usize, [ONE, pid as usize, 0, WEXITED as usize, 0, 0]));
    Ok(())
}

fn errors() -> Outcome {
    fails!(wait(ALL, 0, WEXITED), CHILD);
    fails!(wait(ALL, 0, 0), INVAL);
    fails!(wait(ALL, 0, WNOHANG), INVAL);
    fails!(wait(ALL, 0, WEXITED | 1 << 20), INVAL);
    fails!(wait(9, 0, WEXITED), INVAL);
    fails!(wait(ONE, 0, WEXITED), INVAL);
    let pid = ok!(child(|| 0));
    let bad = raw(__NR_waitid as usize, [ONE, pid as usize, 8, WEXITED as usize, 0, 0]);
    check!(bad == Err(lemma_rt::Errno::FAULT), " {bad:?}");
    Ok(())
}
