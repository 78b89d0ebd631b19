//! Programs of this machine that tests of objects use. A test that lacks one says so and is left
//! out; with `CI` in the environment it fails.

use std::process::Command;
use std::sync::OnceLock;

/// Says that a test is left out for want of a program, and how to get it; fails where everything
/// must be there.
pub(crate) fn missing(what: &str, packages: &str) {
    let reason = format!("{what} is missing (apt-get install {packages})");
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    eprintln!("SKIPPED: {reason}");
}

/// Whether there is a clang of this name, with the BPF target.
pub(crate) fn compiles(name: &str) -> bool {
    let targets = Command::new(name).arg("--print-targets").output();
    targets.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("bpf"))
}

/// The first clang that there is; without one the test is left out.
pub(crate) fn clang() -> Option<&'static str> {
    static CLANG: OnceLock<Option<&str>> = OnceLock::new();
    let found = *CLANG.get_or_init(|| {
        let names =
            ["clang", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14"];
        names.into_iter().find(|name| compiles(name))
    });
    if found.is_none() {
        missing("a clang with the BPF target", "clang");
    }
    found
}
