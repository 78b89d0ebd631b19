//! Operations that are one instruction together, when nobody reads what is between them.

use super::super::emitter::Emission;
use super::super::ir::{Node, Op, Place, Source};
use super::Aarch64;
use super::alu::{bits, last_bit, top};
use super::asm::{Asm, Logic, Reg, Shift, Sum, home, logic, madd, msub, sum, ubfm};
use crate::insn::{AluOp, SignedSize, Width};

impl Aarch64 {
    /// Emits the first operations, if they are one instruction. Returns how many nodes that is.
    #[inline]
    pub(super) fn fused(&self, nodes: &[Node], out: &mut Emission) -> Option<usize> {
        let [first, rest @ ..] = nodes else { return None };
        let between = match first.op {
            Op::Alu { op, dst, b, .. } => {
                let apart = matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh | AluOp::And);
                match b {
                    Source::Imm(_) if apart => dst,
                    Source::Place(_) if op == AluOp::Mul => dst,
                    _ => return None,
                }
            }
            Op::Truncate { dst, .. } | Op::Constant { dst, .. } | Op::Rotate { dst, .. } => dst,
            _ => return None,
        };
        // What the front end removed leaves nothing behind.
        let skipped = rest.iter().take_while(|node| node.op == Op::Nop).count();
        let second = rest.get(skipped)?;
        let (_, written) = second.op.effects();
        if (second.live & !written) & between.bit() != 0 {
            return None;
        }
        self.two(&first.op, &second.op, out).then_some(skipped + 2)
    }

    fn two(&self, first: &Op, second: &Op, out: &mut Emission) -> bool {
        match (*first, *second) {
            (Op::Constant { dst: Place::R0, value }, Op::Exit) => self.leave_with(value, out),
            (
                Op::Alu { width, op: AluOp::And, dst, a, b: Source::Imm(mask), .. },
                Op::Branch { width: compared, cond, a: tested, b: Source::Imm(0), target },
            ) if dst == tested && (width == compared || width == Width::W32 || mask >= 0) => {
                self.test_bits((width, a, mask), (cond, target), out)
            }
            (
                Op::Rotate { width, dst, src, left },
                Op::Alu { width: also, op, dst: to, a, b: Source::Place(b), .. },
            ) if width == also && (a == dst) != (b == dst) => {
                let op = match op {
                    AluOp::And => Logic::And,
                    AluOp::Or => Logic::Or,
                    AluOp::Xor => Logic::Xor,
                    _ => return false,
                };
                let wide = width == Width::W64;
                let other = home(if a == dst { b } else { a });
                let by = (Shift::Rotate, top(wide) + 1 - left);
                out.word(logic(op, wide, home(to), other, home(src), by));
                true
            }
            (
                Op::Alu { width, op, dst, a, b, .. },
                Op::Alu {
                    width: also, op: then, dst: to, a: left, b: Source::Place(right), ..
                },
            ) if width == also && (left == dst) != (right == dst) => {
                let wide = width == Width::W64;
                let other = home(if left == dst { right } else { left });
                let first = right == dst;
                match b {
                    Source::Imm(by) => {
                        shifted((op, a, by as u8), (wide, then, home(to)), (other, first), out)
                    }
                    Source::Place(b) => {
                        let (d, n, m) = (home(to), home(a), home(b));
                        match then {
                            AluOp::Add => out.word(madd(wide, d, n, m, other)),
                            AluOp::Sub if first => out.word(msub(wide, d, n, m, other)),
                            _ => return false,
                        }
                        true
                    }
                }
            }
            (
                Op::Alu { width, op: AluOp::Rsh, dst, a, b: Source::Imm(by), .. },
                Op::Alu { op: AluOp::And, dst: to, a: masked, b: Source::Imm(mask), .. },
            ) if masked == dst && mask > 0 && mask & mask.wrapping_add(1) == 0 => {
                extract(width, home(to), home(a), (by as u8, mask.trailing_ones() as u8), out)
            }
            (
                Op::Alu { width, op: AluOp::Rsh, dst, a, b: Source::Imm(by), .. },
                Op::Truncate { dst: to, src, size: size @ (SignedSize::B | SignedSize::H) },
            ) if src == dst => {
                extract(width, home(to), home(a), (by as u8, last_bit(size) + 1), out)
            }
            (
                Op::Truncate { dst, src, size },
                Op::Alu { width, op: AluOp::Lsh, dst: to, a, b: Source::Imm(by), .. },
            ) if a == dst => {
                insert(width, home(to), home(src), (by as u8, last_bit(size) + 1), out)
            }
            (
                Op::Alu { width: first, op: AluOp::And, dst, a: src, b: Source::Imm(mask), .. },
                Op::Alu { width, op: AluOp::Lsh, dst: to, a, b: Source::Imm(by), .. },
            ) if a == dst
                && mask > 0
                && bits(mask, first == Width::W64) & (mask as u64 + 1) == 0 =>
            {
                insert(width, home(to), home(src), (by as u8, mask.trailing_ones() as u8), out)
            }
            _ => false,
        }
    }
}

/// An operation whose second operand is a register shifted by a constant; `last`: it is the
/// second operand already.
fn shifted(
    (op, a, by): (AluOp, Place, u8),
    (wide, then, d): (bool, AluOp, Reg),
    (other, last): (Reg, bool),
    out: &mut Emission,
) -> bool {
    let shift = match op {
        AluOp::Lsh => Shift::Left,
        AluOp::Rsh => Shift::Right,
        AluOp::Arsh => Shift::Arithmetic,
        _ => return false,
    };
    let m = home(a);
    let by = (shift, by);
    out.word(match then {
        AluOp::Add => sum(Sum::Add, wide, d, other, m, by),
        AluOp::Sub if last => sum(Sum::Sub, wide, d, other, m, by),
        AluOp::And => logic(Logic::And, wide, d, other, m, by),
        AluOp::Or => logic(Logic::Or, wide, d, other, m, by),
        AluOp::Xor => logic(Logic::Xor, wide, d, other, m, by),
        _ => return false,
    });
    true
}

/// `d = n >> by & (2^count - 1)`
fn extract(width: Width, d: Reg, n: Reg, (by, count): (u8, u8), out: &mut Emission) -> bool {
    let wide = width == Width::W64;
    out.word(ubfm(wide, d, n, by, (by + count - 1).min(top(wide))));
    true
}

/// `d = (n & (2^count - 1)) << by`
fn insert(width: Width, d: Reg, n: Reg, (by, count): (u8, u8), out: &mut Emission) -> bool {
    let wide = width == Width::W64;
    let bits = top(wide) + 1;
    let count = count.min(bits - by);
    out.word(ubfm(wide, d, n, (bits - by) % bits, count - 1));
    true
}
