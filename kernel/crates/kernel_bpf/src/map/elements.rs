//! The elements of a hash map: numbered rows of words, in blocks that never move.
//!
//! A preallocated map has all its elements in one block. A map created with
//! `BPF_F_NO_PREALLOC` starts with none and gets a block whenever its highest element so far
//! is passed; blocks are given back when the map is dropped.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;

use kernel_sync::OnceCell;

use super::error::MapError;
use crate::memory::{Memory, Region};

/// About how many bytes a block of a growing map has.
const BLOCK_BYTES: usize = 16 * 1024;

/// Rows of words, by number.
pub(super) struct Elements {
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
    /// Room for `capacity` elements; all of it now, or block by block.
    pub(super) fn new(
        memory: &'static dyn Memory,
        capacity: u32,
        words: usize,
        preallocate: bool,
    ) -> Result<Self, MapError> {
        let per_block = (BLOCK_BYTES / (words * 8)).max(1).next_power_of_two();
        let mut elements = Self {
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

    /// Makes sure that element `number` has memory. The caller holds the map's lock.
    #[inline]
    pub(super) fn grow(&self, number: u32) -> Result<(), MapError> {
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
