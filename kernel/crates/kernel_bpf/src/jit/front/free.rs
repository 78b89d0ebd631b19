//! Which places a function leaves free.

use super::Function;
use crate::insn::Reg;
use crate::jit::emitter::Emitter;
use crate::jit::ir::Place;

impl Function {
    /// The places that the function has no other use for, the cheapest first.
    pub(super) fn free<E: Emitter>(&self) -> impl Iterator<Item = Place> {
        let registers = self.registers;
        let unnamed = move |register: &&Reg| registers & (1 << **register as u8) == 0;
        let of = |register: &Reg| Place::of(*register);
        let scratch = if self.calls { 0 } else { E::EXTRAS_SCRATCH };
        let arguments = Reg::ALL[1..6].iter().filter(unnamed).map(of);
        let kept = Reg::ALL[6..10].iter().filter(unnamed).map(of);
        let further = (E::EXTRAS_KEPT..E::EXTRAS_KEPT + scratch).map(Place::extra);
        arguments.chain(further).chain((0..E::EXTRAS_KEPT).map(Place::extra)).chain(kept)
    }
}
