//! The engine's tests under the profile that the other tests do not build, all of them. One profile
//! is active in a build, so this is a build of its own.

use std::path::Path;
use std::process::Command;

#[test]
fn the_engine_passes_its_tests_with_the_embedded_profile() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .args(["test", "--package", "kernel_bpf", "--no-default-features"])
        .args(["--features", "profile-embedded,host-jit", "--tests"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let status = cargo.status().unwrap();
    assert!(status.success(), "the embedded profile's tests failed: {status}");
}
