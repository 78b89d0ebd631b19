//! The first look at a program: its functions, where jumps lead, where loops begin and end, and
//! whether `promote` has to look at it.

use alloc::vec;
use alloc::vec::Vec;

use super::Function;
use crate::insn::{Imm64, Insn, Reg};
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
    /// How many more loops it lies in than the one before (jumps backwards lead over it): a
    /// negative number behind a loop.
    pub(super) deeper: i8,
    /// How many jumps lead here; 255 stands for more.
    pub(super) targets: u8,
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
        if let Insn::CallLocal { offset }
        | Insn::LoadImm64 { value: Imm64::Func { offset }, .. } = *insn
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

/// Looks at one function; returns how many jumps it has.
fn body<E: Emitter>(
    resolver: &Resolver<'_>,
    function: &mut Function,
    slots: &mut [Slot],
) -> Result<usize, LoadError> {
    let (start, end) = (function.start as usize, function.end as usize);
    let insns = resolver.program.insns.get(start..end).unwrap_or_default();
    let (mut last_constant, mut jumps) = (None, 0);
    for (slot, insn) in (start..).zip(insns) {
        match *insn {
            Insn::LoadImm64 { .. } => last_constant = Some(slot),
            Insn::Jump { .. } | Insn::Branch { .. } | Insn::MayGoto { .. } => {
                let target = insn.jump_target(slot).unwrap_or_default();
                let target = resolver.target(slot, target - slot as i64 - 1)?;
                if let Some(mark) = slots.get_mut(target) {
                    mark.targets = mark.targets.saturating_add(1);
                }
                jumps += 1;
                if target <= slot {
                    function.promotes |= E::COMPARES_PLACES;
                    function.promotes |= last_constant.is_some_and(|at| at >= target);
                    deepen(slots, target, 1);
                    deepen(slots, slot + 1, -1);
                }
            }
            Insn::Load { base: Reg::R10, .. } | Insn::Store { base: Reg::R10, .. } => {
                function.promotes = true;
            }
            Insn::CallHelper { .. }
            | Insn::CallLocal { .. }
            | Insn::CallRegister { .. }
            | Insn::LoadAbs { .. }
            | Insn::LoadInd { .. } => function.calls = true,
            _ => {}
        }
    }
    Ok(jumps)
}

/// One more or one fewer loop from a slot on.
fn deepen(slots: &mut [Slot], slot: usize, by: i8) {
    if let Some(mark) = slots.get_mut(slot) {
        mark.deeper = mark.deeper.saturating_add(by);
    }
}
