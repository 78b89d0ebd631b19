//! Whose upper halves are read after each operation, for machines where it costs something to
//! clear the upper half of a 32-bit result.
//!
//! A backward analysis as that of `live`. An operation whose lower half does not depend on the
//! upper halves of its operands, such as an addition, reads those only if that of its result is
//! read.

use alloc::vec;
use alloc::vec::Vec;

use super::range;
use crate::insn::{AluOp, AtomicOp, Size, SwapWidth, Width};
use crate::jit::ir::{Node, Op, Place, Source};

/// Fills in [`Node::wide`], where `range` has left what it found out.
pub(super) fn analyse(nodes: &mut [Node], slots: usize) {
    // For each slot that something jumps to: whose upper halves are read from there on.
    let mut entries: Vec<u32> = vec![0; slots];
    // The sets grow from nothing.
    let mut passes = 0;
    while pass(nodes, &mut entries, false) {
        passes += 1;
        if passes == range::MOST_PASSES {
            // All that is written counts as read, so what `range` claims at labels is so.
            return;
        }
    }
    pass(nodes, &mut entries, true);
}

fn pass(nodes: &mut [Node], entries: &mut [u32], last: bool) -> bool {
    let mut changed = false;
    let mut wide = 0u32;
    for node in nodes.iter_mut().rev() {
        let entry = |target: u32| entries.get(target as usize).copied().unwrap_or(0);
        wide = match node.op {
            Op::Jump { target, .. } => entry(target),
            Op::Branch { target, .. } | Op::MayGoto { target } => wide | entry(target),
            Op::Exit | Op::Enter { .. } => 0,
            _ => wide,
        };
        if last {
            node.wide &= wide;
        }
        wide = wide & !node.writes | reads(node, wide);
        if matches!(node.op, Op::Label)
            && let Some(entry) = entries.get_mut(node.slot as usize)
            && *entry | wide != *entry
        {
            *entry |= wide;
            changed = true;
        }
    }
    changed
}

/// The places whose upper halves an operation reads, when those in `after` are read later.
fn reads(node: &Node, after: u32) -> u32 {
    match node.op {
        Op::Move { width: Width::W64, .. } | Op::Negate { width: Width::W64, .. } => {
            if after & node.writes != 0 { node.reads } else { 0 }
        }
        Op::Alu { width: Width::W64, op, a, b, .. } => match (op, b) {
            (AluOp::And, Source::Imm(0..)) => 0,
            (AluOp::Add | AluOp::Sub | AluOp::Mul | AluOp::And | AluOp::Or | AluOp::Xor, _) => {
                if after & node.writes != 0 {
                    node.reads
                } else {
                    0
                }
            }
            // The amount is in the lowest bits.
            (AluOp::Lsh, _) => {
                if after & node.writes != 0 {
                    a.bit()
                } else {
                    0
                }
            }
            (AluOp::Rsh | AluOp::Arsh, _) => a.bit(),
            _ => node.reads,
        },
        Op::Move { .. }
        | Op::Negate { .. }
        | Op::Alu { .. }
        | Op::SignExtend { .. }
        | Op::Truncate { .. } => 0,
        Op::Swap { bits: SwapWidth::B16 | SwapWidth::B32, .. } => 0,
        Op::Rotate { width: Width::W32, .. } | Op::Branch { width: Width::W32, .. } => 0,
        Op::Store { size, mem, src, .. } => {
            mem.reads() | if size == Size::DW { src.reads() } else { 0 }
        }
        Op::Atomic { op, width: Width::W64, mem, src } => {
            let compared = if op == AtomicOp::CmpXchg { Place::R0.bit() } else { 0 };
            mem.reads() | src.bit() | compared
        }
        Op::Atomic { mem, .. } => mem.reads(),
        _ => node.reads,
    }
}
