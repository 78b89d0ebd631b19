//! Operations that need what programs on other machines do not have there (maps, the engine's
//! functions): lookups, callbacks and tail calls, put together by hand.

use alloc::boxed::Box;
use std::vec;
use std::vec::Vec;

use super::emulated::{CODE, NEAR, run_operations};
use crate::insn::{AluOp, Cond, Reg, Size, Width};
use crate::jit::Intrinsics;
use crate::jit::emitter::Emission;
use crate::jit::front::{Function, Lowered};
use crate::jit::ir::{Mem, Node, Op, Place, Source};
use crate::jit::run::Run;
use crate::map::ArrayLookup;

/// The runner's functions, see `runner.c`.
const CALL_BACK: usize = NEAR + 0x400;
const TAIL_CALL: usize = NEAR + 0x800;
const R4: Place = Place::of(Reg::R4);
const R5: Place = Place::of(Reg::R5);
/// The embedder offers nothing.
const NONE: Intrinsics = Intrinsics { cpu_id: None, ktime: None };
/// A place that nothing jumps to.
const NOWHERE: u32 = 0;

/// Functions, each of operations whose slots are their numbers in the whole.
pub(super) fn lowered<'a>(functions: &[&[Op]], arrays: &'a [ArrayLookup]) -> Lowered<'a> {
    let mut nodes = Vec::new();
    let mut found = Vec::new();
    for (function, ops) in (0..).zip(functions) {
        let start = nodes.len() as u32;
        let all = [&[Op::Enter { function }], *ops].concat();
        let mut info = Function::default();
        (info.start, info.stack) = (start, 16);
        for op in all {
            info.calls |=
                matches!(op, Op::Call { .. } | Op::CallLocal { .. } | Op::TailCall { .. });
            let node = Node { live: u32::MAX, ..Node::new(op, nodes.len() as u32) };
            info.places |= node.reads | node.writes;
            nodes.push(node);
        }
        found.push(info);
    }
    Lowered {
        jumps: 0,
        table: vec![0; nodes.len() + 1],
        nodes,
        functions: found,
        arrays,
        needs_run: true,
        needs_trampoline: true,
    }
}

fn add(dst: Place, a: Place, b: Source) -> Op {
    Op::Alu { width: Width::W64, op: AluOp::Add, dst, a, b, nonzero: false }
}

fn constant(dst: Place, value: usize) -> Op {
    Op::Constant { dst, value: value as u64 }
}

pub(super) fn mov(dst: Place, src: Place) -> Op {
    Op::Move { width: Width::W64, dst, src }
}

#[test]
fn lookups_find_values_by_their_index() {
    let places = [(8, 10u32), (1, 3), (16, 1), (4096, 7), (24, 1000), (40, 0x8000_0001)];
    for (stride, entries) in places {
        let base = 0x1234_5678_9000;
        let array = ArrayLookup { base, entries, stride, cpu_stride: 0, cpus: 1 };
        for index in [0, 1, entries - 1, entries, entries + 1, u32::MAX] {
            let mut memory = [0; 8];
            memory[..4].copy_from_slice(&index.to_le_bytes());
            let found = index < entries;
            let address = if found { (base + index as usize * stride) as u64 } else { 0 };
            let plain = [mov(Place::R2, Place::R1), Op::Lookup { array: 0 }, Op::Exit];
            // With the test that programs have behind it: 5 if there is nothing.
            let tested = [
                mov(Place::R2, Place::R1),
                Op::Lookup { array: 0 },
                Op::Branch {
                    width: Width::W64,
                    cond: Cond::Eq,
                    a: Place::R0,
                    b: Source::Imm(0),
                    target: 6,
                },
                add(Place::R0, Place::R0, Source::Imm(1)),
                Op::Exit,
                Op::Label,
                add(Place::R0, Place::R0, Source::Imm(5)),
                Op::Exit,
            ];
            for (ops, expected) in
                [(&plain[..], address), (&tested, if found { address + 1 } else { 5 })]
            {
                let run = |assemble: &dyn Fn(&Lowered<'_>) -> Emission| {
                    assemble(&lowered(&[ops], &[array])).bytes
                };
                for (machine, result) in run_operations(&NONE, &memory, run) {
                    assert_eq!(result, expected, "{machine}, {array:?}, {index:#x}");
                }
            }
        }
    }
}

#[test]
fn callbacks_are_entered_through_the_trampoline() {
    // Five arguments, a saved register, the stack, and the run.
    let callback = [
        mov(Place::R6, Place::R1),
        Op::Store {
            size: Size::DW,
            release: false,
            mem: Mem::at(Place::FRAME, -8),
            src: Source::Place(R5),
        },
        Op::MayGoto { target: NOWHERE },
        mov(Place::R0, Place::R2),
        add(Place::R0, Place::R0, Source::Place(Place::R3)),
        add(Place::R0, Place::R0, Source::Place(R4)),
        add(Place::R0, Place::R0, Source::Place(Place::R6)),
        Op::Load {
            size: Size::DW,
            signed: false,
            acquire: false,
            dst: Place::R3,
            mem: Mem::at(Place::FRAME, -8),
        },
        add(Place::R0, Place::R0, Source::Place(Place::R3)),
        Op::Exit,
    ];
    let main = |trampoline: usize| {
        [
            constant(Place::R6, 70_000),
            Op::FunctionAddress { dst: Place::R2, function: 1 },
            constant(Place::R1, CODE + trampoline),
            constant(Place::R3, 5),
            Op::Call { function: CALL_BACK, arguments: 3 },
            add(Place::R0, Place::R0, Source::Place(Place::R6)),
            Op::Exit,
        ]
    };
    let code = |assemble: &dyn Fn(&Lowered<'_>) -> Emission| {
        // The trampoline's place is known when everything has its place.
        let mut trampoline = 0x800;
        loop {
            let emission = assemble(&lowered(&[&main(trampoline), &callback], &[]));
            let found = *emission.entries.last().unwrap() as usize;
            if found == trampoline {
                return emission.bytes;
            }
            trampoline = found;
        }
    };
    for (machine, result) in run_operations(&NONE, &[0; 8], code) {
        assert_eq!(result, 5 + 6 + 7 + 8 + 1000 + 1 + 70_000, "{machine}");
    }
}

#[test]
fn tail_calls_go_to_the_target_with_the_context_and_the_run() {
    const SECOND: usize = 0x2000;
    let target: [Op; 5] = [
        Op::MayGoto { target: NOWHERE },
        constant(Place::R6, 3),
        Op::Load {
            size: Size::DW,
            signed: false,
            acquire: false,
            dst: Place::R0,
            mem: Mem::at(Place::R1, 8),
        },
        add(Place::R0, Place::R0, Source::Place(Place::R6)),
        Op::Exit,
    ];
    let jump = |to: usize| -> Box<[Op]> {
        Box::new([
            constant(Place::R2, to),
            constant(R4, Run::CONTEXT as usize),
            constant(Place::R7, 900),
            Op::TailCall { function: TAIL_CALL },
            add(Place::R0, Place::R0, Source::Place(Place::R7)),
            Op::Exit,
        ])
    };
    let caller = [
        constant(Place::R6, 50),
        constant(Place::R7, 60),
        Op::CallLocal { function: 1 },
        add(Place::R0, Place::R0, Source::Place(Place::R6)),
        add(Place::R0, Place::R0, Source::Place(Place::R7)),
        Op::Exit,
    ];
    let mut memory = vec![0; 16];
    memory[8..].copy_from_slice(&7_000u64.to_le_bytes());
    for (to, in_subprogram, expected) in [
        (CODE + SECOND, false, 7_003),
        (0, false, 900),
        (CODE + SECOND, true, 7_113),
        (0, true, 1_010),
    ] {
        let code = |assemble: &dyn Fn(&Lowered<'_>) -> Emission| {
            let jump = jump(to);
            let functions: &[&[Op]] = if in_subprogram { &[&caller, &jump] } else { &[&jump] };
            let mut code = assemble(&lowered(functions, &[])).bytes;
            code.resize(SECOND, 0);
            code.extend(assemble(&lowered(&[&target], &[])).bytes);
            code
        };
        for (machine, result) in run_operations(&NONE, &memory, code) {
            assert_eq!(result, expected, "{machine}, to {to:#x}, {in_subprogram}");
        }
    }
}
