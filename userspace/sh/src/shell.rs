//! The running shell's state: variables, arguments, the last status; and what expansion asks of it.

use crate::jobs::Job;
use crate::{process, run};
use alloc::collections::BTreeMap;
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use lemma_rt::rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, open, statat};
use lemma_rt::rustix::process::getpid;
use lemma_rt::{environment, fd, io, sys};
use sh::Bytes;
use sh::ast::List;
use sh::expand::Context;

/// A SIGINT came while the shell itself was in the foreground.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether commands go on one after another, or something leaves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Normal,
    /// `break`, out of this many loops.
    Break(usize),
    /// `continue`, of the loop this many up.
    Continue(usize),
    /// `exit`, or an error that ends the script.
    Exit,
    /// ^C: back to the prompt.
    Interrupt,
}

struct Variable {
    value: Bytes,
    exported: bool,
}

pub(crate) struct Shell {
    /// `$0`.
    pub(crate) name: Bytes,
    arguments: Vec<Bytes>,
    variables: BTreeMap<Bytes, Variable>,
    /// `$?`.
    pub(crate) status: i32,
    pub(crate) flow: Flow,
    /// How many loops surround the running command.
    pub(crate) loops: usize,
    /// `set -e`.
    pub(crate) stop_on_error: bool,
    /// `set -x`.
    pub(crate) trace: bool,
    /// The next simple command is all that this process is for: its program takes its place.
    pub(crate) in_place: bool,
    /// Reads from a terminal, gives children process groups.
    pub(crate) interactive: bool,
    /// The lines typed.
    pub(crate) history: Vec<Bytes>,
    /// What was started with `&` or stopped, and has not been waited for.
    pub(crate) jobs: Vec<Job>,
    pub(crate) last_background: Option<i32>,
    /// `$$`: the number of the shell itself, in subshells too.
    pid: i32,
}

impl Shell {
    /// A shell with the environment's variables.
    pub(crate) fn new(name: &[u8]) -> Self {
        let mut shell = Self {
            name: name.to_vec(),
            arguments: Vec::new(),
            variables: BTreeMap::new(),
            status: 0,
            flow: Flow::Normal,
            loops: 0,
            stop_on_error: false,
            trace: false,
            in_place: false,
            interactive: false,
            history: Vec::new(),
            jobs: Vec::new(),
            last_background: None,
            pid: getpid().as_raw_nonzero().get(),
        };
        for entry in environment() {
            if let Some(position) = entry.iter().position(|&byte| byte == b'=') {
                let (name, value) = entry.split_at(position);
                let value = value.get(1..).unwrap_or(&[]).to_vec();
                shell.variables.insert(name.to_vec(), Variable { value, exported: true });
            }
        }
        if shell.get(b"PATH").is_none() {
            shell.set(b"PATH", b"/bin:/sbin:/usr/bin");
            shell.export(b"PATH");
        }
        shell
    }

    pub(crate) fn set_arguments(&mut self, arguments: &[&[u8]]) {
        self.arguments = arguments.iter().map(|argument| argument.to_vec()).collect();
    }

    /// Drops the first arguments; `false` if there are fewer.
    pub(crate) fn shift(&mut self, count: usize) -> bool {
        let fits = count <= self.arguments.len();
        if fits {
            self.arguments.drain(..count);
        }
        fits
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&Bytes> {
        self.variables.get(name).map(|variable| &variable.value)
    }

    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) {
        match self.variables.get_mut(name) {
            Some(variable) => variable.value = value.to_vec(),
            None => {
                let variable = Variable { value: value.to_vec(), exported: false };
                self.variables.insert(name.to_vec(), variable);
            }
        }
    }

    pub(crate) fn unset(&mut self, name: &[u8]) {
        self.variables.remove(name);
    }

    /// Makes a variable part of the environment of programs; it is empty if it was not set.
    pub(crate) fn export(&mut self, name: &[u8]) {
        let empty = || Variable { value: Bytes::new(), exported: true };
        self.variables.entry(name.to_vec()).or_insert_with(empty).exported = true;
    }

    /// Names and values, and whether programs see them, sorted by name.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&Bytes, &Bytes, bool)> {
        self.variables.iter().map(|(name, variable)| (name, &variable.value, variable.exported))
    }

    /// The environment for a program, with the assignments before its name.
    pub(crate) fn environment(&self, assignments: &[(Bytes, Bytes)]) -> Vec<CString> {
        let exported = self
            .variables()
            .filter(|(name, _, exported)| {
                *exported && !assignments.iter().any(|(assigned, _)| assigned == *name)
            })
            .map(|(name, value, _)| (name, value));
        exported
            .chain(assignments.iter().map(|(name, value)| (name, value)))
            .filter_map(|(name, value)| CString::new([name, b"=".as_slice(), value].concat()).ok())
            .collect()
    }

    /// The status with which the shell ends.
    pub(crate) fn exit_status(&self) -> i32 {
        self.status
    }

    /// Stops what runs if ^C was typed.
    pub(crate) fn check_interrupt(&mut self) {
        if INTERRUPTED.swap(false, Ordering::Relaxed) {
            self.status = 130;
            if self.interactive {
                lemma_rt::eprintln!();
            }
            self.flow = if self.interactive { Flow::Interrupt } else { Flow::Exit };
        }
    }
}

impl Context for Shell {
    fn parameter(&self, name: &[u8]) -> Option<Bytes> {
        let number = |value: i64| Some(alloc::format!("{value}").into_bytes());
        match name {
            b"?" => number(i64::from(self.status)),
            b"$" => number(i64::from(self.pid)),
            b"!" => number(i64::from(self.last_background?)),
            b"#" => number(self.arguments.len() as i64),
            b"-" => Some(Bytes::new()),
            b"0" => Some(self.name.clone()),
            digits if digits.first().is_some_and(u8::is_ascii_digit) => {
                let index: usize = core::str::from_utf8(digits).ok()?.parse().ok()?;
                self.arguments.get(index.checked_sub(1)?).cloned()
            }
            name => self.get(name).cloned(),
        }
    }

    fn arguments(&self) -> Vec<Bytes> {
        self.arguments.clone()
    }

    fn output_of(&mut self, list: &List) -> Result<Bytes, String> {
        let failed = |error| alloc::format!("$(...): {}", lemma_rt::error_text(error));
        let (read, write) = fd::pipe().map_err(failed)?;
        match sys::fork().map_err(failed)? {
            None => {
                process::become_child(self);
                let _ = fd::duplicate(write, 1);
                run::list(self, list);
                sys::exit(self.exit_status())
            }
            Some(pid) => {
                fd::close(write);
                let text = io::read_all(io::descriptor(read)).map_err(failed);
                fd::close(read);
                if let Ok(status) = sys::wait_for(pid) {
                    self.status = status.code();
                }
                text
            }
        }
    }

    fn names_in(&self, directory: &[u8]) -> Vec<Bytes> {
        names_in(directory)
    }

    fn exists(&self, path: &[u8]) -> bool {
        statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }
}

/// The names in a directory, `.` and `..` excepted; none if it cannot be read.
pub(crate) fn names_in(directory: &[u8]) -> Vec<Bytes> {
    let mut names = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = open(directory, flags, Mode::empty()) else { return names };
    let mut buffer = Vec::with_capacity(4096);
    let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names
}
