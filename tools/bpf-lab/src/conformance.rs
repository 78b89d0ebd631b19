//! `bpf-lab conformance`: a plugin of the `bpf_conformance` runner.
//!
//! The runner starts the plugin once for each test, with the test's memory in hexadecimal as
//! the first argument where there is any, and the program in hexadecimal on standard input.
//! The plugin prints r0 in hexadecimal, or says on standard error why it cannot. The tests are
//! of single instructions: they are run without a proof, with the helpers that the suite
//! numbers 0 to 5.

use std::cell::Cell;
use std::ffi::CStr;
use std::io::Read;
use std::ptr;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use kernel_bpf::helper::{Environment, Helper};
use kernel_bpf::insn::{Imm64, Insn, Reg, decode};
use kernel_bpf::loader::Object;
use kernel_bpf::map::Map;
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::trusted::Trust;

use crate::emulated;
use crate::engine::{EngineKind, Trusted};
use crate::hex;
use crate::host::Host;

/// The plugin's command line, as the runner gives it.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Memory for the program, in hexadecimal: r1 points to it, r2 is its length
    memory: Option<String>,
    /// The program in hexadecimal, instead of on standard input
    #[arg(long, value_name = "HEX")]
    program: Option<String>,
    /// The program is an ELF file, in hexadecimal
    #[arg(long)]
    elf: bool,
    /// Show the program on standard error
    #[arg(long)]
    debug: bool,
    /// What runs the program
    #[arg(long, value_enum, default_value_t)]
    engine: EngineKind,
    /// Short for --engine jit
    #[arg(long, conflicts_with_all = ["interpret", "engine"])]
    jit: bool,
    /// Short for --engine interpreter
    #[arg(long, conflicts_with = "engine")]
    interpret: bool,
}

/// Runs one test.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let engine = if arguments.jit { EngineKind::Jit } else { arguments.engine };
    let mut memory = hex::decode(arguments.memory.as_deref().unwrap_or_default())
        .context("the memory in the first argument")?;
    let text = match &arguments.program {
        Some(text) => text.clone(),
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("the program on standard input")?;
            text
        }
    };
    let bytes = hex::decode(&text).context("the program")?;
    let insns = if arguments.elf { first_program(&bytes)? } else { decode(&bytes)? };
    if arguments.debug {
        for (slot, insn) in insns.iter().enumerate() {
            if *insn != Insn::WideTail {
                eprintln!("{slot:4}: {insn}");
            }
        }
    }
    println!("{:x}", run(insns, &mut memory, engine)?);
    Ok(())
}

fn first_program(elf: &[u8]) -> Result<Vec<Insn>> {
    let object = Object::parse(elf)?;
    let program = object.programs.first().ok_or_else(|| anyhow!("the object has no program"))?;
    Ok(decode(&program.insns)?)
}

thread_local! {
    /// Whether the running program asked to be ended.
    static UNWOUND: Cell<bool> = const { Cell::new(false) };
}

/// Runs a program of the suite and returns r0.
pub(crate) fn run(insns: Vec<Insn>, memory: &mut [u8], engine: EngineKind) -> Result<u64> {
    // The engine sets r1; the suite's programs expect the memory's length in r2.
    let length = Imm64::Value(memory.len() as u64);
    let mut program = vec![Insn::LoadImm64 { dst: Reg::R2, value: length }, Insn::WideTail];
    program.extend(insns);
    let program: Program<Arc<Map>> = Program::new(program, ProgType::RawTracepoint, Vec::new());
    let helpers = match engine {
        EngineKind::Interpreter | EngineKind::Jit => helper,
        EngineKind::JitAarch64 | EngineKind::JitRiscv64 => emulated::suite,
    };
    let ready = Trusted::new(&program, engine, &Trust { helpers, ..Trust::default() })?;
    // Atomics want the memory aligned as programs expect it.
    let mut words = vec![0u64; memory.len().div_ceil(8)];
    let aligned: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    for (to, from) in aligned.iter_mut().zip(memory.iter()) {
        *to = *from;
    }
    UNWOUND.set(false);
    let result = ready.run((!memory.is_empty()).then_some(&mut *aligned), 1, &Host::default())?;
    for (to, from) in memory.iter_mut().zip(aligned.iter()) {
        *to = *from;
    }
    // Unwinding ends a program with 0 in r0. This engine has no way to end one from a helper:
    // the program runs to its own end, and its result is replaced.
    Ok(if UNWOUND.get() { 0 } else { result })
}

/// The suite's helpers.
fn helper(number: i32) -> Option<Helper> {
    Some(match number {
        0 => gather_bytes,
        1 => memfrob,
        2 => trash_registers,
        3 => sqrti,
        4 => strcmp_ext,
        5 => unwind,
        _ => return None,
    })
}

/// The low bytes of the five arguments, the first uppermost.
unsafe extern "C" fn gather_bytes(
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    e: u64,
    _: &Environment<'_>,
) -> u64 {
    [a, b, c, d, e].into_iter().fold(0, |gathered, byte| gathered << 8 | byte & 0xff)
}

/// Flips the same bits in each of `length` bytes.
unsafe extern "C" fn memfrob(
    address: u64,
    length: u64,
    _: u64,
    _: u64,
    _: u64,
    _: &Environment<'_>,
) -> u64 {
    for index in 0..length {
        let byte = ptr::with_exposed_provenance_mut::<u8>(address.wrapping_add(index) as usize);
        // SAFETY: who runs the program vouches that it lends this memory.
        unsafe { *byte ^= 42 };
    }
    0
}

/// Leaves nothing in the registers that a call may change: a Rust function promises as little
/// of them as the suite's assembly does.
unsafe extern "C" fn trash_registers(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: &Environment<'_>,
) -> u64 {
    0
}

/// The whole part of the square root.
unsafe extern "C" fn sqrti(
    number: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: &Environment<'_>,
) -> u64 {
    number.isqrt()
}

/// Compares two zero-terminated strings: negative, zero or positive.
unsafe extern "C" fn strcmp_ext(
    one: u64,
    other: u64,
    _: u64,
    _: u64,
    _: u64,
    _: &Environment<'_>,
) -> u64 {
    let string = |address: u64| ptr::with_exposed_provenance(address as usize);
    // SAFETY: who runs the program vouches that it lends two strings.
    let (one, other) = unsafe { (CStr::from_ptr(string(one)), CStr::from_ptr(string(other))) };
    one.cmp(other) as i64 as u64
}

/// Ends the program if its argument is zero.
unsafe extern "C" fn unwind(keep: u64, _: u64, _: u64, _: u64, _: u64, _: &Environment<'_>) -> u64 {
    if keep == 0 {
        UNWOUND.set(true);
    }
    keep
}
