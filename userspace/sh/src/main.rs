//! The shell as a program: `sh [-ex] [-c commands | file] [arguments…]`.
//!
//! Reads commands from a string, a file, standard input, or with line editing from a terminal,
//! and runs them (`run`). The grammar and everything else that needs no system is in the library.
#![no_std]
#![no_main]

extern crate alloc;

mod builtin;
mod interactive;
mod jobs;
mod process;
mod run;
mod shell;

use alloc::ffi::CString;
use alloc::vec::Vec;
use lemma_rt::{arguments, eprintln, error_text, fd, io, println, rustix, show, sys};
use sh::Bytes;
use sh::parser::{ParseError, parse};
use shell::{Flow, Shell};

lemma_rt::entry!(main);

const USAGE: &str = "usage: sh [-ex] [-c commands | file] [arguments...]";

fn main() -> i32 {
    let mut words = arguments();
    let mut shell = Shell::new(words.next().unwrap_or(b"sh"));
    let mut words: Vec<&[u8]> = words.collect();
    let mut commands = None;
    while let Some(option) = words.first().filter(|word| word.len() > 1 && word.starts_with(b"-")) {
        let option = *option;
        words.remove(0);
        if option == b"--" {
            break;
        }
        if option == b"--help" {
            println!("{USAGE}");
            return 0;
        }
        for letter in option.iter().skip(1) {
            match letter {
                b'c' if words.is_empty() => {
                    eprintln!("sh: -c: commands expected");
                    return 2;
                }
                b'c' => commands = Some(words.remove(0)),
                b'e' => shell.stop_on_error = true,
                b'x' => shell.trace = true,
                _ => {
                    eprintln!("sh: {}: unknown option", show(option));
                    eprintln!("{USAGE}");
                    return 2;
                }
            }
        }
        if commands.is_some() {
            break;
        }
    }
    if let Some(commands) = commands {
        shell.set_arguments(&words);
        return run_text(&mut shell, commands);
    }
    if !words.is_empty() {
        let script = words.remove(0);
        shell.set_arguments(&words);
        shell.name = script.to_vec();
        return run_file(&mut shell, script);
    }
    if sys::terminal_settings(0).is_ok() {
        interactive::run(&mut shell)
    } else {
        run_input(&mut shell)
    }
}

/// Runs a script that is all there; its exit status.
fn run_text(shell: &mut Shell, text: &[u8]) -> i32 {
    match parse(text) {
        Ok(list) => {
            run::list(shell, &list);
            shell.exit_status()
        }
        Err(error) => {
            report(&error);
            2
        }
    }
}

fn run_file(shell: &mut Shell, path: &[u8]) -> i32 {
    match io::read_file(path) {
        Ok(text) => run_text(shell, &text),
        Err(error) => {
            eprintln!("sh: {}: {}", show(path), error_text(error));
            if error == lemma_rt::Errno::NOENT { 127 } else { 126 }
        }
    }
}

/// Runs standard input, one complete command at a time. Reads it byte by byte, so that what
/// follows a command's line is left for that command to read.
fn run_input(shell: &mut Shell) -> i32 {
    let mut text = Bytes::new();
    let mut ended = false;
    while !ended {
        ended = !read_line(&mut text);
        match parse(&text) {
            Err(ParseError::Incomplete) if !ended => continue,
            Ok(list) => run::list(shell, &list),
            Err(error) => {
                report(&error);
                return 2;
            }
        }
        text.clear();
        if shell.flow != Flow::Normal {
            break;
        }
    }
    shell.exit_status()
}

/// Appends a line of standard input with its end; `false` at the end of the input.
fn read_line(text: &mut Bytes) -> bool {
    let mut byte = [0];
    loop {
        match rustix::io::read(io::descriptor(0), &mut byte) {
            Ok(0) => return false,
            Ok(_) => {
                text.extend_from_slice(&byte);
                if byte == *b"\n" {
                    return true;
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn report(error: &ParseError) {
    match error {
        ParseError::Incomplete => eprintln!("sh: syntax error: unexpected end of file"),
        ParseError::Syntax(text) => eprintln!("sh: {text}"),
    }
}

/// A path for the kernel; what holds a NUL cannot exist.
fn c_path(path: &[u8]) -> Option<CString> {
    CString::new(path).ok()
}

/// Opens `path` by number; see [`fd::open`].
fn open(path: &[u8], flags: u32) -> lemma_rt::Result<i32> {
    fd::open(&c_path(path).ok_or(lemma_rt::Errno::NOENT)?, flags, 0o666)
}
