//! Memory that a process shares with the children that it forks.

use crate::calls;
use core::marker::PhantomData;
use lemma_rt::Result;

/// A value in memory of its own, all bytes zero at first. `T` is made of atomic numbers.
pub(crate) struct Shared<T> {
    address: usize,
    of: PhantomData<T>,
}

impl<T> Shared<T> {
    /// Maps the memory.
    pub(crate) fn new() -> Result<Self> {
        let address = calls::map_shared(size_of::<T>().next_multiple_of(4096))?;
        Ok(Self { address, of: PhantomData })
    }

    /// The value.
    pub(crate) fn get(&self) -> &T {
        // SAFETY: mapped, page-aligned, long enough, and zero is a value of atomic numbers, which
        // is what every `T` here consists of.
        unsafe { &*(self.address as *const T) }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let _ = calls::munmap(self.address, size_of::<T>().next_multiple_of(4096));
    }
}
