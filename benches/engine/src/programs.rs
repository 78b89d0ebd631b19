//! The twelve programs, compiled: natively, and for BPF as each engine wants them.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use kernel_bpf::loader::{Object, ObjectProgram};

/// Bytes of memory that each program works on.
pub(crate) const MEMORY: usize = 16 << 10;

/// In the order of the table; `empty` last.
const NAMES: [&str; 12] = [
    "alu", "sieve", "parse", "csum", "copy", "class", "switch", "call", "div", "spill", "siphash",
    "empty",
];

/// One program.
pub(crate) struct Source {
    pub(crate) name: &'static str,
    /// A shared library with a function `entry`.
    pub(crate) native: PathBuf,
    /// With its memory in a global variable, as a verifier wants it.
    pub(crate) verifiable: Object,
    /// With its memory's address in r1, for engines that check nothing or at run time.
    pub(crate) plain: ObjectProgram,
    /// The same without 32-bit arithmetic, which solana-sbpf does not have.
    pub(crate) plain_64: ObjectProgram,
    /// Keeps the files.
    _folder: tempfile::TempDir,
}

/// Compiles the programs whose names contain `only`.
pub(crate) fn compile(only: &str) -> Result<Vec<Source>> {
    let clang = clang()?;
    NAMES.iter().filter(|name| name.contains(only)).map(|name| one(&clang, name)).collect()
}

/// The first clang that compiles for BPF.
pub(crate) fn clang() -> Result<String> {
    let versions = ["", "-19", "-18", "-17", "-16", "-15", "-14"];
    let names = versions.map(|version| format!("clang{version}"));
    let found = names.into_iter().find(|name| {
        let targets = Command::new(name).arg("--print-targets").output();
        targets.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("bpf"))
    });
    found.context("no clang with the BPF target: apt-get install clang, or cargo run -- setup")
}

fn one(clang: &str, name: &'static str) -> Result<Source> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name).with_extension("c");
    let compile = |output: &str, flags: &[&str]| -> Result<PathBuf> {
        let path = folder.path().join(output);
        let out = Command::new(clang)
            .args(["-O2", "-Wall", "-fno-unroll-loops", "-fno-vectorize", "-fno-slp-vectorize"])
            .args(flags)
            .arg("-o")
            .args([&path, &source])
            .output()
            .with_context(|| format!("cannot start {clang}"))?;
        if !out.status.success() {
            bail!("{clang} {}: {}", source.display(), String::from_utf8_lossy(&out.stderr));
        }
        Ok(path)
    };
    let object = |output: &str, flags: &[&str]| -> Result<Object> {
        let flags = [&["-target", "bpf", "-c"], flags].concat();
        let bytes = std::fs::read(compile(output, &flags)?)?;
        Object::parse(&bytes).with_context(|| format!("{name}: {output}"))
    };
    let program = |object: Object| {
        object.programs.into_iter().next().with_context(|| format!("{name}: no program"))
    };
    Ok(Source {
        name,
        native: compile("native.so", &["-shared", "-fPIC"])?,
        verifiable: object("verifiable.o", &["-mcpu=v3", "-DGLOBAL"])?,
        plain: program(object("plain.o", &["-mcpu=v3"])?)?,
        plain_64: program(object("plain64.o", &["-mcpu=v2"])?)?,
        _folder: folder,
    })
}

/// The pattern in a program's memory before its first run.
pub(crate) fn pattern() -> Vec<u8> {
    let mut state = 0x4c65_6d6d_6121_u64;
    let mut bytes = Vec::with_capacity(MEMORY);
    while bytes.len() < MEMORY {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes
}
