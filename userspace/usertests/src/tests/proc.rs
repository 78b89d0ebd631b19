//! `/proc`: states, threads, mounts, environment.

use super::family;
use crate::calls::{self, content, fstat, open, stat_of};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use lemma_rt::fd::pipe;
use lemma_rt::general::{O_DIRECTORY, O_RDONLY, SIGCONT, SIGKILL, SIGSTOP, WNOHANG, WUNTRACED};
use lemma_rt::rustix::fs::{RawDir, readlink};
use lemma_rt::thread::{futex_wait, futex_wake, spawn};
use lemma_rt::{Errno, io, show, sys};

family!("proc": states, threads, mount_tables, interrupts, environment, secrets);

fn path(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

fn text(name: &str) -> lemma_rt::Result<String> {
    content(&path(name)).map(|bytes| show(&bytes))
}

fn link(name: &str) -> String {
    readlink(name, Vec::new()).map_or_else(|_| String::new(), |target| show(target.as_bytes()))
}

fn names(directory: &str) -> Vec<String> {
    let Ok(fd) = open(&path(directory), O_RDONLY | O_DIRECTORY, 0) else { return Vec::new() };
    let mut buffer = Vec::with_capacity(8192);
    let mut entries = RawDir::new(io::descriptor(fd), buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(Ok(entry)) = entries.next() {
        names.push(show(entry.file_name().to_bytes()));
    }
    let _ = calls::close(fd);
    names
}

/// The state in `/proc/WHO/stat`, and the same in `/proc/WHO/status`.
fn state(who: &str) -> lemma_rt::Result<(String, String)> {
    let stat = text(&format!("/proc/{who}/stat"))?;
    let letter = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').next()).unwrap_or("");
    let status = text(&format!("/proc/{who}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("State:\t")).unwrap_or("");
    Ok((letter.into(), line.into()))
}

/// Waits until a process or a thread sleeps, and so is where it waits for what comes next.
pub(super) fn sleeps(who: &str) -> Outcome {
    becomes(who, "S", "S (sleeping)")
}

/// Waits until the state is this, for almost as long as a test may take.
pub(super) fn becomes(who: &str, letter: &str, words: &str) -> Outcome {
    let start = calls::monotonic();
    while calls::monotonic() - start < 90_000_000_000 {
        if ok!(state(who)) == (letter.into(), words.into()) {
            return Ok(());
        }
        calls::pause_for(5);
    }
    equal!(ok!(state(who)), (String::from(letter), String::from(words)));
    Ok(())
}

fn states() -> Outcome {
    equal!(ok!(state("self")), ("R".into(), "R (running)".into()));
    let pid = match ok!(sys::fork()) {
        Some(pid) => pid,
        None => loop {
            calls::pause_for(100_000);
        },
    };
    let who = format!("{pid}");
    sleeps(&who)?;
    for _ in 0..3 {
        ok!(sys::kill(pid, SIGSTOP as i32));
        equal!(calls::wait4(pid, &mut 0, WUNTRACED), Ok(pid));
        // Whoever has been told sees it.
        equal!(ok!(state(&who)), ("T".into(), "T (stopped)".into()));
        equal!(ok!(state(&format!("{pid}/task/{pid}"))).0, "T");
        ok!(sys::kill(pid, SIGCONT as i32));
        sleeps(&who)?;
    }
    ok!(sys::kill(pid, SIGKILL as i32));
    becomes(&who, "Z", "Z (zombie)")?;
    equal!(names(&format!("/proc/{pid}/task")), [".", "..", who.as_str()]);
    while ok!(sys::wait(pid, WNOHANG)).is_none() {
        calls::pause_for(1);
    }
    fails!(state(&who), NOENT);
    fails!(stat_of(&path(&format!("/proc/{pid}/task"))), NOENT);
    Ok(())
}

static TID: AtomicU32 = AtomicU32::new(0);
static END: AtomicU32 = AtomicU32::new(0);
static LINK_RIGHT: AtomicU32 = AtomicU32::new(0);

/// Names itself, looks where `thread-self` leads it, and waits for the end.
extern "C" fn thread(_: usize) {
    let tid = calls::gettid().unwrap_or(0);
    let wanted = format!("{}/task/{tid}", calls::getpid());
    LINK_RIGHT.store(u32::from(link("/proc/thread-self") == wanted), Ordering::Relaxed);
    TID.store(tid as u32, Ordering::Release);
    futex_wake(&TID, 1);
    while END.load(Ordering::Acquire) == 0 {
        futex_wait(&END, 0);
    }
}

fn threads() -> Outcome {
    let me = calls::getpid();
    equal!(link("/proc/self"), format!("{me}"));
    equal!(link("/proc/thread-self"), format!("{me}/task/{me}"));
    let other = ok!(spawn(thread, 0));
    while TID.load(Ordering::Acquire) == 0 {
        futex_wait(&TID, 0);
    }
    let tid = TID.load(Ordering::Relaxed);
    equal!(LINK_RIGHT.load(Ordering::Relaxed), 1);
    let mut listed = names("/proc/self/task");
    listed.sort();
    let mut wanted = [format!("{me}"), format!("{tid}"), ".".into(), "..".into()];
    wanted.sort();
    equal!(listed, wanted);
    let directory = format!("/proc/self/task/{tid}");
    sleeps(&format!("self/task/{tid}"))?;
    check!(ok!(text(&format!("{directory}/stat"))).starts_with(&format!("{tid} (")));
    let status = ok!(text(&format!("{directory}/status")));
    for line in [format!("Tgid:\t{me}"), format!("Pid:\t{tid}"), "Threads:\t2".into()] {
        check!(status.lines().any(|found| found == line), " {line} in {status}");
    }
    equal!(ok!(text(&format!("{directory}/comm"))), ok!(text("/proc/self/comm")));
    equal!(ok!(text(&format!("{directory}/cmdline"))), ok!(text("/proc/self/cmdline")));
    equal!(link(&format!("{directory}/exe")), link("/proc/self/exe"));
    check!(names(&format!("{directory}/fd")).len() >= 3);
    let inode = |name: &str| stat_of(&path(name)).map(|stat| stat.st_ino);
    check!(ok!(inode(&directory)) != ok!(inode(&format!("/proc/self/task/{me}"))));
    // A thread has no threads, and another process's thread is none of ours.
    fails!(stat_of(&path(&format!("{directory}/task"))), NOENT);
    fails!(stat_of(&path(&format!("/proc/self/task/{}", ok!(calls::getppid())))), NOENT);
    fails!(stat_of(c"/proc/self/task/x"), NOENT);
    let held = ok!(open(&path(&directory), O_RDONLY | O_DIRECTORY, 0));
    END.store(1, Ordering::Release);
    futex_wake(&END, 1);
    other.join();
    while stat_of(&path(&directory)).is_ok() {
        calls::pause_for(5);
    }
    fails!(stat_of(&path(&directory)), NOENT);
    equal!(names("/proc/self/task").len(), 3);
    ok!(fstat(held));
    Ok(())
}

fn mount_tables() -> Outcome {
    equal!(link("/proc/mounts"), "self/mounts");
    let mounts = ok!(text("/proc/mounts"));
    equal!(ok!(text("/proc/self/mounts")), mounts);
    equal!(ok!(text(&format!("/proc/self/task/{}/mounts", calls::getpid()))), mounts);
    let info = ok!(text("/proc/self/mountinfo"));
    equal!(info.lines().count(), mounts.lines().count());
    let mut root = false;
    for (line, of_mounts) in info.lines().zip(mounts.lines()) {
        let Some((before, after)) = line.split_once(" - ") else {
            check!(false, " no separator in {line}");
            continue;
        };
        let (before, after): (Vec<&str>, Vec<&str>) =
            (before.split(' ').collect(), after.split(' ').collect());
        let row: Vec<&str> = of_mounts.split(' ').collect();
        check!(before.len() >= 6 && after.len() == 3, " {line}");
        equal!(row.len(), 6);
        // The place, the type and the source are the same in both.
        equal!((before[4], after[0], after[1]), (row[1], row[2], row[0]));
        check!(before[0].parse::<u32>().is_ok() && before[1].parse::<u32>().is_ok(), " {line}");
        let access = before[5].split(',').next();
        check!(access == Some("ro") || access == Some("rw"), " {line}");
        if before[4] == "/proc" {
            equal!(after[0], "proc");
            let Some((major, minor)) = before[2].split_once(':') else { continue };
            let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
            let device = ok!(stat_of(c"/proc/version")).st_dev;
            equal!((number(major), number(minor)), (device >> 8 & 0xfff, device & 0xff));
        }
        root |= before[4] == "/";
    }
    check!(root, " the root in {info}");
    Ok(())
}

/// A column for each CPU; whoever sleeps is woken by an interrupt of the timer, which is counted.
fn interrupts() -> Outcome {
    const TIMERS: [&str; 3] = ["Local timer interrupts", "arch_timer", "riscv-timer"];
    let timer = || -> lemma_rt::Result<Vec<u64>> {
        let table = text("/proc/interrupts")?;
        let cpus = table.lines().next().unwrap_or("").matches("CPU").count();
        let mut rows = table.lines().filter(|row| TIMERS.iter().any(|timer| row.contains(timer)));
        let (_, counts) = rows.next().and_then(|row| row.split_once(':')).unwrap_or_default();
        let counts = counts.split_whitespace().take(cpus);
        Ok(counts.map_while(|count| count.parse().ok()).collect())
    };
    let before = ok!(timer());
    check!(!before.is_empty());
    for _ in 0..3 {
        calls::pause_for(10);
    }
    let after = ok!(timer());
    equal!(after.len(), before.len());
    check!(after.iter().zip(&before).all(|(after, before)| after >= before));
    let more = after.iter().sum::<u64>() - before.iter().sum::<u64>();
    check!(more >= 3, " {before:?}, then {after:?}");
    Ok(())
}

/// What a program was started with; nobody else's business.
fn environment() -> Outcome {
    let words = ["usertests", "--report", "environment"].map(path);
    let strings = [c"A=1", c"B=two words", c"C="].map(CString::from);
    let status = calls::in_child(|| {
        sys::execute(c"/proc/self/exe", &words, &strings);
        99
    });
    equal!(ok!(status).exited(), Some(0));
    equal!(ok!(stat_of(c"/proc/self/environ")).st_mode, 0o100_400);
    if calls::geteuid() != Ok(0) {
        skip!("only the superuser becomes another user");
    }
    let parent = path(&format!("/proc/{}/environ", calls::getpid()));
    let status = calls::in_child(|| {
        let other = calls::setgid(1000).is_ok() && calls::setuid(1000).is_ok();
        let refused = open(&parent, O_RDONLY, 0) == Err(Errno::ACCESS);
        i32::from(!(other && refused))
    });
    equal!(ok!(status).exited(), Some(0));
    Ok(())
}

/// What a process that was the superuser has is not for those whose identity it has taken on.
fn secrets() -> Outcome {
    if calls::geteuid() != Ok(0) {
        skip!("only the superuser becomes another user");
    }
    let become_other = || calls::setgid(1000).is_ok() && calls::setuid(1000).is_ok();
    let (reader, writer) = ok!(pipe());
    let pid = match ok!(sys::fork()) {
        Some(pid) => pid,
        None => {
            let ready = become_other();
            let _ = calls::write(writer, &[u8::from(ready)]);
            loop {
                calls::pause_for(100_000);
            }
        }
    };
    let mut ready = [0];
    equal!(calls::read(reader, &mut ready), Ok(1));
    equal!(ready, [1]);
    let place = |name: &str| path(&format!("/proc/{pid}/{name}"));
    let status = calls::in_child(|| {
        let mut wrong = i32::from(!become_other());
        for (bit, name) in ["environ", "maps"].iter().enumerate() {
            wrong |= i32::from(open(&place(name), O_RDONLY, 0) != Err(Errno::ACCESS)) << (bit + 1);
        }
        for (bit, name) in ["cwd", "exe", "root"].iter().enumerate() {
            let refused = readlink(place(name), Vec::new()).err() == Some(Errno::ACCESS);
            wrong |= i32::from(!refused) << (bit + 3);
        }
        let through = stat_of(&place("cwd/.")).err() == Some(Errno::ACCESS);
        let listed = open(&place("fd"), O_RDONLY | O_DIRECTORY, 0) == Err(Errno::ACCESS);
        wrong | i32::from(!through) << 6 | i32::from(!listed) << 7
    });
    equal!(ok!(status).exited(), Some(0));
    // The superuser sees them.
    equal!(ok!(stat_of(&place("environ"))).st_uid, 0);
    check!(readlink(place("cwd"), Vec::new()).is_ok());
    ok!(sys::kill(pid, SIGKILL as i32));
    ok!(sys::wait_for(pid));
    Ok(())
}

/// In the program that [`environment`] starts.
pub(super) fn environment_is_right() -> bool {
    content(c"/proc/self/environ").is_ok_and(|text| text == b"A=1\0B=two words\0C=\0")
}
