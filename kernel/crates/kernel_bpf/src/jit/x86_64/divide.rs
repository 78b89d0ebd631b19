//! Divisions and remainders: by constants as multiplications, by registers with `div`, which
//! wants the dividend in rdx:rax and traps where BPF does not.

use super::super::emitter::Emission;
use super::super::ir::{Place, Source};
use super::super::magic::{self, Magic};
use super::X86_64;
use super::asm::{Address, Asm, D, MULX, R11, RAX, RCX, RDX, Reg, W, home, op};
use super::flow::multiply;
use crate::insn::{AluOp, Width};

impl X86_64 {
    /// `rax_live`: r0 is read later, and is not the result.
    pub(super) fn divide(
        &mut self,
        (width, operation, dst, a, b): (Width, AluOp, Place, Place, Source),
        nonzero: bool,
        rax_live: bool,
        out: &mut Emission,
    ) {
        let wide = width == Width::W64;
        let remainder = matches!(operation, AluOp::Mod | AluOp::SMod);
        let signed = matches!(operation, AluOp::SDiv | AluOp::SMod);
        if let Source::Imm(imm) = b
            && !signed
        {
            let divisor = if wide { i64::from(imm) as u64 } else { u64::from(imm as u32) };
            self.by_constant(wide, (home(dst), home(a)), (divisor, imm), remainder, rax_live, out);
            return;
        }
        let dividend = home(a);
        // The divisor may not lie in rax or rdx.
        let divisor = match b {
            Source::Place(b) if home(b) != RAX => home(b),
            Source::Place(_) => {
                out.mov(W, RCX, RAX);
                RCX
            }
            Source::Imm(imm) => {
                let value = if wide { i64::from(imm) as u64 } else { u64::from(imm as u32) };
                out.constant(RCX, value, true);
                RCX
            }
        };
        // rcx keeps r0, or, where it holds a constant, the stack does.
        let on_stack = rax_live && matches!(b, Source::Imm(_));
        if on_stack {
            out.push(RAX);
        } else if rax_live && divisor != RCX {
            out.mov(W, RCX, RAX);
        }
        out.mov_if(wide, RAX, dividend);
        if signed {
            signed_division(wide, divisor, remainder, matches!(b, Source::Imm(_)), out);
        } else {
            unsigned_division(wide, divisor, remainder, nonzero, out);
        }
        let result = if remainder { RDX } else { RAX };
        out.mov_if(wide, home(dst), result);
        if on_stack {
            out.pop(RAX);
        } else if rax_live {
            out.mov(W, RAX, RCX);
        }
    }

    /// By a constant that is neither zero nor a power of two: the upper half of a product, and
    /// shifts ([`magic`]). rcx and rdx are free; `(to, from)` are registers.
    fn by_constant(
        &self,
        wide: bool,
        (to, from): (Reg, Reg),
        (divisor, imm): (u64, i32),
        remainder: bool,
        rax_live: bool,
        out: &mut Emission,
    ) {
        if wide {
            let Magic { multiplier, before, shift, add } = magic::divide64(divisor);
            let factor = if before != 0 {
                out.mov(W, RCX, from);
                out.shift(5, W, RCX, before);
                RCX
            } else {
                from
            };
            out.constant(RDX, multiplier, true);
            if self.bmi2 {
                out.vex(MULX, W, RDX, RCX, factor);
            } else {
                // mul needs rax; `r11` is the temporary place, which nothing holds now.
                if rax_live || from == RAX {
                    out.mov(W, R11, RAX);
                }
                out.mov_if(W, RAX, factor);
                out.rr(0xf7, W, 4, RDX);
                if rax_live || from == RAX {
                    out.mov(W, RAX, R11);
                }
            }
            if add {
                // The multiplier has 65 bits: half of the difference, and the product.
                out.mov(W, RCX, from);
                out.rr(op::SUB, W, RDX, RCX);
                out.shift(5, W, RCX, 1);
                out.rr(op::ADD, W, RCX, RDX);
            }
            if shift != 0 {
                out.shift(5, W, RDX, shift);
            }
        } else {
            // 33 bits of multiplier at most: in 64 bits, with the dividend extended.
            let Magic { multiplier, before, shift, add } = magic::divide32(divisor as u32);
            out.mov(D, RCX, from);
            if before != 0 {
                out.shift(5, D, RCX, before);
            }
            if add {
                // multiplier = 2^32 + the rest
                out.constant(RDX, multiplier, true);
                out.rr(op::IMUL, W, RDX, RCX);
                out.shift(5, W, RDX, 32);
                out.rr(op::SUB, D, RDX, RCX);
                out.shift(5, D, RCX, 1);
                out.rr(op::ADD, D, RCX, RDX);
                if shift != 0 {
                    out.shift(5, D, RDX, shift);
                }
            } else {
                if let Ok(short) = i32::try_from(multiplier) {
                    multiply(RDX, RCX, short, out);
                } else {
                    out.constant(RDX, multiplier, true);
                    out.rr(op::IMUL, W, RDX, RCX);
                }
                out.shift(5, W, RDX, 32 + shift);
            }
        }
        // The quotient is in rdx.
        if !remainder {
            out.mov(wide, to, RDX);
            return;
        }
        out.rr(0x69, wide, RDX, RDX);
        out.put32(imm);
        out.mov_if(wide, to, from);
        out.rr(op::SUB, wide, RDX, to);
    }
}

/// rdx:rax by the divisor: quotient in rax, remainder in rdx. By zero: 0, and the dividend.
fn unsigned_division(wide: bool, divisor: Reg, remainder: bool, nonzero: bool, out: &mut Emission) {
    let mut skip = None;
    if !nonzero {
        if remainder {
            out.mov(wide, RDX, RAX);
        }
        out.rr(op::TEST, wide, divisor, divisor);
        if remainder {
            // je over the division
            skip = Some(forward(0x74, out));
        } else {
            // jne to the division; otherwise the quotient is 0, and over it
            let divide = forward(0x75, out);
            out.rr(op::XOR, D, RAX, RAX);
            skip = Some(forward(0xeb, out));
            land(divide, out);
        }
    }
    out.rr(op::XOR, D, RDX, RDX);
    out.rr(0xf7, wide, 6, divisor);
    if let Some(skip) = skip {
        land(skip, out);
    }
}

/// The same with signs. `constant`: the divisor is neither 0 nor -1.
fn signed_division(wide: bool, divisor: Reg, remainder: bool, constant: bool, out: &mut Emission) {
    let mut special = None;
    if !constant {
        // By 0 and by -1: `divisor + 1` is 1 or 0.
        out.rm(op::LEA, wide, RDX, Address::at(divisor, 1));
        out.ri(7, wide, RDX, 1);
        special = Some(forward(0x76, out));
    }
    // cdq or cqo, idiv
    if wide {
        out.put(0x9948, 2);
    } else {
        out.put(0x99, 1);
    }
    out.rr(0xf7, wide, 7, divisor);
    if let Some(special) = special {
        let done = forward(0xeb, out);
        land(special, out);
        // A quotient is the product with the divisor: -a, or 0. A remainder the product with the
        // divisor + 1: 0, or a.
        if remainder {
            out.rr(op::IMUL, wide, RDX, RAX);
        } else {
            out.rr(op::IMUL, wide, RAX, divisor);
        }
        land(done, out);
    }
}

/// A short jump forwards, to where [`land`] is called.
fn forward(opcode: u64, out: &mut Emission) -> usize {
    out.put(opcode, 2);
    out.bytes.len()
}

fn land(from: usize, out: &mut Emission) {
    let distance = out.bytes.len() - from;
    if let Some(byte) = out.bytes.get_mut(from - 1) {
        *byte = distance as u8;
    }
}
