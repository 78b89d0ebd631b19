//! Jobs: what was started with `&` or stopped with ^Z, and the commands for it: `jobs`, `wait`, `fg`,
//! `bg`, `kill`.

use crate::shell::{INTERRUPTED, Shell};
use crate::{interactive, process};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use lemma_rt::general::{SIGCONT, SIGHUP, SIGTERM, WNOHANG, WUNTRACED};
use lemma_rt::{Errno, Result, eprintln, error_text, println, show, signal, sys};
use sh::Bytes;

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

/// The job that a word names, by its place in the list: `%N`, or the last (`%%`, `%+`) or the last
/// but one (`%-`).
fn named(shell: &Shell, word: &[u8]) -> Option<usize> {
    match word.strip_prefix(b"%")? {
        b"" | b"%" | b"+" => shell.jobs.len().checked_sub(1),
        b"-" => shell.jobs.len().checked_sub(2),
        number => {
            let number = decimal(number)?;
            shell.jobs.iter().position(|job| job.number == number)
        }
    }
}

fn decimal(word: &[u8]) -> Option<i32> {
    core::str::from_utf8(word).ok()?.parse().ok()
}

fn no_such_job(command: &str, word: &[u8]) {
    eprintln!("sh: {command}: {}: no such job", show(word));
}

/// `wait [PID|%JOB...]`: waits for all jobs that run, or for these; the status of the last.
pub(crate) fn wait(shell: &mut Shell, words: &[Bytes]) -> i32 {
    let words = words.get(1..).unwrap_or(&[]);
    if words.is_empty() {
        while let Some(at) = shell.jobs.iter().position(|job| !job.stopped) {
            if wait_for_job(shell, at, None) == INTERRUPTED_STATUS {
                return INTERRUPTED_STATUS;
            }
        }
        return 0;
    }
    let mut code = 0;
    for word in words {
        let pid = decimal(word);
        let holds = |job: &Job| pid.is_some_and(|pid| job.pids.contains(&pid));
        let found = named(shell, word).or_else(|| shell.jobs.iter().position(holds));
        code = match found {
            Some(at) => wait_for_job(shell, at, pid),
            None => {
                if word.starts_with(b"%") {
                    no_such_job("wait", word);
                } else {
                    eprintln!("sh: wait: {}: not a child of this shell", show(word));
                }
                127
            }
        };
    }
    code
}

/// The status of a wait that ^C ended.
const INTERRUPTED_STATUS: i32 = 130;

/// Waits until all of a job has ended; the status of this process of it, or of its last.
fn wait_for_job(shell: &mut Shell, at: usize, pid: Option<i32>) -> i32 {
    let mut job = shell.jobs.remove(at);
    let mut code = job.code;
    while let Some(&each) = job.pids.first() {
        let ended = match sys::wait(each, 0) {
            Ok(Some((_, status))) => status.code(),
            Err(Errno::INTR) if INTERRUPTED.load(Ordering::Relaxed) => {
                shell.jobs.insert(at, job);
                return INTERRUPTED_STATUS;
            }
            Ok(None) | Err(Errno::INTR) => continue,
            Err(_) => 127,
        };
        job.pids.remove(0);
        if pid.is_none_or(|pid| pid == each) {
            code = ended;
        }
    }
    code
}

/// `fg` and `bg`, `[%JOB|N]`: goes on with a job, or the last one, and with `fg` waits for it.
pub(crate) fn resume(shell: &mut Shell, words: &[Bytes], foreground: bool) -> i32 {
    report(shell);
    let command = if foreground { "fg" } else { "bg" };
    let word = words.get(1).map_or(b"%%".as_slice(), Bytes::as_slice);
    let numbered = || named(shell, &[b"%", word].concat());
    let found = named(shell, word).or_else(numbered);
    let Some(at) = found.filter(|_| shell.interactive) else {
        no_such_job(command, word);
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

/// `kill [-SIGNAL] PID|%JOB...`; `None` if it was called wrongly.
pub(crate) fn kill(shell: &mut Shell, words: &[Bytes]) -> Option<i32> {
    let words: Vec<&[u8]> = words.iter().skip(1).map(Bytes::as_slice).collect();
    if words == [b"-l"] {
        println!("{}", signal::NAMES.join(" "));
        return Some(0);
    }
    let (signal, targets) = match signal::kill_arguments(&words) {
        Ok((_, [])) => return None,
        Ok(found) => found,
        Err(signal) => {
            eprintln!("sh: kill: {}: invalid signal", show(signal));
            return None;
        }
    };
    let mut code = 0;
    for &target in targets {
        let result = if target.starts_with(b"%") {
            let Some(at) = named(shell, target) else {
                no_such_job("kill", target);
                code = 1;
                continue;
            };
            kill_job(shell, at, signal)
        } else {
            decimal(target).ok_or(Errno::INVAL).and_then(|pid| sys::kill(pid, signal))
        };
        if let Err(error) = result {
            eprintln!("sh: kill: {}: {}", show(target), error_text(error));
            code = 1;
        }
    }
    Some(code)
}

/// Sends a signal to all of a job. One that is stopped goes on if it is asked to end: it would not
/// otherwise.
fn kill_job(shell: &mut Shell, at: usize, signal: i32) -> Result<()> {
    let has_group = shell.interactive;
    let Some(job) = shell.jobs.get_mut(at) else { return Err(Errno::SRCH) };
    let send = |signal| {
        if has_group { sys::kill(-job.group, signal) } else { sys::kill(job.group, signal) }
    };
    send(signal)?;
    if job.stopped && [SIGTERM, SIGHUP].contains(&(signal as u32)) {
        send(SIGCONT as i32)?;
    }
    if signal == SIGCONT as i32 {
        job.stopped = false;
    }
    Ok(())
}
