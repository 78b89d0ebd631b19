//! Branches over one move, which compilers write for a choice between two values: a move under a
//! condition, where the machine has one.

use super::Front;
use crate::insn::{Insn, Operand, Reg, Width};
use crate::jit::emitter::Emitter;
use crate::jit::ir::{Op, Place, Source};
use crate::resolve::LoadError;

impl<E: Emitter> Front<'_, E> {
    /// Whether it is worth looking whether the branch that is being lowered is such a one.
    #[inline]
    pub(super) fn may_select(&self) -> bool {
        let next = self.resolver.program.insns.get(self.slot + 1);
        // Constants that are to be blinded need registers of their own.
        E::SELECTS && matches!(next, Some(Insn::Mov { .. })) && self.blind.is_none()
    }

    /// Lowers the branch `insn` together with the move behind it, if it skips just that: it may
    /// lead to where the move ends, or to where a jump behind the move leads too.
    #[inline(never)]
    pub(super) fn select(&mut self, insn: &Insn) -> Result<bool, LoadError> {
        let Insn::Branch { width, cond, dst: a, src: b, offset } = *insn else { return Ok(false) };
        let slot = self.slot;
        let insns = &self.resolver.program.insns;
        let Some(&Insn::Mov { width: moved, dst, src }) = insns.get(slot + 1) else {
            return Ok(false);
        };
        let target = self.resolver.target(slot, i64::from(offset))?;
        let joins = target == slot + 2;
        let jumps = match insns.get(slot + 2) {
            Some(&Insn::Jump { offset, .. }) => {
                target == self.resolver.target(slot + 2, i64::from(offset))?
            }
            _ => false,
        };
        let frame = [Operand::Reg(dst), Operand::Reg(a), b, src].contains(&Operand::Reg(Reg::R10));
        if frame || !(joins || jumps) || self.is_target(slot + 1) {
            return Ok(false);
        }
        let (register, dst) = (dst, Place::of(dst));
        let (moved, value) = match src {
            Operand::Imm(imm) => {
                // A negative number that is extended with zeros needs the upper half cleared.
                let plain = moved == Width::W64 || imm >= 0;
                (if plain { Width::W64 } else { Width::W32 }, Source::Imm(imm))
            }
            Operand::Reg(src) => {
                let place = self.known.operand(Place::of(src), moved);
                let plain = moved == Width::W64 || self.known.is_narrow(place);
                (if plain { Width::W64 } else { Width::W32 }, Source::Place(place))
            }
        };
        if moved == Width::W32 && !self.known.is_narrow(dst) {
            return Ok(false);
        }
        let a = self.known.operand(Place::of(a), width);
        let b = self.source(b, width);
        self.push(Op::Select { width, cond, a, b, dst, moved, value });
        self.takes(slot + 1);
        // The register holds a map's address no more, or not always.
        self.maps.follow(&Insn::Mov { width: moved, dst: register, src: Operand::Imm(0) });
        if target > slot {
            self.leads_no_more(target);
        }
        Ok(true)
    }
}
