//! Children: process groups, finding and starting programs, waiting.

use crate::shell::{Flow, Shell};
use crate::{c_path, interactive, jobs, run};
use alloc::ffi::CString;
use alloc::vec::Vec;
use lemma_rt::general::{SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, WUNTRACED};
use lemma_rt::rustix::process::{Pid, setpgid};
use lemma_rt::{Errno, eprintln, error_text, io, show, signal, sys};
use sh::Bytes;
use sh::parser::parse;

/// Signals that an interactive shell handles or ignores, and its children do not.
const SHELL_SIGNALS: [u32; 6] = [SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU];

/// Prepares an interactive shell: ^C only interrupts what it does, the rest is ignored.
pub(crate) fn ignore_signals() {
    extern "C" fn interrupt(_: i32) {
        crate::shell::INTERRUPTED.store(true, core::sync::atomic::Ordering::Relaxed);
    }
    for number in SHELL_SIGNALS {
        let _ = signal::ignore(number as i32);
    }
    // SAFETY: the handler stores to an atomic, no more.
    let _ = unsafe { signal::set_handler(SIGINT as i32, interrupt as *const () as usize, 0, 0) };
}

/// In a child: no longer the interactive shell.
pub(crate) fn become_child(shell: &mut Shell) {
    if shell.interactive {
        for number in SHELL_SIGNALS {
            let _ = signal::reset(number as i32);
        }
    }
    shell.interactive = false;
    shell.jobs.clear();
}

/// In a child that is a job, or one process of the job with this group: as [`become_child`], in the
/// job's process group. The first process of a job in the foreground takes the terminal itself: when
/// it first reads, the shell may not have come to give it. SIGTTOU is still ignored then.
pub(crate) fn become_job(shell: &mut Shell, group: Option<i32>, foreground: bool) {
    if shell.interactive {
        set_group(0, group.unwrap_or(0));
        if foreground && group.is_none() {
            interactive::take_foreground();
        }
    }
    become_child(shell);
}

/// In the shell: the same for a child that is now the first of a job in the foreground. Those that
/// are started after it find that the terminal is theirs.
pub(crate) fn started_job(shell: &Shell, pid: i32) {
    if shell.interactive {
        set_group(pid, pid);
        interactive::give_foreground(pid);
    }
}

/// `setpgid`, in both parent and child, so that whoever comes first does it. A child that has
/// already run its program or ended is in its group; so errors do not matter.
pub(crate) fn set_group(pid: i32, group: i32) {
    let _ = setpgid(Pid::from_raw(pid), Pid::from_raw(group));
}

/// Waits for the children of a foreground pipeline; the last one's status is the status.
pub(crate) fn wait_for_foreground(shell: &mut Shell, pids: &[i32]) {
    if let Some(&group) = pids.first() {
        wait_in_foreground(shell, group, pids);
    }
}

/// Waits for these processes of a group that has the terminal, until they have ended, or one has
/// stopped: then they are a job.
pub(crate) fn wait_in_foreground(shell: &mut Shell, group: i32, pids: &[i32]) {
    let mut rest = pids;
    while let [pid, after @ ..] = rest {
        match wait_for(*pid, shell.interactive) {
            Ok(status) if status.stopped().is_some() => {
                shell.status = status.code();
                shell.flow = Flow::Interrupt;
                let number = jobs::add(shell, group, rest.to_vec(), true);
                eprintln!("\n[{number}] stopped {group}");
                break;
            }
            Ok(status) => note_end(shell, status),
            Err(error) => run::fail(shell, 127, "wait", error),
        }
        rest = after;
    }
    if shell.interactive {
        interactive::take_foreground();
    }
}

/// Waits until a child has ended, or stopped if that is wanted.
fn wait_for(pid: i32, or_stopped: bool) -> lemma_rt::Result<sys::Status> {
    let options = if or_stopped { WUNTRACED } else { 0 };
    loop {
        match sys::wait(pid, options) {
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// A child in the foreground has ended.
fn note_end(shell: &mut Shell, status: sys::Status) {
    shell.status = status.code();
    match status.signaled().map(|number| number as u32) {
        Some(SIGINT) if shell.interactive => {
            eprintln!();
            shell.flow = Flow::Interrupt;
        }
        None | Some(SIGINT | SIGPIPE) => {}
        Some(number) => eprintln!("{}", signal_text(number)),
    }
}

/// What a shell says when a signal has killed a program.
fn signal_text(number: u32) -> alloc::string::String {
    const TEXTS: [(u32, &str); 10] = [
        (1, "Hangup"),
        (3, "Quit"),
        (4, "Illegal instruction"),
        (5, "Trace/breakpoint trap"),
        (6, "Aborted"),
        (7, "Bus error"),
        (8, "Floating point exception"),
        (9, "Killed"),
        (11, "Segmentation fault"),
        (15, "Terminated"),
    ];
    match TEXTS.iter().find(|(known, _)| *known == number) {
        Some((_, text)) => (*text).into(),
        None => alloc::format!("Signal {number}"),
    }
}

/// Where programs of this name may be.
pub(crate) fn candidates(shell: &Shell, name: &[u8]) -> Vec<CString> {
    if name.contains(&b'/') {
        return c_path(name).into_iter().collect();
    }
    let path = shell.get(b"PATH").cloned().unwrap_or_default();
    let within = |directory: &[u8]| {
        let directory = if directory.is_empty() { b"." } else { directory };
        c_path(&[directory, b"/", name].concat())
    };
    path.split(|&byte| byte == b':').filter_map(within).collect()
}

/// In a child: runs a program. One that the kernel does not know how to run is taken for a script.
pub(crate) fn execute(shell: &mut Shell, words: &[Bytes], assignments: &[(Bytes, Bytes)]) -> ! {
    let name = words.first().map_or(b"".as_slice(), Bytes::as_slice);
    let arguments: Vec<CString> =
        words.iter().filter_map(|word| CString::new(word.as_slice()).ok()).collect();
    let environment = shell.environment(assignments);
    let mut failure = Errno::NOENT;
    for path in candidates(shell, name) {
        let error = sys::execute(&path, &arguments, &environment);
        match error {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::NOEXEC => run_script(shell, path.to_bytes(), words),
            error => failure = error,
        }
        if failure != Errno::NOENT {
            break;
        }
    }
    if failure == Errno::NOENT {
        let text = if name.contains(&b'/') { "No such file or directory" } else { "not found" };
        eprintln!("sh: {}: {text}", show(name));
        sys::exit(127)
    }
    eprintln!("sh: {}: {}", show(name), error_text(failure));
    sys::exit(126)
}

/// Runs a script in this process, unless it is not text.
fn run_script(shell: &mut Shell, path: &[u8], words: &[Bytes]) -> ! {
    let text = io::read_file(path).unwrap_or_default();
    let first_line = text.split(|&byte| byte == b'\n').next().unwrap_or(&[]);
    if !first_line.contains(&0)
        && let Ok(list) = parse(&text)
    {
        let arguments: Vec<&[u8]> = words.iter().skip(1).map(Bytes::as_slice).collect();
        shell.set_arguments(&arguments);
        shell.name = path.to_vec();
        run::list(shell, &list);
        sys::exit(shell.exit_status())
    }
    eprintln!("sh: {}: {}", show(path), error_text(Errno::NOEXEC));
    sys::exit(126)
}
