//! Rotations whose instructions stand together: all of them become one operation at once
//! ([`crate::verifier::Form`]). What is written otherwise `simplify` finds in the operations.

use super::Front;
use super::simplify::bits;
use crate::insn::{AluOp, Insn, Operand, Reg};
use crate::jit::emitter::Emitter;
use crate::jit::ir::{Op, Place};

impl<E: Emitter> Front<'_, E> {
    /// Lowers the rotation of `value` that the instruction at hand begins, of so many instructions.
    pub(super) fn rotation(&mut self, value: Reg, length: usize) {
        let (slot, last) = (self.slot, self.slot + length - 1);
        let insns = &self.resolver.program.insns;
        let (
            Some(&Insn::Alu { width, op, src: Operand::Imm(by), .. }),
            Some(&Insn::Alu { dst, .. }),
        ) = (insns.get(slot + 1), insns.get(last))
        else {
            return;
        };
        let by = by as u32;
        let left = if op == AluOp::Lsh { by } else { bits(width) - by };
        self.takes(last);
        let (dst, src) = (Place::of(dst), self.known.operand(Place::of(value), width));
        self.push(Op::Rotate { width, dst, src, left: left as u8 });
    }
}
