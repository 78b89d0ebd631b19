//! The compilers for machines that this host is not: their code, run under user-mode QEMU.
//!
//! [`Foreign`] is a program compiled for such a machine in each way that its compiler has;
//! [`Foreign::run`] runs all of them, and says so if they disagree. The code runs in a process of
//! the other machine, `runner.c`, which clang builds and which gets code and memory through a
//! pipe; so a program can have the conformance suite's helpers, which the runner has too, but
//! neither maps nor the engine's helpers, which are of this process.

use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{env, fs, mem, process};

use anyhow::{Context, Result, bail};
use kernel_bpf::helper::Helper;
use kernel_bpf::jit::aarch64::Aarch64;
use kernel_bpf::jit::emitter::Emitter;
use kernel_bpf::jit::memory::CodeMemory;
use kernel_bpf::jit::riscv64::Riscv64;
use kernel_bpf::jit::run::Run;
use kernel_bpf::jit::{Intrinsics, Machine, Options, emit_trusted};
use kernel_bpf::map::Map;
use kernel_bpf::program::Program;
use kernel_bpf::trusted::Trust;

/// What runs there; the tests of the compilers have the same.
const RUNNER: &str = include_str!("../../../kernel/crates/kernel_bpf/src/jit/tests/runner.c");
/// Where it puts the code, its memory, what calls by register go to, and the suite's helpers.
const CODE: usize = 0x4000_0000;
const CODE_BYTES: usize = 4 << 20;
const CALL_REGISTER: usize = 0x4100_0c00;
const SUITE: usize = 0x4100_1000;
const HELPER_BYTES: usize = 256;
const HELPERS: usize = 6;
pub(crate) const MEMORY: u64 = 0x4200_0000;
/// Rounds of all `may_goto`s of a run together, as the engine allows them.
const ROUNDS: u32 = 8 << 20;

/// A machine that this host is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    Aarch64,
    Riscv64,
}

const PLAIN: Machine = Machine { bmi2: false, lse: false, zba: false, zbb: false };

impl Other {
    const fn emulator(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Aarch64 => ("qemu-aarch64", &["-cpu", "max"]),
            Self::Riscv64 => ("qemu-riscv64", &["-cpu", "rv64,zba=true,zbb=true"]),
        }
    }

    const fn clang_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Aarch64 => &["--target=aarch64-linux-gnu"],
            Self::Riscv64 => &["--target=riscv64-linux-gnu", "-march=rv64ima", "-mabi=lp64"],
        }
    }

    /// The plainest machine of its kind, and the best.
    const fn machines(self) -> [Machine; 2] {
        match self {
            Self::Aarch64 => [PLAIN, Machine { lse: true, ..PLAIN }],
            Self::Riscv64 => [PLAIN, Machine { zba: true, zbb: true, ..PLAIN }],
        }
    }

    /// Its runner, started when it is first needed.
    fn runner(self) -> Result<&'static Mutex<Runner>> {
        static RUNNERS: [OnceLock<Mutex<Runner>>; 2] = [const { OnceLock::new() }; 2];
        let [aarch64, riscv64] = &RUNNERS;
        let place = if self == Self::Aarch64 { aarch64 } else { riscv64 };
        if let Some(runner) = place.get() {
            return Ok(runner);
        }
        let runner = Runner::start(self)?;
        Ok(place.get_or_init(|| Mutex::new(runner)))
    }
}

/// The runner's memory as the compilers see it: only its place counts.
struct Elsewhere;

// SAFETY: it gives no memory.
unsafe impl CodeMemory for Elsewhere {
    fn window(&self) -> Range<usize> {
        CODE..CODE + CODE_BYTES
    }

    fn install(&self, _: usize, _: &mut dyn FnMut(&mut [u8], usize)) -> Option<usize> {
        None
    }

    unsafe fn release(&self, _: usize, _: usize) {}
}

/// A program that nobody verified, compiled for another machine.
pub(crate) struct Foreign {
    machine: Other,
    /// Its code for the plainest machine and the best, and with its constants blinded.
    ways: Vec<Vec<u8>>,
}

impl Foreign {
    /// Compiles a program without maps and helpers of the engine.
    pub(crate) fn new(program: &Program<Arc<Map>>, trust: &Trust, machine: Other) -> Result<Self> {
        let [plain, best] = machine.machines();
        let way = |machine, blind| Options {
            machine,
            intrinsics: Intrinsics::default(),
            memory: &Elsewhere,
            blind,
        };
        let trust = Trust { call_register: Some(CALL_REGISTER), ..*trust };
        let ways = [way(plain, None), way(best, None), way(best, Some(7))].map(|options| {
            let compile = match machine {
                Other::Aarch64 => compile::<Aarch64>,
                Other::Riscv64 => compile::<Riscv64>,
            };
            compile(program, &trust, &options)
        });
        Ok(Self { machine, ways: ways.into_iter().collect::<Result<_>>()? })
    }

    /// Runs the program in each way `times` times on a copy of `memory`, which lies at [`MEMORY`]
    /// there, with `argument` in r1, and returns the last r0.
    pub(crate) fn run(&self, memory: &mut [u8], argument: u64, times: u32) -> Result<u64> {
        let mut outcome = None;
        for code in &self.ways {
            let mut copy = memory.to_vec();
            let mut runner = self.machine.runner()?.lock().unwrap_or_else(PoisonError::into_inner);
            let result = runner.run(code, &mut copy, argument, times)?;
            let first = outcome.get_or_insert_with(|| (result, copy.clone()));
            if *first != (result, copy) {
                bail!("the compiler's ways disagree: {:#x} and {result:#x}", first.0);
            }
        }
        let (result, changed) = outcome.context("no code")?;
        memory.copy_from_slice(&changed);
        Ok(result)
    }
}

fn compile<E: Emitter>(
    program: &Program<Arc<Map>>,
    trust: &Trust,
    options: &Options,
) -> Result<Vec<u8>> {
    let mut emission = emit_trusted::<E>(program, trust, options)?;
    E::place(&mut emission.bytes, CODE, &emission.outside);
    Ok(emission.bytes)
}

/// The conformance suite's helpers, as the runner has them.
pub(crate) fn suite(number: i32) -> Option<Helper> {
    let number = usize::try_from(number).ok().filter(|number| *number < HELPERS)?;
    // SAFETY: nobody calls it in this process.
    Some(unsafe { mem::transmute::<usize, Helper>(SUITE + number * HELPER_BYTES) })
}

/// A process of the other machine that waits for code.
struct Runner {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Runner {
    fn start(machine: Other) -> Result<Self> {
        let (emulator, arguments) = machine.emulator();
        let missing = |tool: &str| {
            format!("{tool} is missing: install it (apt-get install clang lld qemu-user)")
        };
        let clang = find("clang").with_context(|| missing("clang"))?;
        find("ld.lld").with_context(|| missing("ld.lld"))?;
        let emulator = find(emulator).with_context(|| missing(emulator))?;
        let folder = Folder::new()?;
        let (source, program) = (folder.0.join("runner.c"), folder.0.join("runner"));
        fs::write(&source, RUNNER)?;
        let built = Command::new(clang)
            .args(["-O1", "-nostdlib", "-static", "-ffreestanding", "-fno-pic"])
            .args(["-fno-stack-protector", "-fuse-ld=lld", "-o"])
            .arg(&program)
            .args(machine.clang_arguments())
            .arg(&source)
            .output()?;
        if !built.status.success() {
            bail!("clang cannot build the runner: {}", String::from_utf8_lossy(&built.stderr));
        }
        let mut child = Command::new(emulator)
            .args(arguments)
            .arg(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("a runner without input")?;
        let output = child.stdout.take().context("a runner without output")?;
        let mut runner = Self { child, input, output };
        // Once it answers it has its program open, and the folder may go. A return:
        let nothing: [u8; 4] = match machine {
            Other::Aarch64 => 0xd65f_03c0u32.to_le_bytes(),
            Other::Riscv64 => 0x0000_8067u32.to_le_bytes(),
        };
        runner.run(&nothing, &mut [], 0, 1)?;
        Ok(runner)
    }

    fn run(&mut self, code: &[u8], memory: &mut [u8], argument: u64, times: u32) -> Result<u64> {
        let sizes = [u32::try_from(code.len())?, u32::try_from(memory.len())?];
        let words = [Run::NOTES as u64, argument, u64::from(times)];
        let mut request = Vec::new();
        for word in sizes.into_iter().chain([Run::ROUNDS as u32, ROUNDS]) {
            request.extend(word.to_le_bytes());
        }
        request.extend(words.into_iter().flat_map(u64::to_le_bytes));
        request.extend_from_slice(code);
        request.extend_from_slice(memory);
        let mut result = [0; 8];
        let answer = self.input.write_all(&request).and_then(|()| {
            self.output.read_exact(&mut result)?;
            self.output.read_exact(memory)
        });
        if let Err(error) = answer {
            let _ = self.child.kill();
            bail!("the runner stopped ({error}): {}", self.child.wait()?);
        }
        Ok(u64::from_le_bytes(result))
    }
}

/// The path of a program, or of one of its versions (`clang-19`).
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let versions = (14..=22).rev().map(|version| format!("{program}-{version}"));
    let names: Vec<String> = [program.to_owned()].into_iter().chain(versions).collect();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let mut files = names.iter().flat_map(|name| folders.iter().map(move |dir| dir.join(name)));
    files.find(|file| Path::is_file(file))
}

/// A folder of this process that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let folder = env::temp_dir().join(format!("bpf-lab-{}", process::id()));
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
