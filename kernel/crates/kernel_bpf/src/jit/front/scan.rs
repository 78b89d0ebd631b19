//! The first look at a program: its functions, where jumps lead, how deep loops nest.

use alloc::vec;
use alloc::vec::Vec;

use crate::insn::{Imm64, Insn, Operand, Reg};
use crate::resolve::{LoadError, Resolver};

/// One function of the program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    /// First slot.
    pub(super) start: usize,
    /// One past its last slot.
    pub(super) end: usize,
    /// The registers that its instructions name, by number.
    pub(super) named: u16,
    /// It calls helpers or functions.
    pub(super) calls: bool,
    /// It accesses its stack.
    pub(super) stack: bool,
}

/// What the first look found.
pub(super) struct Scan {
    /// For each slot, whether a jump leads there.
    pub(super) targets: Vec<bool>,
    /// Sorted; the main function is the first.
    pub(super) spans: Vec<Span>,
    /// For each slot, in how many loops it lies (jumps backwards over it); empty when nothing
    /// needs it.
    pub(super) depth: Vec<u8>,
}

/// Loops deeper than this count as this.
const DEEPEST: i32 = 4;

pub(super) fn scan(resolver: &Resolver<'_>) -> Result<Scan, LoadError> {
    let insns = &resolver.program.insns;
    let mut targets = vec![false; insns.len()];
    let mut starts: Vec<usize> = vec![0];
    let mut loops: Vec<(usize, usize)> = Vec::new();
    let mut stack = false;
    for (slot, insn) in insns.iter().enumerate() {
        match *insn {
            Insn::CallLocal { offset } | Insn::LoadImm64 { value: Imm64::Func { offset }, .. } => {
                let start = resolver.target(slot, i64::from(offset))?;
                if !starts.contains(&start) {
                    starts.push(start);
                }
            }
            Insn::Jump { .. } | Insn::Branch { .. } | Insn::MayGoto { .. } => {
                let target = insn.jump_target(slot).unwrap_or_default();
                let target = resolver.target(slot, target - slot as i64 - 1)?;
                if let Some(mark) = targets.get_mut(target) {
                    *mark = true;
                }
                if target <= slot {
                    loops.push((target, slot));
                }
            }
            Insn::Load { base: Reg::R10, .. } | Insn::Store { base: Reg::R10, .. } => stack = true,
            _ => {}
        }
    }
    starts.sort_unstable();
    let ends = starts.iter().skip(1).copied().chain([insns.len()]);
    let mut spans: Vec<Span> = starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| Span { start, end, ..Span::default() })
        .collect();
    let mut depth = Vec::new();
    if stack {
        depth = depths(insns.len(), &loops);
        for span in &mut spans {
            name(insns, span);
        }
    }
    Ok(Scan { targets, spans, depth })
}

fn depths(slots: usize, loops: &[(usize, usize)]) -> Vec<u8> {
    let mut change = vec![0i32; slots + 1];
    for &(start, end) in loops {
        if let Some(at) = change.get_mut(start) {
            *at += 1;
        }
        if let Some(at) = change.get_mut(end + 1) {
            *at -= 1;
        }
    }
    let mut depth = 0;
    let deeper = |change: &i32| {
        depth += change;
        depth.clamp(0, DEEPEST) as u8
    };
    change.iter().take(slots).map(deeper).collect()
}

/// Fills in which registers a function names and what it does.
fn name(insns: &[Insn], span: &mut Span) {
    let bit = |register: Reg| 1u16 << register as u8;
    let operand = |operand: Operand| match operand {
        Operand::Reg(register) => bit(register),
        Operand::Imm(_) => 0,
    };
    for insn in insns.get(span.start..span.end).unwrap_or_default() {
        span.named |= match *insn {
            Insn::Alu { dst, src, .. } | Insn::Mov { dst, src, .. } => bit(dst) | operand(src),
            Insn::Branch { dst, src, .. } => bit(dst) | operand(src),
            Insn::Neg { dst, .. } | Insn::ByteOrder { dst, .. } | Insn::LoadImm64 { dst, .. } => {
                bit(dst)
            }
            Insn::MovSx { dst, src, .. } | Insn::AddrSpaceCast { dst, src, .. } => {
                bit(dst) | bit(src)
            }
            Insn::Load { dst, base, .. }
            | Insn::LoadSx { dst, base, .. }
            | Insn::LoadAcquire { dst, base, .. } => bit(dst) | bit(base),
            Insn::Store { base, src, .. } => bit(base) | operand(src),
            Insn::StoreRelease { base, src, .. } => bit(base) | bit(src),
            Insn::Atomic { base, src, .. } => bit(base) | bit(src) | bit(Reg::R0),
            Insn::CallHelper { .. }
            | Insn::CallLocal { .. }
            | Insn::CallRegister { .. }
            | Insn::CallKfunc { .. }
            | Insn::LoadAbs { .. }
            | Insn::LoadInd { .. } => {
                span.calls = true;
                0x3f | bit(Reg::R6)
            }
            Insn::WideTail | Insn::Jump { .. } | Insn::MayGoto { .. } => 0,
            Insn::Exit => bit(Reg::R0),
        };
        if let Insn::CallRegister { target } | Insn::LoadInd { src: target, .. } = *insn {
            span.named |= bit(target);
        }
    }
    span.stack = span.named & bit(Reg::R10) != 0;
}
