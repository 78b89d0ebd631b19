//! The engine's tests under the profile that the other tests do not build. One profile is active
//! in a build, so this is a build of its own; what does not depend on the profile is shared.

use std::path::Path;
use std::process::Command;

/// Fuzzed programs: few here, since the tests of the other profile have many.
const PROGRAMS: [(&str, &str); 2] = [("LEMMA_FUZZ_PROGRAMS", "1000"), ("LEMMA_FUZZ_ROUNDS", "100")];

#[test]
fn the_engine_passes_its_tests_with_the_embedded_profile() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .args(["test", "--package", "kernel_bpf", "--no-default-features"])
        .args(["--features", "profile-embedded,host-jit", "--tests"])
        .envs(PROGRAMS);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // All pairs and sequences of instructions that the interpreter fuses are the same in both.
    cargo.args(["--", "--skip", "a_fused_"]);
    let status = cargo.status().unwrap();
    assert!(status.success(), "the embedded profile's tests failed: {status}");
}
