//! Where the bytes of maps and prepared programs live.
//!
//! A [`Memory`] gives zeroed blocks and takes them back; a profile chooses which one
//! ([`HeapMemory`] for the cloud, [`StaticPool`] for embedded). A [`Region`] is one such
//! block, owned, and seen only as words that may be shared: every access from safe code is
//! an atomic one, so a program on another CPU that writes the same value at the same time
//! can tear a value (as on Linux) but not break the rules of the language.
//!
//! This is one of the crate's few modules with `unsafe`: it owns raw memory.

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use kernel_sync::{OnceCell, SpinLock};

/// Bytes in a page, as user space maps ring buffers.
pub const PAGE_SIZE: usize = 4096;

/// A source of zeroed memory blocks.
///
/// # Safety
/// `allocate` returns memory that is valid for reads and writes of `layout`, zeroed, and
/// aliased by nothing else until it is passed to `release`.
pub unsafe trait Memory: Sync {
    /// A zeroed block, or `None` if there is none of that size.
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>>;

    /// Takes a block back.
    ///
    /// # Safety
    /// `block` came from `allocate` of this object with the same layout, and nothing uses it.
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout);
}

/// The global allocator, as much of it as the embedder leaves to maps ([`HeapMemory::limit`]).
pub struct HeapMemory;

/// Who says whether so many bytes may be taken from the heap.
static LIMIT: OnceCell<fn(usize) -> bool> = OnceCell::new();

impl HeapMemory {
    /// From now on asks `may_take` before each block. For an embedder that dies when its own
    /// allocations fail: programs fill maps that grow. The first call counts.
    pub fn limit(may_take: fn(usize) -> bool) {
        let _ = LIMIT.set(may_take);
    }

    fn may_take(bytes: usize) -> bool {
        LIMIT.get().is_none_or(|may_take| may_take(bytes))
    }
}

/// Makes sure that `more` elements fit into a list that lives as long as a map; `false` if the
/// heap has no room for them.
pub(crate) fn make_room<T>(list: &mut Vec<T>, more: usize) -> bool {
    let (length, capacity) = (list.len(), list.capacity());
    fits(length, capacity, more)
        || may_grow::<T>(length, capacity, more) && list.try_reserve(more).is_ok()
}

/// The same for a queue.
pub(crate) fn make_room_in_queue<T>(queue: &mut VecDeque<T>, more: usize) -> bool {
    let (length, capacity) = (queue.len(), queue.capacity());
    fits(length, capacity, more)
        || may_grow::<T>(length, capacity, more) && queue.try_reserve(more).is_ok()
}

fn fits(length: usize, capacity: usize, more: usize) -> bool {
    length.saturating_add(more) <= capacity
}

/// Whether the heap has what a growing list takes: twice as much as before, or what is needed.
fn may_grow<T>(length: usize, capacity: usize, more: usize) -> bool {
    let grown = capacity.saturating_mul(2).max(length.saturating_add(more)).max(4);
    HeapMemory::may_take(grown.saturating_mul(size_of::<T>()))
}

// SAFETY: the global allocator's contract is the same, and `alloc_zeroed` zeroes.
unsafe impl Memory for HeapMemory {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.size() == 0 || !Self::may_take(layout.size()) {
            return None;
        }
        // SAFETY: the size is not zero.
        NonNull::new(unsafe { alloc::alloc::alloc_zeroed(layout) })
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller passes what `allocate` gave, with its layout.
        unsafe { alloc::alloc::dealloc(block.as_ptr(), layout) };
    }
}

/// The unit in which a [`StaticPool`] accounts its memory.
const GRANULE: usize = 64;
/// Pages in a pool.
const POOL_PAGES: usize = 256;
const POOL_BYTES: usize = POOL_PAGES * PAGE_SIZE;
const GRANULES: usize = POOL_BYTES / GRANULE;

#[repr(C, align(4096))]
struct PoolPages([AtomicU8; POOL_BYTES]);

/// A fixed amount of memory (1 MiB), part of the image's zeroed data, given out first fit.
///
/// Allocation is linear in the size of the pool and happens when a map is created or a
/// program is loaded, never while one runs.
pub struct StaticPool {
    pages: PoolPages,
    /// One bit for each granule, set while it is given out.
    used: SpinLock<[u64; GRANULES / 64]>,
}

impl StaticPool {
    /// A pool with nothing given out.
    #[expect(clippy::new_without_default, reason = "a pool is a static, never a temporary")]
    pub const fn new() -> Self {
        Self {
            pages: PoolPages([const { AtomicU8::new(0) }; POOL_BYTES]),
            used: SpinLock::new([0; GRANULES / 64]),
        }
    }

    /// Bytes that are not given out.
    pub fn free_bytes(&self) -> usize {
        let used: u32 = self.used.lock().iter().map(|word| word.count_ones()).sum();
        POOL_BYTES - used as usize * GRANULE
    }

    /// Finds and marks `count` free granules in a row, the first on a multiple of `step`.
    fn take(&self, count: usize, step: usize) -> Option<usize> {
        let mut used = self.used.lock();
        let taken = |used: &[u64], granule: usize| {
            used.get(granule / 64).is_none_or(|word| word & (1 << (granule % 64)) != 0)
        };
        let mut start = 0;
        while start + count <= GRANULES {
            match (start..start + count).rev().find(|&granule| taken(&*used, granule)) {
                Some(busy) => start = (busy + 1).next_multiple_of(step),
                None => {
                    Self::mark(&mut *used, start, count, true);
                    return Some(start);
                }
            }
        }
        None
    }

    fn mark(used: &mut [u64], start: usize, count: usize, value: bool) {
        for granule in start..start + count {
            if let Some(word) = used.get_mut(granule / 64) {
                let bit = 1 << (granule % 64);
                if value { *word |= bit } else { *word &= !bit }
            }
        }
    }
}

// SAFETY: granules are given out once until they are released, under the lock; the pages are
// atomics, so a shared reference to the pool allows writing them; blocks are zeroed here.
unsafe impl Memory for StaticPool {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.size() == 0 || layout.align() > PAGE_SIZE {
            return None;
        }
        let count = layout.size().div_ceil(GRANULE);
        let start = self.take(count, layout.align().div_ceil(GRANULE))?;
        let bytes = self.pages.0.get(start * GRANULE..(start + count) * GRANULE)?;
        for byte in bytes {
            byte.store(0, Ordering::Relaxed);
        }
        NonNull::new(bytes.as_ptr().cast::<u8>().cast_mut())
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        let start = (block.as_ptr() as usize - self.pages.0.as_ptr() as usize) / GRANULE;
        Self::mark(&mut *self.used.lock(), start, layout.size().div_ceil(GRANULE), false);
    }
}

/// An owned block of shared words.
pub struct Region {
    base: NonNull<u8>,
    layout: Layout,
    memory: &'static dyn Memory,
}

// SAFETY: the region owns its block, and gives access to it through atomics only; raw
// addresses that it hands out are used under the contracts of the interpreter.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// A zeroed region of `words` 8-byte words, aligned to `align` bytes (at least 8).
    pub fn new(memory: &'static dyn Memory, words: usize, align: usize) -> Option<Self> {
        let size = words.checked_mul(8)?;
        let layout = Layout::from_size_align(size, align.max(8)).ok()?;
        Some(Self { base: memory.allocate(layout)?, layout, memory })
    }

    /// The memory as words.
    #[inline]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the block is valid for `layout.size()` bytes, 8-aligned and zeroed when it
        // was made, and lives as long as `self`; atomics may be shared.
        unsafe {
            core::slice::from_raw_parts(
                self.base.as_ptr().cast::<AtomicU64>(),
                self.layout.size() / 8,
            )
        }
    }

    /// The memory as 4-byte words.
    #[inline]
    pub fn half_words(&self) -> &[AtomicU32] {
        // SAFETY: as in `words`.
        unsafe {
            core::slice::from_raw_parts(
                self.base.as_ptr().cast::<AtomicU32>(),
                self.layout.size() / 4,
            )
        }
    }

    /// Where the memory is. The address is exposed: programs reach the memory through it.
    #[inline]
    pub fn address(&self) -> usize {
        self.base.as_ptr().expose_provenance()
    }

    /// The size in bytes.
    #[inline]
    pub fn size(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the block came from this memory with this layout; who owned the region had
        // the only right to it.
        unsafe { self.memory.release(self.base, self.layout) };
    }
}

/// Stores `bytes` at the start of `words`; the rest of the last word becomes zero.
/// Stops at the end of whichever is shorter.
#[inline]
pub fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    for (word, chunk) in words.iter().zip(whole) {
        word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
    }
    if !rest.is_empty()
        && let Some(word) = words.get(whole.len())
    {
        word.store(partial_word(rest), Ordering::Relaxed);
    }
}

/// Loads `bytes.len()` bytes from the start of `words`.
#[inline]
pub fn load_bytes(words: &[AtomicU64], bytes: &mut [u8]) {
    let (whole, rest) = bytes.as_chunks_mut::<8>();
    for (chunk, word) in whole.iter_mut().zip(words) {
        *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
    }
    if !rest.is_empty()
        && let Some(word) = words.get(whole.len())
    {
        let value = word.load(Ordering::Relaxed).to_ne_bytes();
        rest.iter_mut().zip(value).for_each(|(to, from)| *to = from);
    }
}

/// The same memory as 4-byte words.
#[must_use]
pub fn halves(words: &[AtomicU64]) -> &[AtomicU32] {
    // SAFETY: 4-byte words are aligned wherever 8-byte words are, there are twice as many of
    // them, and atomics may be shared.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast::<AtomicU32>(), words.len() * 2) }
}

/// Zeroes `words`.
#[inline]
pub fn zero(words: &[AtomicU64]) {
    for word in words {
        word.store(0, Ordering::Relaxed);
    }
}

/// Up to eight bytes as one word, in memory order, padded with zeros.
#[inline]
pub fn partial_word(bytes: &[u8]) -> u64 {
    if let Some(four) = bytes.first_chunk::<4>()
        && bytes.len() == 4
    {
        // The commonest key: memory order on either byte order.
        let mut word = [0; 8];
        if let Some(first) = word.first_chunk_mut::<4>() {
            *first = *four;
        }
        return u64::from_ne_bytes(word);
    }
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_ne_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::{Memory, PAGE_SIZE, Region, StaticPool, load_bytes, store_bytes};
    use core::alloc::Layout;

    #[test]
    fn a_pool_gives_each_byte_once_and_takes_it_back() {
        static POOL: StaticPool = StaticPool::new();
        let all = POOL.free_bytes();
        let small = Region::new(&POOL, 3, 8).unwrap();
        let page = Region::new(&POOL, 2 * PAGE_SIZE / 8, PAGE_SIZE).unwrap();
        assert_eq!(page.address() % PAGE_SIZE, 0);
        assert!(small.address() + 24 <= page.address() || page.address() + 8192 <= small.address());
        page.words()[5].store(7, core::sync::atomic::Ordering::Relaxed);
        drop(page);
        let again = Region::new(&POOL, 2 * PAGE_SIZE / 8, PAGE_SIZE).unwrap();
        assert!(again.words().iter().all(|w| w.load(core::sync::atomic::Ordering::Relaxed) == 0));
        drop((small, again));
        assert_eq!(POOL.free_bytes(), all);
        assert!(Region::new(&POOL, all / 8 + 1, 8).is_none());
        assert!(POOL.allocate(Layout::from_size_align(8, 2 * PAGE_SIZE).unwrap()).is_none());
        let whole = Region::new(&POOL, all / 8, PAGE_SIZE).unwrap();
        assert_eq!(POOL.free_bytes(), 0);
        drop(whole);
    }

    #[test]
    fn bytes_survive_the_way_through_words() {
        let region = Region::new(&super::HeapMemory, 3, 8).unwrap();
        for length in 0..=24 {
            let bytes: alloc::vec::Vec<u8> = (1..=length).collect();
            store_bytes(region.words(), &bytes);
            let mut out = alloc::vec![0; bytes.len()];
            load_bytes(region.words(), &mut out);
            assert_eq!(out, bytes);
        }
    }
}
