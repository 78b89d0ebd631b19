//! Which element of a full LRU map must go: the second-chance clock.
//!
//! A lookup by a program marks an element as used. A hand goes round the elements in the order
//! of their numbers, which is about the order of their insertion: it takes the mark from a
//! used element and evicts the first one without. System calls do not mark, as on Linux, so
//! that a listing does not change what is kept.
//!
//! A map that programs fill quickly may have no spare element that no program can see any more.
//! Then, as always on Linux, the one that was evicted first is used again at once: a program that
//! still has its address finds another key's value there, and who is searching there may be led
//! into another chain, so searches without a result are repeated.
//!
//! Linux divides the elements among CPUs with `BPF_F_NO_COMMON_LRU`; here all CPUs share one
//! clock in either case.

use core::sync::atomic::{AtomicU64, Ordering, fence};

use super::{Found, Hash, LINKED, State, USED};
use crate::map::elements::LINK;
use crate::map::error::MapError;

/// How many used elements get their second chance in one eviction.
const CHANCES: u32 = 128;
/// How often a search is repeated that may have been led astray.
const SEARCHES: usize = 32;

impl Hash {
    /// An element for a new key. The caller holds the lock.
    #[inline]
    pub(super) fn new_element(&self, state: &mut State) -> Result<(u32, &[AtomicU64]), MapError> {
        let taken = self.elements.take(&mut state.free);
        if taken.is_ok() || !self.shape.lru {
            return taken;
        }
        self.take_from_readers(state)
    }

    /// Not where values have locks or timers: those are never under a program's hands in two
    /// values at once.
    #[cold]
    fn take_from_readers(&self, state: &mut State) -> Result<(u32, &[AtomicU64]), MapError> {
        if !self.shape.fields.is_empty() {
            return Err(MapError::OutOfMemory);
        }
        let taken = self.elements.take_from_readers(&mut state.free);
        self.moves.fetch_add(1, Ordering::Relaxed);
        // Who sees a word of the element's next life sees the move.
        fence(Ordering::Release);
        taken.ok_or(MapError::OutOfMemory)
    }

    /// Walks a chain without the lock, where elements may be moved meanwhile.
    #[inline]
    pub(super) fn find_moving(&self, hash: u32, key: &[u8]) -> Option<Found<'_>> {
        if !self.shape.lru {
            return self.find(hash, key);
        }
        for _ in 0..SEARCHES {
            let before = self.moves.load(Ordering::Acquire);
            let found = self.find(hash, key);
            if found.is_some() {
                return found;
            }
            fence(Ordering::Acquire);
            if self.moves.load(Ordering::Relaxed) == before {
                break;
            }
        }
        None
    }

    /// Notes that a program has looked an element up.
    #[inline]
    pub(super) fn mark_used(words: &[AtomicU64]) {
        if let Some(word) = words.last()
            && word.load(Ordering::Relaxed) == LINKED
        {
            // A mark that comes too late, on an element that has been taken out or replaced
            // meanwhile, gives that one a second chance and does no other harm.
            word.fetch_or(USED, Ordering::Relaxed);
        }
    }

    /// Takes one element out of the map. The caller holds the lock.
    pub(super) fn evict(&self, state: &mut State) -> Result<(), MapError> {
        let mut chances = CHANCES;
        // Twice round: once to take the marks, once to find an element without.
        for _ in 0..u64::from(state.free.fresh) * 2 {
            let number = state.hand;
            state.hand = if number + 1 < state.free.fresh { number + 1 } else { 0 };
            let Some(words) = self.elements.get(number) else { continue };
            let Some(word) = words.last() else { continue };
            match word.load(Ordering::Relaxed) {
                LINKED => {}
                used if used & LINKED != 0 => {
                    word.store(LINKED, Ordering::Relaxed);
                    if chances > 0 {
                        chances -= 1;
                        continue;
                    }
                }
                _ => continue,
            }
            let link = words.get(LINK).map_or(0, |link| link.load(Ordering::Relaxed));
            self.unlink(state, (link >> 32) as u32, Found { number, words });
            return Ok(());
        }
        Err(MapError::OutOfMemory)
    }
}
