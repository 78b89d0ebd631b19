//! Commands that the shell runs itself: those that change its state, and a few for speed.

use crate::run_text;
use crate::shell::{Flow, INTERRUPTED, Shell};
use crate::{jobs, process};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use lemma_rt::rustix::fs::{Access, FileType, Mode, access, lstat, stat};
use lemma_rt::rustix::process::{chdir, getcwd, umask};
use lemma_rt::{Errno, eprintln, error_text, io, println, show, sys};
use sh::{Bytes, arithmetic, condition};

/// Runs a builtin with its words, the name first; its exit status.
pub(crate) type Builtin = fn(&mut Shell, &[Bytes]) -> i32;

/// Name, what it does (for `help`), and the function.
const BUILTINS: &[(&str, &str, Builtin)] = &[
    (".", ". FILE: run the commands of a file in this shell", source),
    (":", ": do nothing", |_, _| 0),
    ("[", "[ CONDITION ]: as test", bracket),
    ("bg", "bg [%N]: go on with a stopped job in the background", |shell, words| {
        resume(shell, words, "bg")
    }),
    ("break", "break [N]: leave N loops", |shell, words| leave(shell, words, Flow::Break)),
    ("cd", "cd [DIRECTORY]: change the directory; - is the last one", cd),
    ("continue", "continue [N]: go on with the loop's next round", |shell, words| {
        leave(shell, words, Flow::Continue)
    }),
    ("echo", "echo [-n] [-e] WORDS", echo),
    ("eval", "eval WORDS: run the words as a command", eval),
    ("exec", "exec [PROGRAM WORDS]: become the program; without one, keep redirections", exec),
    ("exit", "exit [STATUS]: end the shell", exit),
    ("export", "export [NAME[=VALUE]...]: give variables to programs", export),
    ("false", "false: fail", |_, _| 1),
    ("fg", "fg [%N]: go on with a job in the foreground", |shell, words| {
        resume(shell, words, "fg")
    }),
    ("help", "help: this list", help),
    ("history", "history: the lines typed", history),
    ("jobs", "jobs: what runs in the background or is stopped", |shell, _| jobs::list(shell)),
    ("kill", "kill [-SIGNAL] PID|%N...: send a signal to processes or jobs", kill),
    ("pwd", "pwd: print the directory", pwd),
    ("read", "read NAME...: read a line into variables", read),
    ("set", "set [-ex +ex] [-- WORDS]: options, arguments; without any, list variables", set),
    ("shift", "shift [N]: drop the first arguments", shift),
    ("test", "test CONDITION: -e -f -d -s -r -w -x -L, = != -eq -lt ..., ! -a -o", test),
    ("true", "true: succeed", |_, _| 0),
    ("type", "type NAME...: what a command is", kind),
    ("umask", "umask [OCTAL]: bits that new files do not get", set_umask),
    ("unset", "unset NAME...: remove variables", unset),
    ("wait", "wait [PID|%N...]: wait for commands started with &", jobs::wait),
];

/// The builtin of this name.
pub(crate) fn find(name: &[u8]) -> Option<Builtin> {
    BUILTINS.iter().find(|(known, _, _)| known.as_bytes() == name).map(|(_, _, run)| *run)
}

/// Builtins to which `--help` is a word like others.
const LITERAL: [&[u8]; 6] = [b":", b"[", b"echo", b"false", b"test", b"true"];

/// What to print instead of running the command, if it is to explain itself.
pub(crate) fn explanation(words: &[Bytes]) -> Option<&'static str> {
    let [name, option] = words else { return None };
    if option != b"--help" || LITERAL.contains(&name.as_slice()) {
        return None;
    }
    BUILTINS.iter().find(|(known, _, _)| known.as_bytes() == *name).map(|(_, text, _)| *text)
}

/// The names of all builtins.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    BUILTINS.iter().map(|(name, _, _)| *name)
}

fn number(word: &Bytes) -> Option<i32> {
    arithmetic::number(word)?.try_into().ok()
}

/// Reports a failed builtin.
fn fail(name: &str, what: &[u8], error: Errno) -> i32 {
    eprintln!("sh: {name}: {}: {}", show(what), error_text(error));
    1
}

fn usage(name: &str) -> i32 {
    let text = BUILTINS.iter().find(|(known, _, _)| *known == name).map(|(_, text, _)| *text);
    eprintln!("usage: {}", text.unwrap_or(name));
    2
}

fn help(_: &mut Shell, _: &[Bytes]) -> i32 {
    println!("Commands of the shell itself:");
    for (_, text, _) in BUILTINS {
        println!("  {text}");
    }
    println!("Also: a | b, a && b, a || b, ! a, a &, < > >> 2> 2>&1, if, while, until, for,");
    println!("$NAME ${{NAME:-WORD}} $? $$ $! $(COMMANDS) $((1 + 1)), * ? [..], ( ), {{ }}");
    println!("Programs are in /bin; `bpf help` explains verified programs.");
    0
}

fn cd(shell: &mut Shell, words: &[Bytes]) -> i32 {
    let before = getcwd(Vec::new()).map(|path| path.into_bytes()).unwrap_or_default();
    let target = match words {
        [_] => shell.get(b"HOME").cloned().unwrap_or_else(|| b"/".to_vec()),
        [_, dash] if dash == b"-" => match shell.get(b"OLDPWD").cloned() {
            Some(directory) => {
                println!("{}", show(&directory));
                directory
            }
            None => {
                eprintln!("sh: cd: OLDPWD is not set");
                return 1;
            }
        },
        [_, directory] => directory.clone(),
        _ => return usage("cd"),
    };
    if let Err(error) = chdir(target.as_slice()) {
        return fail("cd", &target, error);
    }
    shell.set(b"OLDPWD", &before);
    if let Ok(directory) = getcwd(Vec::new()) {
        shell.set(b"PWD", directory.as_bytes());
    }
    0
}

fn pwd(_: &mut Shell, _: &[Bytes]) -> i32 {
    match getcwd(Vec::new()) {
        Ok(directory) => {
            println!("{}", show(directory.as_bytes()));
            0
        }
        Err(error) => fail("pwd", b".", error),
    }
}

fn echo(_: &mut Shell, words: &[Bytes]) -> i32 {
    let mut words = words.get(1..).unwrap_or(&[]);
    let (mut line_end, mut escapes) = (true, false);
    while let Some((option, rest)) = words.split_first() {
        match option.as_slice() {
            b"-n" => line_end = false,
            b"-e" => escapes = true,
            b"-ne" | b"-en" => (line_end, escapes) = (false, true),
            _ => break,
        }
        words = rest;
    }
    let mut text = words.join(&b' ');
    if escapes {
        text = unescape(&text);
    }
    if line_end {
        text.push(b'\n');
    }
    match io::write_all(io::descriptor(1), &text) {
        Ok(()) => 0,
        Err(error) => fail("echo", b"write error", error),
    }
}

/// `\n`, `\t`, `\r`, `\e`, `\\`, `\0NNN`; another backslash stands for itself.
fn unescape(text: &[u8]) -> Bytes {
    let mut result = Bytes::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            result.push(byte);
            continue;
        }
        let Some((&kind, after)) = rest.split_first() else {
            result.push(byte);
            break;
        };
        rest = after;
        match kind {
            b'n' => result.push(b'\n'),
            b't' => result.push(b'\t'),
            b'r' => result.push(b'\r'),
            b'e' => result.push(0x1b),
            b'\\' => result.push(b'\\'),
            b'0' => {
                let is_octal = |byte: &&u8| (b'0'..=b'7').contains(*byte);
                let digits = rest.iter().take(3).take_while(is_octal).count();
                let (octal, after) = rest.split_at(digits);
                rest = after;
                result.push(octal.iter().fold(0u8, |value, digit| {
                    value.wrapping_mul(8).wrapping_add(digit.wrapping_sub(b'0'))
                }));
            }
            other => result.extend_from_slice(&[b'\\', other]),
        }
    }
    result
}

fn exit(shell: &mut Shell, words: &[Bytes]) -> i32 {
    let status = match words {
        [_] => shell.status,
        [_, status] => match number(status) {
            Some(status) => status & 0xff,
            None => {
                eprintln!("sh: exit: {}: number expected", show(status));
                2
            }
        },
        _ => return usage("exit"),
    };
    shell.flow = Flow::Exit;
    status
}

fn leave(shell: &mut Shell, words: &[Bytes], flow: fn(usize) -> Flow) -> i32 {
    let count = match words.get(1) {
        None => 1,
        Some(word) => match number(word).and_then(|count| usize::try_from(count).ok()) {
            Some(count @ 1..) => count,
            _ => {
                eprintln!("sh: {}: positive number expected", show(word));
                return 1;
            }
        },
    };
    if shell.loops > 0 {
        shell.flow = flow(count.min(shell.loops));
    }
    0
}

fn is_name(name: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    name.first().is_some_and(|byte| !byte.is_ascii_digit()) && name.iter().all(is_part)
}

fn export(shell: &mut Shell, words: &[Bytes]) -> i32 {
    if words.len() == 1 {
        for (name, value, exported) in shell.variables() {
            if exported {
                println!("export {}='{}'", show(name), show(value));
            }
        }
    }
    for word in words.iter().skip(1) {
        let position = word.iter().position(|&byte| byte == b'=');
        let (name, value) = word.split_at(position.unwrap_or(word.len()));
        if !is_name(name) {
            eprintln!("sh: export: {}: not a variable's name", show(name));
            return 1;
        }
        if position.is_some() {
            shell.set(name, value.get(1..).unwrap_or(&[]));
        }
        shell.export(name);
    }
    0
}

fn unset(shell: &mut Shell, words: &[Bytes]) -> i32 {
    for word in words.iter().skip(1) {
        shell.unset(word);
    }
    0
}

fn set(shell: &mut Shell, words: &[Bytes]) -> i32 {
    if words.len() == 1 {
        for (name, value, _) in shell.variables() {
            println!("{}='{}'", show(name), show(value));
        }
        return 0;
    }
    let mut words = words.get(1..).unwrap_or(&[]);
    while let Some((word, rest)) = words.split_first() {
        match word.as_slice() {
            b"-e" => shell.stop_on_error = true,
            b"+e" => shell.stop_on_error = false,
            b"-x" => shell.trace = true,
            b"+x" => shell.trace = false,
            b"-ex" | b"-xe" => (shell.stop_on_error, shell.trace) = (true, true),
            b"--" => {
                shell.set_arguments(&rest.iter().map(Bytes::as_slice).collect::<Vec<_>>());
                return 0;
            }
            word if word.starts_with(b"-") || word.starts_with(b"+") => {
                eprintln!("sh: set: {}: unknown option", show(word));
                return 2;
            }
            _ => {
                shell.set_arguments(&words.iter().map(Bytes::as_slice).collect::<Vec<_>>());
                return 0;
            }
        }
        words = rest;
    }
    0
}

fn shift(shell: &mut Shell, words: &[Bytes]) -> i32 {
    let count = words.get(1).map_or(Some(1), number).and_then(|count| usize::try_from(count).ok());
    i32::from(!count.is_some_and(|count| shell.shift(count)))
}

/// Whether `-operator path` holds.
fn file_test(operator: u8, path: &[u8]) -> bool {
    let mode = stat(path).map(|stat| FileType::from_raw_mode(stat.st_mode));
    let is = |kind| mode == Ok(kind);
    match operator {
        b'e' => mode.is_ok(),
        b'f' => is(FileType::RegularFile),
        b'd' => is(FileType::Directory),
        b'b' => is(FileType::BlockDevice),
        b'c' => is(FileType::CharacterDevice),
        b'p' => is(FileType::Fifo),
        b's' => stat(path).is_ok_and(|stat| stat.st_size > 0),
        b'r' => access(path, Access::READ_OK).is_ok(),
        b'w' => access(path, Access::WRITE_OK).is_ok(),
        b'x' => access(path, Access::EXEC_OK).is_ok(),
        b'h' | b'L' => {
            lstat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
        }
        b't' => number(&path.to_vec()).is_some_and(|fd| sys::terminal_settings(fd).is_ok()),
        _ => false,
    }
}

fn decide(arguments: &[Bytes]) -> i32 {
    match condition::evaluate(arguments, &file_test) {
        Ok(value) => i32::from(!value),
        Err(text) => {
            eprintln!("sh: test: {text}");
            2
        }
    }
}

fn test(_: &mut Shell, words: &[Bytes]) -> i32 {
    decide(words.get(1..).unwrap_or(&[]))
}

fn bracket(_: &mut Shell, words: &[Bytes]) -> i32 {
    match words {
        [_, condition @ .., last] if last == b"]" => decide(condition),
        _ => {
            eprintln!("sh: [: `]' expected");
            2
        }
    }
}

fn exec(shell: &mut Shell, words: &[Bytes]) -> i32 {
    let words = words.get(1..).unwrap_or(&[]);
    if words.is_empty() {
        return 0;
    }
    process::become_child(shell);
    process::execute(shell, words, &[])
}

fn eval(shell: &mut Shell, words: &[Bytes]) -> i32 {
    run_text(shell, &words.get(1..).unwrap_or(&[]).join(&b' '))
}

fn source(shell: &mut Shell, words: &[Bytes]) -> i32 {
    let [_, path] = words else { return usage(".") };
    match io::read_file(path.as_slice()) {
        Ok(text) => run_text(shell, &text),
        Err(error) => fail(".", path, error),
    }
}

/// `fg` and `bg`.
fn resume(shell: &mut Shell, words: &[Bytes], name: &str) -> i32 {
    if words.len() > 2 { usage(name) } else { jobs::resume(shell, words, name == "fg") }
}

fn kill(shell: &mut Shell, words: &[Bytes]) -> i32 {
    jobs::kill(shell, words).unwrap_or_else(|| usage("kill"))
}

fn set_umask(_: &mut Shell, words: &[Bytes]) -> i32 {
    match words {
        [_] => {
            let mask = umask(Mode::empty());
            umask(mask);
            println!("{:04o}", mask.bits());
            0
        }
        [_, octal] => {
            let text = core::str::from_utf8(octal).ok();
            match text.and_then(|text| u32::from_str_radix(text, 8).ok()) {
                Some(bits @ 0..=0o777) => {
                    umask(Mode::from(bits));
                    0
                }
                _ => {
                    eprintln!("sh: umask: {}: octal number expected", show(octal));
                    1
                }
            }
        }
        _ => usage("umask"),
    }
}

fn kind(shell: &mut Shell, words: &[Bytes]) -> i32 {
    let mut status = 0;
    for name in words.iter().skip(1) {
        if find(name).is_some() {
            println!("{} is a command of the shell itself", show(name));
            continue;
        }
        let mut paths = process::candidates(shell, name).into_iter();
        match paths.find(|path| access(path.as_c_str(), Access::EXEC_OK).is_ok()) {
            Some(path) => println!("{} is {}", show(name), show(path.to_bytes())),
            None => {
                eprintln!("sh: type: {}: not found", show(name));
                status = 1;
            }
        }
    }
    status
}

fn read(shell: &mut Shell, words: &[Bytes]) -> i32 {
    let mut line = Bytes::new();
    let ended = !crate::read_line(&mut line);
    if INTERRUPTED.load(Ordering::Relaxed) {
        return 130;
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    let names = words.get(1..).unwrap_or(&[]);
    let mut rest = line.trim_ascii();
    for (index, name) in names.iter().enumerate() {
        let last = index + 1 == names.len();
        let end = rest.iter().position(u8::is_ascii_whitespace).filter(|_| !last);
        let (field, after) = rest.split_at(end.unwrap_or(rest.len()));
        shell.set(name, field);
        rest = after.trim_ascii_start();
    }
    i32::from(ended && line.is_empty())
}

fn history(shell: &mut Shell, _: &[Bytes]) -> i32 {
    for (index, line) in shell.history.iter().enumerate() {
        println!("{:5}  {}", index + 1, show(line));
    }
    0
}
