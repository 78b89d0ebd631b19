//! The shape of a program before any path is followed: its functions, where jumps
//! lead, that every instruction can be reached, and where paths join.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::refusal::{Refusal, filled};
use super::rejection::Cause;
use crate::insn::{Imm64, Insn};

/// What the structure says about a program.
pub(super) struct Cfg {
    /// First slots of the functions, sorted; the first is 0.
    pub(super) subprograms: Vec<u32>,
    /// Index of the function of each slot.
    pub(super) function_of: Vec<u32>,
    /// Where states are compared: where paths join and where they part.
    pub(super) prune_point: Vec<bool>,
}

impl Cfg {
    /// First slot and one past the last of a function.
    pub(super) fn bounds(&self, subprogram: u32) -> (usize, usize) {
        let at = subprogram as usize;
        let start = self.subprograms.get(at).copied().unwrap_or(0) as usize;
        let end = self.subprograms.get(at + 1).map_or(self.function_of.len(), |&end| end as usize);
        (start, end)
    }

    /// The function that starts at a slot.
    pub(super) fn subprogram_at(&self, slot: usize) -> Option<u32> {
        let at = self.subprograms.binary_search(&u32::try_from(slot).ok()?).ok()?;
        u32::try_from(at).ok()
    }
}

/// Slots that may run after a slot, within its function, in no particular order.
pub(super) fn successors(insns: &[Insn], slot: usize) -> (Option<usize>, Option<usize>) {
    let Some(insn) = insns.get(slot) else { return (None, None) };
    let target = insn.jump_target(slot).and_then(|target| usize::try_from(target).ok());
    let next = slot + insn.slots();
    match insn {
        Insn::Exit => (None, None),
        Insn::Jump { .. } => (target, None),
        Insn::Branch { .. } | Insn::MayGoto { .. } => (target, Some(next)),
        _ => (Some(next), None),
    }
}

/// Checks the structure.
pub(super) fn build(insns: &[Insn], loops_allowed: bool) -> Result<Cfg, Refusal> {
    check_wide_loads(insns)?;
    let subprograms = find_subprograms(insns)?;
    let mut function_of = filled(0, insns.len())?;
    function_of.clear();
    for index in 0..subprograms.len() {
        let end = subprograms.get(index + 1).map_or(insns.len(), |&end| end as usize);
        function_of.resize(end, index as u32);
    }
    let mut cfg = Cfg { subprograms, function_of, prune_point: filled(false, insns.len())? };
    check_jumps(insns, &cfg)?;
    check_ends(insns, &cfg)?;
    check_reachable(insns)?;
    if !loops_allowed {
        check_back_edges(insns)?;
    }
    mark_prune_points(insns, &mut cfg)?;
    Ok(cfg)
}

fn is_tail(insn: &Insn) -> bool {
    matches!(insn, Insn::WideTail)
}

/// Each 16-byte load takes two slots, and nothing else does. Decoding sees to that; a
/// program may also be built by hand.
fn check_wide_loads(insns: &[Insn]) -> Result<(), Refusal> {
    for (slot, insn) in insns.iter().enumerate() {
        let wide = insn.slots() == 2;
        let tail = insns.get(slot + 1).is_some_and(is_tail);
        if wide != tail || (slot == 0 && is_tail(insn)) {
            return Err(Refusal::at(
                slot,
                Cause::BadInstruction,
                "a 16-byte load takes two slots".into(),
            ));
        }
    }
    Ok(())
}

fn find_subprograms(insns: &[Insn]) -> Result<Vec<u32>, Refusal> {
    let mut starts = vec![0u32];
    for (slot, insn) in insns.iter().enumerate() {
        let offset = match insn {
            Insn::CallLocal { offset } => *offset,
            Insn::LoadImm64 { value: Imm64::Func { offset }, .. } => *offset,
            _ => continue,
        };
        let target = slot as i64 + 1 + i64::from(offset);
        let valid = usize::try_from(target)
            .ok()
            .filter(|&at| insns.get(at).is_some_and(|insn| !is_tail(insn)));
        let Some(at) = valid else {
            return Err(Refusal::at(
                slot,
                Cause::BadJump,
                format!(
                    "the called function starts at {target}, which is no instruction of this program"
                ),
            ));
        };
        starts.push(at as u32);
    }
    starts.sort_unstable();
    starts.dedup();
    if starts.len() > 256 {
        return Err(Refusal::program(Cause::ProgramSize, "more than 256 functions".into()));
    }
    Ok(starts)
}

fn check_jumps(insns: &[Insn], cfg: &Cfg) -> Result<(), Refusal> {
    for (slot, insn) in insns.iter().enumerate() {
        let Some(target) = insn.jump_target(slot) else { continue };
        let inside = usize::try_from(target)
            .ok()
            .filter(|&at| cfg.function_of.get(at) == cfg.function_of.get(slot));
        let Some(at) = inside else {
            return Err(Refusal::at(
                slot,
                Cause::BadJump,
                format!(
                    "jump out of range: from instruction {slot} to {target}, outside its function"
                ),
            ));
        };
        if insns.get(at).is_some_and(is_tail) {
            return Err(Refusal::at(
                slot,
                Cause::BadJump,
                format!("jump into the middle of the 16-byte load at {}", at - 1),
            ));
        }
    }
    Ok(())
}

/// The last instruction of each function must not run on into the next one.
fn check_ends(insns: &[Insn], cfg: &Cfg) -> Result<(), Refusal> {
    for index in 0..cfg.subprograms.len() {
        let (start, end) = cfg.bounds(index as u32);
        let last = insns.get(start..end).and_then(<[Insn]>::last);
        if !matches!(last, Some(Insn::Exit | Insn::Jump { .. })) {
            return Err(Refusal::at(
                end.saturating_sub(1),
                Cause::FallsThrough,
                "the last instruction of a function must be an exit or a jump".into(),
            )
            .hint("end every path with `exit`"));
        }
    }
    Ok(())
}

/// The function that an instruction calls, or takes the address of: its first slot.
fn entered_by(insn: &Insn, slot: usize) -> Option<usize> {
    match insn {
        Insn::CallLocal { offset } | Insn::LoadImm64 { value: Imm64::Func { offset }, .. } => {
            usize::try_from(slot as i64 + 1 + i64::from(*offset)).ok()
        }
        _ => None,
    }
}

/// Every instruction must be reachable from the entry.
fn check_reachable(insns: &[Insn]) -> Result<(), Refusal> {
    let mut reached = filled(false, insns.len())?;
    let mut starts = vec![0usize];
    while let Some(start) = starts.pop() {
        // On along the straight way; what parts from it comes later.
        let mut slot = start;
        while let (Some(insn), Some(mark)) = (insns.get(slot), reached.get_mut(slot)) {
            if core::mem::replace(mark, true) {
                break;
            }
            let target = insn.jump_target(slot).and_then(|target| usize::try_from(target).ok());
            match insn {
                Insn::Exit => break,
                Insn::Jump { .. } => {
                    let Some(target) = target else { break };
                    slot = target;
                    continue;
                }
                Insn::Branch { .. } | Insn::MayGoto { .. } => starts.extend(target),
                _ => starts.extend(entered_by(insn, slot)),
            }
            slot += insn.slots();
        }
    }
    match reached.iter().zip(insns).position(|(&reached, insn)| !reached && !is_tail(insn)) {
        None => Ok(()),
        Some(slot) => Err(Refusal::at(
            slot,
            Cause::Unreachable,
            format!("unreachable insn {slot}: no path leads here"),
        )
        .hint("remove the dead code, or the jump that skips it")),
    }
}

/// No path may lead back to where it came from.
fn check_back_edges(insns: &[Insn]) -> Result<(), Refusal> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = filled(Mark::New, insns.len())?;
    let entered = insns.iter().enumerate().filter_map(|(slot, insn)| entered_by(insn, slot));
    for root in core::iter::once(0).chain(entered) {
        let mut work = vec![(root, false)];
        while let Some((slot, leaving)) = work.pop() {
            if leaving {
                marks[slot] = Mark::Done;
                continue;
            }
            if marks[slot] != Mark::New {
                continue;
            }
            marks[slot] = Mark::Open;
            work.push((slot, true));
            let (first, second) = successors(insns, slot);
            for next in [second, first].into_iter().flatten() {
                match marks.get(next) {
                    Some(Mark::New) => work.push((next, false)),
                    Some(Mark::Open) if next <= slot => {
                        return Err(Refusal::at(
                            slot,
                            Cause::InfiniteLoop,
                            format!(
                                "back-edge from insn {slot} to {next}: unprivileged programs may not loop"
                            ),
                        ));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

fn mark_prune_points(insns: &[Insn], cfg: &mut Cfg) -> Result<(), Refusal> {
    // Where one jump leads already.
    let mut entered = filled(false, insns.len())?;
    for (slot, insn) in insns.iter().enumerate() {
        if matches!(
            insn,
            Insn::Branch { .. }
                | Insn::MayGoto { .. }
                | Insn::CallLocal { .. }
                | Insn::CallKfunc { .. }
        ) {
            cfg.prune_point[slot] = true;
        }
        let Some(target) = insn.jump_target(slot).and_then(|at| usize::try_from(at).ok()) else {
            continue;
        };
        let before = match target.checked_sub(1).and_then(|at| insns.get(at)) {
            Some(Insn::Exit | Insn::Jump { .. }) | None => false,
            Some(_) => true,
        };
        let (Some(point), Some(entered)) =
            (cfg.prune_point.get_mut(target), entered.get_mut(target))
        else {
            continue;
        };
        // Paths join, or a loop may start where a jump leads back.
        if before || *entered || target <= slot {
            *point = true;
        }
        *entered = true;
    }
    Ok(())
}
