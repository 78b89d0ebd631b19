//! Runs tests: each in a process of its own, in an empty directory of its own, with a limit on
//! its time.

use crate::calls;
use crate::check::Failure;
use crate::tests;
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use lemma_rt::general::{SIGKILL, WNOHANG};
use lemma_rt::rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir};
use lemma_rt::rustix::fs::{lstat, open, unlinkat};
use lemma_rt::{eprintln, error_text, println, show, sys};

/// What the command line asks for.
#[derive(Default)]
pub(crate) struct Settings {
    /// A line for each test.
    pub(crate) verbose: bool,
    /// Goes on after a difference.
    pub(crate) keep_going: bool,
    /// Where the tests' directories are made; `/tmp` if it is empty.
    pub(crate) directory: Vec<u8>,
    /// Only tests whose names begin with one of these.
    pub(crate) names: Vec<String>,
    /// And none whose names begin with one of these.
    pub(crate) without: Vec<String>,
}

/// A test may take this long, in seconds; generous, for slow emulated machines.
const LIMIT: u64 = 120;

const SKIPPED: i32 = 77;

/// Runs what was asked for; the exit status.
pub(crate) fn run(settings: &Settings) -> i32 {
    let place = if settings.directory.is_empty() { b"/tmp" } else { settings.directory.as_slice() };
    let base = format!("{}/usertests.{}", show(place), calls::getpid());
    let Ok(base) = CString::new(base) else { return 2 };
    if let Err(error) = calls::mkdir(&base, 0o755) {
        eprintln!("usertests: {}: {}", base.to_string_lossy(), error_text(error));
        return 2;
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, test) in tests::all() {
        let wanted = |prefix: &String| name.starts_with(prefix.as_str());
        let all = settings.names.is_empty();
        if !(all || settings.names.iter().any(wanted)) || settings.without.iter().any(wanted) {
            continue;
        }
        if settings.verbose {
            lemma_rt::print!("{name}: ");
        }
        match run_one(&base, name, test) {
            0 => {
                passed += 1;
                if settings.verbose {
                    println!("ok");
                }
            }
            SKIPPED => skipped += 1,
            status => {
                failed += 1;
                eprintln!("usertests: {name} FAILED ({})", explain(status));
                if !settings.keep_going {
                    break;
                }
            }
        }
    }
    remove(base.as_bytes());
    println!("usertests: {passed} passed, {failed} failed, {skipped} skipped");
    if passed + failed + skipped == 0 {
        eprintln!("usertests: no test has such a name");
        return 2;
    }
    i32::from(failed > 0)
}

fn explain(status: i32) -> String {
    match status {
        1 => "see above".into(),
        -1 => format!("hung: no end within {LIMIT} s"),
        101 => "panicked".into(),
        signal @ 129.. => format!("killed by signal {}", signal - 128),
        status => format!("exit status {status}"),
    }
}

/// Runs a test; its exit status, -1 if it hung.
fn run_one(base: &CString, name: &str, test: tests::Test) -> i32 {
    let Ok(directory) = CString::new([base.as_bytes(), b"/", name.as_bytes()].concat()) else {
        return 2;
    };
    if let Err(error) = calls::mkdir(&directory, 0o755) {
        eprintln!("usertests: {}: {}", directory.to_string_lossy(), error_text(error));
        return 2;
    }
    let pid = match sys::fork() {
        Ok(Some(pid)) => pid,
        Ok(None) => sys::exit(child(&directory, name, test)),
        Err(error) => {
            eprintln!("usertests: fork: {}", error_text(error));
            return 2;
        }
    };
    let start = calls::monotonic();
    let status = loop {
        match sys::wait(pid, WNOHANG) {
            Ok(Some((_, status))) => break status.code(),
            Ok(None) | Err(lemma_rt::Errno::INTR) => {}
            Err(_) => break 2,
        }
        if calls::monotonic().saturating_sub(start) > LIMIT * 1_000_000_000 {
            let _ = sys::kill(pid, SIGKILL as i32);
            let _ = sys::wait_for(pid);
            break -1;
        }
        calls::pause_for(1);
    };
    remove(directory.as_bytes());
    status
}

/// In the test's process.
fn child(directory: &CString, name: &str, test: tests::Test) -> i32 {
    if let Err(error) = calls::chdir(directory) {
        eprintln!("usertests: {}: {}", directory.to_string_lossy(), error_text(error));
        return 2;
    }
    match test() {
        Ok(()) => 0,
        Err(Failure::Differs(text)) => {
            eprintln!("{name}: {text}");
            1
        }
        Err(Failure::Skipped(reason)) => {
            println!("usertests: {name} SKIPPED: {reason}");
            SKIPPED
        }
    }
}

/// Removes a directory with all that is in it, as far as that works.
pub(crate) fn remove(path: &[u8]) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let _ = calls::chmod_path(path, 0o700);
    let mut names = Vec::new();
    if let Ok(directory) = open(path, flags, Mode::empty()) {
        let mut buffer = Vec::with_capacity(8192);
        let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
        while let Some(Ok(entry)) = entries.next() {
            names.push(entry.file_name().to_bytes().to_vec());
        }
    }
    for name in names.iter().filter(|name| *name != b"." && *name != b"..") {
        let inner = [path, b"/", name].concat();
        let is_directory = lstat(inner.as_slice())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        if is_directory {
            remove(&inner);
        } else {
            let _ = unlinkat(CWD, inner.as_slice(), AtFlags::empty());
        }
    }
    let _ = unlinkat(CWD, path, AtFlags::REMOVEDIR);
}
