//! The kernel's heap: the global allocator.
//!
//! | size | from |
//! |---|---|
//! | up to 1 KiB | slabs: pages of equal objects, a free list in each ([`Slabs`]) |
//! | up to 32 KiB | talc, which grows by blocks of physical memory |
//! | above, and whole pages | blocks of physical memory, rounded up to a power of two |
//!
//! One spin lock, interrupts off, so interrupt handlers may allocate too; it is held for a few
//! dozen instructions. A page of a slab goes back to the physical allocator when its last
//! object is freed, except for one per size.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicUsize, Ordering};

use kernel_sync::SpinLock;
use talc::DefaultBinning;
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::source::Source;

use super::phys;
use crate::arch::PAGE_SIZE;

/// The largest object of a slab.
const SLAB_MAX: usize = 1024;
/// The largest object of talc.
const TALC_MAX: usize = 32 * 1024;
/// talc grows by at least this many frames, as an order.
const GROWTH_ORDER: u8 = 4;

/// The sizes of slab objects. Those that are powers of two are aligned to themselves.
const SIZES: [u16; 13] = [16, 32, 48, 64, 96, 128, 192, 256, 320, 448, 512, 768, 1024];
/// The index in [`SIZES`] for each size in units of 16 bytes, rounded up.
const CLASS_OF: [u8; SLAB_MAX / 16 + 1] = {
    let mut table = [0; SLAB_MAX / 16 + 1];
    let mut units = 0;
    while units < table.len() {
        let mut class = 0;
        while (SIZES[class] as usize) < units * 16 {
            class += 1;
        }
        table[units] = class as u8;
        units += 1;
    }
    table
};

/// At the end of each slab page.
struct SlabHeader {
    /// Objects that were freed, each holding the address of the next.
    free: *mut FreeObject,
    next: *mut SlabHeader,
    previous: *mut SlabHeader,
    /// Objects in use.
    used: u16,
    /// Objects that have never been handed out.
    fresh: u16,
}

struct FreeObject {
    next: *mut FreeObject,
}

const USABLE: usize = PAGE_SIZE - size_of::<SlabHeader>();

/// The pages of one object size that have room, linked.
struct Slab {
    first: *mut SlabHeader,
    /// Pages in the list without any object in use.
    empty: usize,
}

struct Slabs {
    classes: [Slab; SIZES.len()],
}

/// Gives talc blocks of physical memory; they are never taken back.
#[derive(Debug)]
struct PhysicalSource;

struct Heap {
    slabs: Slabs,
    talc: Talc<PhysicalSource, DefaultBinning>,
}

// SAFETY: the pointers lead to pages that only the heap knows, and the heap is used under its
// lock.
unsafe impl Send for Heap {}

/// The global allocator.
struct KernelHeap {
    heap: SpinLock<Heap>,
}

#[global_allocator]
static HEAP: KernelHeap = KernelHeap {
    heap: SpinLock::new(Heap {
        slabs: Slabs { classes: [const { Slab { first: null_mut(), empty: 0 } }; SIZES.len()] },
        talc: Talc::new(PhysicalSource),
    }),
};

/// Bytes of physical memory that the heap holds.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// Bytes of physical memory that the heap holds, for `/proc/meminfo`.
pub fn held_bytes() -> usize {
    HELD.load(Ordering::Relaxed)
}

// SAFETY: each of the three parts hands out memory that it alone owns, of at least the size
// and alignment asked for, and takes back what it handed out: which part an object belongs to
// follows from its layout, which does not change.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = slab_size(&layout);
        if size <= SLAB_MAX {
            return self.heap.lock().slabs.alloc(CLASS_OF[size.div_ceil(16)] as usize);
        }
        if size <= TALC_MAX && size != PAGE_SIZE {
            // SAFETY: the size is not zero.
            let object = unsafe { self.heap.lock().talc.allocate(layout) };
            return object.map_or(null_mut(), NonNull::as_ptr);
        }
        let order = order_of(size);
        match phys::alloc_order(order) {
            Some(block) => {
                HELD.fetch_add(PAGE_SIZE << order, Ordering::Relaxed);
                phys::phys_to_virt(block) as *mut u8
            }
            None => null_mut(),
        }
    }

    unsafe fn dealloc(&self, object: *mut u8, layout: Layout) {
        let size = slab_size(&layout);
        if size <= SLAB_MAX {
            let class = CLASS_OF[size.div_ceil(16)] as usize;
            // SAFETY: the layout says that the object came from this slab.
            unsafe { self.heap.lock().slabs.free(object, class) };
        } else if size <= TALC_MAX && size != PAGE_SIZE {
            // SAFETY: the layout says that the object came from talc.
            unsafe { self.heap.lock().talc.deallocate(object, layout) };
        } else {
            let order = order_of(size);
            HELD.fetch_sub(PAGE_SIZE << order, Ordering::Relaxed);
            phys::free_order(phys::virt_to_phys(object as usize), order);
        }
    }
}

/// The size that decides where an object comes from: what is aligned to more than 16 bytes
/// takes a power of two, for only those are aligned to their size.
#[inline]
fn slab_size(layout: &Layout) -> usize {
    if layout.align() <= 16 {
        layout.size()
    } else {
        layout.size().max(layout.align()).next_power_of_two()
    }
}

fn order_of(size: usize) -> u8 {
    size.div_ceil(PAGE_SIZE).next_power_of_two().trailing_zeros() as u8
}

impl Slabs {
    fn alloc(&mut self, class: usize) -> *mut u8 {
        let size = SIZES[class] as usize;
        let slab = &mut self.classes[class];
        if slab.first.is_null() {
            let Some(page) = phys::alloc_frame() else { return null_mut() };
            HELD.fetch_add(PAGE_SIZE, Ordering::Relaxed);
            let header = (phys::phys_to_virt(page) + USABLE) as *mut SlabHeader;
            // SAFETY: the page is ours alone and the header fits at its end.
            unsafe {
                header.write(SlabHeader {
                    free: null_mut(),
                    next: null_mut(),
                    previous: null_mut(),
                    used: 0,
                    fresh: (USABLE / size) as u16,
                });
            }
            slab.first = header;
            slab.empty += 1;
        }
        // SAFETY: the list holds headers of slab pages that have room, and the lock is held.
        let header = unsafe { &mut *slab.first };
        let object = if header.free.is_null() {
            header.fresh -= 1;
            let page = slab.first as usize - USABLE;
            (page + header.fresh as usize * size) as *mut u8
        } else {
            let object = header.free;
            // SAFETY: the free list holds objects of this page that are not in use.
            header.free = unsafe { (*object).next };
            object.cast()
        };
        if header.used == 0 {
            slab.empty -= 1;
        }
        header.used += 1;
        if header.free.is_null() && header.fresh == 0 {
            slab.unlink(header);
        }
        object
    }

    /// # Safety
    /// `object` came from `alloc` with the same class and is not used any more.
    unsafe fn free(&mut self, object: *mut u8, class: usize) {
        let slab = &mut self.classes[class];
        let page = object as usize & !(PAGE_SIZE - 1);
        // SAFETY: the page of an object has its header at the end, and the lock is held.
        let header = unsafe { &mut *((page + USABLE) as *mut SlabHeader) };
        let was_full = header.free.is_null() && header.fresh == 0;
        let object = object.cast::<FreeObject>();
        // SAFETY: the object is free now, at least 16 bytes long and aligned to 16.
        unsafe { object.write(FreeObject { next: header.free }) };
        header.free = object;
        header.used -= 1;
        if was_full {
            slab.link(header);
        }
        if header.used == 0 {
            if slab.empty > 0 {
                slab.unlink(header);
                HELD.fetch_sub(PAGE_SIZE, Ordering::Relaxed);
                phys::release(phys::virt_to_phys(page));
            } else {
                slab.empty += 1;
            }
        }
    }
}

impl Slab {
    fn link(&mut self, header: &mut SlabHeader) {
        header.previous = null_mut();
        header.next = self.first;
        // SAFETY: the list holds valid headers, and the lock is held.
        if let Some(next) = unsafe { self.first.as_mut() } {
            next.previous = header;
        }
        self.first = header;
    }

    fn unlink(&mut self, header: &mut SlabHeader) {
        // SAFETY: the neighbours of a linked header are valid headers, and the lock is held.
        unsafe {
            if let Some(next) = header.next.as_mut() {
                next.previous = header.previous;
            }
            match header.previous.as_mut() {
                Some(previous) => previous.next = header.next,
                None => self.first = header.next,
            }
        }
        header.next = null_mut();
        header.previous = null_mut();
    }
}

// SAFETY: it uses only the `Talc` that it is given, and allocates nothing from the heap.
unsafe impl Source for PhysicalSource {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let needed = layout.size() + layout.align() + talc::min_first_heap_size::<B>();
        let least = order_of(needed);
        let order = least.max(GROWTH_ORDER);
        let (block, order) = phys::alloc_order(order)
            .map(|block| (block, order))
            .or_else(|| phys::alloc_order(least).map(|block| (block, least)))
            .ok_or(())?;
        let bytes = PAGE_SIZE << order;
        HELD.fetch_add(bytes, Ordering::Relaxed);
        // SAFETY: the block is ours alone and stays so.
        unsafe { talc.claim(phys::phys_to_virt(block) as *mut u8, bytes) }.map(|_| ()).ok_or(())
    }
}
