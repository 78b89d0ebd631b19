//! Starting the tool, for tests.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part")]

#[path = "../../../../kernel/crates/kernel_bpf/tests/common/tools.rs"]
pub(crate) mod tools;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a run of the tool left behind.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `bpf-lab` with these arguments and this standard input.
pub(crate) fn lab(arguments: &[&str], input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bpf-lab"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The tool may end without reading: that is not the test's concern.
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    Ran {
        status: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// A program as hexadecimal text.
pub(crate) fn hex(assembly: &str) -> String {
    let insns = kernel_bpf::asm::assemble(assembly).unwrap();
    kernel_bpf::insn::encode(&insns).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compiles C to a BPF object.
pub(crate) fn compile(clang: &str, source: &Path) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let object = folder.path().join("program.o");
    let status = Command::new(clang)
        .args(["-target", "bpf", "-g", "-O2", "-Wall", "-Werror", "-c", "-o"])
        .arg(&object)
        .arg("-I")
        .arg(source.parent().unwrap())
        .arg(source)
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::read(&object).unwrap()
}
