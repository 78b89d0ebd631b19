//! Code that stands several times: the rounds of a loop for one jump back, and the tails that the
//! ways round a loop share.
//!
//! It is copied as it was written. What comes before its last branch neither jumps nor depends on
//! where it lies, and an emitter remembers nothing at its beginning, which is a label, that would
//! not be so at each copy.

#![forbid(unsafe_code)]

use core::ops::Range;

use super::emitter::{Emission, Emitter};

/// Repeats what was written for the slots from `start` on.
pub(super) fn rounds(start: u32, more: u32, out: &mut Emission) {
    let slots = start as usize..out.begun;
    let Some(&from) = out.positions.get(slots.start) else { return };
    let to = out.here();
    let code = from as usize..to as usize;
    for _ in 0..more {
        note(slots.clone(), from..to, out);
        out.bytes.extend_from_within(code.clone());
    }
}

/// Emits a jump: as a copy of the tail between `target` and the branch of the slot `tail`, if it
/// leads back to one. `slot` is that of the jump.
pub(super) fn goto<E: Emitter>(
    emitter: &mut E,
    target: u32,
    tail: Option<u32>,
    slot: u32,
    out: &mut Emission,
) {
    let behind = tail.and_then(|tail| copy_tail(emitter, target as usize, tail as usize, out));
    if let Some(behind) = behind {
        out.again.push((out.here(), slot));
        emitter.goto(behind, out);
    } else {
        emitter.goto(target, out);
    }
}

/// Copies a tail; returns the slot behind it, where the copy has to go on.
fn copy_tail<E: Emitter>(
    emitter: &mut E,
    start: usize,
    tail: usize,
    out: &mut Emission,
) -> Option<u32> {
    let (&from, &to) = (out.positions.get(start)?, out.positions.get(tail + 1)?);
    let branch = out.jumps.partition_point(|jump| jump.at < from);
    let branch = *out.jumps.get(branch)?;
    // The only one, and the last instruction.
    if tail + 1 >= out.begun || branch.at + E::jump_bytes(branch.kind) != to {
        return None;
    }
    // A loop whose rounds are repeated has more code than its slots tell.
    let again = out.again.partition_point(|&(position, _)| position < from);
    if out.again.get(again).is_some_and(|&(position, _)| position < to) {
        return None;
    }
    note(start..tail + 1, from..to, out);
    out.bytes.extend_from_within(from as usize..branch.at as usize);
    emitter.jump_again(&branch, out);
    Some(tail as u32 + 1)
}

/// Notes that the code of some slots, which was written at `code`, begins once more here.
fn note(slots: Range<usize>, code: Range<u32>, out: &mut Emission) {
    let here = out.here();
    for slot in slots.clone() {
        let Some(&position) = out.positions.get(slot) else { return };
        let next = if slot + 1 < slots.end { out.positions.get(slot + 1) } else { None };
        // Not of slots without code.
        if position != next.copied().unwrap_or(code.end) {
            out.again.push((here + position - code.start, slot as u32));
        }
    }
}
