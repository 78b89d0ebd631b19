//! Arithmetic, moves, extensions and byte orders.

use alloc::vec;

use super::{IMMEDIATES, VALUES, WIDTHS, bits, compute, cut, run, signed, unsigned};
use crate::insn::{AluOp, ByteOrder, Insn, Operand, Reg, SignedSize, SwapWidth};

/// RFC 9669, section 4.1, in numbers without a width.
pub(super) fn expected_alu(op: AluOp, a: u64, b: u64, bits: u32) -> u64 {
    let (ua, ub) = (unsigned(a, bits), unsigned(b, bits));
    let (sa, sb) = (signed(a, bits), signed(b, bits));
    let shift = ub as u32 % bits;
    let result = match op {
        AluOp::Add => ua + ub,
        AluOp::Sub => ua - ub,
        // The lower half of a product does not depend on the signs.
        AluOp::Mul => (0..bits).filter(|bit| ub >> bit & 1 == 1).fold(0, |sum, bit| {
            (sum + ((ua << bit) & ((1i128 << bits) - 1))) & ((1i128 << bits) - 1)
        }),
        AluOp::Div => {
            if ub == 0 {
                0
            } else {
                ua / ub
            }
        }
        AluOp::Mod => {
            if ub == 0 {
                ua
            } else {
                ua % ub
            }
        }
        AluOp::SDiv => {
            if sb == 0 {
                0
            } else {
                sa / sb
            }
        }
        AluOp::SMod => {
            if sb == 0 {
                sa
            } else {
                sa % sb
            }
        }
        AluOp::Or => ua | ub,
        AluOp::And => ua & ub,
        AluOp::Xor => ua ^ ub,
        AluOp::Lsh => (0..shift).fold(ua, |value, _| value * 2 % (1i128 << bits)),
        AluOp::Rsh => (0..shift).fold(ua, |value, _| value / 2),
        AluOp::Arsh => (0..shift).fold(sa, |value, _| value.div_euclid(2)),
    };
    cut(result, bits)
}

#[test]
fn arithmetic_on_registers_and_immediates() {
    for op in AluOp::ALL {
        for width in WIDTHS {
            for a in VALUES {
                for b in VALUES {
                    let insn = Insn::Alu { width, op, dst: Reg::R3, src: Operand::Reg(Reg::R4) };
                    let expected = expected_alu(op, a, b, bits(width));
                    let got = compute(a, b, &[insn], Reg::R3);
                    assert_eq!(got, expected, "{insn:?} {a:#x} {b:#x}");
                    assert_eq!(compute(a, b, &[insn], Reg::R4), b, "the source stays");
                }
                for imm in IMMEDIATES {
                    let insn = Insn::Alu { width, op, dst: Reg::R3, src: Operand::Imm(imm) };
                    let expected = expected_alu(op, a, i64::from(imm) as u64, bits(width));
                    assert_eq!(compute(a, 0, &[insn], Reg::R3), expected, "{insn:?} {a:#x}");
                }
            }
        }
    }
}

#[test]
fn a_register_combined_with_itself() {
    for op in AluOp::ALL {
        for width in WIDTHS {
            for a in VALUES {
                let insn = Insn::Alu { width, op, dst: Reg::R3, src: Operand::Reg(Reg::R3) };
                let expected = expected_alu(op, a, a, bits(width));
                assert_eq!(compute(a, 0, &[insn], Reg::R3), expected, "{insn:?} {a:#x}");
            }
        }
    }
}

#[test]
fn moves_negations_and_extensions() {
    for a in VALUES {
        for width in WIDTHS {
            let n = bits(width);
            let mov = Insn::Mov { width, dst: Reg::R5, src: Operand::Reg(Reg::R3) };
            assert_eq!(compute(a, 0, &[mov], Reg::R5), cut(i128::from(a), n));
            let neg = Insn::Neg { width, dst: Reg::R3 };
            assert_eq!(compute(a, 0, &[neg], Reg::R3), cut(-i128::from(a), n));
            for (from, size) in [(SignedSize::B, 8), (SignedSize::H, 16), (SignedSize::W, 32)] {
                if size < n {
                    let extend = Insn::MovSx { width, dst: Reg::R5, src: Reg::R3, from };
                    let expected = cut(signed(a, size), n);
                    assert_eq!(compute(a, 0, &[extend], Reg::R5), expected, "{extend:?} {a:#x}");
                }
            }
        }
    }
    for imm in IMMEDIATES {
        for width in WIDTHS {
            let mov = Insn::Mov { width, dst: Reg::R3, src: Operand::Imm(imm) };
            assert_eq!(compute(5, 0, &[mov], Reg::R3), cut(i128::from(imm), bits(width)));
            // As the whole of a program, where it is fused with the exit.
            let all = vec![Insn::Mov { width, dst: Reg::R0, src: Operand::Imm(imm) }, Insn::Exit];
            assert_eq!(run(all, &mut []), cut(i128::from(imm), bits(width)));
        }
    }
}

#[test]
fn byte_orders() {
    for a in VALUES {
        for (bits, count) in [(SwapWidth::B16, 2), (SwapWidth::B32, 4), (SwapWidth::B64, 8)] {
            let bytes = &a.to_le_bytes()[..count];
            let little = bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            let swapped = bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            let native_is_little = cfg!(target_endian = "little");
            for (kind, expected) in [
                (ByteOrder::ToLittle, if native_is_little { little } else { swapped }),
                (ByteOrder::ToBig, if native_is_little { swapped } else { little }),
                (ByteOrder::Swap, swapped),
            ] {
                let insn = Insn::ByteOrder { kind, dst: Reg::R3, bits };
                assert_eq!(compute(a, 0, &[insn], Reg::R3), expected, "{insn:?} {a:#x}");
            }
        }
    }
}
