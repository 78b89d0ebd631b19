//! The first look at a program: its functions, where jumps lead, and what `promote` wants to know
//! of its stack and of the constants in its loops.

use alloc::vec;
use alloc::vec::Vec;

use super::Function;
use super::promote::{Promoted, Uses};
use super::tails;
use crate::insn::{Imm64, Insn, Operand, Reg, Size, Width};
use crate::jit::emitter::Emitter;
use crate::resolve::{LoadError, Resolver};
use crate::verifier::{Subprogram, named};

/// What the passes note about a slot: one table for all of them, because short programs take as
/// long to make tables for as to compile.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// The places that are read from here on, if something jumps here (`live`); before it is
    /// known, those that may be, if something jumps here backwards.
    pub(super) live: u32,
    /// How many jumps lead here from here or from behind: of how many loops it is the head.
    loops: u8,
    /// How many jumps lead here; [`MOST_TARGETS`] stands for more. Behind a tail one for each copy
    /// that there may be (`tails`). Or [`TAKEN`].
    pub(super) targets: u8,
    /// A jump that is lowered leads back here: `live` holds what may be read.
    pub(super) led_back: bool,
    /// Of a jump back to a tail (`tails`), the tail's instructions; 0 of any other.
    pub(super) tail: u8,
}

/// The instruction has been lowered with one before it: not a number of jumps.
pub(super) const TAKEN: u8 = u8::MAX;
/// As many jumps as are counted, or more.
pub(super) const MOST_TARGETS: u8 = TAKEN - 1;

/// What the first look found.
pub(super) struct Scan {
    pub(super) slots: Vec<Slot>,
    /// Sorted; the main function is the first.
    pub(super) functions: Vec<Function>,
    /// What lives in registers: of the functions where anything does, by their index, sorted.
    promoted: Vec<(usize, Promoted)>,
    /// The number of jumps.
    pub(super) jumps: usize,
}

impl Scan {
    /// Puts into `promoted` what of a function lives in registers.
    pub(super) fn enter(&self, function: usize, promoted: &mut Promoted) {
        // It is large, and in most programs nothing.
        if self.promoted.is_empty() {
            return;
        }
        let at = self.promoted.binary_search_by_key(&function, |&(function, _)| function);
        let found = at.ok().and_then(|at| self.promoted.get(at));
        *promoted = found.map(|&(_, promoted)| promoted).unwrap_or_default();
    }
}

pub(super) fn scan<E: Emitter>(resolver: &Resolver<'_>) -> Result<Scan, LoadError> {
    let mut slots = vec![Slot::default(); resolver.program.insns.len()];
    let mut functions = functions(resolver)?;
    let (mut promoted, mut jumps) = (Vec::new(), 0);
    for (index, function) in functions.iter_mut().enumerate() {
        let of_function = body::<E>(resolver, function, &mut slots, &mut jumps)?;
        if let Some(of_function) = of_function {
            // It is large, and most programs have one such function.
            if promoted.len() == promoted.capacity() {
                let more = promoted.len().max(1);
                promoted.try_reserve_exact(more).map_err(|_| LoadError::OutOfMemory)?;
            }
            promoted.push((index, of_function));
        }
    }
    Ok(Scan { slots, functions, promoted, jumps })
}

/// The program's functions: the verifier has found them, or else the calls tell.
fn functions(resolver: &Resolver<'_>) -> Result<Vec<Function>, LoadError> {
    let insns = &resolver.program.insns;
    let mut functions = Vec::new();
    if let Some(proof) = resolver.proof {
        functions.extend(proof.subprograms.iter().map(|subprogram| {
            let Subprogram { start, end, registers, frame_address, .. } = *subprogram;
            Function { start, end, registers, frame_address, ..Function::default() }
        }));
        return Ok(functions);
    }
    let mut add = |start: u32| functions.push(Function { start, ..Function::default() });
    add(0);
    for (slot, insn) in insns.iter().enumerate() {
        if let Insn::CallLocal { offset } | Insn::LoadImm64 { value: Imm64::Func { offset }, .. } =
            *insn
        {
            add(resolver.target(slot, i64::from(offset))? as u32);
        }
    }
    functions.sort_unstable_by_key(|function| function.start);
    functions.dedup_by_key(|function| function.start);
    let mut end = insns.len() as u32;
    for function in functions.iter_mut().rev() {
        (function.end, end) = (end, function.start);
        let body = insns.get(function.start as usize..function.end as usize);
        (function.registers, function.frame_address) = named(body.unwrap_or_default());
    }
    Ok(functions)
}

/// Looks at one function, from its end to its start: jumps that lead back come before the loops
/// that they close, so that it is known for each instruction in how many it lies.
fn body<E: Emitter>(
    resolver: &Resolver<'_>,
    function: &mut Function,
    slots: &mut [Slot],
    jumps: &mut usize,
) -> Result<Option<Promoted>, LoadError> {
    let (start, end) = (function.start as usize, function.end as usize);
    let insns = resolver.program.insns.get(start..end).unwrap_or_default();
    let (mut uses, mut depth, mut slot) = (Uses::default(), 0u32, end);
    for insn in insns.iter().rev() {
        slot -= 1;
        match *insn {
            Insn::Jump { .. } | Insn::Branch { .. } | Insn::MayGoto { .. } => {
                let target = insn.jump_target(slot).unwrap_or_default();
                let target = resolver.target(slot, target - slot as i64 - 1)?;
                *jumps += 1;
                if let Some(mark) = slots.get_mut(target) {
                    mark.targets = MOST_TARGETS.min(mark.targets + 1);
                    // Loops beyond those that can be counted count as none.
                    if target <= slot && mark.loops < u8::MAX {
                        mark.loops += 1;
                        depth += 1;
                    }
                }
                if target <= slot
                    && matches!(insn, Insn::Jump { .. })
                    && let Some(length) = tails::length(resolver, target, slot)
                    && let Some(behind) = slots.get_mut(target + usize::from(length))
                {
                    behind.targets = MOST_TARGETS.min(behind.targets + 1);
                    if let Some(mark) = slots.get_mut(slot) {
                        mark.tail = length;
                    }
                }
                if E::COMPARES_PLACES && depth > 0 {
                    compared(insn, depth, &mut uses);
                }
            }
            // The address of a map itself is for calls, which emitters shorten.
            Insn::LoadImm64 { value: Imm64::MapIndex(_) | Imm64::Func { .. }, .. } => {}
            Insn::LoadImm64 { value, .. } if depth > 0 => {
                let value = resolver.constant(slot, value).unwrap_or(0);
                if i32::try_from(value as i64).is_err() {
                    uses.constant(value, depth);
                }
            }
            Insn::Load { size, base: Reg::R10, offset, .. }
            | Insn::Store { size, base: Reg::R10, offset, .. } => {
                uses.access(offset, size, true, depth);
            }
            Insn::LoadSx { size, base: Reg::R10, offset, .. } => {
                uses.access(offset, size.size(), false, depth);
            }
            Insn::LoadAcquire { size, base: Reg::R10, offset, .. }
            | Insn::StoreRelease { size, base: Reg::R10, offset, .. } => {
                uses.access(offset, size, false, depth);
            }
            Insn::Atomic { base: Reg::R10, offset, .. } => {
                uses.access(offset, Size::DW, false, depth);
            }
            Insn::CallHelper { .. }
            | Insn::CallLocal { .. }
            | Insn::CallRegister { .. }
            | Insn::LoadAbs { .. }
            | Insn::LoadInd { .. } => function.calls = true,
            _ => {}
        }
        if let Some(mark) = slots.get(slot) {
            depth = depth.wrapping_sub(u32::from(mark.loops));
        }
    }
    Ok(uses.choose::<E>(function))
}

/// Counts the constant that a branch compares with.
fn compared(insn: &Insn, depth: u32, uses: &mut Uses) {
    if let Insn::Branch { width: Width::W64, dst, src: Operand::Imm(imm), .. } = *insn
        && dst != Reg::R10
        && imm != 0
    {
        uses.constant(i64::from(imm) as u64, depth);
    }
}
