//! The measurements give the same figures every time.

use std::process::Command;

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
