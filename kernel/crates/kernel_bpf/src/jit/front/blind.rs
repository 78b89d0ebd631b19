//! Constants of programs that unprivileged loaders bring, made unrecognisable.
//!
//! A constant that appeared in the code as it is would let its author choose bytes of executable
//! memory. So each is loaded in two parts, neither of which its author knows: with a random number
//! mixed in, and that number taken out again. Shift amounts and offsets, which are small, stay.

use super::Front;
use crate::insn::{AluOp, Operand, Width};
use crate::jit::emitter::Emitter;
use crate::jit::ir::{Op, Place, Source};

/// A source of numbers that nobody can foresee who does not know where it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys(u64);

impl Keys {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
}

impl<E: Emitter> Front<'_, E> {
    /// `dst = value`, a value of the program's.
    pub(super) fn constant(&mut self, dst: Place, value: u64) {
        let Some(keys) = &mut self.blind else {
            return self.push(Op::Constant { dst, value });
        };
        // A short key for what is short.
        let wide = i32::try_from(value as i64).is_err();
        let key = if wide { keys.next() } else { i64::from(keys.next() as i32) as u64 };
        self.push(Op::Constant { dst, value: value ^ key });
        let b = if wide {
            self.push(Op::Constant { dst: Place::TEMPORARY, value: key });
            Source::Place(Place::TEMPORARY)
        } else {
            Source::Imm(key as i32)
        };
        let (width, op) = (Width::W64, AluOp::Xor);
        self.push(Op::Alu { width, op, dst, a: dst, b, nonzero: false });
    }

    /// A constant operand of the program's.
    pub(super) fn immediate(&mut self, imm: i32) -> Source {
        if self.blind.is_none() {
            return Source::Imm(imm);
        }
        self.constant(Place::TEMPORARY, i64::from(imm) as u64);
        Source::Place(Place::TEMPORARY)
    }

    /// The second operand of arithmetic whose first one is in `from`.
    pub(super) fn alu_source(
        &mut self,
        op: AluOp,
        width: Width,
        from: Place,
        src: Operand,
    ) -> Source {
        let Operand::Imm(imm) = src else { return self.source(src, width) };
        if self.blind.is_none() {
            return Source::Imm(imm);
        }
        let shift = matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh);
        // The verifier keeps what is added to the frame pointer within the stack.
        let frame = self.known.offset(from).0 == Place::FRAME;
        if shift || frame { Source::Imm(imm) } else { self.immediate(imm) }
    }
}
