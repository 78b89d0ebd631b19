//! Every instruction, on boundary values, against results computed another way: in 128-bit
//! arithmetic, cut down afterwards, from the words of RFC 9669.

mod arithmetic;
mod flow;
mod kinds;
mod memory;
mod pairs;
mod sequences;

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::Interpreter;
use crate::helper::mock::Mock;
use crate::insn::{Imm64, Insn, Operand, Reg, Width};
use crate::map::Map;
use crate::profile::CloudProfile;
use crate::prog_type::ProgType;
use crate::program::Program;
use crate::trusted::Trust;

const VALUES: [u64; 18] = [
    0,
    1,
    2,
    7,
    31,
    32,
    63,
    64,
    0x7f,
    0x80,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x0123_4567_89ab_cdef,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];
const IMMEDIATES: [i32; 9] = [0, 1, -1, 7, 31, 33, i32::MAX, i32::MIN, 0x1234_5678];
const WIDTHS: [Width; 2] = [Width::W32, Width::W64];

fn load(dst: Reg, value: u64) -> [Insn; 2] {
    [Insn::LoadImm64 { dst, value: Imm64::Value(value) }, Insn::WideTail]
}

/// Runs a program on every engine, each with a copy of `memory` that is aligned to 8 bytes; all
/// must come to the same end.
fn run(insns: Vec<Insn>, memory: &mut [u8]) -> u64 {
    let program: Program<Arc<Map>> = Program::new(insns, ProgType::RawTracepoint, vec![]);
    let trust = Trust::default();
    let on = |engine: &dyn Fn(&mut [u8]) -> u64| {
        let mut words = vec![0u64; memory.len().div_ceil(8)];
        let (_, bytes, _) = {
            // SAFETY: any bytes are a word.
            unsafe { words.align_to_mut::<u8>() }
        };
        bytes[..memory.len()].copy_from_slice(memory);
        let result = engine(&mut bytes[..memory.len()]);
        (result, bytes[..memory.len()].to_vec())
    };
    // SAFETY: the tests' programs keep to `memory` and to their stack.
    let cloud = unsafe { Interpreter::<CloudProfile>::new_trusted(&program, &trust) }.unwrap();
    let (result, after) = on(&|bytes| cloud.run(bytes, &Mock::default()).unwrap());
    #[cfg(feature = "host-jit")]
    for compiled in crate::jit::tests::compile_trusted(&program, &trust) {
        let outcome = on(&|bytes| compiled.run(bytes, &Mock::default()).unwrap());
        assert_eq!(outcome, (result, after.clone()), "compiled: {:?}", program.insns);
    }
    #[cfg(feature = "host-jit")]
    for (machine, there, bytes) in crate::jit::tests::emulated::run(&program, None, memory) {
        assert_eq!((there, &bytes), (result, &after), "{machine}: {:?}", program.insns);
    }
    memory.copy_from_slice(&after);
    result
}

/// Runs `body` with r3 and r4 set, and returns `result`. With `jump_between`, nothing in the
/// body can be fused with what is before it.
fn compute(a: u64, b: u64, body: &[Insn], result: Reg) -> u64 {
    let mut insns = Vec::new();
    insns.extend(load(Reg::R3, a));
    insns.extend(load(Reg::R4, b));
    insns.extend_from_slice(body);
    insns.push(Insn::Mov { width: Width::W64, dst: Reg::R0, src: Operand::Reg(result) });
    insns.push(Insn::Exit);
    run(insns, &mut [0; 8])
}

fn bits(width: Width) -> u32 {
    if width == Width::W32 { 32 } else { 64 }
}

fn cut(value: i128, bits: u32) -> u64 {
    (value & ((1i128 << bits) - 1)) as u64
}

fn signed(value: u64, bits: u32) -> i128 {
    let value = i128::from(value) & ((1i128 << bits) - 1);
    if value >> (bits - 1) & 1 == 1 { value - (1i128 << bits) } else { value }
}

fn unsigned(value: u64, bits: u32) -> i128 {
    i128::from(value) & ((1i128 << bits) - 1)
}
