//! The measurements give the same figures every time, and machines that count instructions work.

use std::collections::BTreeMap;
use std::process::Command;

use lemma::build::Options;
use lemma::machine::Arch;

use crate::guest::{boot_with, on_each_architecture};

on_each_architecture!(a_machine_that_counts_instructions_waits);

/// When all CPUs wait, such a machine goes to the next timer at once, however far ahead that is:
/// it has to come back from there, whether the kernel waits for the disk or for a time. What it did
/// until the prompt is few instructions, so even fewer until init, of which there may be 60 million.
fn a_machine_that_counts_instructions_waits(arch: Arch) {
    let options = Options { arch, icount: true, ..Options::default() };
    let mut guest = boot_with(options);
    guest.prompt();
    let uptime = guest.succeed("cat /proc/uptime");
    let [seconds, idle] = uptime.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
    // Of the first number the hundredths are told, and an instruction takes a nanosecond.
    let busy = seconds.parse::<f64>().unwrap() + 0.01 - idle.parse::<f64>().unwrap();
    assert!(busy > 0.0 && busy < 60e-3, "{uptime}");
    guest.succeed("echo kept > /root/file && sync");
    // Without programs at the timer nothing ticks.
    guest.succeed("bpf unload jitter");
    guest.succeed("sleep 600");
    guest.succeed("cat /bin/usertests > /root/copy && sync && rm /root/copy && sync");
    guest.shut_down(0);
}

/// Measures twice; the figures as JSON.
fn measure(arch: &str, rows: &[&str]) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let output = Command::new(env!("CARGO_BIN_EXE_lemma"))
        .args(["bench", "--arch", arch, "--twice", "--json"])
        .arg(&json)
        .args(rows)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap()
}

/// Linux's "lean" figures, as the repository has them.
fn linux(arch: Arch) -> BTreeMap<String, f64> {
    let path = format!("{}/benches/linux-{}.tsv", env!("CARGO_MANIFEST_DIR"), arch.name());
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            (fields[0].to_owned(), fields[2].parse().unwrap())
        })
        .collect()
}

/// The value of a row, whose members are looked at.
fn value(figures: &serde_json::Value, arch: Arch, name: &str) -> f64 {
    let rows = figures["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name);
    let row = row.unwrap_or_else(|| panic!("no row {name} in {figures}"));
    assert!(row["failed"].is_null() && row["unit"].is_string(), "{row}");
    assert_eq!(row["linux"].as_f64(), linux(arch).get(name).copied(), "{row}");
    row["value"].as_f64().unwrap()
}

/// Every row: those that Linux has a figure for, and those that only Lemma can have.
#[test]
fn two_runs_measure_the_same() {
    let figures = measure("x86_64", &[]);
    assert_eq!(figures["machine"], "x86_64");
    let value = |name: &str| value(&figures, Arch::X86_64, name);
    for name in linux(Arch::X86_64).keys() {
        assert!(value(name) > 10.0, "{name} in {figures}");
    }
    for programs in [0, 1, 3] {
        assert!(value(&format!("sys_enter_hook_{programs}_programs")) > 10.0, "{figures}");
    }
    assert!(value("getppid_without_hooks") > 10.0, "{figures}");
    // Not measures of speed: they only show that the figures mean something.
    assert!(value("getppid") < 10_000.0, "{figures}");
    assert!(value("kernel_image_size") < 4.0 * 1024.0 * 1024.0, "{figures}");
    assert!(value("boot_to_init") < 60e6, "{figures}");
    assert!(value("memory_at_init") < 256.0 * 1024.0 * 1024.0, "{figures}");
}

#[test]
fn one_run_measures_every_machine() {
    let figures = measure("all", &["stat", "pipe_"]);
    let machines = figures.as_array().unwrap();
    assert_eq!(machines.len(), Arch::ALL.len(), "{figures}");
    for (machine, arch) in machines.iter().zip(Arch::ALL) {
        assert_eq!(machine["machine"], arch.name());
        for name in ["stat", "pipe_self_1byte"] {
            assert!(value(machine, arch, name) > 10.0, "{machine}");
        }
    }
}
