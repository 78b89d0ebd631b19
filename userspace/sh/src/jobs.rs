//! Jobs: what was started with `&` or stopped with ^Z; waiting for it, and going on with it.

use crate::shell::Shell;
use crate::{interactive, process};
use alloc::vec::Vec;
use lemma_rt::general::{SIGCONT, WNOHANG, WUNTRACED};
use lemma_rt::{eprintln, println, sys};

/// A process group that is not in the foreground.
pub(crate) struct Job {
    /// What the user calls it.
    number: i32,
    /// The group, which is its first process's number; that of the process alone without groups.
    group: i32,
    /// Its processes that have not been waited for.
    pids: Vec<i32>,
    stopped: bool,
    /// The status of the process that ended last.
    code: i32,
}

impl Job {
    fn text(&self) -> &'static str {
        if self.stopped { "stopped" } else { "running" }
    }
}

/// Notes a job; its number.
pub(crate) fn add(shell: &mut Shell, group: i32, pids: Vec<i32>, stopped: bool) -> i32 {
    let number = shell.jobs.iter().map(|job| job.number).max().unwrap_or(0) + 1;
    shell.jobs.push(Job { number, group, pids, stopped, code: 0 });
    number
}

/// Looks what has become of the jobs, and says which have ended or stopped.
pub(crate) fn report(shell: &mut Shell) {
    for job in &mut shell.jobs {
        let was_stopped = job.stopped;
        let Job { pids, stopped, code, .. } = job;
        pids.retain(|&pid| match sys::wait(pid, WNOHANG | WUNTRACED) {
            Ok(None) => true,
            Ok(Some((_, status))) if status.stopped().is_some() => {
                *stopped = true;
                true
            }
            Ok(Some((_, status))) => {
                *code = status.code();
                false
            }
            Err(_) => false,
        });
        match (job.pids.is_empty(), job.code) {
            (true, 0) => eprintln!("[{}] done {}", job.number, job.group),
            (true, code) => eprintln!("[{}] exit {code} {}", job.number, job.group),
            (false, _) if job.stopped && !was_stopped => {
                eprintln!("[{}] stopped {}", job.number, job.group);
            }
            (false, _) => {}
        }
    }
    shell.jobs.retain(|job| !job.pids.is_empty());
}

/// `jobs`: a line for each.
pub(crate) fn list(shell: &mut Shell) -> i32 {
    report(shell);
    for job in &shell.jobs {
        println!("[{}] {} {}", job.number, job.text(), job.group);
    }
    0
}

/// `wait`: waits for all jobs that run, or for one process; the status of the last.
pub(crate) fn wait(shell: &mut Shell, pid: Option<i32>) -> i32 {
    let wanted = |job: &Job| pid.is_none_or(|pid| job.pids.contains(&pid)) && !job.stopped;
    let mut code = if pid.is_some() { 127 } else { 0 };
    while let Some(at) = shell.jobs.iter().position(wanted) {
        let job = shell.jobs.remove(at);
        for each in job.pids {
            let ended = sys::wait_for(each).map_or(127, sys::Status::code);
            if pid == Some(each) {
                code = ended;
            }
        }
    }
    code
}

/// `fg` and `bg`: goes on with the job of this number, or the last one, and with `fg` waits for
/// it.
pub(crate) fn resume(shell: &mut Shell, number: Option<i32>, foreground: bool) -> i32 {
    report(shell);
    let found = match number {
        Some(number) => shell.jobs.iter().position(|job| job.number == number),
        None => shell.jobs.len().checked_sub(1),
    };
    let Some(at) = found.filter(|_| shell.interactive) else {
        eprintln!("sh: {}: no such job", if foreground { "fg" } else { "bg" });
        return 1;
    };
    let mut job = shell.jobs.remove(at);
    if foreground {
        interactive::give_foreground(job.group);
    }
    let _ = sys::kill(-job.group, SIGCONT as i32);
    // Said only now: what is typed after it is for the job.
    eprintln!("[{}] continued {}", job.number, job.group);
    if foreground {
        process::wait_in_foreground(shell, job.group, &job.pids);
        return shell.status;
    }
    job.stopped = false;
    shell.jobs.insert(at, job);
    0
}
