//! `ps` and `kill`.

use crate::Call;
use crate::files::names_in;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::format::duration;
use commands::options::number;
use lemma_rt::{Errno, eprintln, io, println, show, signal, sys};

/// Clock ticks per second in `/proc/PID/stat`.
const TICKS: u64 = 100;

pub(crate) fn ps(call: &Call) -> i32 {
    if let Err(status) = call.operands(..1) {
        return status;
    }
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

pub(crate) fn kill(call: &Call) -> i32 {
    if call.arguments == [b"-l"] {
        for (index, name) in signal::NAMES.iter().enumerate() {
            println!("{:2} {name}", index + 1);
        }
        return 0;
    }
    let (signal, pids) = match signal::kill_arguments(&call.arguments) {
        Ok((_, [])) => return call.usage(),
        Ok(found) => found,
        Err(signal) => {
            eprintln!("kill: {}: invalid signal", show(signal));
            return call.usage();
        }
    };
    call.each(pids, |pid| match number::<i32>(pid) {
        Some(number) => call.check(pid, sys::kill(number, signal)),
        None => call.fail(pid, Errno::INVAL),
    })
}
