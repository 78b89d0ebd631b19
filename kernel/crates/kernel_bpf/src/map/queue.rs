//! Queues and stacks (`BPF_MAP_TYPE_QUEUE`, `BPF_MAP_TYPE_STACK`): values without keys.
//!
//! Values lie in one ring of memory; `ends` guards all of it, interrupts off while it is held,
//! so that values are copied in and out whole. Both kinds hand out copies only, so there is
//! nothing that a reader could keep.

use core::sync::atomic::AtomicU64;

use kernel_sync::SpinLock;

use super::error::MapError;
use crate::memory::{Memory, Region, load_bytes, store_bytes};

/// `bpf_map_push_elem`: a full map loses its oldest value (`BPF_EXIST`).
const REPLACE_OLDEST: u64 = 2;

/// Which value comes out first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// The oldest (queue).
    FirstIn,
    /// The youngest (stack).
    LastIn,
}

/// A queue or a stack.
pub(super) struct Queue {
    region: Region,
    entries: u32,
    value_bytes: usize,
    order: Order,
    ends: SpinLock<Ends>,
}

/// Where the oldest value lies, and how many there are.
struct Ends {
    oldest: u32,
    count: u32,
}

impl Queue {
    /// Words that the values take.
    pub(super) fn words(entries: u32, value_bytes: usize) -> Option<usize> {
        (entries as usize).checked_mul(value_bytes.div_ceil(8))
    }

    pub(super) fn new(
        memory: &'static dyn Memory,
        entries: u32,
        value_bytes: usize,
        order: Order,
    ) -> Result<Self, MapError> {
        let words = Self::words(entries, value_bytes).ok_or(MapError::Full)?;
        let region = Region::new(memory, words, 64).ok_or(MapError::OutOfMemory)?;
        let ends = SpinLock::new(Ends { oldest: 0, count: 0 });
        Ok(Self { region, entries, value_bytes, order, ends })
    }

    fn value(&self, ends: &Ends, position: u32) -> Option<&[AtomicU64]> {
        let index = (u64::from(ends.oldest) + u64::from(position)) % u64::from(self.entries);
        let words = self.value_bytes.div_ceil(8);
        self.region.words().get(index as usize * words..)?.get(..words)
    }

    /// Puts a value in (`bpf_map_push_elem`).
    pub(super) fn push(&self, value: &[u8], flags: u64) -> Result<(), MapError> {
        if flags != 0 && flags != REPLACE_OLDEST {
            return Err(MapError::Invalid);
        }
        let value = value.get(..self.value_bytes).ok_or(MapError::Invalid)?;
        let mut ends = self.ends.lock();
        if ends.count == self.entries {
            if flags != REPLACE_OLDEST {
                return Err(MapError::Full);
            }
            ends.oldest = (ends.oldest + 1) % self.entries;
            ends.count -= 1;
        }
        store_bytes(self.value(&ends, ends.count).ok_or(MapError::Full)?, value);
        ends.count += 1;
        Ok(())
    }

    /// Copies the next value out, and takes it out if `remove` (`bpf_map_pop_elem`,
    /// `bpf_map_peek_elem`). Of an empty map, zeros, as Linux leaves them.
    pub(super) fn next(&self, out: &mut [u8], remove: bool) -> Result<(), MapError> {
        let out = out.get_mut(..self.value_bytes).ok_or(MapError::Invalid)?;
        let mut ends = self.ends.lock();
        let Some(last) = ends.count.checked_sub(1) else {
            out.fill(0);
            return Err(MapError::NotFound);
        };
        let position = if self.order == Order::FirstIn { 0 } else { last };
        load_bytes(self.value(&ends, position).ok_or(MapError::NotFound)?, out);
        if remove {
            ends.count = last;
            if self.order == Order::FirstIn {
                ends.oldest = (ends.oldest + 1) % self.entries;
            }
        }
        Ok(())
    }

    /// How many values there are.
    pub(super) fn len(&self) -> u32 {
        self.ends.lock().count
    }
}
