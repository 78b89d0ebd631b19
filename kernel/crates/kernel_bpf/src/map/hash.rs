//! Hash maps and per-CPU hash maps.
//!
//! **Shape.** A power of two of chains; a chain's head and each element's `next` hold an
//! element's number plus one. An element is a row of words: link (hash in the upper half,
//! `next` in the lower), retirement tag, next retired, key, value (one, or one for each
//! CPU). Elements lie in blocks (`elements`).
//!
//! **Protocol.** Lookups take no lock, in interrupts as elsewhere. Everything that changes a
//! chain holds `state`, a spin lock with interrupts off. An element's hash and key are
//! written before it is linked (release), and again only after it was unlinked *and* every
//! CPU has passed a quiescent state ([`Epoch`]); so a reader that stands on an element can
//! follow its `next`, and a program may keep a pointer to its value until it ends. There are
//! some more elements than `max_entries`, so that a full map can replace and re-insert while
//! readers hold on to what was unlinked.
//!
//! Updating an existing key puts a new element in the old one's place, so that readers see
//! the old value or the new one; when every spare element waits for a reader, the value is
//! overwritten in place instead, which a concurrent reader may see half done.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kernel_sync::SpinLock;

use super::elements::Elements;
use super::epoch::Epoch;
use super::error::{MapError, UpdateMode};
use crate::memory::{Memory, Region, load_bytes, partial_word, store_bytes, zero};

const LINK: usize = 0;
// Word 1 is the retirement tag.
const QUEUE: usize = 2;
const KEY: usize = 3;

/// A hash map.
pub(super) struct Hash {
    heads: Region,
    elements: Elements,
    shape: Shape,
    seed: [u64; 2],
    state: SpinLock<State>,
    epoch: &'static Epoch,
}

/// The sizes, in words where nothing else is said.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) max_entries: u32,
    key_bytes: usize,
    value_bytes: usize,
    key: usize,
    value: usize,
    cpus: usize,
    /// Elements in all: `max_entries` and the spare ones.
    capacity: u32,
    buckets: u32,
}

impl Shape {
    /// Every size of a map, or `None` if one does not fit. `cpus` is 1 for a plain hash.
    pub(super) fn new(
        max_entries: u32,
        key_bytes: usize,
        value_bytes: usize,
        cpus: usize,
    ) -> Option<Self> {
        let spare = u32::try_from(cpus).ok()?.checked_mul(4)?.max(32);
        let capacity = max_entries.checked_add(spare)?;
        let buckets = max_entries.checked_next_power_of_two()?;
        Some(Self {
            max_entries,
            key_bytes,
            value_bytes,
            key: key_bytes.div_ceil(8),
            value: value_bytes.div_ceil(8),
            cpus,
            capacity,
            buckets,
        })
    }

    fn element_words(&self) -> Option<usize> {
        self.value.checked_mul(self.cpus)?.checked_add(KEY + self.key)
    }

    /// Bytes that a preallocated map takes.
    pub(super) fn bytes(&self) -> Option<usize> {
        let heads = (self.buckets as usize).checked_mul(4)?;
        let elements =
            (self.capacity as usize).checked_mul(self.element_words()?)?.checked_mul(8)?;
        heads.checked_add(elements)
    }
}

/// What the lock guards: which elements are free, and who waits to become so.
struct State {
    /// Elements from this number on were never used.
    fresh: u32,
    /// Retired elements, a queue in the order of their tags: the first and the last, plus
    /// one; 0 for none.
    oldest: u32,
    newest: u32,
    /// Elements that are linked.
    live: u32,
}

/// An element, where it is in its chain, and its words.
struct Found<'a> {
    number: u32,
    words: &'a [AtomicU64],
}

impl Hash {
    pub(super) fn new(
        memory: &'static dyn Memory,
        shape: Shape,
        preallocate: bool,
        seed: u64,
        epoch: &'static Epoch,
    ) -> Result<Self, MapError> {
        let words = shape.element_words().ok_or(MapError::Full)?;
        let elements = Elements::new(memory, shape.capacity, words, preallocate)?;
        let heads = Region::new(memory, (shape.buckets as usize).div_ceil(2), 64)
            .ok_or(MapError::OutOfMemory)?;
        Ok(Self {
            heads,
            elements,
            shape,
            // Odd multipliers from the seed, so that no key can cancel them.
            seed: [seed ^ 0x243f_6a88_85a3_08d3, seed.rotate_left(32) ^ 0xa409_3822_299f_31d1 | 1],
            state: SpinLock::new(State { fresh: 0, oldest: 0, newest: 0, live: 0 }),
            epoch,
        })
    }

    /// A keyed hash: each word is mixed by a folded 128-bit multiplication.
    #[inline]
    fn hash(&self, key: &[u8]) -> u32 {
        let [mut state, multiplier] = self.seed;
        let mut mix = |word: u64| {
            let product = u128::from(state ^ word) * u128::from(multiplier);
            state = (product as u64) ^ ((product >> 64) as u64) ^ multiplier;
        };
        let (whole, rest) = key.as_chunks::<8>();
        for chunk in whole {
            mix(u64::from_ne_bytes(*chunk));
        }
        if !rest.is_empty() {
            mix(partial_word(rest));
        }
        (state ^ (state >> 32)) as u32
    }

    #[inline]
    fn head(&self, hash: u32) -> Option<&AtomicU32> {
        self.heads.half_words().get((hash & (self.shape.buckets - 1)) as usize)
    }

    #[inline]
    fn key_matches(&self, words: &[AtomicU64], key: &[u8]) -> bool {
        let (whole, rest) = key.as_chunks::<8>();
        let Some(stored) = words.get(KEY..) else { return false };
        stored
            .iter()
            .zip(whole)
            .all(|(word, chunk)| word.load(Ordering::Relaxed) == u64::from_ne_bytes(*chunk))
            && (rest.is_empty()
                || stored
                    .get(whole.len())
                    .is_some_and(|word| word.load(Ordering::Relaxed) == partial_word(rest)))
    }

    /// Walks a chain. Lock-free; what it returns stays what it is until this CPU is quiet.
    #[inline]
    fn find(&self, hash: u32, key: &[u8]) -> Option<Found<'_>> {
        let mut next = self.head(hash)?.load(Ordering::Acquire);
        while next != 0 {
            let words = self.elements.get(next - 1)?;
            let link = words.get(LINK)?.load(Ordering::Acquire);
            if (link >> 32) as u32 == hash && self.key_matches(words, key) {
                return Some(Found { number: next - 1, words });
            }
            next = link as u32;
        }
        None
    }

    #[inline]
    fn value<'a>(&self, words: &'a [AtomicU64], cpu: usize) -> Option<&'a [AtomicU64]> {
        let start = KEY + self.shape.key + cpu * self.shape.value;
        words.get(start..)?.get(..self.shape.value)
    }

    #[inline]
    fn checked_key<'k>(&self, key: &'k [u8]) -> Result<&'k [u8], MapError> {
        key.get(..self.shape.key_bytes).ok_or(MapError::Invalid)
    }

    /// Copies a value out; of a per-CPU map, every CPU's, each in a multiple of 8 bytes.
    #[inline]
    pub(super) fn read(&self, key: &[u8], out: &mut [u8]) -> Result<(), MapError> {
        let key = self.checked_key(key)?;
        let found = self.find(self.hash(key), key).ok_or(MapError::NotFound)?;
        if self.shape.cpus == 1 {
            let value = self.value(found.words, 0).ok_or(MapError::NotFound)?;
            load_bytes(value, out.get_mut(..self.shape.value_bytes).ok_or(MapError::Invalid)?);
        } else {
            let values = found.words.get(KEY + self.shape.key..).ok_or(MapError::NotFound)?;
            load_bytes(values, out);
        }
        Ok(())
    }

    /// The address of a value for a program on `cpu`.
    #[inline]
    pub(super) fn address(&self, key: &[u8], cpu: usize) -> Option<usize> {
        let key = self.checked_key(key).ok()?;
        let found = self.find(self.hash(key), key)?;
        let cpu = if self.shape.cpus == 1 { 0 } else { cpu };
        self.value(found.words, cpu).map(|words| words.as_ptr().expose_provenance())
    }

    /// Inserts or replaces. `cpu`: the CPU of the program that does it; `None` from user
    /// space, whose value for a per-CPU map holds every CPU's.
    #[inline]
    pub(super) fn write(
        &self,
        key: &[u8],
        value: &[u8],
        mode: UpdateMode,
        cpu: Option<usize>,
    ) -> Result<(), MapError> {
        let key = self.checked_key(key)?;
        let hash = self.hash(key);
        let head = self.head(hash).ok_or(MapError::Invalid)?;
        let mut state = self.state.lock();
        let Some(old) = self.find(hash, key) else {
            if mode == UpdateMode::Exist {
                return Err(MapError::NotFound);
            }
            if state.live >= self.shape.max_entries {
                return Err(MapError::Full);
            }
            let (number, words) = self.take(&mut state)?;
            self.fill(words, key, value, cpu);
            let next = u64::from(head.load(Ordering::Relaxed));
            self.link(words, u64::from(hash) << 32 | next);
            head.store(number + 1, Ordering::Release);
            state.live += 1;
            return Ok(());
        };
        if mode == UpdateMode::NoExist {
            return Err(MapError::Exists);
        }
        // A per-CPU value belongs to one CPU: nobody else reads it half done but user space.
        if self.shape.cpus == 1
            && let Ok((number, words)) = self.take(&mut state)
        {
            self.fill(words, key, value, None);
            let link = old.words.get(LINK).map_or(0, |link| link.load(Ordering::Relaxed));
            self.link(words, link);
            self.redirect(head, old.number, number + 1);
            self.retire(&mut state, old);
            return Ok(());
        }
        self.store_value(old.words, value, cpu);
        Ok(())
    }

    /// Removes a key.
    #[inline]
    pub(super) fn remove(&self, key: &[u8]) -> Result<(), MapError> {
        let key = self.checked_key(key)?;
        let hash = self.hash(key);
        let head = self.head(hash).ok_or(MapError::Invalid)?;
        let mut state = self.state.lock();
        let old = self.find(hash, key).ok_or(MapError::NotFound)?;
        let next = old.words.get(LINK).map_or(0, |link| link.load(Ordering::Relaxed)) as u32;
        self.redirect(head, old.number, next);
        state.live -= 1;
        self.retire(&mut state, old);
        Ok(())
    }

    /// Takes a key's value out of the map and removes it (`lookup_and_delete`).
    pub(super) fn take_out(&self, key: &[u8], out: &mut [u8]) -> Result<(), MapError> {
        self.read(key, out)?;
        self.remove(key)
    }

    /// Makes whatever pointed at `old` point at `target` (an element plus one, or 0). The
    /// caller holds the lock and knows that `old` is in this chain.
    #[inline]
    fn redirect(&self, head: &AtomicU32, old: u32, target: u32) {
        let mut next = head.load(Ordering::Relaxed);
        if next == old + 1 {
            head.store(target, Ordering::Release);
            return;
        }
        while let Some(link) = self.element_link(next) {
            let value = link.load(Ordering::Relaxed);
            next = value as u32;
            if next == old + 1 {
                link.store(value & !0xffff_ffff | u64::from(target), Ordering::Release);
                return;
            }
        }
    }

    #[inline]
    fn element_link(&self, plus_one: u32) -> Option<&AtomicU64> {
        self.elements.get(plus_one.checked_sub(1)?)?.get(LINK)
    }

    #[inline]
    fn link(&self, words: &[AtomicU64], link: u64) {
        if let Some(word) = words.get(LINK) {
            word.store(link, Ordering::Release);
        }
    }

    #[inline]
    fn fill(&self, words: &[AtomicU64], key: &[u8], value: &[u8], cpu: Option<usize>) {
        if let Some(stored) = words.get(KEY..) {
            store_bytes(stored, key);
        }
        if self.shape.cpus > 1
            && let Some(values) = words.get(KEY + self.shape.key..)
        {
            zero(values);
        }
        self.store_value(words, value, cpu);
    }

    #[inline]
    fn store_value(&self, words: &[AtomicU64], value: &[u8], cpu: Option<usize>) {
        let Some(values) = words.get(KEY + self.shape.key..) else { return };
        match cpu {
            Some(cpu) if self.shape.cpus > 1 => {
                if let Some(values) = values.get(cpu * self.shape.value..) {
                    store_bytes(values, value.get(..self.shape.value_bytes).unwrap_or(value));
                }
            }
            _ if self.shape.cpus > 1 => store_bytes(values, value),
            _ => store_bytes(values, value.get(..self.shape.value_bytes).unwrap_or(value)),
        }
    }

    /// An element that nobody sees: the longest retired one if its readers are gone, else
    /// one that was never used.
    #[inline]
    fn take(&self, state: &mut State) -> Result<(u32, &[AtomicU64]), MapError> {
        if state.oldest != 0
            && let Some(words) = self.elements.get(state.oldest - 1)
            && let [_, tag, queue, ..] = words
            && self.epoch.is_safe(tag.load(Ordering::Relaxed))
        {
            let number = state.oldest - 1;
            state.oldest = queue.load(Ordering::Relaxed) as u32;
            return Ok((number, words));
        }
        if state.fresh >= self.shape.capacity {
            return Err(MapError::OutOfMemory);
        }
        self.elements.grow(state.fresh)?;
        let number = state.fresh;
        let words = self.elements.get(number).ok_or(MapError::OutOfMemory)?;
        state.fresh += 1;
        Ok((number, words))
    }

    /// Queues an unlinked element until its readers are gone. Link and key stay as they are
    /// for readers that stand on it.
    #[inline]
    fn retire(&self, state: &mut State, old: Found<'_>) {
        if let [_, tag, queue, ..] = old.words {
            tag.store(self.epoch.retire(), Ordering::Relaxed);
            queue.store(0, Ordering::Relaxed);
        }
        let last = state.newest.checked_sub(1).filter(|_| state.oldest != 0);
        match last.and_then(|last| self.elements.get(last)?.get(QUEUE)) {
            Some(queue) => queue.store(u64::from(old.number + 1), Ordering::Relaxed),
            None => state.oldest = old.number + 1,
        }
        state.newest = old.number + 1;
    }

    /// Writes the key after `key` in the order of the chains into `out`: the first one for
    /// `None` or a key that is not in the map.
    pub(super) fn next(&self, key: Option<&[u8]>, out: &mut [u8]) -> Result<(), MapError> {
        let mut bucket = 0;
        if let Some(key) = key {
            let key = self.checked_key(key)?;
            let hash = self.hash(key);
            if let Some(found) = self.find(hash, key) {
                let link = found.words.get(LINK).map_or(0, |link| link.load(Ordering::Acquire));
                if let Some(words) = (link as u32).checked_sub(1).and_then(|n| self.elements.get(n))
                {
                    return self.copy_key(words, out);
                }
                bucket = (hash & (self.shape.buckets - 1)) + 1;
            }
        }
        for head in self.heads.half_words().iter().skip(bucket as usize) {
            let first = head.load(Ordering::Acquire).checked_sub(1);
            if let Some(words) = first.and_then(|number| self.elements.get(number)) {
                return self.copy_key(words, out);
            }
        }
        Err(MapError::NotFound)
    }

    fn copy_key(&self, words: &[AtomicU64], out: &mut [u8]) -> Result<(), MapError> {
        let stored = words.get(KEY..).ok_or(MapError::NotFound)?;
        load_bytes(stored, out.get_mut(..self.shape.key_bytes).ok_or(MapError::Invalid)?);
        Ok(())
    }

    /// How many keys the map has.
    pub(super) fn live(&self) -> u32 {
        self.state.lock().live
    }
}
