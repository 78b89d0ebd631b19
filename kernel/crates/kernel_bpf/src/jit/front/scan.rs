//! The first look at a program: its functions and what each uses, where jumps lead, where loops
//! begin and end, and which instructions `promote` has to look at.

use alloc::vec;
use alloc::vec::Vec;

use super::Function;
use super::used::Used;
use crate::insn::{Imm64, Insn, Operand, Reg, Width};
use crate::jit::emitter::Emitter;
use crate::resolve::{LoadError, Resolver};

/// What the passes note about a slot: one table for all of them, because short programs take as
/// long to make tables for as to compile.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// The places that are read from here on, if something jumps here (`live`).
    pub(super) live: u32,
    /// How many more loops it lies in than the one before (jumps backwards lead over it): a
    /// negative number behind a loop.
    pub(super) deeper: i8,
    /// How many jumps lead here; 255 stands for more.
    pub(super) targets: u8,
    /// Something jumps here backwards (`live`).
    pub(super) backward: bool,
    /// What it accesses or loads may be put in a register (`promote`).
    pub(super) candidate: bool,
}

/// What the first look found.
pub(super) struct Scan {
    pub(super) slots: Vec<Slot>,
    /// Sorted; the main function is the first.
    pub(super) functions: Vec<Function>,
    /// The number of jumps.
    pub(super) jumps: usize,
}

pub(super) fn scan<E: Emitter>(resolver: &Resolver<'_>) -> Result<Scan, LoadError> {
    let mut slots = vec![Slot::default(); resolver.program.insns.len()];
    let mut functions = functions(resolver)?;
    let mut jumps = 0;
    for function in &mut functions {
        jumps += body::<E>(resolver, function, &mut slots)?;
    }
    Ok(Scan { slots, functions, jumps })
}

/// The program's functions: the verifier has found them, or else the calls tell.
fn functions(resolver: &Resolver<'_>) -> Result<Vec<Function>, LoadError> {
    let insns = &resolver.program.insns;
    let mut functions = Vec::new();
    let mut add = |start: u32| functions.push(Function { start, ..Function::default() });
    match resolver.proof {
        Some(proof) => proof.subprograms.iter().for_each(|subprogram| add(subprogram.start)),
        None => {
            add(0);
            for (slot, insn) in insns.iter().enumerate() {
                if let Insn::CallLocal { offset }
                | Insn::LoadImm64 { value: Imm64::Func { offset }, .. } = *insn
                {
                    add(resolver.target(slot, i64::from(offset))? as u32);
                }
            }
        }
    }
    functions.sort_unstable_by_key(|function| function.start);
    functions.dedup_by_key(|function| function.start);
    let mut end = insns.len() as u32;
    for function in functions.iter_mut().rev() {
        (function.end, end) = (end, function.start);
    }
    Ok(functions)
}

/// Looks at one function; returns how many jumps it has.
fn body<E: Emitter>(
    resolver: &Resolver<'_>,
    function: &mut Function,
    slots: &mut [Slot],
) -> Result<usize, LoadError> {
    let (start, end) = (function.start as usize, function.end as usize);
    let insns = resolver.program.insns.get(start..end).unwrap_or_default();
    let (mut used, mut promotes, mut jumps) = (Used::default(), false, 0);
    let mut last_constant = None;
    for (slot, insn) in (start..).zip(insns) {
        let mut candidate = used.add(insn) & 1 << Reg::R10 as u8 != 0;
        match *insn {
            Insn::LoadImm64 { value, .. } => {
                // The address of a map itself is for calls, which emitters shorten.
                candidate = !matches!(value, Imm64::MapIndex(_) | Imm64::Func { .. });
                last_constant = Some(slot);
            }
            Insn::Jump { .. } | Insn::Branch { .. } | Insn::MayGoto { .. } => {
                let target = insn.jump_target(slot).unwrap_or_default();
                let target = resolver.target(slot, target - slot as i64 - 1)?;
                if let Some(mark) = slots.get_mut(target) {
                    mark.targets = mark.targets.saturating_add(1);
                }
                jumps += 1;
                if target <= slot {
                    promotes |= E::COMPARES_PLACES;
                    promotes |= last_constant.is_some_and(|at| at >= target);
                    deepen(slots, target, 1);
                    deepen(slots, slot + 1, -1);
                }
                if E::COMPARES_PLACES
                    && let Insn::Branch { width: Width::W64, src: Operand::Imm(imm), .. } = *insn
                {
                    candidate |= imm != 0;
                }
            }
            Insn::Load { base: Reg::R10, .. } | Insn::Store { base: Reg::R10, .. } => {
                promotes = true;
            }
            _ => {}
        }
        if candidate && let Some(mark) = slots.get_mut(slot) {
            mark.candidate = true;
        }
    }
    (function.used, function.promotes) = (used, promotes);
    Ok(jumps)
}

/// One more or one fewer loop from a slot on.
fn deepen(slots: &mut [Slot], slot: usize, by: i8) {
    if let Some(mark) = slots.get_mut(slot) {
        mark.deeper = mark.deeper.saturating_add(by);
    }
}
