//! The kernel before any user program: its self-tests, its last words, a repeatable clock.

use lemma::build::Options;
use lemma::compile::{KernelVariant, Profile};
use lemma::qemu::Outcome;

use crate::guest::boot_with;

/// Boots with this on the command line, expects this outcome; returns what was printed.
fn boots_to(words: &str, outcome: &Outcome) -> String {
    let options = Options { append: vec![words.to_owned()], ..Options::default() };
    boot_with(options).finish(outcome)
}

#[test]
fn self_tests_pass() {
    for name in ["protection", "nofault", "fp", "clock", "disk"] {
        boots_to(&format!("selftest={name}"), &Outcome::Exited(0));
    }
    boots_to("selftest=no-such-test", &Outcome::Exited(1));
}

#[test]
fn a_panic_tells_where_and_is_never_success() {
    let console = boots_to("selftest=panic", &Outcome::Panicked);
    for words in ["KERNEL PANIC", "selftest.rs", "backtrace:", "kernel::init+0x", "kernel_main+"] {
        assert!(console.contains(words), "no {words:?} in:\n{console}");
    }
}

#[test]
fn protection_is_enforced() {
    let console = boots_to("selftest=write-text", &Outcome::Panicked);
    for words in ["page fault in kernel mode", "rip 0x", "kernel::selftest::"] {
        assert!(console.contains(words), "no {words:?} in:\n{console}");
    }
    // The kernel reads and runs nothing of users', but through the copy functions.
    for (test, error) in [("read-user", "error code 0x1\n"), ("run-user", "error code 0x11\n")] {
        let console = boots_to(&format!("selftest={test}"), &Outcome::Panicked);
        assert!(console.contains(error), "no {error:?} in:\n{console}");
    }
    let console = boots_to("selftest=stack-overflow", &Outcome::Panicked);
    assert!(console.contains("stack overflow"), "{console}");
}

#[test]
fn counting_instructions_every_run_is_alike() {
    let run = || {
        let append = vec!["selftest=clock".to_owned()];
        boot_with(Options { icount: true, append, ..Options::default() })
            .finish(&Outcome::Exited(0))
    };
    assert_eq!(run(), run());
}

#[test]
fn every_kernel_variant_boots() {
    for kernel in [
        KernelVariant { dev: true, ..KernelVariant::default() },
        KernelVariant { hooks: false, ..KernelVariant::default() },
        KernelVariant { profile: Profile::Embedded, ..KernelVariant::default() },
    ] {
        let append = vec!["selftest=protection".to_owned()];
        boot_with(Options { kernel, append, ..Options::default() }).finish(&Outcome::Exited(0));
    }
}
