//! The ring buffer (`BPF_MAP_TYPE_RINGBUF`), with the memory layout that libbpf maps.
//!
//! Pages: one with the consumer's position (user space may write it), one with the
//! producer's position, then the data (both read-only for user space, which maps the data
//! pages twice in a row). Positions are bytes since the beginning and
//! only grow. A record is an 8-byte header and the data, rounded up to 8 bytes; the header's
//! first half is the length with [`BUSY`] until it is committed and [`DISCARD`] if nobody
//! shall see it; the second half says how many pages the record lies behind the first page.
//! Before the first page is one that user space does not see: who commits a record has nothing
//! but its address, and finds there whose ring it is in ([`RingBuffer::owner_address`]).
//!
//! The kernel does not map the data twice, so a record that would run over the end starts at
//! the beginning instead, and a discarded record fills the gap: consumers skip it, as they
//! skip every discarded record. When a record fits only once the gap is consumed, the gap is
//! made and the reservation refused, so that a later one succeeds.
//!
//! **Lock.** `pending` orders producers (interrupts off while held); consumers take none.
//! What user space writes (the consumer's position) can only make a ring look fuller or
//! emptier: records that are not committed are protected by `pending` itself.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use kernel_sync::SpinLock;

use super::error::MapError;
use crate::memory::{Memory, PAGE_SIZE, Region, store_bytes};

/// The record is being written.
pub const BUSY: u32 = 1 << 31;
/// The record is to be skipped.
pub const DISCARD: u32 = 1 << 30;
/// Bytes of a record's header.
pub const HEADER: usize = 8;
/// Do not wake the consumer (`BPF_RB_NO_WAKEUP`).
pub const NO_WAKEUP: u64 = 1;
/// Wake the consumer whatever its position (`BPF_RB_FORCE_WAKEUP`).
pub const FORCE_WAKEUP: u64 = 2;

const PAGE_WORDS: usize = PAGE_SIZE / 8;
/// Pages before the data that user space sees: consumer's, producer's.
const CONTROL_PAGES: usize = 2;
/// The page before them.
const OWNER_PAGES: usize = 1;
/// Where the data begins.
const DATA: usize = (OWNER_PAGES + CONTROL_PAGES) * PAGE_WORDS;

/// A ring buffer.
pub struct RingBuffer {
    region: Region,
    /// Bytes of data, a power of two and a multiple of the page size.
    size: usize,
    /// Position of the oldest record that is not committed yet.
    pending: SpinLock<u64>,
    /// A gap was left without a record behind it.
    gap_alone: AtomicBool,
    /// How often the consumer was to be woken.
    wakeups: AtomicU64,
}

/// A page of a ring buffer or a mappable array, for `mmap`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserPage {
    /// Where the kernel sees it; page-aligned.
    pub address: usize,
    /// Whether user space may write it.
    pub writable: bool,
}

/// Where a record lies, by its header's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Index of the header among the data's words.
    word: usize,
    position: u64,
}

impl RingBuffer {
    /// Words that a ring with `size` bytes of data takes.
    pub(super) fn words(size: usize) -> Option<usize> {
        (size / 8).checked_add(DATA)
    }

    /// An empty ring of `size` bytes.
    pub(super) fn new(memory: &'static dyn Memory, size: usize) -> Result<Self, MapError> {
        if !size.is_power_of_two() || size < PAGE_SIZE || size > DISCARD as usize {
            return Err(MapError::Invalid);
        }
        let words = Self::words(size).ok_or(MapError::Full)?;
        let region = Region::new(memory, words, PAGE_SIZE).ok_or(MapError::OutOfMemory)?;
        Ok(Self {
            region,
            size,
            pending: SpinLock::new(0),
            gap_alone: AtomicBool::new(false),
            wakeups: AtomicU64::new(0),
        })
    }

    /// Notes whose ring this is, for who commits a record.
    pub(crate) fn set_owner(&self, owner: u64) {
        if let Some(word) = self.region.words().first() {
            word.store(owner, Ordering::Relaxed);
        }
    }

    /// Where the word is that [`set_owner`](Self::set_owner) wrote, from the address of a record
    /// and its header, which is the [`HEADER`] bytes before it.
    #[must_use]
    pub(crate) const fn owner_address(record: usize, header: u64) -> usize {
        let pages = Self::pages_of(header) as usize + OWNER_PAGES;
        ((record - HEADER) & !(PAGE_SIZE - 1)) - pages * PAGE_SIZE
    }

    fn consumer(&self) -> Option<&AtomicU64> {
        self.region.words().get(OWNER_PAGES * PAGE_WORDS)
    }

    fn producer(&self) -> Option<&AtomicU64> {
        self.region.words().get((OWNER_PAGES + 1) * PAGE_WORDS)
    }

    fn data(&self) -> &[AtomicU64] {
        self.region.words().get(DATA..).unwrap_or_default()
    }

    fn header_at(&self, word: usize) -> Option<&AtomicU32> {
        self.region.half_words().get((DATA + word) * 2)
    }

    /// Writes a header: the length with its bits, and the distance in pages.
    fn write_header(&self, word: usize, length: u32) {
        let pages = CONTROL_PAGES + word / PAGE_WORDS;
        if let Some(header) = self.data().get(word) {
            header.store(Self::header(length, pages as u32), Ordering::Relaxed);
        }
    }

    #[cfg(target_endian = "little")]
    const fn header(length: u32, pages: u32) -> u64 {
        (pages as u64) << 32 | length as u64
    }

    #[cfg(target_endian = "little")]
    const fn pages_of(header: u64) -> u32 {
        (header >> 32) as u32
    }

    #[cfg(target_endian = "big")]
    const fn header(length: u32, pages: u32) -> u64 {
        (length as u64) << 32 | pages as u64
    }

    #[cfg(target_endian = "big")]
    const fn pages_of(header: u64) -> u32 {
        header as u32
    }

    /// Reserves a record of `length` bytes.
    pub(crate) fn reserve(&self, length: u64) -> Result<Record, MapError> {
        let total = length
            .checked_add(HEADER as u64 + 7)
            .filter(|_| length < u64::from(DISCARD))
            .ok_or(MapError::Full)?
            & !7;
        if total > self.size as u64 {
            return Err(MapError::Full);
        }
        let (Some(consumer), Some(producer)) = (self.consumer(), self.producer()) else {
            return Err(MapError::Invalid);
        };
        let mask = self.size as u64 - 1;
        let mut pending = self.pending.lock();
        let consumed = consumer.load(Ordering::Acquire);
        let start = producer.load(Ordering::Relaxed);
        // Committed records no longer hold the buffer.
        while *pending < start {
            let Some(header) = self.header_at(((*pending & mask) / 8) as usize) else { break };
            let header = header.load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            *pending += (u64::from(header & !DISCARD) + HEADER as u64 + 7) & !7;
        }
        let fits = |end: u64| {
            // As Linux, a ring is never filled to its last byte.
            end.wrapping_sub(consumed) <= mask && end.wrapping_sub(*pending) <= mask
        };
        let to_end = mask + 1 - (start & mask);
        let gap = if total > to_end { to_end } else { 0 };
        let end = start + gap + total;
        if !fits(end) {
            // Records longer than half the ring may need the gap alone first.
            if gap != 0 && fits(start + gap) && start.wrapping_sub(consumed) == 0 {
                self.write_header(((start & mask) / 8) as usize, (gap as u32 - 8) | DISCARD);
                producer.store(start + gap, Ordering::Release);
                self.gap_alone.store(true, Ordering::Relaxed);
            }
            return Err(MapError::WouldBlock);
        }
        if gap != 0 {
            self.write_header(((start & mask) / 8) as usize, (gap as u32 - 8) | DISCARD);
        }
        let position = start + gap;
        let word = ((position & mask) / 8) as usize;
        self.write_header(word, length as u32 | BUSY);
        producer.store(end, Ordering::Release);
        Ok(Record { word, position })
    }

    /// Whether a record that found no room has left a gap for the consumer, which is to be woken:
    /// there is room when it has passed the gap. Asked once.
    #[must_use]
    pub fn left_a_gap(&self) -> bool {
        let left =
            self.gap_alone.load(Ordering::Relaxed) && self.gap_alone.swap(false, Ordering::Relaxed);
        if left {
            self.wakeups.fetch_add(1, Ordering::Relaxed);
        }
        left
    }

    /// How often the consumer was to be woken: what it has been told of does not change this, nor
    /// do records that it is not to be told of.
    #[must_use]
    pub fn wakeups(&self) -> u64 {
        self.wakeups.load(Ordering::Relaxed)
    }

    /// The address of a record's data.
    #[must_use]
    pub(crate) fn address(&self, record: Record) -> usize {
        self.data().get(record.word + 1..).map_or(0, |words| words.as_ptr().expose_provenance())
    }

    /// Finds a reserved record by the address of its data.
    #[must_use]
    pub(crate) fn record_at(&self, address: usize) -> Option<Record> {
        let base = self.data().as_ptr() as usize;
        let offset = address.checked_sub(base)?.checked_sub(HEADER)?;
        if !offset.is_multiple_of(8) || offset >= self.size {
            return None;
        }
        let producer = self.producer()?.load(Ordering::Relaxed);
        let mask = self.size as u64 - 1;
        let behind = producer.wrapping_sub(offset as u64) & mask;
        let behind = if behind == 0 { self.size as u64 } else { behind };
        Some(Record { word: offset / 8, position: producer.wrapping_sub(behind) })
    }

    /// Commits a record, or discards it. Returns whether the consumer is to be woken.
    pub(crate) fn commit(&self, record: Record, discard: bool, flags: u64) -> bool {
        let Some(header) = self.header_at(record.word) else { return false };
        let length = header.load(Ordering::Relaxed) & !(BUSY | DISCARD);
        // Exchanged, so that the position below is read after the record is visible.
        header.swap(length | if discard { DISCARD } else { 0 }, Ordering::SeqCst);
        let wakes =
            flags & FORCE_WAKEUP != 0 || flags & NO_WAKEUP == 0 && self.is_next(record.position);
        if wakes {
            self.wakeups.fetch_add(1, Ordering::Relaxed);
        }
        wakes
    }

    /// Whether the consumer waits for the record at this position, or for the gap before it.
    fn is_next(&self, position: u64) -> bool {
        let consumed = self.consumer().map_or(0, |word| word.load(Ordering::SeqCst));
        let mask = self.size as u64 - 1;
        consumed == position || position & mask == 0 && self.only_a_gap(consumed, position)
    }

    /// Whether all that lies between the two positions is one discarded record.
    fn only_a_gap(&self, from: u64, to: u64) -> bool {
        let mask = self.size as u64 - 1;
        self.header_at(((from & mask) / 8) as usize).is_some_and(|header| {
            let header = header.load(Ordering::Relaxed);
            header & DISCARD != 0
                && from.wrapping_add(u64::from(header & !(BUSY | DISCARD)) + 8) == to
        })
    }

    /// Copies `bytes` into a new record and commits it. Returns whether to wake the consumer.
    pub fn output(&self, bytes: &[u8], flags: u64) -> Result<bool, MapError> {
        let record = self.reserve(bytes.len() as u64)?;
        if let Some(words) = self.data().get(record.word + 1..) {
            store_bytes(words, bytes);
        }
        Ok(self.commit(record, false, flags))
    }

    /// `bpf_ringbuf_query`: 0 data not consumed, 1 size, 2 and 3 the positions of consumer
    /// and producer; 0 for anything else.
    #[must_use]
    pub fn query(&self, what: u64) -> u64 {
        let consumer = self.consumer().map_or(0, |word| word.load(Ordering::Acquire));
        let producer = self.producer().map_or(0, |word| word.load(Ordering::Acquire));
        match what {
            0 => producer.wrapping_sub(consumer).min(self.size as u64),
            1 => self.size as u64,
            2 => consumer,
            3 => producer,
            _ => 0,
        }
    }

    /// Whether a consumer would find something (`poll`).
    #[must_use]
    pub fn readable(&self) -> bool {
        self.query(0) != 0
    }

    /// Page `index` of what user space maps: consumer, producer, then the data, twice.
    #[must_use]
    pub(super) fn user_page(&self, index: usize) -> Option<UserPage> {
        let pages = self.size / PAGE_SIZE;
        let page = match index.checked_sub(CONTROL_PAGES) {
            None => index,
            Some(data) if data < 2 * pages => CONTROL_PAGES + data % pages,
            Some(_) => return None,
        };
        let address = self.region.address() + (OWNER_PAGES + page) * PAGE_SIZE;
        Some(UserPage { address, writable: index == 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::{BUSY, CONTROL_PAGES, DISCARD, FORCE_WAKEUP, NO_WAKEUP, RingBuffer};
    use crate::map::MapError;
    use crate::memory::{HeapMemory, PAGE_SIZE, load_bytes};
    use alloc::vec;
    use alloc::vec::Vec;
    use core::sync::atomic::Ordering;

    /// Consumes as libbpf does: by positions and headers alone.
    fn consume(ring: &RingBuffer) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let mut position = ring.query(2);
        while position < ring.query(3) {
            let word = (position as usize & (ring.size - 1)) / 8;
            let header = ring.header_at(word).unwrap().load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let length = (header & !DISCARD) as usize;
            if header & DISCARD == 0 {
                let mut bytes = vec![0; length];
                load_bytes(&ring.data()[word + 1..], &mut bytes);
                records.push(bytes);
            }
            position += (length as u64 + 8).next_multiple_of(8);
            ring.consumer().unwrap().store(position, Ordering::Release);
        }
        records
    }

    #[test]
    fn whoever_must_pass_a_gap_is_told_of_it() {
        let ring = ring();
        ring.output(&[1; 2000], 0).unwrap();
        assert_eq!(consume(&ring).len(), 1);
        assert!(!ring.left_a_gap());
        assert_eq!(ring.output(&[2; 3000], 0), Err(MapError::WouldBlock));
        assert!(ring.left_a_gap() && !ring.left_a_gap());
        assert_eq!(ring.wakeups(), 2, "for the first record, and for the gap");
        assert_eq!(consume(&ring).len(), 0);
        assert_eq!(ring.output(&[2; 3000], 0), Ok(true));
        assert_eq!(consume(&ring), [vec![2; 3000]]);
    }

    fn ring() -> RingBuffer {
        RingBuffer::new(&HeapMemory, PAGE_SIZE).unwrap()
    }

    #[test]
    fn what_is_produced_is_consumed_in_order_for_many_turns() {
        let ring = ring();
        let (mut sent, mut received) = (0u32, 0u32);
        for round in 0..500 {
            for _ in 0..round % 7 {
                let length = 4 + (sent as usize * 37) % 300;
                let mut bytes = vec![sent as u8; length];
                bytes[..4].copy_from_slice(&sent.to_ne_bytes());
                match ring.output(&bytes, 0) {
                    Ok(_) => sent += 1,
                    Err(error) => assert_eq!(error, MapError::WouldBlock),
                }
            }
            if round % 3 == 0 {
                for record in consume(&ring) {
                    assert_eq!(record[..4], received.to_ne_bytes());
                    assert_eq!(record.len(), 4 + (received as usize * 37) % 300);
                    assert!(record[4..].iter().all(|&byte| byte == received as u8));
                    received += 1;
                }
            }
        }
        received += consume(&ring).len() as u32;
        assert!(sent > 500 && sent == received);
    }

    #[test]
    fn a_record_in_the_making_holds_back_what_follows() {
        let ring = ring();
        let first = ring.reserve(100).unwrap();
        assert!(!ring.output(&[1; 8], 0).unwrap(), "the consumer waits for the first record");
        assert!(consume(&ring).is_empty());
        assert_eq!(ring.record_at(ring.address(first)), Some(first));
        assert!(ring.commit(first, true, 0), "now it is the consumer's turn");
        assert_eq!(consume(&ring), [vec![1; 8]]);
        assert!(ring.output(&[2], 0).unwrap());
        assert!(!ring.output(&[2], NO_WAKEUP).unwrap());
        assert!(ring.output(&[2], FORCE_WAKEUP).unwrap());
        assert!(ring.output(&[2], FORCE_WAKEUP | NO_WAKEUP).unwrap());
        assert_eq!(ring.wakeups(), 4);
    }

    #[test]
    fn a_lying_consumer_cannot_overwrite_a_record_in_the_making() {
        let ring = ring();
        let mine = ring.reserve(1000).unwrap();
        ring.consumer().unwrap().store(1 << 40, Ordering::Release);
        let mut taken = 0;
        for _ in 0..100 {
            ring.consumer().unwrap().store(ring.query(3), Ordering::Release);
            if let Ok(record) = ring.reserve(500) {
                assert!(ring.address(record) >= ring.address(mine) + 1000);
                taken += 1;
            }
        }
        assert!(taken <= 6);
    }

    #[test]
    fn records_longer_than_half_the_ring_get_through() {
        let ring = ring();
        ring.output(&[1; 2000], 0).unwrap();
        consume(&ring);
        assert_eq!(ring.output(&[2; 3000], 0), Err(MapError::WouldBlock));
        assert!(consume(&ring).is_empty());
        ring.output(&[2; 3000], 0).unwrap();
        assert_eq!(consume(&ring), [vec![2; 3000]]);
        assert_eq!(ring.reserve(5000), Err(MapError::Full));
        assert_eq!(ring.reserve(u64::MAX), Err(MapError::Full));
    }

    #[test]
    fn user_space_sees_the_data_twice_and_writes_one_page() {
        let ring = ring();
        let page = |index| ring.user_page(index).unwrap();
        assert!(page(0).writable && !page(1).writable && !page(2).writable);
        assert_eq!(page(CONTROL_PAGES), page(CONTROL_PAGES + 1));
        assert_eq!(ring.user_page(4), None);
        assert_eq!(page(0).address % PAGE_SIZE, 0);
    }
}
