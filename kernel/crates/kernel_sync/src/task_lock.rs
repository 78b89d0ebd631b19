//! A spin lock for what interrupts never touch. The kernel is not preempted while a task runs
//! in it, so a holder is never taken off its CPU, and interrupts can stay as they are: that
//! makes it half as dear as a [`SpinLock`](crate::SpinLock).

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// Mutual exclusion by spinning, among tasks only. Taken in an interrupt it could wait for
/// the task that was interrupted, for ever.
pub struct TaskLock<T: ?Sized> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out one reference at a time, so sharing it only moves `T`
// between threads.
unsafe impl<T: ?Sized + Send> Send for TaskLock<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for TaskLock<T> {}

impl<T> TaskLock<T> {
    /// An unlocked lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Gives the value back.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> TaskLock<T> {
    /// Takes the lock. The holder does not sleep until the guard is dropped.
    #[inline]
    pub fn lock(&self) -> TaskLockGuard<'_, T> {
        while self
            .locked
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            while self.locked.load(Ordering::Relaxed) {
                core::hint::spin_loop();
            }
        }
        TaskLockGuard { lock: self, value: PhantomData }
    }

    /// The value, where the borrow checker already proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for TaskLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// The right to use what a [`TaskLock`] guards. Not to be held across anything that sleeps.
///
/// It is shared among threads only where the value may be:
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>(_: T) {}
/// fn check(guard: kernel_sync::TaskLockGuard<'_, core::cell::Cell<u32>>) {
///     shared(guard);
/// }
/// ```
#[must_use]
pub struct TaskLockGuard<'a, T: ?Sized> {
    lock: &'a TaskLock<T>,
    value: PhantomData<&'a mut T>,
}

impl<T: ?Sized> Deref for TaskLockGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while the lock is held by this thread.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for TaskLockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists only while the lock is held by this thread.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for TaskLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.locked.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::TaskLock;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn increments_from_many_threads_are_not_lost() {
        let counter = Arc::new(TaskLock::new(0u64));
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
}
