//! Moves and arithmetic.
//!
//! Instructions of 32 bits extend their results with the sign, BPF with zeros: what is read of
//! the upper half decides whether that is mended ([`Riscv64::done`]).

use super::super::emitter::Emission;
use super::super::ir::{Place, Source};
use super::Riscv64;
use super::asm::{Asm, Reg, T0, T1, T2, ZERO, b, branch, fits, home, i, imm, op, r};
use super::constant::Constants;
use crate::insn::{AluOp, SignedSize, SwapWidth, Width};

/// What is known of the upper half of a result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Upper {
    /// It is what BPF says.
    Right,
    /// It is zero, as BPF says.
    Zero,
    /// It repeats the sign of the lower half; BPF says that it is zero.
    Sign,
    /// Zero, and the lower half is not negative.
    Both,
    /// Anything; BPF says that it is zero.
    Anything,
}

impl Riscv64 {
    /// A result lies in its register: its upper half is made right if somebody reads it.
    pub(super) fn done(&mut self, dst: Place, upper: Upper, out: &mut Emission) {
        let (bit, d) = (dst.bit(), home(dst));
        self.zeros &= !bit;
        self.signs &= !bit;
        let wrong = matches!(upper, Upper::Sign | Upper::Anything);
        if wrong && self.wide & bit != 0 {
            self.zero_extend(d, d, out);
            self.zeros |= bit;
            return;
        }
        match upper {
            Upper::Right | Upper::Anything => {}
            Upper::Zero => self.zeros |= bit,
            Upper::Sign => self.signs |= bit,
            Upper::Both => {
                self.zeros |= bit;
                self.signs |= bit;
            }
        }
    }

    /// `d = n & 0xffff_ffff`
    pub(super) fn zero_extend(&self, d: Reg, n: Reg, out: &mut Emission) {
        if self.zba {
            out.word(r(op::ADD_UW, d, n, ZERO));
        } else {
            out.word(i(imm::SLLI, d, n, 32));
            out.word(i(imm::SRLI, d, d, 32));
        }
    }

    pub(super) fn copy(&mut self, width: Width, dst: Place, src: Place, out: &mut Emission) {
        let (d, n) = (home(dst), home(src));
        if src == Place::FRAME {
            out.add(true, d, n, i64::from(self.frame));
            return self.done(dst, Upper::Right, out);
        }
        let (zero, sign) = (self.zeros & src.bit() != 0, self.signs & src.bit() != 0);
        let upper = match (zero, sign) {
            (true, true) => Upper::Both,
            (true, false) => Upper::Zero,
            // Where the sign is in the place of zeros, nobody reads it, nor in the copy.
            (false, true) => Upper::Sign,
            (false, false) if width == Width::W32 => Upper::Anything,
            (false, false) => Upper::Right,
        };
        if width == Width::W32 && !zero && self.wide & dst.bit() != 0 {
            self.zero_extend(d, n, out);
            return self.done(dst, Upper::Zero, out);
        }
        if width == Width::W64 && !zero && sign {
            // The source is a number of 64 bits that is its own lower half's extension.
            if d != n {
                out.mv(d, n);
            }
            self.done(dst, Upper::Right, out);
            self.signs |= dst.bit();
            return;
        }
        if d != n {
            out.mv(d, n);
        }
        self.done(dst, upper, out);
    }

    pub(super) fn load_constant(&mut self, dst: Place, value: u64, out: &mut Emission) {
        out.constant(home(dst), value);
        self.done(dst, Upper::Right, out);
        if value >> 32 == 0 {
            self.zeros |= dst.bit();
        }
        if i32::try_from(value as i64).is_ok() {
            self.signs |= dst.bit();
        }
    }

    pub(super) fn alu(
        &mut self,
        (width, operation, nonzero): (Width, AluOp, bool),
        dst: Place,
        a: Place,
        b: Source,
        out: &mut Emission,
    ) {
        let wide = width == Width::W64;
        let by = match b {
            Source::Imm(imm) => return self.alu_constant(wide, operation, dst, a, imm, out),
            Source::Place(b) => b,
        };
        let pick = |w64: u32, w32: u32| if wide { w64 } else { w32 };
        let upper = if wide { Upper::Right } else { Upper::Sign };
        let (upper, instruction) = match operation {
            AluOp::Add => (upper, pick(op::ADD, op::ADDW)),
            AluOp::Sub => (upper, pick(op::SUB, op::SUBW)),
            AluOp::Mul => (upper, pick(op::MUL, op::MULW)),
            AluOp::Lsh => (upper, pick(op::SLL, op::SLLW)),
            AluOp::Rsh => (upper, pick(op::SRL, op::SRLW)),
            AluOp::Arsh => (upper, pick(op::SRA, op::SRAW)),
            AluOp::Mod => (upper, pick(op::REMU, op::REMUW)),
            AluOp::SMod => (upper, pick(op::REM, op::REMW)),
            AluOp::And => (self.logic_upper(wide, a, by), op::AND),
            AluOp::Or => (self.logic_upper(wide, a, by), op::OR),
            AluOp::Xor => (self.logic_upper(wide, a, by), op::XOR),
            AluOp::Div | AluOp::SDiv => {
                return self.divide((wide, operation, nonzero), dst, a, by, out);
            }
        };
        let both = a.bit() | by.bit();
        let (zeros, signs) = (self.zeros & both == both, self.signs & both == both);
        out.word(r(instruction, home(dst), home(a), home(by)));
        self.done(dst, upper, out);
        if wide && matches!(operation, AluOp::And | AluOp::Or | AluOp::Xor) {
            self.zeros |= if zeros { dst.bit() } else { 0 };
            self.signs |= if signs { dst.bit() } else { 0 };
        }
    }

    /// The upper half of an operation on bits, which have no instruction of 32 bits.
    fn logic_upper(&self, wide: bool, a: Place, b: Place) -> Upper {
        let both = a.bit() | b.bit();
        if wide {
            Upper::Right
        } else if self.zeros & both == both {
            Upper::Zero
        } else if self.signs & both == both {
            Upper::Sign
        } else {
            Upper::Anything
        }
    }

    /// By zero the machine's quotient is all ones, BPF's 0. Remainders by zero and the quotient
    /// `MIN / -1` are the same.
    fn divide(
        &mut self,
        (wide, operation, nonzero): (bool, AluOp, bool),
        dst: Place,
        a: Place,
        by: Place,
        out: &mut Emission,
    ) {
        let instruction = match (operation, wide) {
            (AluOp::SDiv, true) => op::DIV,
            (AluOp::SDiv, false) => op::DIVW,
            (_, true) => op::DIVU,
            (_, false) => op::DIVUW,
        };
        let (d, n) = (home(dst), home(a));
        let divisor = home(by);
        if nonzero {
            out.word(r(instruction, d, n, divisor));
        } else {
            let mut tested = divisor;
            if !wide && (self.zeros | self.signs) & by.bit() == 0 {
                out.word(i(imm::ADDIW, T0, divisor, 0));
                tested = T0;
            }
            if d == tested {
                out.mv(T0, tested);
                tested = T0;
            }
            out.word(r(instruction, d, n, divisor));
            out.word(b(branch::BNE, tested, ZERO, 8));
            out.mv(d, ZERO);
        }
        self.done(dst, if wide { Upper::Right } else { Upper::Sign }, out);
    }

    fn alu_constant(
        &mut self,
        wide: bool,
        operation: AluOp,
        dst: Place,
        a: Place,
        constant: i32,
        out: &mut Emission,
    ) {
        let (d, n) = (home(dst), home(a));
        let value = i64::from(constant);
        let pick = |w64: u32, w32: u32| if wide { w64 } else { w32 };
        let upper = if wide { Upper::Right } else { Upper::Sign };
        match operation {
            AluOp::Add if a == Place::FRAME => out.add(true, d, n, value + i64::from(self.frame)),
            AluOp::Add => out.add(wide, d, n, value),
            AluOp::Sub => out.add(wide, d, n, -value),
            AluOp::And => return self.mask(wide, dst, a, constant, out),
            AluOp::Or | AluOp::Xor => {
                let (by_imm, by_register) =
                    if operation == AluOp::Or { (imm::ORI, op::OR) } else { (imm::XORI, op::XOR) };
                if fits(value) {
                    out.word(i(by_imm, d, n, constant));
                } else {
                    out.constant(T0, value as u64);
                    out.word(r(by_register, d, n, T0));
                }
                let upper = match wide {
                    true => Upper::Right,
                    false if self.signs & a.bit() != 0 => Upper::Sign,
                    false if constant >= 0 && self.zeros & a.bit() != 0 => Upper::Zero,
                    false => Upper::Anything,
                };
                return self.done(dst, upper, out);
            }
            AluOp::Lsh => out.word(i(pick(imm::SLLI, imm::SLLIW), d, n, constant)),
            AluOp::Rsh => {
                out.word(i(pick(imm::SRLI, imm::SRLIW), d, n, constant));
                let upper = match (wide, constant) {
                    (true, ..32) => Upper::Right,
                    (true, 32) => Upper::Zero,
                    (false, 0) => Upper::Sign,
                    _ => Upper::Both,
                };
                return self.done(dst, upper, out);
            }
            AluOp::Arsh => out.word(i(pick(imm::SRAI, imm::SRAIW), d, n, constant)),
            AluOp::Mul if constant > 0 && constant.count_ones() == 1 => {
                let by = constant.trailing_zeros() as i32;
                out.word(i(pick(imm::SLLI, imm::SLLIW), d, n, by));
            }
            AluOp::Mul => {
                out.constant(T0, value as u64);
                out.word(r(pick(op::MUL, op::MULW), d, n, T0));
            }
            AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod => {
                out.constant(T0, value as u64);
                let instruction = match operation {
                    AluOp::Div => pick(op::DIVU, op::DIVUW),
                    AluOp::Mod => pick(op::REMU, op::REMUW),
                    AluOp::SDiv => pick(op::DIV, op::DIVW),
                    _ => pick(op::REM, op::REMW),
                };
                out.word(r(instruction, d, n, T0));
            }
        }
        self.done(dst, upper, out);
    }

    /// `dst = a & mask`
    fn mask(&mut self, wide: bool, dst: Place, a: Place, mask: i32, out: &mut Emission) {
        let (d, n) = (home(dst), home(a));
        let upper = match (wide, mask >= 0) {
            (_, true) => Upper::Both,
            (true, false) => Upper::Right,
            (false, false) if self.zeros & a.bit() != 0 => Upper::Zero,
            (false, false) if self.signs & a.bit() != 0 => Upper::Sign,
            (false, false) => Upper::Anything,
        };
        if fits(i64::from(mask)) {
            out.word(i(imm::ANDI, d, n, mask));
        } else if mask > 0 && mask & mask.wrapping_add(1) == 0 {
            let by = mask.leading_zeros() as i32 + 32;
            out.word(i(imm::SLLI, d, n, by));
            out.word(i(imm::SRLI, d, d, by));
        } else {
            out.constant(T0, i64::from(mask) as u64);
            out.word(r(op::AND, d, n, T0));
        }
        self.done(dst, upper, out);
    }

    pub(super) fn negate(&mut self, width: Width, dst: Place, src: Place, out: &mut Emission) {
        let wide = width == Width::W64;
        out.word(r(if wide { op::SUB } else { op::SUBW }, home(dst), ZERO, home(src)));
        self.done(dst, if wide { Upper::Right } else { Upper::Sign }, out);
    }

    pub(super) fn sign_extend(
        &mut self,
        width: Width,
        dst: Place,
        src: Place,
        from: SignedSize,
        out: &mut Emission,
    ) {
        let (d, n) = (home(dst), home(src));
        let by = match from {
            SignedSize::W => {
                out.word(i(imm::ADDIW, d, n, 0));
                0
            }
            SignedSize::H => 48,
            SignedSize::B => 56,
        };
        if by != 0 {
            if self.zbb {
                out.word(i(if by == 48 { imm::SEXT_H } else { imm::SEXT_B }, d, n, 0));
            } else {
                out.word(i(imm::SLLI, d, n, by));
                out.word(i(imm::SRAI, d, d, by));
            }
        }
        let wide = width == Width::W64;
        self.done(dst, if wide { Upper::Right } else { Upper::Sign }, out);
        if wide {
            self.signs |= dst.bit();
        }
    }

    pub(super) fn truncate(
        &mut self,
        dst: Place,
        src: Place,
        size: SignedSize,
        out: &mut Emission,
    ) {
        let (d, n) = (home(dst), home(src));
        match size {
            SignedSize::B => out.word(i(imm::ANDI, d, n, 0xff)),
            SignedSize::H if self.zbb => out.word(i(imm::ZEXT_H, d, n, 0)),
            SignedSize::H => {
                out.word(i(imm::SLLI, d, n, 48));
                out.word(i(imm::SRLI, d, d, 48));
            }
            SignedSize::W => {
                self.zero_extend(d, n, out);
                return self.done(dst, Upper::Zero, out);
            }
        }
        self.done(dst, Upper::Both, out);
    }

    pub(super) fn rotate(
        &mut self,
        width: Width,
        dst: Place,
        src: Place,
        left: u8,
        out: &mut Emission,
    ) {
        let (d, n) = (home(dst), home(src));
        let wide = width == Width::W64;
        let left = i32::from(left);
        let right = if wide { 64 - left } else { 32 - left };
        let (rori, slli, srli) = if wide {
            (imm::RORI, imm::SLLI, imm::SRLI)
        } else {
            (imm::RORIW, imm::SLLIW, imm::SRLIW)
        };
        if self.zbb {
            out.word(i(rori, d, n, right));
        } else {
            out.word(i(slli, T0, n, left));
            out.word(i(srli, d, n, right));
            out.word(r(op::OR, d, d, T0));
        }
        self.done(dst, if wide { Upper::Right } else { Upper::Sign }, out);
    }

    pub(super) fn swap(&mut self, dst: Place, src: Place, bits: SwapWidth, out: &mut Emission) {
        let (d, n) = (home(dst), home(src));
        let (by, upper) = match bits {
            SwapWidth::B16 => (48, Upper::Both),
            SwapWidth::B32 => (32, Upper::Zero),
            SwapWidth::B64 => (0, Upper::Right),
        };
        if self.zbb {
            out.word(i(imm::REV8, d, n, 0));
            if by != 0 {
                out.word(i(imm::SRLI, d, d, by));
            }
            return self.done(dst, upper, out);
        }
        match bits {
            SwapWidth::B16 => {
                out.word(i(imm::ANDI, T0, n, 0xff));
                out.word(i(imm::SLLI, T0, T0, 8));
                out.word(i(imm::SLLI, d, n, 48));
                out.word(i(imm::SRLI, d, d, 56));
                out.word(r(op::OR, d, d, T0));
                self.done(dst, Upper::Both, out);
            }
            SwapWidth::B32 => {
                swap_neighbours(d, n, (0x00ff_00ff, 8), out);
                out.word(i(imm::SRLIW, T0, d, 16));
                out.word(i(imm::SLLIW, d, d, 16));
                out.word(r(op::OR, d, d, T0));
                self.done(dst, Upper::Sign, out);
            }
            SwapWidth::B64 => {
                swap_neighbours(d, n, (0x00ff_00ff_00ff_00ff, 8), out);
                swap_neighbours(d, d, (0x0000_ffff_0000_ffff, 16), out);
                out.word(i(imm::SRLI, T0, d, 32));
                out.word(i(imm::SLLI, d, d, 32));
                out.word(r(op::OR, d, d, T0));
                self.done(dst, Upper::Right, out);
            }
        }
    }
}

/// `d = n >> by & mask | (n & mask) << by`
fn swap_neighbours(d: Reg, n: Reg, (mask, by): (u64, i32), out: &mut Emission) {
    out.constant(T2, mask);
    out.word(i(imm::SRLI, T1, n, by));
    out.word(r(op::AND, T1, T1, T2));
    out.word(r(op::AND, d, n, T2));
    out.word(i(imm::SLLI, d, d, by));
    out.word(r(op::OR, d, d, T1));
}
