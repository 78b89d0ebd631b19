//! Operations that take fewer instructions together, when nobody reads what is between them.

use super::super::emitter::Emission;
use super::super::ir::{Node, Op, Place, Source};
use super::Riscv64;
use super::alu::Upper;
use super::asm::{Asm, home, i, imm, op, r};
use crate::insn::{AluOp, Width};

impl Riscv64 {
    /// Emits the first operations, if they are better done at once. Returns how many nodes.
    #[inline]
    pub(super) fn fused(&mut self, nodes: &[Node], out: &mut Emission) -> Option<usize> {
        let [first, rest @ ..] = nodes else { return None };
        let between =
            match first.op {
                Op::Constant { dst, .. } | Op::Move { width: Width::W32, dst, .. } => dst,
                Op::Alu {
                    width: Width::W64, op: AluOp::Lsh, dst, b: Source::Imm(1..=3), ..
                } if self.zba => dst,
                _ => return None,
            };
        // What the front end removed leaves nothing behind.
        let skipped = rest.iter().take_while(|node| node.op == Op::Nop).count();
        let second = rest.get(skipped)?;
        if (second.live & !second.writes) & between.bit() != 0 {
            return None;
        }
        self.wide = second.wide;
        self.two(&first.op, &second.op, out).then_some(skipped + 2)
    }

    fn two(&mut self, first: &Op, second: &Op, out: &mut Emission) -> bool {
        match (*first, *second) {
            (Op::Constant { dst: Place::R0, value }, Op::Exit) => self.leave_with(value, out),
            // 32 bits, extended with zeros and shifted.
            (
                Op::Move { dst, src, .. },
                Op::Alu {
                    width: Width::W64, op: AluOp::Lsh, dst: to, a, b: Source::Imm(by), ..
                },
            ) if a == dst && by < 32 => {
                let (d, n) = (home(to), home(src));
                if self.zba {
                    out.word(i(imm::SLLI_UW, d, n, by));
                } else {
                    out.word(i(imm::SLLI, d, n, 32));
                    out.word(i(imm::SRLI, d, d, 32 - by));
                }
                self.done(to, Upper::Right, out);
                true
            }
            (
                Op::Alu { op: AluOp::Lsh, dst, a: shifted, b: Source::Imm(by), .. },
                Op::Alu {
                    width: Width::W64, op: AluOp::Add, dst: to, a, b: Source::Place(b), ..
                },
            ) if (a == dst) != (b == dst) => {
                let other = home(if a == dst { b } else { a });
                let Some(&instruction) = op::SH_ADD.get(by as usize - 1) else { return false };
                out.word(r(instruction, home(to), home(shifted), other));
                self.done(to, Upper::Right, out);
                true
            }
            _ => false,
        }
    }
}
