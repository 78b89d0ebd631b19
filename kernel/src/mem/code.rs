//! Executable pages for compiled BPF programs: [`CodePages`].
//!
//! A block of frames is set aside at start-up, which the direct map shows read-only from then on
//! ([`frames`]). Code gets pages of [`CODE_AREA_START`](super::virt::CODE_AREA_START)..`KERNEL_MAP_END`,
//! each of which always stands for the same frame: mapped readable and writable while code is
//! written, then readable and executable, then not at all when the code is gone. So nothing is
//! ever writable and executable at once, through any address, and what another CPU remembers of
//! a page is never another page.

use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use kernel_bpf::jit::memory::CodeMemory;
use kernel_sync::SpinLock;

use super::phys;
use super::virt::CODE_AREA_START;
use crate::arch::{Arch, Architecture, CacheMode, PAGE_SIZE, PhysAddr, Protection};

/// The block has `2^ORDER` frames: 1 MiB.
const ORDER: u8 = 8;
const PAGES: usize = 1 << ORDER;

/// Where the block begins; 0 while there is none.
static START: AtomicU64 = AtomicU64::new(0);

/// Sets the block aside, before the kernel's own page tables are made. Without one, programs are
/// interpreted.
pub(super) fn init() {
    if let Some(start) = phys::alloc_order(ORDER) {
        START.store(start.0, Ordering::Relaxed);
    }
}

/// The frames that only code is in: nothing but [`CodePages`] may map them writable.
pub fn frames() -> Range<u64> {
    let start = START.load(Ordering::Relaxed);
    if start == 0 { 0..0 } else { start..start + (PAGES * PAGE_SIZE) as u64 }
}

/// The pages, and which of them are free.
pub struct CodePages {
    /// Free pages in a row: first and number, sorted.
    free: SpinLock<Option<Vec<(usize, usize)>>>,
}

/// Memory for compiled programs; `None` where there is none.
pub fn pages() -> Option<&'static CodePages> {
    static PAGES: CodePages = CodePages { free: SpinLock::new(None) };
    (!frames().is_empty()).then_some(&PAGES)
}

impl CodePages {
    fn take(&self, count: usize) -> Option<usize> {
        let mut free = self.free.lock();
        let free = match &mut *free {
            Some(free) => free,
            unset => {
                let mut all = Vec::new();
                // As many as there can be, so that giving back does not allocate.
                all.try_reserve_exact(PAGES).ok()?;
                all.push((0, PAGES));
                unset.insert(all)
            }
        };
        let index = free.iter().position(|&(_, length)| length >= count)?;
        let (first, length) = free.get_mut(index)?;
        let taken = *first;
        (*first, *length) = (taken + count, *length - count);
        if *length == 0 {
            free.remove(index);
        }
        Some(taken)
    }

    fn give_back(&self, first: usize, count: usize) {
        let mut free = self.free.lock();
        let Some(free) = &mut *free else { return };
        let index = free.partition_point(|&(other, _)| other < first);
        free.insert(index, (first, count));
        // Neighbours become one.
        for index in [index, index.wrapping_sub(1)] {
            if let (Some(&(one, length)), Some(&(two, more))) =
                (free.get(index), free.get(index.wrapping_add(1)))
                && one + length == two
            {
                free.remove(index + 1);
                if let Some(block) = free.get_mut(index) {
                    block.1 = length + more;
                }
            }
        }
    }

    fn map(&self, first: usize, count: usize, protection: Protection) -> bool {
        (first..first + count).all(|page| {
            let frame = PhysAddr(frames().start + (page * PAGE_SIZE) as u64);
            Arch::map_kernel(address(page), frame, protection, CacheMode::Normal).is_ok()
        })
    }

    fn unmap(&self, first: usize, count: usize) {
        for page in first..first + count {
            // The frame stays the block's.
            let _ = Arch::unmap_kernel(address(page));
        }
    }
}

const fn address(page: usize) -> usize {
    CODE_AREA_START + page * PAGE_SIZE
}

// SAFETY: a page is given out once. It is mapped writable and not executable while it is
// written, then unmapped, then mapped executable and not writable until it is released; the
// direct map shows it read-only (`arch::paging`), and it has no other address.
unsafe impl CodeMemory for CodePages {
    fn window(&self) -> Range<usize> {
        address(0)..address(PAGES)
    }

    fn install(&self, size: usize, write: &mut dyn FnMut(&mut [u8], usize)) -> Option<usize> {
        let count = size.max(1).div_ceil(PAGE_SIZE);
        let first = self.take(count)?;
        if self.map(first, count, Protection::READ | Protection::WRITE) {
            let start = address(first) as *mut u8;
            // SAFETY: the pages are mapped, writable, and this call's alone.
            write(unsafe { core::slice::from_raw_parts_mut(start, size) }, address(first));
            self.unmap(first, count);
            if self.map(first, count, Protection::READ | Protection::EXECUTE) {
                return Some(address(first));
            }
        }
        self.unmap(first, count);
        self.give_back(first, count);
        None
    }

    unsafe fn release(&self, start: usize, size: usize) {
        let count = size.max(1).div_ceil(PAGE_SIZE);
        let first = (start - CODE_AREA_START) / PAGE_SIZE;
        self.unmap(first, count);
        self.give_back(first, count);
    }
}
