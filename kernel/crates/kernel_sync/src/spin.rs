//! A spin lock that keeps interrupts off on this CPU while it is held, so that a handler
//! can never find it taken by the code it interrupted.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::platform::{IrqState, platform};

/// Mutual exclusion by spinning, with interrupts off while held.
pub struct SpinLock<T: ?Sized> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out one reference at a time, so sharing it only moves `T`
// between threads.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// An unlocked lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Gives the value back.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Takes the lock. Interrupts are off on this CPU until the guard is dropped; guards
    /// must be dropped in the reverse order of taking.
    #[inline]
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        let irq = (platform().irq_save)();
        if self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            self.wait(irq);
        }
        SpinLockGuard { lock: self, irq, value: PhantomData }
    }

    /// Takes the lock after another CPU. Interrupts meanwhile are as they were.
    #[cold]
    fn wait(&self, irq: IrqState) {
        loop {
            (platform().irq_restore)(irq);
            while self.locked.load(Ordering::Relaxed) {
                core::hint::spin_loop();
            }
            // They were as `irq` says: so they will be again.
            let _ = (platform().irq_save)();
            let free = self.locked.compare_exchange_weak(
                false,
                true,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            if free.is_ok() {
                return;
            }
        }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T>> {
        let irq = (platform().irq_save)();
        if self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            Some(SpinLockGuard { lock: self, irq, value: PhantomData })
        } else {
            (platform().irq_restore)(irq);
            None
        }
    }

    /// The value, where the borrow checker already proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for SpinLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// The right to use what a [`SpinLock`] guards. Not to be held across anything that sleeps.
///
/// It is shared among threads only where the value may be:
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>(_: T) {}
/// fn check(guard: kernel_sync::SpinLockGuard<'_, core::cell::Cell<u32>>) {
///     shared(guard);
/// }
/// ```
#[must_use]
pub struct SpinLockGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
    irq: IrqState,
    value: PhantomData<&'a mut T>,
}

impl<T: ?Sized> Deref for SpinLockGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while the lock is held by this thread.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinLockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists only while the lock is held by this thread.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for SpinLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.locked.store(false, Ordering::Release);
        (platform().irq_restore)(self.irq);
    }
}

#[cfg(test)]
mod tests {
    use super::SpinLock;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn increments_from_many_threads_are_not_lost() {
        let counter = Arc::new(SpinLock::new(0u64));
        let threads: std::vec::Vec<_> = (0..4)
            .map(|_| {
                let counter = Arc::clone(&counter);
                thread::spawn(move || (0..10_000).for_each(|_| *counter.lock() += 1))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*counter.lock(), 40_000);
    }

    #[test]
    fn try_lock_fails_while_held() {
        let lock = SpinLock::new(());
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        drop(guard);
        assert!(lock.try_lock().is_some());
    }
}
