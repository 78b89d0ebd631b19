//! The measurements give the same figures every time, and machines that count instructions work.

use std::process::Command;

use lemma::build::Options;
use lemma::machine::Arch;

use crate::guest::{boot_with, on_each_architecture};

on_each_architecture!(a_machine_that_counts_instructions_waits);

/// When all CPUs wait, such a machine goes to the next timer at once, however far ahead that is:
/// it has to come back from there, whether the kernel waits for the disk or for a time.
fn a_machine_that_counts_instructions_waits(arch: Arch) {
    let options = Options { arch, icount: true, ..Options::default() };
    let mut guest = boot_with(options);
    guest.prompt();
    guest.succeed("echo kept > /root/file && sync");
    guest.succeed("sleep 600");
    guest.succeed("cat /bin/usertests > /root/copy && sync && rm /root/copy && sync");
    guest.shut_down(0);
}

#[test]
fn two_runs_measure_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let output = Command::new(env!("CARGO_BIN_EXE_lemma"))
        .args(["bench", "--twice", "--json"])
        .arg(&json)
        .args(["getppid", "stat", "pipe_", "kernel_image_size", "boot_to_init"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let figures: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let value = |name: &str| {
        let rows = figures["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name);
        row.unwrap_or_else(|| panic!("no row {name} in {text}"))["value"].as_f64().unwrap()
    };
    // Not measures of speed: they only show that the figures mean something.
    assert!(value("getppid") > 10.0 && value("getppid") < 10_000.0, "{text}");
    assert!(value("kernel_image_size") < 4.0 * 1024.0 * 1024.0, "{text}");
    assert!(value("boot_to_init") < 60e6, "{text}");
}
