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

fn alu_imm(width: Width, op: AluOp, dst: Reg, imm: i32) -> Insn {
    Insn::Alu { width, op, dst, src: Operand::Imm(imm) }
}

/// Shifts of one value in both directions, and what compilers do with them.
fn shifts(sequences: &mut Vec<Vec<Insn>>) {
    let directions = [(AluOp::Rsh, AluOp::Lsh), (AluOp::Lsh, AluOp::Rsh)];
    for (width, (first, second)) in WIDTHS.into_iter().flat_map(|w| directions.map(|d| (w, d))) {
        for (a, b) in [(25, 7), (1, 31), (13, 13)] {
            let (move_t, shift_t) = (copy(width, T, X), alu_imm(width, first, T, a));
            let in_place = alu_imm(width, second, X, b);
            let or = |dst, src| alu(width, AluOp::Or, dst, src);
            sequences.push(vec![move_t, shift_t, in_place]);
            sequences.push(vec![move_t, shift_t, in_place, or(X, T)]);
            sequences.push(vec![move_t, shift_t, in_place, or(T, X)]);
            let to_y = [copy(width, Y, X), alu_imm(width, second, Y, b)];
            sequences.push([&[move_t, shift_t][..], &to_y, &[or(Y, T)]].concat());
            sequences.push([&[move_t, shift_t][..], &to_y, &[or(T, Y)]].concat());
            sequences.push([&[move_t, shift_t][..], &to_y, &[or(Z, T)]].concat());
            for dst in [X, Y] {
                sequences.push(vec![move_t, shift_t, alu(width, AluOp::Xor, dst, T)]);
            }
            // Of what was moved in another width, and into itself.
            sequences.push(vec![copy(Width::W32, T, X), alu_imm(Width::W64, first, T, a)]);
            sequences.push(vec![copy(width, X, X), alu_imm(width, first, X, a), or(X, X)]);
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

/// Constants, and what is computed from them.
fn constants(sequences: &mut Vec<Vec<Insn>>) {
    let constant = |dst, imm| Insn::Mov { width: Width::W64, dst, src: Operand::Imm(imm) };
    let half = |dst, imm| Insn::Mov { width: Width::W32, dst, src: Operand::Imm(imm) };
    let operations = [
        AluOp::Add,
        AluOp::Sub,
        AluOp::Mul,
        AluOp::Div,
        AluOp::SDiv,
        AluOp::Mod,
        AluOp::SMod,
        AluOp::Or,
        AluOp::And,
        AluOp::Xor,
        AluOp::Lsh,
        AluOp::Rsh,
        AluOp::Arsh,
    ];
    for (width, op) in WIDTHS.into_iter().flat_map(|w| operations.map(|op| (w, op))) {
        for imm in [0, 1, 7, -1, i32::MIN] {
            for first in [constant(T, imm), half(T, imm)] {
                sequences.push(vec![first, alu(width, op, X, T)]);
                sequences.push(vec![first, alu(width, op, T, X)]);
                sequences.push(vec![first, alu(width, op, T, T)]);
            }
        }
        let far = load(T, 0x1234_5678_9abc_def0);
        sequences.push([&far[..], &[alu(width, op, X, T)]].concat());
        sequences.push([&far[..], &[copy(width, X, Y), alu(width, op, X, T)]].concat());
    }
    // Sums with constants.
    let sum = |width, dst, imm| alu_imm(width, AluOp::Add, dst, imm);
    for (one, other) in WIDTHS.into_iter().flat_map(|w| WIDTHS.map(|v| (w, v))) {
        sequences.push(vec![copy(one, T, X), sum(other, T, -5)]);
        sequences.push(vec![copy(one, T, X), alu_imm(other, AluOp::And, T, -5)]);
        sequences.push(vec![sum(one, T, i32::MAX), sum(other, T, i32::MAX)]);
        sequences.push(vec![copy(one, X, Y), copy(other, Z, T)]);
    }
    sequences.push(vec![copy(Width::W64, X, Y), copy(Width::W64, Y, X), copy(Width::W64, T, X)]);
    // Before a jump that does not look at them, or does.
    let conditions = [Cond::Eq, Cond::Ne, Cond::Gt, Cond::Lt, Cond::Sgt, Cond::Slt, Cond::Ge];
    for (width, cond) in WIDTHS.into_iter().flat_map(|w| conditions.map(|cond| (w, cond))) {
        for (dst, imm) in [(X, 0), (X, 1), (X, -1), (T, 7), (T, -1)] {
            let over = Insn::Branch { width, cond, dst, src: Operand::Imm(imm), offset: 1 };
            for first in [
                constant(T, -1),
                constant(T, 7),
                half(T, -1),
                half(T, 7),
                sum(Width::W64, T, 1),
                sum(Width::W32, T, 1),
                sum(Width::W64, T, -1),
                sum(Width::W32, T, -1),
            ] {
                sequences.push(vec![first, over, copy(Width::W64, Y, Z)]);
            }
        }
    }
    let away = Insn::Jump { offset: 1, long: false };
    sequences.push(vec![constant(T, -1), away, copy(Width::W64, Y, Z)]);
}

/// Addresses: a sum of a register and a constant, near or far, or of two registers.
fn addresses(sequences: &mut Vec<Vec<Insn>>) {
    let (add, sub) = (
        |dst, src| alu(Width::W64, AluOp::Add, dst, src),
        |dst, src| alu(Width::W64, AluOp::Sub, dst, src),
    );
    for constant in [3, 1 << 46, (1u64 << 46).wrapping_neg()] {
        let base = [&load(T, constant)[..], &[copy(Width::W64, Z, Reg::R1), sub(Z, T)]].concat();
        let sums = [
            [&load(T, constant)[..], &[add(T, Z)]].concat(),
            [&load(Y, constant)[..], &[copy(Width::W64, T, Z), add(T, Y)]].concat(),
        ];
        // Where the context lies is not to be seen in the results.
        let ends =
            [[copy(Width::W64, T, X), copy(Width::W64, Z, X)], [sub(T, Z), copy(Width::W64, Z, X)]];
        for (sum, end) in sums.iter().flat_map(|sum| ends.map(|end| (sum, end))) {
            // The address itself is stored, compared, and taken away again.
            let place = |base, src| Insn::Store { size: Size::DW, base, offset: 2, src };
            let stored = [
                place(T, Operand::Reg(T)),
                Insn::Load { size: Size::DW, dst: X, base: Reg::R1, offset: 2 },
                sub(X, Reg::R1),
                place(Reg::R1, Operand::Imm(0)),
            ];
            sequences.push([&base[..], sum, &stored, &end].concat());
            for size in [Size::B, Size::H, Size::W, Size::DW] {
                let store = |src| Insn::Store { size, base: T, offset: 2, src };
                let load = Insn::Load { size, dst: X, base: T, offset: 2 };
                let mut accesses =
                    vec![vec![store(Operand::Reg(Y))], vec![store(Operand::Imm(-2))], vec![load]];
                for (op, width) in
                    [AluOp::Add, AluOp::Xor].into_iter().flat_map(|op| WIDTHS.map(|w| (op, w)))
                {
                    accesses.push(vec![load, alu(width, op, Y, X)]);
                    accesses.push(vec![load, alu(width, op, X, Y)]);
                }
                for access in accesses {
                    sequences.push([&base[..], sum, &access, &end].concat());
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

/// A program that sets the registers, runs the sequence, and leaves the `kept` ones of them in
/// memory. With `apart`, nothing of the sequence can be fused.
fn program(sequence: &[Insn], (a, b): (u64, u64), kept: &[Reg], apart: bool) -> Vec<Insn> {
    let mut insns = Vec::new();
    for (register, value) in [(T, !a), (X, a), (Y, b), (Z, a ^ b)] {
        insns.extend(load(register, value));
    }
    // A jump to the next instruction keeps what is around it apart, and costs no op.
    let nothing = Insn::Jump { offset: 0, long: false };
    let mut skipped = false;
    for &insn in sequence {
        if apart && !skipped && insn != Insn::WideTail {
            insns.push(nothing);
        }
        skipped = matches!(insn, Insn::Branch { .. } | Insn::Jump { .. });
        match insn {
            // Out of the way of the jump that follows, which then stays a jump.
            Insn::Branch { width, cond, dst, src, .. } if apart => {
                insns.push(Insn::Branch { width, cond, dst, src, offset: 2 });
                insns.push(nothing);
            }
            other => insns.push(other),
        }
    }
    for (&register, offset) in kept.iter().zip([32, 40, 48, 56]) {
        let src = Operand::Reg(register);
        insns.push(Insn::Store { size: Size::DW, base: Reg::R1, offset, src });
    }
    insns.push(Insn::Mov { width: Width::W64, dst: Reg::R0, src: Operand::Imm(0) });
    insns.push(Insn::Exit);
    insns
}

fn operations(insns: &[Insn]) -> usize {
    let program: Program<Arc<Map>> = Program::new(insns.to_vec(), ProgType::RawTracepoint, vec![]);
    // SAFETY: it is not run.
    let ready = unsafe { Interpreter::<CloudProfile>::new_trusted(&program, &Trust::default()) };
    ready.unwrap().operations()
}

#[test]
fn a_fused_sequence_does_what_its_parts_do() {
    let mut sequences = Vec::new();
    shifts(&mut sequences);
    sums_and_loads(&mut sequences);
    constants(&mut sequences);
    addresses(&mut sequences);
    branches(&mut sequences);
    let mut shorter = 0;
    for (number, sequence) in sequences.iter().enumerate() {
        // What nobody reads need not be written: all are kept, or one, in turn.
        for kept in [&[T, X, Y, Z][..], &[T], &[X], &[Y]] {
            for at in 0..VALUES.len() {
                // Some of the values for each; all of them come up with each kind of sequence.
                if (at + number) % if kept.len() == 1 { 8 } else { 4 } != 0 {
                    continue;
                }
                let values = (VALUES[at], VALUES[(at * 7 + 3) % VALUES.len()]);
                let outcome = |insns: &[Insn]| {
                    let mut memory: Vec<u8> = (0..64).map(|n: u8| n.wrapping_mul(37)).collect();
                    let result = run(insns.to_vec(), &mut memory);
                    (result, memory)
                };
                let together = program(sequence, values, kept, false);
                let apart = program(sequence, values, kept, true);
                shorter += usize::from(operations(&together) < operations(&apart));
                assert_eq!(outcome(&together), outcome(&apart), "{sequence:?} {kept:?} {values:?}");
            }
        }
    }
    assert!(shorter > 10_000, "sequences are fused at all: {shorter}");
}
