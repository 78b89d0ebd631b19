//! Pairs that become one op.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::super::Interpreter;
use super::{VALUES, WIDTHS, load as set, run};
use crate::helper::mock::Mock;
use crate::insn::{AluOp, Cond, Insn, Operand, Reg, Size, Width};
use crate::map::Map;
use crate::profile::EmbeddedProfile;
use crate::prog_type::ProgType;
use crate::program::Program;
use crate::trusted::Trust;

#[test]
fn a_fused_pair_does_what_its_parts_do() {
    let alu = |op, imm| Insn::Alu { width: Width::W64, op, dst: Reg::R3, src: Operand::Imm(imm) };
    let copy = Insn::Mov { width: Width::W64, dst: Reg::R3, src: Operand::Reg(Reg::R4) };
    let load = |size, offset| Insn::Load { size, dst: Reg::R3, base: Reg::R1, offset };
    let branch = |width, cond, imm| Insn::Branch {
        width,
        cond,
        dst: Reg::R3,
        src: Operand::Imm(imm),
        // Over the next instruction.
        offset: 1,
    };
    let mark =
        Insn::Alu { width: Width::W64, op: AluOp::Xor, dst: Reg::R3, src: Operand::Imm(0x55) };
    let mut pairs: Vec<[Insn; 2]> = vec![
        [copy, alu(AluOp::Add, -8)],
        [alu(AluOp::Add, i32::MAX), alu(AluOp::Add, i32::MAX)],
        [alu(AluOp::Lsh, 32), alu(AluOp::Rsh, 32)],
        [alu(AluOp::Lsh, 32), alu(AluOp::Arsh, 32)],
        [alu(AluOp::Lsh, 48), alu(AluOp::Rsh, 50)],
        [alu(AluOp::Lsh, 0), alu(AluOp::Rsh, 63)],
        [alu(AluOp::Lsh, 56), alu(AluOp::Arsh, 56)],
    ];
    for cond in [Cond::Eq, Cond::Ne, Cond::Gt, Cond::Lt, Cond::Sgt] {
        for imm in [0, 1, -1, 0x7f] {
            for width in WIDTHS {
                pairs.push([alu(AluOp::Add, -1), branch(width, cond, imm)]);
                pairs.push([alu(AluOp::And, 0x81), branch(width, cond, imm)]);
                let mask = alu(AluOp::And, i32::MIN);
                pairs.push([mask, branch(width, cond, imm)]);
                for size in [Size::B, Size::H, Size::W, Size::DW] {
                    pairs.push([load(size, 4), branch(width, cond, imm)]);
                }
            }
        }
    }
    let mut fused = 0;
    for [first, second] in pairs {
        for a in VALUES {
            for byte in [0, 1, 0x7f, 0xff] {
                let run_with = |separate: bool| {
                    let mut insns: Vec<Insn> = Vec::new();
                    insns.extend(set(Reg::R3, a));
                    insns.extend(set(Reg::R4, a ^ 0x5a5a));
                    let zero = Insn::Mov { width: Width::W64, dst: Reg::R5, src: Operand::Imm(0) };
                    insns.push(zero);
                    insns.push(first);
                    insns.push(second);
                    insns.push(mark);
                    let result = Operand::Reg(Reg::R3);
                    insns.push(Insn::Mov { width: Width::W64, dst: Reg::R0, src: result });
                    if separate {
                        // Never taken, but it leads between the two.
                        insns.push(Insn::Branch {
                            width: Width::W64,
                            cond: Cond::Ne,
                            dst: Reg::R5,
                            src: Operand::Imm(0),
                            offset: -4,
                        });
                    }
                    insns.push(Insn::Exit);
                    let program: Program<Arc<Map>> =
                        Program::new(insns, ProgType::RawTracepoint, vec![]);
                    // SAFETY: loads are within the 16 bytes of context.
                    let ready = unsafe {
                        Interpreter::<EmbeddedProfile>::new_trusted(&program, &Trust::default())
                    };
                    let ready = ready.unwrap();
                    let result = ready.run(&mut [byte; 16], &Mock::default()).unwrap();
                    assert_eq!(run(program.insns, &mut [byte; 16]), result);
                    (result, ready.operations())
                };
                let (together, short) = run_with(false);
                let (apart, long) = run_with(true);
                assert_eq!(together, apart, "{first:?} {second:?} {a:#x} {byte}");
                fused += usize::from(short + 1 < long);
            }
        }
    }
    assert!(fused > 1000, "pairs are fused at all: {fused}");
}
