//! Random programs: what the verifier accepts must run without a violation.
//!
//! Each program is verified twice, as usual and with every number compared exactly
//! (so that claims can be checked at each step), and run on random memory.
//! `LEMMA_FUZZ_ROUNDS` sets the number of programs.

use kernel_bpf::helper::proto::id;
use kernel_bpf::insn::{
    AluOp, AtomicOp, ByteOrder, Cond, Imm64, Insn, Operand, Reg, SignedSize, Size, SwapWidth, Width,
};
use kernel_bpf::map::{MapDef, MapType};
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{VerifyOptions, verify};

use crate::machine::{Machine, Violation};
use crate::random::Random;

impl Random {
    fn width(&mut self) -> Width {
        self.pick(&[Width::W64, Width::W64, Width::W32])
    }

    /// Registers that hold numbers.
    fn reg(&mut self) -> Reg {
        self.pick(&[Reg::R0, Reg::R2, Reg::R3, Reg::R4, Reg::R5, Reg::R8, Reg::R9])
    }

    fn imm(&mut self) -> i32 {
        match self.below(6) {
            0 => self.next() as i32,
            1 => -(self.below(70) as i32),
            2 => 1 << self.below(32),
            _ => self.below(70) as i32,
        }
    }

    fn slot(&mut self) -> i16 {
        -8 * (1 + self.below(5) as i16)
    }
}

/// One to four instructions without jumps.
fn straight(random: &mut Random, out: &mut Vec<Insn>) {
    let (dst, src) = (random.reg(), random.reg());
    match random.below(14) {
        0..=3 => {
            let op = random.pick(&AluOp::ALL);
            let width = random.width();
            let shift = matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh);
            let operand = if random.below(2) == 0 {
                Operand::Reg(src)
            } else if shift {
                Operand::Imm(random.below(32) as i32)
            } else {
                Operand::Imm(random.imm() | 1)
            };
            out.push(Insn::Alu { width, op, dst, src: operand });
        }
        4 => out.push(Insn::Mov { width: random.width(), dst, src: Operand::Reg(src) }),
        5 => {
            let src = Operand::Imm(random.imm());
            out.push(Insn::Mov { width: random.width(), dst, src });
        }
        6 => match random.below(3) {
            0 => out.push(Insn::Neg { width: random.width(), dst }),
            1 => {
                let from = random.pick(&[SignedSize::B, SignedSize::H, SignedSize::W]);
                out.push(Insn::MovSx { width: Width::W64, dst, src, from });
            }
            _ => {
                let kind = random.pick(&[ByteOrder::ToLittle, ByteOrder::ToBig, ByteOrder::Swap]);
                let bits = random.pick(&[SwapWidth::B16, SwapWidth::B32, SwapWidth::B64]);
                out.push(Insn::ByteOrder { kind, dst, bits });
            }
        },
        // Spill and fill, whole and in parts.
        7 | 8 => {
            let size = random.pick(&[Size::DW, Size::DW, Size::W, Size::H, Size::B]);
            let within = random.below(u64::from(8 / size.bytes())) as i16 * size.bytes() as i16;
            let offset = random.slot() + if random.below(3) == 0 { within } else { 0 };
            let src = if random.below(5) == 0 {
                Operand::Imm(random.pick(&[0, 0, 7, -1]))
            } else {
                Operand::Reg(src)
            };
            out.push(Insn::Store { size, base: Reg::R10, offset, src });
        }
        9 | 10 => {
            let size = random.pick(&[Size::DW, Size::DW, Size::W, Size::H, Size::B]);
            let within = random.below(u64::from(8 / size.bytes())) as i16 * size.bytes() as i16;
            let offset = random.slot() + if random.below(3) == 0 { within } else { 0 };
            out.push(Insn::Load { size, dst, base: Reg::R10, offset });
        }
        11 => {
            let size = random.pick(&[Size::B, Size::W, Size::DW]);
            let offset = 8 * random.below(4) as i16;
            out.push(Insn::Load { size, dst, base: Reg::R6, offset });
        }
        // The map's value at an index that was masked, or not enough.
        12 => {
            let pointer = Reg::R1;
            if random.below(3) > 0 {
                let mask = random.pick(&[7, 15, 31, 63, 56]);
                let width = random.width();
                out.push(Insn::Alu { width, op: AluOp::And, dst, src: Operand::Imm(mask) });
            }
            out.push(Insn::Mov { width: Width::W64, dst: pointer, src: Operand::Reg(Reg::R7) });
            out.push(Insn::Alu {
                width: Width::W64,
                op: random.pick(&[AluOp::Add, AluOp::Add, AluOp::Add, AluOp::Sub]),
                dst: pointer,
                src: Operand::Reg(dst),
            });
            let size = random.pick(&[Size::B, Size::H, Size::W, Size::DW]);
            let offset = random.below(12) as i16;
            if random.below(2) == 0 {
                out.push(Insn::Load { size, dst: src, base: pointer, offset });
            } else {
                out.push(Insn::Store { size, base: pointer, offset, src: Operand::Reg(src) });
            }
        }
        _ => {
            let op = random.pick(&[
                AtomicOp::Add { fetch: true },
                AtomicOp::Add { fetch: false },
                AtomicOp::And { fetch: true },
                AtomicOp::Xchg,
                AtomicOp::CmpXchg,
            ]);
            let (base, offset) =
                if random.below(2) == 0 { (Reg::R7, 8) } else { (Reg::R10, random.slot()) };
            out.push(Insn::Atomic { op, width: random.width(), base, offset, src });
        }
    }
}

fn branch(random: &mut Random, offset: i16) -> Insn {
    let src =
        if random.below(3) == 0 { Operand::Reg(random.reg()) } else { Operand::Imm(random.imm()) };
    Insn::Branch {
        width: random.width(),
        cond: random.pick(&Cond::ALL),
        dst: random.reg(),
        src,
        offset,
    }
}

fn block(random: &mut Random, depth: u32, out: &mut Vec<Insn>) {
    for _ in 0..1 + random.below(6) {
        match random.below(10) {
            0..=2 if depth < 3 => {
                let mut inner = Vec::new();
                block(random, depth + 1, &mut inner);
                out.push(branch(random, inner.len() as i16));
                out.append(&mut inner);
            }
            // Both sides of a branch.
            3 if depth < 3 => {
                let (mut yes, mut no) = (Vec::new(), Vec::new());
                block(random, depth + 1, &mut yes);
                block(random, depth + 1, &mut no);
                no.push(Insn::Jump { offset: yes.len() as i32, long: random.below(4) == 0 });
                out.push(branch(random, no.len() as i16));
                out.append(&mut no);
                out.append(&mut yes);
            }
            // A loop that usually ends.
            4 if depth < 2 => {
                let mut inner = Vec::new();
                block(random, depth + 2, &mut inner);
                let counter = random.reg();
                out.push(Insn::Mov { width: Width::W64, dst: counter, src: Operand::Imm(0) });
                inner.push(Insn::Alu {
                    width: Width::W64,
                    op: AluOp::Add,
                    dst: counter,
                    src: Operand::Imm(1 + random.below(3) as i32),
                });
                let src = if random.below(8) == 0 {
                    Operand::Reg(random.reg())
                } else {
                    Operand::Imm(random.below(12) as i32)
                };
                let cond = random.pick(&[Cond::Lt, Cond::Slt, Cond::Le, Cond::Ne]);
                let offset = -(inner.len() as i16) - 1;
                inner.push(Insn::Branch { width: random.width(), cond, dst: counter, src, offset });
                out.append(&mut inner);
            }
            // A loop that the machine ends at last, on its own or with a way out.
            5 if depth < 2 && random.below(3) == 0 => {
                let mut inner = Vec::new();
                block(random, depth + 2, &mut inner);
                if random.below(2) == 0 {
                    // Out of the loop, over the jump back.
                    inner.push(branch(random, 1));
                }
                let length = inner.len() as i16;
                out.push(Insn::MayGoto { offset: length + 1 });
                out.append(&mut inner);
                out.push(Insn::Jump { offset: -i32::from(length) - 2, long: false });
            }
            _ => straight(random, out),
        }
    }
}

/// `bpf_loop` with a callback that reads and writes its caller's stack, and code behind.
fn loop_by_callback(random: &mut Random, out: &mut Vec<Insn>) {
    let mov = |dst, src| Insn::Mov { width: Width::W64, dst, src };
    let load = |dst, base, offset| Insn::Load { size: Size::DW, dst, base, offset };
    let store =
        |base, offset, src| Insn::Store { size: Size::DW, base, offset, src: Operand::Reg(src) };
    let add =
        |dst, imm| Insn::Alu { width: Width::W64, op: AluOp::Add, dst, src: Operand::Imm(imm) };
    // The callback's context: the slots that blocks use, with the program's context below.
    out.push(store(Reg::R10, -48, Reg::R6));
    let rounds = if random.below(4) == 0 {
        Operand::Reg(random.reg())
    } else {
        Operand::Imm(random.below(20) as i32)
    };
    out.push(mov(Reg::R1, rounds));
    if let Operand::Reg(_) = rounds {
        out.push(Insn::Alu {
            width: Width::W64,
            op: AluOp::And,
            dst: Reg::R1,
            src: Operand::Imm(15),
        });
    }
    let mut rest = vec![mov(Reg::R3, Operand::Reg(Reg::R10)), add(Reg::R3, -48)];
    rest.push(mov(Reg::R4, Operand::Imm(0)));
    rest.push(Insn::CallHelper { id: id::LOOP });
    for reg in [Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
        rest.push(mov(reg, Operand::Reg(Reg::R0)));
    }
    block(random, 1, &mut rest);
    rest.push(Insn::Exit);
    let offset = rest.len() as i32 + 1;
    out.push(Insn::LoadImm64 { dst: Reg::R2, value: Imm64::Func { offset } });
    out.push(Insn::WideTail);
    out.append(&mut rest);
    // The callback.
    out.push(store(Reg::R10, -64, Reg::R2));
    out.push(load(Reg::R6, Reg::R2, 0));
    out.push(Insn::LoadImm64 { dst: Reg::R7, value: Imm64::MapIndexValue { index: 0, offset: 0 } });
    out.push(Insn::WideTail);
    for reg in [Reg::R8, Reg::R9] {
        out.push(load(reg, Reg::R2, 8 + 8 * random.below(5) as i16));
    }
    for reg in [Reg::R0, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
        let from = random.pick(&[Operand::Reg(Reg::R1), Operand::Reg(Reg::R8), Operand::Imm(3)]);
        out.push(mov(reg, from));
    }
    block(random, 1, out);
    out.push(load(Reg::R1, Reg::R10, -64));
    for _ in 0..random.below(3) {
        let size = random.pick(&[Size::DW, Size::DW, Size::W, Size::B]);
        let offset = 8 + 8 * random.below(5) as i16;
        let src = Operand::Reg(random.reg());
        out.push(Insn::Store { size, base: Reg::R1, offset, src });
    }
    if random.below(2) == 0 {
        out.push(Insn::Alu {
            width: Width::W64,
            op: AluOp::And,
            dst: Reg::R0,
            src: Operand::Imm(1),
        });
    } else {
        out.push(mov(Reg::R0, Operand::Imm(0)));
    }
    out.push(Insn::Exit);
}

fn program(random: &mut Random) -> Vec<Insn> {
    let mov = |dst, src| Insn::Mov { width: Width::W64, dst, src };
    let mut out = vec![
        mov(Reg::R6, Operand::Reg(Reg::R1)),
        Insn::LoadImm64 { dst: Reg::R7, value: Imm64::MapIndexValue { index: 0, offset: 0 } },
        Insn::WideTail,
    ];
    for (index, reg) in
        [Reg::R0, Reg::R2, Reg::R3, Reg::R4, Reg::R5, Reg::R8, Reg::R9].into_iter().enumerate()
    {
        if random.below(3) == 0 {
            out.push(mov(reg, Operand::Imm(random.imm())));
        } else {
            let offset = index as i16 * 8;
            out.push(Insn::Load { size: Size::DW, dst: reg, base: Reg::R6, offset });
        }
    }
    let shape = random.below(6);
    let mut body = Vec::new();
    block(random, 0, &mut body);
    if shape == 0 {
        loop_by_callback(random, &mut body);
    } else if shape < 3 {
        // A function that works on its arguments and its own stack.
        let mut function: Vec<Insn> = vec![];
        for reg in [Reg::R0, Reg::R8, Reg::R9] {
            function.push(mov(reg, Operand::Reg(Reg::R2)));
        }
        function.push(mov(Reg::R6, Operand::Reg(Reg::R1)));
        function.push(Insn::LoadImm64 {
            dst: Reg::R7,
            value: Imm64::MapIndexValue { index: 0, offset: 0 },
        });
        function.push(Insn::WideTail);
        block(random, 1, &mut function);
        function.push(Insn::Exit);
        let mut rest = Vec::new();
        for reg in [Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
            rest.push(mov(reg, Operand::Reg(Reg::R0)));
        }
        block(random, 1, &mut rest);
        rest.push(Insn::Exit);
        body.push(mov(Reg::R1, Operand::Reg(Reg::R6)));
        body.push(Insn::CallLocal { offset: rest.len() as i32 });
        body.append(&mut rest);
        body.append(&mut function);
    } else {
        body.push(Insn::Exit);
    }
    out.append(&mut body);
    out
}

#[test]
fn accepted_programs_never_misbehave() {
    let rounds: u64 = std::env::var("LEMMA_FUZZ_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(if cfg!(debug_assertions) { 400 } else { 20_000 });
    let mut random = Random::from_environment();
    let map =
        MapDef { map_type: MapType::Array, key_size: 4, value_size: 64, max_entries: 1, flags: 0 };
    let usual = VerifyOptions { max_processed: 20_000, ..VerifyOptions::cloud() };
    let exact = VerifyOptions { record_claims: true, ..usual };
    let (mut accepted, mut tightest) = (0u64, 0.0f64);
    for round in 0..rounds {
        let insns = program(&mut random);
        for options in [&usual, &exact] {
            let program = Program::new(insns.clone(), ProgType::RawTracepoint, vec![map]);
            let Ok(verified) = verify(program, options) else { continue };
            accepted += 1;
            for run in 0..6 {
                let mut machine = Machine::new(&insns, verified.proof(), round * 77 + run);
                match machine.run() {
                    Ok(outcome) => {
                        let part = outcome.executed as f64 / verified.proof().worst_case as f64;
                        tightest = tightest.max(part);
                    }
                    Err(violation) => {
                        for (slot, insn) in insns.iter().enumerate() {
                            eprintln!("{slot}: {insn}");
                        }
                        let Violation(what) = violation;
                        panic!("round {round}, claims {}: {what}", options.record_claims);
                    }
                }
            }
        }
    }
    eprintln!("{accepted} of {} accepted, tightest bound {tightest:.3}", 2 * rounds);
    assert!(accepted > rounds / 5, "too few programs are accepted to say anything: {accepted}");
    assert!(tightest > 0.99, "the bound is never reached: {tightest}");
}
