//! A spinning readers-writer lock among tasks, not for interrupts. Writers wait for readers to
//! leave; new readers wait while a writer holds it, or waits for it: however many readers come, a
//! writer gets its turn. So nobody reads who reads already.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

/// A writer holds it.
const WRITER: u32 = 1 << 31;
/// A writer waits. Taken back by whichever writer gets it; the others say it again.
const WAITING: u32 = 1 << 30;

/// Many readers or one writer, by spinning; for read-mostly tables and short sections.
pub struct RwLock<T: ?Sized> {
    /// How many readers there are, and the flags.
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: sharing the lock moves `T` (writers) and shares it (readers) between threads.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

impl<T> RwLock<T> {
    /// An unlocked lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { state: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock to read. The caller does not hold it yet: it would wait for a writer that
    /// waits for it.
    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        loop {
            let state = self.state.load(Ordering::Relaxed);
            if state & (WRITER | WAITING) == 0
                && self
                    .state
                    .compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return RwLockReadGuard { lock: self };
            }
            core::hint::spin_loop();
        }
    }

    /// Takes the lock to write.
    #[inline]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        loop {
            let state = self.state.load(Ordering::Relaxed);
            if state & !WAITING == 0
                && self
                    .state
                    .compare_exchange_weak(state, WRITER, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return RwLockWriteGuard { lock: self };
            }
            if state & WAITING == 0 && state & !WAITING != 0 {
                self.state.fetch_or(WAITING, Ordering::Relaxed);
            }
            core::hint::spin_loop();
        }
    }
}

/// The right to read what an [`RwLock`] guards.
#[must_use]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: a reader is counted in, so no writer exists until the guard is dropped.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.state.fetch_sub(1, Ordering::Release);
    }
}

/// The right to change what an [`RwLock`] guards.
#[must_use]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the writer bit is ours until the guard is dropped.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the writer bit is ours until the guard is dropped.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.state.fetch_and(!WRITER, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::{RwLock, WAITING};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::thread;

    /// With readers that always overlap, a writer would else never come.
    #[test]
    fn a_writer_that_waits_comes_before_later_readers() {
        let lock = Arc::new(RwLock::new(()));
        let order = Arc::new(Mutex::new(std::vec::Vec::new()));
        let first = lock.read();
        let writer = {
            let (lock, order) = (Arc::clone(&lock), Arc::clone(&order));
            thread::spawn(move || {
                let _guard = lock.write();
                order.lock().unwrap().push("writer");
            })
        };
        while lock.state.load(Ordering::Relaxed) & WAITING == 0 {
            thread::yield_now();
        }
        let started = Arc::new(AtomicBool::new(false));
        let reader = {
            let (lock, order, started) = (lock.clone(), order.clone(), started.clone());
            thread::spawn(move || {
                started.store(true, Ordering::Relaxed);
                let _guard = lock.read();
                order.lock().unwrap().push("reader");
            })
        };
        while !started.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        // Time to get in, if it could.
        thread::sleep(std::time::Duration::from_millis(20));
        assert!(order.lock().unwrap().is_empty());
        drop(first);
        writer.join().unwrap();
        reader.join().unwrap();
        assert_eq!(*order.lock().unwrap(), ["writer", "reader"]);
        assert_eq!(lock.state.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn readers_see_whole_writes() {
        let pair = Arc::new(RwLock::new((0u64, 0u64)));
        let writer = {
            let pair = Arc::clone(&pair);
            thread::spawn(move || {
                for n in 1..=10_000 {
                    let mut pair = pair.write();
                    pair.0 = n;
                    pair.1 = n;
                }
            })
        };
        for _ in 0..10_000 {
            let pair = pair.read();
            assert_eq!(pair.0, pair.1);
        }
        writer.join().unwrap();
        assert_eq!(*pair.read(), (10_000, 10_000));
    }
}
