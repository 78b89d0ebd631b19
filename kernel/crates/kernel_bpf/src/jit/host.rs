//! Executable memory on a host, for tools and tests: [`HostMemory`].
//!
//! One reservation, near this program's own code so that helpers can be called directly, is given
//! out in pages. Pages are readable and writable; once code was written into them, readable and
//! executable, until they are released.

use core::ops::Range;
use std::ffi::c_void;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::vec::Vec;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use rustix::param::page_size;

use super::Machine;
use super::memory::CodeMemory;

#[cfg(target_os = "none")]
compile_error!("the feature host-jit is for hosts: a kernel has executable pages of its own");

/// Bytes that are reserved.
const ARENA: usize = 256 << 20;

/// The emitter for this host's CPU.
#[cfg(target_arch = "x86_64")]
pub type Native = super::x86_64::X86_64;
/// The emitter for this host's CPU.
#[cfg(target_arch = "aarch64")]
pub type Native = super::aarch64::Aarch64;
/// The emitter for this host's CPU.
#[cfg(target_arch = "riscv64")]
pub type Native = super::riscv64::Riscv64;

/// What the CPU of this host can do.
#[must_use]
pub fn machine() -> Machine {
    #[cfg(target_arch = "x86_64")]
    let bmi2 = std::arch::is_x86_feature_detected!("bmi2");
    #[cfg(not(target_arch = "x86_64"))]
    let bmi2 = false;
    #[cfg(target_arch = "aarch64")]
    let lse = std::arch::is_aarch64_feature_detected!("lse");
    #[cfg(not(target_arch = "aarch64"))]
    let lse = false;
    #[cfg(target_arch = "riscv64")]
    let (zba, zbb) = (
        std::arch::is_riscv_feature_detected!("zba"),
        std::arch::is_riscv_feature_detected!("zbb"),
    );
    #[cfg(not(target_arch = "riscv64"))]
    let (zba, zbb) = (false, false);
    Machine { bmi2, lse, zba, zbb }
}

/// Pages of this process.
pub struct HostMemory {
    start: usize,
    /// Blocks that are not given out: start and length, sorted.
    free: Mutex<Vec<(usize, usize)>>,
}

impl HostMemory {
    /// The memory of this process; `None` where none could be reserved.
    #[must_use]
    pub fn get() -> Option<&'static HostMemory> {
        static MEMORY: OnceLock<Option<HostMemory>> = OnceLock::new();
        MEMORY.get_or_init(HostMemory::reserve).as_ref()
    }

    fn reserve() -> Option<HostMemory> {
        // Below this program's code, where nothing else is.
        let code = HostMemory::get as *const () as usize;
        let hint = (code & !(page_size() - 1)).wrapping_sub(2 * ARENA);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: without `FIXED` the system chooses addresses that nothing uses.
        let mapped = unsafe {
            rustix::mm::mmap_anonymous(
                core::ptr::with_exposed_provenance_mut(hint),
                ARENA,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )
        };
        let start = mapped.ok()?.expose_provenance();
        Some(HostMemory { start, free: Mutex::new([(start, ARENA)].into()) })
    }

    fn take(&self, size: usize) -> Option<usize> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let index = free.iter().position(|&(_, length)| length >= size)?;
        let (start, length) = free.get_mut(index)?;
        let taken = *start;
        (*start, *length) = (taken + size, *length - size);
        if *length == 0 {
            free.remove(index);
        }
        Some(taken)
    }

    fn give_back(&self, start: usize, size: usize) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let index = free.partition_point(|&(other, _)| other < start);
        free.insert(index, (start, size));
        // Neighbours become one block.
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

    /// Changes what may be done with a block.
    fn protect(&self, start: usize, size: usize, how: MprotectFlags) -> bool {
        let start = core::ptr::with_exposed_provenance_mut::<c_void>(start);
        // SAFETY: the block lies in the reservation, which only this object gives out; its owner
        // is the only one who uses it.
        unsafe { rustix::mm::mprotect(start, size, how) }.is_ok()
    }
}

/// Lets this process's instruction fetches see what was written.
#[cfg(target_arch = "aarch64")]
fn synchronize(start: usize, size: usize) {
    // The smallest line that the architecture allows.
    const LINE: usize = 16;
    let lines = || (start & !(LINE - 1)..start + size).step_by(LINE);
    for line in lines() {
        // SAFETY: cleans a line of the data cache of memory that is mapped.
        unsafe { core::arch::asm!("dc cvau, {}", in(reg) line, options(nostack)) };
    }
    // SAFETY: a barrier.
    unsafe { core::arch::asm!("dsb ish", options(nostack)) };
    for line in lines() {
        // SAFETY: drops a line of the instruction cache.
        unsafe { core::arch::asm!("ic ivau, {}", in(reg) line, options(nostack)) };
    }
    // SAFETY: barriers.
    unsafe { core::arch::asm!("dsb ish", "isb", options(nostack)) };
}

#[cfg(target_arch = "x86_64")]
fn synchronize(_: usize, _: usize) {}

/// Lets this process's instruction fetches see what was written.
#[cfg(target_arch = "riscv64")]
fn synchronize(start: usize, size: usize) {
    // riscv_flush_icache, on all CPUs: `fence.i` would do it on this one only.
    // SAFETY: the system call changes nothing that the program sees.
    unsafe {
        core::arch::asm!(
            "ecall", in("a7") 259, inlateout("a0") start => _, in("a1") start + size, in("a2") 0,
            options(nostack)
        );
    }
}

fn pages(size: usize) -> usize {
    size.max(1).next_multiple_of(page_size())
}

// SAFETY: a block is given out once, written while it is writable and not executable, and never
// made writable again before it is released.
unsafe impl CodeMemory for HostMemory {
    fn window(&self) -> Range<usize> {
        self.start..self.start + ARENA
    }

    fn install(&self, size: usize, write: &mut dyn FnMut(&mut [u8], usize)) -> Option<usize> {
        let start = self.take(pages(size))?;
        let bytes = core::ptr::with_exposed_provenance_mut::<u8>(start);
        // SAFETY: the block is mapped, readable, writable, initialised, and ours alone.
        write(unsafe { core::slice::from_raw_parts_mut(bytes, size) }, start);
        synchronize(start, size);
        if self.protect(start, pages(size), MprotectFlags::READ | MprotectFlags::EXEC) {
            return Some(start);
        }
        self.give_back(start, pages(size));
        None
    }

    unsafe fn release(&self, address: usize, size: usize) {
        let size = pages(size);
        // What cannot be made writable again is not given out again.
        if self.protect(address, size, MprotectFlags::READ | MprotectFlags::WRITE) {
            self.give_back(address, size);
        }
    }
}
