//! The root pointer and the root table (sections 5.2.5, 5.2.7, 5.2.8).

use crate::bytes::{u8_at, u32_at, u64_at};
use crate::tables::{HEADER_SIZE, checksum_is_right};

/// Where the root table is, and how wide its entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rsdp {
    pub root_table: u64,
    /// XSDT: 8-byte entries. Otherwise RSDT: 4-byte entries.
    pub extended: bool,
}

impl Rsdp {
    /// Reads a root pointer of version 1 (20 bytes) or 2 (36 bytes).
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..8)? != b"RSD PTR " || !checksum_is_right(bytes.get(..20)?) {
            return None;
        }
        let revision = u8_at(bytes, 15)?;
        if revision >= 2
            && bytes.get(..36).is_some_and(checksum_is_right)
            && let Some(root_table) = u64_at(bytes, 24).filter(|&address| address != 0)
        {
            return Some(Self { root_table, extended: true });
        }
        Some(Self { root_table: u64::from(u32_at(bytes, 16)?), extended: false })
    }
}

/// The physical addresses in an RSDT or XSDT.
pub fn root_entries(table: &[u8], extended: bool) -> impl Iterator<Item = u64> {
    let size = if extended { 8 } else { 4 };
    table.get(HEADER_SIZE..).unwrap_or(&[]).chunks_exact(size).filter_map(move |entry| {
        if extended { u64_at(entry, 0) } else { u32_at(entry, 0).map(u64::from) }
    })
}

#[cfg(test)]
mod tests {
    use super::{Rsdp, root_entries};
    use std::vec::Vec;

    fn pointer(revision: u8) -> Vec<u8> {
        let mut bytes = b"RSD PTR \0LEMMA \0".to_vec();
        bytes[15] = revision;
        bytes.extend(0x1234_5678u32.to_le_bytes());
        bytes[8] = 0u8.wrapping_sub(bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte)));
        bytes.extend(36u32.to_le_bytes());
        bytes.extend(0x1_0000_0000u64.to_le_bytes());
        bytes.extend([0; 4]);
        bytes[32] = 0u8.wrapping_sub(bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte)));
        bytes
    }

    #[test]
    fn version_one_leads_to_the_rsdt() {
        assert_eq!(
            Rsdp::read(&pointer(0)),
            Some(Rsdp { root_table: 0x1234_5678, extended: false })
        );
    }

    #[test]
    fn version_two_leads_to_the_xsdt() {
        assert_eq!(
            Rsdp::read(&pointer(2)),
            Some(Rsdp { root_table: 0x1_0000_0000, extended: true })
        );
    }

    #[test]
    fn damage_is_refused_or_falls_back() {
        let mut bytes = pointer(2);
        bytes[24] ^= 1;
        assert_eq!(Rsdp::read(&bytes), Some(Rsdp { root_table: 0x1234_5678, extended: false }));
        bytes[16] ^= 1;
        assert_eq!(Rsdp::read(&bytes), None);
        assert_eq!(Rsdp::read(&[]), None);
    }

    #[test]
    fn root_entries_have_both_widths() {
        let mut table = std::vec![0; 36];
        table.extend(7u32.to_le_bytes());
        table.extend(9u32.to_le_bytes());
        assert_eq!(root_entries(&table, false).collect::<Vec<_>>(), [7, 9]);
        assert_eq!(root_entries(&table, true).collect::<Vec<_>>(), [7 | 9 << 32]);
    }
}
