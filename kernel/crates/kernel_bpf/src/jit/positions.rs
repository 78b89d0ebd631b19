//! Where the code of each instruction lies.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use super::emitter::Emission;

/// The way from an address in the code back to an instruction.
#[derive(Debug)]
pub struct Positions {
    /// For each slot, where its code begins; one more for the end.
    first: Box<[u32]>,
    /// Where the code of a slot begins once more, in a round of a loop that is repeated or a copy of
    /// its tail; sorted by position.
    again: Box<[(u32, u32)]>,
}

impl Positions {
    pub(super) fn new(emission: Emission) -> Self {
        let Emission { positions, again, .. } = emission;
        Self { first: positions.into_boxed_slice(), again: again.into_boxed_slice() }
    }

    /// For each slot, where its code begins first; one more for the end.
    #[must_use]
    pub fn first(&self) -> &[u32] {
        &self.first
    }

    /// The slot whose code a byte of the code belongs to.
    #[must_use]
    pub fn slot_at(&self, offset: u32) -> usize {
        let after = self.first.partition_point(|&position| position <= offset);
        let slot = after.saturating_sub(1).min(self.first.len().saturating_sub(2));
        let began = self.first.get(slot).copied().unwrap_or(0);
        let after = self.again.partition_point(|&(position, _)| position <= offset);
        match self.again.get(after.wrapping_sub(1)) {
            Some(&(position, repeated)) if position >= began => repeated as usize,
            _ => slot,
        }
    }

    /// The code of each slot, in the order in which it lies in memory: that of a slot whose code is
    /// repeated comes several times.
    #[must_use]
    pub fn pieces(&self) -> Vec<(usize, Range<usize>)> {
        let slots = self.first.len().saturating_sub(1);
        let first = self.first.iter().take(slots).enumerate();
        let first = first.map(|(slot, &position)| (position, slot));
        let again = self.again.iter().map(|&(position, slot)| (position, slot as usize));
        let mut begin: Vec<(u32, usize)> = first.chain(again).collect();
        begin.sort_by_key(|&(position, _)| position);
        let end = self.first.last().copied().unwrap_or(0);
        let ends = begin.iter().skip(1).map(|&(position, _)| position).chain([end]);
        let piece =
            |(&(start, slot), end): (&(u32, usize), u32)| (slot, start as usize..end as usize);
        begin.iter().zip(ends).map(piece).collect()
    }
}
