//! Room for branches that do not reach: machines whose conditional branches are short replace
//! them by the opposite branch over a jump, which takes more bytes.

#![forbid(unsafe_code)]

use alloc::vec;
use alloc::vec::Vec;

use super::emitter::{Emission, Jump};

/// Finds which jumps need more bytes, and puts that many zeros behind their 4-byte instructions.
/// `more` gives the bytes that a kind of jump needs in addition to go that far. Code shorter than
/// `reach`, which every jump can cross, stays as it is. Returns the bytes for each jump, or
/// nothing where no jump needs any.
pub(super) fn widen(out: &mut Emission, reach: usize, more: impl Fn(u16, i64) -> u8) -> Vec<u8> {
    if out.bytes.len() < reach {
        return Vec::new();
    }
    let mut extra: Vec<u8> = vec![0; out.jumps.len()];
    // What is put in makes other jumps longer: until none needs more.
    loop {
        let moved = Moved::new(out, &extra);
        let mut changed = false;
        for (jump, extra) in out.jumps.iter().zip(&mut extra) {
            let to = moved.position(out, out.position(jump.to));
            let from = moved.position(out, jump.at);
            let needed = more(jump.kind, i64::from(to) - i64::from(from));
            if needed > *extra {
                *extra = needed;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    if extra.iter().all(|&bytes| bytes == 0) {
        return Vec::new();
    }
    insert(out, &extra);
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

fn insert(out: &mut Emission, extra: &[u8]) {
    let moved = Moved::new(out, extra);
    let mut bytes = Vec::with_capacity(out.bytes.len() + moved.all as usize);
    let mut from = 0;
    for (jump, &extra) in out.jumps.iter().zip(extra) {
        if extra != 0 {
            let end = jump.at as usize + 4;
            bytes.extend_from_slice(out.bytes.get(from..end).unwrap_or_default());
            bytes.resize(bytes.len() + usize::from(extra), 0);
            from = end;
        }
    }
    bytes.extend_from_slice(out.bytes.get(from..).unwrap_or_default());
    let mut positions = core::mem::take(&mut out.positions);
    let mut entries = core::mem::take(&mut out.entries);
    let mut outside = core::mem::take(&mut out.outside);
    for position in positions.iter_mut().chain(&mut entries) {
        *position = moved.position(out, *position);
    }
    let mut again = core::mem::take(&mut out.again);
    for (position, _) in &mut again {
        *position = moved.position(out, *position);
    }
    for reference in &mut outside {
        reference.at = moved.position(out, reference.at);
    }
    let jumps = out.jumps.iter().map(|jump| Jump { at: moved.position(out, jump.at), ..*jump });
    let (jumps, begun) = (jumps.collect(), out.begun);
    *out = Emission { bytes, positions, begun, again, entries, outside, jumps };
}
