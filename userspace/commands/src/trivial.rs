//! Commands of a few lines each.

use crate::{Call, base};
use alloc::vec::Vec;
use commands::options::number;
use lemma_rt::rustix::process::getcwd;
use lemma_rt::rustix::thread::{NanosleepRelativeResult, Timespec, nanosleep};
use lemma_rt::{environment, io, print, println, show};

pub(crate) fn succeed(_: &Call) -> i32 {
    0
}

pub(crate) fn fail(_: &Call) -> i32 {
    1
}

pub(crate) fn clear(call: &Call) -> i32 {
    if let Err(status) = call.operands(..1) {
        return status;
    }
    print!("\x1b[H\x1b[2J");
    0
}

pub(crate) fn echo(call: &Call) -> i32 {
    let (words, end) = match call.arguments.as_slice() {
        [b"-n", words @ ..] => (words, "".as_bytes()),
        words => (words, "\n".as_bytes()),
    };
    let text = [words.join(&b' ').as_slice(), end].concat();
    call.check(b"write error", io::write_all(io::descriptor(1), &text))
}

pub(crate) fn yes(call: &Call) -> i32 {
    let mut line = call.arguments.join(&b' ');
    if call.arguments.is_empty() {
        line.push(b'y');
    }
    line.push(b'\n');
    let block = line.repeat(4096 / line.len() + 1);
    loop {
        if let Err(error) = io::write_all(io::descriptor(1), &block) {
            return call.fail(b"write error", error);
        }
    }
}

pub(crate) fn env(call: &Call) -> i32 {
    if let Err(status) = call.operands(..1) {
        return status;
    }
    for entry in environment() {
        println!("{}", show(entry));
    }
    0
}

pub(crate) fn pwd(call: &Call) -> i32 {
    // There is one path of a directory here, the physical one.
    match call.options("LP") {
        Ok(options) if options.operands.is_empty() => {}
        Ok(_) => return call.usage(),
        Err(status) => return status,
    }
    match getcwd(Vec::new()) {
        Ok(directory) => {
            println!("{}", show(directory.as_bytes()));
            0
        }
        Err(error) => call.fail(b".", error),
    }
}

pub(crate) fn basename(call: &Call) -> i32 {
    let operands = match call.operands(1..=2) {
        Ok(operands) => operands,
        Err(status) => return status,
    };
    let (path, suffix) = match operands.as_slice() {
        [path] => (path, b"".as_slice()),
        [path, suffix] => (path, *suffix),
        _ => return call.usage(),
    };
    let mut path = *path;
    while path.len() > 1
        && let Some(shorter) = path.strip_suffix(b"/")
    {
        path = shorter;
    }
    let name = if path == b"/" { path } else { base(path) };
    let name = name.strip_suffix(suffix).filter(|name| !name.is_empty()).unwrap_or(name);
    println!("{}", show(name));
    0
}

pub(crate) fn dirname(call: &Call) -> i32 {
    let operands = match call.operands(1..2) {
        Ok(operands) => operands,
        Err(status) => return status,
    };
    let [path] = operands.as_slice() else { return call.usage() };
    let mut path = *path;
    while path.len() > 1
        && let Some(shorter) = path.strip_suffix(b"/")
    {
        path = shorter;
    }
    let directory = match path.iter().rposition(|&byte| byte == b'/') {
        None => b".",
        Some(0) => b"/",
        Some(position) => path.get(..position).unwrap_or(b"."),
    };
    println!("{}", show(directory));
    0
}

pub(crate) fn seq(call: &Call) -> i32 {
    let numbers: Option<Vec<i64>> = call.arguments.iter().map(|word| number(word)).collect();
    let (first, step, last) = match numbers.as_deref() {
        Some([last]) => (1, 1, *last),
        Some([first, last]) => (*first, 1, *last),
        Some([first, step, last]) if *step != 0 => (*first, *step, *last),
        _ => return call.usage(),
    };
    let mut value = first;
    while if step > 0 { value <= last } else { value >= last } {
        println!("{value}");
        match value.checked_add(step) {
            Some(next) => value = next,
            None => break,
        }
    }
    0
}

pub(crate) fn sleep(call: &Call) -> i32 {
    let [seconds] = call.arguments.as_slice() else { return call.usage() };
    let mut parts = seconds.splitn(2, |&byte| byte == b'.');
    let whole = parts.next().unwrap_or(b"");
    let whole = if whole.is_empty() { Some(0) } else { number::<i32>(whole) };
    let fraction = parts.next().unwrap_or(b"");
    let mut nanoseconds = Some(0i64);
    for index in 0..9 {
        let digit = fraction.get(index).copied().unwrap_or(b'0');
        nanoseconds = nanoseconds
            .filter(|_| digit.is_ascii_digit())
            .map(|value| value * 10 + i64::from(digit - b'0'));
    }
    let (Some(whole @ 0..), Some(nanoseconds)) = (whole, nanoseconds) else {
        return call.usage();
    };
    let mut left = Timespec { tv_sec: i64::from(whole), tv_nsec: nanoseconds };
    loop {
        match nanosleep(&left) {
            NanosleepRelativeResult::Ok => return 0,
            NanosleepRelativeResult::Interrupted(rest) => left = rest,
            NanosleepRelativeResult::Err(error) => return call.fail(seconds, error),
        }
    }
}
