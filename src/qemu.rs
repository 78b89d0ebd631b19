//! Starting QEMU and reading how the guest ended.
//!
//! [`Guest`] owns the QEMU process and its serial console (a pair of pipes); dropping it
//! ends QEMU. [`Outcome`] is how a guest ended, and [`Outcome::exit_code`] what that means
//! for our own exit status. Neighbours: `machine` writes the command line; `console` and
//! `session` use the pipes.
//!
//! A guest ends by writing its status byte to the debug console (a file here) and then
//! `min(status, 126)` to QEMU's exit device, which makes QEMU exit with `2v + 1`; on machines
//! without those devices it does both through semihosting. A kernel
//! panic writes 127 there. QEMU's exit with 0 is a power-off without a status, or a reset.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::machine::Machine;
use crate::monitor::{Monitor, Screenshot};
use crate::setup;
use crate::workspace::Workspace;

/// Our exit status after a kernel panic.
pub const EXIT_PANIC: u8 = 101;
/// Our exit status when the guest ended without saying how.
pub const EXIT_LOST: u8 = 102;
/// Our exit status when the guest was stopped at its time limit, as `timeout` has it.
pub const EXIT_TIMEOUT: u8 = 124;
/// Our exit status when the user ended the guest.
pub const EXIT_QUIT: u8 = 130;

/// The exit device's value for a kernel panic.
const PANIC_VALUE: i32 = 127;

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It powered off with this status.
    Exited(u8),
    /// The kernel panicked.
    Panicked,
    /// It powered a bare machine off, which has nowhere to put a status.
    PoweredOff,
    /// It reset the machine, or powered it off without a status.
    Reset,
    /// It was stopped at its time limit.
    TimedOut,
    /// The user ended it from the console.
    Quit,
    /// QEMU itself failed; its own words.
    QemuFailed(String),
}

impl Outcome {
    /// The exit status that tells a script the same.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Exited(status) => *status,
            Self::PoweredOff => 0,
            Self::Panicked => EXIT_PANIC,
            Self::Reset | Self::QemuFailed(_) => EXIT_LOST,
            Self::TimedOut => EXIT_TIMEOUT,
            Self::Quit => EXIT_QUIT,
        }
    }

    /// What to tell the user; nothing about an orderly end.
    #[must_use]
    pub fn explanation(&self) -> Option<String> {
        Some(match self {
            Self::Exited(_) | Self::PoweredOff => return None,
            Self::Panicked => "the kernel panicked (its last words are above)".to_owned(),
            Self::Reset => {
                "the guest ended without a status: a reset (triple fault) or a bare power-off"
                    .to_owned()
            }
            Self::TimedOut => "the guest was stopped at its time limit".to_owned(),
            Self::Quit => "ended from the console".to_owned(),
            Self::QemuFailed(message) => format!("QEMU failed: {message}"),
        })
    }
}

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    bare: bool,
    /// Keeps the status file's folder until the end.
    folder: tempfile::TempDir,
    errors: Option<std::thread::JoinHandle<String>>,
}

impl Guest {
    /// Starts the machine; returns the guest and its serial console, input and output.
    pub fn start(
        workspace: &Workspace,
        machine: &Machine,
    ) -> Result<(Self, ChildStdin, ChildStdout)> {
        let qemu = setup::require(workspace, machine.arch.qemu())?;
        let folder = tempfile::Builder::new().prefix("lemma-").tempdir()?;
        let arguments = machine.arguments(&status_file(&folder), &monitor_socket(&folder))?;
        // QEMU dies with us, however we die: setpriv is part of every Debian (util-linux).
        let mut command = match setup::find_program("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(&qemu);
                command
            }
            None => Command::new(&qemu),
        };
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", qemu.display()))?;
        let input = child.stdin.take().context("QEMU has no input")?;
        let output = child.stdout.take().context("QEMU has no output")?;
        let mut stderr = child.stderr.take().context("QEMU has no standard error")?;
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let guest = Self { child, bare: machine.bare, folder, errors: Some(errors) };
        Ok((guest, input, output))
    }

    /// The process id of QEMU.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the guest's display shows now.
    pub fn screenshot(&self) -> Result<Screenshot> {
        let file = self.folder.path().join("screenshot");
        Monitor::connect(&monitor_socket(&self.folder))?.screenshot(&file)
    }

    /// Presses keys of the guest's keyboard; the guest has a display.
    pub fn press(&self, text: &str) -> Result<()> {
        Monitor::connect(&monitor_socket(&self.folder))?.press(text)
    }

    /// Waits for the end, at most until `deadline`; then the guest is stopped.
    pub fn wait(&mut self, deadline: Option<Instant>) -> Result<Outcome> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                let errors = self.errors.take().and_then(|reader| reader.join().ok());
                let byte = std::fs::read(status_file(&self.folder)).unwrap_or_default();
                let outcome = judge(status, byte.last().copied(), errors.unwrap_or_default());
                // A reset does not end a bare machine.
                let powered_off = self.bare && outcome == Outcome::Reset;
                return Ok(if powered_off { Outcome::PoweredOff } else { outcome });
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.stop();
                return Ok(Outcome::TimedOut);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends QEMU at once.
    pub fn stop(&mut self) {
        // It may have ended by itself meanwhile; both calls then fail or return at once.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.stop();
    }
}

fn status_file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("status")
}

fn monitor_socket(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("monitor")
}

/// What QEMU's exit status and the guest's status byte mean together.
fn judge(status: ExitStatus, byte: Option<u8>, errors: String) -> Outcome {
    let Some(code) = status.code() else {
        return Outcome::QemuFailed(format!("{status} {errors}").trim().to_owned());
    };
    // QEMU exits with 1 for its own errors, which is also the guest's status 0: the status
    // byte tells the two apart.
    if code % 2 == 1 && code / 2 == PANIC_VALUE {
        return Outcome::Panicked;
    }
    match byte {
        Some(byte) if code == 2 * i32::from(byte.min(126)) + 1 => Outcome::Exited(byte),
        _ if code == 0 => Outcome::Reset,
        _ if errors.is_empty() => Outcome::QemuFailed(status.to_string()),
        _ => Outcome::QemuFailed(errors.replace('\n', "; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn code(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn the_guest_s_status_comes_through() {
        for byte in 0..=255_u8 {
            let exit = 2 * i32::from(byte.min(126)) + 1;
            let outcome = judge(code(exit), Some(byte), String::new());
            assert_eq!(outcome, Outcome::Exited(byte));
            assert_eq!(outcome.exit_code(), byte);
        }
    }

    #[test]
    fn a_panic_is_never_success() {
        for byte in [None, Some(0), Some(255)] {
            assert_eq!(judge(code(255), byte, String::new()), Outcome::Panicked);
        }
        assert_ne!(Outcome::Panicked.exit_code(), 0);
    }

    #[test]
    fn silence_is_never_success() {
        assert_eq!(judge(code(0), None, String::new()), Outcome::Reset);
        assert_eq!(judge(code(0), Some(0), String::new()), Outcome::Reset);
        let failed = judge(code(1), None, "no such file".to_owned());
        assert_eq!(failed, Outcome::QemuFailed("no such file".to_owned()));
        assert!(matches!(judge(code(7), Some(0), String::new()), Outcome::QemuFailed(_)));
        let killed = judge(ExitStatus::from_raw(9), Some(0), String::new());
        assert!(matches!(killed, Outcome::QemuFailed(_)));
        for outcome in [Outcome::Reset, failed, killed, Outcome::TimedOut, Outcome::Quit] {
            assert_ne!(outcome.exit_code(), 0);
            assert!(outcome.explanation().is_some());
        }
    }
}
