//! Which registers may still be read after each instruction, from the code alone.
//!
//! A register that no path reads before writing it need not be compared when states
//! are: it is the same whatever it holds. The analysis is the usual backward one over
//! each function's flow graph. Compilers go by it too ([`super::Proof::live`]), and by which
//! registers a function names at all.

use crate::helper::{self, HelperProto};
use crate::insn::{AtomicOp, Insn, Operand, Reg};

/// One bit per register.
pub(crate) type RegSet = u16;

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
pub(crate) fn uses(insn: &Insn) -> (RegSet, RegSet) {
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
            let arguments = helper::by_id(id).map_or(5, HelperProto::registers);
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

/// The registers that instructions read or write; and whether they use the frame pointer for
/// more than as the base of an access.
pub(super) fn named(insns: &[Insn]) -> (RegSet, bool) {
    let (mut registers, mut frame_address) = (0, false);
    for insn in insns {
        let (read, written) = uses(insn);
        registers |= read | written;
        if (read | written) & bit(Reg::FP) != 0 {
            frame_address |= match *insn {
                Insn::Load { .. } | Insn::LoadSx { .. } | Insn::LoadAcquire { .. } => false,
                Insn::Store { src, .. } => src == Operand::Reg(Reg::FP),
                Insn::StoreRelease { src, .. } | Insn::Atomic { src, .. } => src == Reg::FP,
                _ => true,
            };
        }
    }
    (registers, frame_address)
}

/// Rounds of the analysis: as many as loops are nested, and a few. A program whose jumps
/// lead back without end gets no better answer than that every register is live.
const MOST_ROUNDS: usize = 64;

/// Writes for each slot the registers of its own frame that are live before it to `live`, which
/// has a zero for each. `uses` says what an instruction reads and overwrites.
pub(crate) fn live_registers(
    insns: &[Insn],
    uses: impl Fn(&Insn) -> (RegSet, RegSet),
    live: &mut [RegSet],
) {
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
                Insn::Jump { .. } => target(live),
                Insn::Branch { .. } | Insn::MayGoto { .. } => after | target(live),
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
            return;
        }
    }
    live.fill(EVERY);
}

/// What stays live in a frame while a function that it called runs.
pub(super) fn live_over_call(live: &[RegSet], insns: &[Insn], call_site: usize) -> RegSet {
    let next = call_site + insns.get(call_site).map_or(1, Insn::slots);
    live.get(next).copied().unwrap_or(KEPT) & KEPT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asm::assemble;

    fn insns(text: &str) -> alloc::vec::Vec<Insn> {
        assemble(text).expect("text that assembles")
    }

    #[test]
    fn what_a_later_round_reads_is_live_in_the_one_before() {
        let insns = insns(
            "r2 = 1
             r3 = 9
             again: r2 += 1
             r4 = r2
             r3 += -1
             if r3 != 0 goto again
             r0 = 0
             exit",
        );
        let mut live = [0; 8];
        live_registers(&insns, uses, &mut live);
        let round = bit(Reg::R2) | bit(Reg::R3);
        assert_eq!(live, [0, bit(Reg::R2), round, round, round, round, 0, bit(Reg::R0)]);
    }

    #[test]
    fn the_base_of_an_access_does_not_take_the_frames_address() {
        let accesses = insns(
            "*(u64 *)(r10 - 8) = r1
             *(u32 *)(r10 - 16) = 7
             r2 = *(u8 *)(r10 - 8)
             r3 = *(s16 *)(r10 - 8)
             lock *(u64 *)(r10 - 8) += r4",
        );
        let registers = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R10].map(bit);
        assert_eq!(named(&accesses), (registers.iter().sum(), false));
        for taken in ["r2 = r10", "r2 += r10", "if r2 > r10 goto +0", "*(u64 *)(r10 - 8) = r10"] {
            assert!(named(&insns(taken)).1, "{taken}");
        }
    }
}
