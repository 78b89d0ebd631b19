//! The programs' heap: the `talc` allocator on memory from `mmap`.
//!
//! Memory is never given back to the kernel before the program ends; these programs are small
//! or short. The lock spins with `sched_yield`: it is contended only by threads of the tests.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering};
use linux_raw_sys::general::{MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE};
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::{TalcLock, source::Source};

/// How much is asked of the kernel at least, in bytes.
const CHUNK: usize = 128 << 10;

/// The global allocator; [`entry!`](crate::entry) makes one.
pub struct Heap(TalcLock<YieldLock, FromKernel>);

impl Heap {
    pub const fn new() -> Self {
        Self(TalcLock::new(FromKernel))
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: passes everything on to the allocator inside.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.realloc(pointer, layout, size) }
    }
}

#[derive(Debug)]
struct FromKernel;

// SAFETY: uses no Rust allocator.
unsafe impl Source for FromKernel {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        // The first heap also holds the allocator's own tables; a page is more than they need.
        let wanted = layout.size().checked_add(layout.align()).ok_or(())?;
        let wanted = wanted.checked_add(2 * 4096).ok_or(())?;
        let size = wanted.checked_next_multiple_of(CHUNK).ok_or(())?;
        // SAFETY: maps fresh memory, touches none.
        let address = unsafe {
            crate::syscall!(
                linux_raw_sys::general::__NR_mmap,
                null_mut::<u8>(),
                size,
                PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS,
                -1isize,
                0usize
            )
        }
        .map_err(|_| ())?;
        // SAFETY: the mapping was made just now, is readable and writable and used by no one.
        unsafe { talc.claim(address as *mut u8, size) }.map(|_| ()).ok_or(())
    }
}

/// A lock that yields to whoever holds it.
struct YieldLock(AtomicBool);

// SAFETY: one `compare_exchange` decides who holds it.
unsafe impl lock_api::RawMutex for YieldLock {
    const INIT: Self = Self(AtomicBool::new(false));
    type GuardMarker = lock_api::GuardSend;

    fn lock(&self) {
        while !self.try_lock() {
            rustix::thread::sched_yield();
        }
    }
    fn try_lock(&self) -> bool {
        self.0.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}
