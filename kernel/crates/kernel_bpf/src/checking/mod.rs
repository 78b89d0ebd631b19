//! The checking interpreter: runs a program step by step and asserts, at each step, what the
//! verifier claimed.
//!
//! [`Machine`] executes the instruction model directly, in a memory of its own (`memory`) where
//! every block has an invented address, with its own maps and helpers (`helpers`). It stops at
//! the first [`Violation`]: an access to memory that the program may not touch, a register that
//! was never written, an instruction said to be unreachable, a branch said to go one way, a
//! divisor said not to be zero, an answer out of range, a reference not given back, more
//! instructions than the worst case. It shares no code with the interpreter, so the two are
//! compared as well; what depends on an address, which differs between the two, is *tainted*
//! and not compared.
//!
//! `generate` writes random programs; `tests` runs those that the verifier accepts.

mod alu;
mod generate;
mod helpers;
mod memory;
#[cfg(test)]
mod tests;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::helper;
use crate::insn::{Cond, Imm64, Insn, Operand, Reg, Size, Width};
use crate::map::{Map, MapDef};
use crate::program::Program;
use crate::verifier::{BranchFact, Proof, Region, Verified};
use memory::{Memory, Owner};

/// A value, and whether it depends on an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Value {
    pub(super) bits: u64,
    pub(super) tainted: bool,
}

impl Value {
    pub(super) const fn number(bits: u64) -> Self {
        Self { bits, tainted: false }
    }
}

/// Something that the verifier should have refused, or claimed wrongly.
#[derive(Clone)]
pub(super) struct Violation {
    slot: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: {}", self.slot, self.what)
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) result: Value,
    /// Cost of what was executed, counted as the proof counts it.
    pub(super) cost: u64,
    /// A decision depended on an address, so another run may go another way.
    pub(super) tainted: bool,
}

struct Frame {
    saved: [Option<Value>; 4],
    return_to: usize,
    stack_base: u64,
}

/// The machine.
pub(super) struct Machine<'p> {
    program: &'p Program<Arc<Map>>,
    proof: &'p Proof,
    defs: Vec<MapDef>,
    memory: Memory,
    registers: [Option<Value>; 11],
    frames: Vec<Frame>,
    cost: u64,
    tainted: bool,
    clock: u64,
    /// Ring-buffer records that were reserved.
    reserved: usize,
}

type Step<T> = Result<T, String>;

impl<'p> Machine<'p> {
    /// A machine with empty maps.
    pub(super) fn new(program: &'p Verified<Program<Arc<Map>>>) -> Self {
        Self::with_proof(program.get(), program.proof())
    }

    /// A machine for a program and any claims about it.
    pub(super) fn with_proof(program: &'p Program<Arc<Map>>, proof: &'p Proof) -> Self {
        let defs: Vec<MapDef> = program.maps.iter().map(|map| *map.def()).collect();
        Self {
            program,
            proof,
            memory: Memory::new(&defs),
            defs,
            registers: [None; 11],
            frames: Vec::new(),
            cost: 0,
            tainted: false,
            clock: 0,
            reserved: 0,
        }
    }

    /// Runs once; maps keep what they hold for the next run.
    pub(super) fn run(&mut self, context: &[u8]) -> Result<Outcome, Violation> {
        self.registers = [None; 11];
        self.frames.clear();
        (self.cost, self.tainted, self.reserved, self.clock) = (0, false, 0, 0);
        self.memory.remove(|owner| !matches!(owner, Owner::Value { .. }));
        let context = self.memory.add(context, Owner::Context);
        self.registers[1] = Some(Value { bits: context, tainted: true });
        self.enter_frame();
        let mut slot = 0;
        loop {
            match self.step(slot) {
                Ok(Some(next)) => slot = next,
                Ok(None) => break,
                Err(what) => return Err(Violation { slot, what }),
            }
            if self.cost > self.proof.worst_case {
                let what = format!("{} executed, {} allowed", self.cost, self.proof.worst_case);
                return Err(Violation { slot, what });
            }
        }
        let result = self.registers[0].unwrap_or(Value::number(0));
        Ok(Outcome { result, cost: self.cost, tainted: self.tainted })
    }

    fn enter_frame(&mut self) -> u64 {
        let base = self.memory.add_stack();
        self.registers[10] = Some(Value { bits: base + 512, tainted: true });
        base
    }

    pub(super) fn read(&self, register: Reg) -> Step<Value> {
        self.registers[register.index()].ok_or_else(|| format!("{register} was never written"))
    }

    fn write(&mut self, register: Reg, value: Value) {
        self.registers[register.index()] = Some(value);
    }

    fn operand(&self, operand: Operand) -> Step<Value> {
        match operand {
            Operand::Reg(register) => self.read(register),
            Operand::Imm(imm) => Ok(Value::number(i64::from(imm) as u64)),
        }
    }

    /// An access by an instruction: the block that holds it, checked against the claim.
    fn access(&mut self, slot: usize, address: u64, size: u64, write: bool) -> Step<()> {
        let owner = self.memory.check(address, size, write, &self.defs)?;
        let region = match owner {
            Owner::Stack => Region::Stack,
            Owner::Context => Region::Context,
            Owner::Value { .. } => Region::MapValue,
            Owner::Record { .. } => Region::Memory,
        };
        match self.proof.facts[slot].region {
            Region::Mixed => Ok(()),
            claimed if claimed == region => Ok(()),
            claimed => Err(format!("claimed to access {claimed:?}, accesses {region:?}")),
        }
    }

    fn load(&mut self, slot: usize, base: Reg, offset: i16, size: Size) -> Step<Value> {
        let address = self.read(base)?.bits.wrapping_add_signed(i64::from(offset));
        self.access(slot, address, u64::from(size.bytes()), false)?;
        Ok(self.memory.load(address, size.bytes() as usize))
    }

    fn store(&mut self, slot: usize, at: (Reg, i16), size: Size, value: Value) -> Step<()> {
        let address = self.read(at.0)?.bits.wrapping_add_signed(i64::from(at.1));
        self.access(slot, address, u64::from(size.bytes()), true)?;
        self.memory.store(address, size.bytes() as usize, value);
        Ok(())
    }

    /// Executes one instruction; `None` at the end.
    fn step(&mut self, slot: usize) -> Step<Option<usize>> {
        let insn = *self.program.insns.get(slot).ok_or("runs off the end")?;
        let fact = self.proof.facts[slot];
        if !fact.reached {
            return Err(String::from("claimed to be unreachable"));
        }
        self.cost += match insn {
            Insn::CallHelper { id } => {
                1 + helper::by_id(id).map_or(0, |proto| u64::from(proto.cost))
            }
            _ => 1,
        };
        let mut next = slot + insn.slots();
        match insn {
            Insn::Alu { width, op, dst, src } => {
                let (a, b) = (self.read(dst)?, self.operand(src)?);
                let zero = if width == Width::W32 { b.bits as u32 == 0 } else { b.bits == 0 };
                if fact.divisor_nonzero && zero {
                    return Err(String::from("claimed that the divisor is not zero"));
                }
                let bits = alu::alu(op, width, a.bits, b.bits);
                // A pointer moved by what depends on an address leads elsewhere in another run.
                self.tainted |= a.tainted && b.tainted;
                self.write(dst, Value { bits, tainted: a.tainted || b.tainted });
            }
            Insn::Neg { width, dst } => {
                let a = self.read(dst)?;
                self.write(dst, Value { bits: alu::cut(0u64.wrapping_sub(a.bits), width), ..a });
            }
            Insn::Mov { width, dst, src } => {
                let a = self.operand(src)?;
                self.write(dst, Value { bits: alu::cut(a.bits, width), ..a });
            }
            Insn::MovSx { width, dst, src, from } => {
                let a = self.read(src)?;
                let bits = alu::cut(alu::sign_extend(a.bits, from.size().bits()), width);
                self.write(dst, Value { bits, ..a });
            }
            Insn::ByteOrder { kind, dst, bits } => {
                let a = self.read(dst)?;
                self.write(dst, Value { bits: alu::byte_order(kind, bits, a.bits), ..a });
            }
            Insn::Load { size, dst, base, offset } => {
                let value = self.load(slot, base, offset, size)?;
                self.write(dst, value);
            }
            Insn::LoadSx { size, dst, base, offset } => {
                let value = self.load(slot, base, offset, size.size())?;
                let bits = alu::sign_extend(value.bits, size.size().bits());
                self.write(dst, Value { bits, ..value });
            }
            Insn::LoadAcquire { size, dst, base, offset } => {
                let value = self.load(slot, base, offset, size)?;
                self.write(dst, value);
            }
            Insn::Store { size, base, offset, src } => {
                let value = self.operand(src)?;
                self.store(slot, (base, offset), size, value)?;
            }
            Insn::StoreRelease { size, base, offset, src } => {
                let value = self.read(src)?;
                self.store(slot, (base, offset), size, value)?;
            }
            Insn::Atomic { op, width, base, offset, src } => {
                let size = if width == Width::W32 { Size::W } else { Size::DW };
                let address = self.read(base)?.bits.wrapping_add_signed(i64::from(offset));
                if address % u64::from(size.bytes()) != 0 {
                    return Err(String::from("a misaligned atomic"));
                }
                let old = self.load(slot, base, offset, size)?;
                let source = self.read(src)?;
                let compare = match op.fetched_into(src) {
                    Some(Reg::R0) if src != Reg::R0 => self.read(Reg::R0)?,
                    _ => Value::number(0),
                };
                let compare = if alu::compares(op) { self.read(Reg::R0)? } else { compare };
                let new = alu::atomic(op, width, old.bits, source.bits, compare.bits);
                let tainted = old.tainted || source.tainted || compare.tainted;
                self.store(slot, (base, offset), size, Value { bits: new, tainted })?;
                if let Some(register) = op.fetched_into(src) {
                    self.write(register, old);
                }
            }
            Insn::LoadImm64 { dst, value } => {
                let value = match value {
                    Imm64::Value(bits) => Value::number(bits),
                    Imm64::MapIndex(index) => {
                        Value { bits: helpers::map_handle(index), tainted: true }
                    }
                    Imm64::MapIndexValue { index, offset } => {
                        let key = 0u32.to_ne_bytes();
                        let base = self.memory.value(index as usize, &key);
                        let base = base.ok_or("the value of a map that has none")?;
                        Value { bits: base + u64::from(offset), tainted: true }
                    }
                    other => return Err(format!("{other:?} is not modelled")),
                };
                self.write(dst, value);
            }
            Insn::Jump { .. } => next = target(&insn, slot),
            Insn::Branch { width, cond, dst, src, .. } => {
                let (a, b) = (self.read(dst)?, self.operand(src)?);
                let taken = alu::holds(cond, width, a.bits, b.bits);
                let impossible = match fact.branch {
                    BranchFact::Always => !taken,
                    BranchFact::Never => taken,
                    BranchFact::None => true,
                    BranchFact::Both => false,
                };
                if impossible {
                    return Err(format!("claimed to go {:?}, taken: {taken}", fact.branch));
                }
                // Whether a pointer is null does not depend on where it points.
                let null_test = matches!(cond, Cond::Eq | Cond::Ne)
                    && src == Operand::Imm(0)
                    && self.memory.check(a.bits, 1, false, &self.defs).is_ok();
                self.tainted |= (a.tainted || b.tainted) && !null_test;
                if taken {
                    next = target(&insn, slot);
                }
            }
            Insn::CallHelper { id } => self.call(id)?,
            Insn::CallLocal { offset } => {
                if self.frames.len() >= 7 {
                    return Err(String::from("more than eight frames"));
                }
                let saved = [6, 7, 8, 9].map(|register: usize| self.registers[register]);
                let stack_base = self.registers[10].map_or(0, |fp| fp.bits);
                self.frames.push(Frame { saved, return_to: next, stack_base });
                self.enter_frame();
                for register in [0, 6, 7, 8, 9] {
                    self.registers[register] = None;
                }
                next = (slot as i64 + 1 + i64::from(offset)) as usize;
            }
            Insn::Exit => {
                self.read(Reg::R0)?;
                let Some(frame) = self.frames.pop() else {
                    if self.reserved != 0 {
                        return Err(String::from("a record was not given back"));
                    }
                    return Ok(None);
                };
                self.memory.remove_top_stack();
                for (register, value) in (6..10).zip(frame.saved) {
                    self.registers[register] = value;
                }
                self.registers[10] = Some(Value { bits: frame.stack_base, tainted: true });
                for register in 1..6 {
                    self.registers[register] = None;
                }
                next = frame.return_to;
            }
            other => return Err(format!("{other:?} is not modelled")),
        }
        Ok(Some(next))
    }
}

fn target(insn: &Insn, slot: usize) -> usize {
    insn.jump_target(slot).and_then(|target| usize::try_from(target).ok()).unwrap_or(usize::MAX)
}
