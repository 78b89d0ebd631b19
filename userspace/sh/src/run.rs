//! Runs the tree: lists, pipelines, compound and simple commands.

use crate::shell::{Flow, Shell};
use crate::{builtin, jobs, process};
use alloc::format;
use alloc::vec::Vec;
use lemma_rt::{Errno, eprintln, error_text, fd, general, println, show, sys};
use sh::Bytes;
use sh::ast::{Command, Connector, Direction, Item, Kind, List, Pipeline, Redirection, Word};
use sh::expand::{expand, expand_single};

/// Runs commands one after another, until one of them changes the flow.
pub(crate) fn list(shell: &mut Shell, list: &List) {
    for item in list {
        if shell.flow != Flow::Normal {
            return;
        }
        if item.background {
            background(shell, item);
        } else {
            and_or(shell, item);
        }
        shell.check_interrupt();
    }
}

fn and_or(shell: &mut Shell, item: &Item) {
    pipeline(shell, &item.first);
    let mut last = true;
    for (connector, next) in &item.rest {
        if shell.flow != Flow::Normal {
            return;
        }
        last = (shell.status == 0) == (*connector == Connector::And);
        if last {
            pipeline(shell, next);
        }
    }
    // Only a failure that nothing has looked at ends the script.
    let looked_at = !last || item.first.negated;
    if shell.stop_on_error && shell.status != 0 && !looked_at && shell.flow == Flow::Normal {
        shell.flow = Flow::Exit;
    }
}

fn background(shell: &mut Shell, item: &Item) {
    match sys::fork() {
        Ok(Some(pid)) => {
            let number = jobs::add(shell, pid, [pid].to_vec(), false);
            if shell.interactive {
                process::set_group(pid, pid);
                eprintln!("[{number}] {pid}");
            }
            shell.last_background = Some(pid);
            shell.status = 0;
        }
        Ok(None) => {
            let has_group = shell.interactive;
            process::become_job(shell, None, false);
            if !has_group {
                // Without process groups, ^C and the input belong to the foreground.
                let _ = lemma_rt::signal::ignore(general::SIGINT as i32);
                if let Ok(null) = fd::open(c"/dev/null", general::O_RDONLY, 0) {
                    let _ = fd::duplicate(null, 0);
                }
            }
            match item.first.commands.as_slice() {
                [one] if item.rest.is_empty() && !item.first.negated => {
                    command_in_place(shell, one)
                }
                _ => and_or(shell, item),
            }
            sys::exit(shell.exit_status())
        }
        Err(error) => fail(shell, 126, "fork", error),
    }
}

/// Reports what failed and sets the status.
pub(crate) fn fail(shell: &mut Shell, status: i32, what: &str, error: Errno) {
    eprintln!("sh: {what}: {}", error_text(error));
    shell.status = status;
}

fn pipeline(shell: &mut Shell, pipeline: &Pipeline) {
    match pipeline.commands.as_slice() {
        [one] => command(shell, one),
        several => piped(shell, several),
    }
    if pipeline.negated {
        shell.status = i32::from(shell.status == 0);
    }
}

/// Runs commands at the same time, each one's output the next one's input.
fn piped(shell: &mut Shell, commands: &[Command]) {
    let mut pids: Vec<i32> = Vec::new();
    let mut input: Option<i32> = None;
    for (index, each) in commands.iter().enumerate() {
        let last = index + 1 == commands.len();
        let pipe = if last { None } else { fd::pipe().ok() };
        if !last && pipe.is_none() {
            fail(shell, 126, "pipe", Errno::MFILE);
            break;
        }
        let group = pids.first().copied();
        match sys::fork() {
            Ok(None) => {
                process::become_job(shell, group, true);
                if let Some(input) = input {
                    let _ = fd::duplicate(input, 0);
                    fd::close(input);
                }
                if let Some((read, write)) = pipe {
                    fd::close(read);
                    let _ = fd::duplicate(write, 1);
                    fd::close(write);
                }
                command_in_place(shell, each);
                sys::exit(shell.exit_status())
            }
            Ok(Some(pid)) => {
                match group {
                    Some(group) if shell.interactive => process::set_group(pid, group),
                    Some(_) => {}
                    None => process::started_job(shell, pid),
                }
                pids.push(pid);
            }
            Err(error) => fail(shell, 126, "fork", error),
        }
        if let Some(input) = input {
            fd::close(input);
        }
        input = pipe.map(|(read, write)| {
            fd::close(write);
            read
        });
    }
    if let Some(input) = input {
        fd::close(input);
    }
    process::wait_for_foreground(shell, &pids);
}

/// Runs a command in a child that is for it alone: a program takes the child's place, so that the
/// number by which the shell knows the child is the program's.
fn command_in_place(shell: &mut Shell, one: &Command) {
    shell.in_place = matches!(one.kind, Kind::Simple { .. });
    command(shell, one);
}

fn command(shell: &mut Shell, command: &Command) {
    if let Kind::Simple { assignments, words } = &command.kind {
        return simple(shell, assignments, words, &command.redirections);
    }
    let Some(saved) = redirect(shell, &command.redirections) else { return };
    match &command.kind {
        Kind::Group(body) => list(shell, body),
        Kind::Subshell(body) => subshell(shell, body),
        Kind::If { branches, otherwise } => conditional(shell, branches, otherwise.as_ref()),
        Kind::While { condition, body, inverted } => {
            let mut status = 0;
            looped(shell, |shell| {
                unchecked(shell, condition);
                let goes_on = (shell.status == 0) != *inverted && shell.flow == Flow::Normal;
                if goes_on {
                    list(shell, body);
                    status = shell.status;
                }
                goes_on
            });
            if shell.flow == Flow::Normal {
                shell.status = status;
            }
        }
        Kind::For { variable, words, body } => {
            let Some(values) = for_values(shell, words.as_ref()) else {
                restore(saved);
                return;
            };
            shell.status = 0;
            let mut values = values.into_iter();
            looped(shell, |shell| {
                let value = values.next();
                if let Some(value) = &value {
                    shell.set(variable, value);
                    list(shell, body);
                }
                value.is_some()
            });
        }
        Kind::Simple { .. } => {}
    }
    restore(saved);
}

fn for_values(shell: &mut Shell, words: Option<&Vec<Word>>) -> Option<Vec<Bytes>> {
    match words {
        Some(words) => expand_all(shell, words),
        None => Some(sh::expand::Context::arguments(shell)),
    }
}

/// Runs a list whose failure is a result, not an error.
fn unchecked(shell: &mut Shell, condition: &List) {
    let stop_on_error = core::mem::replace(&mut shell.stop_on_error, false);
    list(shell, condition);
    shell.stop_on_error = stop_on_error;
}

fn conditional(shell: &mut Shell, branches: &[(List, List)], otherwise: Option<&List>) {
    for (condition, body) in branches {
        unchecked(shell, condition);
        if shell.flow != Flow::Normal {
            return;
        }
        if shell.status == 0 {
            return list(shell, body);
        }
    }
    shell.status = 0;
    if let Some(body) = otherwise {
        list(shell, body);
    }
}

/// Repeats `step` while it says so and nothing leaves the loop.
fn looped(shell: &mut Shell, mut step: impl FnMut(&mut Shell) -> bool) {
    shell.loops += 1;
    loop {
        let goes_on = step(shell);
        shell.check_interrupt();
        match shell.flow {
            Flow::Normal if goes_on => {}
            Flow::Continue(1) => shell.flow = Flow::Normal,
            Flow::Break(1) => {
                shell.flow = Flow::Normal;
                break;
            }
            Flow::Break(count) => {
                shell.flow = Flow::Break(count - 1);
                break;
            }
            Flow::Continue(count) => {
                shell.flow = Flow::Continue(count - 1);
                break;
            }
            _ => break,
        }
    }
    shell.loops -= 1;
}

fn subshell(shell: &mut Shell, body: &List) {
    match sys::fork() {
        Ok(None) => {
            process::become_job(shell, None, true);
            list(shell, body);
            sys::exit(shell.exit_status())
        }
        Ok(Some(pid)) => {
            process::started_job(shell, pid);
            process::wait_for_foreground(shell, &[pid]);
        }
        Err(error) => fail(shell, 126, "fork", error),
    }
}

fn expand_all(shell: &mut Shell, words: &[Word]) -> Option<Vec<Bytes>> {
    let mut fields = Vec::new();
    for word in words {
        match expand(word, shell) {
            Ok(more) => fields.extend(more),
            Err(text) => {
                eprintln!("sh: {text}");
                shell.status = 1;
                return None;
            }
        }
    }
    Some(fields)
}

fn simple(
    shell: &mut Shell,
    assignments: &[(Bytes, Word)],
    words: &[Word],
    redirections: &[Redirection],
) {
    // Not for what the words have run.
    let in_place = core::mem::take(&mut shell.in_place);
    // `x=$(false)` has the status of the command inside; what has none, 0.
    let before = core::mem::replace(&mut shell.status, 0);
    let only_assignments = words.is_empty();
    if !only_assignments {
        shell.status = before;
    }
    let Some(words) = expand_all(shell, words) else { return };
    let mut values = Vec::new();
    for (name, word) in assignments {
        match expand_single(word, shell) {
            Ok(value) => values.push((name.clone(), value)),
            Err(text) => {
                eprintln!("sh: {text}");
                shell.status = 1;
                return;
            }
        }
    }
    if shell.trace {
        eprintln!("+ {}", show(&words.join(&b' ')));
    }
    let Some(name) = words.first() else {
        for (name, value) in &values {
            shell.set(name, value);
        }
        if let Some(saved) = redirect(shell, redirections) {
            restore(saved);
        }
        return;
    };
    if let Some(builtin) = builtin::find(name) {
        let Some(saved) = redirect(shell, redirections) else { return };
        for (name, value) in &values {
            shell.set(name, value);
        }
        shell.status = match builtin::explanation(&words) {
            Some(text) => {
                println!("usage: {text}");
                0
            }
            None => builtin(shell, &words),
        };
        // `exec` without a program makes its redirections last.
        if name == b"exec" {
            saved.into_iter().for_each(|(_, copy)| copy.into_iter().for_each(fd::close));
        } else {
            restore(saved);
        }
        return;
    }
    if in_place {
        execute(shell, redirections, &words, &values)
    }
    match sys::fork() {
        Ok(None) => {
            process::become_job(shell, None, true);
            execute(shell, redirections, &words, &values)
        }
        Ok(Some(pid)) => {
            process::started_job(shell, pid);
            process::wait_for_foreground(shell, &[pid]);
        }
        Err(error) => fail(shell, 126, "fork", error),
    }
}

/// In a child: runs a program with these redirections.
fn execute(
    shell: &mut Shell,
    redirections: &[Redirection],
    words: &[Bytes],
    values: &[(Bytes, Bytes)],
) -> ! {
    if redirect(shell, redirections).is_none() {
        sys::exit(shell.exit_status());
    }
    process::execute(shell, words, values)
}

/// What descriptors named before a redirection.
type Saved = Vec<(i32, Option<i32>)>;

/// Redirects descriptors of the shell itself; `None` if one cannot be, with nothing changed.
fn redirect(shell: &mut Shell, redirections: &[Redirection]) -> Option<Saved> {
    let mut saved = Saved::new();
    for redirection in redirections {
        let copy = fd::save(redirection.descriptor).ok();
        saved.push((redirection.descriptor, copy));
        if let Err(text) = redirect_one(shell, redirection) {
            eprintln!("sh: {text}");
            shell.status = 1;
            restore(saved);
            return None;
        }
    }
    Some(saved)
}

fn redirect_one(shell: &mut Shell, redirection: &Redirection) -> Result<(), alloc::string::String> {
    let target = expand_single(&redirection.target, shell)?;
    let failed = |error| format!("{}: {}", show(&target), error_text(error));
    let flags = match redirection.how {
        Direction::Read => general::O_RDONLY,
        Direction::Write => general::O_WRONLY | general::O_CREAT | general::O_TRUNC,
        Direction::Append => general::O_WRONLY | general::O_CREAT | general::O_APPEND,
        Direction::ReadWrite => general::O_RDWR | general::O_CREAT,
        Direction::Duplicate if target == b"-" => {
            fd::close(redirection.descriptor);
            return Ok(());
        }
        Direction::Duplicate => {
            let number = core::str::from_utf8(&target).ok().and_then(|text| text.parse().ok());
            let number = number.ok_or_else(|| failed(Errno::BADF))?;
            return fd::duplicate(number, redirection.descriptor).map_err(failed);
        }
    };
    let opened = crate::open(&target, flags).map_err(failed)?;
    if opened != redirection.descriptor {
        fd::duplicate(opened, redirection.descriptor).map_err(failed)?;
        fd::close(opened);
    }
    Ok(())
}

/// Undoes redirections, the last first.
fn restore(saved: Saved) {
    for (descriptor, copy) in saved.into_iter().rev() {
        match copy {
            Some(copy) => {
                let _ = fd::duplicate(copy, descriptor);
                fd::close(copy);
            }
            None => fd::close(descriptor),
        }
    }
}
