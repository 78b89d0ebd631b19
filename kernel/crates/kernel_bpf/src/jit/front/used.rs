//! Which registers a function uses, and so which places are free in it.

use crate::insn::{Insn, Operand, Reg};
use crate::jit::emitter::Emitter;
use crate::jit::ir::Place;

/// What a function uses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// The registers that its instructions name, by number.
    named: u32,
    /// It calls helpers or functions.
    calls: bool,
}

impl Used {
    /// Adds what an instruction uses; the registers that it names. Inlined, so that who looks at
    /// the instruction too does it at once.
    #[inline(always)]
    pub(super) fn add(&mut self, insn: &Insn) -> u32 {
        let bit = |register: Reg| 1u32 << register as u8;
        let operand = |operand: Operand| match operand {
            Operand::Reg(register) => bit(register),
            Operand::Imm(_) => 0,
        };
        let named = match *insn {
            Insn::Alu { dst, src, .. } | Insn::Mov { dst, src, .. } => bit(dst) | operand(src),
            Insn::Branch { dst, src, .. } => bit(dst) | operand(src),
            Insn::Neg { dst, .. } | Insn::ByteOrder { dst, .. } | Insn::LoadImm64 { dst, .. } => {
                bit(dst)
            }
            Insn::MovSx { dst, src, .. } | Insn::AddrSpaceCast { dst, src, .. } => {
                bit(dst) | bit(src)
            }
            Insn::Load { dst, base, .. }
            | Insn::LoadSx { dst, base, .. }
            | Insn::LoadAcquire { dst, base, .. } => bit(dst) | bit(base),
            Insn::Store { base, src, .. } => bit(base) | operand(src),
            Insn::StoreRelease { base, src, .. } => bit(base) | bit(src),
            Insn::Atomic { base, src, .. } => bit(base) | bit(src) | bit(Reg::R0),
            Insn::CallRegister { target } | Insn::LoadInd { src: target, .. } => {
                self.call();
                bit(target)
            }
            Insn::CallHelper { .. }
            | Insn::CallLocal { .. }
            | Insn::CallKfunc { .. }
            | Insn::LoadAbs { .. } => {
                self.call();
                0
            }
            Insn::WideTail | Insn::Jump { .. } | Insn::MayGoto { .. } => 0,
            Insn::Exit => bit(Reg::R0),
        };
        self.named |= named;
        named
    }

    /// r0 to r5, and what the legacy packet loads read besides.
    fn call(&mut self) {
        self.calls = true;
        self.named |= 0x3f | 1 << Reg::R6 as u8;
    }

    /// The places that the function has no other use for, the cheapest first.
    pub(super) fn free<E: Emitter>(self) -> impl Iterator<Item = Place> {
        let unnamed = move |register: &&Reg| self.named & (1 << **register as u8) == 0;
        let of = |register: &Reg| Place::of(*register);
        let scratch = if self.calls { 0 } else { E::EXTRAS_SCRATCH };
        let arguments = Reg::ALL[1..6].iter().filter(unnamed).map(of);
        let kept = Reg::ALL[6..10].iter().filter(unnamed).map(of);
        let further = (E::EXTRAS_KEPT..E::EXTRAS_KEPT + scratch).map(Place::extra);
        arguments.chain(further).chain((0..E::EXTRAS_KEPT).map(Place::extra)).chain(kept)
    }
}
