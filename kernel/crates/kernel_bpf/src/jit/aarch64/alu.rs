//! Moves and arithmetic. Division needs no tests: by zero `udiv` and `sdiv` give 0, and the
//! remainder computed from that is the dividend; `MIN / -1` wraps (Arm ARM, C6.2.323, C6.2.472).

use super::super::emitter::Emission;
use super::super::ir::{Place, Source};
use super::Aarch64;
use super::asm::{
    Asm, D, Logic, Reg, Shift, Sum, T0, T1, Two, W, ZERO, home, logic, madd, mov, msub, not, rev,
    rev16, ror, sbfm, sum, two, ubfm,
};
use super::constant::{Constants, logical};
use crate::insn::{AluOp, SignedSize, SwapWidth, Width};

/// A constant operand as the bits that it stands for.
pub(super) const fn bits(imm: i32, wide: bool) -> u64 {
    if wide { imm as i64 as u64 } else { imm as u32 as u64 }
}

const NONE: (Shift, u8) = (Shift::Left, 0);

impl Aarch64 {
    pub(super) fn copy(&self, width: Width, dst: Place, src: Place, out: &mut Emission) {
        if src == Place::FRAME {
            out.add(W, home(dst), home(src), i64::from(self.frame));
        } else {
            out.word(mov(width == Width::W64, home(dst), home(src)));
        }
    }

    pub(super) fn alu(
        &self,
        (width, operation): (Width, AluOp),
        dst: Place,
        a: Place,
        b: Source,
        out: &mut Emission,
    ) {
        let wide = width == Width::W64;
        let (d, n) = (home(dst), home(a));
        let by = match b {
            Source::Imm(imm) => return self.alu_constant(wide, operation, d, a, imm, out),
            Source::Place(b) => home(b),
        };
        out.word(match operation {
            AluOp::Add => sum(Sum::Add, wide, d, n, by, NONE),
            AluOp::Sub => sum(Sum::Sub, wide, d, n, by, NONE),
            AluOp::And => logic(Logic::And, wide, d, n, by, NONE),
            AluOp::Or => logic(Logic::Or, wide, d, n, by, NONE),
            AluOp::Xor => logic(Logic::Xor, wide, d, n, by, NONE),
            AluOp::Mul => madd(wide, d, n, by, ZERO),
            AluOp::Lsh => two(Two::Lsl, wide, d, n, by),
            AluOp::Rsh => two(Two::Lsr, wide, d, n, by),
            AluOp::Arsh => two(Two::Asr, wide, d, n, by),
            AluOp::Div => two(Two::UDiv, wide, d, n, by),
            AluOp::SDiv => two(Two::SDiv, wide, d, n, by),
            AluOp::Mod | AluOp::SMod => return remainder(operation, wide, d, n, by, out),
        });
    }

    fn alu_constant(
        &self,
        wide: bool,
        operation: AluOp,
        d: Reg,
        a: Place,
        imm: i32,
        out: &mut Emission,
    ) {
        let n = home(a);
        let value = bits(imm, wide);
        match operation {
            AluOp::Add if a == Place::FRAME => {
                out.add(W, d, n, i64::from(imm) + i64::from(self.frame));
            }
            AluOp::Add => out.add(wide, d, n, i64::from(imm)),
            AluOp::Sub => out.add(wide, d, n, -i64::from(imm)),
            AluOp::And => {
                // A mask without its sign bit clears the upper half anyway.
                let wide = wide && imm < 0;
                out.logic_constant(Logic::And, wide, d, n, bits(imm, wide));
            }
            AluOp::Or => out.logic_constant(Logic::Or, wide, d, n, value),
            AluOp::Xor if imm == -1 => out.word(not(wide, d, n)),
            AluOp::Xor => out.logic_constant(Logic::Xor, wide, d, n, value),
            AluOp::Lsh => out.word(shift_left(wide, d, n, imm as u8)),
            AluOp::Rsh => out.word(ubfm(wide, d, n, imm as u8, top(wide))),
            AluOp::Arsh => out.word(sbfm(wide, d, n, imm as u8, top(wide))),
            AluOp::Mul => multiply(wide, d, n, imm, out),
            AluOp::Div => {
                out.constant(T0, value);
                out.word(two(Two::UDiv, wide, d, n, T0));
            }
            AluOp::SDiv => {
                out.constant(T0, value);
                out.word(two(Two::SDiv, wide, d, n, T0));
            }
            AluOp::Mod | AluOp::SMod => {
                out.constant(T0, value);
                remainder(operation, wide, d, n, T0, out);
            }
        }
    }

    pub(super) fn negate(&self, width: Width, dst: Place, src: Place, out: &mut Emission) {
        out.word(sum(Sum::Sub, width == Width::W64, home(dst), ZERO, home(src), NONE));
    }

    pub(super) fn sign_extend(
        &self,
        width: Width,
        dst: Place,
        src: Place,
        from: SignedSize,
        out: &mut Emission,
    ) {
        out.word(sbfm(width == Width::W64, home(dst), home(src), 0, last_bit(from)));
    }

    pub(super) fn truncate(&self, dst: Place, src: Place, size: SignedSize, out: &mut Emission) {
        out.word(match size {
            SignedSize::W => mov(D, home(dst), home(src)),
            _ => ubfm(D, home(dst), home(src), 0, last_bit(size)),
        });
    }

    pub(super) fn swap(&self, dst: Place, src: Place, bits: SwapWidth, out: &mut Emission) {
        let (d, n) = (home(dst), home(src));
        match bits {
            SwapWidth::B16 => {
                out.word(rev16(d, n));
                out.word(ubfm(D, d, d, 0, 15));
            }
            SwapWidth::B32 => out.word(rev(D, d, n)),
            SwapWidth::B64 => out.word(rev(W, d, n)),
        }
    }

    pub(super) fn rotate(
        &self,
        width: Width,
        dst: Place,
        src: Place,
        left: u8,
        out: &mut Emission,
    ) {
        let wide = width == Width::W64;
        out.word(ror(wide, home(dst), home(src), top(wide) + 1 - left));
    }
}

/// The number of the highest bit.
pub(super) const fn top(wide: bool) -> u8 {
    if wide { 63 } else { 31 }
}

/// The number of the highest bit of a part.
pub(super) const fn last_bit(size: SignedSize) -> u8 {
    match size {
        SignedSize::B => 7,
        SignedSize::H => 15,
        SignedSize::W => 31,
    }
}

/// `lsl d, n, #by`
pub(super) const fn shift_left(wide: bool, d: Reg, n: Reg, by: u8) -> u32 {
    let bits = top(wide) + 1;
    ubfm(wide, d, n, (bits - by) % bits, bits - 1 - by)
}

fn remainder(operation: AluOp, wide: bool, d: Reg, n: Reg, by: Reg, out: &mut Emission) {
    let divide = if operation == AluOp::SMod { Two::SDiv } else { Two::UDiv };
    out.word(two(divide, wide, T1, n, by));
    out.word(msub(wide, d, T1, by, n));
}

/// A product with a constant: what one addition of a shifted register can do takes one.
fn multiply(wide: bool, d: Reg, n: Reg, imm: i32, out: &mut Emission) {
    let amount = i64::from(imm);
    let power = |value: i64| (value > 0 && value & (value - 1) == 0).then(|| value.ilog2() as u8);
    if let Some(by) = power(amount) {
        out.word(shift_left(wide, d, n, by));
    } else if let Some(by) = power(amount - 1) {
        out.word(sum(Sum::Add, wide, d, n, n, (Shift::Left, by)));
    } else if let Some(by) = power(1 - amount) {
        out.word(sum(Sum::Sub, wide, d, n, n, (Shift::Left, by)));
    } else {
        out.constant(T0, bits(imm, wide));
        out.word(madd(wide, d, n, T0, ZERO));
    }
}

/// Whether an operation on bits takes this constant in one instruction.
pub(super) fn fits_logic(imm: i32, wide: bool) -> bool {
    logical(bits(imm, wide), wide).is_some()
}
