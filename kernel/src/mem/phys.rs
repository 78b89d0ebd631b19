//! Physical frames: the kernel's one [`Buddy`] allocator, a magazine of free frames in front
//! of it, and the owner counts beside it.
//!
//! Frames taken for users leave a reserve untouched ([`reserve_frames`]), so that what the
//! kernel allocates for itself in the middle of an operation does not fail. All functions may
//! be called anywhere, interrupt handlers included.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use kernel_mem::count::Released;
use kernel_mem::{Buddy, FrameCounts, FrameInfo, MAX_ORDER, Magazine};
use kernel_sync::{OnceCell, SpinLock};

use crate::arch::{Arch, Architecture, MemoryKind, MemoryRegion, PAGE_SIZE, PhysAddr};

/// Free frames kept at hand.
const MAGAZINE: usize = 64;
/// How many move between magazine and buddy allocator at a time.
const BATCH: usize = MAGAZINE / 2;

struct Frames {
    buddy: Buddy<'static>,
    magazine: Magazine<MAGAZINE>,
}

static FRAMES: SpinLock<Option<Frames>> = SpinLock::new(None);
static COUNTS: OnceCell<FrameCounts<'static>> = OnceCell::new();
/// The number of the first frame that the allocator describes.
static BASE: AtomicUsize = AtomicUsize::new(0);
static FREE: AtomicUsize = AtomicUsize::new(0);
static TOTAL: AtomicUsize = AtomicUsize::new(0);
static RESERVE: AtomicUsize = AtomicUsize::new(0);

/// How physical memory is used, in frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhysicalStatistics {
    /// Frames that the allocator manages.
    pub total: usize,
    /// Of these, free ones.
    pub free: usize,
    /// Of the free ones, those that are not given to users.
    pub reserve: usize,
}

/// Takes over the usable memory of the firmware's map.
///
/// The bookkeeping, 16 bytes a frame, is put into the first usable range that has room for it.
pub(super) fn init(memory: &'static [MemoryRegion]) {
    let usable = || memory.iter().filter(|region| region.kind == MemoryKind::Usable);
    let first = usable().map(|region| region.start.0).min().unwrap_or(0) as usize / PAGE_SIZE;
    let base = first & !((1 << MAX_ORDER) - 1);
    let end = usable().map(|region| region.start.0 + region.length).max().unwrap_or(0) as usize
        / PAGE_SIZE;
    let frames = end.saturating_sub(base);
    let bytes = frames * (size_of::<FrameInfo>() + size_of::<AtomicU32>());
    let pages = bytes.div_ceil(PAGE_SIZE);
    let Some(home) = usable()
        .find(|region| region.length as usize >= pages * PAGE_SIZE)
        .map(|region| region.start.0 as usize / PAGE_SIZE)
    else {
        return;
    };
    let start = phys_to_virt(PhysAddr((home * PAGE_SIZE) as u64));
    // SAFETY: the range is usable RAM, mapped by the direct map, and is left out of what the
    // allocator gets, so this is its only use. Zero bytes are valid `AtomicU32`s; the
    // `FrameInfo`s are written before the slice is made.
    let (infos, counts) = unsafe {
        let infos = start as *mut FrameInfo;
        for index in 0..frames {
            infos.add(index).write(FrameInfo::RESERVED);
        }
        let counts = infos.add(frames).cast::<AtomicU32>();
        counts.write_bytes(0, frames);
        (
            core::slice::from_raw_parts_mut(infos, frames),
            core::slice::from_raw_parts(counts.cast_const(), frames),
        )
    };
    let mut buddy = Buddy::new(infos);
    for region in usable() {
        let mut from = region.start.0 as usize / PAGE_SIZE;
        let to = from + region.length as usize / PAGE_SIZE;
        if from <= home && home < to {
            from = home + pages;
        }
        // Frame 0 stays unused: address 0 then never names a page that is in use.
        from = from.max(1);
        if from < to && buddy.add(from - base, to - from).is_err() {
            log::warn!("memory map: {:#x} overlaps another range; not used", region.start.0);
        }
    }
    let total = buddy.free_frames();
    BASE.store(base, Ordering::Relaxed);
    TOTAL.store(total, Ordering::Relaxed);
    FREE.store(total, Ordering::Relaxed);
    RESERVE.store((total / 32).clamp(128, 4096), Ordering::Relaxed);
    // Only the first call sets it; `init` is called once.
    let _ = COUNTS.set(FrameCounts::new(counts));
    *FRAMES.lock() = Some(Frames { buddy, magazine: Magazine::new() });
}

/// Where a physical address is in the direct map.
#[inline]
pub fn phys_to_virt(address: PhysAddr) -> usize {
    Arch::DIRECT_MAP + address.0 as usize
}

/// The physical address of a byte in the direct map.
#[inline]
pub fn virt_to_phys(address: usize) -> PhysAddr {
    PhysAddr((address - Arch::DIRECT_MAP) as u64)
}

#[inline]
fn index(frame: PhysAddr) -> usize {
    (frame.0 as usize / PAGE_SIZE).wrapping_sub(BASE.load(Ordering::Relaxed))
}

#[inline]
fn address(index: usize) -> PhysAddr {
    PhysAddr(((index + BASE.load(Ordering::Relaxed)) * PAGE_SIZE) as u64)
}

/// A frame with one owner, contents undefined.
#[inline]
pub fn alloc_frame() -> Option<PhysAddr> {
    let mut guard = FRAMES.lock();
    let frames = guard.as_mut()?;
    let frame = match frames.magazine.pop() {
        Some(frame) => frame as usize,
        None => frames.refill()?,
    };
    FREE.fetch_sub(1, Ordering::Relaxed);
    drop(guard);
    COUNTS.get()?.first(frame);
    Some(address(frame))
}

/// A frame with one owner, all zero.
pub fn alloc_zeroed() -> Option<PhysAddr> {
    let frame = alloc_frame()?;
    zero(frame);
    Some(frame)
}

/// A frame for a user: fails while it would eat into the kernel's reserve.
#[inline]
pub fn alloc_user_frame() -> Option<PhysAddr> {
    if FREE.load(Ordering::Relaxed) <= RESERVE.load(Ordering::Relaxed) {
        return None;
    }
    alloc_frame()
}

/// `2^order` frames in a row, aligned to their length, with one owner for all.
pub fn alloc_order(order: u8) -> Option<PhysAddr> {
    let mut guard = FRAMES.lock();
    let frames = guard.as_mut()?;
    let block = frames.buddy.alloc(order).or_else(|| {
        frames.spill(MAGAZINE);
        frames.buddy.alloc(order)
    })?;
    FREE.fetch_sub(1 << order, Ordering::Relaxed);
    drop(guard);
    COUNTS.get()?.first(block);
    Some(address(block))
}

/// Gives back what `alloc_order` with the same order returned.
pub fn free_order(block: PhysAddr, order: u8) {
    let Some(counts) = COUNTS.get() else { return };
    let block = index(block);
    if counts.release(block) != Released::Last {
        log::error!("a block of order {order} at frame {block} was freed while not owned by one");
        return;
    }
    let mut guard = FRAMES.lock();
    let Some(frames) = guard.as_mut() else { return };
    match frames.buddy.free(block, order) {
        Ok(()) => {
            FREE.fetch_add(1 << order, Ordering::Relaxed);
        }
        Err(error) => {
            drop(guard);
            log::error!("frame {block} was not freed: {error:?}");
        }
    }
}

/// Adds an owner to a frame. `false` if it has none yet.
#[inline]
pub fn share(frame: PhysAddr) -> bool {
    COUNTS.get().is_some_and(|counts| counts.share(index(frame)))
}

/// Takes an owner from a frame, and frees it with the last.
#[inline]
pub fn release(frame: PhysAddr) {
    let Some(counts) = COUNTS.get() else { return };
    let frame = index(frame);
    match counts.release(frame) {
        Released::Shared => {}
        Released::NotOwned => log::error!("frame {frame} was freed twice"),
        Released::Last => {
            let mut guard = FRAMES.lock();
            let Some(frames) = guard.as_mut() else { return };
            if !frames.magazine.push(frame as u32) {
                frames.spill(BATCH);
                frames.magazine.push(frame as u32);
            }
            FREE.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How many owners a frame has.
#[inline]
pub fn count(frame: PhysAddr) -> u32 {
    COUNTS.get().map_or(0, |counts| counts.get(index(frame)))
}

/// Sets how many owners a frame has, at least one, which the caller knows all and speaks for.
#[inline]
pub fn set_count(frame: PhysAddr, owners: u32) {
    if let Some(counts) = COUNTS.get() {
        counts.set(index(frame), owners);
    }
}

/// Fills a frame with zeros. The caller owns it.
#[inline]
pub fn zero(frame: PhysAddr) {
    // SAFETY: frames lie in the direct map, and the caller owns this one.
    unsafe { (phys_to_virt(frame) as *mut u64).write_bytes(0, PAGE_SIZE / 8) };
}

/// Copies a frame to another. The caller owns the target and keeps the source from changing.
#[inline]
pub fn copy(target: PhysAddr, source: PhysAddr) {
    // SAFETY: both are frames of RAM in the direct map, page-aligned and different.
    unsafe {
        core::ptr::copy_nonoverlapping(
            phys_to_virt(source) as *const u64,
            phys_to_virt(target) as *mut u64,
            PAGE_SIZE / 8,
        );
    }
}

/// A frame's bytes, for filling it.
///
/// # Safety
/// The caller owns the frame and nobody else, user mappings included, uses it meanwhile.
pub unsafe fn bytes_mut<'a>(frame: PhysAddr) -> &'a mut [u8] {
    // SAFETY: frames lie in the direct map; the rest is the caller's promise.
    unsafe { core::slice::from_raw_parts_mut(phys_to_virt(frame) as *mut u8, PAGE_SIZE) }
}

/// Frames that are free.
#[inline]
pub fn free_frames() -> usize {
    FREE.load(Ordering::Relaxed)
}

/// Free frames that users do not get.
#[inline]
pub fn reserve_frames() -> usize {
    RESERVE.load(Ordering::Relaxed)
}

/// Keeps so many more frames from users.
pub(super) fn add_reserve(frames: usize) {
    RESERVE.fetch_add(frames, Ordering::Relaxed);
}

/// Takes back what [`add_reserve`] did.
pub(super) fn take_reserve(frames: usize) {
    RESERVE.fetch_sub(frames, Ordering::Relaxed);
}

/// How memory is used now.
pub fn stats() -> PhysicalStatistics {
    PhysicalStatistics {
        total: TOTAL.load(Ordering::Relaxed),
        free: free_frames(),
        reserve: reserve_frames(),
    }
}

impl Frames {
    /// One frame, and the magazine half full, from the buddy allocator.
    #[cold]
    fn refill(&mut self) -> Option<usize> {
        for _ in 0..BATCH {
            match self.buddy.alloc(0) {
                Some(frame) => self.magazine.push(frame as u32),
                None => break,
            };
        }
        self.magazine.pop().map(|frame| frame as usize)
    }

    /// Up to `count` frames back to the buddy allocator.
    #[cold]
    fn spill(&mut self, count: usize) {
        for _ in 0..count {
            let Some(frame) = self.magazine.pop() else { break };
            if let Err(error) = self.buddy.free(frame as usize, 0) {
                log::error!("frame {frame} was not freed: {error:?}");
            }
        }
    }
}
