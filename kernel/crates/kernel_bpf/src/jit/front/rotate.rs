//! Rotations in the form that compilers give them where nothing else wants the value any more: a
//! copy, a shift of it and one of the value in opposite directions, and the or of both. All four
//! become one operation at once. What is written otherwise `simplify` finds in the operations.

use super::Front;
use super::simplify::bits;
use crate::insn::{AluOp, Insn, Operand, Reg, Width};
use crate::jit::emitter::Emitter;
use crate::jit::ir::{Op, Place};

impl<E: Emitter> Front<'_, E> {
    /// Lowers `copy = value`, a move of so many bits, with what makes a rotation of it, if it is
    /// one.
    #[inline(never)]
    pub(super) fn rotation(&mut self, moved: Width, copy: Reg, value: Reg) -> bool {
        let (slot, program) = (self.slot, self.resolver.program);
        let Some(
            [
                Insn::Alu { width, op: one, dst: first, src: Operand::Imm(by) },
                Insn::Alu { width: again, op: other, dst: second, src: Operand::Imm(further) },
                Insn::Alu { width: joined, op: AluOp::Or, dst, src: Operand::Reg(from) },
            ],
        ) = program.insns.get(slot + 1..slot + 4)
        else {
            return false;
        };
        let left = match (one, other) {
            (AluOp::Lsh, AluOp::Rsh) => *by,
            (AluOp::Rsh, AluOp::Lsh) => *further,
            _ => return false,
        };
        let both = |a: Reg, b: Reg| (a, b) == (copy, value) || (a, b) == (value, copy);
        let read = self.live.get(slot + 4).is_none_or(|live| live & 1 << *from as u8 != 0);
        let entered = (slot + 1..slot + 4).any(|slot| self.is_target(slot));
        let fits = width == again
            && width == joined
            && (moved == *width || moved == Width::W64)
            && both(*first, *second)
            && both(*dst, *from)
            && *by > 0
            && *further > 0
            && by.checked_add(*further) == Some(bits(*width) as i32);
        if !fits || read || entered {
            return false;
        }
        self.slot = slot + 3;
        let (dst, src) = (Place::of(*dst), self.known.operand(Place::of(value), *width));
        self.push(Op::Rotate { width: *width, dst, src, left: left as u8 });
        for slot in slot + 1..slot + 4 {
            self.takes(slot);
        }
        true
    }
}
