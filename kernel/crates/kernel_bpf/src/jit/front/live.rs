//! Which places are read after each operation; operations whose results nobody reads become
//! [`Op::Nop`], and sums that only the address of the next access reads become part of it.
//!
//! The usual backward analysis, in one pass: what may be read behind a jump that leads backwards
//! is known before, from the verifier. An operation that only writes what is not read counts as
//! absent, so that a chain of needless operations goes as a whole.

use super::Function;
use crate::insn::{AluOp, Width};
use crate::jit::emitter::Emitter;
use crate::jit::ir::{Mem, Node, Op, Place, Source};

/// What a program's code must have.
#[derive(Default)]
pub(super) struct Needs {
    pub(super) run: bool,
    pub(super) trampoline: bool,
}

/// What is read after a node, when `live` is read before the next one.
#[inline(always)]
fn after(node: &Node, live: u32, entries: &[u32]) -> u32 {
    let entry = |target: u32| entries.get(target as usize).copied().unwrap_or(0);
    match node.op {
        Op::Jump { target, .. } => entry(target),
        Op::Branch { target, .. } | Op::MayGoto { target } => live | entry(target),
        Op::Exit | Op::Enter { .. } => 0,
        _ => live,
    }
}

/// Fills in [`Node::live`], and what each function uses of what is left. `entries` has for each
/// slot that a jump leads back to what may be read there, the frame pointer in any case; it is
/// 0 for any other.
pub(super) fn analyse<E: Emitter>(
    nodes: &mut [Node],
    functions: &mut [Function],
    entries: &mut [u32],
) -> Needs {
    let (mut needs, mut current, mut live) = (Needs::default(), Function::default(), 0);
    for index in (0..nodes.len()).rev() {
        let node = &mut nodes[index];
        let (reads, writes) = (node.reads, node.writes);
        if node.pure {
            node.live = live;
            if live & writes == 0 {
                *node = Node::new(Op::Nop, node.slot);
            } else if may_be_address(&node.op)
                && nodes.get(index + 1).is_some_and(|next| may_access(&next.op))
                && let Some(before) = into_address::<E>(nodes, index)
            {
                live = before;
            } else {
                live = live & !writes | reads;
                current.places |= reads | writes;
            }
            continue;
        }
        if node.flow {
            live = after(node, live, entries);
        }
        node.live = live;
        live = live & !writes | reads;
        current.places |= reads | writes;
        match node.op {
            Op::Label => {
                if let Some(entry) = entries.get_mut(node.slot as usize) {
                    #[cfg(test)]
                    assert!(
                        *entry & Place::FRAME.bit() == 0 || live & !*entry == 0,
                        "more is read at {} than jumps back to it know",
                        node.slot
                    );
                    *entry |= live;
                }
            }
            Op::Call { .. } | Op::TailCall { .. } => {
                needs.run = true;
                needs.trampoline |= matches!(node.op, Op::TailCall { .. });
                current.calls = true;
            }
            Op::FunctionAddress { .. } => needs.trampoline = true,
            Op::MayGoto { .. } => needs.run = true,
            Op::CallLocal { .. } => current.calls = true,
            Op::Enter { function } => {
                let found = core::mem::take(&mut current);
                if let Some(function) = functions.get_mut(function as usize) {
                    function.places = found.places;
                    function.calls = found.calls;
                    if found.places & Place::FRAME.bit() == 0 {
                        function.stack = 0;
                    }
                }
            }
            _ => {}
        }
    }
    needs
}

/// Whether an operation is a sum or shift in place.
#[inline(always)]
fn may_be_address(op: &Op) -> bool {
    matches!(
        op,
        Op::Alu { width: Width::W64, op: AluOp::Add | AluOp::Lsh, dst, a, .. } if dst == a
    )
}

/// Whether an operation is an access, or one that is left out before it.
#[inline(always)]
fn may_access(op: &Op) -> bool {
    matches!(op, Op::Load { .. } | Op::Store { .. } | Op::Nop)
}

/// How far behind a sum the access may be, over what is left out.
const NEAR: usize = 8;

/// Makes a sum or shift in place, that only the address of the access behind it reads, part of
/// that access. Returns what is read before the access then.
#[inline(never)]
fn into_address<E: Emitter>(nodes: &mut [Node], index: usize) -> Option<u32> {
    let [node, behind @ ..] = nodes.get_mut(index..)? else { return None };
    let Op::Alu { op, dst, b, .. } = node.op else { return None };
    let next = behind.iter_mut().take(NEAR).find(|node| !matches!(node.op, Op::Nop))?;
    if next.live & !next.writes & dst.bit() != 0 {
        return None;
    }
    let (mem, size) = match &mut next.op {
        Op::Load { acquire: false, mem, size, .. } => (mem, *size),
        Op::Store { release: false, mem, size, src } if *src != Source::Place(dst) => (mem, *size),
        _ => return None,
    };
    let (base, index) = (mem.base == dst, mem.index == Some(dst));
    let folded = match (op, b) {
        (AluOp::Add, Source::Place(b)) if base && mem.index.is_none() && b != dst => {
            Mem { index: Some(b), shift: 0, ..*mem }
        }
        (AluOp::Add, Source::Imm(imm)) if base && !index => {
            Mem { offset: mem.offset.checked_add(imm)?, ..*mem }
        }
        (AluOp::Lsh, Source::Imm(by @ 1..=3)) if index && !base && mem.shift == 0 => {
            Mem { shift: by as u8, ..*mem }
        }
        _ => return None,
    };
    if !E::addresses(&folded, size) {
        return None;
    }
    *mem = folded;
    (next.reads, _) = next.op.effects();
    *node = Node::new(Op::Nop, node.slot);
    Some(next.live & !next.writes | next.reads)
}
