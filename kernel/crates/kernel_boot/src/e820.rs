//! The memory table of PC firmware: what the BIOS function INT 15h, AX=E820h lists (ACPI
//! Specification 6.5, section 15), as both boot protocols pass it on.

use crate::bytes::{u32_at, u64_at};
use crate::memory_map::MemoryKind;

/// A range of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct E820Entry {
    pub start: u64,
    pub length: u64,
    pub kind: MemoryKind,
}

/// The table: entries of `stride` bytes that begin {u64 start, u64 length, u32 type}.
#[derive(Clone, Copy, Debug, Default)]
pub struct E820Table<'a> {
    bytes: &'a [u8],
    stride: usize,
}

/// Bytes that are read of an entry.
const ENTRY: usize = 20;

impl<'a> E820Table<'a> {
    /// A table whose entries are `stride` bytes apart; one that is too small has no entries.
    pub fn new(bytes: &'a [u8], stride: usize) -> Self {
        if stride < ENTRY { Self::default() } else { Self { bytes, stride } }
    }

    /// The entries, in the table's order.
    pub fn entries(&self) -> impl Iterator<Item = E820Entry> {
        self.bytes.chunks_exact(self.stride.max(ENTRY)).filter_map(|entry| {
            let kind = match u32_at(entry, 16)? {
                1 => MemoryKind::Usable,
                3 => MemoryKind::AcpiReclaimable,
                _ => MemoryKind::Reserved,
            };
            Some(E820Entry { start: u64_at(entry, 0)?, length: u64_at(entry, 8)?, kind })
        })
    }
}
