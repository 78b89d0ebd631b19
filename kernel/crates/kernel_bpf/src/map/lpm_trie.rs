//! Longest-prefix-match tries (`BPF_MAP_TYPE_LPM_TRIE`): routes and address lists.
//!
//! A key is a 32-bit number of bits and that many bits of data, most significant first. A
//! lookup finds the value of the longest prefix in the map that the key begins with.
//!
//! **Shape.** A binary tree whose nodes each stand for a prefix; a node's children extend it
//! by a 0 or a 1 (and possibly more bits). A node that exists only because two prefixes part
//! there has no value: it is *intermediate*. A node is an element (`elements`): both children
//! in the link, then the length of the prefix, its bits in words of big-endian order, and the
//! value.
//!
//! **Protocol.** As in `hash`: lookups take no lock; changes hold `state`. A node that is
//! taken out stays as it is until nobody stands on it.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel_sync::SpinLock;

use super::elements::{Elements, Free, LINK, OWN};
use super::epoch::Epoch;
use super::error::{MapError, UpdateMode};
use crate::memory::{Memory, load_bytes, store_bytes};

/// Bytes of the length before the data.
const LENGTH: usize = 4;
/// Linux: `LPM_DATA_SIZE_MIN` and `LPM_DATA_SIZE_MAX`.
pub(super) const KEY_BYTES: core::ops::RangeInclusive<usize> = LENGTH + 1..=LENGTH + 256;

const PREFIX: usize = OWN;
const DATA: usize = OWN + 1;
/// In the word of the prefix: the node has no value.
const INTERMEDIATE: u64 = 1 << 32;

/// A trie.
pub(super) struct LpmTrie {
    elements: Elements,
    root: AtomicU64,
    state: SpinLock<State>,
    shape: Shape,
}

/// The sizes of a trie.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    max_entries: u32,
    key_bytes: usize,
    value_bytes: usize,
    /// Words of a prefix's bits.
    data: usize,
    capacity: u32,
}

struct State {
    free: Free,
    /// Prefixes with values.
    live: u32,
}

/// A key that was checked: the bits beyond its length do not matter.
#[derive(Clone, Copy)]
struct Key<'a> {
    length: u32,
    data: &'a [u8],
}

/// Where a node's number (plus one) stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Child { node: u32, bit: u32 },
}

/// A node under inspection.
#[derive(Clone, Copy)]
struct Node<'a> {
    number: u32,
    words: &'a [AtomicU64],
    length: u32,
    intermediate: bool,
}

impl Shape {
    /// Every size, or `None` if one does not fit.
    pub(super) fn new(max_entries: u32, key_bytes: usize, value_bytes: usize) -> Option<Self> {
        // An intermediate node parts two others: there are fewer of them than of prefixes.
        let capacity = max_entries.checked_mul(2)?.checked_add(32)?;
        let data = key_bytes.checked_sub(LENGTH)?.div_ceil(8);
        Some(Self { max_entries, key_bytes, value_bytes, data, capacity })
    }

    fn words(&self) -> usize {
        DATA + self.data + self.value_bytes.div_ceil(8)
    }

    /// Bytes that a map takes at once if its nodes come as they are needed.
    pub(super) fn growing_bytes(&self) -> Option<usize> {
        Elements::growing_bytes(self.capacity, self.words())
    }

    /// Bytes of all nodes.
    pub(super) fn bytes(&self) -> Option<usize> {
        self.words().checked_mul(8)?.checked_mul(self.capacity as usize)
    }
}

impl Key<'_> {
    /// 64 bits of the key, most significant first; zeros beyond its end.
    #[inline]
    fn word(&self, index: usize) -> u64 {
        let rest = self.data.get(index * 8..).unwrap_or_default();
        match rest.first_chunk::<8>() {
            Some(chunk) => u64::from_be_bytes(*chunk),
            None => {
                let mut chunk = [0; 8];
                chunk.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                u64::from_be_bytes(chunk)
            }
        }
    }

    #[inline]
    fn bit(&self, index: u32) -> u32 {
        bit_of(self.word(index as usize / 64), index)
    }
}

#[inline]
const fn bit_of(word: u64, index: u32) -> u32 {
    (word >> (63 - index % 64)) as u32 & 1
}

impl Node<'_> {
    #[inline]
    fn word(&self, index: usize) -> u64 {
        self.words.get(DATA + index).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    #[inline]
    fn bit(&self, index: u32) -> u32 {
        bit_of(self.word(index as usize / 64), index)
    }

    /// How many bits of the node's prefix the key shares.
    #[inline]
    fn common(&self, key: &Key<'_>) -> u32 {
        let limit = self.length.min(key.length);
        let mut bits = 0;
        while bits < limit {
            let index = bits as usize / 64;
            let different = self.word(index) ^ key.word(index);
            if different != 0 {
                return limit.min(bits + different.leading_zeros());
            }
            bits += 64;
        }
        limit
    }

    /// The children, plus one; 0 for none.
    #[inline]
    fn children(&self) -> [u32; 2] {
        let link = self.words.get(LINK).map_or(0, |link| link.load(Ordering::Acquire));
        [link as u32, (link >> 32) as u32]
    }

    #[inline]
    fn child(&self, bit: u32) -> u32 {
        let [zero, one] = self.children();
        if bit == 0 { zero } else { one }
    }
}

impl LpmTrie {
    pub(super) fn new(
        memory: &'static dyn Memory,
        shape: Shape,
        preallocate: bool,
        epoch: &'static Epoch,
    ) -> Result<Self, MapError> {
        Ok(Self {
            elements: Elements::new(memory, shape.capacity, shape.words(), preallocate, epoch)?,
            root: AtomicU64::new(0),
            state: SpinLock::new(State { free: Free::new(), live: 0 }),
            shape,
        })
    }

    #[inline]
    fn key<'k>(&self, key: &'k [u8]) -> Result<Key<'k>, MapError> {
        let key = key.get(..self.shape.key_bytes).ok_or(MapError::Invalid)?;
        let (length, data) = key.split_first_chunk::<LENGTH>().ok_or(MapError::Invalid)?;
        let length = u32::from_ne_bytes(*length);
        if length as usize > data.len() * 8 {
            return Err(MapError::Invalid);
        }
        Ok(Key { length, data })
    }

    #[inline]
    fn node(&self, plus_one: u32) -> Option<Node<'_>> {
        let number = plus_one.checked_sub(1)?;
        let words = self.elements.get(number)?;
        let prefix = words.get(PREFIX)?.load(Ordering::Relaxed);
        let intermediate = prefix & INTERMEDIATE != 0;
        Some(Node { number, words, length: prefix as u32, intermediate })
    }

    #[inline]
    fn root(&self) -> u32 {
        self.root.load(Ordering::Acquire) as u32
    }

    /// The node with the longest prefix of the key.
    #[inline]
    fn find(&self, key: &Key<'_>) -> Option<Node<'_>> {
        let mut found = None;
        let mut next = self.root();
        while let Some(node) = self.node(next) {
            let common = node.common(key);
            if common < node.length {
                break;
            }
            if !node.intermediate {
                found = Some(node);
            }
            if common as usize == key.data.len() * 8 {
                break;
            }
            next = node.child(key.bit(node.length));
        }
        found
    }

    #[inline]
    fn value<'a>(&self, node: &Node<'a>) -> Option<&'a [AtomicU64]> {
        node.words.get(DATA + self.shape.data..)
    }

    /// The address of the value that the key's longest prefix has.
    #[inline]
    pub(super) fn address(&self, key: &[u8]) -> Option<usize> {
        let node = self.find(&self.key(key).ok()?)?;
        self.value(&node).map(|words| words.as_ptr().expose_provenance())
    }

    /// Copies the value that the key's longest prefix has.
    pub(super) fn read(&self, key: &[u8], out: &mut [u8]) -> Result<(), MapError> {
        // As on Linux, a key that is too long finds nothing.
        let key = self.key(key).map_err(|_| MapError::NotFound)?;
        let node = self.find(&key).ok_or(MapError::NotFound)?;
        let value = self.value(&node).ok_or(MapError::NotFound)?;
        load_bytes(value, out.get_mut(..self.shape.value_bytes).ok_or(MapError::Invalid)?);
        Ok(())
    }

    /// The number (plus one) at a place.
    fn at(&self, place: Place) -> u32 {
        match place {
            Place::Root => self.root(),
            Place::Child { node, bit } => self.node(node + 1).map_or(0, |node| node.child(bit)),
        }
    }

    /// Sets a place. The caller holds the lock.
    fn put(&self, place: Place, plus_one: u32) {
        match place {
            Place::Root => self.root.store(u64::from(plus_one), Ordering::Release),
            Place::Child { node, bit } => {
                let Some(link) = self.elements.get(node).and_then(|words| words.get(LINK)) else {
                    return;
                };
                let shift = bit * 32;
                let kept = link.load(Ordering::Relaxed) & !(0xffff_ffff << shift);
                link.store(kept | u64::from(plus_one) << shift, Ordering::Release);
            }
        }
    }

    /// The way to a key: where its node is or would be, and the place of that node's parent.
    /// Also how many bits the node there shares with the key.
    fn descend(&self, key: &Key<'_>) -> (Place, Option<(Place, Node<'_>)>, u32) {
        let mut place = Place::Root;
        let mut parent = None;
        while let Some(node) = self.node(self.at(place)) {
            let common = node.common(key);
            if common != node.length || node.length == key.length {
                return (place, parent, common);
            }
            parent = Some((place, node));
            place = Place::Child { node: node.number, bit: key.bit(node.length) };
        }
        (place, parent, 0)
    }

    /// Inserts or replaces.
    pub(super) fn write(&self, key: &[u8], value: &[u8], mode: UpdateMode) -> Result<(), MapError> {
        let key = self.key(key)?;
        let value = value.get(..self.shape.value_bytes).ok_or(MapError::Invalid)?;
        let mut state = self.state.lock();
        let (place, _, common) = self.descend(&key);
        let there = self.node(self.at(place));
        let same = there.filter(|node| node.length == common && node.length == key.length);
        let replaced = same.is_some_and(|node| !node.intermediate);
        match mode {
            UpdateMode::NoExist if replaced => return Err(MapError::Exists),
            UpdateMode::Exist if !replaced => return Err(MapError::NotFound),
            _ if !replaced && state.live >= self.shape.max_entries => {
                return Err(MapError::NoSpace);
            }
            _ => {}
        }
        let parts = there.filter(|_| same.is_none() && common != key.length);
        let (number, words) = match (self.elements.take(&mut state.free), same) {
            (Ok(taken), _) => taken,
            // Every spare node waits for a reader: a reader may see the value half done.
            (Err(_), Some(old)) if replaced => {
                if let Some(stored) = self.value(&old) {
                    store_bytes(stored, value);
                }
                return Ok(());
            }
            (Err(error), _) => return Err(error),
        };
        // What is taken now and not used would be lost: both or none.
        let fork = match parts.map(|_| self.elements.take(&mut state.free)) {
            Some(Err(error)) => {
                self.elements.retire(&mut state.free, number);
                return Err(error);
            }
            fork => fork.and_then(Result::ok),
        };
        self.fill(words, &key, value);
        let mut top = number + 1;
        let link = |zero: u32, one: u32| u64::from(zero) | u64::from(one) << 32;
        let pair = |bit: u32, at: u32, other: u32| {
            if bit == 0 { link(at, other) } else { link(other, at) }
        };
        let children = match (same, there) {
            (Some(old), _) => {
                let [zero, one] = old.children();
                link(zero, one)
            }
            (None, Some(node)) if fork.is_none() => pair(node.bit(common), node.number + 1, 0),
            _ => 0,
        };
        store(words, LINK, children);
        if let (Some(node), Some((fork, fork_words))) = (parts, fork) {
            for index in 0..self.shape.data {
                store(fork_words, DATA + index, node.word(index));
            }
            store(fork_words, PREFIX, u64::from(common) | INTERMEDIATE);
            store(fork_words, LINK, pair(key.bit(common), number + 1, node.number + 1));
            top = fork + 1;
        }
        self.put(place, top);
        if let Some(old) = same {
            self.elements.retire(&mut state.free, old.number);
        }
        state.live += u32::from(!replaced);
        Ok(())
    }

    fn fill(&self, words: &[AtomicU64], key: &Key<'_>, value: &[u8]) {
        store(words, PREFIX, u64::from(key.length));
        for index in 0..self.shape.data {
            store(words, DATA + index, key.word(index));
        }
        if let Some(stored) = words.get(DATA + self.shape.data..) {
            store_bytes(stored, value);
        }
    }

    /// Removes exactly this prefix.
    pub(super) fn remove(&self, key: &[u8]) -> Result<(), MapError> {
        let key = self.key(key)?;
        let mut state = self.state.lock();
        let (place, parent, common) = self.descend(&key);
        let node = self
            .node(self.at(place))
            .filter(|node| node.length == key.length && common == key.length && !node.intermediate)
            .ok_or(MapError::NotFound)?;
        state.live = state.live.saturating_sub(1);
        match (node.children(), parent) {
            ([0, 0], Some((parent_place, parent))) if parent.intermediate => {
                // The parent parted two nodes, of which one is left.
                let [zero, one] = parent.children();
                self.put(parent_place, if zero == node.number + 1 { one } else { zero });
                self.elements.retire(&mut state.free, parent.number);
                self.elements.retire(&mut state.free, node.number);
            }
            ([zero, one], _) if zero != 0 && one != 0 => {
                store(node.words, PREFIX, u64::from(node.length) | INTERMEDIATE);
            }
            ([zero, one], _) => {
                self.put(place, zero.max(one));
                self.elements.retire(&mut state.free, node.number);
            }
        }
        Ok(())
    }

    /// Writes the prefix after `key` into `out`: longer prefixes come before the shorter ones
    /// that they extend. The first one for `None` and for a prefix that is not in the map.
    pub(super) fn next(&self, key: Option<&[u8]>, out: &mut [u8]) -> Result<(), MapError> {
        let key = key.and_then(|key| self.key(key).ok());
        let found = match key {
            Some(key) => match self.after(&key) {
                Some(next) => next,
                None => self.first_below(self.root()),
            },
            None => self.first_below(self.root()),
        };
        let node = found.ok_or(MapError::NotFound)?;
        let out = out.get_mut(..self.shape.key_bytes).ok_or(MapError::Invalid)?;
        let (length, data) = out.split_first_chunk_mut::<LENGTH>().ok_or(MapError::Invalid)?;
        *length = node.length.to_ne_bytes();
        for (index, chunk) in data.chunks_mut(8).enumerate() {
            let bytes = node.word(index).to_be_bytes();
            chunk.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }

    /// The node after a key's own in post-order; `None` if the key is not in the map.
    fn after(&self, key: &Key<'_>) -> Option<Option<Node<'_>>> {
        // What follows a subtree is decided by the last ancestor that has something left.
        let mut then: (u32, Option<Node<'_>>) = (0, None);
        let mut next = self.root();
        loop {
            let node = self.node(next)?;
            let common = node.common(key);
            if common < node.length {
                return None;
            }
            if node.length == key.length {
                if node.intermediate {
                    return None;
                }
                let (sibling, ancestor) = then;
                return Some(if sibling != 0 { self.first_below(sibling) } else { ancestor });
            }
            let bit = key.bit(node.length);
            let [_, one] = node.children();
            if bit == 0 && one != 0 {
                then = (one, None);
            } else if !node.intermediate {
                then = (0, Some(node));
            }
            next = node.child(bit);
        }
    }

    /// The first node of a subtree in post-order that has a value.
    fn first_below(&self, plus_one: u32) -> Option<Node<'_>> {
        let mut found = None;
        let mut next = plus_one;
        while let Some(node) = self.node(next) {
            if !node.intermediate {
                found = Some(node);
            }
            let [zero, one] = node.children();
            next = if zero != 0 { zero } else { one };
        }
        found
    }

    /// How many prefixes the map has.
    pub(super) fn live(&self) -> u32 {
        self.state.lock().live
    }
}

#[inline]
fn store(words: &[AtomicU64], index: usize, value: u64) {
    if let Some(word) = words.get(index) {
        word.store(value, Ordering::Release);
    }
}
