//! Growing, shrinking and moving a mapping: `mremap(2)`.

use alloc::vec::Vec;

use kernel_mem::{Backing as _, Region};

use super::address_space::{AddressSpace, Inner, MemoryError, may_grow};
use super::layout::{USER_LOW, user_end};
use super::memapi::{may_allocate, may_promise};
use crate::arch::{Mapping, PAGE_SIZE, PageTable};

impl AddressSpace {
    /// Makes the mapping of `old` bytes at `start`, which has to lie in one region, `new` bytes
    /// long; where it is then. It moves only if it `may_move`: to `target`, in place of what is
    /// there, or anywhere.
    ///
    /// # Errors
    /// As [`MemoryError`] says; then nothing has changed, except at `target`.
    pub fn remap(
        &self,
        start: usize,
        old: usize,
        new: usize,
        may_move: bool,
        target: Option<usize>,
    ) -> Result<usize, MemoryError> {
        let old = kernel_mem::page_align_up(old).ok_or(MemoryError::Invalid)?;
        let new = kernel_mem::page_align_up(new).ok_or(MemoryError::Invalid)?;
        let end = start.checked_add(old).ok_or(MemoryError::Invalid)?;
        if !start.is_multiple_of(PAGE_SIZE) || old == 0 || new == 0 || new > user_end() {
            return Err(MemoryError::Invalid);
        }
        let inner = &mut *self.inner.lock();
        let region = inner.regions.find(start).cloned().ok_or(MemoryError::NotMapped)?;
        if end > region.end {
            return Err(MemoryError::NotMapped);
        }
        let promised = region.backing.is_promised(region.rights);
        may_promise(if promised { new.saturating_sub(old) } else { 0 })?;
        if let Some(target) = target {
            let clear = target.checked_add(new).is_some_and(|end| end <= user_end());
            let apart = target >= end || target.saturating_add(new) <= start;
            if !target.is_multiple_of(PAGE_SIZE) || !clear || !apart || target < USER_LOW {
                return Err(MemoryError::Invalid);
            }
            self.unmap_locked(inner, target, target + new)?;
            return self.move_region(inner, &region, (start, old), (target, new));
        }
        if new <= old {
            if new < old {
                self.unmap_locked(inner, start + new, end)?;
            }
            return Ok(start);
        }
        let wanted = start.checked_add(new).ok_or(MemoryError::NoMemory)?;
        if end == region.end
            && wanted <= user_end()
            && inner.regions.overlapping(end, wanted).is_empty()
        {
            let backing = region.backing.advance(end - region.start);
            may_grow(&inner.regions, 1)?;
            inner.regions.insert(Region { start: end, end: wanted, backing, ..region })?;
            return Ok(start);
        }
        if !may_move {
            return Err(MemoryError::NoMemory);
        }
        let place = inner.place(0, new)?;
        self.move_region(inner, &region, (start, old), (place, new))
    }

    /// Moves `[start, start + old)` of `region` with its pages to `[to, to + new)`.
    fn move_region(
        &self,
        inner: &mut Inner,
        region: &Region<super::backing::Backing>,
        (start, old): (usize, usize),
        (to, new): (usize, usize),
    ) -> Result<usize, MemoryError> {
        let kept = old.min(new);
        let mut pages: Vec<(usize, Mapping)> = Vec::new();
        let most = (kept / PAGE_SIZE).min(self.resident_pages());
        // Room for the lists and for the tables of the new place, and for a region more at each.
        let list = most * size_of::<(usize, Mapping)>();
        may_allocate(list + (most / 512 + 4) * PAGE_SIZE + inner.regions.growth_bytes(2))?;
        inner.regions.reserve(2)?;
        pages.try_reserve_exact(most).map_err(|_| MemoryError::NoMemory)?;
        let backing = region.backing.advance(start - region.start);
        let moved =
            Region { start: to, end: to + new, rights: region.rights, grows_down: false, backing };
        inner.regions.insert(moved)?;
        inner.table.unmap_each(start, start + kept, &self.cpus, &mut |page, mapping| {
            pages.push((page, mapping));
        });
        let private = region.backing.is_private();
        for (page, mapping) in pages {
            if inner.table.map(page - start + to, mapping.frame, mapping.protection).is_err() {
                // Room was made above. A page that is lost all the same reads as new.
                self.forget_page(mapping.frame, private);
            }
        }
        self.unmap_locked(inner, start, start + old)?;
        Ok(to)
    }
}
