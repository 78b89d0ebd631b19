//! Ends of loops that several ways share: `goto` a few operations and the branch behind them.
//!
//! A jump back to such a tail gets a copy of it instead. That saves a jump in each round, and the
//! machine foresees the branch for each way on its own. Where the branch does not jump, the copy
//! leads to what is behind the tail; `scan` counts that as a target.

use super::Front;
use crate::insn::{Insn, Operand, Reg};
use crate::jit::emitter::Emitter;
use crate::jit::ir::{Node, Op};
use crate::resolve::{LoadError, Resolver};
use crate::verifier::BranchFact;

/// Instructions of a tail besides its branch.
const LONGEST: usize = 4;

/// The branch that ends the tail at the slot `start`, where a jump at the slot `from` behind it
/// leads to one.
pub(super) fn end(resolver: &Resolver<'_>, start: usize, from: usize) -> Option<usize> {
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
    (reached && decides && !combines).then_some(end)
}

impl<E: Emitter> Front<'_, E> {
    /// Lowers a jump: as a copy of the tail that it leads back to, if it does.
    pub(super) fn goto(&mut self, offset: i64) -> Result<(), LoadError> {
        let nodes = self.nodes.len();
        self.jump(offset)?;
        if offset < 0
            && nodes < self.nodes.len()
            && let Some(&Op::Jump { target }) = self.last()
            && let Some(end) = end(self.resolver, target as usize, self.slot)
        {
            self.copy_tail(target as usize, end);
        }
        Ok(())
    }

    /// Puts the operations of a tail in the place of the jump to it, which was lowered last, and
    /// goes on behind it. What is known at its labels, nothing, is known anywhere.
    #[inline(never)]
    fn copy_tail(&mut self, start: usize, end: usize) {
        let label = self.scan.slots.get(start).map_or(0, |mark| mark.label as usize);
        let is_label = |node: &Node| matches!(node.op, Op::Label);
        let tail = self.nodes.get(label + 1..).unwrap_or_default();
        // No further than the tail goes: the search is made for every jump.
        let mut tail_only = tail.iter().take_while(|node| node.slot as usize <= end);
        let Some(length) = tail_only.position(|node| node.flow && !is_label(node)) else {
            return;
        };
        let Some(Node { op: Op::Branch { target, .. }, slot, .. }) = tail.get(length) else {
            return;
        };
        let (target, most) = (*target as usize, length + 1);
        if *slot as usize != end || most > self.repeats || self.nodes.try_reserve(most).is_err() {
            return;
        }
        self.nodes.pop();
        for index in label + 1..label + 1 + most {
            if let Some(&node) = self.nodes.get(index)
                && !is_label(&node)
            {
                self.nodes.push(node);
                self.repeats -= 1;
            }
        }
        if target <= self.slot {
            self.leads_back(target);
        }
        self.leads_back(end + 1);
        self.append(Op::Jump { target: end as u32 + 1 });
    }
}
