//! Rotations in the forms that compilers give them: a copy of a value, a shift of it, one of the
//! value itself or, where that is still wanted, of another copy in the opposite direction, and the
//! or of both. All of them become one operation at once. What is written otherwise `simplify` finds
//! in the operations.

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
        let (slot, insns) = (self.slot, &self.resolver.program.insns);
        let Some([Insn::Alu { width, op: one, dst: first, src: Operand::Imm(by) }, behind @ ..]) =
            insns.get(slot + 1..)
        else {
            return false;
        };
        let copies = |moved: &Width| moved == width || *moved == Width::W64;
        let (other, behind, length) = match behind {
            [Insn::Mov { width, dst, src: Operand::Reg(src) }, behind @ ..]
                if *src == value && copies(width) && *first == copy =>
            {
                (*dst, behind, 4)
            }
            _ => (value, behind, 3),
        };
        let [
            Insn::Alu { width: again, op: two, dst: second, src: Operand::Imm(further) },
            Insn::Alu { width: joined, op: AluOp::Or, dst, src: Operand::Reg(from) },
            ..,
        ] = behind
        else {
            return false;
        };
        let left = match (one, two) {
            (AluOp::Lsh, AluOp::Rsh) => *by,
            (AluOp::Rsh, AluOp::Lsh) => *further,
            _ => return false,
        };
        let both = |a: Reg, b: Reg| (a, b) == (copy, other) || (a, b) == (other, copy);
        let last = slot + length;
        let read = self.live.get(last + 1).is_none_or(|live| live & 1 << *from as u8 != 0);
        let entered = (slot + 1..last + 1).any(|slot| self.is_target(slot));
        // What is shifted first in its own register is not the value any more; and operations do
        // not take the frame pointer.
        let fits = copy != value
            && value != Reg::R10
            && width == again
            && width == joined
            && copies(&moved)
            && both(*first, *second)
            && both(*dst, *from)
            && *by > 0
            && *further > 0
            && by.checked_add(*further) == Some(bits(*width) as i32);
        if !fits || read || entered {
            return false;
        }
        self.takes(last);
        let (dst, src) = (Place::of(*dst), self.known.operand(Place::of(value), *width));
        self.push(Op::Rotate { width: *width, dst, src, left: left as u8 });
        true
    }
}
