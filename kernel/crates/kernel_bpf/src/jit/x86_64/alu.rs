//! Moves and arithmetic, except divisions.

use super::super::emitter::Emission;
use super::super::ir::{Place, Source};
use super::asm::{Address, Asm, D, RCX, RORX, Reg, SARX, SHLX, SHRX, W, home, op};
use super::{X86_64, ZeroFlag};
use crate::insn::{AluOp, SignedSize, SwapWidth, Width};

impl X86_64 {
    pub(super) fn copy(&self, width: Width, dst: Place, src: Place, out: &mut Emission) {
        if src == Place::FRAME {
            let frame = Address::at(home(src), self.frame);
            out.rm(op::LEA, W, home(dst), frame);
        } else {
            out.mov(width == Width::W64, home(dst), home(src));
        }
    }

    // It is called in one place, as is what it calls.
    #[inline(always)]
    pub(super) fn alu(
        &mut self,
        width: Width,
        operation: AluOp,
        dst: Place,
        a: Place,
        b: Source,
        out: &mut Emission,
    ) {
        let wide = width == Width::W64;
        let (to, from) = (home(dst), home(a));
        let flags = match (operation, b) {
            (AluOp::Add, Source::Imm(imm)) => add_constant(self.frame, (wide, to, a), imm, out),
            (AluOp::Add, Source::Place(b)) => add(wide, to, from, home(b), out),
            (AluOp::Sub, Source::Imm(imm)) => {
                out.mov_if(wide, to, from);
                out.ri(5, wide, to, imm);
                true
            }
            (AluOp::Sub, Source::Place(b)) => subtract(wide, to, from, home(b), out),
            (AluOp::And | AluOp::Or | AluOp::Xor, b) => {
                let (extension, opcode) = match operation {
                    AluOp::And => (4, op::AND),
                    AluOp::Or => (1, op::OR),
                    _ => (6, op::XOR),
                };
                self.logic(extension, opcode, (wide, to, from), b, out)
            }
            (AluOp::Mul, Source::Imm(imm)) => {
                multiply_by(wide, to, from, imm, out);
                false
            }
            (AluOp::Mul, Source::Place(b)) => {
                let b = home(b);
                if to == b {
                    out.rr(op::IMUL, wide, to, from);
                } else {
                    out.mov_if(wide, to, from);
                    out.rr(op::IMUL, wide, to, b);
                }
                false
            }
            (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, b) => {
                let extension = match operation {
                    AluOp::Lsh => 4,
                    AluOp::Rsh => 5,
                    _ => 7,
                };
                self.shift_by(extension, (wide, to, from), b, out)
            }
            // Those have their own way.
            (AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod, _) => false,
        };
        if flags {
            self.flags = ZeroFlag::of(dst, width);
        }
    }

    /// And, or, exclusive or; returns whether the zero flag tells of the result.
    #[inline(always)]
    fn logic(
        &self,
        extension: u8,
        opcode: u32,
        (wide, to, from): (bool, Reg, Reg),
        b: Source,
        out: &mut Emission,
    ) -> bool {
        match b {
            Source::Place(b) => {
                let b = home(b);
                if to == b {
                    out.rr(opcode, wide, from, to);
                } else {
                    out.mov_if(wide, to, from);
                    out.rr(opcode, wide, b, to);
                }
            }
            Source::Imm(imm) => {
                // A mask without its sign bit clears the upper half anyway.
                let narrow = extension == 4 && imm >= 0;
                let wide = wide && !narrow;
                out.mov_if(wide, to, from);
                if extension == 6 && imm == -1 {
                    out.rr(0xf7, wide, 2, to);
                    return false;
                }
                out.ri(extension, wide, to, imm);
            }
        }
        true
    }

    #[inline(always)]
    fn shift_by(
        &self,
        extension: u8,
        (wide, to, from): (bool, Reg, Reg),
        b: Source,
        out: &mut Emission,
    ) -> bool {
        match b {
            Source::Imm(amount) => {
                if extension == 4 && amount == 1 && to != from {
                    out.rm(op::LEA, wide, to, Address::sum(from, from, 0));
                    return false;
                }
                out.mov_if(wide, to, from);
                out.shift(extension, wide, to, amount as u8);
                true
            }
            Source::Place(b) if self.bmi2 => {
                let vex = match extension {
                    4 => SHLX,
                    5 => SHRX,
                    _ => SARX,
                };
                out.vex(vex, wide, to, home(b), from);
                false
            }
            Source::Place(b) => {
                out.mov(D, RCX, home(b));
                out.mov_if(wide, to, from);
                out.rr(0xd3, wide, extension, to);
                // A shift by nothing leaves the flags.
                false
            }
        }
    }

    pub(super) fn negate(&mut self, width: Width, dst: Place, src: Place, out: &mut Emission) {
        let wide = width == Width::W64;
        out.mov_if(wide, home(dst), home(src));
        out.rr(0xf7, wide, 3, home(dst));
        self.flags = ZeroFlag::of(dst, width);
    }

    pub(super) fn sign_extend(
        &self,
        width: Width,
        dst: Place,
        src: Place,
        from: SignedSize,
        out: &mut Emission,
    ) {
        let wide = width == Width::W64;
        let (dst, src) = (home(dst), home(src));
        match from {
            SignedSize::B => out.rr_rex(op::MOVSX8, wide, dst, src, src > 3),
            SignedSize::H => out.rr(op::MOVSX16, wide, dst, src),
            SignedSize::W => out.rr(op::MOVSXD, wide, dst, src),
        }
    }

    pub(super) fn truncate(&self, dst: Place, src: Place, size: SignedSize, out: &mut Emission) {
        let (dst, src) = (home(dst), home(src));
        match size {
            SignedSize::B => out.rr_rex(op::MOVZX8, D, dst, src, src > 3),
            SignedSize::H => out.rr(op::MOVZX16, D, dst, src),
            SignedSize::W => out.mov(D, dst, src),
        }
    }

    pub(super) fn swap(&self, dst: Place, src: Place, bits: SwapWidth, out: &mut Emission) {
        let (dst, src) = (home(dst), home(src));
        let wide = bits == SwapWidth::B64;
        out.mov_if(wide, dst, src);
        if bits == SwapWidth::B16 {
            // rol reg16, 8
            out.put(0x66, 1);
            out.shift(0, D, dst, 8);
            out.rr(op::MOVZX16, D, dst, dst);
            return;
        }
        // bswap
        let rex = 0x40 | u64::from(wide) << 3 | u64::from(dst >> 3);
        if rex != 0x40 {
            out.put(rex, 1);
        }
        out.put(0x0f | u64::from(0xc8 | dst & 7) << 8, 2);
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
        let (dst, src) = (home(dst), home(src));
        if dst != src && self.bmi2 {
            let right = if wide { 64 - left } else { 32 - left };
            out.vex(RORX, wide, dst, 0, src);
            out.put(u64::from(right), 1);
            return;
        }
        out.mov_if(wide, dst, src);
        out.shift(0, wide, dst, left);
    }
}

/// Returns whether the zero flag tells of the result, as the following do.
fn add_constant(
    frame: i32,
    (wide, to, a): (bool, Reg, Place),
    imm: i32,
    out: &mut Emission,
) -> bool {
    let from = home(a);
    if a == Place::FRAME {
        out.rm(op::LEA, W, to, Address::at(from, imm.wrapping_add(frame)));
        return false;
    }
    if to != from {
        out.rm(op::LEA, wide, to, Address::at(from, imm));
        return false;
    }
    match imm {
        1 => out.rr(0xff, wide, 0, to),
        -1 => out.rr(0xff, wide, 1, to),
        // One byte instead of four.
        128 => out.ri(5, wide, to, -128),
        _ => out.ri(0, wide, to, imm),
    }
    true
}

fn add(wide: bool, to: Reg, a: Reg, b: Reg, out: &mut Emission) -> bool {
    if to == a {
        out.rr(op::ADD, wide, b, to);
    } else if to == b {
        out.rr(op::ADD, wide, a, to);
    } else {
        // rbp and r13 as a base need a displacement.
        let (base, index) = if a & 7 == 5 { (b, a) } else { (a, b) };
        out.rm(op::LEA, wide, to, Address::sum(base, index, 0));
        return false;
    }
    true
}

fn subtract(wide: bool, to: Reg, a: Reg, b: Reg, out: &mut Emission) -> bool {
    if to == b && to != a {
        out.rr(0xf7, wide, 3, to);
        out.rr(op::ADD, wide, a, to);
    } else {
        out.mov_if(wide, to, a);
        out.rr(op::SUB, wide, b, to);
    }
    true
}

/// A product with a constant; what two additions can do is faster than a multiplication.
fn multiply_by(wide: bool, to: Reg, from: Reg, imm: i32, out: &mut Emission) {
    let shift = match imm {
        3 => 1,
        5 => 2,
        9 => 3,
        _ => {
            let short = i8::try_from(imm).ok();
            out.rr(if short.is_some() { 0x6b } else { 0x69 }, wide, to, from);
            match short {
                Some(short) => out.put(u64::from(short as u8), 1),
                None => out.put32(imm),
            }
            return;
        }
    };
    out.rm(op::LEA, wide, to, Address::sum(from, from, shift));
}
