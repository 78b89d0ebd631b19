//! A person at a terminal: raw mode while the guest runs, and the terminal as it was before
//! on every way out.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::linux;

/// Somebody at a terminal.
pub(crate) trait Typist {
    fn press(&mut self, keys: &str);

    /// Reads what is shown up to `text`, and returns it. Carriage returns are left out.
    fn shows(&mut self, text: &str) -> String;
}

/// A terminal whose keys we press, and the orchestrator at its other end.
struct Terminal {
    keyboard: File,
    screen: File,
    child: Child,
    output: std::process::ChildStdout,
}

impl Terminal {
    fn start() -> Self {
        let keyboard: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let screen = File::from(open(name, flags, Mode::empty()).unwrap());
        let mut child = Command::new(env!("CARGO_BIN_EXE_lemma"))
            .args(["--timeout", "600"])
            .stdin(screen.try_clone().unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        Self { keyboard: keyboard.into(), screen, child, output }
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.screen).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    /// Reads until the guest has printed `text`.
    fn wait_for(&mut self, text: &str) {
        self.shows(text);
    }

    /// Whether nothing is printed for half a second.
    fn is_silent(&mut self) -> bool {
        let mut output = [PollFd::new(&self.output, PollFlags::IN)];
        let time = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
        poll(&mut output, Some(&time)).unwrap() == 0
    }

    /// The exit status, and whether the terminal is as it was.
    fn finish(mut self) -> (Option<i32>, bool) {
        let drain = std::thread::spawn(move || {
            let mut rest = Vec::new();
            self.output.read_to_end(&mut rest).unwrap();
        });
        let status = self.child.wait().unwrap();
        drain.join().unwrap();
        let modes = tcgetattr(&self.screen).unwrap().local_modes;
        (status.code(), modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG))
    }
}

impl Typist for Terminal {
    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn shows(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(text.as_bytes()) {
            let count = self.output.read(&mut byte).unwrap();
            assert_eq!(count, 1, "no {text:?} in {}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    }
}

/// Reads by number of bytes and by time (`termios(3)`): MIN, TIME, what is typed in which parts, what
/// is read.
fn check_reads(typist: &mut impl Typist, usertests: &str) {
    for (settings, parts, read) in [
        ("3 0", &["ab", "c"][..], "abc"),
        ("0 0", &[], ""),
        ("0 3", &[], ""),
        ("0 100", &["a"], "a"),
        ("5 3", &["ab"], "ab"),
        ("2 100", &["a", "b"], "ab"),
    ] {
        typist.press(&format!("{usertests} keys {settings}\r"));
        typist.shows("type\n");
        for part in parts {
            std::thread::sleep(std::time::Duration::from_millis(200));
            typist.press(part);
        }
        let seen = typist.shows("# ");
        assert!(seen.starts_with(&format!("read {read}.")), "{settings} {parts:?}: {seen}");
    }
}

#[test]
fn keys_are_read_as_on_linux() {
    let mut linux = linux::Session::start(&linux::program("sh"));
    let usertests = linux::program("usertests");
    check_reads(&mut linux, usertests.path.to_str().unwrap());
    check_background(&mut linux, usertests.path.to_str().unwrap());
    assert_eq!(linux.finish(), Some(7));
    let mut terminal = Terminal::start();
    terminal.wait_for("lemma:/# ");
    check_reads(&mut terminal, "usertests");
    check_background(&mut terminal, "usertests");
    terminal.press("exit 3\r");
    assert_eq!(terminal.finish(), (Some(3), true));
}

/// A program in the background that changes the terminal is stopped, until it is in the foreground.
fn check_background(typist: &mut impl Typist, usertests: &str) {
    typist.press(&format!("{usertests} keys 1 0 &\r"));
    typist.shows("# ");
    until_stopped(typist);
    typist.press("fg\r");
    typist.shows("type\n");
    typist.press("a");
    typist.shows("read a.\n");
    typist.shows("# ");
}

/// Asks for the jobs until the first is stopped. The shell may have told of it before its prompt.
fn until_stopped(typist: &mut impl Typist) {
    for _ in 0..300 {
        typist.press("jobs\r");
        if typist.shows("# ").contains("[1] stopped ") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    panic!("it is not stopped");
}

#[test]
fn output_waits_while_the_user_has_stopped_it() {
    let mut terminal = Terminal::start();
    terminal.wait_for("lemma:/# ");
    terminal.press("\x13echo wait''ed\r");
    assert!(terminal.is_silent());
    terminal.press("\x11");
    terminal.wait_for("waited\n");
    terminal.wait_for("lemma:/# ");
    // What ends a program starts its terminal again. What it says first shows that it runs.
    terminal.press("cat /etc/motd /dev/tty\r");
    terminal.wait_for("everything else\n");
    terminal.press("\x13\x03");
    terminal.wait_for("lemma:/# ");
    terminal.press("exit 5\r");
    assert_eq!(terminal.finish(), (Some(5), true));
}

#[test]
fn the_terminal_is_raw_while_the_guest_runs_and_restored_after() {
    let mut terminal = Terminal::start();
    assert!(!terminal.is_raw());
    terminal.wait_for("lemma:/# ");
    assert!(terminal.is_raw());
    terminal.press("exit 4\r");
    assert_eq!(terminal.finish(), (Some(4), true));
}

#[test]
fn the_escape_and_a_signal_end_the_guest_and_restore_the_terminal() {
    let mut terminal = Terminal::start();
    terminal.wait_for("lemma:/# ");
    terminal.press("\x01x");
    assert_eq!(terminal.finish(), (Some(130), true));

    let mut terminal = Terminal::start();
    terminal.wait_for("lemma:/# ");
    let pid = Pid::from_raw(terminal.child.id().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(terminal.finish(), (Some(128 + 15), true));
}

#[test]
fn what_runs_is_stopped_goes_on_and_cannot_read_in_the_background() {
    let mut terminal = Terminal::start();
    terminal.wait_for("lemma:/# ");
    // What is typed does not have the words that are waited for.
    terminal.press("sh -c 'echo up; sleep 100; echo st''range' | cat; echo af''ter\r");
    terminal.wait_for("up\n");
    terminal.press("\x1a");
    terminal.wait_for("[1] stopped ");
    terminal.wait_for("lemma:/# ");
    terminal.press("jobs\r");
    terminal.wait_for("[1] stopped ");
    terminal.press("fg\r");
    terminal.wait_for("[1] continued ");
    terminal.press("\x1a");
    terminal.wait_for("[1] stopped ");
    terminal.wait_for("lemma:/# ");
    terminal.press("bg\r");
    terminal.wait_for("[1] continued ");
    terminal.wait_for("lemma:/# ");
    terminal.press("fg 1\r");
    terminal.wait_for("[1] continued ");
    terminal.press("\x03");
    terminal.wait_for("lemma:/# ");
    terminal.press("fg\r");
    terminal.wait_for("no such job");
    // Nothing of what is typed is for it.
    terminal.press("cat &\r");
    terminal.wait_for("[1] ");
    terminal.wait_for("lemma:/# ");
    until_stopped(&mut terminal);
    terminal.press("fg\r");
    terminal.wait_for("[1] continued ");
    terminal.press("ty''ped\r");
    terminal.wait_for("ty''ped\n");
    terminal.press("\x04");
    terminal.wait_for("lemma:/# ");
    terminal.press("exit 6\r");
    assert_eq!(terminal.finish(), (Some(6), true));
}
