//! A guest under test: its disk is its own, and is checked when the guest has ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lemma::build::Options;
use lemma::evidence;
use lemma::image;
use lemma::machine::{Arch, Machine};
use lemma::qemu::Outcome;
use lemma::session::Session;
use lemma::workspace::{Lock, Workspace};

/// A booted guest with a disk of its own, which is checked at the end.
pub(crate) struct Boot {
    pub(crate) session: Session,
    /// None if it is in the guest's memory.
    disk: Option<PathBuf>,
    workspace: Workspace,
    _folder: tempfile::TempDir,
    _slot: Lock,
}

/// Boots with the default options.
pub(crate) fn boot() -> Boot {
    boot_on(Arch::default())
}

/// Boots with the default options of this architecture.
pub(crate) fn boot_on(arch: Arch) -> Boot {
    boot_with(Options { arch, ..Options::default() })
}

/// Makes a test of each function for each architecture.
macro_rules! on_each_architecture {
    ($($name:ident),* $(,)?) => {
        mod x86_64 {
            $(#[test] fn $name() {
                crate::guest::observe(stringify!($name), lemma::machine::Arch::X86_64, super::$name);
            })*
        }
        mod aarch64 {
            $(#[test] fn $name() {
                crate::guest::observe(stringify!($name), lemma::machine::Arch::Aarch64, super::$name);
            })*
        }
        mod riscv64 {
            $(#[test] fn $name() {
                crate::guest::observe(stringify!($name), lemma::machine::Arch::Riscv64, super::$name);
            })*
        }
    };
}
pub(crate) use on_each_architecture;

/// Runs a test on an architecture, and records how it ends.
pub(crate) fn observe(name: &str, arch: Arch, test: fn(Arch)) {
    let workspace = Workspace::locate().expect("the workspace");
    evidence::observe(&workspace, name, arch, test).expect("a record of the outcome");
}

/// Boots and leaves the guest wherever it goes.
pub(crate) fn boot_with(options: Options) -> Boot {
    boot_machine(options, |_| ())
}

/// The same on a machine that is changed beyond what can be asked for.
pub(crate) fn boot_machine(mut options: Options, change: impl FnOnce(&mut Machine)) -> Boot {
    let workspace = Workspace::locate().expect("the workspace");
    let slot = slot(&workspace);
    let folder = tempfile::tempdir().expect("a folder for the disk");
    // A disk file that is kept can be checked when the guest has ended.
    let disk = match options.disk.take() {
        Some(disk) => Some(disk),
        None if options.ram_disk || options.firmware.is_some() => None,
        None => Some(folder.path().join("disk")),
    };
    options.disk = disk.clone();
    let built = options.build(&workspace).and_then(|mut built| {
        change(&mut built.machine);
        Session::start(&workspace, &built.machine)
    });
    let session = built.unwrap_or_else(|error| panic!("the guest does not start: {error:#}"));
    Boot { session, disk, workspace, _folder: folder, _slot: slot }
}

/// At most three guests at once, however many CPUs the host has: on the two that tests are made for,
/// one more uses the time in which the others wait.
fn slot(workspace: &Workspace) -> Lock {
    loop {
        for name in ["boot-0", "boot-1", "boot-2"] {
            if let Some(slot) = workspace.try_lock(name).expect("a lock") {
                return slot;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Boot {
    /// Waits for the first prompt; returns what came before it.
    pub(crate) fn prompt(&mut self) -> String {
        self.session.prompt().expect("a prompt")
    }

    /// Types a command; returns its output.
    pub(crate) fn run(&mut self, command: &str) -> String {
        self.session.run(command).unwrap_or_else(|error| panic!("{command}: {error:#}"))
    }

    /// Restarts the machine, and waits for the prompt after the new start's banner: what still
    /// runs may show one before.
    pub(crate) fn reboot(&mut self) {
        self.session.send("reboot\n").unwrap();
        self.session.wait_for("Commands are in /bin").expect("a banner");
        self.prompt();
    }

    /// Types a command that must succeed; returns its output.
    pub(crate) fn succeed(&mut self, command: &str) -> String {
        let output = self.run(command);
        let status = self.run("echo $?");
        assert_eq!(status.trim(), "0", "{command} failed:\n{output}");
        output
    }

    /// Types a command that must fail; returns its output.
    pub(crate) fn fail(&mut self, command: &str) -> String {
        let output = self.run(command);
        let status = self.run("echo $?");
        assert_ne!(status.trim(), "0", "{command} succeeded:\n{output}");
        output
    }

    /// Ends the shell and expects an orderly end with this status, and a clean disk.
    pub(crate) fn shut_down(self, status: u8) -> String {
        self.end(true, &Outcome::Exited(status))
    }

    /// Waits for the end, and expects this outcome and a clean disk.
    pub(crate) fn finish(self, expected: &Outcome) -> String {
        self.end(false, expected)
    }

    /// Stops the machine as a power cut does.
    pub(crate) fn cut_power(self) {
        drop(self.session);
    }

    fn end(self, type_end: bool, expected: &Outcome) -> String {
        let Self { session, disk, workspace, _folder, _slot } = self;
        let ended = if type_end { session.shut_down() } else { session.finish() };
        let (outcome, console) = ended.expect("the guest's end");
        assert_eq!(&outcome, expected, "the console:\n{console}");
        if let Some(disk) = disk {
            check(&workspace, &disk, &console);
        }
        console
    }
}

/// The disk must be in order.
fn check(workspace: &Workspace, disk: &Path, console: &str) {
    if let Err(error) = image::check(workspace, disk) {
        panic!("{error:#}\nthe console:\n{console}");
    }
}
