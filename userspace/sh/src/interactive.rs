//! The shell at a terminal: line editing in raw mode, completion, the foreground process group.
//!
//! While a line is read, the terminal is raw and the shell echoes. While commands run, it is in
//! line mode. If more input waits already (a pasted or piped script), the terminal does not echo
//! meanwhile: what waits is echoed when the shell reads it, once, behind its prompt.

use crate::builtin;
use crate::jobs;
use crate::process;
use crate::shell::{Flow, Shell, names_in};
use crate::{report, run};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, Ordering};
use lemma_rt::general::termios;
use lemma_rt::general::{
    ECHO, ECHOE, ECHOK, ICANON, ICRNL, IEXTEN, ISIG, ONLCR, OPOST, VMIN, VTIME,
};
use lemma_rt::rustix::fs::{Access, FileType, access, stat};
use lemma_rt::rustix::process::{getcwd, getpgrp};
use lemma_rt::{Errno, fd, io, rustix, sys};
use sh::Bytes;
use sh::editor::{Editor, Event};
use sh::parser::{ParseError, parse};

/// What ended the reading of a line.
enum Input {
    Line(Bytes),
    Interrupted,
    End,
}

/// Reads and runs commands until the input ends; the exit status.
pub(crate) fn run(shell: &mut Shell) -> i32 {
    let Ok(settings) = sys::terminal_settings(0) else { return 2 };
    shell.interactive = true;
    TERMINAL.store(fd::save(0).unwrap_or(0), Ordering::Relaxed);
    process::ignore_signals();
    process::set_group(0, 0);
    take_foreground();
    let mut editor = Editor::new();
    let mut text = Bytes::new();
    while shell.flow != Flow::Exit {
        jobs::report(shell);
        let prompt = if text.is_empty() { prompt() } else { b"> ".to_vec() };
        let _ = sys::set_terminal(0, raw(settings));
        let input = read_line(shell, &mut editor, &prompt);
        let _ = sys::set_terminal(0, cooked(settings, !fd::has_input(0)));
        match input {
            Input::Line(line) => {
                editor.remember(&line);
                shell.history = editor.history().to_vec();
                text.extend_from_slice(&line);
                text.push(b'\n');
            }
            Input::Interrupted => {
                text.clear();
                shell.status = 130;
                continue;
            }
            Input::End => break,
        }
        match parse(&text) {
            Err(ParseError::Incomplete) => continue,
            Err(error) => {
                report(&error);
                shell.status = 2;
            }
            Ok(list) => {
                run::list(shell, &list);
                if shell.flow != Flow::Exit {
                    shell.flow = Flow::Normal;
                }
            }
        }
        text.clear();
    }
    let _ = sys::set_terminal(0, cooked(settings, false));
    shell.exit_status()
}

/// `lemma:/path# `.
fn prompt() -> Bytes {
    let directory = getcwd(Vec::new()).map(|path| path.into_bytes());
    let directory = directory.unwrap_or_else(|_| b"?".to_vec());
    let sign: &[u8] = if rustix::process::geteuid().is_root() { b"# " } else { b"$ " };
    [b"lemma:", directory.as_slice(), sign].concat()
}

/// Every byte at once, unechoed, uninterpreted; output is still processed.
fn raw(mut settings: termios) -> termios {
    settings.c_lflag &= !(ECHO | ICANON | ISIG | IEXTEN);
    settings.c_iflag &= !ICRNL;
    settings.c_oflag |= OPOST | ONLCR;
    settings.c_cc[VMIN as usize] = 1;
    settings.c_cc[VTIME as usize] = 0;
    settings
}

/// Line mode, as programs expect it.
fn cooked(mut settings: termios, echo: bool) -> termios {
    settings.c_lflag |= ICANON | ISIG | IEXTEN | ECHOE | ECHOK;
    if echo {
        settings.c_lflag |= ECHO;
    } else {
        settings.c_lflag &= !ECHO;
    }
    settings.c_iflag |= ICRNL;
    settings.c_oflag |= OPOST | ONLCR;
    settings
}

/// Reads one line. One byte at a time, so that what follows the line is left to the command.
fn read_line(shell: &Shell, editor: &mut Editor, prompt: &[u8]) -> Input {
    let mut screen = Bytes::new();
    let columns = sys::terminal_size(0).map_or(80, |(_, columns)| columns);
    editor.start(prompt, columns, &mut screen);
    loop {
        let _ = io::write_all(io::descriptor(1), &screen);
        screen.clear();
        let mut byte = [0];
        match rustix::io::read(io::descriptor(0), &mut byte) {
            Ok(0) => return Input::End,
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return Input::End,
        }
        let [byte] = byte;
        let event = editor.feed(byte, &mut screen);
        if event == Event::Complete {
            complete(shell, editor, &mut screen);
            continue;
        }
        if event == Event::EndOfInput {
            screen.extend_from_slice(b"\n");
        }
        if event != Event::None {
            let _ = io::write_all(io::descriptor(1), &screen);
            screen.clear();
        }
        match event {
            Event::Line(line) => return Input::Line(line),
            Event::Interrupted => return Input::Interrupted,
            Event::EndOfInput => return Input::End,
            Event::None | Event::Complete => {}
        }
    }
}

/// Completes the word before the cursor: a command in first place, else a path.
fn complete(shell: &Shell, editor: &mut Editor, screen: &mut Bytes) {
    let before = editor.before_cursor();
    let start = before.iter().rposition(|byte| b" ;|&<>=(".contains(byte)).map_or(0, |at| at + 1);
    let (head, word) = before.split_at(start);
    let head = head.trim_ascii_end();
    let is_command = head.last().is_none_or(|byte| b";|&(".contains(byte));
    let slash = word.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    let (directory, typed) = word.split_at(slash);
    let mut candidates =
        if is_command && directory.is_empty() { commands(shell) } else { paths(directory, typed) };
    candidates.retain(|candidate| candidate.starts_with(typed));
    candidates.sort();
    candidates.dedup();
    let typed = typed.len();
    editor.complete(typed, &candidates, b' ', screen);
}

/// All commands: builtins, and what can be executed in the directories of PATH.
fn commands(shell: &Shell) -> Vec<Bytes> {
    let mut found: Vec<Bytes> = builtin::names().map(|name| name.as_bytes().to_vec()).collect();
    let path = shell.get(b"PATH").cloned().unwrap_or_default();
    for directory in path.split(|&byte| byte == b':') {
        let is_program =
            |name: &Bytes| access([directory, b"/", name].concat(), Access::EXEC_OK).is_ok();
        found.extend(names_in(directory).into_iter().filter(is_program));
    }
    found
}

/// Names in a directory; directories with a slash behind them.
fn paths(directory: &[u8], typed: &[u8]) -> Vec<Bytes> {
    let place = if directory.is_empty() { b"." } else { directory };
    let mut names = names_in(place);
    names.retain(|name| !name.starts_with(b".") || typed.starts_with(b"."));
    for name in &mut names {
        let kind = stat([place, b"/", name].concat()).map(|stat| stat.st_mode);
        if kind.is_ok_and(|mode| FileType::from_raw_mode(mode) == FileType::Directory) {
            name.push(b'/');
        }
    }
    names
}

/// The terminal, under a number that no redirection changes.
static TERMINAL: AtomicI32 = AtomicI32::new(0);

/// Makes a child's group the terminal's foreground group.
pub(crate) fn give_foreground(group: i32) {
    let _ = sys::set_foreground(TERMINAL.load(Ordering::Relaxed), group);
}

/// Makes this process's own group the foreground group.
pub(crate) fn take_foreground() {
    give_foreground(getpgrp().as_raw_nonzero().get());
}
