//! Branches, calls and loops, and what cannot be prepared or run.

use alloc::sync::Arc;
use alloc::vec;

use super::super::{Interpreter, LoadError};
use super::{IMMEDIATES, VALUES, WIDTHS, bits, compute, run, signed, unsigned};
use crate::asm::assemble;
use crate::helper::mock::Mock;
use crate::helper::{Environment, Helper};
use crate::insn::{AluOp, Cond, Insn, Operand, Reg, Size, Width};
use crate::map::Map;
use crate::profile::{CloudProfile, PhysicalProfile};
use crate::prog_type::ProgType;
use crate::program::Program;
use crate::trusted::Trust;
use crate::verifier::{Cause, verify};

fn holds(cond: Cond, a: u64, b: u64, bits: u32) -> bool {
    let (ua, ub) = (unsigned(a, bits), unsigned(b, bits));
    let (sa, sb) = (signed(a, bits), signed(b, bits));
    match cond {
        Cond::Eq => ua == ub,
        Cond::Ne => ua != ub,
        Cond::Gt => ua > ub,
        Cond::Ge => ua >= ub,
        Cond::Lt => ua < ub,
        Cond::Le => ua <= ub,
        Cond::Set => ua & ub != 0,
        Cond::Sgt => sa > sb,
        Cond::Sge => sa >= sb,
        Cond::Slt => sa < sb,
        Cond::Sle => sa <= sb,
    }
}

#[test]
fn comparisons_jump_when_they_hold() {
    let mov = |imm| Insn::Mov { width: Width::W64, dst: Reg::R5, src: Operand::Imm(imm) };
    for cond in Cond::ALL {
        for width in WIDTHS {
            for a in VALUES {
                let jumps = |src, b| {
                    let branch = Insn::Branch { width, cond, dst: Reg::R3, src, offset: 1 };
                    let r5 = compute(a, b, &[mov(1), branch, mov(0)], Reg::R5);
                    assert!(r5 < 2);
                    r5 == 1
                };
                for b in VALUES {
                    let expected = holds(cond, a, b, bits(width));
                    assert_eq!(jumps(Operand::Reg(Reg::R4), b), expected, "{cond:?} {a:#x} {b:#x}");
                }
                for imm in IMMEDIATES {
                    let expected = holds(cond, a, i64::from(imm) as u64, bits(width));
                    assert_eq!(jumps(Operand::Imm(imm), 0), expected, "{cond:?} {a:#x} {imm:#x}");
                }
            }
        }
    }
}

#[test]
fn calls_keep_r6_to_r9_and_give_each_frame_its_stack() {
    let mov = |dst, imm| Insn::Mov { width: Width::W64, dst, src: Operand::Imm(imm) };
    let add =
        |dst, src| Insn::Alu { width: Width::W64, op: AluOp::Add, dst, src: Operand::Reg(src) };
    let store =
        |imm| Insn::Store { size: Size::DW, base: Reg::FP, offset: -8, src: Operand::Imm(imm) };
    let reload = |dst| Insn::Load { size: Size::DW, dst, base: Reg::FP, offset: -8 };
    // main: r6 = 1, slot = 10, r0 = f(); r0 += r6 + slot
    // f: r6 = 100, slot = 1000, r0 = g(); r0 += r6 + slot
    // g: r6 = 10000, slot = 100000, r0 = slot
    let insns = vec![
        mov(Reg::R6, 1),
        store(10),
        Insn::CallLocal { offset: 4 },
        reload(Reg::R1),
        add(Reg::R0, Reg::R1),
        add(Reg::R0, Reg::R6),
        Insn::Exit,
        mov(Reg::R6, 100),
        store(1000),
        Insn::CallLocal { offset: 4 },
        reload(Reg::R1),
        add(Reg::R0, Reg::R1),
        add(Reg::R0, Reg::R6),
        Insn::Exit,
        mov(Reg::R6, 10_000),
        store(100_000),
        reload(Reg::R0),
        Insn::Exit,
    ];
    assert_eq!(run(insns, &mut []), 101_111);
}

#[test]
fn loops_and_long_jumps() {
    let insns = vec![
        Insn::Mov { width: Width::W64, dst: Reg::R0, src: Operand::Imm(0) },
        Insn::Mov { width: Width::W64, dst: Reg::R1, src: Operand::Imm(1000) },
        Insn::Alu { width: Width::W64, op: AluOp::Add, dst: Reg::R0, src: Operand::Reg(Reg::R1) },
        Insn::Alu { width: Width::W64, op: AluOp::Add, dst: Reg::R1, src: Operand::Imm(-1) },
        Insn::Branch {
            width: Width::W64,
            cond: Cond::Ne,
            dst: Reg::R1,
            src: Operand::Imm(0),
            offset: -3,
        },
        Insn::Jump { offset: 1, long: true },
        Insn::Mov { width: Width::W64, dst: Reg::R0, src: Operand::Imm(-1) },
        Insn::Exit,
    ];
    assert_eq!(run(insns, &mut []), 500_500);
}

#[test]
fn a_context_that_is_too_small_is_refused_and_a_bad_jump_is_an_error() {
    let program: Program<Arc<Map>> =
        Program::new(vec![Insn::Jump { offset: 5, long: false }], ProgType::Kprobe, vec![]);
    // SAFETY: it cannot be prepared, so it does not run.
    let refused = unsafe { Interpreter::<CloudProfile>::new_trusted(&program, &Trust::default()) };
    assert_eq!(refused.err(), Some(LoadError::BadJump { slot: 0 }));
    let program: Program<Arc<Map>> =
        Program::new(vec![Insn::CallHelper { id: 9999 }, Insn::Exit], ProgType::Kprobe, vec![]);
    // SAFETY: as above.
    let refused = unsafe { Interpreter::<CloudProfile>::new_trusted(&program, &Trust::default()) };
    assert_eq!(refused.err(), Some(LoadError::NoSuchHelper { slot: 0, id: 9999 }));
}

#[test]
fn a_call_by_register_finds_its_helper_when_it_runs() {
    unsafe extern "C" fn twice(
        first: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: &Environment<'_>,
    ) -> u64 {
        first * 2
    }
    let trust = Trust { helpers: |id| (id == 77).then_some(twice as Helper), ..Trust::default() };
    for (number, expected) in [(77, 42), (78, -22i64 as u64)] {
        let insns = vec![
            Insn::Mov { width: Width::W64, dst: Reg::R1, src: Operand::Imm(21) },
            Insn::Mov { width: Width::W64, dst: Reg::R7, src: Operand::Imm(number) },
            Insn::CallRegister { target: Reg::R7 },
            Insn::Exit,
        ];
        let program: Program<Arc<Map>> = Program::new(insns, ProgType::Kprobe, vec![]);
        // SAFETY: the helper takes anything, and the program accesses no memory.
        let ready = unsafe { Interpreter::<CloudProfile>::new_trusted(&program, &trust) };
        assert_eq!(ready.unwrap().run(&mut [], &Mock::default()), Some(expected));
        let refused = verify(program, &CloudProfile::verify_options()).err().unwrap();
        assert_eq!(refused.cause, Cause::BadInstruction);
    }
}

/// A jump that a branch skips is also led to by way of an instruction that does nothing.
#[test]
fn a_jump_that_is_entered_at_an_instruction_without_an_op() {
    for nothing in ["r7 = le64 r7", "goto +0"] {
        let text = format!(
            "r7 = 0\n goto middle\n turn: r7 += 1\n if w7 != 8 goto middle\n goto end
             middle: {nothing}\n goto turn\n end: r0 = r7\n exit"
        );
        assert_eq!(run(assemble(&text).unwrap(), &mut [0; 8]), 8, "{nothing}");
    }
}
