//! Bloom filters (`BPF_MAP_TYPE_BLOOM_FILTER`): whether a value was ever put in, with some
//! false yes and no false no.
//!
//! A value sets one bit for each of the filter's hash functions. Bits are set atomically and
//! never cleared, so nothing is locked.

use core::sync::atomic::Ordering;

use super::error::MapError;
use super::keyed_hash::KeyedHash;
use crate::memory::{Memory, Region};

/// Hash functions if the creator does not say (Linux: `BLOOM_FILTER` defaults to 5).
const DEFAULT_FUNCTIONS: u32 = 5;

/// A filter.
pub(super) struct Bloom {
    bits: Region,
    /// Number of bits less one; the number is a power of two.
    mask: u64,
    value_bytes: usize,
    functions: u32,
    hash: KeyedHash,
}

/// Most hash functions of a filter (Linux: the low four bits of `map_extra`).
pub(crate) const MAX_FUNCTIONS: u32 = 15;

/// The number of hash functions that `map_extra` asks for.
pub(super) fn functions(map_extra: u64) -> Result<u32, MapError> {
    match u32::try_from(map_extra) {
        Ok(0) => Ok(DEFAULT_FUNCTIONS),
        Ok(functions @ 1..=MAX_FUNCTIONS) => Ok(functions),
        _ => Err(MapError::Invalid),
    }
}

impl Bloom {
    /// Words of a filter: as on Linux, entries times functions times 7/5 (about 1 / ln 2)
    /// bits, rounded up to a power of two.
    pub(super) fn words(entries: u32, functions: u32) -> Option<usize> {
        let bits = u64::from(entries).checked_mul(u64::from(functions))? / 5;
        let bits = bits.checked_mul(7)?.max(64).checked_next_power_of_two()?;
        usize::try_from((bits / 64).min(1 << 26)).ok()
    }

    pub(super) fn new(
        memory: &'static dyn Memory,
        entries: u32,
        value_bytes: usize,
        functions: u32,
        seed: u64,
    ) -> Result<Self, MapError> {
        let words = Self::words(entries, functions).ok_or(MapError::Full)?;
        let bits = Region::new(memory, words, 64).ok_or(MapError::OutOfMemory)?;
        let mask = words as u64 * 64 - 1;
        Ok(Self { bits, mask, value_bytes, functions, hash: KeyedHash::new(seed) })
    }

    /// The bits of a value, one for each function: two halves of one hash, combined (Kirsch
    /// and Mitzenmacher, "Less hashing, same performance", 2006).
    fn positions(&self, value: &[u8]) -> impl Iterator<Item = u64> {
        let hash = self.hash.full(value);
        let (first, step) = (hash, hash.rotate_left(32) | 1);
        let mask = self.mask;
        (0..u64::from(self.functions)).map(move |n| first.wrapping_add(n.wrapping_mul(step)) & mask)
    }

    /// Puts a value in.
    pub(super) fn push(&self, value: &[u8], flags: u64) -> Result<(), MapError> {
        if flags != 0 {
            return Err(MapError::Invalid);
        }
        let value = value.get(..self.value_bytes).ok_or(MapError::Invalid)?;
        for bit in self.positions(value) {
            if let Some(word) = self.bits.words().get((bit / 64) as usize) {
                word.fetch_or(1 << (bit % 64), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Whether a value may have been put in: `NotFound` if it certainly was not.
    pub(super) fn peek(&self, value: &[u8]) -> Result<(), MapError> {
        let value = value.get(..self.value_bytes).ok_or(MapError::Invalid)?;
        let set = |bit: u64| {
            let word = self.bits.words().get((bit / 64) as usize);
            word.is_some_and(|word| word.load(Ordering::Relaxed) & 1 << (bit % 64) != 0)
        };
        if self.positions(value).all(set) { Ok(()) } else { Err(MapError::NotFound) }
    }
}
