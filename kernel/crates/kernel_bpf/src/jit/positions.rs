//! Where the code of each instruction lies.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use super::emitter::{Copied, Emission};

/// The way from an address in the code back to an instruction.
#[derive(Debug)]
pub struct Positions {
    /// For each slot, where its code begins; one more for the end.
    first: Box<[u32]>,
    /// What stands several times, sorted by position.
    copies: Box<[Copied]>,
}

impl Positions {
    pub(super) fn new(emission: Emission) -> Self {
        let Emission { positions, copies, .. } = emission;
        Self { first: positions.into_boxed_slice(), copies: copies.into_boxed_slice() }
    }

    /// For each slot, where its code begins first; one more for the end.
    #[must_use]
    pub fn first(&self) -> &[u32] {
        &self.first
    }

    /// The slot whose code a byte of the code belongs to.
    #[must_use]
    pub fn slot_at(&self, offset: u32) -> usize {
        let before = self.copies.partition_point(|copy| copy.at <= offset).checked_sub(1);
        let copy = before.and_then(|before| self.copies.get(before));
        let Some(copy) = copy.filter(|copy| offset < copy.end) else {
            return self.first_at(offset);
        };
        // Of a copy of one round a jump at the end may be longer than that in the code itself.
        let round = (copy.end - copy.at) / copy.times;
        self.first_at(self.begin(copy.first) + (offset - copy.at) % round).min(copy.last as usize)
    }

    /// Where the code of a slot begins first.
    fn begin(&self, slot: u32) -> u32 {
        self.first.get(slot as usize).copied().unwrap_or(0)
    }

    /// The last slot whose code begins at or before a byte, when nothing stands several times.
    fn first_at(&self, offset: u32) -> usize {
        let after = self.first.partition_point(|&position| position <= offset);
        after.saturating_sub(1).min(self.first.len().saturating_sub(2))
    }

    /// The code of each slot, in the order in which it lies in memory: that of a slot whose code is
    /// repeated comes several times.
    #[must_use]
    pub fn pieces(&self) -> Vec<(usize, Range<usize>)> {
        let slots = self.first.len().saturating_sub(1);
        let first = self.first.iter().take(slots).enumerate();
        let mut begin: Vec<(u32, usize)> =
            first.map(|(slot, &position)| (position, slot)).collect();
        for copy in &self.copies {
            let round = (copy.end - copy.at) / copy.times;
            for at in (0..copy.times).map(|number| copy.at + number * round) {
                let again = (copy.first..=copy.last)
                    .map(|slot| (at + self.begin(slot) - self.begin(copy.first), slot as usize));
                begin.extend(again);
            }
            begin.push((copy.end, self.slot_at(copy.end)));
        }
        begin.sort_by_key(|&(position, _)| position);
        let end = self.first.last().copied().unwrap_or(0);
        let ends = begin.iter().skip(1).map(|&(position, _)| position).chain([end]);
        let piece =
            |(&(start, slot), end): (&(u32, usize), u32)| (slot, start as usize..end as usize);
        begin.iter().zip(ends).map(piece).collect()
    }
}
