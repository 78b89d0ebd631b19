//! Random programs of many short paths that part and meet again, each run on every one of
//! them: what a path leaves behind must be safe for whatever follows, also where the
//! verifier cut it short because another one covered it.
//!
//! The verifier keeps a state wherever it may (`every_state`), so that nearly every path is
//! cut short somewhere. `LEMMA_FUZZ_ROUNDS` sets the number of programs.

use kernel_bpf::insn::{AluOp, AtomicOp, Cond, Imm64, Insn, Operand, Reg, SignedSize, Size, Width};
use kernel_bpf::map::{MapDef, MapType};
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{VerifyOptions, verify};

use crate::machine::Machine;
use crate::random::Random;

/// Decisions that the context makes, one bit each; every combination is run.
const DECISIONS: u64 = 6;
/// Numbers that matter at the ends of a value of 64 bytes, and a few others.
const NUMBERS: [i32; 14] = [0, 0, 0, 1, 4, 7, 8, 16, 55, 56, 63, 64, 255, -1];
const NUMBERED: [Reg; 5] = [Reg::R0, Reg::R2, Reg::R3, Reg::R4, Reg::R5];
const CONDS: [Cond; 9] =
    [Cond::Eq, Cond::Ne, Cond::Gt, Cond::Le, Cond::Lt, Cond::Ge, Cond::Sgt, Cond::Slt, Cond::Set];

fn mov(dst: Reg, src: Operand) -> Insn {
    Insn::Mov { width: Width::W64, dst, src }
}

fn width(random: &mut Random) -> Width {
    random.pick(&[Width::W64, Width::W64, Width::W32])
}

/// The stack's three slots: through r10, or through r9, which is 24 bytes below r10 of this
/// function or of its caller.
fn place(random: &mut Random, size: Size) -> (Reg, i16) {
    let bytes = size.bytes() as i16;
    let parts = 8 / bytes as u64;
    let within = if random.below(2) == 0 { 0 } else { random.below(parts) as i16 * bytes };
    let at = 8 * random.below(3) as i16 + within;
    if random.below(3) == 0 { (Reg::R9, at) } else { (Reg::R10, at - 24) }
}

/// What a program does more often than anything else: write a part of one slot in one way or
/// another, and read it into one register.
#[derive(Clone, Copy)]
struct Focus {
    size: Size,
    slot: i16,
    part: i16,
    reg: Reg,
}

impl Focus {
    fn new(random: &mut Random) -> Focus {
        let size = random.pick(&[Size::DW, Size::W, Size::H, Size::B]);
        let bytes = size.bytes() as i16;
        let slot = -8 * (1 + random.below(3) as i16);
        let part = random.below(8 / bytes as u64) as i16 * bytes;
        Focus { size, slot, part, reg: random.pick(&NUMBERED) }
    }

    fn action(self, random: &mut Random, out: &mut Vec<Insn>) {
        let Focus { size, slot, part, reg } = self;
        let number = Operand::Imm(random.pick(&NUMBERS) << random.pick(&[0, 0, 8, 16]));
        let zero = Operand::Imm(0);
        match random.below(5) {
            0 => out.push(Insn::Store { size, base: Reg::R10, offset: slot + part, src: zero }),
            1 | 2 => {
                out.push(mov(reg, if random.below(2) == 0 { zero } else { number }));
                let src = Operand::Reg(reg);
                out.push(Insn::Store { size: Size::DW, base: Reg::R10, offset: slot, src });
            }
            3 => {
                let src = number;
                out.push(Insn::Store { size: Size::DW, base: Reg::R10, offset: slot, src });
            }
            _ => self.read(out),
        }
    }

    fn read(self, out: &mut Vec<Insn>) {
        let Focus { size, slot, part, reg: dst } = self;
        out.push(Insn::Load { size, dst, base: Reg::R10, offset: slot + part });
    }
}

fn action(random: &mut Random, focus: Focus, out: &mut Vec<Insn>) {
    if random.below(2) == 0 {
        return focus.action(random, out);
    }
    let (dst, src) = (random.pick(&NUMBERED), random.pick(&NUMBERED));
    let size = random.pick(&[Size::DW, Size::DW, Size::DW, Size::W, Size::H, Size::B]);
    match random.below(14) {
        0 | 1 => out.push(mov(dst, Operand::Imm(random.pick(&NUMBERS)))),
        2 | 3 => out.push(Insn::Mov { width: width(random), dst, src: Operand::Reg(src) }),
        4..=6 => {
            let (base, offset) = place(random, size);
            let src = if random.below(4) == 0 {
                Operand::Imm(random.pick(&NUMBERS))
            } else {
                Operand::Reg(src)
            };
            out.push(Insn::Store { size, base, offset, src });
        }
        7 | 8 => {
            let (base, offset) = place(random, size);
            out.push(Insn::Load { size, dst, base, offset });
        }
        9 => {
            let op = random.pick(&[AluOp::Add, AluOp::Sub, AluOp::And, AluOp::Or, AluOp::Xor]);
            let src = if random.below(2) == 0 {
                Operand::Reg(src)
            } else {
                Operand::Imm(random.pick(&NUMBERS))
            };
            out.push(Insn::Alu { width: width(random), op, dst, src });
        }
        10 => {
            let offset = 8 + random.below(24) as i16;
            out.push(Insn::Load { size: Size::B, dst, base: Reg::R6, offset });
            if random.below(2) == 0 {
                let src = Operand::Imm(random.pick(&[3, 15, 63, 127]));
                out.push(Insn::Alu { width: Width::W64, op: AluOp::And, dst, src });
            }
        }
        // What a comparison says holds for copies too.
        11 => {
            let src = if random.below(3) == 0 {
                Operand::Reg(src)
            } else {
                Operand::Imm(random.pick(&NUMBERS))
            };
            let cond = random.pick(&CONDS);
            out.push(Insn::Branch { width: width(random), cond, dst, src, offset: 1 });
            out.push(mov(random.pick(&NUMBERED), Operand::Imm(random.pick(&NUMBERS))));
        }
        12 => {
            let from = random.pick(&[SignedSize::B, SignedSize::H, SignedSize::W]);
            out.push(Insn::MovSx { width: width(random), dst, src, from });
        }
        _ => {
            let op = random.pick(&[AtomicOp::Add { fetch: true }, AtomicOp::Xchg]);
            let offset = -8 * (1 + random.below(3) as i16);
            out.push(Insn::Atomic { op, width: Width::W64, base: Reg::R10, offset, src });
        }
    }
}

fn actions(random: &mut Random, focus: Focus, most: u64) -> Vec<Insn> {
    let mut out = Vec::new();
    for _ in 0..random.below(most + 1) {
        action(random, focus, &mut out);
    }
    out
}

/// One side or the other, as the context says, and what both go on with.
fn part(random: &mut Random, focus: Focus, decision: u64, out: &mut Vec<Insn>) {
    let (yes, mut no) = (actions(random, focus, 3), actions(random, focus, 3));
    no.push(Insn::Jump { offset: yes.len() as i32, long: false });
    out.push(Insn::Branch {
        width: Width::W64,
        cond: Cond::Set,
        dst: Reg::R8,
        src: Operand::Imm(1 << decision),
        offset: no.len() as i16,
    });
    out.append(&mut no);
    out.extend(yes);
    out.append(&mut actions(random, focus, 1));
}

/// A byte of the map's value at a number that was checked, or known, or neither.
fn access(random: &mut Random, focus: Focus, out: &mut Vec<Insn>) {
    let mut index = random.pick(&NUMBERED);
    let mut checked = random.below(3) > 0;
    if random.below(2) == 0 {
        focus.read(out);
        index = focus.reg;
        checked &= random.below(2) == 0;
    }
    let mut access = vec![
        mov(Reg::R1, Operand::Reg(Reg::R7)),
        Insn::Alu { width: Width::W64, op: AluOp::Add, dst: Reg::R1, src: Operand::Reg(index) },
        Insn::Load { size: Size::B, dst: Reg::R1, base: Reg::R1, offset: random.below(2) as i16 },
    ];
    if random.below(4) == 0 {
        // Copies of two numbers; one of the first's is used after the two are compared.
        let [one, other, third] = [0; 3].map(|_| random.pick(&NUMBERED));
        out.push(Insn::Load { size: Size::B, dst: one, base: Reg::R6, offset: 9 });
        out.push(mov(index, Operand::Reg(one)));
        out.push(mov(third, Operand::Reg(other)));
        let (cond, src) = (random.pick(&[Cond::Gt, Cond::Ge]), Operand::Reg(other));
        let offset = access.len() as i16;
        out.push(Insn::Branch { width: width(random), cond, dst: one, src, offset });
    } else if checked {
        let most = random.pick(&[8, 16, 55, 62]);
        out.push(Insn::Branch {
            width: width(random),
            cond: Cond::Gt,
            dst: index,
            src: Operand::Imm(most),
            offset: access.len() as i16,
        });
    }
    out.append(&mut access);
}

fn body(random: &mut Random, decisions: core::ops::Range<u64>, out: &mut Vec<Insn>) {
    let focus = Focus::new(random);
    for decision in decisions {
        part(random, focus, decision, out);
        if random.below(4) == 0 {
            access(random, focus, out);
        }
    }
    access(random, focus, out);
}

/// r6 is the context, r7 the map's value, r8 the decisions.
fn begin(out: &mut Vec<Insn>) {
    out.push(mov(Reg::R6, Operand::Reg(Reg::R1)));
    out.push(Insn::LoadImm64 { dst: Reg::R7, value: Imm64::MapIndexValue { index: 0, offset: 0 } });
    out.push(Insn::WideTail);
    out.push(Insn::Load { size: Size::DW, dst: Reg::R8, base: Reg::R6, offset: 0 });
}

fn program(random: &mut Random) -> Vec<Insn> {
    let mut out = Vec::new();
    begin(&mut out);
    let own_stack = [
        mov(Reg::R9, Operand::Reg(Reg::R10)),
        Insn::Alu { width: Width::W64, op: AluOp::Add, dst: Reg::R9, src: Operand::Imm(-24) },
    ];
    out.extend(own_stack);
    for reg in NUMBERED {
        out.push(mov(reg, Operand::Imm(random.pick(&NUMBERS))));
    }
    let call = random.below(3) == 0;
    body(random, 0..if call { DECISIONS / 2 } else { DECISIONS }, &mut out);
    if !call {
        out.push(mov(Reg::R0, Operand::Imm(0)));
        out.push(Insn::Exit);
        return out;
    }
    // A function that has the caller's slots in r9.
    let mut rest = Vec::new();
    for reg in [Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
        rest.push(mov(reg, Operand::Reg(Reg::R0)));
    }
    let focus = Focus::new(random);
    access(random, focus, &mut rest);
    rest.push(mov(Reg::R0, Operand::Imm(0)));
    rest.push(Insn::Exit);
    out.push(mov(Reg::R1, Operand::Reg(Reg::R6)));
    out.push(mov(Reg::R2, Operand::Reg(Reg::R9)));
    out.push(Insn::CallLocal { offset: rest.len() as i32 });
    out.append(&mut rest);
    begin(&mut out);
    out.push(mov(Reg::R9, Operand::Reg(Reg::R2)));
    out.push(mov(Reg::R0, Operand::Reg(Reg::R3)));
    out.push(mov(Reg::R2, Operand::Reg(Reg::R4)));
    body(random, DECISIONS / 2..DECISIONS, &mut out);
    out.push(Insn::Exit);
    out
}

#[test]
fn every_path_of_an_accepted_program_is_safe() {
    let rounds: u64 = std::env::var("LEMMA_FUZZ_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(if cfg!(debug_assertions) { 1_000 } else { 20_000 });
    let mut random = Random::from_environment();
    let map =
        MapDef { map_type: MapType::Array, key_size: 4, value_size: 64, max_entries: 1, flags: 0 };
    let options =
        VerifyOptions { every_state: true, max_processed: 20_000, ..VerifyOptions::cloud() };
    let mut accepted = 0u64;
    for round in 0..rounds {
        let insns = program(&mut random);
        let program = Program::new(insns.clone(), ProgType::RawTracepoint, vec![map]);
        let Ok(verified) = verify(program, &options) else { continue };
        accepted += 1;
        for decisions in 0..1u64 << DECISIONS {
            let mut machine = Machine::new(&insns, verified.proof(), round * 64 + decisions);
            machine.context[..8].copy_from_slice(&decisions.to_le_bytes());
            for byte in &mut machine.context[8..32] {
                *byte = random.pick(&NUMBERS) as u8;
            }
            if let Err(violation) = machine.run() {
                for (slot, insn) in insns.iter().enumerate() {
                    eprintln!("{slot}: {insn}");
                }
                panic!("round {round}, decisions {decisions:#b}: {}", violation.0);
            }
        }
    }
    eprintln!("{accepted} of {rounds} accepted");
    assert!(accepted > rounds / 20, "too few programs are accepted to say anything: {accepted}");
}
