//! System calls that no one means well with: they fail, and harm nobody.

use lemma::build::Options;
use lemma::machine::Arch;
use lemma::qemu::Outcome;

use crate::guest::{boot_with, on_each_architecture};

on_each_architecture!(a_hundred_thousand_hostile_calls_do_no_harm);

fn a_hundred_thousand_hostile_calls_do_no_harm(arch: Arch) {
    let program = ["usertests", "hostile", "--calls", "100000"].map(str::to_owned).into();
    let guest = boot_with(Options { arch, program, ..Options::default() });
    let console = guest.finish(&Outcome::Exited(0));
    // What needs privilege was done with it.
    assert!(console.contains("100000 calls") && !console.contains(" 0 mounts"), "{console}");
}
