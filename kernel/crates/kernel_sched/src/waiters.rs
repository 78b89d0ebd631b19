//! [`Waiters`]: a queue of those who wait, under a spinning lock that is never held during an
//! allocation.
//!
//! ```text
//! waiter:  let Some(mut queue) = waiters.lock_with_room() else { no memory: look again later };
//!          if what is waited for is not there { queue.push_back(me) }
//! waker:   let first = waiters.lock().pop_front();
//! ```

use alloc::collections::VecDeque;

use kernel_sync::{SpinLock, SpinLockGuard};

/// Places that the first waiter makes.
const FIRST_PLACES: usize = 4;

/// A queue that grows before it is entered. Wakers may be interrupts: they allocate nothing.
pub struct Waiters<T> {
    queue: SpinLock<VecDeque<T>>,
}

impl<T> Waiters<T> {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self { queue: SpinLock::new(VecDeque::new()) }
    }

    /// The queue as it is: nothing is to be added to it.
    #[inline]
    pub fn lock(&self) -> SpinLockGuard<'_, VecDeque<T>> {
        self.queue.lock()
    }

    /// The queue with room for one more, which can be added without an allocation; `None` if there
    /// is no memory for that.
    #[inline]
    pub fn lock_with_room(&self) -> Option<SpinLockGuard<'_, VecDeque<T>>> {
        loop {
            let queue = self.queue.lock();
            if queue.len() < queue.capacity() {
                return Some(queue);
            }
            let places = queue.capacity().saturating_mul(2).max(FIRST_PLACES);
            drop(queue);
            self.grow_to(places)?;
        }
    }

    #[cold]
    fn grow_to(&self, places: usize) -> Option<()> {
        let mut larger = VecDeque::new();
        larger.try_reserve_exact(places).ok()?;
        let mut queue = self.queue.lock();
        // Somebody else may have been faster.
        if queue.capacity() < places {
            larger.append(&mut queue);
            core::mem::swap(&mut *queue, &mut larger);
        }
        drop(queue);
        // The old places are given back here, without the lock.
        drop(larger);
        Some(())
    }
}

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_PLACES, Waiters};
    use std::sync::Arc;
    use std::thread;
    use std::vec::Vec;

    #[test]
    fn the_order_outlives_growing() {
        let waiters = Waiters::new();
        // Not at the beginning of the places.
        for number in 0..3 {
            waiters.lock_with_room().unwrap().push_back(number);
            assert_eq!(waiters.lock().pop_front(), Some(number));
        }
        for number in 0..100 {
            let mut queue = waiters.lock_with_room().unwrap();
            let before = queue.capacity();
            assert!(before >= FIRST_PLACES);
            queue.push_back(number);
            assert_eq!(queue.capacity(), before, "grown under the lock");
        }
        assert!(waiters.lock().drain(..).eq(0..100));
    }

    #[test]
    fn many_that_come_at_once_all_get_in() {
        let waiters = Arc::new(Waiters::new());
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let waiters = Arc::clone(&waiters);
                thread::spawn(move || {
                    for number in 0..1000 {
                        waiters.lock_with_room().unwrap().push_back(thread * 1000 + number);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut all: Vec<i32> = waiters.lock().drain(..).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..4000));
    }

    #[test]
    fn without_memory_nobody_gets_in() {
        let waiters = Waiters::<[u8; 1 << 46]>::new();
        assert!(waiters.lock_with_room().is_none());
        assert!(waiters.lock().is_empty());
    }
}
