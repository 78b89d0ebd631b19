//! A binary buddy allocator (Knuth, *The Art of Computer Programming*, 1, section 2.5) over
//! numbered frames.
//!
//! A block of order `n` is `2^n` frames that start at a multiple of `2^n`. Its buddy is the
//! block of the same order with which it makes up a block of the next. Each order has a
//! doubly linked list of free blocks; the links live in [`FrameInfo`], an array beside the
//! memory, so that the free memory itself is never touched. Allocation takes the smallest
//! block that is large enough and halves it as often as needed; freeing joins a block with its
//! buddy as long as that is free too. Both take at most [`MAX_ORDER`] steps.

/// The order of the largest block: 64 MiB of 4 KiB frames.
pub const MAX_ORDER: u8 = 14;
const ORDERS: usize = MAX_ORDER as usize + 1;
const NONE: u32 = u32::MAX;

/// What a frame is, as the allocator knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not given to the allocator.
    Reserved,
    /// The first frame of a free block.
    FreeHead,
    /// The first frame of a block that is in use.
    UsedHead,
    /// Inside a block whose first frame says the rest.
    Tail,
}

/// What the allocator notes for each frame: 12 bytes.
#[derive(Clone, Copy, Debug)]
pub struct FrameInfo {
    next: u32,
    previous: u32,
    order: u8,
    state: State,
}

impl FrameInfo {
    /// A frame that the allocator may not use.
    pub const RESERVED: Self =
        Self { next: NONE, previous: NONE, order: 0, state: State::Reserved };
}

/// Why a block was not taken back, or not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// Beyond the last frame, or not aligned to its order.
    OutOfRange,
    /// The block is not in use: freed twice, or never allocated.
    NotInUse,
    /// The block was allocated with another order.
    WrongOrder,
    /// The frame belongs to the allocator already.
    AlreadyAdded,
}

/// Counts since start-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames that belong to the allocator.
    pub total: usize,
    /// Frames that are free.
    pub free: usize,
    /// Blocks handed out.
    pub allocations: u64,
    /// Blocks taken back.
    pub frees: u64,
    /// Blocks halved.
    pub splits: u64,
    /// Pairs of buddies joined.
    pub merges: u64,
}

/// The free blocks of the frames that `frames` describes, numbered from 0.
pub struct Buddy<'a> {
    frames: &'a mut [FrameInfo],
    heads: [u32; ORDERS],
    /// Bit `n` is set when the list of order `n` is not empty.
    nonempty: u32,
    statistics: Statistics,
}

impl<'a> Buddy<'a> {
    /// An allocator that owns no frame yet. `frames` has one entry for each frame, of at most
    /// `u32::MAX` frames; further entries are left alone.
    pub fn new(frames: &'a mut [FrameInfo]) -> Self {
        let usable = frames.len().min(NONE as usize);
        let (frames, _) = frames.split_at_mut(usable);
        frames.fill(FrameInfo::RESERVED);
        Self { frames, heads: [NONE; ORDERS], nonempty: 0, statistics: Statistics::default() }
    }

    /// Gives `count` frames from `start` to the allocator.
    ///
    /// # Errors
    /// `OutOfRange` or `AlreadyAdded`; then nothing has changed.
    pub fn add(&mut self, start: usize, count: usize) -> Result<(), BlockError> {
        let end = start.checked_add(count).ok_or(BlockError::OutOfRange)?;
        let range = self.frames.get_mut(start..end).ok_or(BlockError::OutOfRange)?;
        if range.iter().any(|frame| frame.state != State::Reserved) {
            return Err(BlockError::AlreadyAdded);
        }
        for frame in range {
            frame.state = State::Tail;
        }
        let mut at = start;
        while at < end {
            let aligned = if at == 0 { MAX_ORDER as u32 } else { at.trailing_zeros() };
            let fits = (end - at).ilog2();
            let order = aligned.min(fits).min(MAX_ORDER as u32) as u8;
            self.release(at as u32, order);
            at += 1 << order;
        }
        self.statistics.total += count;
        self.statistics.free += count;
        Ok(())
    }

    /// Takes a block of `2^order` frames; its first frame's number.
    pub fn alloc(&mut self, order: u8) -> Option<usize> {
        if order > MAX_ORDER {
            return None;
        }
        let large_enough = self.nonempty >> order;
        if large_enough == 0 {
            return None;
        }
        let mut found = order + large_enough.trailing_zeros() as u8;
        let block = self.heads[found as usize];
        self.unlink(block, found);
        while found > order {
            found -= 1;
            self.push(block + (1 << found), found);
            self.statistics.splits += 1;
        }
        let info = &mut self.frames[block as usize];
        info.state = State::UsedHead;
        info.order = order;
        self.statistics.allocations += 1;
        self.statistics.free -= 1 << order;
        Some(block as usize)
    }

    /// Takes back a block that `alloc` with the same order handed out.
    ///
    /// # Errors
    /// If it is no such block; then nothing has changed.
    pub fn free(&mut self, block: usize, order: u8) -> Result<(), BlockError> {
        let info = self.frames.get(block).ok_or(BlockError::OutOfRange)?;
        if info.state != State::UsedHead {
            return Err(BlockError::NotInUse);
        }
        if info.order != order {
            return Err(BlockError::WrongOrder);
        }
        self.release(block as u32, order);
        self.statistics.frees += 1;
        self.statistics.free += 1 << order;
        Ok(())
    }

    /// Turns a used block into `2^order` used blocks of one frame each, to be freed one by one.
    ///
    /// # Errors
    /// If it is not a used block of this order.
    pub fn split_used(&mut self, block: usize, order: u8) -> Result<(), BlockError> {
        let info = self.frames.get(block).ok_or(BlockError::OutOfRange)?;
        if info.state != State::UsedHead {
            return Err(BlockError::NotInUse);
        }
        if info.order != order {
            return Err(BlockError::WrongOrder);
        }
        for frame in self.frames.iter_mut().skip(block).take(1 << order) {
            frame.state = State::UsedHead;
            frame.order = 0;
        }
        Ok(())
    }

    /// Frames that are free, in blocks of any size.
    pub fn free_frames(&self) -> usize {
        self.statistics.free
    }

    /// The order of the largest free block.
    pub fn largest_free(&self) -> Option<u8> {
        self.nonempty.checked_ilog2().map(|order| order as u8)
    }

    /// Counts since start-up.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Puts a block on its list, joined with its buddies as far as they are free.
    fn release(&mut self, mut block: u32, mut order: u8) {
        self.frames[block as usize].state = State::Tail;
        while order < MAX_ORDER {
            let buddy = block ^ (1 << order);
            match self.frames.get(buddy as usize) {
                Some(info) if info.state == State::FreeHead && info.order == order => {}
                _ => break,
            }
            self.unlink(buddy, order);
            self.frames[buddy as usize].state = State::Tail;
            block &= !(1 << order);
            order += 1;
            self.statistics.merges += 1;
        }
        self.push(block, order);
    }

    fn push(&mut self, block: u32, order: u8) {
        let head = self.heads[order as usize];
        self.frames[block as usize] =
            FrameInfo { next: head, previous: NONE, order, state: State::FreeHead };
        if let Some(next) = self.frames.get_mut(head as usize) {
            next.previous = block;
        }
        self.heads[order as usize] = block;
        self.nonempty |= 1 << order;
    }

    fn unlink(&mut self, block: u32, order: u8) {
        let FrameInfo { next, previous, .. } = self.frames[block as usize];
        if let Some(info) = self.frames.get_mut(next as usize) {
            info.previous = previous;
        }
        if let Some(info) = self.frames.get_mut(previous as usize) {
            info.next = next;
        } else {
            self.heads[order as usize] = next;
            if next == NONE {
                self.nonempty &= !(1 << order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockError, Buddy, FrameInfo, MAX_ORDER};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn an_entry_is_twelve_bytes() {
        assert_eq!(core::mem::size_of::<FrameInfo>(), 12);
    }

    #[test]
    fn refuses_what_it_did_not_hand_out() {
        let mut frames = vec![FrameInfo::RESERVED; 64];
        let mut buddy = Buddy::new(&mut frames);
        buddy.add(8, 48).unwrap();
        assert_eq!(buddy.add(55, 2), Err(BlockError::AlreadyAdded));
        assert_eq!(buddy.add(60, 5), Err(BlockError::OutOfRange));
        let block = buddy.alloc(2).unwrap();
        assert_eq!(buddy.free(block, 1), Err(BlockError::WrongOrder));
        assert_eq!(buddy.free(block + 1, 0), Err(BlockError::NotInUse));
        assert_eq!(buddy.free(0, 0), Err(BlockError::NotInUse));
        assert_eq!(buddy.free(64, 0), Err(BlockError::OutOfRange));
        assert_eq!(buddy.free(block, 2), Ok(()));
        assert_eq!(buddy.free(block, 2), Err(BlockError::NotInUse));
        assert_eq!(buddy.alloc(MAX_ORDER + 1), None);
        assert_eq!(buddy.free_frames(), 48);
    }

    #[test]
    fn a_split_block_is_freed_frame_by_frame() {
        let mut frames = vec![FrameInfo::RESERVED; 16];
        let mut buddy = Buddy::new(&mut frames);
        buddy.add(0, 16).unwrap();
        let block = buddy.alloc(3).unwrap();
        buddy.split_used(block, 3).unwrap();
        for frame in block..block + 8 {
            buddy.free(frame, 0).unwrap();
        }
        assert_eq!(buddy.largest_free(), Some(4));
    }

    proptest! {
        /// Blocks in use never overlap and stay inside what was added; when everything is
        /// freed, the free memory is as coherent as at the start; no operation takes more
        /// than `MAX_ORDER` splits or merges.
        #[test]
        fn random_use_neither_overlaps_nor_fragments(
            start in 0usize..70,
            count in 1usize..3000,
            script in proptest::collection::vec((0u8..=MAX_ORDER + 1, any::<prop::sample::Index>(), any::<bool>()), 1..400),
        ) {
            let mut frames = vec![FrameInfo::RESERVED; start + count + 7];
            let mut buddy = Buddy::new(&mut frames);
            buddy.add(start, count).unwrap();
            let fresh = (buddy.heads_by_order(), buddy.free_frames());
            let mut used: Vec<(usize, u8)> = Vec::new();
            for (order, index, free) in script {
                let before = buddy.statistics();
                if free && !used.is_empty() {
                    let (block, order) = used.swap_remove(index.index(used.len()));
                    prop_assert_eq!(buddy.free(block, order), Ok(()));
                    prop_assert_eq!(buddy.free(block, order), Err(BlockError::NotInUse));
                } else if let Some(block) = buddy.alloc(order) {
                    let end = block + (1 << order);
                    prop_assert!(block.is_multiple_of(1 << order));
                    prop_assert!(block >= start && end <= start + count);
                    for &(other, other_order) in &used {
                        prop_assert!(end <= other || other + (1 << other_order) <= block);
                    }
                    used.push((block, order));
                } else if order <= MAX_ORDER {
                    prop_assert!(buddy.largest_free().is_none_or(|largest| largest < order));
                }
                let after = buddy.statistics();
                prop_assert!(after.splits - before.splits <= u64::from(MAX_ORDER));
                prop_assert!(after.merges - before.merges <= u64::from(MAX_ORDER));
                let in_use: usize = used.iter().map(|&(_, order)| 1usize << order).sum();
                prop_assert_eq!(buddy.free_frames() + in_use, count);
            }
            for (block, order) in used {
                buddy.free(block, order).unwrap();
            }
            prop_assert_eq!((buddy.heads_by_order(), buddy.free_frames()), fresh);
        }
    }

    impl Buddy<'_> {
        /// The free blocks of each order, sorted.
        fn heads_by_order(&self) -> Vec<Vec<u32>> {
            self.heads
                .iter()
                .map(|&head| {
                    let mut list = Vec::new();
                    let mut at = head;
                    while let Some(info) = self.frames.get(at as usize) {
                        list.push(at);
                        at = info.next;
                    }
                    list.sort_unstable();
                    list
                })
                .collect()
        }
    }
}
