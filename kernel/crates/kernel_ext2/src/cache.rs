//! Blocks of the device in memory: read once, changed in memory, written back later.
//!
//! A block is a [`Page`], so what [`BlockCache::get`] returns can be read without a lock, as it
//! was at that moment. The number of blocks is bounded: beyond it a clock hand takes clean ones
//! that were not used since its last round, and dirty ones are written back first. All traffic
//! with the device happens under `io`, one request at a time; so a block is never read while an
//! older write of it is under way.

use alloc::vec;
use alloc::vec::Vec;

use kernel_sync::{Mutex, TaskLock};
use kernel_vfs::page::{self, Page, PagePool};
use kernel_vfs::{BlockDevice, FsError};

const NONE: u32 = u32::MAX;
/// Blocks written or read in one request.
const RUN: usize = 16;

struct Slot {
    block: u32,
    next: u32,
    page: Option<Page>,
    dirty: bool,
    /// Used since the hand was here.
    referenced: bool,
}

struct Table {
    /// First slot of each chain; the length is a power of two.
    heads: Vec<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    hand: usize,
    dirty: usize,
}

impl Table {
    #[inline]
    fn chain(&self, block: u32) -> usize {
        (block.wrapping_mul(0x9e37_79b1) >> 7) as usize & (self.heads.len() - 1)
    }

    #[inline]
    fn find(&mut self, block: u32) -> Option<&mut Slot> {
        let mut index = *self.heads.get(self.chain(block))?;
        loop {
            let slot = self.slots.get(index as usize)?;
            if slot.block == block {
                return self.slots.get_mut(index as usize);
            }
            index = slot.next;
        }
    }

    fn used(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds a block that is not there.
    fn add(&mut self, block: u32, page: Page, dirty: bool) {
        let chain = self.chain(block);
        let Some(head) = self.heads.get_mut(chain) else { return };
        let slot = Slot { block, next: *head, page: Some(page), dirty, referenced: true };
        self.dirty += usize::from(dirty);
        match self.free.pop().and_then(|index| Some((index, self.slots.get_mut(index as usize)?))) {
            Some((index, place)) => {
                *place = slot;
                *head = index;
            }
            None => {
                *head = self.slots.len() as u32;
                self.slots.push(slot);
            }
        }
    }

    fn remove(&mut self, block: u32) -> Option<Page> {
        let chain = self.chain(block);
        let mut before = NONE;
        let mut index = *self.heads.get(chain)?;
        loop {
            let slot = self.slots.get_mut(index as usize)?;
            if slot.block != block {
                before = index;
                index = slot.next;
                continue;
            }
            let (next, page) = (slot.next, slot.page.take());
            self.dirty -= usize::from(core::mem::take(&mut slot.dirty));
            // No block has this number.
            slot.block = NONE;
            if let Some(before) = self.slots.get_mut(before as usize) {
                before.next = next;
            } else if let Some(head) = self.heads.get_mut(chain) {
                *head = next;
            }
            self.free.push(index);
            return page;
        }
    }

    /// Takes out one block that is clean and was not used lately, looking at all at most twice.
    fn evict(&mut self) -> Option<Page> {
        for _ in 0..2 * self.slots.len() {
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
            let slot = self.slots.get_mut(self.hand)?;
            if slot.page.is_none() || slot.dirty {
                continue;
            }
            if !core::mem::take(&mut slot.referenced) {
                let block = slot.block;
                return self.remove(block);
            }
        }
        None
    }
}

/// The blocks of a device.
pub(crate) struct BlockCache<D> {
    device: D,
    block_size: usize,
    /// Device blocks in one of ours.
    ratio: u64,
    limit: usize,
    table: TaskLock<Table>,
    io: Mutex<()>,
    pool: PagePool,
}

impl<D: BlockDevice> BlockCache<D> {
    /// A cache of about `limit` blocks of `block_size` bytes, a multiple of the device's.
    pub(crate) fn new(device: D, block_size: usize, limit: usize) -> Self {
        let ratio = (block_size / device.block_size()) as u64;
        let limit = limit.max(64);
        let table = Table {
            heads: vec![NONE; limit.next_power_of_two()],
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            dirty: 0,
        };
        Self {
            device,
            block_size,
            ratio,
            limit,
            table: TaskLock::new(table),
            io: Mutex::new(()),
            pool: PagePool::new(block_size),
        }
    }

    pub(crate) fn device(&self) -> &D {
        &self.device
    }

    /// Pages of the block size, for data on its way in.
    pub(crate) fn pool(&self) -> &PagePool {
        &self.pool
    }

    /// What the block holds now.
    #[inline]
    pub(crate) fn get(&self, block: u32) -> Result<Page, FsError> {
        match self.cached(block) {
            Some(page) => Ok(page),
            None => self.load(block, 1),
        }
    }

    /// What the block holds, if it is in memory.
    #[inline]
    pub(crate) fn cached(&self, block: u32) -> Option<Page> {
        let mut table = self.table.lock();
        let slot = table.find(block)?;
        slot.referenced = true;
        slot.page.clone()
    }

    /// Whether the block is in memory.
    pub(crate) fn contains(&self, block: u32) -> bool {
        self.table.lock().find(block).is_some()
    }

    /// Reads a block that is not in memory, and the `count` − 1 that follow it as far as they are
    /// not either.
    pub(crate) fn load(&self, block: u32, count: usize) -> Result<Page, FsError> {
        let _io = self.io.lock();
        if let Some(page) = self.cached(block) {
            return Ok(page);
        }
        let mut run = 1;
        while run < count.min(RUN) && !self.contains(block + run as u32) {
            run += 1;
        }
        self.make_room(run)?;
        if run == 1 {
            let mut page = self.pool.take();
            self.device.read(u64::from(block) * self.ratio, page::make_mut(&mut page))?;
            self.table.lock().add(block, Page::clone(&page), false);
            return Ok(page);
        }
        let mut buffer = vec![0; run * self.block_size];
        self.device.read(u64::from(block) * self.ratio, &mut buffer)?;
        let mut table = self.table.lock();
        for (bytes, number) in buffer.chunks_exact(self.block_size).zip(block..) {
            table.add(number, Page::from(bytes), false);
        }
        table.find(block).and_then(|slot| slot.page.clone()).ok_or(FsError::Io)
    }

    /// Makes room for `count` more blocks. `io` is held.
    fn make_room(&self, count: usize) -> Result<(), FsError> {
        while self.table.lock().used() + count > self.limit {
            let evicted = self.table.lock().evict();
            match evicted {
                Some(page) => self.pool.give(page),
                None => {
                    // Everything is dirty or was just used.
                    if self.write_batch(self.limit / 4)? == 0 {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Changes the block in memory by `change`, reading it first if need be.
    pub(crate) fn modify<R>(
        &self,
        block: u32,
        mut change: impl FnMut(&mut [u8]) -> R,
    ) -> Result<R, FsError> {
        loop {
            {
                let mut table = self.table.lock();
                if let Some(slot) = table.find(block)
                    && let Some(page) = &mut slot.page
                {
                    let result = change(page::make_mut(page));
                    slot.referenced = true;
                    let was_dirty = core::mem::replace(&mut slot.dirty, true);
                    table.dirty += usize::from(!was_dirty);
                    return Ok(result);
                }
            }
            self.load(block, 1)?;
        }
    }

    /// Makes `page` the block's contents, whatever they were.
    pub(crate) fn put(&self, block: u32, page: Page) -> Result<(), FsError> {
        {
            let mut table = self.table.lock();
            if let Some(slot) = table.find(block) {
                let before = slot.page.replace(page);
                slot.referenced = true;
                let was_dirty = core::mem::replace(&mut slot.dirty, true);
                table.dirty += usize::from(!was_dirty);
                drop(table);
                if let Some(before) = before {
                    self.pool.give(before);
                }
                return Ok(());
            }
        }
        let _io = self.io.lock();
        self.make_room(1)?;
        let mut table = self.table.lock();
        if let Some(slot) = table.find(block) {
            let before = slot.page.replace(page);
            let was_dirty = core::mem::replace(&mut slot.dirty, true);
            table.dirty += usize::from(!was_dirty);
            drop(table);
            drop(before);
        } else {
            table.add(block, page, true);
        }
        Ok(())
    }

    /// Forgets a block that has been freed: it need not be written any more.
    pub(crate) fn discard(&self, block: u32) {
        let page = self.table.lock().remove(block);
        if let Some(page) = page {
            self.pool.give(page);
        }
    }

    /// Writes back up to `limit` dirty blocks, in the order of the disk, neighbours together.
    /// Returns how many there were. `io` is held.
    fn write_batch(&self, limit: usize) -> Result<usize, FsError> {
        let mut blocks: Vec<u32> = {
            let table = self.table.lock();
            table.slots.iter().filter(|slot| slot.dirty).map(|slot| slot.block).collect()
        };
        blocks.sort_unstable();
        blocks.truncate(limit);
        let mut rest = blocks.as_slice();
        while let Some(&first) = rest.first() {
            let run = rest
                .iter()
                .zip(first..)
                .take(RUN)
                .take_while(|(block, expected)| *block == expected)
                .count();
            let written = self.write_run(first, rest.get(..run).unwrap_or(&[]))?;
            // A block that was discarded meanwhile ends a run early.
            rest = rest.get(written.max(1)..).unwrap_or(&[]);
        }
        Ok(blocks.len())
    }

    /// Writes back neighbouring blocks, up to the first that is not dirty any more, and returns how
    /// many. Those that fail are dirty again.
    fn write_run(&self, first: u32, blocks: &[u32]) -> Result<usize, FsError> {
        let mut pages = Vec::with_capacity(blocks.len());
        {
            let mut table = self.table.lock();
            for &block in blocks {
                let Some(slot) = table.find(block).filter(|slot| slot.dirty) else { break };
                slot.dirty = false;
                pages.extend(slot.page.clone());
                table.dirty -= 1;
            }
        }
        let start = u64::from(first) * self.ratio;
        let result = match pages.as_slice() {
            [] => return Ok(0),
            [page] => self.device.write(start, page),
            pages => {
                let mut buffer = Vec::with_capacity(pages.len() * self.block_size);
                pages.iter().for_each(|page| buffer.extend_from_slice(page));
                self.device.write(start, &buffer)
            }
        };
        if result.is_err() {
            let mut table = self.table.lock();
            for &block in blocks.iter().take(pages.len()) {
                if let Some(slot) = table.find(block) {
                    let was_dirty = core::mem::replace(&mut slot.dirty, true);
                    table.dirty += usize::from(!was_dirty);
                }
            }
        }
        result.map(|()| pages.len())
    }

    /// Writes back everything that is dirty now, and waits until the device has it safe.
    pub(crate) fn flush(&self) -> Result<(), FsError> {
        let _io = self.io.lock();
        self.write_batch(usize::MAX)?;
        self.device.flush()
    }

    /// Blocks in memory, and how many of them are dirty.
    pub(crate) fn usage(&self) -> (usize, usize) {
        let table = self.table.lock();
        (table.used(), table.dirty)
    }
}
