//! Ends of loops that several ways share: `goto` a few operations and the branch behind them.
//!
//! A jump back to such a tail gets a copy of it instead. That saves a jump in each round, and the
//! machine foresees the branch for each way on its own. Where the branch does not jump, the copy
//! leads to what is behind the tail; `scan` counts that as a target.

use super::Front;
use crate::insn::{Insn, Operand, Reg};
use crate::jit::emitter::Emitter;
use crate::jit::ir::Op;
use crate::resolve::LoadError;
use crate::verifier::BranchFact;

/// Operations of a tail besides its branch.
const LONGEST: usize = 4;

/// The branch that ends the tail at the slot `start`, where a jump at the slot `from` behind it
/// leads to one. None whose branch may become a move under a condition (`select`).
pub(super) fn end(insns: &[Insn], start: usize, from: usize) -> Option<usize> {
    let tail = insns.get(start..from)?;
    let plain = |insn: &&Insn| match insn {
        Insn::Alu { dst, .. } | Insn::Mov { dst, src: Operand::Imm(_), .. } => *dst != Reg::R10,
        Insn::Mov { dst, src: Operand::Reg(src), .. } => ![*dst, *src].contains(&Reg::R10),
        _ => false,
    };
    let length = tail.iter().take(LONGEST).take_while(plain).count();
    let Some(Insn::Branch { offset, .. }) = tail.get(length) else { return None };
    let selects = match tail.get(length + 1..) {
        Some([Insn::Mov { .. }, behind, ..]) => matches!(behind, Insn::Jump { .. }) || *offset == 1,
        Some([]) | None => return None,
        _ => false,
    };
    (!selects).then_some(start + length)
}

impl<E: Emitter> Front<'_, E> {
    /// Lowers a jump: as a copy of the tail that it leads back to, if it does.
    pub(super) fn goto(&mut self, offset: i64) -> Result<(), LoadError> {
        if offset < 0 {
            let start = self.resolver.target(self.slot, offset)?;
            let end = end(&self.resolver.program.insns, start, self.slot);
            let over = Some(self.slot as u32 + 1);
            let turned =
                matches!(self.last(), Some(&Op::Branch { target, .. }) if Some(target) == over);
            if let Some(end) = end
                && !turned
                && let Some(left) = self.repeats.checked_sub(end + 1 - start)
            {
                self.repeats = left;
                return self.copy_tail(start, end);
            }
        }
        self.jump(offset)
    }

    /// Lowers the instructions of a tail once more, and goes on behind it.
    #[inline(never)]
    fn copy_tail(&mut self, start: usize, end: usize) -> Result<(), LoadError> {
        let program = self.resolver.program;
        let from = self.slot;
        for (slot, insn) in program.insns.iter().enumerate().take(end).skip(start) {
            self.slot = slot;
            self.arithmetic(insn);
        }
        self.slot = end;
        let fact = self.resolver.facts(end).map(|facts| facts.branch);
        if let Some(branch @ Insn::Branch { offset, .. }) = program.insns.get(end) {
            if fact == Some(BranchFact::Always) {
                let target = self.target(i64::from(*offset))?;
                self.leads_back(target as usize);
                self.slot = from;
                self.push(Op::Jump { target });
                return Ok(());
            }
            if fact != Some(BranchFact::Never) {
                let target = self.branch_to(branch)?;
                self.leads_back(target);
            }
        }
        self.slot = from;
        self.leads_back(end + 1);
        self.push(Op::Jump { target: end as u32 + 1 });
        Ok(())
    }
}
