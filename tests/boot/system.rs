//! The user programs' own tests: every system call as Linux has it, then hostile calls.

use std::process::Command;

use lemma::build::Options;
use lemma::machine::Arch;
use lemma::qemu::Outcome;

use crate::guest::{Boot, boot_on, boot_with, on_each_architecture};
use crate::linux;

on_each_architecture!(
    system_calls_behave_as_linux_s_on_both_file_systems,
    a_hundred_thousand_hostile_calls_do_no_harm,
);

fn system_calls_behave_as_linux_s_on_both_file_systems(arch: Arch) {
    let mut guest = boot_on(arch);
    guest.prompt();
    usertests(&mut guest);
    let report = guest.succeed("usertests --dir /root");
    assert!(report.contains("passed"), "{report}");
    guest.shut_down(0);
}

/// Runs all of them, in memory.
pub(crate) fn usertests(guest: &mut Boot) {
    guest.session.set_patience(std::time::Duration::from_secs(300));
    let report = guest.succeed("usertests");
    assert!(report.contains("passed"), "{report}");
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
}

fn a_hundred_thousand_hostile_calls_do_no_harm(arch: Arch) {
    let program = ["usertests", "hostile", "--calls", "100000"].map(str::to_owned).into();
    let mut guest = boot_with(Options { arch, program, ..Options::default() });
    guest.session.set_patience(std::time::Duration::from_secs(600));
    guest.finish(&Outcome::Exited(0));
}
