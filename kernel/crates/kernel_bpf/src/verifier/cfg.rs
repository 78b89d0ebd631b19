//! The shape of a program before any path is followed: its functions, where jumps
//! lead, that every instruction can be reached, and where paths join.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::refusal::Refusal;
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
    let mut function_of = Vec::with_capacity(insns.len());
    for (index, &start) in subprograms.iter().enumerate() {
        let end = subprograms.get(index + 1).map_or(insns.len(), |&end| end as usize);
        for _ in start as usize..end {
            function_of.push(index as u32);
        }
    }
    let mut cfg = Cfg { subprograms, function_of, prune_point: vec![false; insns.len()] };
    check_jumps(insns, &cfg)?;
    check_ends(insns, &cfg)?;
    check_reachable(insns, &cfg, loops_allowed)?;
    mark_prune_points(insns, &mut cfg);
    Ok(cfg)
}

/// Each 16-byte load takes two slots, and nothing else does. Decoding sees to that; a
/// program may also be built by hand.
fn check_wide_loads(insns: &[Insn]) -> Result<(), Refusal> {
    for (slot, insn) in insns.iter().enumerate() {
        let wide = insn.slots() == 2;
        let tail = insns.get(slot + 1) == Some(&Insn::WideTail);
        if wide != tail || (slot == 0 && *insn == Insn::WideTail) {
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
            .filter(|&at| insns.get(at).is_some_and(|insn| *insn != Insn::WideTail));
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
        if insns.get(at) == Some(&Insn::WideTail) {
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

/// Every instruction must be reachable from the entry; without `loops_allowed`, no
/// path may lead back.
fn check_reachable(insns: &[Insn], cfg: &Cfg, loops_allowed: bool) -> Result<(), Refusal> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; insns.len()];
    let mut roots = vec![0usize];
    // A work list per function; what a function calls becomes a root of its own.
    while let Some(root) = roots.pop() {
        if marks.get(root) != Some(&Mark::New) {
            continue;
        }
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
            match insns[slot] {
                Insn::CallLocal { offset }
                | Insn::LoadImm64 { value: Imm64::Func { offset }, .. } => {
                    roots.push((slot as i64 + 1 + i64::from(offset)) as usize);
                }
                _ => {}
            }
            let (first, second) = successors(insns, slot);
            for next in [second, first].into_iter().flatten() {
                match marks.get(next) {
                    Some(Mark::New) => work.push((next, false)),
                    Some(Mark::Open) if !loops_allowed && next <= slot => {
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
    for (slot, mark) in marks.iter().enumerate() {
        if *mark == Mark::New && insns[slot] != Insn::WideTail {
            return Err(Refusal::at(
                slot,
                Cause::Unreachable,
                format!("unreachable insn {slot}: no path leads here"),
            )
            .hint("remove the dead code, or the jump that skips it"));
        }
    }
    let _ = cfg;
    Ok(())
}

fn mark_prune_points(insns: &[Insn], cfg: &mut Cfg) {
    let mut entries = vec![0u8; insns.len()];
    for (slot, insn) in insns.iter().enumerate() {
        if *insn == Insn::WideTail {
            continue;
        }
        let (first, second) = successors(insns, slot);
        for next in [first, second].into_iter().flatten() {
            if let Some(count) = entries.get_mut(next) {
                *count = count.saturating_add(1);
            }
        }
        if matches!(
            insn,
            Insn::Branch { .. }
                | Insn::MayGoto { .. }
                | Insn::CallLocal { .. }
                | Insn::CallKfunc { .. }
        ) {
            cfg.prune_point[slot] = true;
        }
        // Where a backward jump leads, a loop may start.
        if let Some(target) = insn.jump_target(slot)
            && target <= slot as i64
            && let Some(point) = cfg.prune_point.get_mut(target as usize)
        {
            *point = true;
        }
    }
    for (slot, count) in entries.into_iter().enumerate() {
        if count > 1 {
            cfg.prune_point[slot] = true;
        }
    }
}
