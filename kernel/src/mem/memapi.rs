//! What the rest of the kernel asks of memory on a user's behalf.
//!
//! The kernel's own allocations are infallible as long as users are kept from the reserve; so
//! a system call that makes the kernel allocate (fork, open, pipe, a map) first asks
//! [`may_allocate`], and fails with `ENOMEM` while free memory is short.

use super::phys;
use crate::arch::{PAGE_SIZE, PhysAddr};

/// There is not enough free memory: `ENOMEM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// Whether the kernel may allocate `bytes` for a user without touching its reserve.
///
/// # Errors
/// If it may not.
#[inline]
pub fn may_allocate(bytes: usize) -> Result<(), OutOfMemory> {
    let available = phys::free_frames().saturating_sub(phys::reserve_frames());
    if bytes / PAGE_SIZE < available { Ok(()) } else { Err(OutOfMemory) }
}

/// Whether so many bytes more may be promised to a user: no more at once than all the machine has, as
/// by Linux's usual heuristics (`proc_sys_vm(5)`, `overcommit_memory`), and something is left to
/// begin with. Nothing may always be.
///
/// # Errors
/// If they may not.
pub fn may_promise(bytes: usize) -> Result<(), OutOfMemory> {
    if bytes == 0 {
        return Ok(());
    }
    if bytes / PAGE_SIZE > phys::stats().total {
        return Err(OutOfMemory);
    }
    may_allocate(0)
}

/// Whether the heap may take one block of `bytes` for a map or a program: of a large one, what it
/// is rounded up to. Some pages are left for processes: who fills a map is told that memory is used
/// up, and must not be ended for the next page that it touches.
pub fn may_take_block(bytes: usize) -> bool {
    let left = phys::reserve_frames() / 4 * PAGE_SIZE;
    let bytes = if bytes > PAGE_SIZE { bytes.checked_next_power_of_two() } else { Some(bytes) };
    let bytes = bytes.and_then(|bytes| bytes.checked_add(left));
    bytes.is_some_and(|bytes| may_allocate(bytes).is_ok())
}

/// Memory that an operation may allocate as it goes on, without asking again: until this is
/// dropped, as much more is left untouched for everybody else.
pub struct Pledge {
    frames: usize,
}

impl Pledge {
    /// A pledge of `most` bytes, or a third of what is free if that is less: then as much is left
    /// for others when all of it was allocated.
    pub fn up_to(most: usize) -> Self {
        let available = phys::free_frames().saturating_sub(phys::reserve_frames());
        Self::frames((available / 3).min(most.div_ceil(PAGE_SIZE)))
    }

    /// A pledge of `bytes`.
    ///
    /// # Errors
    /// If as much is not free.
    pub fn of(bytes: usize) -> Result<Self, OutOfMemory> {
        may_allocate(bytes)?;
        Ok(Self::frames(bytes.div_ceil(PAGE_SIZE)))
    }

    fn frames(frames: usize) -> Self {
        phys::add_reserve(frames);
        Self { frames }
    }

    /// How many bytes it is.
    pub fn bytes(&self) -> usize {
        self.frames * PAGE_SIZE
    }
}

impl Drop for Pledge {
    fn drop(&mut self) {
        phys::take_reserve(self.frames);
    }
}

/// `2^order` frames in a row that the kernel owns: for devices that read and write memory
/// themselves, and for pages that are shared with users.
pub struct Frames {
    start: PhysAddr,
    order: u8,
}

impl Frames {
    /// Zeroed frames.
    ///
    /// # Errors
    /// If there is no free block of that size.
    pub fn zeroed(order: u8) -> Result<Self, OutOfMemory> {
        let start = phys::alloc_order(order).ok_or(OutOfMemory)?;
        for frame in 0..1u64 << order {
            phys::zero(PhysAddr(start.0 + frame * PAGE_SIZE as u64));
        }
        Ok(Self { start, order })
    }

    /// The physical address of the first byte.
    pub fn address(&self) -> PhysAddr {
        self.start
    }

    /// Where the first byte is in the direct map.
    pub fn virtual_address(&self) -> usize {
        phys::phys_to_virt(self.start)
    }

    /// The length in bytes.
    pub fn length(&self) -> usize {
        PAGE_SIZE << self.order
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        phys::free_order(self.start, self.order);
    }
}
