//! The first look at a program: its functions, where jumps lead, where loops begin and end.

use alloc::vec;
use alloc::vec::Vec;

use crate::insn::{Imm64, Insn, Reg};
use crate::jit::emitter::Emitter;
use crate::resolve::{LoadError, Resolver};

/// One function of the program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    /// First slot.
    pub(super) start: usize,
    /// One past its last slot.
    pub(super) end: usize,
}

/// What the first look found.
pub(super) struct Scan {
    /// For each slot, how many jumps lead there; 255 stands for more.
    pub(super) targets: Vec<u8>,
    /// Sorted; the main function is the first.
    pub(super) spans: Vec<Span>,
    /// The number of jumps.
    pub(super) jumps: usize,
    /// For each slot, how many more loops it lies in than the one before (jumps backwards lead
    /// over it): a negative number behind a loop. Empty when there are no loops.
    pub(super) deeper: Vec<i16>,
    /// It accesses its stack, or loads constants in loops.
    pub(super) promotes: bool,
}

pub(super) fn scan<E: Emitter>(resolver: &Resolver<'_>) -> Result<Scan, LoadError> {
    let insns = &resolver.program.insns;
    let mut targets = vec![0u8; insns.len()];
    let mut spans: Vec<Span> = vec![Span::default()];
    let (mut promotes, mut jumps) = (false, 0);
    let mut deeper = Vec::new();
    let mut last_constant = None;
    for (slot, insn) in insns.iter().enumerate() {
        match *insn {
            Insn::CallLocal { offset } | Insn::LoadImm64 { value: Imm64::Func { offset }, .. } => {
                let start = resolver.target(slot, i64::from(offset))?;
                if !spans.iter().any(|span| span.start == start) {
                    spans.push(Span { start, end: 0 });
                }
            }
            Insn::LoadImm64 { .. } => last_constant = Some(slot),
            Insn::Jump { .. } | Insn::Branch { .. } | Insn::MayGoto { .. } => {
                let target = insn.jump_target(slot).unwrap_or_default();
                let target = resolver.target(slot, target - slot as i64 - 1)?;
                if let Some(mark) = targets.get_mut(target) {
                    *mark = mark.saturating_add(1);
                }
                jumps += 1;
                if target <= slot {
                    promotes |= E::COMPARES_PLACES;
                    promotes |= last_constant.is_some_and(|at| at >= target);
                    if deeper.is_empty() {
                        deeper = vec![0; insns.len() + 1];
                    }
                    change(&mut deeper, target, 1);
                    change(&mut deeper, slot + 1, -1);
                }
            }
            Insn::Load { base: Reg::R10, .. } | Insn::Store { base: Reg::R10, .. } => {
                promotes = true;
            }
            _ => {}
        }
    }
    spans.sort_unstable_by_key(|span| span.start);
    let mut end = insns.len();
    for span in spans.iter_mut().rev() {
        (span.end, end) = (end, span.start);
    }
    Ok(Scan { targets, spans, jumps, deeper, promotes })
}

/// One more or one fewer loop from a slot on.
fn change(deeper: &mut [i16], slot: usize, by: i16) {
    if let Some(change) = deeper.get_mut(slot) {
        *change = change.saturating_add(by);
    }
}
