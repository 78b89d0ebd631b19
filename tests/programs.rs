//! The tests of the user programs' libraries, on this machine. The programs' `rustix` is made to
//! run without libc, the orchestrator's with it, and cargo would build one for both; so this is a
//! build of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether there is a test in a folder's Rust files.
fn has_tests(folder: &Path) -> bool {
    folder.read_dir().is_ok_and(|entries| {
        entries.flatten().map(|entry| entry.path()).any(|path| {
            path.is_dir() && has_tests(&path)
                || path.extension().is_some_and(|extension| extension == "rs")
                    && std::fs::read_to_string(&path).is_ok_and(|text| text.contains("#[test]"))
        })
    })
}

#[test]
fn the_user_programs_libraries_pass_their_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = root.join("userspace").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let tested: Vec<PathBuf> = programs.filter(|folder| has_tests(folder)).collect();
    assert!(tested.len() > 2, "{tested:?}");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root).args(["test", "--lib"]);
    for folder in tested {
        cargo.arg("--package").arg(folder.file_name().unwrap());
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let status = cargo.status().unwrap();
    assert!(status.success(), "the user programs' tests failed: {status}");
}
