//! The interrupt controllers and the CPUs (section 5.2.12).

use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use crate::tables::HEADER_SIZE;

/// What makes an interrupt line active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    High,
    Low,
}

/// What part of a signal counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Edge,
    Level,
}

/// An entry that the kernel uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadtEntry {
    /// A CPU; `usable`: it may be started.
    Cpu {
        apic_id: u32,
        usable: bool,
    },
    IoApic {
        address: u32,
        first_interrupt: u32,
    },
    /// An ISA interrupt that is wired otherwise than one to one, edge and active high.
    Override {
        isa: u8,
        interrupt: u32,
        polarity: Polarity,
        trigger: Trigger,
    },
    /// The local APIC's address does not fit the header's 32 bits.
    LocalApicAddress(u64),
}

/// The multiple-APIC description table.
#[derive(Clone, Copy, Debug)]
pub struct Madt<'a> {
    pub local_apic: u32,
    entries: &'a [u8],
}

impl<'a> Madt<'a> {
    pub fn read(table: &'a [u8]) -> Option<Self> {
        let entries = table.get(HEADER_SIZE + 8..)?;
        Some(Self { local_apic: u32_at(table, HEADER_SIZE)?, entries })
    }

    /// The entries of the kinds above; others are passed over.
    pub fn entries(&self) -> Entries<'a> {
        Entries(self.entries)
    }
}

/// Iterates over a MADT.
#[derive(Clone, Debug)]
pub struct Entries<'a>(&'a [u8]);

fn decode(entry: &[u8]) -> Option<MadtEntry> {
    /// Enabled, or online-capable.
    const USABLE: u32 = 3;
    match u8_at(entry, 0)? {
        0 => Some(MadtEntry::Cpu {
            apic_id: u32::from(u8_at(entry, 3)?),
            usable: u32_at(entry, 4)? & USABLE != 0,
        }),
        1 => Some(MadtEntry::IoApic {
            address: u32_at(entry, 4)?,
            first_interrupt: u32_at(entry, 8)?,
        }),
        2 => {
            let flags = u16_at(entry, 8)?;
            // Table 5.26: 0 means "as the bus has it", and ISA is edge, active high.
            Some(MadtEntry::Override {
                isa: u8_at(entry, 3)?,
                interrupt: u32_at(entry, 4)?,
                polarity: if flags & 3 == 3 { Polarity::Low } else { Polarity::High },
                trigger: if flags >> 2 & 3 == 3 { Trigger::Level } else { Trigger::Edge },
            })
        }
        5 => Some(MadtEntry::LocalApicAddress(u64_at(entry, 4)?)),
        9 => Some(MadtEntry::Cpu {
            apic_id: u32_at(entry, 4)?,
            usable: u32_at(entry, 8)? & USABLE != 0,
        }),
        _ => None,
    }
}

impl Iterator for Entries<'_> {
    type Item = MadtEntry;

    fn next(&mut self) -> Option<MadtEntry> {
        loop {
            let length = usize::from(u8_at(self.0, 1)?);
            if length < 2 {
                return None;
            }
            let (entry, rest) = self.0.split_at_checked(length)?;
            self.0 = rest;
            if let Some(decoded) = decode(entry) {
                return Some(decoded);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Madt, MadtEntry, Polarity, Trigger};
    use std::vec::Vec;

    #[test]
    fn a_q35_like_table_is_read() {
        let mut table = std::vec![0u8; 36];
        table.extend(0xfee0_0000u32.to_le_bytes());
        table.extend(1u32.to_le_bytes());
        table.extend([0, 8, 0, 0, 1, 0, 0, 0]);
        table.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        table.extend([2, 10, 0, 5, 5, 0, 0, 0, 0x0d, 0]);
        table.extend([4, 6, 0xff, 0, 0, 1]);
        table.extend([9, 16, 0, 0, 44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let madt = Madt::read(&table).unwrap();
        assert_eq!(madt.local_apic, 0xfee0_0000);
        assert_eq!(
            madt.entries().collect::<Vec<_>>(),
            [
                MadtEntry::Cpu { apic_id: 0, usable: true },
                MadtEntry::IoApic { address: 0xfec0_0000, first_interrupt: 0 },
                MadtEntry::Override {
                    isa: 5,
                    interrupt: 5,
                    polarity: Polarity::High,
                    trigger: Trigger::Level
                },
                MadtEntry::Cpu { apic_id: 300, usable: false },
            ]
        );
    }

    #[test]
    fn damage_ends_the_list() {
        let mut table = std::vec![0u8; 44];
        table.extend([0, 0, 0, 0]);
        assert_eq!(Madt::read(&table).unwrap().entries().count(), 0);
        table.truncate(44);
        table.extend([0, 8, 0]);
        assert_eq!(Madt::read(&table).unwrap().entries().count(), 0);
        assert!(Madt::read(&table[..40]).is_none());
    }
}
