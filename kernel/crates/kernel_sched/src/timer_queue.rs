//! Sleepers by deadline: a binary heap in which each entry can be cancelled, in logarithmic
//! time, through the [`TimerId`] that it was given. The heap holds slot numbers; a slot knows
//! where in the heap it stands.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// Names an entry until it has expired or been cancelled; afterwards it names nothing, even
/// when the slot is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    slot: u32,
    generation: u32,
}

struct Slot<T> {
    generation: u32,
    /// Where in the heap, when in use; the next free slot, when not.
    position: u32,
    deadline: u64,
    value: Option<T>,
}

const NONE: u32 = u32::MAX;

/// Values that wait for a point in time.
pub struct TimerQueue<T> {
    heap: Vec<u32>,
    slots: Vec<Slot<T>>,
    free: u32,
}

impl<T> TimerQueue<T> {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { heap: Vec::new(), slots: Vec::new(), free: NONE }
    }

    /// Makes room, so that up to `entries` entries need no allocation.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn reserve(&mut self, entries: usize) -> Result<(), TryReserveError> {
        self.slots.try_reserve(entries.saturating_sub(self.slots.len()))?;
        self.heap.try_reserve(entries.saturating_sub(self.heap.len()))
    }

    /// How many entries wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The earliest deadline.
    #[inline]
    pub fn next_deadline(&self) -> Option<u64> {
        self.heap.first().map(|&slot| self.deadline(slot))
    }

    /// Adds a value that waits for `deadline`.
    pub fn insert(&mut self, deadline: u64, value: T) -> TimerId {
        let position = self.heap.len() as u32;
        let slot = if self.free == NONE {
            self.slots.push(Slot { generation: 0, position, deadline, value: Some(value) });
            self.slots.len() as u32 - 1
        } else {
            let slot = self.free;
            let entry = &mut self.slots[slot as usize];
            self.free = entry.position;
            entry.position = position;
            entry.deadline = deadline;
            entry.value = Some(value);
            slot
        };
        self.heap.push(slot);
        self.sift_up(position as usize);
        TimerId { slot, generation: self.slots[slot as usize].generation }
    }

    /// Takes an entry out before its time. `None` if it has expired or was cancelled.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let slot = self.slots.get(id.slot as usize)?;
        if slot.generation != id.generation || slot.value.is_none() {
            return None;
        }
        self.remove_at(slot.position as usize)
    }

    /// Takes out one entry whose deadline is not after `now`, the earliest first.
    pub fn pop_expired(&mut self, now: u64) -> Option<T> {
        if self.next_deadline()? > now {
            return None;
        }
        self.remove_at(0)
    }

    fn deadline(&self, slot: u32) -> u64 {
        self.slots[slot as usize].deadline
    }

    fn remove_at(&mut self, position: usize) -> Option<T> {
        let last = self.heap.len().checked_sub(1)?;
        self.exchange(position, last);
        let slot = self.heap.pop()?;
        if position < last {
            self.sift_up(position);
            self.sift_down(position);
        }
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.position = self.free;
        self.free = slot;
        entry.value.take()
    }

    fn exchange(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        for position in [one, other] {
            let slot = self.heap[position];
            self.slots[slot as usize].position = position as u32;
        }
    }

    fn sift_up(&mut self, mut index: usize) {
        while index > 0 {
            let parent = (index - 1) / 2;
            if self.deadline(self.heap[index]) >= self.deadline(self.heap[parent]) {
                break;
            }
            self.exchange(index, parent);
            index = parent;
        }
    }

    fn sift_down(&mut self, mut index: usize) {
        loop {
            let mut child = 2 * index + 1;
            let Some(&left) = self.heap.get(child) else { break };
            if let Some(&right) = self.heap.get(child + 1)
                && self.deadline(right) < self.deadline(left)
            {
                child += 1;
            }
            if self.deadline(self.heap[child]) >= self.deadline(self.heap[index]) {
                break;
            }
            self.exchange(index, child);
            index = child;
        }
    }
}

impl<T> Default for TimerQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::TimerQueue;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn an_old_name_does_not_cancel_a_new_entry() {
        let mut queue = TimerQueue::new();
        let old = queue.insert(5, "old");
        assert_eq!(queue.pop_expired(4), None);
        assert_eq!(queue.pop_expired(5), Some("old"));
        let new = queue.insert(6, "new");
        assert_eq!(queue.cancel(old), None);
        assert_eq!(queue.cancel(new), Some("new"));
        assert_eq!(queue.cancel(new), None);
        assert!(queue.is_empty());
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_list(script in proptest::collection::vec(
            (0u8..3, 0u64..100, any::<prop::sample::Index>()), 1..300)
        ) {
            let mut queue = TimerQueue::new();
            let mut model: Vec<(u64, usize, super::TimerId)> = Vec::new();
            for (number, (what, time, index)) in script.into_iter().enumerate() {
                match what {
                    0 => {
                        let id = queue.insert(time, number);
                        model.push((time, number, id));
                    }
                    1 if !model.is_empty() => {
                        let (_, value, id) = model.swap_remove(index.index(model.len()));
                        prop_assert_eq!(queue.cancel(id), Some(value));
                        prop_assert_eq!(queue.cancel(id), None);
                    }
                    _ => match queue.pop_expired(time) {
                        Some(value) => {
                            let at = model.iter().position(|entry| entry.1 == value).unwrap();
                            let (deadline, _, id) = model.swap_remove(at);
                            prop_assert!(deadline <= time);
                            prop_assert!(model.iter().all(|entry| entry.0 >= deadline));
                            prop_assert_eq!(queue.cancel(id), None);
                        }
                        None => prop_assert!(model.iter().all(|entry| entry.0 > time)),
                    },
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.next_deadline(), model.iter().map(|entry| entry.0).min());
            }
        }
    }
}
