//! Which registers may still be read after each instruction, from the code alone.
//!
//! A register that no path reads before writing it need not be compared when states
//! are: it is the same whatever it holds. The analysis is the usual backward one over
//! each function's flow graph.

use alloc::vec;
use alloc::vec::Vec;

use super::cfg::successors;
use crate::helper;
use crate::insn::{AtomicOp, Insn, Operand, Reg};

/// One bit per register.
pub(super) type RegSet = u16;

const fn bit(reg: Reg) -> RegSet {
    1 << reg as u8
}

/// r0 to r5, which calls overwrite.
const SCRATCHED: RegSet = 0x3f;
/// r1 to r5.
const ARGUMENTS: RegSet = 0x3e;
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

/// For each slot, the registers of its own frame that are live before it.
pub(super) fn live_registers(insns: &[Insn]) -> Vec<RegSet> {
    let mut live = vec![0 as RegSet; insns.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for slot in (0..insns.len()).rev() {
            let insn = &insns[slot];
            if *insn == Insn::WideTail {
                continue;
            }
            let (first, second) = successors(insns, slot);
            let mut after = 0;
            for next in [first, second].into_iter().flatten() {
                after |= live.get(next).copied().unwrap_or(0);
            }
            let (read, written) = uses(insn);
            let before = (after & !written) | read;
            if before != live[slot] {
                live[slot] = before;
                changed = true;
            }
        }
    }
    live
}

/// What stays live in a frame while a function that it called runs.
pub(super) fn live_over_call(live: &[RegSet], insns: &[Insn], call_site: usize) -> RegSet {
    let next = call_site + insns.get(call_site).map_or(1, Insn::slots);
    live.get(next).copied().unwrap_or(KEPT) & KEPT
}
