//! Commands that read text: cat head tail wc grep sort tee hexdump.
//!
//! Each reads the files named, or standard input; `-` is standard input too.

use crate::Call;
use alloc::string::String;
use alloc::vec::Vec;
use commands::format;
use commands::options::number;
use lemma_rt::rustix::fs::{Mode, OFlags, open};
use lemma_rt::{Errno, Result, io, println, rustix, show};

/// Feeds a file to `each` piece by piece, until it says `false`.
fn feed(path: &[u8], mut each: impl FnMut(&[u8]) -> Result<bool>) -> Result<()> {
    let opened;
    let file = if path == b"-" {
        io::descriptor(0)
    } else {
        opened = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fd::AsFd::as_fd(&opened)
    };
    let mut buffer = alloc::vec![0; 16 << 10];
    loop {
        match rustix::io::read(file, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                if !each(buffer.get(..count).unwrap_or(&[]))? {
                    return Ok(());
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// All of a file.
fn content(path: &[u8]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    feed(path, |piece| {
        all.extend_from_slice(piece);
        Ok(true)
    })?;
    Ok(all)
}

fn print(bytes: &[u8]) -> Result<()> {
    io::write_all(io::descriptor(1), bytes)
}

/// The files to read: those named, or standard input.
fn inputs<'a>(operands: &[&'a [u8]]) -> Vec<&'a [u8]> {
    if operands.is_empty() { [b"-".as_slice()].into() } else { operands.to_vec() }
}

/// The lines of a text, without their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").map_or((text, text.is_empty()), |text| (text, false));
    let (text, none) = text;
    text.split(|&byte| byte == b'\n').take(if none { 0 } else { usize::MAX })
}

pub(crate) fn cat(call: &Call) -> i32 {
    match call.options("u") {
        Ok(options) => call.each(&inputs(&options.operands), |path| {
            call.check(path, feed(path, |piece| print(piece).map(|()| true)))
        }),
        Err(status) => status,
    }
}

/// How many lines `head` and `tail` print; `-5` means `-n 5`.
fn line_count(call: &Call) -> core::result::Result<(usize, Vec<&'static [u8]>), i32> {
    let short = call.arguments.first().and_then(|word| number(word.strip_prefix(b"-")?));
    if let Some(count) = short {
        return Ok((count, call.arguments.get(1..).unwrap_or(&[]).to_vec()));
    }
    let options = call.options("n:")?;
    let count = match options.value(b'n') {
        None => 10,
        Some(text) => number(text).ok_or_else(|| call.usage())?,
    };
    Ok((count, options.operands))
}

pub(crate) fn head(call: &Call) -> i32 {
    let (count, operands) = match line_count(call) {
        Ok(found) => found,
        Err(status) => return status,
    };
    let several = operands.len() > 1;
    call.each(&inputs(&operands), |path| {
        if several {
            println!("==> {} <==", show(path));
        }
        let mut left = count;
        let result = feed(path, |piece| {
            if left == 0 {
                return Ok(false);
            }
            let mut end = piece.len();
            for (position, _) in piece.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                left -= 1;
                if left == 0 {
                    end = position + 1;
                    break;
                }
            }
            print(piece.get(..end).unwrap_or(piece))?;
            Ok(left > 0)
        });
        call.check(path, result)
    })
}

pub(crate) fn tail(call: &Call) -> i32 {
    let (count, operands) = match line_count(call) {
        Ok(found) => found,
        Err(status) => return status,
    };
    let several = operands.len() > 1;
    call.each(&inputs(&operands), |path| {
        if several {
            println!("==> {} <==", show(path));
        }
        let result = content(path).and_then(|text| {
            let body = text.strip_suffix(b"\n").unwrap_or(&text);
            let ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
            let start = match count.checked_sub(1) {
                None => text.len(),
                Some(skip) => ends.map(|(end, _)| end + 1).nth(skip).unwrap_or(0),
            };
            print(text.get(start..).unwrap_or(&[]))
        });
        call.check(path, result)
    })
}

pub(crate) fn wc(call: &Call) -> i32 {
    let options = match call.options("lwc") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let all = !(options.has(b'l') || options.has(b'w') || options.has(b'c'));
    let report = |counts: [usize; 3], name: &[u8]| {
        let wanted = b"lwc".iter().zip(counts).filter(|(letter, _)| all || options.has(**letter));
        let numbers: Vec<usize> = wanted.map(|(_, count)| count).collect();
        // A single number is not padded, as scripts expect.
        let width = if numbers.len() == 1 { 0 } else { 7 };
        let mut line = String::new();
        for number in numbers {
            line += &alloc::format!("{number:>width$} ");
        }
        line += &show(name);
        println!("{}", line.trim_end());
    };
    let mut total = [0; 3];
    let status = call.each(&inputs(&options.operands), |path| {
        let mut counts = [0, 0, 0];
        let mut within_word = false;
        let result = feed(path, |piece| {
            let [lines, words, bytes] = &mut counts;
            *bytes += piece.len();
            for byte in piece {
                *lines += usize::from(*byte == b'\n');
                let blank = byte.is_ascii_whitespace();
                *words += usize::from(!blank && !within_word);
                within_word = !blank;
            }
            Ok(true)
        });
        if result.is_ok() {
            report(counts, if options.operands.is_empty() { b"" } else { path });
            for (sum, count) in total.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        call.check(path, result)
    });
    if options.operands.len() > 1 {
        report(total, b"total");
    }
    status
}

pub(crate) fn grep(call: &Call) -> i32 {
    let options = match call.options("vncqiF") {
        Ok(options) => options,
        Err(_) => return 2,
    };
    let [wanted, files @ ..] = options.operands.as_slice() else { return call.usage() };
    let fold = |text: &[u8]| match options.has(b'i') {
        true => text.to_ascii_lowercase(),
        false => text.to_vec(),
    };
    let wanted = fold(wanted);
    let mut any = false;
    let mut failed = false;
    for path in inputs(files) {
        let text = match content(path) {
            Ok(text) => text,
            Err(error) => {
                call.fail(path, error);
                failed = true;
                continue;
            }
        };
        let label = if files.len() > 1 { show(path) + ":" } else { String::new() };
        let mut count = 0;
        let mut found = Vec::new();
        for (index, line) in lines(&text).enumerate() {
            let holds = wanted.is_empty()
                || fold(line).windows(wanted.len()).any(|part| part == wanted.as_slice());
            if holds == options.has(b'v') {
                continue;
            }
            count += 1;
            found.extend_from_slice(label.as_bytes());
            if options.has(b'n') {
                found.extend(alloc::format!("{}:", index + 1).bytes());
            }
            found.extend_from_slice(line);
            found.push(b'\n');
        }
        any |= count > 0;
        if options.has(b'q') {
            continue;
        }
        if options.has(b'c') {
            println!("{label}{count}");
        } else if let Err(error) = print(&found) {
            call.fail(b"write error", error);
            return 2;
        }
    }
    if failed { 2 } else { i32::from(!any) }
}

pub(crate) fn sort(call: &Call) -> i32 {
    let options = match call.options("rnu") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let mut text = Vec::new();
    let status = call.each(&inputs(&options.operands), |path| {
        let result = content(path).map(|more| {
            text.extend(more);
            if text.last().is_some_and(|&byte| byte != b'\n') {
                text.push(b'\n');
            }
        });
        call.check(path, result)
    });
    let mut sorted: Vec<&[u8]> = lines(&text).collect();
    if options.has(b'n') {
        sorted.sort_by_key(|line| {
            let line = line.trim_ascii_start();
            let negative = line.first() == Some(&b'-');
            let digits = line.strip_prefix(b"-").unwrap_or(line);
            let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let value: i64 = number(digits.get(..length).unwrap_or(&[])).unwrap_or(0);
            if negative { -value } else { value }
        });
    } else {
        sorted.sort_unstable();
    }
    if options.has(b'u') {
        sorted.dedup();
    }
    if options.has(b'r') {
        sorted.reverse();
    }
    let mut output = sorted.join(&b'\n');
    if !sorted.is_empty() {
        output.push(b'\n');
    }
    status.max(call.check(b"write error", print(&output)))
}

pub(crate) fn tee(call: &Call) -> i32 {
    let options = match call.options("a") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let how = if options.has(b'a') { OFlags::APPEND } else { OFlags::TRUNC };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | how;
    let mut status = 0;
    let mut outputs = Vec::new();
    for path in &options.operands {
        match open(*path, flags, Mode::from(0o666)) {
            Ok(output) => outputs.push((*path, output)),
            Err(error) => status = call.fail(path, error),
        }
    }
    let result = feed(b"-", |piece| {
        print(piece)?;
        for (path, output) in &outputs {
            if let Err(error) = io::write_all(output, piece) {
                status = call.fail(path, error);
            }
        }
        Ok(true)
    });
    call.check(b"-", result).max(status)
}

pub(crate) fn hexdump(call: &Call) -> i32 {
    let options = match call.options("C") {
        Ok(options) => options,
        Err(status) => return status,
    };
    call.each(&inputs(&options.operands), |path| {
        let mut offset = 0u64;
        let mut row = Vec::new();
        let mut last: Option<Vec<u8>> = None;
        let mut starred = false;
        let mut flush = |row: &mut Vec<u8>, offset: &mut u64| {
            // Rows like the one before are one star, as hexdump has it.
            if row.len() == 16 && last.as_deref() == Some(row.as_slice()) {
                if !starred {
                    println!("*");
                }
                starred = true;
            } else {
                starred = false;
                println!("{}", format::hexdump_line(*offset, row));
            }
            *offset += row.len() as u64;
            last = Some(core::mem::take(row));
        };
        let result = feed(path, |piece| {
            for &byte in piece {
                row.push(byte);
                if row.len() == 16 {
                    flush(&mut row, &mut offset);
                }
            }
            Ok(true)
        });
        if !row.is_empty() {
            flush(&mut row, &mut offset);
        }
        println!("{offset:08x}");
        call.check(path, result)
    })
}
