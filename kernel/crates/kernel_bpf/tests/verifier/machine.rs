//! A plain machine that runs decoded programs and watches every step: each access must
//! be to memory that the program owns, each number within what the verifier claimed,
//! and no run longer than the worst case.
//!
//! It shares no code with the interpreter or the verifier beyond the definitions of
//! single operations on known numbers.

use kernel_bpf::helper::{self, proto::id};
use kernel_bpf::insn::{
    AluOp, AtomicOp, ByteOrder, Imm64, Insn, Operand, Reg, SignedSize, Size, Width,
};
use kernel_bpf::verifier::scalar::{alu, cond};
use kernel_bpf::verifier::{Claim, Proof};

const CONTEXT: u64 = 0x1_0000_0000_0000;
const MAP: u64 = 0x2_0000_0000_0000;
const STACK: u64 = 0x3_0000_0000_0000;
const CODE: u64 = 0x4_0000_0000_0000;
const FRAME: u64 = 0x1_0000;

pub(crate) struct Machine<'a> {
    pub(crate) insns: &'a [Insn],
    pub(crate) proof: &'a Proof,
    pub(crate) context: Vec<u8>,
    pub(crate) map: Vec<u8>,
    stack: Vec<[u8; 512]>,
    random: u64,
}

/// A `bpf_loop` that is being run.
struct Loop {
    round: u64,
    rounds: u64,
    start: usize,
    context: u64,
    back: usize,
    /// How many calls were active outside of it.
    depth: usize,
}

/// What went wrong.
#[derive(Debug)]
pub(crate) struct Violation(pub(crate) String);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) executed: u64,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(insns: &'a [Insn], proof: &'a Proof, seed: u64) -> Self {
        let mut machine =
            Machine { insns, proof, context: vec![], map: vec![], stack: vec![], random: seed | 1 };
        machine.context = (0..96).map(|_| machine.next() as u8).collect();
        machine.map = (0..64).map(|_| machine.next() as u8).collect();
        machine
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn push_frame(&mut self) {
        let mut frame = [0; 512];
        frame.fill_with(|| self.next() as u8);
        self.stack.push(frame);
    }

    fn bytes(&mut self, address: u64, size: usize, pc: usize) -> Result<&mut [u8], Violation> {
        let fail = || Violation(format!("insn {pc}: {size} bytes at {address:#x}"));
        let (memory, at): (&mut [u8], u64) = if let Some(at) = address.checked_sub(STACK) {
            let (frame, at) = ((at / FRAME) as usize, at % FRAME);
            (self.stack.get_mut(frame).ok_or_else(fail)?, at)
        } else if let Some(at) = address.checked_sub(MAP) {
            (&mut self.map, at)
        } else if let Some(at) = address.checked_sub(CONTEXT) {
            (&mut self.context, at)
        } else {
            return Err(fail());
        };
        let at = usize::try_from(at).map_err(|_| fail())?;
        memory.get_mut(at..at.saturating_add(size)).ok_or_else(fail)
    }

    fn load(&mut self, address: u64, size: Size, pc: usize) -> Result<u64, Violation> {
        let mut value = [0; 8];
        let size = size.bytes() as usize;
        value[..size].copy_from_slice(self.bytes(address, size, pc)?);
        Ok(u64::from_le_bytes(value))
    }

    fn store(&mut self, address: u64, size: Size, x: u64, pc: usize) -> Result<(), Violation> {
        let size = size.bytes() as usize;
        self.bytes(address, size, pc)?.copy_from_slice(&x.to_le_bytes()[..size]);
        Ok(())
    }

    fn check_claims(&self, pc: usize, regs: &[u64; 11]) -> Result<(), Violation> {
        let Some(claims) = self.proof.claims.get(pc) else { return Ok(()) };
        for (index, (claim, &x)) in claims.iter().zip(regs).enumerate() {
            let holds = match claim {
                Claim::Number(scalar) => scalar.contains(x),
                Claim::Pointer => x >= CONTEXT,
                Claim::Unused | Claim::Any => true,
            };
            if !holds {
                return Err(Violation(format!("insn {pc}: r{index} = {x:#x}, claimed {claim:x?}")));
            }
        }
        Ok(())
    }

    /// Enters the next round of the innermost loop, or leaves it; where to go on.
    fn round(
        &mut self,
        loops: &mut Vec<Loop>,
        saved: &mut Vec<([u64; 5], usize)>,
        regs: &mut [u64; 11],
    ) -> usize {
        let Some(active) = loops.last_mut() else { return usize::MAX };
        if active.round >= active.rounds {
            let back = active.back;
            loops.pop();
            regs[..6].fill_with(|| self.next());
            return back;
        }
        saved.push(([regs[6], regs[7], regs[8], regs[9], regs[10]], active.back));
        let (round, context, start) = (active.round, active.context, active.start);
        active.round += 1;
        self.push_frame();
        regs[10] = STACK + FRAME * (self.stack.len() as u64 - 1) + 512;
        for reg in [0, 3, 4, 5, 6, 7, 8, 9] {
            regs[reg] = self.next();
        }
        (regs[1], regs[2]) = (round, context);
        start
    }

    pub(crate) fn run(&mut self) -> Result<Outcome, Violation> {
        let mut regs = [0u64; 11];
        regs.fill_with(|| self.next());
        let mut saved: Vec<([u64; 5], usize)> = Vec::new();
        let mut loops: Vec<Loop> = Vec::new();
        self.stack.clear();
        self.push_frame();
        regs[1] = CONTEXT;
        regs[10] = STACK + 512;
        let (mut pc, mut executed) = (0usize, 0u64);
        loop {
            let insn = *self.insns.get(pc).ok_or_else(|| Violation(format!("pc {pc}")))?;
            executed += 1;
            if executed > self.proof.worst_case {
                return Err(Violation(format!(
                    "insn {pc}: worst case {} exceeded",
                    self.proof.worst_case
                )));
            }
            if !self.proof.facts[pc].reached {
                return Err(Violation(format!("insn {pc} was claimed not to be reached")));
            }
            self.check_claims(pc, &regs)?;
            let value = |regs: &[u64; 11], src: Operand| match src {
                Operand::Reg(reg) => regs[reg.index()],
                Operand::Imm(imm) => i64::from(imm) as u64,
            };
            let at = |regs: &[u64; 11], base: Reg, offset: i16| {
                regs[base.index()].wrapping_add(i64::from(offset) as u64)
            };
            let mut next = pc + insn.slots();
            match insn {
                Insn::Alu { width, op, dst, src } => {
                    let y = value(&regs, src);
                    let zero = if width == Width::W64 { y == 0 } else { y as u32 == 0 };
                    if matches!(op, AluOp::Div | AluOp::Mod)
                        && zero
                        && self.proof.facts[pc].divisor_nonzero
                    {
                        return Err(Violation(format!("insn {pc}: division by zero")));
                    }
                    regs[dst.index()] = alu::concrete(op, width, regs[dst.index()], y);
                }
                Insn::Neg { width, dst } => {
                    regs[dst.index()] = alu::concrete(AluOp::Sub, width, 0, regs[dst.index()]);
                }
                Insn::Mov { width, dst, src } => {
                    let x = value(&regs, src);
                    regs[dst.index()] = if width == Width::W64 { x } else { u64::from(x as u32) };
                }
                Insn::MovSx { width, dst, src, from } => {
                    let x = extend(regs[src.index()], from);
                    regs[dst.index()] = if width == Width::W64 { x } else { u64::from(x as u32) };
                }
                Insn::ByteOrder { kind, dst, bits } => {
                    let bits = bits.bits();
                    let x = regs[dst.index()] & (u64::MAX >> (64 - bits));
                    regs[dst.index()] = match kind {
                        ByteOrder::ToLittle => x,
                        _ => x.swap_bytes() >> (64 - bits),
                    };
                }
                Insn::Load { size, dst, base, offset } => {
                    regs[dst.index()] = self.load(at(&regs, base, offset), size, pc)?;
                }
                Insn::LoadSx { size, dst, base, offset } => {
                    let x = self.load(at(&regs, base, offset), size.size(), pc)?;
                    regs[dst.index()] = extend(x, size);
                }
                Insn::Store { size, base, offset, src } => {
                    let x = value(&regs, src);
                    self.store(at(&regs, base, offset), size, x, pc)?;
                }
                Insn::Atomic { op, width, base, offset, src } => {
                    let size = if width == Width::W64 { Size::DW } else { Size::W };
                    let address = at(&regs, base, offset);
                    let old = self.load(address, size, pc)?;
                    let s = regs[src.index()];
                    let new = match op {
                        AtomicOp::Add { .. } => old.wrapping_add(s),
                        AtomicOp::Or { .. } => old | s,
                        AtomicOp::And { .. } => old & s,
                        AtomicOp::Xor { .. } => old ^ s,
                        AtomicOp::Xchg => s,
                        AtomicOp::CmpXchg => {
                            let r0 =
                                if width == Width::W64 { regs[0] } else { regs[0] & 0xffff_ffff };
                            if old == r0 { s } else { old }
                        }
                    };
                    self.store(address, size, new, pc)?;
                    if let Some(reg) = op.fetched_into(src) {
                        regs[reg.index()] = old;
                    }
                }
                Insn::LoadImm64 { dst, value } => {
                    regs[dst.index()] = match value {
                        Imm64::Value(x) => x,
                        Imm64::MapIndexValue { offset, .. } => MAP + u64::from(offset),
                        Imm64::Func { offset } => CODE + (pc as i64 + 1 + i64::from(offset)) as u64,
                        other => return Err(Violation(format!("{other:?}"))),
                    };
                }
                Insn::MayGoto { .. } => {
                    if self.next() & 0x700 == 0 {
                        next = insn.jump_target(pc).unwrap() as usize;
                    }
                }
                Insn::Jump { .. } => next = insn.jump_target(pc).unwrap() as usize,
                Insn::Branch { width, cond, dst, src, .. } => {
                    if cond::concrete(cond, width, regs[dst.index()], value(&regs, src)) {
                        next = insn.jump_target(pc).unwrap() as usize;
                    }
                }
                Insn::CallLocal { offset } => {
                    saved.push(([regs[6], regs[7], regs[8], regs[9], regs[10]], next));
                    self.push_frame();
                    regs[10] = STACK + FRAME * (self.stack.len() as u64 - 1) + 512;
                    for reg in [0, 6, 7, 8, 9] {
                        regs[reg] = self.next();
                    }
                    next = (pc as i64 + 1 + i64::from(offset)) as usize;
                }
                Insn::CallHelper { id: id::LOOP } => {
                    executed += u64::from(helper::by_id(id::LOOP).unwrap().cost);
                    let rounds = u64::from(regs[1] as u32);
                    let (start, context) = (regs[2].wrapping_sub(CODE) as usize, regs[3]);
                    let rounds = if rounds > 8 << 20 { 0 } else { rounds };
                    loops.push(Loop {
                        round: 0,
                        rounds,
                        start,
                        context,
                        back: next,
                        depth: saved.len(),
                    });
                    next = self.round(&mut loops, &mut saved, &mut regs);
                }
                Insn::CallHelper { id } => {
                    // Only helpers that return a number and take none.
                    executed += u64::from(helper::by_id(id).unwrap().cost);
                    for reg in &mut regs[..6] {
                        *reg = self.random;
                        self.random =
                            self.random.rotate_left(9).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                    }
                }
                Insn::Exit => match saved.pop() {
                    None => return Ok(Outcome { executed }),
                    Some((kept, back)) => {
                        regs[6..].copy_from_slice(&kept);
                        regs[1..6].fill_with(|| self.next());
                        self.stack.pop();
                        next = back;
                        if loops.last().is_some_and(|active| active.depth == saved.len()) {
                            if regs[0] > 1 {
                                return Err(Violation(format!(
                                    "a callback returns {:#x}",
                                    regs[0]
                                )));
                            }
                            if regs[0] == 1
                                && let Some(active) = loops.last_mut()
                            {
                                active.rounds = 0;
                            }
                            next = self.round(&mut loops, &mut saved, &mut regs);
                        }
                    }
                },
                other => return Err(Violation(format!("insn {pc}: {other} is not run here"))),
            }
            pc = next;
        }
    }
}

fn extend(x: u64, from: SignedSize) -> u64 {
    match from {
        SignedSize::B => i64::from(x as i8) as u64,
        SignedSize::H => i64::from(x as i16) as u64,
        SignedSize::W => i64::from(x as i32) as u64,
    }
}
