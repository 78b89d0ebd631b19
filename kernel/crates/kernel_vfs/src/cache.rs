//! The dentry cache: (directory, name) → dentry, or the knowledge that the name does not exist.
//!
//! A hash table of chains over a slab, so that a hit costs one hash, one or two comparisons and
//! no allocation. The number of entries is bounded: beyond it a clock hand takes entries that
//! were not used since its last round and that nothing else holds. The table is guarded by the
//! lock of the [`Vfs`](crate::Vfs) that owns it; hits only need it shared.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::dentry::{Dentry, Name};

const NONE: u32 = u32::MAX;

/// The hash of a name while its bytes are looked at: resolution looks at each of them anyway to
/// find the next slash.
#[derive(Clone, Copy)]
pub(crate) struct NameHash(u64);

impl NameHash {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    #[inline]
    pub(crate) fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(Self::FACTOR);
    }

    /// The upper bits, which depend on all of the name.
    #[inline]
    pub(crate) fn finish(self) -> u32 {
        ((self.0 ^ self.0 >> 29) >> 32) as u32 ^ self.0 as u32 >> 16
    }
}

/// Whether two names are equal. Most are short: a loop is shorter than a call.
#[inline]
fn same_name(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    if one.len() > 16 {
        return one == other;
    }
    one.iter().zip(other).all(|(one, other)| one == other)
}

/// What the cache knows of a name.
pub(crate) enum Cached<'a> {
    Found(&'a Arc<Dentry>),
    /// The name does not exist.
    Absent,
    Unknown,
}

struct Slot {
    hash: u32,
    next: u32,
    /// The directory's [`Dentry::id`].
    parent: u64,
    name: Name,
    state: State,
    /// Used since the hand was here.
    referenced: AtomicBool,
}

enum State {
    Free,
    Absent,
    Present(Arc<Dentry>),
}

/// The table.
pub(crate) struct DentryCache {
    /// Secret, so that users cannot choose names that collide.
    seed: u64,
    /// First slot of each chain; the length is a power of two.
    heads: Vec<u32>,
    slots: Vec<Slot>,
    free: u32,
    used: usize,
    capacity: usize,
    hand: usize,
}

impl DentryCache {
    /// A cache that holds nothing.
    pub(crate) const fn new() -> Self {
        Self {
            seed: 0,
            heads: Vec::new(),
            slots: Vec::new(),
            free: NONE,
            used: 0,
            capacity: 0,
            hand: 0,
        }
    }

    /// A cache of at most `capacity` entries (more only while all are in use).
    pub(crate) fn with_capacity(capacity: usize, seed: u64) -> Self {
        let capacity = capacity.max(16);
        Self {
            seed,
            heads: vec![NONE; capacity.next_power_of_two()],
            slots: Vec::new(),
            free: NONE,
            used: 0,
            capacity,
            hand: 0,
        }
    }

    /// The start of the hash of a name in the directory `parent`, to be continued byte by byte.
    #[inline]
    pub(crate) fn hash_start(&self, parent: u64) -> NameHash {
        NameHash(self.seed ^ parent.wrapping_mul(NameHash::FACTOR))
    }

    fn hash(&self, parent: u64, name: &[u8]) -> u32 {
        let mut hash = self.hash_start(parent);
        name.iter().for_each(|&byte| hash.add(byte));
        hash.finish()
    }

    #[inline]
    fn chain(&self, hash: u32) -> usize {
        hash as usize & self.heads.len().wrapping_sub(1)
    }

    #[inline]
    fn find(&self, hash: u32, parent: u64, name: &[u8]) -> Option<&Slot> {
        let mut index = self.heads.get(self.chain(hash)).copied().unwrap_or(NONE);
        while let Some(slot) = self.slots.get(index as usize) {
            if slot.hash == hash && slot.parent == parent && same_name(&slot.name, name) {
                return Some(slot);
            }
            index = slot.next;
        }
        None
    }

    /// What is known of `name` in the directory with this id.
    pub(crate) fn get(&self, parent: u64, name: &[u8]) -> Cached<'_> {
        self.get_hashed(self.hash(parent, name), parent, name)
    }

    /// The same, with the name's hash.
    #[inline]
    pub(crate) fn get_hashed(&self, hash: u32, parent: u64, name: &[u8]) -> Cached<'_> {
        match self.find(hash, parent, name) {
            Some(slot) => {
                if !slot.referenced.load(Ordering::Relaxed) {
                    slot.referenced.store(true, Ordering::Relaxed);
                }
                match &slot.state {
                    State::Present(dentry) => Cached::Found(dentry),
                    State::Absent => Cached::Absent,
                    State::Free => Cached::Unknown,
                }
            }
            None => Cached::Unknown,
        }
    }

    /// Remembers `name` (`None`: that it does not exist), replacing what was known. What comes
    /// back has to be dropped without the lock.
    #[must_use]
    pub(crate) fn insert(
        &mut self,
        parent: u64,
        name: &[u8],
        dentry: Option<Arc<Dentry>>,
    ) -> Option<Arc<Dentry>> {
        let hash = self.hash(parent, name);
        let state = dentry.map_or(State::Absent, State::Present);
        let mut index = self.heads.get(self.chain(hash)).copied().unwrap_or(NONE);
        while let Some(slot) = self.slots.get_mut(index as usize) {
            if slot.hash == hash && slot.parent == parent && same_name(&slot.name, name) {
                return present(core::mem::replace(&mut slot.state, state));
            }
            index = slot.next;
        }
        let evicted = if self.used >= self.capacity { self.evict() } else { None };
        self.add(hash, parent, name, state);
        evicted
    }

    fn add(&mut self, hash: u32, parent: u64, name: &[u8], state: State) {
        let chain = self.chain(hash);
        let Some(head) = self.heads.get_mut(chain) else { return };
        let slot = Slot {
            hash,
            next: *head,
            parent,
            name: Name::from_slice(name),
            state,
            referenced: AtomicBool::new(true),
        };
        let index = self.free;
        if let Some(free) = self.slots.get_mut(index as usize) {
            self.free = free.next;
            *free = slot;
            *head = index;
        } else {
            *head = self.slots.len() as u32;
            self.slots.push(slot);
        }
        self.used += 1;
    }

    /// Takes the slot at `index` out of its chain.
    fn take(&mut self, index: u32) -> State {
        let Some(slot) = self.slots.get(index as usize) else { return State::Free };
        let (chain, next) = (self.chain(slot.hash), slot.next);
        let mut at = self.heads.get(chain).copied().unwrap_or(NONE);
        if at == index {
            if let Some(head) = self.heads.get_mut(chain) {
                *head = next;
            }
        } else {
            while let Some(before) = self.slots.get_mut(at as usize) {
                if before.next == index {
                    before.next = next;
                    break;
                }
                at = before.next;
            }
        }
        let free = self.free;
        let Some(slot) = self.slots.get_mut(index as usize) else { return State::Free };
        slot.next = free;
        slot.name = Name::new();
        // No dentry has this id, so a free slot matches nothing.
        slot.parent = 0;
        self.free = index;
        self.used -= 1;
        core::mem::replace(&mut slot.state, State::Free)
    }

    /// Makes room for one: the first entry from the hand on that is neither recently used nor
    /// held. Looks at a bounded number of slots.
    fn evict(&mut self) -> Option<Arc<Dentry>> {
        for _ in 0..(2 * self.slots.len()).min(256) {
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
            let slot = self.slots.get(self.hand)?;
            let evictable = match &slot.state {
                State::Free => false,
                State::Absent => true,
                State::Present(dentry) => {
                    Arc::strong_count(dentry) == 1 && dentry.covering_mount().is_none()
                }
            };
            if evictable && !slot.referenced.swap(false, Ordering::Relaxed) {
                return present(self.take(self.hand as u32));
            }
        }
        None
    }

    /// Takes out every entry that nothing else holds and that `select` chooses. One pass: the
    /// parents of what it takes become free only when that is dropped.
    #[must_use]
    pub(crate) fn purge(&mut self, select: impl Fn(&Dentry) -> bool) -> Vec<Arc<Dentry>> {
        let mut out = Vec::new();
        for index in 0..self.slots.len() {
            let take = match self.slots.get(index).map(|slot| &slot.state) {
                Some(State::Present(dentry)) => Arc::strong_count(dentry) == 1 && select(dentry),
                _ => false,
            };
            if take {
                out.extend(present(self.take(index as u32)));
            }
        }
        out
    }

    /// Entries, for statistics and tests.
    pub(crate) fn len(&self) -> usize {
        self.used
    }
}

fn present(state: State) -> Option<Arc<Dentry>> {
    match state {
        State::Present(dentry) => Some(dentry),
        State::Absent | State::Free => None,
    }
}
