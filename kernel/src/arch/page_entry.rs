//! What page-table entries have alike on all machines: which rights are refused, and what an entry
//! says in neutral words. The bits stand in each folder's `entry.rs`.

use super::machine::Entry;
use super::traits::{CacheMode, MapError, Mapping, PhysAddr, Protection};

const WRITE_AND_EXECUTE: Protection = Protection::WRITE.union(Protection::EXECUTE);

impl Entry {
    /// A user page. Without the right to read, write or execute, it keeps its frame and may not be
    /// accessed.
    #[inline]
    pub(in crate::arch) fn user(frame: PhysAddr, protection: Protection) -> Result<Self, MapError> {
        if protection.contains(WRITE_AND_EXECUTE) {
            return Err(MapError::WriteAndExecute);
        }
        let accessible = protection.intersects(Protection::READ | WRITE_AND_EXECUTE);
        Ok(Self::user_page(frame, protection, accessible))
    }

    /// A page of the kernel's, or a larger block.
    #[inline]
    pub(in crate::arch) fn kernel(
        frame: PhysAddr,
        protection: Protection,
        cache: CacheMode,
        huge: bool,
    ) -> Result<Self, MapError> {
        if protection.contains(WRITE_AND_EXECUTE) {
            return Err(MapError::WriteAndExecute);
        }
        if protection.contains(Protection::USER) {
            return Err(MapError::BadAddress);
        }
        Ok(Self::kernel_page(frame, protection, cache, huge))
    }

    /// What the entry of a user page says.
    #[inline]
    pub(in crate::arch) fn mapping(self) -> Option<Mapping> {
        if !self.is_used() {
            return None;
        }
        let protection = if self.is_present() { self.user_rights() } else { Protection::USER };
        Some(Mapping { frame: PhysAddr(self.frame()), protection })
    }
}
