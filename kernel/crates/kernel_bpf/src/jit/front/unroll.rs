//! Loops of one basic block that make a known number of rounds: several rounds for each jump back.
//!
//! Such a loop begins at a label that only its own branch leads back to. It has one way in, on
//! which a place, its counter, has got a constant, and goes round until the counter, to which each
//! round adds one constant, equals another. So the number of rounds is known, and if 8, 4 or 2
//! divides it, the body is repeated as often before the branch: between the repetitions the branch
//! would lead back to the label each time. What is known at the label is known at each repetition.
//!
//! Programs whose constants are blinded have no such loops: what their places get is not seen.

use super::Front;
use crate::insn::{AluOp, Cond, Width};
use crate::jit::emitter::Emitter;
use crate::jit::ir::{Node, Op, Place, Source};

/// Rounds for one jump, the best first.
const ROUNDS: [usize; 3] = [8, 4, 2];
/// Operations that a loop may have with all its repetitions, so that its code stays small.
const LONGEST: usize = 32;
/// How far before the loop its counter may get its constant.
const BEFORE: usize = 16;

/// What the repetitions of a program may come to in operations, with the instructions of copies of
/// tails, so that one that is nothing but short loops does not get several times as long.
pub(super) const fn room(slots: usize) -> usize {
    slots / 2 + LONGEST
}

impl<E: Emitter> Front<'_, E> {
    /// Repeats the body of the loop that the branch back to the slot `head`, which has just been
    /// appended, closes; if it is one of those.
    #[inline(never)]
    pub(super) fn unroll(&mut self, head: u32) {
        // It is the last label, or the loop is not of one basic block.
        if self.jumps_here != 1 {
            return;
        }
        let Some((branch, before)) = self.nodes.split_last() else { return };
        let Some(length) = body(before, head) else { return };
        let (before, body) = before.split_at(before.len() - length);
        let Some(rounds) = rounds(branch.op, body, before) else { return };
        let fits = |times: &&usize| {
            rounds.is_multiple_of(**times as u64)
                && length * **times <= LONGEST
                && length * (**times - 1) <= self.repeats
        };
        let Some(times) = ROUNDS.iter().find(fits) else { return };
        let (branch, more) = (*branch, times - 1);
        self.repeats -= length * more;
        let end = body.last().map_or(head, |node| node.slot);
        self.nodes.pop();
        let rounds = Op::Rounds { start: head, more: more as u32 };
        self.nodes.extend([Node::new(rounds, end), branch]);
    }
}

/// The length of the body at the end of `nodes`, behind the label of the slot `head`, if it is one
/// basic block without calls and not too long.
fn body(nodes: &[Node], head: u32) -> Option<usize> {
    let plain = |node: &&Node| {
        node.pure || matches!(node.op, Op::Store { .. } | Op::Atomic { .. } | Op::Nop)
    };
    let length = nodes.iter().rev().take(LONGEST / 2 + 1).take_while(plain).count();
    let label = nodes.get(nodes.len().checked_sub(length + 1)?)?;
    (matches!(label.op, Op::Label) && label.slot == head).then_some(length)
}

/// How many rounds the loop makes that `branch` closes; `before` ends with its label.
fn rounds(branch: Op, body: &[Node], before: &[Node]) -> Option<u64> {
    let Op::Branch { width, cond: Cond::Ne, a: counter, b: Source::Imm(end), .. } = branch else {
        return None;
    };
    let step = step(width, counter, body)?;
    let (_, before) = before.split_last()?;
    let start = constant(counter, before)?;
    // As signed numbers of 64 bits. Where the way from one to the other has no overflow there, it
    // has none that matters: all numbers between them are different in the loop's width too.
    let (start, end) = match width {
        Width::W64 => (start as i64, i64::from(end)),
        Width::W32 => (i64::from(start as u32), i64::from(end as u32)),
    };
    let way = end.checked_sub(start)?;
    let exact = way.checked_rem(step)? == 0;
    u64::try_from(way.checked_div(step)?).ok().filter(|&rounds| exact && rounds != 0)
}

/// What a round adds to the counter, if it does that once and nothing else to it.
fn step(width: Width, counter: Place, body: &[Node]) -> Option<i64> {
    let mut writers = body.iter().filter(|node| node.writes & counter.bit() != 0);
    let (writer, None) = (writers.next()?, writers.next()) else { return None };
    match writer.op {
        Op::Alu { width: same, op: AluOp::Add, dst, a, b: Source::Imm(step), .. }
            if same == width && dst == a =>
        {
            Some(i64::from(step))
        }
        _ => None,
    }
}

/// The constant that a place holds at the end of `nodes`, if it has got one in their last basic
/// block.
fn constant(place: Place, nodes: &[Node]) -> Option<u64> {
    let block = nodes.iter().rev().take(BEFORE).take_while(|node| !node.flow);
    let writer = block.into_iter().find(|node| node.writes & place.bit() != 0)?;
    match writer.op {
        Op::Constant { value, .. } => Some(value),
        _ => None,
    }
}
