//! Frames and heap by counting up, until the memory subsystem is here.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::arch::{Arch, Architecture, BootInfo, MemoryKind, PAGE_SIZE, PhysAddr};

static NEXT: AtomicU64 = AtomicU64::new(0);
static END: AtomicU64 = AtomicU64::new(0);

/// Takes frames from the largest usable region.
pub(crate) fn init(boot: &BootInfo) {
    let usable = boot.memory.iter().filter(|region| region.kind == MemoryKind::Usable);
    if let Some(region) = usable.max_by_key(|region| region.length) {
        NEXT.store(region.start.0, Ordering::Relaxed);
        END.store(region.start.0 + region.length, Ordering::Relaxed);
    }
}

/// A zeroed frame.
pub(crate) fn alloc_frame() -> Option<PhysAddr> {
    let frame = NEXT.fetch_add(PAGE_SIZE as u64, Ordering::Relaxed);
    if frame >= END.load(Ordering::Relaxed) {
        return None;
    }
    // SAFETY: the frame is usable RAM in the direct map, given out once.
    unsafe { core::ptr::write_bytes((Arch::DIRECT_MAP + frame as usize) as *mut u8, 0, PAGE_SIZE) };
    Some(PhysAddr(frame))
}

struct Bump;

#[repr(C, align(4096))]
struct Arena(core::cell::UnsafeCell<[u8; 1 << 20]>);
// SAFETY: pieces are given out once.
unsafe impl Sync for Arena {}
static ARENA: Arena = Arena(core::cell::UnsafeCell::new([0; 1 << 20]));
static USED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: each allocation is a fresh, aligned piece of the arena.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size() + layout.align(), Ordering::Relaxed);
        if used + layout.size() + layout.align() > 1 << 20 {
            return core::ptr::null_mut();
        }
        (ARENA.0.get() as usize + used).next_multiple_of(layout.align()) as *mut u8
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: Bump = Bump;
