//! Ends of loops that several ways share: `goto` a few operations and the branch behind them.
//!
//! A jump back to such a tail becomes a copy of it ([`crate::jit::repeat`]). That saves a jump in
//! each round, and the machine foresees the branch for each way on its own. Where the branch does
//! not jump, the copy leads to what is behind the tail; `scan` counts that as a target.

use super::Front;
use super::scan::Slot;
use crate::insn::{Insn, Operand, Reg};
use crate::jit::emitter::Emitter;
use crate::jit::ir::{Node, Op};
use crate::resolve::{LoadError, Resolver};
use crate::verifier::BranchFact;

/// Instructions of a tail besides its branch.
const LONGEST: usize = 4;

/// How many instructions the tail at the slot `start` has, with its branch, where a jump at the
/// slot `from` behind it leads to one.
pub(super) fn length(resolver: &Resolver<'_>, start: usize, from: usize) -> Option<u8> {
    let tail = resolver.program.insns.get(start..from)?;
    let plain = |insn: &&Insn| match insn {
        Insn::Alu { dst, .. } | Insn::Mov { dst, src: Operand::Imm(_), .. } => *dst != Reg::R10,
        Insn::Mov { dst, src: Operand::Reg(src), .. } => ![*dst, *src].contains(&Reg::R10),
        _ => false,
    };
    let length = tail.iter().take(LONGEST).take_while(plain).count();
    let [Insn::Branch { offset, .. }, next, behind @ ..] = tail.get(length..)? else { return None };
    // What may become a move under a condition (`select`), or a branch turned round (`jump`).
    let combines = *offset == 0
        || match next {
            Insn::Mov { .. } => *offset == 1 || matches!(behind, [Insn::Jump { .. }, ..]),
            Insn::Jump { .. } => *offset == 1,
            _ => false,
        };
    // On the way to the tail, and one that was proved neither to jump always nor never.
    let reached = resolver.facts(from).is_none_or(|facts| facts.reached);
    let end = start + length;
    let decides = resolver.facts(end).is_none_or(|facts| facts.branch == BranchFact::Both);
    (reached && decides && !combines).then_some(length as u8 + 1)
}

impl<E: Emitter> Front<'_, E> {
    /// Lowers a jump: as one that a copy of the tail can stand for that it leads back to, if it
    /// does.
    pub(super) fn goto(&mut self, offset: i64) -> Result<(), LoadError> {
        let nodes = self.nodes.len();
        self.jump(offset)?;
        if offset < 0
            && nodes < self.nodes.len()
            && let Some(Node { op: Op::Jump { target, tail }, .. }) = self.nodes.last_mut()
            && let Some(&Slot { tail: length @ 1.., .. }) = self.scan.slots.get(self.slot)
            && let Some(left) = self.repeats.checked_sub(length.into())
        {
            self.repeats = left;
            *tail = Some(*target + u32::from(length) - 1);
        }
        Ok(())
    }
}
