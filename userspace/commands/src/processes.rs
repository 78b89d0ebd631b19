//! `ps` and `kill`.

use crate::Call;
use crate::files::names_in;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::format::duration;
use commands::options::number;
use lemma_rt::{Errno, eprintln, io, println, show, sys};

/// Clock ticks per second in `/proc/PID/stat`.
const TICKS: u64 = 100;

pub(crate) fn ps(call: &Call) -> i32 {
    let names = match names_in(b"/proc") {
        Ok(names) => names,
        Err(error) => return call.fail(b"/proc", error),
    };
    let mut pids: Vec<u32> = names.iter().filter_map(|name| number(name)).collect();
    pids.sort_unstable();
    println!("  PID  PPID S     TIME COMMAND");
    for pid in pids {
        // One that has ended meanwhile is no error.
        if let Some(line) = describe(pid) {
            println!("{line}");
        }
    }
    0
}

/// A line for one process, from `stat` and `cmdline` of proc(5).
fn describe(pid: u32) -> Option<String> {
    let stat = io::read_file(format!("/proc/{pid}/stat")).ok()?;
    let open = stat.iter().position(|&byte| byte == b'(')?;
    // The name may hold anything, a parenthesis too; so it ends with the last one.
    let close = stat.iter().rposition(|&byte| byte == b')')?;
    let name = stat.get(open + 1..close)?;
    let fields: Vec<&[u8]> = stat.get(close + 2..)?.split(|&byte| byte == b' ').collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or(b"?");
    let ticks = |index: usize| number::<u64>(field(index)).unwrap_or(0);
    let mut command = io::read_file(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    while command.last() == Some(&0) {
        command.pop();
    }
    for byte in command.iter_mut().filter(|byte| **byte == 0) {
        *byte = b' ';
    }
    if command.is_empty() {
        command = [b"[", name, b"]"].concat();
    }
    Some(format!(
        "{pid:5} {:>5} {} {} {}",
        show(field(1)),
        show(field(0)),
        duration((ticks(11) + ticks(12)) / TICKS),
        show(&command)
    ))
}

const SIGNALS: [(&[u8], i32); 14] = [
    (b"HUP", 1),
    (b"INT", 2),
    (b"QUIT", 3),
    (b"ABRT", 6),
    (b"KILL", 9),
    (b"USR1", 10),
    (b"SEGV", 11),
    (b"USR2", 12),
    (b"PIPE", 13),
    (b"ALRM", 14),
    (b"TERM", 15),
    (b"CHLD", 17),
    (b"CONT", 18),
    (b"STOP", 19),
];

/// The number of a signal given by number or name, with or without SIG.
fn signal_number(text: &[u8]) -> Option<i32> {
    let name = text.strip_prefix(b"SIG").unwrap_or(text);
    let known = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    known.or_else(|| number(text)).filter(|number| (0..=64).contains(number))
}

pub(crate) fn kill(call: &Call) -> i32 {
    let (signal, pids) = match call.arguments.as_slice() {
        [b"-l"] => {
            for (name, number) in SIGNALS {
                println!("{number:2} {}", show(name));
            }
            return 0;
        }
        [b"-s", name, pids @ ..] => (*name, pids),
        [option, pids @ ..] if option.starts_with(b"-") && option.len() > 1 => {
            (option.get(1..).unwrap_or(&[]), pids)
        }
        pids => (b"TERM".as_slice(), pids),
    };
    let Some(signal) = signal_number(signal) else {
        eprintln!("kill: {}: invalid signal", show(signal));
        return call.usage();
    };
    if pids.is_empty() {
        return call.usage();
    }
    call.each(pids, |pid| match number::<i32>(pid) {
        Some(number) => call.check(pid, sys::kill(number, signal)),
        None => call.fail(pid, Errno::INVAL),
    })
}
