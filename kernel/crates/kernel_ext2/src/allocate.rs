//! Free space: which blocks and inodes are in use, one bit each, a bitmap of either kind per group.

use alloc::vec;
use alloc::vec::Vec;

use kernel_vfs::{BlockDevice, FsError};

use crate::filesystem::Volume;
use crate::layout::{Counters, get32, put32};

/// The counters, and the orphan list; under one lock.
pub(crate) struct Allocator {
    counters: Vec<Counters>,
    changed: Vec<bool>,
    /// Inodes without names that are still held; the last is the head of the list on the disk.
    orphans: Vec<u32>,
}

impl Allocator {
    pub(crate) fn new(counters: Vec<Counters>) -> Self {
        let changed = vec![false; counters.len()];
        Self { counters, changed, orphans: Vec::new() }
    }

    /// Free blocks and free inodes.
    pub(crate) fn free(&self) -> (u64, u64) {
        self.counters.iter().fold((0, 0), |(blocks, inodes), group| {
            (blocks + u64::from(group.free_blocks), inodes + u64::from(group.free_inodes))
        })
    }

    /// Changes the counters of a group.
    fn update(&mut self, group: u32, change: impl FnOnce(&mut Counters)) {
        let group = group as usize;
        if let (Some(counters), Some(changed)) =
            (self.counters.get_mut(group), self.changed.get_mut(group))
        {
            change(counters);
            *changed = true;
        }
    }

    /// The counters that changed since the last call.
    pub(crate) fn take_changed(&mut self) -> Vec<(u32, Counters)> {
        let mut out = Vec::new();
        for ((number, counters), changed) in (0..).zip(&self.counters).zip(&mut self.changed) {
            if core::mem::take(changed) {
                out.push((number, *counters));
            }
        }
        out
    }

    /// Adds an orphan, and returns the one that follows it in the list.
    pub(crate) fn push_orphan(&mut self, number: u32) -> u32 {
        let next = self.first_orphan();
        self.orphans.push(number);
        next
    }

    /// Takes an orphan out. Returns the one whose link has to change, and to what.
    pub(crate) fn remove_orphan(&mut self, number: u32) -> Option<(u32, u32)> {
        let at = self.orphans.iter().rposition(|&orphan| orphan == number)?;
        self.orphans.remove(at);
        let next = at.checked_sub(1).and_then(|index| self.orphans.get(index)).copied();
        self.orphans.get(at).map(|&before| (before, next.unwrap_or(0)))
    }

    pub(crate) fn first_orphan(&self) -> u32 {
        self.orphans.last().copied().unwrap_or(0)
    }
}

/// The first clear bit in `[from, to)`, set.
fn set_first_clear(bitmap: &mut [u8], from: u32, to: u32) -> Option<u32> {
    let mut bit = from;
    while bit < to {
        if bit.is_multiple_of(64)
            && bitmap.get(bit as usize / 8..bit as usize / 8 + 8) == Some(&[0xff; 8])
        {
            bit += 64;
            continue;
        }
        let byte = bitmap.get_mut(bit as usize / 8)?;
        // What lies below `bit` counts as in use.
        let used = *byte | ((1u16 << (bit % 8)) - 1) as u8;
        if used == 0xff {
            bit = (bit / 8 + 1) * 8;
            continue;
        }
        let free = used.trailing_ones();
        let found = bit / 8 * 8 + free;
        if found >= to {
            return None;
        }
        *byte |= 1 << free;
        return Some(found);
    }
    None
}

/// Clears the bits `[from, from + count)`. Returns how many of them were set.
fn clear_bits(bitmap: &mut [u8], from: u32, count: u32) -> u32 {
    let mut cleared = 0;
    for bit in from..from + count {
        if let Some(byte) = bitmap.get_mut(bit as usize / 8) {
            let mask = 1u8 << (bit % 8);
            cleared += u32::from(*byte & mask != 0);
            *byte &= !mask;
        }
    }
    cleared
}

impl<D: BlockDevice + 'static> Volume<D> {
    /// Takes a free block, `goal` or one that follows it closely if there is one.
    pub(crate) fn allocate_block(&self, goal: u32) -> Result<u32, FsError> {
        match self.try_allocate_block(goal) {
            // Files that are gone may still hold space.
            Err(FsError::NoSpace) if self.settle() => self.try_allocate_block(goal),
            result => result,
        }
    }

    fn try_allocate_block(&self, goal: u32) -> Result<u32, FsError> {
        let (first_group, first_index) = self.geometry.locate_block(goal).unwrap_or((0, 0));
        let mut allocator = self.allocator.lock();
        let groups = self.geometry.groups;
        for step in 0..=groups {
            let number = (first_group + step) % groups;
            let Some(group) = self.groups.get(number as usize) else { break };
            let free = allocator.counters.get(number as usize).map_or(0, |group| group.free_blocks);
            if free == 0 {
                continue;
            }
            // The goal's group is searched from the goal on, and at last from its start.
            let from = if step == 0 { first_index } else { 0 };
            let found = self
                .cache
                .modify(group.block_bitmap, |bitmap| set_first_clear(bitmap, from, group.length))?;
            match found {
                Some(index) => {
                    let block = group.start + index;
                    if !group.is_data(block) {
                        // The bitmap offers a block of the group's own: it stays marked as used.
                        return Err(self.corrupted());
                    }
                    allocator.update(number, |counters| counters.free_blocks -= 1);
                    return Ok(block);
                }
                None if from > 0 => {}
                None => {
                    // The counter promised a block that the bitmap does not have.
                    self.corrupted();
                    allocator.update(number, |counters| counters.free_blocks = 0);
                }
            }
        }
        Err(FsError::NoSpace)
    }

    /// Frees the blocks `[start, start + count)`, which lie in one group and are data blocks. Blocks
    /// that are free already are reported as corruption.
    pub(crate) fn free_blocks(&self, start: u32, count: u32) -> Result<(), FsError> {
        let (number, index) = self.geometry.locate_block(start).ok_or_else(|| self.corrupted())?;
        let group = self.groups.get(number as usize).ok_or_else(|| self.corrupted())?;
        for block in start..start + count {
            self.cache.discard(block);
        }
        let mut allocator = self.allocator.lock();
        let cleared =
            self.cache.modify(group.block_bitmap, |bitmap| clear_bits(bitmap, index, count))?;
        allocator.update(number, |counters| {
            counters.free_blocks = counters.free_blocks.saturating_add(cleared as u16);
        });
        if cleared == count { Ok(()) } else { Err(self.corrupted()) }
    }

    /// Whether the bitmap says that a data block is in use.
    pub(crate) fn is_allocated(&self, block: u32) -> Result<bool, FsError> {
        let (number, index) = self.geometry.locate_block(block).ok_or_else(|| self.corrupted())?;
        let group = self.groups.get(number as usize).ok_or_else(|| self.corrupted())?;
        let bitmap = self.cache.get(group.block_bitmap)?;
        Ok(bitmap.get(index as usize / 8).is_some_and(|byte| byte >> (index % 8) & 1 != 0))
    }

    /// Gives up one reference to a block of extended attributes, which inodes may share.
    pub(crate) fn release_attributes(&self, block: u32) -> Result<(), FsError> {
        const MAGIC: u32 = 0xea02_0000;
        if !self.is_data_block(block) || get32(&self.cache.get(block)?, 0) != MAGIC {
            return Err(self.corrupted());
        }
        let left = self.cache.modify(block, |bytes| {
            let count = get32(bytes, 4).saturating_sub(1);
            if count > 0 {
                put32(bytes, 4, count);
            }
            count
        })?;
        if left == 0 { self.free_blocks(block, 1) } else { Ok(()) }
    }

    /// Takes a free inode: near its directory `parent`; a new directory where there is room.
    pub(crate) fn allocate_inode(&self, parent: u32, directory: bool) -> Result<u32, FsError> {
        match self.try_allocate_inode(parent, directory) {
            Err(FsError::NoSpace) if self.settle() => self.try_allocate_inode(parent, directory),
            result => result,
        }
    }

    fn try_allocate_inode(&self, parent: u32, directory: bool) -> Result<u32, FsError> {
        let geometry = &self.geometry;
        let near = geometry.locate_inode(parent).map_or(0, |(group, _)| group);
        let mut allocator = self.allocator.lock();
        let first = if directory { roomiest(&allocator.counters, near) } else { near };
        for step in 0..geometry.groups {
            let number = (first + step) % geometry.groups;
            let Some(group) = self.groups.get(number as usize) else { break };
            let free = allocator.counters.get(number as usize).map_or(0, |group| group.free_inodes);
            if free == 0 {
                continue;
            }
            let from = if number == 0 { geometry.first_inode - 1 } else { 0 };
            let found = self.cache.modify(group.inode_bitmap, |bitmap| {
                set_first_clear(bitmap, from, geometry.inodes_per_group)
            })?;
            let Some(index) = found else {
                self.corrupted();
                allocator.update(number, |counters| counters.free_inodes = 0);
                continue;
            };
            allocator.update(number, |counters| {
                counters.free_inodes -= 1;
                counters.directories += u16::from(directory);
            });
            return Ok(number * geometry.inodes_per_group + index + 1);
        }
        Err(FsError::NoSpace)
    }

    /// Frees an inode.
    pub(crate) fn free_inode(&self, inode: u32, directory: bool) -> Result<(), FsError> {
        let (number, index) = self.geometry.locate_inode(inode).ok_or_else(|| self.corrupted())?;
        let group = self.groups.get(number as usize).ok_or_else(|| self.corrupted())?;
        let mut allocator = self.allocator.lock();
        let cleared =
            self.cache.modify(group.inode_bitmap, |bitmap| clear_bits(bitmap, index, 1))?;
        if cleared == 0 {
            return Err(self.corrupted());
        }
        allocator.update(number, |counters| {
            counters.free_inodes = counters.free_inodes.saturating_add(1);
            counters.directories = counters.directories.saturating_sub(directory.into());
        });
        Ok(())
    }
}

/// The group for a new directory: its parent's while that has its share of free inodes and blocks,
/// else the one with the most free blocks.
fn roomiest(counters: &[Counters], near: u32) -> u32 {
    let count = counters.len().max(1) as u64;
    let inodes: u64 = counters.iter().map(|group| u64::from(group.free_inodes)).sum();
    let blocks: u64 = counters.iter().map(|group| u64::from(group.free_blocks)).sum();
    let fair = |group: &Counters| {
        u64::from(group.free_inodes) >= inodes / count / 2
            && u64::from(group.free_blocks) >= blocks / count / 2
    };
    if counters.get(near as usize).is_some_and(fair) {
        return near;
    }
    (0..)
        .zip(counters)
        .filter(|(_, group)| group.free_inodes > 0)
        .max_by_key(|(_, group)| group.free_blocks)
        .map_or(near, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::{clear_bits, set_first_clear};

    #[test]
    fn bits_are_found_in_order_and_within_bounds() {
        let mut bitmap = [0b1111_0101, 0xff, 0b0000_0001, 0];
        assert_eq!(set_first_clear(&mut bitmap, 0, 20), Some(1));
        assert_eq!(set_first_clear(&mut bitmap, 2, 20), Some(3));
        assert_eq!(set_first_clear(&mut bitmap, 0, 16), None);
        assert_eq!(set_first_clear(&mut bitmap, 0, 20), Some(17));
        assert_eq!(set_first_clear(&mut bitmap, 19, 20), Some(19));
        assert_eq!(set_first_clear(&mut bitmap, 19, 20), None);
        assert_eq!(set_first_clear(&mut bitmap, 30, 64), Some(30));
        assert_eq!(set_first_clear(&mut bitmap, 32, 64), None);
        assert_eq!(clear_bits(&mut bitmap, 6, 5), 5);
        assert_eq!(clear_bits(&mut bitmap, 6, 5), 0);
        assert_eq!(set_first_clear(&mut bitmap, 0, 32), Some(6));
    }
}
