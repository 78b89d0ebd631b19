//! Which block holds which part of a file ("Inode: i_block"): twelve pointers in the inode, then
//! one, two and three levels of blocks full of pointers.
//!
//! All functions work on a file's [`Body`], whose lock the caller holds.

use kernel_vfs::page::{self, Page};
use kernel_vfs::{BlockDevice, FsError};

use crate::filesystem::Volume;
use crate::inode::{Body, Ext2Inode};
use crate::layout::{Pointers, get32, put32};

const DIRECT: u64 = 12;

/// The way to a block: a pointer in the inode, then an index in each indirect block.
struct Path {
    root: usize,
    indices: [usize; 3],
    depth: usize,
}

/// The way to the block `index` of a file; `None` beyond the largest file.
#[inline]
fn path(index: u64, per_block: u64) -> Option<Path> {
    if index < DIRECT {
        return Some(Path { root: index as usize, indices: [0; 3], depth: 0 });
    }
    let p = per_block;
    let mut rest = index - DIRECT;
    if rest < p {
        return Some(Path { root: 12, indices: [rest as usize, 0, 0], depth: 1 });
    }
    rest -= p;
    if rest < p * p {
        return Some(Path {
            root: 13,
            indices: [(rest / p) as usize, (rest % p) as usize, 0],
            depth: 2,
        });
    }
    rest -= p * p;
    if rest < p * p * p {
        let indices = [(rest / p / p) as usize, (rest / p % p) as usize, (rest % p) as usize];
        return Some(Path { root: 14, indices, depth: 3 });
    }
    None
}

/// Bytes that the pointers can reach.
pub(crate) fn largest_file(block_size: usize) -> u64 {
    let p = block_size as u64 / 4;
    (DIRECT + p + p * p + p * p * p) * block_size as u64
}

impl<D: BlockDevice + 'static> Ext2Inode<D> {
    fn per_block(&self) -> u64 {
        self.volume.geometry.block_size as u64 / 4
    }

    /// The block that holds the file's block `index`; 0 is a hole.
    #[inline]
    pub(crate) fn find_block(&self, body: &mut Body, index: u64) -> Result<u32, FsError> {
        if let Some(&block) = body.pointers.get(index as usize)
            && index < DIRECT
        {
            // Checked when the inode was loaded.
            return Ok(block);
        }
        if let Some((first, leaf)) = &body.leaf
            && let Some(at) = index.checked_sub(*first)
            && at < self.per_block()
        {
            return self.pointer(leaf, at as usize);
        }
        let Some(path) = path(index, self.per_block()) else { return Ok(0) };
        let mut block = body.pointers.get(path.root).copied().unwrap_or(0);
        for (level, &at) in path.indices.iter().enumerate().take(path.depth) {
            if block == 0 {
                return Ok(0);
            }
            let page = self.volume.cache.get(block)?;
            block = self.pointer(&page, at)?;
            if level + 1 == path.depth {
                body.leaf = Some((index - at as u64, page));
            }
        }
        Ok(block)
    }

    /// The pointer at a place of an indirect block, checked.
    #[inline]
    fn pointer(&self, page: &Page, at: usize) -> Result<u32, FsError> {
        let block = get32(page, 4 * at);
        if block != 0 && !self.volume.is_data_block(block) {
            return Err(self.volume.corrupted());
        }
        Ok(block)
    }

    /// Makes `page` the contents of the file's block `index`, which gets a block if it was a hole.
    /// On failure nothing has changed.
    pub(crate) fn place(&self, body: &mut Body, index: u64, page: Page) -> Result<(), FsError> {
        let volume = &*self.volume;
        let path = path(index, self.per_block()).ok_or(FsError::FileTooLarge)?;
        // Down the way as far as it exists; `level` counts the pointers that do.
        let mut block = body.pointers.get(path.root).copied().unwrap_or(0);
        let mut parent = 0;
        let mut level = 0;
        while block != 0 && level < path.depth {
            parent = block;
            let index = path.indices.get(level).copied().unwrap_or(0);
            block = self.pointer(&volume.cache.get(block)?, index)?;
            level += 1;
        }
        if block != 0 {
            return volume.cache.put(block, page);
        }
        // An indirect block is about to change.
        body.leaf = None;
        // What is missing: the rest of the indirect blocks, and the data block.
        let missing = path.depth - level + 1;
        self.check_sectors(missing)?;
        let mut new = [0; 4];
        let mut goal = body.goal;
        for index in 0..missing {
            match volume.allocate_block(goal) {
                Ok(block) => {
                    goal = block.wrapping_add(1);
                    if let Some(place) = new.get_mut(index) {
                        *place = block;
                    }
                }
                Err(error) => {
                    self.give_back(&new);
                    return Err(error);
                }
            }
        }
        let result =
            self.connect(body, &path, level, parent, new.get(..missing).unwrap_or(&[]), page);
        if result.is_err() {
            self.give_back(&new);
            return result;
        }
        body.goal = goal;
        self.add_sectors(missing as i64);
        Ok(())
    }

    /// Fills the new blocks, the data block first, and links the uppermost last.
    fn connect(
        &self,
        body: &mut Body,
        path: &Path,
        level: usize,
        parent: u32,
        new: &[u32],
        page: Page,
    ) -> Result<(), FsError> {
        let volume = &*self.volume;
        let Some((&data, indirect)) = new.split_last() else { return Err(FsError::Io) };
        volume.cache.put(data, page)?;
        let mut below = data;
        // The indirect block number i of the new ones is at depth level + i, and its successor
        // hangs at that depth's index.
        for (step, &block) in indirect.iter().enumerate().rev() {
            let index = path.indices.get(level + step).copied().unwrap_or(0);
            let mut page = volume.cache.pool().take();
            let bytes = page::make_mut(&mut page);
            bytes.fill(0);
            put32(bytes, 4 * index, below);
            volume.cache.put(block, page)?;
            below = block;
        }
        if level == 0 {
            if let Some(pointer) = body.pointers.get_mut(path.root) {
                *pointer = below;
            }
            return Ok(());
        }
        let index = path.indices.get(level - 1).copied().unwrap_or(0);
        volume.cache.modify(parent, |bytes| put32(bytes, 4 * index, below))
    }

    /// Frees blocks that were taken for nothing.
    fn give_back(&self, blocks: &[u32]) {
        for &block in blocks.iter().filter(|&&block| block != 0) {
            // A failure leaves it marked as used, which e2fsck mends.
            let _ = self.volume.free_blocks(block, 1);
        }
    }

    /// Frees every block from the file's block `from` on.
    pub(crate) fn release_from(&self, body: &mut Body, from: u64) -> Result<(), FsError> {
        body.leaf = None;
        let mut pointers = body.pointers;
        let mut run = Run::default();
        let result = self.volume.release(&mut pointers, from, &mut run);
        let result = result.and(run.finish(&self.volume));
        // What was cut off is never reached again, freed or not.
        body.pointers = pointers;
        self.add_sectors(-(run.freed as i64));
        result
    }
}

/// Neighbouring blocks that are freed together.
#[derive(Default)]
struct Run {
    start: u32,
    length: u32,
    freed: u64,
}

impl Run {
    fn add<D: BlockDevice + 'static>(
        &mut self,
        volume: &Volume<D>,
        block: u32,
    ) -> Result<(), FsError> {
        let group = |block| volume.geometry.locate_block(block).map(|(group, _)| group);
        let next = self.length > 0
            && self.start.checked_add(self.length) == Some(block)
            && group(self.start) == group(block);
        if next {
            self.length += 1;
            return Ok(());
        }
        self.finish(volume)?;
        (self.start, self.length) = (block, 1);
        Ok(())
    }

    fn finish<D: BlockDevice + 'static>(&mut self, volume: &Volume<D>) -> Result<(), FsError> {
        let length = core::mem::take(&mut self.length);
        if length == 0 {
            return Ok(());
        }
        self.freed += u64::from(length);
        volume.free_blocks(self.start, length)
    }
}

impl<D: BlockDevice + 'static> Volume<D> {
    /// Frees every block that the pointers of an inode reach.
    pub(crate) fn release_all(&self, pointers: &mut Pointers) -> Result<(), FsError> {
        let mut run = Run::default();
        let result = self.release(pointers, 0, &mut run);
        result.and(run.finish(self))
    }

    fn release(&self, pointers: &mut Pointers, from: u64, run: &mut Run) -> Result<(), FsError> {
        let p = self.geometry.block_size as u64 / 4;
        let mut start = 0;
        for (index, pointer) in pointers.iter_mut().enumerate() {
            let level = index.saturating_sub(11) as u32;
            let span = p.pow(level);
            let end = start + span;
            if end > from && *pointer != 0 {
                let block = *pointer;
                if from <= start {
                    *pointer = 0;
                }
                self.release_tree(block, level, from.saturating_sub(start), run)?;
            }
            start = end;
        }
        Ok(())
    }

    /// Frees what the pointer `block` of a tree of `level` levels reaches from the tree's data block
    /// `from` on; with `from` 0, the block itself too, whose pointer the caller has cleared. A tree
    /// that reaches a block twice is found out when the second comes to be freed, so this ends.
    fn release_tree(
        &self,
        block: u32,
        level: u32,
        from: u64,
        run: &mut Run,
    ) -> Result<(), FsError> {
        if !self.is_data_block(block) {
            return Err(self.corrupted());
        }
        if level > 0 {
            // Those gathered so far are marked as free before this one is judged.
            run.finish(self)?;
            if !self.is_allocated(block)? {
                return Err(self.corrupted());
            }
            let page = self.cache.get(block)?;
            let p = self.geometry.block_size as u64 / 4;
            let span = p.pow(level - 1);
            let first = from / span;
            for index in first..p {
                let child = get32(&page, 4 * index as usize);
                if child == 0 {
                    continue;
                }
                let child_from = if index == first { from % span } else { 0 };
                if from > 0 && child_from == 0 {
                    self.cache.modify(block, |bytes| put32(bytes, 4 * index as usize, 0))?;
                }
                self.release_tree(child, level - 1, child_from, run)?;
            }
        }
        if from == 0 { run.add(self, block) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{largest_file, path};

    #[test]
    fn paths_end_where_the_largest_file_does() {
        for block_size in [1024, 2048, 4096] {
            let p = block_size as u64 / 4;
            let blocks = largest_file(block_size) / block_size as u64;
            let last = path(blocks - 1, p).map(|path| (path.root, path.depth, path.indices));
            assert_eq!(last, Some((14, 3, [p as usize - 1; 3])));
            assert!(path(blocks, p).is_none());
            assert_eq!(path(11, p).map(|path| (path.root, path.depth)), Some((11, 0)));
            assert_eq!(path(12, p).map(|path| (path.root, path.depth)), Some((12, 1)));
            assert_eq!(path(12 + p, p).map(|path| (path.root, path.depth)), Some((13, 2)));
        }
    }
}
