//! Numbered places for shared objects: what program arrays, arrays of maps and perf event
//! arrays are made of.
//!
//! A slot has two sides. Programs read a word without any lock: the object's address, or 0.
//! Whoever changes a slot holds `held` and keeps the object alive: an object that was taken
//! out stays until every CPU has passed a quiescent state ([`Epoch`]), because a program may
//! have read its address just before. It goes when the embedder says [`Slots::let_go`], which it
//! does where dropping an object, and waiting for that, is harmless: not while it reads.
//!
//! Putting an object in makes the room that taking it out needs, so that what holds memory can be
//! taken out when there is none.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use kernel_sync::SpinLock;

use super::epoch::Epoch;
use super::error::MapError;
use crate::memory::{Memory, Region, make_room_in_queue};

/// Slots for objects of one type.
pub(super) struct Slots<T: ?Sized> {
    words: Region,
    entries: u32,
    held: SpinLock<Held<T>>,
    epoch: &'static Epoch,
}

/// What the lock guards: the objects behind the words, and those that wait for readers.
struct Held<T: ?Sized> {
    kept: Vec<Option<Arc<T>>>,
    /// How many of them there are.
    count: usize,
    /// Has room for those too.
    retired: Retired<T>,
}

/// Objects that were taken out, with the tags of their retirements, which ascend.
pub(super) struct Retired<T: ?Sized>(VecDeque<(u64, Arc<T>)>);

impl<T: ?Sized> Retired<T> {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes sure that so many more objects can be kept.
    pub(super) fn reserve(&mut self, more: usize) -> Result<(), MapError> {
        if make_room_in_queue(&mut self.0, more) { Ok(()) } else { Err(MapError::OutOfMemory) }
    }

    /// Empty, with room for so many objects.
    fn with_room(objects: usize) -> Result<Self, MapError> {
        let mut empty = Self::new();
        empty.reserve(objects)?;
        Ok(empty)
    }

    /// Whether so many more objects can be kept.
    fn has_room(&self, more: usize) -> bool {
        self.0.capacity() - self.0.len() >= more
    }

    /// Moves into `other`, which is empty, if that has more room; gives back the smaller one.
    fn move_into(&mut self, mut other: Self) -> Self {
        if other.0.capacity() > self.0.capacity() {
            other.0.append(&mut self.0);
            core::mem::swap(self, &mut other);
        }
        other
    }

    /// Keeps an object that nobody finds any more. There is room ([`Self::reserve`]).
    pub(super) fn keep(&mut self, object: Arc<T>, epoch: &Epoch) {
        self.0.push_back((epoch.retire(), object));
    }

    /// Takes out one that no program can see any more, for the caller to drop without a lock.
    pub(super) fn take_unseen(&mut self, epoch: &Epoch) -> Option<Arc<T>> {
        if !epoch.is_safe(self.0.front()?.0) {
            return None;
        }
        self.0.pop_front().map(|(_, object)| object)
    }
}

impl<T: ?Sized> Slots<T> {
    /// Words that `entries` slots take.
    pub(super) const fn words(entries: u32) -> usize {
        entries as usize
    }

    /// Empty slots.
    pub(super) fn new(
        memory: &'static dyn Memory,
        entries: u32,
        epoch: &'static Epoch,
    ) -> Result<Self, MapError> {
        let words = Region::new(memory, Self::words(entries), 64).ok_or(MapError::OutOfMemory)?;
        let mut kept = Vec::new();
        kept.try_reserve_exact(entries as usize).map_err(|_| MapError::OutOfMemory)?;
        kept.resize_with(entries as usize, || None);
        let held = SpinLock::new(Held { kept, count: 0, retired: Retired::new() });
        Ok(Self { words, entries, held, epoch })
    }

    /// What a program finds in a slot: the object's address, valid until this CPU is quiet; 0
    /// for an empty slot and beyond the end.
    #[inline]
    pub(super) fn address(&self, index: u32) -> usize {
        let word = self.words.words().get(index as usize);
        word.map_or(0, |word| word.load(Ordering::Acquire) as usize)
    }

    /// Where the words lie, for compiled code.
    pub(super) fn base(&self) -> usize {
        self.words.address()
    }

    /// The object in a slot.
    pub(super) fn get(&self, index: u32) -> Option<Arc<T>> {
        self.held.lock().kept.get(index as usize)?.clone()
    }

    /// Puts an object into a slot, or empties it. Returns whether there was one before.
    pub(super) fn set(&self, index: u32, object: Option<Arc<T>>) -> Result<bool, MapError> {
        let address = object
            .as_ref()
            .map_or(0, |object| Arc::as_ptr(object).cast::<u8>().expose_provenance());
        self.set_shown(index, object, address)
    }

    /// The same, where programs find `address`, which `object` keeps valid.
    pub(super) fn set_shown(
        &self,
        index: u32,
        object: Option<Arc<T>>,
        address: usize,
    ) -> Result<bool, MapError> {
        let word = self.words.words().get(index as usize).ok_or(MapError::Full)?;
        loop {
            let mut held = self.held.lock();
            let Held { kept, count, retired } = &mut *held;
            let slot = kept.get_mut(index as usize).ok_or(MapError::Full)?;
            if object.is_some() && !retired.has_room(*count + 1) {
                let room = 2 * (retired.0.len() + *count + 1);
                drop(held);
                self.enlarge(room)?;
                continue;
            }
            *count += usize::from(object.is_some());
            let old = core::mem::replace(slot, object);
            word.store(address as u64, Ordering::Release);
            let existed = old.is_some();
            if let Some(old) = old {
                *count -= 1;
                retired.keep(old, self.epoch);
            }
            return Ok(existed);
        }
    }

    /// Makes room for so many objects that were taken out. The heap is not asked under the lock.
    fn enlarge(&self, room: usize) -> Result<(), MapError> {
        let larger = Retired::with_room(room)?;
        let smaller = self.held.lock().retired.move_into(larger);
        drop(smaller);
        Ok(())
    }

    /// Whether anything that was taken out is still kept.
    pub(super) fn keeps_retired(&self) -> bool {
        !self.held.lock().retired.is_empty()
    }

    /// Drops what was taken out and nobody can see.
    pub(super) fn let_go(&self) {
        while self.take_unseen().is_some() {}
    }

    fn take_unseen(&self) -> Option<Arc<T>> {
        self.held.lock().retired.take_unseen(self.epoch)
    }

    /// Empties every slot and drops what nobody can see. Returns whether anything waits for
    /// its readers.
    pub(super) fn clear(&self) -> bool {
        for index in 0..self.entries {
            // Fails for no index that there is.
            let _ = self.set(index, None);
        }
        self.let_go();
        self.keeps_retired()
    }
}
