//! The buffer of a perf event, as user space maps it (`perf_event_open(2)`, "MMAP layout").
//!
//! Pages: one with `struct perf_event_mmap_page`, which user space may write, then the records, a
//! power of two of pages or none. Positions are bytes since the beginning and only grow; a record
//! that comes to the end goes on at the beginning. Records begin with `struct perf_event_header`
//! and are multiples of 8 bytes.
//!
//! A record that finds no room is counted, and the next one that finds some is preceded by a record
//! that says how many there were. A buffer that user space cannot write is never full: new records
//! overwrite the oldest.
//!
//! What user space writes, the position up to which it has read, can only make the buffer look
//! fuller or emptier; nothing else is ever read back from the pages.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::map::MapError;
use crate::memory::{Memory, PAGE_SIZE, Region, partial_word};

/// `PERF_RECORD_LOST`: records that found no room.
const LOST: u32 = 2;
/// `PERF_RECORD_SAMPLE`: what a program sends.
const SAMPLE: u32 = 9;
/// `PERF_RECORD_MISC_KERNEL`: it was sent in the kernel.
const IN_KERNEL: u16 = 1;

/// Bytes of a record's header, and of a record that says how many were lost.
const HEADER: usize = 8;
const LOST_BYTES: u64 = 24;

/// Words of the first page (`struct perf_event_mmap_page`): what the event can do; the bytes of the
/// structure's first part; the positions of the writer and of the reader; where the data is.
const CAPABILITIES: usize = 5;
const SIZE: usize = 9;
const HEAD: usize = 128;
const TAIL: usize = 129;
const DATA_OFFSET: usize = 130;
const DATA_SIZE: usize = 131;

/// `cap_bit0_is_deprecated`, alone.
const NO_CAPABILITIES: u64 = 2;
/// Where the structure's reserved part begins.
const FIRST_PART: u64 = 96;

const PAGE_WORDS: usize = PAGE_SIZE / 8;

/// How a buffer is used.
#[derive(Clone, Copy, Debug)]
pub struct RingUse {
    /// Pages of records: none, or a power of two.
    pub pages: usize,
    /// Wakes the reader once in so many bytes; 0 for half of the buffer.
    pub wake_bytes: u32,
    /// Wakes the reader once in so many records, too; 0 for never.
    pub wake_records: u32,
    /// Nobody says what has been read, so that old records are overwritten.
    pub overwrites: bool,
}

/// What a program sends.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// What stands before the program's bytes, as the event's `sample_type` wants it.
    pub fields: &'a [u64],
    /// The program's bytes; `None` where the event does not want them (`PERF_SAMPLE_RAW`).
    pub raw: Option<&'a [u8]>,
}

impl Sample<'_> {
    /// Bytes of the record; `None` for more than its header can tell.
    fn bytes(&self) -> Option<u16> {
        let raw = self.raw.map_or(0, |raw| (raw.len() + 4).next_multiple_of(8));
        u16::try_from(HEADER + 8 * self.fields.len() + raw).ok()
    }
}

/// The buffer.
pub struct PerfRing {
    first: Region,
    /// A block of its own, so that its size is a power of two.
    data: Option<Region>,
    how: RingUse,
    /// Position of the next record. User space sees a copy.
    head: u64,
    /// Records that were lost and not told of.
    lost: u64,
    paused: bool,
    /// Grows when the reader is to be woken; the bytes up to which it was.
    wakeup: u64,
    /// Records since it was woken for them.
    records: u32,
}

impl PerfRing {
    /// An empty buffer.
    ///
    /// # Errors
    /// [`MapError::Invalid`] for a number of pages that cannot be, [`MapError::OutOfMemory`].
    pub fn new(memory: &'static dyn Memory, how: RingUse) -> Result<Self, MapError> {
        if how.pages != 0 && !how.pages.is_power_of_two() {
            return Err(MapError::Invalid);
        }
        let pages = |count: usize| {
            let words = count.checked_mul(PAGE_WORDS)?;
            Region::new(memory, words, PAGE_SIZE)
        };
        let first = pages(1).ok_or(MapError::OutOfMemory)?;
        let data = match how.pages {
            0 => None,
            count => Some(pages(count).ok_or(MapError::OutOfMemory)?),
        };
        let (head, lost, wakeup, records) = (0, 0, 0, 0);
        let ring = Self { first, data, how, head, lost, paused: false, wakeup, records };
        ring.set(CAPABILITIES, NO_CAPABILITIES);
        ring.set(SIZE, pair(FIRST_PART as u32, [0; 4]));
        ring.set(DATA_OFFSET, PAGE_SIZE as u64);
        ring.set(DATA_SIZE, ring.size());
        Ok(ring)
    }

    /// Pages of records.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.how.pages
    }

    /// Bytes of records.
    fn size(&self) -> u64 {
        (self.how.pages * PAGE_SIZE) as u64
    }

    fn word(&self, index: usize) -> Option<&AtomicU64> {
        self.first.words().get(index)
    }

    fn set(&self, index: usize, value: u64) {
        if let Some(word) = self.word(index) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// The address of page `index` of what user space maps; only the first may be written.
    #[must_use]
    pub fn page_address(&self, index: usize) -> Option<usize> {
        match index.checked_sub(1) {
            None => Some(self.first.address()),
            Some(index) if index >= self.how.pages => None,
            Some(index) => self.data.as_ref().map(|data| data.address() + index * PAGE_SIZE),
        }
    }

    /// From now on records are lost, or no longer.
    ///
    /// # Errors
    /// [`MapError::Invalid`] for a buffer that never has records.
    pub fn pause(&mut self, paused: bool) -> Result<(), MapError> {
        if self.how.pages == 0 {
            return Err(MapError::Invalid);
        }
        self.paused = paused;
        Ok(())
    }

    /// Whether so many bytes have room. As on Linux a buffer is never filled to its last byte.
    fn has_room(&self, bytes: u64) -> bool {
        if self.how.overwrites {
            return bytes <= self.size();
        }
        let read = self.word(TAIL).map_or(0, |tail| tail.load(Ordering::Acquire));
        let mask = self.size() - 1;
        read.wrapping_sub(self.head + 1) & mask >= bytes
    }

    /// Adds a record of the event `id`; whether the reader is to be woken.
    ///
    /// # Errors
    /// [`MapError::Full`] for a record that is too long to be one, [`MapError::NoSpace`] if there
    /// is no room for it.
    pub fn push(&mut self, id: u64, sample: &Sample<'_>) -> Result<bool, MapError> {
        let bytes = sample.bytes().ok_or(MapError::Full)?;
        if self.how.pages == 0 {
            return Err(MapError::NoSpace);
        }
        let with_lost = u64::from(bytes) + if self.lost > 0 { LOST_BYTES } else { 0 };
        if self.paused || !self.has_room(with_lost) {
            self.lost += 1;
            return Err(MapError::NoSpace);
        }
        let woken = self.wakeup;
        let watermark = match u64::from(self.how.wake_bytes) {
            0 => self.size() / 2,
            bytes => bytes.min(self.size()),
        };
        if (self.head + with_lost).wrapping_sub(self.wakeup) > watermark {
            self.wakeup += watermark;
        }
        let lost = core::mem::take(&mut self.lost);
        if lost > 0 {
            self.put(header(LOST, 0, LOST_BYTES as u16));
            self.put(id);
            self.put(lost);
        }
        self.put(header(SAMPLE, IN_KERNEL, bytes));
        for &field in sample.fields {
            self.put(field);
        }
        if let Some(raw) = sample.raw {
            self.put_raw(raw);
        }
        // The records are there before the position that says so.
        if let Some(head) = self.word(HEAD) {
            head.store(self.head, Ordering::Release);
        }
        if self.how.wake_records > 0 {
            self.records += 1;
            if self.records >= self.how.wake_records {
                self.records = 0;
                self.wakeup += 1;
            }
        }
        Ok(self.wakeup != woken)
    }

    /// Writes the next word of a record.
    fn put(&mut self, word: u64) {
        let at = (self.head & (self.size() - 1)) as usize / 8;
        if let Some(place) = self.data.as_ref().and_then(|data| data.words().get(at)) {
            place.store(word, Ordering::Relaxed);
        }
        self.head += 8;
    }

    /// Writes how many bytes follow in the record, and those that are the program's; the others
    /// are zeros.
    fn put_raw(&mut self, raw: &[u8]) {
        let (first, rest) = raw.split_at(raw.len().min(4));
        let mut beginning = [0; 4];
        beginning.iter_mut().zip(first).for_each(|(to, from)| *to = *from);
        let length = (raw.len() + 4).next_multiple_of(8) - 4;
        self.put(pair(length as u32, beginning));
        for chunk in rest.chunks(8) {
            self.put(partial_word(chunk));
        }
    }
}

/// A word of a number and four bytes, in memory's order.
fn pair(number: u32, bytes: [u8; 4]) -> u64 {
    let mut word = [0; 8];
    let (low, high) = word.split_at_mut(4);
    low.copy_from_slice(&number.to_ne_bytes());
    high.copy_from_slice(&bytes);
    u64::from_ne_bytes(word)
}

/// The header of a record of `size` bytes.
fn header(kind: u32, misc: u16, size: u16) -> u64 {
    let ([a, b], [c, d]) = (misc.to_ne_bytes(), size.to_ne_bytes());
    pair(kind, [a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::{
        CAPABILITIES, DATA_OFFSET, DATA_SIZE, HEAD, LOST, PerfRing, RingUse, SAMPLE, SIZE, Sample,
        TAIL,
    };
    use crate::map::MapError;
    use crate::memory::{HeapMemory, PAGE_SIZE, load_bytes};
    use alloc::vec;
    use alloc::vec::Vec;
    use core::sync::atomic::Ordering;

    const ID: u64 = 77;

    fn how(pages: usize) -> RingUse {
        RingUse { pages, wake_bytes: 0, wake_records: 1, overwrites: false }
    }

    fn ring(how: RingUse) -> PerfRing {
        PerfRing::new(&HeapMemory, how).unwrap()
    }

    fn send(ring: &mut PerfRing, bytes: &[u8]) -> Result<bool, MapError> {
        ring.push(ID, &Sample { fields: &[], raw: Some(bytes) })
    }

    fn word(ring: &PerfRing, index: usize) -> u64 {
        ring.word(index).unwrap().load(Ordering::Acquire)
    }

    /// Reads as libbpf does: by positions and headers alone. The records, without their headers.
    fn consume(ring: &PerfRing) -> Vec<(u32, Vec<u8>)> {
        let data = ring.data.as_ref().unwrap().words();
        let mut at = word(ring, TAIL);
        let mut records = Vec::new();
        while at < word(ring, HEAD) {
            // A record may go on at the beginning.
            let words = |from: u64| data[(from as usize / 8) % data.len()].load(Ordering::Relaxed);
            let header = words(at).to_ne_bytes();
            let kind = u32::from_ne_bytes(header[..4].try_into().unwrap());
            let size = u16::from_ne_bytes(header[6..].try_into().unwrap());
            let bytes = (8..u64::from(size)).step_by(8).flat_map(|o| words(at + o).to_ne_bytes());
            records.push((kind, bytes.collect()));
            at += u64::from(size);
        }
        ring.word(TAIL).unwrap().store(at, Ordering::Release);
        records
    }

    /// What stands in a record with a program's bytes.
    fn raw(bytes: &[u8]) -> Vec<u8> {
        let length = (bytes.len() + 4).next_multiple_of(8) - 4;
        let mut record = (length as u32).to_ne_bytes().to_vec();
        record.extend(bytes);
        record.resize(length + 4, 0);
        record
    }

    fn lost(count: u64) -> (u32, Vec<u8>) {
        (LOST, [ID.to_ne_bytes(), count.to_ne_bytes()].concat())
    }

    #[test]
    fn the_first_page_says_where_the_records_are() {
        let ring = ring(how(4));
        assert_eq!(word(&ring, DATA_OFFSET), PAGE_SIZE as u64);
        assert_eq!(word(&ring, DATA_SIZE), 4 * PAGE_SIZE as u64);
        assert_eq!(word(&ring, CAPABILITIES), 2);
        let mut bytes = [0; 8];
        load_bytes(&ring.first.words()[SIZE..], &mut bytes);
        assert_eq!(bytes[..4], 96u32.to_ne_bytes());
        assert_eq!(ring.page_address(2), Some(ring.page_address(1).unwrap() + PAGE_SIZE));
        assert!((0..=4).all(|page| ring.page_address(page).is_some_and(|at| at % PAGE_SIZE == 0)));
        assert_eq!(ring.page_address(5), None);
        for pages in [3, usize::MAX] {
            assert_eq!(PerfRing::new(&HeapMemory, how(pages)).err(), Some(MapError::Invalid));
        }
        let most = PerfRing::new(&HeapMemory, how(1 << 63));
        assert_eq!(most.err(), Some(MapError::OutOfMemory));
    }

    #[test]
    fn records_have_what_the_event_wants() {
        let mut ring = ring(how(1));
        for length in 0..30 {
            let bytes: Vec<u8> = (1..=length).collect();
            send(&mut ring, &bytes).unwrap();
            assert_eq!(consume(&ring), [(SAMPLE, raw(&bytes))]);
        }
        ring.push(ID, &Sample { fields: &[5, 6], raw: Some(&[7]) }).unwrap();
        ring.push(ID, &Sample { fields: &[8], raw: None }).unwrap();
        let first = [5u64.to_ne_bytes().to_vec(), 6u64.to_ne_bytes().to_vec(), raw(&[7])].concat();
        assert_eq!(consume(&ring), [(SAMPLE, first), (SAMPLE, 8u64.to_ne_bytes().to_vec())]);
    }

    #[test]
    fn records_come_in_order_for_many_turns_and_the_lost_are_counted() {
        let mut ring = ring(how(1));
        let (mut sent, mut lost_count, mut received, mut told) = (0u32, 0, 0u32, 0);
        let mut read = |ring: &PerfRing, sent: u32, lost_count: u64| {
            for (kind, record) in consume(ring) {
                if kind == LOST {
                    told += u64::from_ne_bytes(record[8..].try_into().unwrap());
                    continue;
                }
                let number = u32::from_ne_bytes(record[4..8].try_into().unwrap());
                assert!((received..sent).contains(&number), "{number} after {received}");
                assert_eq!(record.len(), (number as usize * 37 % 300 + 8).next_multiple_of(8));
                received = number + 1;
            }
            assert!(told <= lost_count);
            told
        };
        for round in 0..500 {
            for _ in 0..round % 25 {
                let mut bytes = vec![sent as u8; sent as usize * 37 % 300 + 4];
                bytes[..4].copy_from_slice(&sent.to_ne_bytes());
                sent += 1;
                lost_count += u64::from(send(&mut ring, &bytes) == Err(MapError::NoSpace));
            }
            if round % 3 == 0 {
                read(&ring, sent, lost_count);
            }
        }
        read(&ring, sent, lost_count);
        send(&mut ring, &sent.to_ne_bytes()).unwrap();
        assert_eq!(read(&ring, sent + 1, lost_count), lost_count);
        assert!(lost_count > 100 && word(&ring, HEAD) > 100 * PAGE_SIZE as u64);
    }

    #[test]
    fn a_full_ring_keeps_a_byte_and_says_what_it_lost() {
        let mut ring = ring(how(1));
        for _ in 0..PAGE_SIZE / 32 - 1 {
            send(&mut ring, &[1; 20]).unwrap();
        }
        assert_eq!(send(&mut ring, &[2; 20]), Err(MapError::NoSpace), "the last byte stays free");
        assert_eq!(send(&mut ring, &[2; 12]), Err(MapError::NoSpace), "no room for the loss");
        assert_eq!(consume(&ring).len(), 127);
        send(&mut ring, &[3; 4]).unwrap();
        send(&mut ring, &[4; 4]).unwrap();
        assert_eq!(consume(&ring), [lost(2), (SAMPLE, raw(&[3; 4])), (SAMPLE, raw(&[4; 4]))]);
        // Longer than the buffer; longer than a record's header can say.
        assert_eq!(send(&mut ring, &[0; PAGE_SIZE]), Err(MapError::NoSpace));
        assert_eq!(send(&mut ring, &vec![0; 65_517]), Err(MapError::Full));
        assert_eq!(send(&mut ring, &vec![0; 65_516]), Err(MapError::NoSpace));
    }

    #[test]
    fn a_paused_ring_loses_everything() {
        let mut paused = ring(how(1));
        paused.pause(true).unwrap();
        assert_eq!(send(&mut paused, &[1]), Err(MapError::NoSpace));
        paused.pause(false).unwrap();
        send(&mut paused, &[2]).unwrap();
        assert_eq!(consume(&paused), [lost(1), (SAMPLE, raw(&[2]))]);
        let mut without_data = ring(how(0));
        assert_eq!(without_data.pause(true), Err(MapError::Invalid));
        assert_eq!(send(&mut without_data, &[1]), Err(MapError::NoSpace));
        assert_eq!(word(&without_data, DATA_SIZE), 0);
    }

    #[test]
    fn a_ring_that_nobody_may_write_overwrites_the_oldest() {
        let mut ring = ring(RingUse { overwrites: true, ..how(1) });
        for _ in 0..1000 {
            send(&mut ring, &[1; 20]).unwrap();
        }
        assert_eq!(word(&ring, HEAD), 32_000);
        assert_eq!(send(&mut ring, &[0; PAGE_SIZE]), Err(MapError::NoSpace));
    }

    /// The numbers are those that Linux 6.18 woke at.
    #[test]
    fn the_reader_is_woken_by_records_or_bytes() {
        let woken = |how: RingUse, count: usize| -> Vec<usize> {
            let mut ring = ring(how);
            (0..count).filter(|_| send(&mut ring, &[0; 8]).unwrap()).collect()
        };
        let silent = RingUse { wake_records: 0, ..how(1) };
        assert_eq!(woken(RingUse { wake_records: 3, ..silent }, 9), [2, 5, 8]);
        assert_eq!(woken(RingUse { wake_bytes: 100, ..silent }, 21), [4, 8, 12, 16, 20]);
        assert_eq!(woken(silent, 90), [85], "half of the buffer");
        assert_eq!(woken(how(1), 3), [0, 1, 2]);
    }

    #[test]
    fn a_lying_reader_only_makes_the_ring_look_fuller_or_emptier() {
        let mut ring = ring(how(1));
        for tail in [1, 7, u64::MAX, 1 << 40, 1 << 63, 12] {
            ring.word(TAIL).unwrap().store(tail, Ordering::Release);
            for length in [0, 3, 500, 2000, 4000] {
                let _ = send(&mut ring, &vec![9; length]);
                assert!(ring.head.is_multiple_of(8));
            }
        }
        ring.word(HEAD).unwrap().store(3, Ordering::Release);
        ring.word(TAIL).unwrap().store(ring.head, Ordering::Release);
        send(&mut ring, &[1]).unwrap();
        assert_eq!(word(&ring, HEAD), ring.head, "the kernel has its own count");
    }
}
