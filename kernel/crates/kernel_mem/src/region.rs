//! The regions of one address space: an ordered list of ranges that never overlap, each with
//! its rights and what fills it.
//!
//! Mapping, unmapping and changing rights split regions at the edges and join neighbours that
//! continue each other, so the list stays as short as it can be. Looking up an address takes
//! logarithmic time; a change moves the entries behind it. The length is bounded as Linux
//! bounds it (`vm.max_map_count`). Each operation that can fail fails before it changes
//! anything.

use alloc::vec::Vec;

use crate::PAGE_SIZE;

/// The most regions an address space may have: Linux's `vm.max_map_count`.
pub const MAX_REGIONS: usize = 65_530;

/// The pages below a growing stack that nothing else may be mapped into, and into which it
/// does not grow if something is (Linux: `stack_guard_gap`).
pub const STACK_GUARD_BYTES: usize = 256 * PAGE_SIZE;

bitflags::bitflags! {
    /// What the owner of a region may do with it; empty for `PROT_NONE`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rights: u8 {
        const READ = 1;
        const WRITE = 2;
        const EXECUTE = 4;
    }
}

/// What a region's pages come from.
pub trait Backing: Clone {
    /// The backing of the part that starts `bytes` later.
    #[must_use]
    fn advance(&self, bytes: usize) -> Self;
    /// Whether `next` is what this backing would be `bytes` later, so that two such regions,
    /// one behind the other, are one.
    fn continues(&self, bytes: usize, next: &Self) -> bool;
}

/// A range of addresses with the same rights and one backing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region<B> {
    /// The first address; a multiple of the page size.
    pub start: usize,
    /// One past the last address; a multiple of the page size.
    pub end: usize,
    pub rights: Rights,
    /// A stack: a fault just below extends it ([`Regions::grow_down`]).
    pub grows_down: bool,
    pub backing: B,
}

impl<B> Region<B> {
    /// The length in bytes.
    pub fn length(&self) -> usize {
        self.end - self.start
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: usize) -> bool {
        self.start <= address && address < self.end
    }
}

/// Why a change of the regions was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionError {
    /// An empty or unaligned range, or one that wraps around.
    BadRange,
    /// Something is mapped there.
    Overlap,
    /// A part of the range is not mapped.
    NotMapped,
    /// The address space has [`MAX_REGIONS`] regions.
    TooMany,
    /// No kernel memory for the list.
    OutOfMemory,
}

/// The regions of an address space, ascending.
#[derive(Clone, Debug)]
pub struct Regions<B> {
    list: Vec<Region<B>>,
    bytes: usize,
}

impl<B: Backing> Regions<B> {
    /// No regions.
    pub const fn new() -> Self {
        Self { list: Vec::new(), bytes: 0 }
    }

    /// A copy, with room for a few more.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn try_clone(&self) -> Result<Self, RegionError> {
        let mut list = Vec::new();
        list.try_reserve(self.list.len() + 2).map_err(|_| RegionError::OutOfMemory)?;
        list.extend(self.list.iter().cloned());
        Ok(Self { list, bytes: self.bytes })
    }

    /// Bytes that the list allocates to take `more` regions; 0 while it has room for them.
    pub fn growth_bytes(&self, more: usize) -> usize {
        let needed = self.list.len() + more;
        if needed <= self.list.capacity() {
            return 0;
        }
        // A vector grows at least to twice its length, and the old one stays meanwhile.
        needed.max(2 * self.list.capacity()) * size_of::<Region<B>>()
    }

    /// Bytes that a copy allocates.
    pub fn clone_bytes(&self) -> usize {
        (self.list.len() + 2) * size_of::<Region<B>>()
    }

    /// All regions, ascending.
    pub fn iter(&self) -> core::slice::Iter<'_, Region<B>> {
        self.list.iter()
    }

    /// How many regions there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The sum of the regions' lengths.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The region that holds `address`.
    pub fn find(&self, address: usize) -> Option<&Region<B>> {
        let index = self.first_ending_after(address);
        self.list.get(index).filter(|region| region.start <= address)
    }

    /// The regions that have a part in `[start, end)`, ascending.
    pub fn overlapping(&self, start: usize, end: usize) -> &[Region<B>] {
        let from = self.first_ending_after(start);
        let count = self.list[from..].partition_point(|region| region.start < end);
        &self.list[from..from + count]
    }

    /// How many regions a change of `[start, end)` cuts in two: so many more there are for a moment.
    pub fn cuts(&self, start: usize, end: usize) -> usize {
        let parts = self.overlapping(start, end);
        let first = parts.first().is_some_and(|region| region.start < start);
        let last = parts.last().is_some_and(|region| region.end > end);
        usize::from(first) + usize::from(last)
    }

    /// Adds a region where nothing is.
    ///
    /// # Errors
    /// `BadRange`, `Overlap`, `TooMany` or `OutOfMemory`.
    pub fn insert(&mut self, region: Region<B>) -> Result<(), RegionError> {
        check_range(region.start, region.end)?;
        if !self.overlapping(region.start, region.end).is_empty() {
            return Err(RegionError::Overlap);
        }
        self.reserve(1)?;
        self.bytes += region.length();
        let index = self.first_ending_after(region.start);
        self.list.insert(index, region);
        self.join_with_next(index);
        if let Some(previous) = index.checked_sub(1) {
            self.join_with_next(previous);
        }
        Ok(())
    }

    /// Removes whatever is in `[start, end)` and hands each removed part to `each`.
    ///
    /// # Errors
    /// `BadRange`, or `TooMany` or `OutOfMemory` if a region would be cut in two.
    pub fn remove(
        &mut self,
        start: usize,
        end: usize,
        mut each: impl FnMut(Region<B>),
    ) -> Result<(), RegionError> {
        check_range(start, end)?;
        let (from, to) = self.cut_out(start, end)?;
        for region in self.list.drain(from..to) {
            self.bytes -= region.length();
            each(region);
        }
        Ok(())
    }

    /// Gives `[start, end)`, which must be mapped without a hole, other rights.
    ///
    /// # Errors
    /// `BadRange`, `NotMapped`, `TooMany` or `OutOfMemory`.
    pub fn protect(&mut self, start: usize, end: usize, rights: Rights) -> Result<(), RegionError> {
        check_range(start, end)?;
        if !self.is_mapped(start, end) {
            return Err(RegionError::NotMapped);
        }
        let (from, to) = self.cut_out(start, end)?;
        for region in &mut self.list[from..to] {
            region.rights = rights;
        }
        for index in (from.saturating_sub(1)..to).rev() {
            self.join_with_next(index);
        }
        Ok(())
    }

    /// Whether `[start, end)` is mapped without a hole.
    pub fn is_mapped(&self, start: usize, end: usize) -> bool {
        self.mapped_until(start, end) == end
    }

    /// How far `[start, end)` is mapped before its first hole: `start` if that is in one.
    pub fn mapped_until(&self, start: usize, end: usize) -> usize {
        let mut at = start;
        for region in self.overlapping(start, end) {
            if region.start > at {
                break;
            }
            at = region.end.min(end);
        }
        at
    }

    /// The highest free range of `length` bytes in `[low, high)`; its first address.
    pub fn find_gap(&self, length: usize, low: usize, high: usize) -> Option<usize> {
        let mut top = high;
        let below = self.list.partition_point(|region| region.start < high);
        for region in self.list[..below].iter().rev() {
            if region.end < top && top - region.end >= length {
                break;
            }
            top = if region.grows_down {
                region.start.saturating_sub(STACK_GUARD_BYTES)
            } else {
                region.start
            };
            if top < low {
                return None;
            }
        }
        top.checked_sub(length).filter(|&start| start >= low)
    }

    /// Extends the growing region above `address` down to the page of `address`, but not below
    /// `lowest`, and not to within the guard gap of the region below.
    ///
    /// # Errors
    /// `NotMapped` if there is no such region or it may not grow that far.
    pub fn grow_down(&mut self, address: usize, lowest: usize) -> Result<&Region<B>, RegionError> {
        let page = address & !(PAGE_SIZE - 1);
        let index = self.first_ending_after(address);
        let below = index.checked_sub(1).and_then(|index| self.list.get(index));
        let floor = below.map_or(0, |region| region.end.saturating_add(STACK_GUARD_BYTES));
        let region = self.list.get_mut(index).ok_or(RegionError::NotMapped)?;
        if !region.grows_down || page < lowest || page < floor {
            return Err(RegionError::NotMapped);
        }
        if page < region.start {
            self.bytes += region.start - page;
            region.start = page;
        }
        Ok(region)
    }

    fn first_ending_after(&self, address: usize) -> usize {
        self.list.partition_point(|region| region.end <= address)
    }

    /// Makes room, so that what follows does not fail for want of it as long as it adds at most
    /// `more` regions.
    ///
    /// # Errors
    /// `TooMany` or `OutOfMemory`.
    pub fn reserve(&mut self, more: usize) -> Result<(), RegionError> {
        if self.list.len() + more > MAX_REGIONS {
            return Err(RegionError::TooMany);
        }
        self.list.try_reserve(more).map_err(|_| RegionError::OutOfMemory)
    }

    /// Cuts regions at `start` and `end`; the indices of those that lie between.
    fn cut_out(&mut self, start: usize, end: usize) -> Result<(usize, usize), RegionError> {
        self.reserve(self.cuts(start, end))?;
        self.cut(start);
        self.cut(end);
        let from = self.first_ending_after(start);
        Ok((from, from + self.overlapping(start, end).len()))
    }

    fn cut(&mut self, address: usize) {
        let index = self.first_ending_after(address);
        let Some(region) = self.list.get_mut(index) else { return };
        if region.start < address {
            let upper = Region {
                start: address,
                end: region.end,
                rights: region.rights,
                grows_down: false,
                backing: region.backing.advance(address - region.start),
            };
            region.end = address;
            self.list.insert(index + 1, upper);
        }
    }

    fn join_with_next(&mut self, index: usize) {
        let Some([region, next]) = self.list.get_mut(index..index + 2) else { return };
        if region.end == next.start
            && region.rights == next.rights
            && region.grows_down == next.grows_down
            && region.backing.continues(region.length(), &next.backing)
        {
            region.end = next.end;
            self.list.remove(index + 1);
        }
    }
}

impl<B: Backing> Default for Regions<B> {
    fn default() -> Self {
        Self::new()
    }
}

fn check_range(start: usize, end: usize) -> Result<(), RegionError> {
    let aligned = start.is_multiple_of(PAGE_SIZE) && end.is_multiple_of(PAGE_SIZE);
    if aligned && start < end { Ok(()) } else { Err(RegionError::BadRange) }
}

#[cfg(test)]
mod tests;
