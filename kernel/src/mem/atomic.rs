//! Changing a word of user memory at once, as the atomic instructions of users see it.

use core::sync::atomic::{AtomicU32, Ordering};

use super::address_space::AddressSpace;
use super::demand::FaultError;
use super::phys::phys_to_virt;
use super::user::is_user_range;
use crate::arch::{FaultAccess, PAGE_SIZE, PageTable, Protection};

/// How often a page is brought back that others take away meanwhile.
const TRIES: usize = 16;

impl AddressSpace {
    /// Replaces the 32-bit word at `address` if it is `expected`; what it was. May sleep.
    ///
    /// # Errors
    /// If it is not aligned, or not to be written.
    pub fn compare_exchange(
        &self,
        address: usize,
        expected: u32,
        new: u32,
    ) -> Result<u32, FaultError> {
        if !address.is_multiple_of(4) || !is_user_range(address, 4) {
            return Err(FaultError::NotMapped);
        }
        let at = address % PAGE_SIZE;
        for _ in 0..TRIES {
            self.resolve(address, FaultAccess::Write)?;
            let inner = self.inner.lock();
            let mapping = inner.table.query(address - at);
            let writable = mapping.filter(|mapping| mapping.protection.contains(Protection::WRITE));
            let Some(mapping) = writable else { continue };
            let word = (phys_to_virt(mapping.frame) + at) as *mut u32;
            // SAFETY: the frame is RAM in the direct map, and stays the user's as long as the
            // address space is locked; the word is aligned, and in it. Users change it at any time,
            // which atomics may.
            let word = unsafe { AtomicU32::from_ptr(word) };
            let exchanged =
                word.compare_exchange(expected, new, Ordering::SeqCst, Ordering::SeqCst);
            return Ok(exchanged.unwrap_or_else(|other| other));
        }
        Err(FaultError::NotMapped)
    }
}
