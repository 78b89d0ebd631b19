//! Compiled programs for machines that this host is not, run under user-mode QEMU.
//!
//! The compiler runs here, its code there: `runner.c`, built by clang, gets code and memory
//! through a pipe. So no Rust library for those machines is needed. Helpers are functions of this
//! process, which the code cannot call; [`helpers`] names one of the runner's instead.

use alloc::sync::Arc;
use core::mem;
use core::ops::Range;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::vec::Vec;
use std::{format, panic, vec};

use super::tools::{Folder, clang, find, missing};
use crate::asm::assemble;
use crate::helper::Helper;
use crate::insn::{AluOp, Cond, Imm64, Insn, Operand, Reg, Width};
use crate::jit::aarch64::Aarch64;
use crate::jit::emitter::{self, Context, Emission, Emitter};
use crate::jit::front::Lowered;
use crate::jit::memory::CodeMemory;
use crate::jit::riscv64::Riscv64;
use crate::jit::run::Run;
use crate::jit::{Intrinsics, Machine, Options, emit};
use crate::map::Map;
use crate::prog_type::ProgType;
use crate::program::Program;
use crate::resolve::{LoadError, Resolver};
use crate::trusted::Trust;
use crate::verifier::Proof;

/// Where the runner puts code, and its helper: near the code, and beyond the reach of calls.
pub(super) const CODE: usize = 0x4000_0000;
pub(super) const NEAR: usize = 0x4100_0000;
const MEMORY: u64 = 0x4200_0000;
const FAR: usize = 0x40_4100_0000;
const ROUNDS: u32 = 8 << 20;

/// The runner's memory as the compilers see it: only its place counts.
struct Elsewhere;

// SAFETY: it gives no memory.
unsafe impl CodeMemory for Elsewhere {
    fn window(&self) -> Range<usize> {
        CODE..CODE + (4 << 20)
    }

    fn install(&self, _: usize, _: &mut dyn FnMut(&mut [u8], usize)) -> Option<usize> {
        None
    }

    unsafe fn release(&self, _: usize, _: usize) {}
}

/// A machine that this host is not.
struct Other {
    name: &'static str,
    emulator: &'static str,
    emulator_arguments: &'static [&'static str],
    clang_arguments: &'static [&'static str],
    /// Its plainest and its best.
    machines: [Machine; 2],
    compile: fn(&Resolver<'_>, &Options) -> Result<Vec<u8>, LoadError>,
    assemble: fn(&Lowered<'_>, &Options) -> Result<Emission, LoadError>,
    runner: OnceLock<Option<Mutex<Runner>>>,
}

const PLAIN: Machine = Machine { bmi2: false, lse: false, zba: false, zbb: false };

static OTHERS: [Other; 2] = [
    Other {
        name: "aarch64",
        emulator: "qemu-aarch64",
        emulator_arguments: &["-cpu", "max"],
        clang_arguments: &["--target=aarch64-linux-gnu"],
        machines: [PLAIN, Machine { lse: true, ..PLAIN }],
        compile: compile::<Aarch64>,
        assemble: assemble_lowered::<Aarch64>,
        runner: OnceLock::new(),
    },
    Other {
        name: "riscv64",
        emulator: "qemu-riscv64",
        emulator_arguments: &["-cpu", "rv64,zba=true,zbb=true"],
        clang_arguments: &["--target=riscv64-linux-gnu", "-march=rv64ima", "-mabi=lp64"],
        machines: [PLAIN, Machine { zba: true, zbb: true, ..PLAIN }],
        compile: compile::<Riscv64>,
        assemble: assemble_lowered::<Riscv64>,
        runner: OnceLock::new(),
    },
];

fn compile<E: Emitter>(resolver: &Resolver<'_>, options: &Options) -> Result<Vec<u8>, LoadError> {
    let mut emission = emit::<E>(resolver, options)?.emission;
    E::place(&mut emission.bytes, CODE, &emission.outside);
    Ok(emission.bytes)
}

fn assemble_lowered<E: Emitter>(
    lowered: &Lowered<'_>,
    options: &Options,
) -> Result<Emission, LoadError> {
    let context = Context {
        machine: &options.machine,
        intrinsics: &options.intrinsics,
        functions: &lowered.functions,
        arrays: lowered.arrays,
        needs_run: lowered.needs_run,
        window: options.memory.window(),
    };
    let mut emission = emitter::assemble::<E>(lowered, lowered.table.clone(), &context)?;
    E::place(&mut emission.bytes, CODE, &emission.outside);
    Ok(emission)
}

impl Other {
    /// Its runner, started when it is first needed; nothing where a tool is missing.
    fn runner(&self) -> Option<&Mutex<Runner>> {
        self.runner.get_or_init(|| Runner::start(self).map(Mutex::new)).as_ref()
    }
}

/// A runner that waits for code.
struct Runner {
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Runner {
    fn start(other: &Other) -> Option<Runner> {
        for tool in ["clang", "ld.lld", other.emulator] {
            if find(tool).is_none() {
                missing(tool);
                return None;
            }
        }
        let folder = Folder::new(other.name);
        let (source, program) = (folder.file("runner.c"), folder.file("runner"));
        std::fs::write(&source, include_str!("runner.c")).unwrap();
        let mut arguments = Vec::from([
            "-O1",
            "-nostdlib",
            "-static",
            "-ffreestanding",
            "-fno-pic",
            "-fno-stack-protector",
            "-fuse-ld=lld",
            "-o",
            program.to_str().unwrap(),
        ]);
        arguments.extend(other.clang_arguments);
        clang(&find("clang")?, &arguments, &[&source]);
        let mut process = Command::new(find(other.emulator)?)
            .args(other.emulator_arguments)
            .arg(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            let _ = process.wait();
            return None;
        };
        let mut runner = Runner { process, input, output };
        // Once it answers it has its program open, and the folder may go.
        let nothing = compile_insns(other, &[Insn::Exit], &Trust::default(), &other.machines[0]);
        runner.run(&nothing.unwrap(), &mut [0; 8]);
        Some(runner)
    }

    fn run(&mut self, code: &[u8], memory: &mut [u8]) -> u64 {
        let header = [code.len() as u32, memory.len() as u32, Run::ROUNDS as u32, ROUNDS];
        let mut request: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        request.extend([Run::NOTES as u64, MEMORY, 1].iter().flat_map(|word| word.to_le_bytes()));
        request.extend_from_slice(code);
        request.extend_from_slice(memory);
        self.input.write_all(&request).unwrap();
        let mut result = [0; 8];
        let answer =
            self.output.read_exact(&mut result).and_then(|()| self.output.read_exact(memory));
        if let Err(error) = answer {
            panic!("the runner stopped ({error}): {:?}", self.process.wait());
        }
        u64::from_le_bytes(result)
    }
}

fn compile_insns(
    other: &Other,
    insns: &[Insn],
    trust: &Trust,
    machine: &Machine,
) -> Result<Vec<u8>, LoadError> {
    let program: Program<Arc<Map>> = Program::new(insns.to_vec(), ProgType::RawTracepoint, vec![]);
    (other.compile)(&Resolver::new(&program, None, trust), &options(machine))
}

fn options(machine: &Machine) -> Options {
    Options {
        machine: *machine,
        intrinsics: Intrinsics::default(),
        memory: &Elsewhere,
        blind: None,
    }
}

/// Whether a program needs nothing of this process, so that it can run elsewhere.
fn is_alone(program: &Program<Arc<Map>>) -> bool {
    program.insns.iter().all(|insn| match insn {
        Insn::CallHelper { .. } | Insn::CallRegister { .. } => false,
        Insn::LoadImm64 { value, .. } => matches!(value, Imm64::Value(_)),
        _ => true,
    })
}

/// Runs a program on every other machine, in one of its ways, each with a copy of `memory`.
/// Returns the machines with what came of it: nothing where an emulator is missing, or where the
/// program needs helpers or maps.
pub(crate) fn run(
    program: &Program<Arc<Map>>,
    proof: Option<&Proof>,
    memory: &[u8],
) -> Vec<(&'static str, u64, Vec<u8>)> {
    if is_alone(program) { run_any(program, proof, &Trust::default(), memory) } else { vec![] }
}

/// Runs operations as they are on every other machine, in each of its ways. `code` puts the
/// machine code together with what assembles operations.
pub(super) fn run_operations(
    intrinsics: &Intrinsics,
    memory: &[u8],
    code: impl Fn(&dyn Fn(&Lowered<'_>) -> Emission) -> Vec<u8>,
) -> Vec<(&'static str, u64)> {
    let mut results = Vec::new();
    for other in &OTHERS {
        let Some(runner) = other.runner() else { continue };
        for machine in &other.machines {
            let options = Options { intrinsics: *intrinsics, ..options(machine) };
            let code = code(&|lowered| (other.assemble)(lowered, &options).unwrap());
            let mut runner = runner.lock().unwrap_or_else(PoisonError::into_inner);
            results.push((other.name, runner.run(&code, &mut memory.to_vec())));
        }
    }
    results
}

fn run_any(
    program: &Program<Arc<Map>>,
    proof: Option<&Proof>,
    trust: &Trust,
    memory: &[u8],
) -> Vec<(&'static str, u64, Vec<u8>)> {
    let mut results = Vec::new();
    for other in &OTHERS {
        let Some(runner) = other.runner() else { continue };
        // In turns, but the same way for the same program.
        let turn = program.insns.len() + usize::from(memory.first().copied().unwrap_or(0));
        let [plain, best] = &other.machines;
        let options = match turn % 4 {
            0 => options(plain),
            1 => Options { blind: Some(turn as u64), ..options(plain) },
            _ => options(best),
        };
        let resolver = Resolver::new(program, proof, trust);
        let code = (other.compile)(&resolver, &options);
        let code = code.unwrap_or_else(|error| panic!("{}: {error:?}", other.name));
        let mut memory = memory.to_vec();
        let result = runner.lock().unwrap_or_else(PoisonError::into_inner).run(&code, &mut memory);
        results.push((other.name, result, memory));
    }
    results
}

/// The runner's function, near (1) and far (2).
fn helpers(id: i32) -> Option<Helper> {
    let address = match id {
        1 => NEAR,
        2 => FAR,
        _ => return None,
    };
    // SAFETY: nobody calls it in this process.
    Some(unsafe { mem::transmute::<usize, Helper>(address) })
}

#[test]
fn helpers_get_their_arguments_and_keep_registers() {
    for id in [1, 2] {
        let text = format!(
            "r6 = 6\n r7 = 70\n r8 = 800\n r9 = r1\n *(u64 *)(r10 - 8) = 9000
             r2 = 2\n r3 = 3\n r4 = 4\n r5 = 5\n call {id}\n *(u64 *)(r9 + 8) = r0
             r1 = r9\n r2 = 0\n r3 = 0\n r4 = 0\n r5 = 0\n call pc+6
             r0 += r6\n r0 += r7\n r0 += r8\n r1 = *(u64 *)(r10 - 8)\n r0 += r1\n exit
             r6 = r1\n call {id}\n r6 = *(u64 *)(r6 + 0)\n *(u64 *)(r10 - 8) = r6\n exit"
        );
        let insns = assemble(&text).unwrap_or_else(|error| panic!("{error}"));
        let program = Program::new(insns, ProgType::RawTracepoint, vec![]);
        let trust = Trust { helpers, ..Trust::default() };
        for (name, result, memory) in run_any(&program, None, &trust, &[0; 16]) {
            let first = 1 + 3 * 2 + 5 * 3 + 7 * 4 + 11 * 5 + 1000u64;
            assert_eq!(memory[8..], first.to_le_bytes(), "{name}, helper {id}");
            assert_eq!(memory[0], 2, "{name}, helper {id}");
            assert_eq!(result, 2 + 1000 + 6 + 70 + 800 + 9000, "{name}, helper {id}");
        }
    }
}

#[test]
fn branches_and_jumps_reach_over_any_amount_of_code() {
    // Around the reaches of 13 bits, 16 bits, and 21 bits.
    for count in [1000, 1015, 1020, 1023, 1030, 8180, 8190, 8200, 262_130, 262_200] {
        // A comparison, and a test of one bit, which hold and do not.
        for (cond, value) in [(Cond::Ne, 1), (Cond::Ne, 0), (Cond::Sge, 0), (Cond::Sge, -1)] {
            let wide = Width::W64;
            let mov = |dst, imm| Insn::Mov { width: wide, dst, src: Operand::Imm(imm) };
            let add = |dst, src| Insn::Alu { width: wide, op: AluOp::Add, dst, src };
            let over = |cond, dst| Insn::Branch {
                width: wide,
                cond,
                dst,
                src: Operand::Imm(0),
                offset: 1,
            };
            let mut insns = vec![mov(Reg::R0, 0), mov(Reg::R1, value), mov(Reg::R2, 1)];
            insns.extend([mov(Reg::R3, 2), over(cond, Reg::R1)]);
            // The front end turns the branch over this jump into the opposite branch.
            insns.push(Insn::Jump { offset: count, long: true });
            insns.extend((0..count).map(|_| add(Reg::R0, Operand::Reg(Reg::R2))));
            insns.extend([add(Reg::R3, Operand::Imm(-1)), over(Cond::Eq, Reg::R3)]);
            insns.extend([Insn::Jump { offset: -(count + 5), long: true }, Insn::Exit]);
            let program = Program::new(insns, ProgType::RawTracepoint, vec![]);
            for (name, result, _) in run(&program, None, &[0; 8]) {
                let holds = if cond == Cond::Ne { value != 0 } else { value >= 0 };
                let expected = if holds { 2 * count as u64 } else { 0 };
                assert_eq!(result, expected, "{name}, over {count}, {cond:?}");
            }
        }
    }
}
