//! The user programs on this machine's Linux: what they do there is what they must do on Lemma.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command};

use lemma::compile;
use lemma::machine::Arch;
use lemma::workspace::Workspace;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::terminal::Typist;

/// A user program that can be run here.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// Where it is, with room for what it writes.
    pub(crate) folder: tempfile::TempDir,
}

/// Builds the user programs, and takes the one of this name.
pub(crate) fn program(name: &str) -> Program {
    let workspace = Workspace::locate().unwrap();
    let programs = compile::user_programs(&workspace, Arch::X86_64).unwrap();
    let built = programs.iter().find(|program| program.name == name).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    // Not by this process: a child that another test starts meanwhile would have it open for
    // writing, and then it cannot be run.
    let copied = Command::new("install").arg("-m755").args([&built.path, &path]).status().unwrap();
    assert!(copied.success());
    Program { path, folder }
}

/// The shell at a terminal of its own.
pub(crate) struct Session {
    terminal: File,
    shell: Child,
}

impl Session {
    pub(crate) fn start(program: &Program) -> Self {
        let terminal: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let other_end = File::from(open(name, flags, Mode::empty()).unwrap());
        let shell = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(&program.path)
            .current_dir(program.folder.path())
            .stdin(other_end.try_clone().unwrap())
            .stdout(other_end.try_clone().unwrap())
            .stderr(other_end)
            .spawn()
            .unwrap();
        let mut session = Self { terminal: terminal.into(), shell };
        session.shows("# ");
        session
    }

    /// Ends the shell; its status.
    pub(crate) fn finish(mut self) -> Option<i32> {
        self.press("exit 7\r");
        self.shell.wait().unwrap().code()
    }
}

impl Typist for Session {
    fn press(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    fn shows(&mut self, text: &str) -> String {
        let (mut seen, mut byte) = (String::new(), [0]);
        let time = Timespec { tv_sec: 60, tv_nsec: 0 };
        while !seen.ends_with(text) {
            let mut terminal = [PollFd::new(&self.terminal, PollFlags::IN)];
            assert!(poll(&mut terminal, Some(&time)).unwrap() > 0, "no {text:?} in {seen:?}");
            self.terminal.read_exact(&mut byte).unwrap();
            if byte != *b"\r" {
                seen.push(char::from(byte[0]));
            }
        }
        seen
    }
}
