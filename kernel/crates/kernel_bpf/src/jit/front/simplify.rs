//! Arithmetic: what constants make simpler, and what two or three instructions are one operation
//! of a machine (rotations, extensions).

use super::Front;
use crate::insn::{AluOp, Cond, SignedSize, Width};
use crate::jit::emitter::Emitter;
use crate::jit::ir::{Node, Op, Place, Source};

/// The condition that holds when `cond` does not.
pub(super) const fn invert(cond: Cond) -> Option<Cond> {
    Some(match cond {
        Cond::Eq => Cond::Ne,
        Cond::Ne => Cond::Eq,
        Cond::Gt => Cond::Le,
        Cond::Le => Cond::Gt,
        Cond::Ge => Cond::Lt,
        Cond::Lt => Cond::Ge,
        Cond::Sgt => Cond::Sle,
        Cond::Sle => Cond::Sgt,
        Cond::Sge => Cond::Slt,
        Cond::Slt => Cond::Sge,
        Cond::Set => return None,
    })
}

pub(super) const fn bits(width: Width) -> u32 {
    match width {
        Width::W32 => 32,
        Width::W64 => 64,
    }
}

impl<E: Emitter> Front<'_, E> {
    /// `dst = from op b`
    #[inline]
    pub(super) fn alu_places(
        &mut self,
        width: Width,
        op: AluOp,
        dst: Place,
        from: Place,
        b: Place,
    ) {
        let a = self.known.operand(from, width);
        if op == AluOp::Or && self.rotate(width, dst, a, b) {
            return;
        }
        let nonzero = matches!(op, AluOp::Div | AluOp::Mod) && self.divisor_is_nonzero();
        self.push(Op::Alu { width, op, dst, a, b: Source::Place(b), nonzero });
    }

    /// `dst = from op imm`
    pub(super) fn alu_constant(
        &mut self,
        width: Width,
        op: AluOp,
        dst: Place,
        from: Place,
        imm: i32,
    ) {
        let a = self.known.operand(from, width);
        let plain = |op, a, imm| Op::Alu { width, op, dst, a, b: Source::Imm(imm), nonzero: true };
        // As an unsigned divisor.
        let divisor = match width {
            Width::W32 => u64::from(imm as u32),
            Width::W64 => i64::from(imm) as u64,
        };
        match op {
            AluOp::Add | AluOp::Sub => self.add_constant(width, op, dst, from, imm),
            AluOp::Or | AluOp::Xor if imm == 0 => self.copy(width, dst, from),
            AluOp::And if imm == -1 => self.copy(width, dst, from),
            AluOp::And if imm == 0xff => {
                let src = self.known.low(from);
                self.push(Op::Truncate { dst, src, size: SignedSize::B });
            }
            AluOp::And if imm == 0xffff => {
                let src = self.known.low(from);
                self.push(Op::Truncate { dst, src, size: SignedSize::H });
            }
            AluOp::Mul if imm == 1 => self.copy(width, dst, from),
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => match imm as u32 % bits(width) {
                0 => self.copy(width, dst, from),
                amount => self.shift(width, op, dst, a, amount),
            },
            AluOp::Div if divisor == 0 => self.constant(dst, 0),
            AluOp::Div if divisor == 1 => self.copy(width, dst, from),
            AluOp::Div if divisor.is_power_of_two() => {
                self.shift(width, AluOp::Rsh, dst, a, divisor.trailing_zeros());
            }
            AluOp::Mod | AluOp::SMod if imm == 0 => self.copy(width, dst, from),
            AluOp::Mod if divisor.is_power_of_two() && divisor <= 1 << 31 => {
                let mask = (divisor - 1) as i32;
                self.alu_constant(width, AluOp::And, dst, from, mask);
            }
            AluOp::SDiv if imm == 0 => self.constant(dst, 0),
            AluOp::SDiv if imm == 1 => self.copy(width, dst, from),
            AluOp::SDiv if imm == -1 => self.push(Op::Negate { width, dst, src: a }),
            AluOp::SMod if imm == 1 || imm == -1 => self.constant(dst, 0),
            _ => self.push(plain(op, a, imm)),
        }
    }

    /// Additions and subtractions of constants add up, also those to the frame pointer.
    fn add_constant(&mut self, width: Width, op: AluOp, dst: Place, from: Place, imm: i32) {
        let a = self.known.operand(from, width);
        let negative = op == AluOp::Sub;
        let sum = match width {
            Width::W32 => Some((a, if negative { imm.wrapping_neg() } else { imm })),
            Width::W64 => {
                let imm = if negative { imm.checked_neg() } else { Some(imm) };
                let (base, offset) = self.known.offset(from);
                let sum = imm.and_then(|imm| Some((base, imm.checked_add(offset)?)));
                sum.or(imm.map(|imm| (a, imm)))
            }
        };
        match sum {
            Some((base, 0)) => self.copy(width, dst, base),
            Some((a, imm)) => {
                let (op, b) = (AluOp::Add, Source::Imm(imm));
                self.push(Op::Alu { width, op, dst, a, b, nonzero: false });
            }
            None => self.push(Op::Alu { width, op, dst, a, b: Source::Imm(imm), nonzero: false }),
        }
    }

    /// A shift by a constant; one back and forth is an extension.
    fn shift(&mut self, width: Width, op: AluOp, dst: Place, a: Place, amount: u32) {
        if width == Width::W64
            && op != AluOp::Lsh
            && let Some(&Op::Alu {
                width: Width::W64,
                op: AluOp::Lsh,
                dst: shifted,
                a: src,
                b: Source::Imm(left),
                ..
            }) = self.last()
            && shifted == dst
            && a == dst
            && left as u32 == amount
        {
            let from = match amount {
                32 => SignedSize::W,
                48 => SignedSize::H,
                56 => SignedSize::B,
                _ => return self.plain_shift(width, op, dst, a, amount),
            };
            self.nodes.pop();
            self.push(match (op, from) {
                (AluOp::Rsh, SignedSize::W) => Op::Move { width: Width::W32, dst, src },
                (AluOp::Rsh, size) => Op::Truncate { dst, src, size },
                _ => Op::SignExtend { width, dst, src, from },
            });
            return;
        }
        self.plain_shift(width, op, dst, a, amount);
    }

    fn plain_shift(&mut self, width: Width, op: AluOp, dst: Place, a: Place, amount: u32) {
        let b = Source::Imm(amount as i32);
        self.push(Op::Alu { width, op, dst, a, b, nonzero: false });
    }

    /// `dst = a | b`, where `a` and `b` have just been shifted from one value in opposite
    /// directions by amounts that add up to the width: a rotation. The shift whose result `dst`
    /// overwrites goes; `live` removes the other one if nobody reads it.
    #[inline(never)]
    fn rotate(&mut self, width: Width, dst: Place, a: Place, b: Place) -> bool {
        let shift = |node: &Node| match node.op {
            Op::Alu { width: w, op, dst, a, b: Source::Imm(by), .. } if w == width => {
                matches!(op, AluOp::Lsh | AluOp::Rsh).then_some((op, dst, a, by))
            }
            _ => None,
        };
        let [.., one, two] = self.nodes.as_slice() else { return false };
        let Some((second_op, second, again, second_by)) = shift(two) else { return false };
        let Some((first_op, first, source, first_by)) = shift(one) else { return false };
        if first_op == second_op
            || source != again
            || first == source
            || first_by + second_by != bits(width) as i32
            || !((a == first && b == second) || (a == second && b == first))
            || first == second
        {
            return false;
        }
        let (one_node, two_node) = (*one, *two);
        let left = if first_op == AluOp::Lsh { first_by } else { second_by } as u8;
        let rotation = Op::Rotate { width, dst, src: source, left };
        if dst == second {
            self.nodes.pop();
            self.push(rotation);
        } else if dst == first && second != source {
            self.nodes.pop();
            self.nodes.pop();
            // The second shift may be read later; its source must not be overwritten first.
            self.nodes.push(two_node);
            self.push(rotation);
        } else if dst == first {
            // The second shift overwrites what is rotated: rotate before.
            self.nodes.pop();
            self.nodes.pop();
            let node = Node::new(rotation, one_node.slot);
            self.known.follow(&rotation, (node.reads, node.writes));
            self.nodes.push(node);
            self.nodes.push(two_node);
        } else {
            return false;
        }
        true
    }
}
