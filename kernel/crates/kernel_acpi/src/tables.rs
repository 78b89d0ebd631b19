//! What all tables share, and the small ones: HPET and MCFG.

use crate::bytes::{u8_at, u16_at, u32_at, u64_at};

/// Bytes of the header that every table begins with (section 5.2.6).
pub const HEADER_SIZE: usize = 36;

/// A table's four-letter name and its length, from at least its first 8 bytes.
pub fn signature_and_length(header: &[u8]) -> Option<([u8; 4], usize)> {
    let signature = header.get(..4)?.try_into().ok()?;
    Some((signature, u32_at(header, 4)? as usize))
}

/// All bytes of a table sum to zero.
pub fn checksum_is_right(table: &[u8]) -> bool {
    table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)) == 0
}

/// The high-precision event timer (IA-PC HPET Specification 1.0a, section 3.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hpet {
    pub address: u64,
}

impl Hpet {
    pub fn read(table: &[u8]) -> Option<Self> {
        let in_memory = u8_at(table, 40)? == 0;
        let address = u64_at(table, 44)?;
        (in_memory && address != 0).then_some(Self { address })
    }
}

/// One PCI segment's memory-mapped configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct McfgEntry {
    /// Where bus 0 is (or would be).
    pub address: u64,
    pub segment: u16,
    pub first_bus: u8,
    pub last_bus: u8,
}

/// The list of them (PCI Firmware Specification 3.3, section 4.1.2).
#[derive(Clone, Copy, Debug)]
pub struct Mcfg<'a>(&'a [u8]);

impl<'a> Mcfg<'a> {
    pub fn read(table: &'a [u8]) -> Self {
        Self(table.get(44..).unwrap_or(&[]))
    }

    pub fn entries(&self) -> impl Iterator<Item = McfgEntry> {
        self.0.chunks_exact(16).filter_map(|entry| {
            Some(McfgEntry {
                address: u64_at(entry, 0)?,
                segment: u16_at(entry, 8)?,
                first_bus: u8_at(entry, 10)?,
                last_bus: u8_at(entry, 11)?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Hpet, Mcfg, McfgEntry};
    use std::vec::Vec;

    #[test]
    fn an_hpet_in_memory_is_found() {
        let mut table = std::vec![0u8; 56];
        table[44..52].copy_from_slice(&0xfed0_0000u64.to_le_bytes());
        assert_eq!(Hpet::read(&table), Some(Hpet { address: 0xfed0_0000 }));
        table[40] = 1;
        assert_eq!(Hpet::read(&table), None);
        assert_eq!(Hpet::read(&table[..50]), None);
    }

    #[test]
    fn mcfg_entries_are_listed_and_a_torn_one_is_not() {
        let mut table = std::vec![0u8; 44];
        table.extend(0xb000_0000u64.to_le_bytes());
        table.extend([0, 0, 0, 255, 0, 0, 0, 0]);
        table.extend([1, 2, 3]);
        let expected = McfgEntry { address: 0xb000_0000, segment: 0, first_bus: 0, last_bus: 255 };
        assert_eq!(Mcfg::read(&table).entries().collect::<Vec<_>>(), [expected]);
        assert_eq!(Mcfg::read(&[]).entries().count(), 0);
    }
}
