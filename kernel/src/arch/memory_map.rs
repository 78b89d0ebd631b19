//! Makes one clean memory map of what firmware says.
//!
//! Firmware tables may be unsorted and may overlap. [`MemoryMap`] collects ranges and then
//! yields ascending, disjoint, merged regions; where ranges overlap, the more cautious kind
//! wins. No allocation: it runs before there is memory to allocate.

use super::traits::{MemoryKind, MemoryRegion, PAGE_SIZE, PhysAddr};

/// How many ranges are kept; the kernel's own come first, so no overflow loses them.
const CAPACITY: usize = 96;

const EMPTY: MemoryRegion =
    MemoryRegion { start: PhysAddr(0), length: 0, kind: MemoryKind::Reserved };

/// A growing memory map.
pub(super) struct MemoryMap {
    ranges: [MemoryRegion; CAPACITY],
    count: usize,
}

/// Where kinds overlap, the highest rank wins.
fn rank(kind: MemoryKind) -> u8 {
    match kind {
        MemoryKind::Usable => 0,
        MemoryKind::AcpiReclaimable => 1,
        MemoryKind::Kernel => 2,
        MemoryKind::Reserved => 3,
    }
}

impl MemoryMap {
    /// An empty map.
    pub(super) const fn new() -> Self {
        Self { ranges: [EMPTY; CAPACITY], count: 0 }
    }

    /// Adds a range. Usable ranges shrink to whole pages, all others grow to them.
    pub(super) fn add(&mut self, start: u64, length: u64, kind: MemoryKind) {
        let page = PAGE_SIZE as u64;
        let end = start.saturating_add(length);
        let (start, end) = if kind == MemoryKind::Usable {
            (start.next_multiple_of(page), end / page * page)
        } else {
            (start / page * page, end.checked_next_multiple_of(page).unwrap_or(end))
        };
        if start >= end {
            return;
        }
        if let Some(slot) = self.ranges.get_mut(self.count) {
            *slot = MemoryRegion { start: PhysAddr(start), length: end - start, kind };
            self.count += 1;
        }
    }

    /// The kind that holds for the bytes just after `address`, and where that may end.
    fn at(&self, address: u64) -> (Option<MemoryKind>, u64) {
        let mut kind: Option<MemoryKind> = None;
        let mut next = u64::MAX;
        for range in self.ranges.iter().take(self.count) {
            let (start, end) = (range.start.0, range.start.0 + range.length);
            if start <= address && address < end {
                if kind.is_none_or(|other| rank(other) < rank(range.kind)) {
                    kind = Some(range.kind);
                }
                next = next.min(end);
            } else if address < start {
                next = next.min(start);
            }
        }
        (kind, next)
    }

    /// Writes the clean map to `out`; returns how many regions it has. Stops when `out` is full.
    pub(super) fn normalize(&self, out: &mut [MemoryRegion]) -> usize {
        let mut count: usize = 0;
        let mut address = 0;
        while address != u64::MAX {
            let (kind, next) = self.at(address);
            if let Some(kind) = kind {
                let previous = count.checked_sub(1).and_then(|last| out.get_mut(last));
                match previous {
                    Some(last) if last.kind == kind && last.start.0 + last.length == address => {
                        last.length += next - address;
                    }
                    _ => match out.get_mut(count) {
                        Some(slot) => {
                            let start = PhysAddr(address);
                            *slot = MemoryRegion { start, length: next - address, kind };
                            count += 1;
                        }
                        None => return count,
                    },
                }
            }
            address = next;
        }
        count
    }
}
