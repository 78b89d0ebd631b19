//! Ends of loops that several ways share: `goto` a few operations and the branch behind them.
//!
//! A jump back to such a tail becomes a copy of it ([`crate::jit::repeat`]). That saves a jump in
//! each round, and the machine foresees the branch for each way on its own. Where the branch does
//! not jump, the copy leads to what is behind the tail: [`Mark::targets`] counts it.

use super::Front;
use crate::jit::emitter::Emitter;
use crate::jit::ir::{Node, Op};
use crate::resolve::LoadError;
use crate::verifier::Mark;

impl<E: Emitter> Front<'_, E> {
    /// Lowers a jump: as one that a copy of the tail can stand for that it leads back to, if it
    /// does.
    pub(super) fn goto(&mut self, offset: i64) -> Result<(), LoadError> {
        let nodes = self.nodes.len();
        self.jump(offset)?;
        if offset < 0
            && nodes < self.nodes.len()
            && let Some(Node { op: Op::Jump { target, tail }, .. }) = self.nodes.last_mut()
            && let Some(&Mark { tail: length @ 1.., .. }) = self.shape.marks.get(self.slot)
            && let Some(left) = self.repeats.checked_sub(length.into())
        {
            self.repeats = left;
            *tail = Some(*target + u32::from(length) - 1);
        }
        Ok(())
    }
}
