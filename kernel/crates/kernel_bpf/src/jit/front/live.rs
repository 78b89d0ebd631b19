//! Which places are read after each operation; operations whose results nobody reads become
//! [`Op::Nop`].
//!
//! The usual backward analysis. The sets at the targets of jumps grow from nothing until they
//! stay the same; an operation that only writes what is not read counts as absent, so that a
//! chain of needless operations goes as a whole.

use alloc::vec;
use alloc::vec::Vec;

use crate::jit::ir::{Node, Op};

/// Fills in [`Node::live`].
pub(super) fn analyse(nodes: &mut [Node], slots: usize) {
    // For each slot that something jumps to: what is read from there on.
    let mut entries: Vec<u32> = vec![0; slots];
    let backward =
        nodes.iter().any(|node| node.op.target().is_some_and(|target| target <= node.slot));
    if backward {
        while pass(nodes, &mut entries, false) {}
    }
    pass(nodes, &mut entries, true);
}

/// One pass from the end; says whether a set grew at a target of a jump backwards.
fn pass(nodes: &mut [Node], entries: &mut [u32], last: bool) -> bool {
    let mut changed = false;
    let mut live = 0u32;
    for node in nodes.iter_mut().rev() {
        let entry = |target: u32| entries.get(target as usize).copied().unwrap_or(0);
        live = match node.op {
            Op::Jump { target } => entry(target),
            Op::Branch { target, .. } | Op::MayGoto { target } => live | entry(target),
            Op::Exit | Op::Enter { .. } => 0,
            _ => live,
        };
        node.live = live;
        if live & node.writes == 0 && node.op.is_pure() {
            if last {
                *node = Node::new(Op::Nop, node.slot);
            }
        } else {
            live = live & !node.writes | node.reads;
        }
        if node.op == Op::Label
            && let Some(entry) = entries.get_mut(node.slot as usize)
            && *entry | live != *entry
        {
            *entry |= live;
            changed = true;
        }
    }
    changed
}
