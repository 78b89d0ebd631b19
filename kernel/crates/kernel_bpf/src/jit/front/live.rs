//! Which places are read after each operation; operations whose results nobody reads become
//! [`Op::Nop`], and sums that only the address of the next access reads become part of it.
//!
//! The usual backward analysis. The sets at the targets of jumps grow from nothing until they
//! stay the same; an operation that only writes what is not read counts as absent, so that a
//! chain of needless operations goes as a whole.

use alloc::vec;
use alloc::vec::Vec;

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

/// What is read from a slot on that something jumps to.
#[derive(Clone, Copy, Default)]
struct Entry {
    live: u32,
    /// Something jumps there backwards.
    backward: bool,
}

/// Fills in [`Node::live`], and what each function uses of what is left. `loops`: something jumps
/// backwards.
pub(super) fn analyse<E: Emitter>(
    nodes: &mut [Node],
    functions: &mut [Function],
    (slots, loops): (usize, bool),
) -> Needs {
    let mut entries: Vec<Entry> = vec![Entry::default(); slots];
    if loops {
        while grow(nodes, &mut entries) {}
    }
    finish::<E>(nodes, functions, &mut entries)
}

/// What is read after a node, when `live` is read before the next one.
#[inline(always)]
fn after(node: &Node, live: u32, entries: &mut [Entry]) -> u32 {
    let mut entry = |target: u32| {
        let Some(entry) = entries.get_mut(target as usize) else { return 0 };
        entry.backward |= target <= node.slot;
        entry.live
    };
    match node.op {
        Op::Jump { target } => entry(target),
        Op::Branch { target, .. } | Op::MayGoto { target } => live | entry(target),
        Op::Exit | Op::Enter { .. } => 0,
        _ => live,
    }
}

/// Notes what is read from a label on; says whether that is more than a jump to it, seen before
/// it, knew of.
#[inline(always)]
fn enter(node: &Node, live: u32, entries: &mut [Entry]) -> bool {
    let Some(entry) = entries.get_mut(node.slot as usize) else { return false };
    let grew = entry.live | live != entry.live;
    entry.live |= live;
    grew && entry.backward
}

/// One pass from the end; says whether there must be another.
fn grow(nodes: &[Node], entries: &mut [Entry]) -> bool {
    let (mut again, mut live) = (false, 0);
    for node in nodes.iter().rev() {
        live = after(node, live, entries);
        if live & node.writes != 0 || !node.op.is_pure() {
            live = live & !node.writes | node.reads;
        }
        if matches!(node.op, Op::Label) {
            again |= enter(node, live, entries);
        }
    }
    again
}

/// The last pass, which leaves only what is needed.
fn finish<E: Emitter>(
    nodes: &mut [Node],
    functions: &mut [Function],
    entries: &mut [Entry],
) -> Needs {
    let (mut needs, mut current, mut live) = (Needs::default(), Function::default(), 0);
    for index in (0..nodes.len()).rev() {
        let rest = nodes.get_mut(index..).unwrap_or_default();
        let Some((node, behind)) = rest.split_first_mut() else { break };
        live = after(node, live, entries);
        node.live = live;
        if live & node.writes == 0 && node.op.is_pure() {
            *node = Node::new(Op::Nop, node.slot);
            continue;
        }
        if let Some(before) = into_address::<E>(&node.op, behind) {
            live = before;
            *node = Node::new(Op::Nop, node.slot);
            continue;
        }
        live = live & !node.writes | node.reads;
        current.places |= node.reads | node.writes;
        match node.op {
            Op::Label => {
                enter(node, live, entries);
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
