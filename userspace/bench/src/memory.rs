//! Mappings and page faults.

use crate::measure::Bench;
use lemma_rt::general::{
    __NR_mmap, __NR_munmap, MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE,
};
use lemma_rt::{Result, syscall};

/// Maps anonymous memory.
pub(crate) fn map(length: usize, shared: bool) -> Result<usize> {
    let flags = MAP_ANONYMOUS | if shared { MAP_SHARED } else { MAP_PRIVATE };
    // SAFETY: maps fresh memory.
    unsafe { syscall!(__NR_mmap, 0usize, length, PROT_READ | PROT_WRITE, flags, -1isize, 0usize) }
}

/// Unmaps what [`map`] has given.
pub(crate) fn unmap(address: usize, length: usize) -> Result<usize> {
    // SAFETY: the measurements keep no references into their maps.
    unsafe { syscall!(__NR_munmap, address, length) }
}

/// Writes a byte of mapped memory.
pub(crate) fn touch(address: usize) {
    // SAFETY: the callers map it before and unmap it after.
    unsafe { (address as *mut u8).write_volatile(1) }
}

pub(crate) fn run(bench: &Bench) {
    bench.row("mmap_munmap", 500, 5, |_| unmap(map(4096, false)?, 4096));
    bench.row("mmap_touch_munmap", 500, 5, |_| {
        let page = map(4096, false)?;
        touch(page);
        unmap(page, 4096)
    });
    if bench.wants("pagefault") {
        // Each page is touched once: 200 in each of five batches, and one to try.
        let length = (5 * bench.repetitions(200) + 1) * 4096;
        match map(length, false) {
            Ok(memory) => {
                let mut next = memory;
                bench.row("pagefault", 200, 5, |_| -> Result<()> {
                    touch(next);
                    next += 4096;
                    Ok(())
                });
                let _ = unmap(memory, length);
            }
            Err(error) => bench.failed("pagefault", error),
        }
    }
}
