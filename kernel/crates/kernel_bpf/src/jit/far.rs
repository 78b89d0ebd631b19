//! Room for jumps that do not reach: they are written in a form that is short, and those whose
//! target turns out to be too far take more bytes, for a longer form or for the opposite branch
//! over a jump.

#![forbid(unsafe_code)]

use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use super::emitter::{Emission, Jump};

/// Rounds of looking for jumps that need more bytes: a chain of jumps, each over the next one, may
/// need as many as it has jumps.
const MOST_ROUNDS: usize = 8;

/// Finds which jumps need more bytes, and puts that many zeros behind the first `size` bytes of
/// each. `more` gives the bytes that a kind of jump needs in addition to go that far. Returns the
/// bytes for each jump, or nothing where no jump needs any.
pub(super) fn widen(out: &mut Emission, size: u32, more: impl Fn(u16, i64) -> u8) -> Vec<u8> {
    let distance =
        |out: &Emission, jump: &Jump| i64::from(out.position(jump.to)) - i64::from(jump.at);
    if out.jumps.iter().all(|jump| more(jump.kind, distance(out, jump)) == 0) {
        return Vec::new();
    }
    let mut extra: Vec<u8> = vec![0; out.jumps.len()];
    // What is put in makes other jumps longer: until none needs more, or it has taken long.
    let mut settled = false;
    for _ in 0..MOST_ROUNDS {
        let moved = Moved::new(out, &extra);
        let mut changed = false;
        for (jump, extra) in out.jumps.iter().zip(&mut extra) {
            let before = distance(out, jump);
            // Most reach even if all of it comes between them and their targets.
            if more(jump.kind, before + before.signum() * i64::from(moved.all)) <= *extra {
                continue;
            }
            let to = moved.position(out, out.position(jump.to));
            let from = moved.position(out, jump.at);
            let needed = more(jump.kind, i64::from(to) - i64::from(from));
            if needed > *extra {
                *extra = needed;
                changed = true;
            }
        }
        if !changed {
            settled = true;
            break;
        }
    }
    if !settled {
        // As if all of them needed all that any may: then none can need more.
        let most = |jump: &Jump| i64::from(more(jump.kind, i64::from(i32::MAX)));
        let all: i64 = out.jumps.iter().map(most).sum();
        for (jump, extra) in out.jumps.iter().zip(&mut extra) {
            let before = distance(out, jump);
            *extra = more(jump.kind, before + before.signum() * all);
        }
    }
    insert(out, size, &extra);
    extra
}

/// How far positions move.
struct Moved {
    /// For each jump, the bytes put in before it.
    before: Vec<u32>,
    all: u32,
}

impl Moved {
    fn new(out: &Emission, extra: &[u8]) -> Self {
        let mut all = 0;
        let mut before = Vec::with_capacity(out.jumps.len());
        for bytes in extra {
            before.push(all);
            all += u32::from(*bytes);
        }
        Self { before, all }
    }

    fn position(&self, out: &Emission, position: u32) -> u32 {
        // Jumps are recorded in the order in which they are written.
        let after = out.jumps.partition_point(|jump| jump.at < position);
        position + self.before.get(after).copied().unwrap_or(self.all)
    }
}

/// Moves the code apart, and everything that names a position with it. All of it is sorted, but for
/// the entries of functions that were never emitted, which nothing refers to.
fn insert(out: &mut Emission, size: u32, extra: &[u8]) {
    let room = extra.iter().map(|&bytes| usize::from(bytes)).sum::<usize>();
    let more = Vec::with_capacity(out.bytes.len() + room);
    let old = mem::replace(&mut out.bytes, more);
    let mut slots = out.positions.iter_mut().peekable();
    let copies = out.copies.iter_mut().flat_map(|copy| [&mut copy.at, &mut copy.end]);
    let mut copies = copies.peekable();
    let mut entries = out.entries.iter_mut().peekable();
    let mut outside = out.outside.iter_mut().peekable();
    let mut shift = |until: u32, by: u32| {
        while let Some(position) = slots.next_if(|position| **position <= until) {
            *position += by;
        }
        while let Some(position) = copies.next_if(|position| **position <= until) {
            *position += by;
        }
        while let Some(position) = entries.next_if(|position| **position <= until) {
            *position += by;
        }
        while let Some(reference) = outside.next_if(|reference| reference.at <= until) {
            reference.at += by;
        }
    };
    let (mut from, mut by) = (0, 0);
    for (jump, &extra) in out.jumps.iter_mut().zip(extra) {
        if extra != 0 {
            shift(jump.at, by);
            let end = (jump.at + size) as usize;
            out.bytes.extend_from_slice(old.get(from..end).unwrap_or_default());
            out.bytes.resize(out.bytes.len() + usize::from(extra), 0);
            from = end;
        }
        jump.at += by;
        by += u32::from(extra);
    }
    shift(u32::MAX, by);
    out.bytes.extend_from_slice(old.get(from..).unwrap_or_default());
}
