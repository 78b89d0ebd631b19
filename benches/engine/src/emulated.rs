//! The JITs for machines that this host is not: instructions executed, beside those of `clang -O2`
//! for that machine.
//!
//! User-mode QEMU, one instruction at a time, writes a line for each that it executes between two
//! addresses; the lines are counted. The same runner (`runner.c`, which the engine's tests use
//! too) calls either code, and only the code is counted, not the runner. The program is compiled
//! as it is for the host's peers: without a proof, with its memory in r1.

#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kernel_bpf::insn::decode;
use kernel_bpf::interpreter::LoadError;
use kernel_bpf::jit::aarch64::Aarch64;
use kernel_bpf::jit::emitter::{Emission, Emitter};
use kernel_bpf::jit::host::HostMemory;
use kernel_bpf::jit::riscv64::Riscv64;
use kernel_bpf::jit::run::Run;
use kernel_bpf::jit::{Intrinsics, Machine, Options, emit_trusted};
use kernel_bpf::map::Map;
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::trusted::Trust;

use crate::programs::{Source, pattern};

/// Where the runner puts code, and memory.
const CODE: usize = 0x4000_0000;
const MEMORY: u64 = 0x4200_0000;
const RUNNER: &str = "../../kernel/crates/kernel_bpf/src/jit/tests/runner.c";
/// Links flat code with its constants, the function `entry` first.
const LAYOUT: &str = "SECTIONS { . = 0x40000000; .text : { *(.text.entry) *(.text .text.*) } \
                      .data : { *(.rodata .rodata.* .srodata .srodata.* .data .data.*) } \
                      /DISCARD/ : { *(.comment) *(.note*) *(.eh_frame*) *(.riscv*) } }";

type Compile = fn(&Program<Arc<Map>>, &Trust, &Options) -> Result<Emission, LoadError>;

/// A machine that this host is not.
struct Other {
    name: &'static str,
    emulator: &'static str,
    emulator_arguments: &'static [&'static str],
    clang_arguments: &'static [&'static str],
    compile: Compile,
    place: fn(&mut Emission),
}

const OTHERS: [Other; 2] = [
    Other {
        name: "AArch64",
        emulator: "qemu-aarch64",
        emulator_arguments: &[],
        clang_arguments: &["--target=aarch64-linux-gnu"],
        compile: emit_trusted::<Aarch64>,
        place: |out| Aarch64::place(&mut out.bytes, CODE, &out.outside),
    },
    Other {
        name: "RISC-V",
        emulator: "qemu-riscv64",
        emulator_arguments: &[],
        clang_arguments: &[
            "--target=riscv64-linux-gnu",
            "-march=rv64ima",
            "-mabi=lp64",
            "-mno-relax",
            "-mcmodel=medany",
        ],
        compile: emit_trusted::<Riscv64>,
        place: |out| Riscv64::place(&mut out.bytes, CODE, &out.outside),
    },
];

/// A program's instructions on one machine.
pub(crate) struct Counts {
    pub(crate) machine: &'static str,
    pub(crate) program: &'static str,
    pub(crate) jit: u64,
    pub(crate) native: u64,
}

/// Counts on every machine whose emulator is there; what is missing goes into the notes.
pub(crate) fn measure(programs: &[Source], notes: &mut Vec<String>) -> Result<Vec<Counts>> {
    let mut counts = Vec::new();
    for other in &OTHERS {
        if Command::new(other.emulator).arg("--version").output().is_err() {
            let (name, emulator) = (other.name, other.emulator);
            notes.push(format!("{name}: {emulator} is missing (apt-get install qemu-user)"));
            continue;
        }
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let machine = Counter::new(other, folder.path())?;
        for program in programs {
            counts.push(machine.program(program)?);
        }
    }
    Ok(counts)
}

/// Counts instructions on one machine.
struct Counter<'a> {
    other: &'a Other,
    folder: &'a Path,
    runner: PathBuf,
}

impl<'a> Counter<'a> {
    fn new(other: &'a Other, folder: &'a Path) -> Result<Self> {
        let runner = folder.join("runner");
        let counter = Self { other, folder, runner };
        let flags = ["-O1", "-fno-pic", "-fno-stack-protector"];
        counter.clang(&flags, &from_here(RUNNER), &counter.runner)?;
        Ok(counter)
    }

    fn clang(&self, flags: &[&str], source: &Path, output: &Path) -> Result<()> {
        let out = Command::new(crate::programs::clang()?)
            .args(["-nostdlib", "-static", "-ffreestanding", "-fuse-ld=lld"])
            .args(self.other.clang_arguments)
            .args(flags)
            .arg("-o")
            .args([output, source])
            .output()
            .context("cannot start clang")?;
        if !out.status.success() {
            bail!("{}: {}", source.display(), String::from_utf8_lossy(&out.stderr));
        }
        Ok(())
    }

    fn program(&self, source: &Source) -> Result<Counts> {
        let (jit, result) = self.count(&self.jit(source)?)?;
        let (native, expected) = self.count(&self.native(source)?)?;
        let (machine, program) = (self.other.name, source.name);
        if result != expected {
            bail!("{program} on {machine}: {result:#x} instead of {expected:#x}");
        }
        Ok(Counts { machine, program, jit, native })
    }

    fn jit(&self, source: &Source) -> Result<Vec<u8>> {
        let insns = decode(&source.plain.insns)?;
        let program = Program::new(insns, ProgType::RawTracepoint, Vec::new());
        let options = Options {
            // What every CPU of the kind has, as clang assumes.
            machine: Machine::default(),
            intrinsics: Intrinsics::default(),
            memory: HostMemory::get().context("no executable memory could be reserved")?,
            blind: None,
        };
        let mut emission = (self.other.compile)(&program, &Trust::default(), &options)?;
        (self.other.place)(&mut emission);
        Ok(emission.bytes)
    }

    fn native(&self, source: &Source) -> Result<Vec<u8>> {
        let (layout, flat) = (self.folder.join("layout"), self.folder.join("native"));
        std::fs::write(&layout, LAYOUT)?;
        let layout = format!("-Wl,-T,{}", layout.display());
        let program = format!("programs/{}.c", source.name);
        let flags = [
            "-O2",
            "-fno-unroll-loops",
            "-fno-vectorize",
            "-fno-slp-vectorize",
            "-ffunction-sections",
            "-Wl,--oformat=binary",
            "-Wl,-e,entry",
            &layout,
        ];
        self.clang(&flags, &from_here(&program), &flat)?;
        Ok(std::fs::read(flat)?)
    }

    /// The instructions that one call of the code executes, and what it returns.
    fn count(&self, code: &[u8]) -> Result<(u64, u64)> {
        let (request, log) = (self.folder.join("request"), self.folder.join("log"));
        let memory = pattern();
        let header = [code.len() as u32, memory.len() as u32, Run::ROUNDS as u32, 8 << 20];
        let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend([Run::NOTES as u64, MEMORY, 1].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend_from_slice(code);
        bytes.extend_from_slice(&memory);
        std::fs::write(&request, bytes)?;
        // The name of the option until QEMU 8, and since.
        for one_at_a_time in ["-singlestep", "-one-insn-per-tb"] {
            let out = Command::new(self.other.emulator)
                .args(self.other.emulator_arguments)
                .args([one_at_a_time, "-d", "exec,nochain", "-dfilter", "0x40000000+0x400000"])
                .arg("-D")
                .args([&log, &self.runner])
                .stdin(std::fs::File::open(&request)?)
                .stderr(Stdio::piped())
                .output()?;
            if !out.status.success() {
                continue;
            }
            let result = out.stdout.first_chunk().context("the runner gave no result")?;
            let lines = BufReader::new(std::fs::File::open(&log)?).lines();
            let executed =
                lines.filter(|line| line.as_ref().is_ok_and(|l| l.starts_with("Trace ")));
            return Ok((executed.count() as u64, u64::from_le_bytes(*result)));
        }
        bail!("{} did not run the code", self.other.emulator)
    }
}

fn from_here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
