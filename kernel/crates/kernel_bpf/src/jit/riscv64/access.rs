//! Loads, stores and atomics.

use super::super::emitter::Emission;
use super::super::ir::{Mem, Place, Source};
use super::Riscv64;
use super::alu::Upper;
use super::asm::{
    Asm, FENCE, FENCE_ACQUIRE, FENCE_RELEASE, R0, Reg, T0, T1, T2, T3, ZERO, amo, atomic, b,
    branch, fits, home, i, imm, op, r, s, split, store,
};
use super::constant::Constants;
use crate::insn::{AtomicOp, Size, Width};

impl Riscv64 {
    /// A register and an offset of 12 bits that are the address of a memory operand.
    fn address(&self, mem: &Mem, out: &mut Emission) -> (Reg, i32) {
        let frame = if mem.base == Place::FRAME { self.frame } else { 0 };
        let (mut base, mut offset) = (home(mem.base), mem.offset.wrapping_add(frame));
        if let Some(index) = mem.index {
            let mut index = home(index);
            if mem.shift != 0 {
                out.word(i(imm::SLLI, T0, index, i32::from(mem.shift)));
                index = T0;
            }
            out.word(r(op::ADD, T0, base, index));
            base = T0;
        }
        if !fits(i64::from(offset)) {
            if offset < i32::MAX - 2048 {
                let (high, low) = split(offset);
                out.word(super::asm::lui(T1, high));
                offset = low;
            } else {
                // The upper part would be a negative number.
                out.constant(T1, offset as u64);
                offset = 0;
            }
            out.word(r(op::ADD, T0, base, T1));
            base = T0;
        }
        (base, offset)
    }

    /// The same without an offset.
    fn pointer(&self, mem: &Mem, out: &mut Emission) -> Reg {
        let (base, offset) = self.address(mem, out);
        if offset == 0 {
            return base;
        }
        out.word(i(imm::ADDI, T0, base, offset));
        T0
    }

    pub(super) fn load(
        &mut self,
        size: Size,
        (signed, acquire): (bool, bool),
        dst: Place,
        mem: &Mem,
        out: &mut Emission,
    ) {
        let (base, offset) = self.address(mem, out);
        let narrow = self.wide & dst.bit() == 0;
        let (instruction, upper) = match (size, signed) {
            (Size::B, false) => (imm::LBU, Upper::Both),
            (Size::H, false) => (imm::LHU, Upper::Both),
            // With its sign it is good for comparisons of 32 bits.
            (Size::W, false) if narrow => (imm::LW, Upper::Sign),
            (Size::W, false) => (imm::LWU, Upper::Zero),
            (Size::B, true) => (imm::LB, Upper::Right),
            (Size::H, true) => (imm::LH, Upper::Right),
            (Size::W, true) => (imm::LW, Upper::Right),
            (Size::DW, _) => (imm::LD, Upper::Right),
        };
        out.word(i(instruction, home(dst), base, offset));
        if acquire {
            out.word(FENCE_ACQUIRE);
        }
        self.done(dst, upper, out);
        if signed && size != Size::DW {
            self.signs |= dst.bit();
        }
    }

    pub(super) fn store(
        &self,
        size: Size,
        release: bool,
        mem: &Mem,
        src: Source,
        out: &mut Emission,
    ) {
        let value = match src {
            Source::Place(src) => home(src),
            Source::Imm(0) => ZERO,
            Source::Imm(imm) => {
                // Only the bits that are stored matter.
                let bits = match size {
                    Size::B => i64::from(imm as i8),
                    Size::H => i64::from(imm as i16),
                    Size::W | Size::DW => i64::from(imm),
                };
                out.constant(T2, bits as u64);
                T2
            }
        };
        let (base, offset) = self.address(mem, out);
        if release {
            out.word(FENCE_RELEASE);
        }
        let instruction = match size {
            Size::B => store::SB,
            Size::H => store::SH,
            Size::W => store::SW,
            Size::DW => store::SD,
        };
        out.word(s(instruction, value, base, offset));
    }

    /// Operations that fetch are sequentially consistent, the others not ordered (RFC 9669,
    /// section 5.3, and Linux's memory model for `atomic_add` and `atomic_fetch_add`).
    pub(super) fn atomic(
        &mut self,
        (operation, width, mem, src): (AtomicOp, Width, Mem, Place),
        out: &mut Emission,
    ) {
        let wide = width == Width::W64;
        let (at, m) = (self.pointer(&mem, out), home(src));
        let (instruction, fetch) = match operation {
            AtomicOp::Add { fetch } => (amo::ADD, fetch),
            AtomicOp::Or { fetch } => (amo::OR, fetch),
            AtomicOp::And { fetch } => (amo::AND, fetch),
            AtomicOp::Xor { fetch } => (amo::XOR, fetch),
            AtomicOp::Xchg => (amo::SWAP, true),
            AtomicOp::CmpXchg => return self.compare_exchange(wide, at, m, out),
        };
        let (d, order) = if fetch { (m, 3) } else { (ZERO, 0) };
        out.word(atomic(instruction, wide, order, d, m, at));
        if fetch {
            self.done(src, if wide { Upper::Right } else { Upper::Sign }, out);
        }
    }

    /// `lr` and `sc` in a loop, and a barrier behind it.
    fn compare_exchange(&mut self, wide: bool, at: Reg, m: Reg, out: &mut Emission) {
        let mut expected = R0;
        if !wide {
            // lr.w extends with the sign.
            out.word(i(imm::ADDIW, T3, R0, 0));
            expected = T3;
        }
        out.word(atomic(amo::LR, wide, 0, T1, ZERO, at));
        out.word(b(branch::BNE, T1, expected, 12));
        out.word(atomic(amo::SC, wide, 1, T2, m, at));
        out.word(b(branch::BNE, T2, ZERO, -12));
        out.word(FENCE);
        out.mv(R0, T1);
        self.done(Place::R0, if wide { Upper::Right } else { Upper::Sign }, out);
    }
}
