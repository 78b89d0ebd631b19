//! Which places are read after each operation; operations whose results nobody reads become
//! [`Op::Nop`], and sums that only the address of the next access reads become part of it.
//!
//! The usual backward analysis. The sets at the targets of jumps grow from nothing until they
//! stay the same; an operation that only writes what is not read counts as absent, so that a
//! chain of needless operations goes as a whole.

use super::Function;
use super::scan::Slot;
use crate::insn::{AluOp, Width};
use crate::jit::emitter::Emitter;
use crate::jit::ir::{Mem, Node, Op, Place, Source};

/// What a program's code must have.
#[derive(Default)]
pub(super) struct Needs {
    pub(super) run: bool,
    pub(super) trampoline: bool,
}

/// Fills in [`Node::live`], and what each function uses of what is left. `loops`: something jumps
/// backwards.
pub(super) fn analyse<E: Emitter>(
    nodes: &mut [Node],
    functions: &mut [Function],
    slots: &mut [Slot],
    loops: bool,
) -> Needs {
    if loops {
        grow(nodes, slots);
    }
    finish::<E>(nodes, functions, slots)
}

/// What is read after a node, when `live` is read before the next one; and whether it jumps
/// backwards.
#[inline(always)]
fn after(node: &Node, live: u32, slots: &mut [Slot]) -> (u32, bool) {
    let mut entry = |target: u32| {
        let back = target <= node.slot;
        let Some(entry) = slots.get_mut(target as usize) else { return (0, back) };
        entry.backward |= back;
        (entry.live, back)
    };
    match node.op {
        Op::Jump { target } => entry(target),
        Op::Branch { target, .. } | Op::MayGoto { target } => {
            let (there, back) = entry(target);
            (live | there, back)
        }
        Op::Exit | Op::Enter { .. } => (0, false),
        _ => (live, false),
    }
}

/// Notes what is read from a label on. If something jumps there backwards, says so, and whether it
/// is more than that jump knew of.
#[inline(always)]
fn enter(node: &Node, live: u32, slots: &mut [Slot]) -> (bool, bool) {
    let Some(entry) = slots.get_mut(node.slot as usize) else { return (false, false) };
    let grew = entry.live | live != entry.live;
    entry.live |= live;
    (entry.backward, grew && entry.backward)
}

/// Lets the sets grow until they stay the same. The first pass goes over everything. After it only
/// what lies between the first label that something jumps back to and the last such jump may still
/// grow: what is read behind that is known, and what is before it waits for the last pass.
fn grow(nodes: &[Node], slots: &mut [Slot]) {
    let (mut start, mut end, mut behind) = (0, nodes.len(), 0);
    loop {
        let (mut again, mut live, mut last) = (false, behind, None);
        let first = start;
        let mut part = nodes.get(first..end).unwrap_or_default();
        while let Some((node, before)) = part.split_last() {
            part = before;
            if node.flow {
                let index = first + before.len();
                let (read, back) = after(node, live, slots);
                if back && last.is_none() {
                    (last, behind) = (Some(index + 1), live);
                }
                live = read | node.reads;
                if matches!(node.op, Op::Label) {
                    let (head, grew) = enter(node, live, slots);
                    if head {
                        start = index;
                    }
                    again |= grew;
                }
            } else if live & node.writes != 0 || !node.pure {
                live = live & !node.writes | node.reads;
            }
        }
        if !again {
            break;
        }
        end = last.unwrap_or(end);
    }
}

/// The last pass, which leaves only what is needed.
fn finish<E: Emitter>(nodes: &mut [Node], functions: &mut [Function], slots: &mut [Slot]) -> Needs {
    let (mut needs, mut current, mut live) = (Needs::default(), Function::default(), 0);
    for index in (0..nodes.len()).rev() {
        let rest = nodes.get_mut(index..).unwrap_or_default();
        let Some((node, behind)) = rest.split_first_mut() else { break };
        if node.flow {
            (live, _) = after(node, live, slots);
        }
        node.live = live;
        if node.pure {
            let dead = live & node.writes == 0;
            let before = if dead { Some(live) } else { into_address::<E>(&node.op, behind) };
            if let Some(before) = before {
                live = before;
                *node = Node::new(Op::Nop, node.slot);
                continue;
            }
        }
        live = live & !node.writes | node.reads;
        current.places |= node.reads | node.writes;
        if node.pure {
            continue;
        }
        match node.op {
            Op::Label => {
                enter(node, live, slots);
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

/// Makes a sum or shift in place, that only the address of the access behind it reads, part of
/// that access. Returns what is read before the access then.
#[inline(always)]
fn into_address<E: Emitter>(op: &Op, behind: &mut [Node]) -> Option<u32> {
    let Op::Alu { width: Width::W64, op, dst, a, b, .. } = *op else { return None };
    if dst != a || !matches!(op, AluOp::Add | AluOp::Lsh) {
        return None;
    }
    let next = behind.iter_mut().find(|node| !matches!(node.op, Op::Nop))?;
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
    Some(next.live & !next.writes | next.reads)
}
