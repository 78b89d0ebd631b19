//! One clean memory map of what firmware says.
//!
//! Firmware's tables may be unsorted and may overlap. [`MemoryMap`] collects ranges and then
//! gives out ascending, disjoint, merged ones; where ranges overlap, the more cautious kind
//! wins.

/// Bytes in a page.
const PAGE: u64 = 4096;
/// How many ranges are kept. Those that must not be lost are added first.
const CAPACITY: usize = 96;

/// What firmware says of a range of physical memory. In ascending caution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryKind {
    /// RAM that nothing uses.
    Usable,
    /// RAM that holds ACPI tables; may be reclaimed when they have been read.
    AcpiReclaimable,
    /// RAM that holds the kernel image or what the boot protocol passed.
    Kernel,
    /// Anything else: never touched.
    Reserved,
}

#[derive(Clone, Copy)]
struct Range {
    start: u64,
    end: u64,
    kind: MemoryKind,
}

/// A growing memory map.
pub struct MemoryMap {
    ranges: [Range; CAPACITY],
    count: usize,
}

impl MemoryMap {
    /// An empty map.
    pub const fn new() -> Self {
        let empty = Range { start: 0, end: 0, kind: MemoryKind::Reserved };
        Self { ranges: [empty; CAPACITY], count: 0 }
    }

    /// Adds a range. Usable ranges shrink to whole pages, all others grow to them. Returns
    /// `false` if there is no room: the range is then unknown, so not used.
    pub fn add(&mut self, start: u64, length: u64, kind: MemoryKind) -> bool {
        let end = start.saturating_add(length);
        let (start, end) = if kind == MemoryKind::Usable {
            (start.checked_next_multiple_of(PAGE).unwrap_or(end), end / PAGE * PAGE)
        } else {
            (start / PAGE * PAGE, end.checked_next_multiple_of(PAGE).unwrap_or(end))
        };
        if start >= end {
            return true;
        }
        let Some(slot) = self.ranges.get_mut(self.count) else { return false };
        *slot = Range { start, end, kind };
        self.count += 1;
        true
    }

    /// The kind that holds from `address` on, and where that may end.
    fn at(&self, address: u64) -> (Option<MemoryKind>, u64) {
        let mut kind: Option<MemoryKind> = None;
        let mut next = u64::MAX;
        for range in self.ranges.iter().take(self.count) {
            if (range.start..range.end).contains(&address) {
                kind = kind.max(Some(range.kind));
                next = next.min(range.end);
            } else if address < range.start {
                next = next.min(range.start);
            }
        }
        (kind, next)
    }

    /// Whether a range, which is not empty, is RAM that nothing uses, from its first byte to its
    /// last.
    pub fn is_usable(&self, start: u64, length: u64) -> bool {
        let Some(end) = start.checked_add(length) else { return false };
        let mut address = start;
        while address < end {
            let (kind, next) = self.at(address);
            if kind != Some(MemoryKind::Usable) {
                return false;
            }
            address = next;
        }
        length > 0
    }

    /// Hands out the clean map, ascending: start, length, kind.
    pub fn for_each(&self, mut each: impl FnMut(u64, u64, MemoryKind)) {
        let mut pending: Option<Range> = None;
        let mut address = 0;
        while address != u64::MAX {
            let (kind, next) = self.at(address);
            match (&mut pending, kind) {
                (Some(last), Some(kind)) if last.kind == kind && last.end == address => {
                    last.end = next;
                }
                (_, kind) => {
                    if let Some(done) = pending.take() {
                        each(done.start, done.end - done.start, done.kind);
                    }
                    pending = kind.map(|kind| Range { start: address, end: next, kind });
                }
            }
            address = next;
        }
        if let Some(done) = pending {
            each(done.start, done.end - done.start, done.kind);
        }
    }
}

impl Default for MemoryMap {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY, MemoryKind, MemoryMap};
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
    use std::vec::Vec;

    fn clean(ranges: &[(u64, u64, MemoryKind)]) -> Vec<(u64, u64, MemoryKind)> {
        let mut map = MemoryMap::new();
        for &(start, length, kind) in ranges {
            map.add(start, length, kind);
        }
        let mut out = Vec::new();
        map.for_each(|start, length, kind| out.push((start, length, kind)));
        out
    }

    #[test]
    fn the_kernel_is_carved_out_of_ram() {
        use MemoryKind::{Kernel, Usable};
        assert_eq!(
            clean(&[(0x10_0000, 0x10_0000, Kernel), (0x10_0000, 0x100_0000, Usable)]),
            [(0x10_0000, 0x10_0000, Kernel), (0x20_0000, 0xf0_0000, Usable)]
        );
    }

    #[test]
    fn neighbours_of_a_kind_are_merged_and_odd_ends_rounded() {
        use MemoryKind::{Reserved, Usable};
        assert_eq!(
            clean(&[(0x2000, 0x1000, Usable), (0x800, 0x1800, Usable), (0x3001, 1, Reserved)]),
            [(0x1000, 0x2000, Usable), (0x3000, 0x1000, Reserved)]
        );
    }

    #[test]
    fn the_end_of_the_address_space_is_no_trap() {
        use MemoryKind::{Reserved, Usable};
        let ranges = clean(&[(u64::MAX - 10, u64::MAX, Reserved), (u64::MAX, 5, Usable)]);
        assert_eq!(ranges.len(), 1);
        assert_eq!(clean(&[(0, 0, Usable)]), []);
    }

    #[test]
    fn only_whole_free_ranges_are_usable() {
        use MemoryKind::{Kernel, Usable};
        let mut map = MemoryMap::new();
        map.add(0x4000, 0x1000, Kernel);
        map.add(0x1000, 0x7000, Usable);
        map.add(0x8000, 0x1000, Usable);
        for (start, length) in [(0x1000, 0x3000), (0x1001, 1), (0x5000, 0x4000)] {
            assert!(map.is_usable(start, length), "{start:#x} {length:#x}");
        }
        for (start, length) in [
            (0x1000, 0),
            (0, 0x2000),
            (0x3fff, 2),
            (0x1000, 0x5000),
            (0x8000, 0x1001),
            (0x8000, u64::MAX),
            (u64::MAX, 1),
        ] {
            assert!(!map.is_usable(start, length), "{start:#x} {length:#x}");
        }
    }

    #[test]
    fn too_many_ranges_are_refused() {
        let mut map = MemoryMap::new();
        for index in 0..CAPACITY as u64 {
            assert!(map.add(index * 0x2000, 0x1000, MemoryKind::Usable));
        }
        assert!(!map.add(0, 0x1000, MemoryKind::Usable));
    }

    fn kind() -> impl Strategy<Value = MemoryKind> {
        prop::sample::select(std::vec![
            MemoryKind::Usable,
            MemoryKind::AcpiReclaimable,
            MemoryKind::Kernel,
            MemoryKind::Reserved,
        ])
    }

    proptest! {
        /// Every page has the most cautious kind that was said of it, and no page another.
        #[test]
        fn each_page_has_the_most_cautious_kind(
            ranges in prop::collection::vec((0u64..40, 0u64..12, kind()), 0..20),
        ) {
            let pages: Vec<_> =
                ranges.iter().map(|&(start, count, kind)| (start << 12, count << 12, kind)).collect();
            let out = clean(&pages);
            for pair in out.windows(2) {
                prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0, "ascending and disjoint");
            }
            for page in 0u64..64 {
                let said = |list: &[(u64, u64, MemoryKind)]| {
                    list.iter()
                        .filter(|(start, length, _)| (*start..start + length).contains(&(page << 12)))
                        .map(|&(_, _, kind)| kind)
                        .max()
                };
                prop_assert_eq!(said(&out), said(&pages));
            }
        }

        #[test]
        fn any_ranges_end_in_order(
            ranges in prop::collection::vec((any::<u64>(), any::<u64>(), kind()), 0..30),
        ) {
            let out = clean(&ranges);
            for pair in out.windows(2) {
                prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0);
            }
        }
    }
}
