//! The user programs' own tests: every system call as Linux has it.

use std::process::Command;

use lemma::machine::Arch;

use crate::guest::{boot_on, on_each_architecture};
use crate::{linux, usertests};

on_each_architecture!(system_calls_behave_as_linux_s);

/// With the tests' files in memory; on four CPUs (`smp`) they are on the disk.
fn system_calls_behave_as_linux_s(arch: Arch) {
    let mut guest = boot_on(arch);
    guest.prompt();
    usertests::pass(&mut guest, arch, 1, "");
    guest.shut_down(0);
}

/// What passes on Lemma must pass on Linux, or it is not Linux's behaviour that we test.
#[test]
fn the_same_tests_pass_on_linux() {
    let usertests = linux::program("usertests");
    let output =
        Command::new(&usertests.path).arg("--dir").arg(usertests.folder.path()).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}{errors}");
    usertests::most_passed(&report);
}
