//! The elements of hash maps and tries: numbered rows of words, in blocks that never move.
//!
//! Words 0 to 2 of each row have the same meaning in every map: a link that readers follow,
//! the tag of the row's retirement, and the next retired row. A row is given out by
//! [`Elements::take`] and comes back by [`Elements::retire`]; it is given out again only when
//! every CPU has passed a quiescent state since, so that a reader may stand on it as long as
//! its program runs, unless the map asks for one that readers may stand on
//! ([`Elements::take_from_readers`]). The map's lock guards [`Free`].
//!
//! A preallocated map has all its elements in one block. A map created with
//! `BPF_F_NO_PREALLOC` starts with none and gets a block whenever its highest element so far
//! is passed; blocks are given back when the map is dropped.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use kernel_sync::OnceCell;

use super::epoch::Epoch;
use super::error::MapError;
use crate::memory::{Memory, Region};

/// About how many bytes a block of a growing map has.
const BLOCK_BYTES: usize = 16 * 1024;

/// The word that readers follow, as the map defines it.
pub(super) const LINK: usize = 0;
/// The tag of an element that was taken out.
const TAG: usize = 1;
/// The element that was taken out after this one, plus one.
const QUEUE: usize = 2;
/// The map's own words begin here.
pub(super) const OWN: usize = 3;

/// Which elements are free, and which wait to become so.
pub(super) struct Free {
    /// Elements from this number on were never used.
    pub(super) fresh: u32,
    /// Retired elements, a queue in the order of their tags: the first and the last, plus
    /// one; 0 for none.
    oldest: u32,
    newest: u32,
}

impl Free {
    /// All elements are free.
    pub(super) const fn new() -> Self {
        Self { fresh: 0, oldest: 0, newest: 0 }
    }
}

/// Rows of words, by number.
pub(super) struct Elements {
    epoch: &'static Epoch,
    /// All elements of a preallocated map.
    whole: Option<Region>,
    /// Those of a growing map, block by block.
    blocks: Box<[OnceCell<Region>]>,
    memory: &'static dyn Memory,
    /// Words in an element.
    words: usize,
    /// Elements in a block, as a power of two.
    shift: u32,
    capacity: u32,
}

impl Elements {
    /// Elements in a block of a map that grows.
    fn per_block(words: usize) -> usize {
        (BLOCK_BYTES / (words * 8)).max(1).next_power_of_two()
    }

    /// Bytes that a map takes at once although it grows: the list of its blocks.
    pub(super) fn growing_bytes(capacity: u32, words: usize) -> Option<usize> {
        let blocks = (capacity as usize).div_ceil(Self::per_block(words));
        blocks.checked_mul(size_of::<OnceCell<Region>>())
    }

    /// Room for `capacity` elements; all of it now, or block by block.
    pub(super) fn new(
        memory: &'static dyn Memory,
        capacity: u32,
        words: usize,
        preallocate: bool,
        epoch: &'static Epoch,
    ) -> Result<Self, MapError> {
        let per_block = Self::per_block(words);
        let mut elements = Self {
            epoch,
            whole: None,
            blocks: Box::default(),
            memory,
            words,
            shift: per_block.trailing_zeros(),
            capacity,
        };
        if preallocate {
            elements.whole = Some(elements.region(capacity as usize)?);
        } else {
            let count = (capacity as usize).div_ceil(per_block);
            let mut blocks = Vec::new();
            blocks.try_reserve_exact(count).map_err(|_| MapError::OutOfMemory)?;
            blocks.resize_with(count, OnceCell::new);
            elements.blocks = blocks.into_boxed_slice();
        }
        Ok(elements)
    }

    fn region(&self, count: usize) -> Result<Region, MapError> {
        let words = count.checked_mul(self.words).ok_or(MapError::OutOfMemory)?;
        Region::new(self.memory, words, 64).ok_or(MapError::OutOfMemory)
    }

    /// An element that nobody sees: the longest retired one if its readers are gone, else
    /// one that was never used.
    #[inline]
    pub(super) fn take(&self, free: &mut Free) -> Result<(u32, &[AtomicU64]), MapError> {
        if free.oldest != 0
            && let Some(words) = self.get(free.oldest - 1)
            && let [_, tag, queue, ..] = words
            && self.epoch.is_safe(tag.load(Ordering::Relaxed))
        {
            let number = free.oldest - 1;
            free.oldest = queue.load(Ordering::Relaxed) as u32;
            return Ok((number, words));
        }
        if free.fresh >= self.capacity {
            return Err(MapError::OutOfMemory);
        }
        self.grow(free.fresh)?;
        let number = free.fresh;
        let words = self.get(number).ok_or(MapError::OutOfMemory)?;
        free.fresh += 1;
        Ok((number, words))
    }

    /// The longest retired element, though somebody may still stand on it: who does finds another
    /// key and value there. `None` if none is retired.
    pub(super) fn take_from_readers(&self, free: &mut Free) -> Option<(u32, &[AtomicU64])> {
        let number = free.oldest.checked_sub(1)?;
        let words = self.get(number)?;
        free.oldest = words.get(QUEUE)?.load(Ordering::Relaxed) as u32;
        Some((number, words))
    }

    /// Queues an unlinked element until its readers are gone. Its link and the map's own words
    /// stay as they are for readers that stand on it.
    #[inline]
    pub(super) fn retire(&self, free: &mut Free, number: u32) {
        if let Some(words) = self.get(number)
            && let (Some(tag), Some(queue)) = (words.get(TAG), words.get(QUEUE))
        {
            tag.store(self.epoch.retire(), Ordering::Relaxed);
            queue.store(0, Ordering::Relaxed);
        }
        let last = free.newest.checked_sub(1).filter(|_| free.oldest != 0);
        match last.and_then(|last| self.get(last)?.get(QUEUE)) {
            Some(queue) => queue.store(u64::from(number + 1), Ordering::Relaxed),
            None => free.oldest = number + 1,
        }
        free.newest = number + 1;
    }

    /// Makes sure that element `number` has memory. The caller holds the map's lock.
    #[inline]
    fn grow(&self, number: u32) -> Result<(), MapError> {
        let block = (number >> self.shift) as usize;
        if self.whole.is_some() || self.blocks.get(block).is_some_and(|cell| cell.get().is_some()) {
            return Ok(());
        }
        let first = block << self.shift;
        let count = (self.capacity as usize).saturating_sub(first).min(1 << self.shift);
        let cell = self.blocks.get(block).ok_or(MapError::OutOfMemory)?;
        // The caller holds the map's lock: nobody else sets this cell.
        cell.set(self.region(count)?).map_err(|_| MapError::Busy)
    }

    /// Whether all elements lie in one block.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// The words from an element on, if all elements lie in one block: what a search steps
    /// through without asking for each element's length.
    #[inline(always)]
    pub(super) fn words_from(&self, number: u32) -> Option<&[AtomicU64]> {
        self.whole.as_ref()?.words().get(number as usize * self.words..)
    }

    /// The words of an element that has memory.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&[AtomicU64]> {
        if let Some(region) = &self.whole {
            return region.words().get(number as usize * self.words..)?.get(..self.words);
        }
        let region = self.blocks.get((number >> self.shift) as usize)?.get()?;
        let index = (number & ((1 << self.shift) - 1)) as usize;
        region.words().get(index * self.words..)?.get(..self.words)
    }
}
