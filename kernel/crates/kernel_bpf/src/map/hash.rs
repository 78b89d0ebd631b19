//! Hash maps and per-CPU hash maps, and their LRU kinds.
//!
//! **Shape.** A power of two of chains; a chain's head and each element's `next` hold an
//! element's number plus one. An element is a row of words: link (hash in the upper half,
//! `next` in the lower), retirement tag, next retired, key, value (one, or one for each
//! CPU), and for the LRU kinds a word that says whether it was used. Elements lie in blocks
//! (`elements`). `walk` goes through all of them, `lru` chooses which one must go.
//!
//! **Protocol.** Lookups take no lock, in interrupts as elsewhere. Everything that changes a
//! chain holds `state`, a spin lock with interrupts off. An element's hash and key are
//! written before it is linked (release), and again only after it was unlinked *and* every
//! CPU has passed a quiescent state ([`Epoch`]); so a reader that stands on an element can
//! follow its `next`, and a program may keep a pointer to its value until it ends. There are
//! some more elements than `max_entries`, so that a full map can replace and re-insert while
//! readers hold on to what was unlinked. When they hold on to all of those, an insertion fails;
//! in an LRU map it takes the element that was unlinked first, which they then find changed.
//!
//! A program that updates an existing key stores a value of one word where it is, without the
//! lock; a system call takes the lock, so that one that takes the value out at the same time does
//! not miss what the other was told is stored. A longer
//! value comes with a new element in the old one's place, so that readers see the old value or
//! the new one; when every spare element waits for a reader, the value is overwritten in place
//! instead, which a concurrent reader may see half done.

mod lru;
mod walk;

pub use walk::Rows;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kernel_sync::SpinLock;

use super::def::ValueFields;
use super::elements::{Elements, Free, LINK, OWN};
use super::epoch::Epoch;
use super::error::{MapError, UpdateMode};
use super::keyed_hash::KeyedHash;
use crate::memory::{Memory, Region, load_bytes, partial_word, store_bytes, zero};

const KEY: usize = OWN;

/// A hash map.
pub(super) struct Hash {
    heads: Region,
    elements: Elements,
    shape: Shape,
    hasher: KeyedHash,
    state: SpinLock<State>,
    /// How often an element was taken from under its readers (`lru`).
    moves: AtomicU32,
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
    /// A full map makes room by itself.
    lru: bool,
    fields: ValueFields,
}

/// The word of an LRU element: programs have looked it up lately.
const USED: u64 = 1;
/// The same word: the element is in the map.
const LINKED: u64 = 2;

impl Shape {
    /// Every size of a map, or `None` if one does not fit. `cpus` is 1 for a plain hash.
    pub(super) fn new(
        max_entries: u32,
        key_bytes: usize,
        value_bytes: usize,
        cpus: usize,
        lru: bool,
        fields: ValueFields,
    ) -> Option<Self> {
        let mut spare = u32::try_from(cpus).ok()?.checked_mul(4)?.max(32);
        if lru {
            // What was evicted waits for its readers, more of it than in other maps.
            spare = spare.max((max_entries / 4).min(1024));
        }
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
            lru,
            fields,
        })
    }

    fn element_words(&self) -> Option<usize> {
        self.value.checked_mul(self.cpus)?.checked_add(KEY + self.key + usize::from(self.lru))
    }

    /// Bytes of the chains' heads.
    fn head_bytes(&self) -> Option<usize> {
        (self.buckets as usize).checked_mul(4)
    }

    /// Bytes that a map takes at once if its elements come as they are needed.
    pub(super) fn growing_bytes(&self) -> Option<usize> {
        self.head_bytes()?
            .checked_add(Elements::growing_bytes(self.capacity, self.element_words()?)?)
    }

    /// Bytes that a preallocated map takes.
    pub(super) fn bytes(&self) -> Option<usize> {
        let heads = self.head_bytes()?;
        let elements =
            (self.capacity as usize).checked_mul(self.element_words()?)?.checked_mul(8)?;
        heads.checked_add(elements)
    }
}

/// What the lock guards: which elements are free, and who waits to become so.
struct State {
    free: Free,
    /// Elements that are linked.
    live: u32,
    /// Where the search for an element to evict goes on.
    hand: u32,
}

/// An element, where it is in its chain, and its words.
struct Found<'a> {
    number: u32,
    words: &'a [AtomicU64],
}

/// 32 bits of a hash.
#[inline(always)]
const fn fold(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
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
        let elements = Elements::new(memory, shape.capacity, words, preallocate, epoch)?;
        let heads = Region::new(memory, (shape.buckets as usize).div_ceil(2), 64)
            .ok_or(MapError::OutOfMemory)?;
        Ok(Self {
            heads,
            elements,
            shape,
            hasher: KeyedHash::new(seed),
            state: SpinLock::new(State { free: Free::new(), live: 0, hand: 0 }),
            moves: AtomicU32::new(0),
        })
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u32 {
        fold(self.hasher.full(key))
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

    /// Where the value of a key of at most 8 bytes lies, in a map whose elements were all
    /// allocated when it was made: the quickest of all lookups. `None` within for a map that
    /// grows, whose elements [`Self::find`] finds.
    #[inline(always)]
    fn find_word(&self, key: u64) -> Option<Option<&[AtomicU64]>> {
        let hash = fold(self.hasher.word(key));
        let mut next = self.head(hash)?.load(Ordering::Acquire);
        while next != 0 {
            let [link, _, _, stored, value @ ..] = self.elements.words_from(next - 1)? else {
                return None;
            };
            if stored.load(Ordering::Relaxed) == key {
                return Some(Some(value));
            }
            next = link.load(Ordering::Acquire) as u32;
        }
        Some(None)
    }

    /// Whether [`Self::word_address`] answers for this map.
    pub(super) fn has_word_lookup(&self) -> bool {
        self.shape.key == 1 && self.shape.cpus == 1 && !self.shape.lru && self.elements.is_whole()
    }

    /// The address of a value by a key of at most 8 bytes, given as a word, if
    /// [`Self::has_word_lookup`]; 0 for none.
    #[inline(always)]
    pub(super) fn word_address(&self, key: u64) -> usize {
        match self.find_word(key) {
            Some(Some(value)) => value.as_ptr().expose_provenance(),
            _ => 0,
        }
    }

    /// Walks a chain. Lock-free; what it returns stays what it is until this CPU is quiet, but for
    /// LRU maps ([`Self::find_moving`]).
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
    pub(super) fn read(&self, key: &[u8], out: &mut [u8], lock: bool) -> Result<(), MapError> {
        let key = self.checked_key(key)?;
        let found = self.find_moving(self.hash(key), key).ok_or(MapError::NotFound)?;
        self.copy_locked(found.words, out, lock)
    }

    /// Copies a value out, with its lock held if `lock`.
    #[inline]
    pub(super) fn copy_locked(
        &self,
        words: &[AtomicU64],
        out: &mut [u8],
        lock: bool,
    ) -> Result<(), MapError> {
        if lock && let Some(value) = self.value(words, 0) {
            return self.shape.fields.locked(value, || self.copy_value(words, out));
        }
        self.copy_value(words, out)
    }

    #[inline]
    pub(super) fn copy_value(&self, words: &[AtomicU64], out: &mut [u8]) -> Result<(), MapError> {
        if self.shape.cpus == 1 {
            let value = self.value(words, 0).ok_or(MapError::NotFound)?;
            let out = out.get_mut(..self.shape.value_bytes).ok_or(MapError::Invalid)?;
            self.shape.fields.load(value, out);
        } else {
            let values = words.get(KEY + self.shape.key..).ok_or(MapError::NotFound)?;
            let bytes = self.shape.value * 8 * self.shape.cpus;
            load_bytes(values, out.get_mut(..bytes).ok_or(MapError::Invalid)?);
        }
        Ok(())
    }

    /// Number of CPUs that have values.
    pub(super) fn cpus(&self) -> usize {
        self.shape.cpus
    }

    /// The address of a value for a program on `cpu`.
    #[inline]
    pub(super) fn address(&self, key: &[u8], cpu: usize) -> Option<usize> {
        let key = self.checked_key(key).ok()?;
        let found = self.find_moving(self.hash(key), key)?;
        if self.shape.lru {
            Self::mark_used(found.words);
        }
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
        lock: bool,
        cpu: Option<usize>,
    ) -> Result<(), MapError> {
        let key = self.checked_key(key)?;
        let hash = self.hash(key);
        let head = self.head(hash).ok_or(MapError::Invalid)?;
        if cpu.is_some()
            && self.is_word_sized()
            && !lock
            && mode != UpdateMode::NoExist
            && let Some(old) = self.find(hash, key)
        {
            self.store_value(old.words, value, None);
            return Ok(());
        }
        let mut state = self.state.lock();
        let Some(old) = self.find(hash, key) else {
            if mode == UpdateMode::Exist {
                return Err(MapError::NotFound);
            }
            let full = state.live >= self.shape.max_entries;
            if full && !self.shape.lru {
                return Err(MapError::Full);
            }
            let (number, words) = self.new_element(&mut state)?;
            // Nothing goes before there is something to come.
            if full && let Err(error) = self.evict(&mut state) {
                self.elements.retire(&mut state.free, number);
                return Err(error);
            }
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
        if lock && let Some(stored) = self.value(old.words, 0) {
            self.shape.fields.locked(stored, || self.store_value(old.words, value, cpu));
            return Ok(());
        }
        // A per-CPU value belongs to one CPU: nobody else reads it half done but user space.
        if self.shape.cpus == 1
            && !self.is_word_sized()
            && let Ok((number, words)) = self.elements.take(&mut state.free)
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

    /// Whether a value is one word, which is never seen half written: it is updated where it
    /// is. An element that is taken out meanwhile takes a program's update with it, as if the
    /// program had come before; what `lookup_and_delete` copied may lack it.
    #[inline]
    fn is_word_sized(&self) -> bool {
        self.shape.cpus == 1 && self.shape.value == 1 && self.shape.fields.is_empty()
    }

    /// Removes a key.
    #[inline]
    pub(super) fn remove(&self, key: &[u8]) -> Result<(), MapError> {
        let key = self.checked_key(key)?;
        let hash = self.hash(key);
        let mut state = self.state.lock();
        let old = self.find(hash, key).ok_or(MapError::NotFound)?;
        self.unlink(&mut state, hash, old);
        Ok(())
    }

    /// Takes a key's value out of the map and removes it, in one step (`lookup_and_delete`).
    pub(super) fn take_out(&self, key: &[u8], out: &mut [u8], lock: bool) -> Result<(), MapError> {
        let key = self.checked_key(key)?;
        let hash = self.hash(key);
        let mut state = self.state.lock();
        let old = self.find(hash, key).ok_or(MapError::NotFound)?;
        self.copy_locked(old.words, out, lock)?;
        self.unlink(&mut state, hash, old);
        Ok(())
    }

    /// Takes an element out of its chain and queues it.
    #[inline]
    fn unlink(&self, state: &mut State, hash: u32, old: Found<'_>) {
        let next = old.words.get(LINK).map_or(0, |link| link.load(Ordering::Relaxed)) as u32;
        if let Some(head) = self.head(hash) {
            self.redirect(head, old.number, next);
        }
        state.live = state.live.saturating_sub(1);
        self.retire(state, old);
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
        let partial = value.len() < self.shape.value_bytes;
        if (self.shape.cpus > 1 || partial || !self.shape.fields.is_empty())
            && let Some(values) = words.get(KEY + self.shape.key..)
        {
            zero(values);
        }
        if self.shape.lru
            && let Some(word) = words.last()
        {
            word.store(LINKED, Ordering::Relaxed);
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
            _ if self.shape.cpus > 1 => {
                let bytes = self.shape.value * 8 * self.shape.cpus;
                store_bytes(values, value.get(..bytes).unwrap_or(value));
            }
            _ => {
                let value = value.get(..self.shape.value_bytes).unwrap_or(value);
                self.shape.fields.store(values, value);
            }
        }
    }

    /// Queues an unlinked element until its readers are gone.
    #[inline]
    fn retire(&self, state: &mut State, old: Found<'_>) {
        if self.shape.lru
            && let Some(word) = old.words.last()
        {
            word.store(0, Ordering::Relaxed);
        }
        self.elements.retire(&mut state.free, old.number);
    }

    /// How many keys the map has.
    pub(super) fn live(&self) -> u32 {
        self.state.lock().live
    }
}
