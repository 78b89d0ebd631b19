//! Code that stands several times: the rounds of a loop for one jump back, and the tails that the
//! ways round a loop share.
//!
//! It is copied as it was written. What comes before its last branch neither jumps nor depends on
//! where it lies, and an emitter remembers nothing at its beginning, which is a label, that would
//! not be so at each copy.

#![forbid(unsafe_code)]

use super::emitter::{Copied, Emission, Emitter};

/// Repeats what was written for the slots from `start` on, `times` times.
pub(super) fn rounds(start: u32, times: u32, out: &mut Emission) {
    let (Some(&from), at) = (out.positions.get(start as usize), out.here()) else { return };
    let code = from as usize..at as usize;
    for _ in 0..times {
        out.bytes.extend_from_within(code.clone());
    }
    let (end, last) = (out.here(), (out.begun as u32).saturating_sub(1));
    out.copies.push(Copied { at, end, times, first: start, last });
}

/// Emits a jump: as a copy of the tail between `target` and the branch of the slot `tail`, if it
/// leads back to one.
pub(super) fn goto<E: Emitter>(
    emitter: &mut E,
    target: u32,
    tail: Option<u32>,
    out: &mut Emission,
) {
    let behind = tail.and_then(|tail| copy_tail(emitter, target as usize, tail as usize, out));
    emitter.goto(behind.unwrap_or(target), out);
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
    let inside = out.copies.partition_point(|copy| copy.at < from);
    if out.copies.get(inside).is_some_and(|copy| copy.at < to) {
        return None;
    }
    let at = out.here();
    out.bytes.extend_from_within(from as usize..branch.at as usize);
    emitter.jump_again(&branch, out);
    let (end, first, last) = (out.here(), start as u32, tail as u32);
    out.copies.push(Copied { at, end, times: 1, first, last });
    Some(last + 1)
}
