//! Reads a ring-buffer map as libbpf does: through mapped memory, without a system call for each
//! record.
//!
//! The map's first page holds how far we have read (ours to write), the next one how far the
//! kernel has written; then comes the data, mapped twice in a row, so that no record is split.
//! A record is a header of 8 bytes, its length with two flags on top, and the bytes, rounded up
//! to 8.

use crate::info::MapInfo;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use lemma_rt::general::{__NR_mmap, __NR_munmap, MAP_SHARED, PROT_READ, PROT_WRITE};
use lemma_rt::rustix::fd::{AsRawFd, OwnedFd};
use lemma_rt::{Errno, Result, syscall};

const PAGE: usize = 4096;
/// The record is still being written.
const BUSY: u32 = 1 << 31;
/// The record was given up.
const DISCARDED: u32 = 1 << 30;
const HEADER: u64 = 8;

/// A ring buffer, mapped for reading.
pub struct Ring {
    fd: OwnedFd,
    consumer: usize,
    producer: usize,
    size: u64,
}

impl Ring {
    /// Maps the ring of a map.
    ///
    /// # Errors
    /// The kernel's; `EINVAL` for a map of another type.
    pub fn open(fd: OwnedFd, info: &MapInfo) -> Result<Self> {
        let size = info.max_entries as usize;
        if info.kind != kernel_bpf::map::MapType::Ringbuf.number() || !size.is_power_of_two() {
            return Err(Errno::INVAL);
        }
        let map = |length: usize, protection: u32, offset: usize| {
            // SAFETY: maps fresh memory of the map, touches none.
            unsafe {
                syscall!(__NR_mmap, 0usize, length, protection, MAP_SHARED, fd.as_raw_fd(), offset)
            }
        };
        let consumer = map(PAGE, PROT_READ | PROT_WRITE, 0)?;
        let producer = match map(PAGE + 2 * size, PROT_READ, PAGE) {
            Ok(producer) => producer,
            Err(error) => {
                // SAFETY: mapped just now, used by no one.
                let _ = unsafe { syscall!(__NR_munmap, consumer, PAGE) };
                return Err(error);
            }
        };
        Ok(Self { fd, consumer, producer, size: size as u64 })
    }

    /// The ring's descriptor, to wait on.
    pub fn descriptor(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    fn consumer(&self) -> &AtomicU64 {
        // SAFETY: the page is mapped for as long as `self` lives; the kernel only reads it.
        unsafe { &*(self.consumer as *const AtomicU64) }
    }

    fn producer(&self) -> &AtomicU64 {
        // SAFETY: mapped for as long as `self` lives; the kernel writes it atomically.
        unsafe { &*(self.producer as *const AtomicU64) }
    }

    /// The next record, if one is complete.
    pub fn next_record(&mut self) -> Option<Vec<u8>> {
        loop {
            let position = self.consumer().load(Ordering::Relaxed);
            if position >= self.producer().load(Ordering::Acquire) {
                return None;
            }
            let offset = (position & (self.size - 1)) as usize;
            let record = self.producer + PAGE + offset;
            // SAFETY: records begin at multiples of 8 inside the data, which is mapped.
            let header = unsafe { &*(record as *const AtomicU32) }.load(Ordering::Acquire);
            if header & BUSY != 0 {
                return None;
            }
            let length = u64::from(header & !DISCARDED).min(self.size - HEADER);
            let bytes = (header & DISCARDED == 0).then(|| {
                let start = (record + HEADER as usize) as *const u8;
                // SAFETY: the data is mapped twice in a row, so a record that begins in the
                // first copy lies inside; the kernel does not write it until we have moved on.
                unsafe { core::slice::from_raw_parts(start, length as usize) }.to_vec()
            });
            let next = position + (length + HEADER).next_multiple_of(8);
            self.consumer().store(next, Ordering::Release);
            if bytes.is_some() {
                return bytes;
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let data = PAGE + 2 * self.size as usize;
        for (address, length) in [(self.consumer, PAGE), (self.producer, data)] {
            // SAFETY: mapped by `open`, and no reference outlives `self`.
            let _ = unsafe { syscall!(__NR_munmap, address, length) };
        }
    }
}
