//! Which registers may still be read after each instruction, from the code alone.
//!
//! A register that no path reads before writing it need not be compared when states
//! are: it is the same whatever it holds. The analysis is the usual backward one over
//! each function's flow graph.

use alloc::vec::Vec;

use super::refusal::{Refusal, filled};
use crate::helper;
use crate::insn::{AtomicOp, Insn, Operand, Reg};

/// One bit per register.
pub(super) type RegSet = u16;

const fn bit(reg: Reg) -> RegSet {
    1 << reg as u8
}

/// r0 to r5, which calls overwrite.
pub(super) const SCRATCHED: RegSet = 0x3f;
/// r1 to r5.
const ARGUMENTS: RegSet = 0x3e;
/// r0 to r10.
const EVERY: RegSet = 0x7ff;
/// r6 to r10.
const KEPT: RegSet = 0x7c0;

fn operand(src: Operand) -> RegSet {
    match src {
        Operand::Reg(reg) => bit(reg),
        Operand::Imm(_) => 0,
    }
}

/// Registers that an instruction reads, and those that it overwrites.
pub(super) fn uses(insn: &Insn) -> (RegSet, RegSet) {
    match *insn {
        Insn::Alu { dst, src, .. } => (bit(dst) | operand(src), bit(dst)),
        Insn::Neg { dst, .. } | Insn::ByteOrder { dst, .. } => (bit(dst), bit(dst)),
        Insn::Mov { dst, src, .. } => (operand(src), bit(dst)),
        Insn::MovSx { dst, src, .. } | Insn::AddrSpaceCast { dst, src, .. } => (bit(src), bit(dst)),
        Insn::Load { dst, base, .. }
        | Insn::LoadSx { dst, base, .. }
        | Insn::LoadAcquire { dst, base, .. } => (bit(base), bit(dst)),
        Insn::Store { base, src, .. } => (bit(base) | operand(src), 0),
        Insn::StoreRelease { base, src, .. } => (bit(base) | bit(src), 0),
        Insn::Atomic { op, base, src, .. } => {
            let compare = if op == AtomicOp::CmpXchg { bit(Reg::R0) } else { 0 };
            let written = op.fetched_into(src).map_or(0, bit);
            (bit(base) | bit(src) | compare, written)
        }
        Insn::LoadImm64 { dst, .. } => (0, bit(dst)),
        Insn::WideTail | Insn::Jump { .. } | Insn::MayGoto { .. } => (0, 0),
        Insn::Branch { dst, src, .. } => (bit(dst) | operand(src), 0),
        Insn::CallHelper { id } => {
            let arguments = helper::by_id(id).map_or(5, |helper| helper.args.len());
            (((1 << arguments) - 1) << 1, SCRATCHED)
        }
        Insn::CallRegister { target } => (ARGUMENTS | bit(target), SCRATCHED),
        Insn::CallLocal { .. } | Insn::CallKfunc { .. } => (ARGUMENTS, SCRATCHED),
        Insn::Exit => (bit(Reg::R0), 0),
        // The context is in r6.
        Insn::LoadAbs { .. } => (bit(Reg::R6), SCRATCHED),
        Insn::LoadInd { src, .. } => (bit(Reg::R6) | bit(src), SCRATCHED),
    }
}

/// Rounds of the analysis: as many as loops are nested, and a few. A program whose jumps
/// lead back without end gets no better answer than that every register is live.
const MOST_ROUNDS: usize = 64;

/// For each slot, the registers of its own frame that are live before it.
pub(super) fn live_registers(insns: &[Insn]) -> Result<Vec<RegSet>, Refusal> {
    let mut live = filled(0 as RegSet, insns.len())?;
    for _ in 0..MOST_ROUNDS {
        let mut stale = false;
        // What is live where the walk has just been.
        let mut after: RegSet = 0;
        for (slot, insn) in insns.iter().enumerate().rev() {
            let target = |at: &[RegSet]| {
                let target = insn.jump_target(slot).and_then(|to| usize::try_from(to).ok());
                target.and_then(|to| at.get(to)).copied().unwrap_or(0)
            };
            let out = match insn {
                Insn::WideTail => continue,
                Insn::Exit => 0,
                Insn::Jump { .. } => target(&live),
                Insn::Branch { .. } | Insn::MayGoto { .. } => after | target(&live),
                _ => after,
            };
            let (read, written) = uses(insn);
            after = (out & !written) | read;
            live[slot] = after;
        }
        // Only where a jump leads back was something used that was not known yet.
        for (slot, insn) in insns.iter().enumerate() {
            if let Some(to) = insn.jump_target(slot)
                && to <= slot as i64
                && let Some(&wanted) = usize::try_from(to).ok().and_then(|to| live.get(to))
            {
                let (read, written) = uses(insn);
                stale |= ((wanted & !written) | read) & !live[slot] != 0;
            }
        }
        if !stale {
            return Ok(live);
        }
    }
    live.fill(EVERY);
    Ok(live)
}

/// What stays live in a frame while a function that it called runs.
pub(super) fn live_over_call(live: &[RegSet], insns: &[Insn], call_site: usize) -> RegSet {
    let next = call_site + insns.get(call_site).map_or(1, Insn::slots);
    live.get(next).copied().unwrap_or(KEPT) & KEPT
}
