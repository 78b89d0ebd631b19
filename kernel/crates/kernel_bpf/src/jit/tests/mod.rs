//! What the tests of all engines need of the compilers.

mod addresses;
mod copies;
mod distances;
pub(crate) mod emulated;
mod halves;
mod intrinsics;
mod operations;
mod rotations;
mod selections;
mod tails;
pub(crate) mod tools;
mod unrolling;

use alloc::sync::Arc;
use core::ops::Range;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::aarch64::Aarch64;
use super::host::{HostMemory, Native, machine};
use super::riscv64::Riscv64;
use super::x86_64::X86_64;
use super::{Compiled, Intrinsics, Machine, Options, emit_trusted, emit_verified, emitter};
use crate::asm::assemble;
use crate::helper::mock::Mock;
use crate::insn::{Cond, Insn, Operand, Reg, Width};
use crate::interpreter::Interpreter;
use crate::map::Map;
use crate::profile::{ActiveProfile, CloudProfile, PhysicalProfile};
use crate::prog_type::ProgType;
use crate::program::Program;
use crate::resolve::LoadError;
use crate::trusted::Trust;
use crate::verifier::verify;

/// How to compile for this host: with and without what not every machine of its kind has, with
/// and without blinding.
pub(crate) fn options() -> Vec<Options> {
    let memory = HostMemory::get().unwrap();
    let with =
        |machine| Options { machine, intrinsics: Intrinsics::default(), memory, blind: None };
    let blind = Options { blind: Some(7), ..with(Machine::default()) };
    let mut all = Vec::from([with(Machine::default()), blind]);
    if machine() != Machine::default() {
        all.push(with(machine()));
    }
    all
}

/// Compiles a program that nobody verified, in every way.
pub(crate) fn compile_trusted(program: &Program<Arc<Map>>, trust: &Trust) -> Vec<Compiled> {
    // SAFETY: the tests run programs that keep to what they are given, on this machine.
    let compile = |options| unsafe { Compiled::new_trusted::<Native>(program, trust, options) };
    options().iter().map(|options| compile(options).unwrap()).collect()
}

/// Runs a program, whose r1 points to 64 bytes of memory, everywhere and in every way: the same
/// result, and the same memory afterwards. Returns the result.
fn agree(text: &str) -> u64 {
    let insns = assemble(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    let program = Program::new(insns, ProgType::RawTracepoint, Vec::new());
    let (trust, services) = (Trust::default(), Mock::default());
    let before: [u8; 64] = core::array::from_fn(|index| (index * 37 + 129) as u8);
    let mut expected = before;
    // SAFETY: the tests' programs keep to their memory.
    let ready = unsafe { Interpreter::<CloudProfile>::new_trusted(&program, &trust) }.unwrap();
    let result = ready.run(&mut expected, &services).unwrap();
    for compiled in compile_trusted(&program, &trust) {
        let mut memory = before;
        assert_eq!(compiled.run(&mut memory, &services), Some(result), "{text}");
        assert_eq!(memory, expected, "{text}");
    }
    for (machine, there, memory) in emulated::run(&program, None, &before) {
        assert_eq!(there, result, "{machine}: {text}");
        assert_eq!(memory, expected, "{machine}: {text}");
    }
    result
}

/// How often the code of each of some slots stands in a program, where its constants are not
/// blinded; the address of each leads back to it.
fn times(text: &str, slots: &[usize]) -> Vec<usize> {
    let program = Program::new(assemble(text).unwrap(), ProgType::RawTracepoint, Vec::new());
    let compiled = compile_trusted(&program, &Trust::default());
    let pieces = compiled[0].positions().pieces();
    for (slot, code) in &pieces {
        for offset in code.clone() {
            let found = compiled[0].slot_at(compiled[0].address() + offset);
            assert_eq!(found, Some(*slot), "{offset}: {text}");
        }
    }
    let is_of = |slot: usize, (of, code): &(usize, Range<usize>)| *of == slot && !code.is_empty();
    let count = |slot: &usize| pieces.iter().filter(|piece| is_of(*slot, piece)).count();
    assert!(compiled[0].run(&mut [0; 64], &Mock::default()).is_some());
    slots.iter().map(count).collect()
}

/// On every machine the code of each constant depends on the key, which its author does not know.
#[test]
fn the_code_of_constants_depends_on_the_key() {
    let text = "r1 = 0x11223344\n r2 = 0x5566778899aabbcc ll\n r1 += 0x1a2b3c4d\n r1 ^= r2
                *(u32 *)(r10 - 8) = 0x51525354\n if r1 > 0x7b7c7d7e goto +1\n r1 *= 0x3a3b3c3d
                r0 = r1\n exit";
    let insns = assemble(text).unwrap();
    let program: Program<Arc<Map>> = Program::new(insns, ProgType::SocketFilter, Vec::new());
    type Emit = fn(&Program<Arc<Map>>, &Trust, &Options) -> Result<emitter::Emission, LoadError>;
    let machines: [Emit; 3] =
        [emit_trusted::<X86_64>, emit_trusted::<Aarch64>, emit_trusted::<Riscv64>];
    let memory = HostMemory::get().unwrap();
    for emit in machines {
        let code = |blind| {
            let (machine, intrinsics) = (Machine::default(), Intrinsics::default());
            let options = Options { machine, intrinsics, memory, blind };
            let emission = emit(&program, &Trust::default(), &options).unwrap();
            let at = |slot: usize| emission.positions[slot] as usize;
            let of = |slot: usize| emission.bytes[at(slot)..at(slot + 1)].to_vec();
            [0, 1, 3, 5, 6, 7].map(of)
        };
        for (one, other) in code(Some(7)).iter().zip(code(Some(8))) {
            assert!(!one.is_empty() && *one != other, "{one:x?}");
        }
        assert_eq!(code(None), code(None));
    }
}

/// What no run can reach is not in the code, and neither are branches that go one way only.
#[test]
fn what_is_proved_dead_is_not_in_the_code() {
    let emit = |text: &str| {
        let program: Program<Arc<Map>> =
            Program::new(assemble(text).unwrap(), ProgType::RawTracepoint, Vec::new());
        let verified = verify(program, &ActiveProfile::verify_options()).unwrap();
        let operations = Interpreter::<ActiveProfile>::new(&verified).unwrap().operations();
        let code = options()
            .into_iter()
            .map(|options| emit_verified::<Native>(&verified, &options).unwrap().bytes);
        (code.collect::<Vec<_>>(), operations)
    };
    let (plain, _) = emit("r6 = *(u64 *)(r1 + 0)\n r0 = r6\n exit");
    for text in [
        "r6 = *(u64 *)(r1 + 0)\n r2 = 5\n if r2 > 9 goto l\n r0 = r6\n exit\n l: r0 = 7\n exit",
        "r6 = *(u64 *)(r1 + 0)\n r2 = r6\n r2 &= 7\n if r2 < 8 goto l\n r6 += 5\n l: r0 = r6\n exit",
    ] {
        let (code, operations) = emit(text);
        let length = |code: &[Vec<u8>]| code.iter().map(Vec::len).max();
        // Blinded code still loads the constants.
        assert_eq!(length(&code[..1]), length(&plain[..1]), "{text}");
        assert!(operations < text.lines().count(), "{operations}: {text}");
    }
}

#[test]
fn a_blinded_program_has_none_of_its_constants_in_its_code() {
    let text = "r1 = 0x11223344\n r2 = 0x5566778899aabbcc ll\n r1 += 0x1a2b3c4d\n r0 = r1
                r0 ^= r2\n *(u32 *)(r10 - 8) = 0x51525354\n r3 = *(u32 *)(r10 - 8)
                if r3 > 0x7b7c7d7e goto +1\n r0 += r3\n r0 *= 0x3a3b3c3d\n exit";
    let insns = crate::asm::assemble(text).unwrap();
    let program: Program<Arc<Map>> = Program::new(insns, ProgType::SocketFilter, Vec::new());
    let constants: [&[u8]; 6] = [
        &0x1122_3344u32.to_le_bytes(),
        &0x5566_7788_99aa_bbccu64.to_le_bytes(),
        &0x1a2b_3c4du32.to_le_bytes(),
        &0x5152_5354u32.to_le_bytes(),
        &0x7b7c_7d7eu32.to_le_bytes(),
        &0x3a3b_3c3du32.to_le_bytes(),
    ];
    let mut results = Vec::new();
    for options in options() {
        // SAFETY: the program keeps to its stack.
        let compiled =
            unsafe { Compiled::new_trusted::<Native>(&program, &Trust::default(), &options) };
        let compiled = compiled.unwrap();
        let start = core::ptr::with_exposed_provenance::<u8>(compiled.address());
        // SAFETY: the code is there and readable.
        let code = unsafe { core::slice::from_raw_parts(start, compiled.code_bytes()) };
        for constant in constants {
            let found = code.windows(constant.len()).any(|bytes| bytes == constant);
            // Other machines have constants in pieces.
            let plain = options.blind.is_none() && cfg!(target_arch = "x86_64");
            assert_eq!(found, plain, "{constant:x?}");
        }
        results.push(compiled.run(&mut [], &Mock::default()).unwrap());
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{results:x?}");
}

/// Of a program without a proof: jumps and calls that lead out of it.
#[test]
fn jumps_out_of_a_program_are_errors() {
    let branch = Insn::Branch {
        width: Width::W64,
        cond: Cond::Eq,
        dst: Reg::R1,
        src: Operand::Imm(0),
        offset: 0,
    };
    let last = [
        Insn::Jump { long: false, offset: 0 },
        Insn::Jump { long: false, offset: 7 },
        Insn::Jump { long: false, offset: -3 },
        branch,
        Insn::MayGoto { offset: 0 },
        Insn::CallLocal { offset: 0 },
    ];
    for last in last {
        let insns = Vec::from([Insn::Exit, last]);
        let program = Program::new(insns, ProgType::RawTracepoint, Vec::new());
        for options in options() {
            let emission = emit_trusted::<Native>(&program, &Trust::default(), &options);
            assert!(matches!(emission, Err(LoadError::BadJump { slot: 1 })), "{last:?}");
        }
    }
}

/// More stack slots than any machine has registers to spare, with few registers named.
#[test]
fn many_slots_of_the_stack_live_in_registers() {
    for slots in [1, 2, 8, 15, 16, 17, 18, 22, 30] {
        let each = |text: &dyn Fn(i32) -> String| (1..=slots).map(text).collect::<String>();
        let write = each(&|at| format!("r0 += {at}\n *(u64 *)(r10 - {}) = r0\n", 8 * at));
        let read = each(&|at| format!("r1 = *(u64 *)(r10 - {})\n r0 ^= r1\n r0 *= 3\n", 8 * at));
        agree(&format!("r0 = 7\n {write} {read} {write} {read} exit"));
    }
}
