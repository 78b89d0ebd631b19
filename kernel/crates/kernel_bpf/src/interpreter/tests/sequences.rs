//! Sequences that become one op do what their instructions do one by one.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::super::Interpreter;
use super::{VALUES, WIDTHS, load, run};
use crate::insn::{AluOp, Cond, Insn, Operand, Reg, Size, Width};
use crate::map::Map;
use crate::profile::CloudProfile;
use crate::prog_type::ProgType;
use crate::program::Program;
use crate::trusted::Trust;

const T: Reg = Reg::R2;
const X: Reg = Reg::R3;
const Y: Reg = Reg::R4;
const Z: Reg = Reg::R5;

fn copy(width: Width, dst: Reg, src: Reg) -> Insn {
    Insn::Mov { width, dst, src: Operand::Reg(src) }
}

fn alu(width: Width, op: AluOp, dst: Reg, src: Reg) -> Insn {
    Insn::Alu { width, op, dst, src: Operand::Reg(src) }
}

fn shift(width: Width, op: AluOp, dst: Reg, amount: i32) -> Insn {
    Insn::Alu { width, op, dst, src: Operand::Imm(amount) }
}

/// Shifts of one value in both directions, and what compilers do with them.
fn shifts(sequences: &mut Vec<Vec<Insn>>) {
    let directions = [(AluOp::Rsh, AluOp::Lsh), (AluOp::Lsh, AluOp::Rsh)];
    for (width, (first, second)) in WIDTHS.into_iter().flat_map(|w| directions.map(|d| (w, d))) {
        for (a, b) in [(25, 7), (1, 31), (13, 13)] {
            let (move_t, shift_t) = (copy(width, T, X), shift(width, first, T, a));
            let in_place = shift(width, second, X, b);
            let or = |dst, src| alu(width, AluOp::Or, dst, src);
            sequences.push(vec![move_t, shift_t, in_place]);
            sequences.push(vec![move_t, shift_t, in_place, or(X, T)]);
            sequences.push(vec![move_t, shift_t, in_place, or(T, X)]);
            let to_y = [copy(width, Y, X), shift(width, second, Y, b)];
            sequences.push([&[move_t, shift_t][..], &to_y, &[or(Y, T)]].concat());
            sequences.push([&[move_t, shift_t][..], &to_y, &[or(T, Y)]].concat());
            sequences.push([&[move_t, shift_t][..], &to_y, &[or(Z, T)]].concat());
            for dst in [X, Y] {
                sequences.push(vec![move_t, shift_t, alu(width, AluOp::Xor, dst, T)]);
            }
            // Of what was moved in another width, and into itself.
            sequences.push(vec![copy(Width::W32, T, X), shift(Width::W64, first, T, a)]);
            sequences.push(vec![copy(width, X, X), shift(width, first, X, a), or(X, X)]);
        }
    }
}

fn sums_and_loads(sequences: &mut Vec<Vec<Insn>>) {
    for (moved, width) in WIDTHS.into_iter().flat_map(|m| WIDTHS.map(|w| (m, w))) {
        for op in [AluOp::Add, AluOp::Sub, AluOp::Or, AluOp::And, AluOp::Xor] {
            for src in [T, X, Y] {
                sequences.push(vec![copy(moved, T, X), alu(width, op, T, src)]);
            }
        }
    }
    let index = Insn::Mov { width: Width::W64, dst: Z, src: Operand::Imm(3) };
    for size in [Size::B, Size::H, Size::W, Size::DW] {
        let sum = [index, copy(Width::W64, T, Reg::R1), alu(Width::W64, AluOp::Add, T, Z)];
        let load = |dst| Insn::Load { size, dst, base: T, offset: 2 };
        sequences.push([&sum[..], &[load(T)]].concat());
        // The sum is an address: what is left of it is compared.
        let relative = alu(Width::W64, AluOp::Sub, T, Reg::R1);
        sequences.push([&sum[..], &[load(X), relative]].concat());
        let load = Insn::Load { size, dst: T, base: Reg::R1, offset: 4 };
        for width in WIDTHS {
            for op in [AluOp::Add, AluOp::Xor, AluOp::Sub] {
                for dst in [X, T] {
                    sequences.push(vec![load, alu(width, op, dst, T)]);
                }
            }
        }
    }
}

/// Branches over jumps.
fn branches(sequences: &mut Vec<Vec<Insn>>) {
    let conditions = [Cond::Eq, Cond::Ne, Cond::Gt, Cond::Ge, Cond::Lt, Cond::Le, Cond::Set];
    let signed = [Cond::Sgt, Cond::Sge, Cond::Slt, Cond::Sle];
    for cond in conditions.into_iter().chain(signed) {
        for width in WIDTHS {
            for src in [Operand::Reg(Y), Operand::Imm(7), Operand::Imm(-1)] {
                let over = Insn::Branch { width, cond, dst: X, src, offset: 1 };
                let away = Insn::Jump { offset: 1, long: false };
                sequences.push(vec![over, away, copy(Width::W64, X, Z)]);
            }
        }
    }
}

#[test]
fn a_fused_sequence_does_what_its_parts_do() {
    let mut sequences = Vec::new();
    shifts(&mut sequences);
    sums_and_loads(&mut sequences);
    branches(&mut sequences);
    let mut shorter = 0;
    for sequence in &sequences {
        let branches = sequence.iter().any(|insn| matches!(insn, Insn::Branch { .. }));
        for (at, a) in VALUES.into_iter().enumerate() {
            let b = VALUES[(at * 7 + 3) % VALUES.len()];
            let build = |apart: bool| {
                let mut insns = Vec::new();
                for (register, value) in [(T, !a), (X, a), (Y, b), (Z, a ^ b)] {
                    insns.extend(load(register, value));
                }
                // A jump to the next instruction keeps what is around it apart.
                let nothing = Insn::Jump { offset: 0, long: false };
                for (position, &insn) in sequence.iter().enumerate() {
                    if apart && !(branches && position > 0) {
                        insns.push(nothing);
                    }
                    match insn {
                        // Out of the way of the jump that follows, which then stays a jump.
                        Insn::Branch { width, cond, dst, src, .. } if apart => {
                            insns.push(Insn::Branch { width, cond, dst, src, offset: 2 });
                            insns.push(nothing);
                        }
                        other => insns.push(other),
                    }
                }
                for (register, offset) in [(T, 32), (X, 40), (Y, 48), (Z, 56)] {
                    let src = Operand::Reg(register);
                    insns.push(Insn::Store { size: Size::DW, base: Reg::R1, offset, src });
                }
                insns.push(copy(Width::W64, Reg::R0, X));
                insns.push(Insn::Exit);
                insns
            };
            let outcome = |insns: Vec<Insn>| {
                let mut memory: Vec<u8> = (0..64).map(|n: u8| n.wrapping_mul(37)).collect();
                let result = run(insns, &mut memory);
                (result, memory)
            };
            let (together, apart) = (build(false), build(true));
            let operations = |insns: &[Insn]| {
                let program: Program<Arc<Map>> =
                    Program::new(insns.to_vec(), ProgType::RawTracepoint, vec![]);
                // SAFETY: it is not run.
                let ready = unsafe {
                    Interpreter::<CloudProfile>::new_trusted(&program, &Trust::default())
                };
                ready.unwrap().operations()
            };
            let added = apart.len() - together.len();
            shorter += usize::from(operations(&together) + added < operations(&apart));
            assert_eq!(outcome(together), outcome(apart), "{sequence:?} {a:#x} {b:#x}");
        }
    }
    assert!(shorter > 1500, "sequences are fused at all: {shorter}");
}
