//! Power: the fixed table (section 5.2.9) and the sleep type of S5 (section 7.4.2).

use crate::bytes::{u8_at, u16_at, u32_at, u64_at};

/// Where a register is (section 5.2.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenericAddress {
    Memory(u64),
    Port(u16),
}

/// What the kernel needs of the fixed ACPI description table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fadt {
    /// The DSDT's physical address.
    pub dsdt: u64,
    /// Ports of the power-management control registers; 0 where there is none.
    pub pm1a_control: u16,
    pub pm1b_control: u16,
    /// What to write to which port so that firmware leaves these registers to the kernel.
    pub enable: Option<(u16, u8)>,
    /// The register that takes their place on machines without fixed hardware.
    pub sleep_control: Option<GenericAddress>,
    /// Port of the 3.579545 MHz timer; 0 if there is none.
    pub pm_timer: u16,
    /// The timer has 32 bits, not 24.
    pub pm_timer_32: bool,
    /// Where to write what for a reset.
    pub reset: Option<(GenericAddress, u8)>,
}

const RESET_SUPPORTED: u32 = 1 << 10;
const HARDWARE_REDUCED: u32 = 1 << 20;
const TIMER_32_BITS: u32 = 1 << 8;

impl Fadt {
    pub fn read(table: &[u8]) -> Option<Self> {
        let flags = u32_at(table, 112)?;
        let port = |offset| u32_at(table, offset).and_then(|port| u16::try_from(port).ok());
        let reset = (flags & RESET_SUPPORTED != 0)
            .then(|| Some((generic_address(table, 116)?, u8_at(table, 128)?)))
            .flatten();
        let sleep_control =
            (flags & HARDWARE_REDUCED != 0).then(|| generic_address(table, 244)).flatten();
        let command = port(48)?;
        let enable = u8_at(table, 52).filter(|&value| command != 0 && value != 0);
        let wide_dsdt = u64_at(table, 140).filter(|&address| address != 0);
        Some(Self {
            dsdt: wide_dsdt.unwrap_or(u64::from(u32_at(table, 40)?)),
            pm1a_control: port(64)?,
            pm1b_control: port(68)?,
            enable: enable.map(|value| (command, value)),
            sleep_control,
            pm_timer: port(76)?,
            pm_timer_32: flags & TIMER_32_BITS != 0,
            reset,
        })
    }
}

/// A register in memory or at a port; `None` for other places, and for none.
fn generic_address(table: &[u8], offset: usize) -> Option<GenericAddress> {
    let address = u64_at(table, offset + 4).filter(|&address| address != 0)?;
    match u8_at(table, offset)? {
        0 => Some(GenericAddress::Memory(address)),
        1 => Some(GenericAddress::Port(u16::try_from(address).ok()?)),
        _ => None,
    }
}

/// The two sleep types that power off, out of the DSDT's `\_S5` package, found by its bytes:
/// `Name (_S5, Package () { a, b, … })` is encoded as NameOp, name, PackageOp, length, count
/// and then small integers (section 20.2).
pub fn sleep_type_s5(dsdt: &[u8]) -> Option<(u16, u16)> {
    let windows = dsdt.windows(4).enumerate();
    let mut named = windows.filter(|(_, window)| *window == b"_S5_").map(|(at, _)| at);
    named.find_map(|at| package_at(dsdt, at))
}

/// The first two integers of the package that is named by the four bytes at `at`.
fn package_at(dsdt: &[u8], at: usize) -> Option<(u16, u16)> {
    const NAME_OP: u8 = 0x08;
    const PACKAGE_OP: u8 = 0x12;
    let named = at.checked_sub(1).and_then(|before| u8_at(dsdt, before)) == Some(NAME_OP)
        || at.checked_sub(2).and_then(|before| dsdt.get(before..at)) == Some(&[NAME_OP, b'\\']);
    if !named || u8_at(dsdt, at + 4)? != PACKAGE_OP {
        return None;
    }
    // The length takes one byte, and as many more as its top two bits say.
    let length_bytes = usize::from(u8_at(dsdt, at + 5)? >> 6) + 1;
    let first = at + 5 + length_bytes + 1;
    let (a, size) = integer(dsdt, first)?;
    let (b, _) = integer(dsdt, first + size)?;
    Some((a, b))
}

/// A small AML integer, and how many bytes it takes.
fn integer(aml: &[u8], offset: usize) -> Option<(u16, usize)> {
    match u8_at(aml, offset)? {
        0x00 => Some((0, 1)),
        0x01 => Some((1, 1)),
        0x0a => Some((u16::from(u8_at(aml, offset + 1)?), 2)),
        0x0b => Some((u16_at(aml, offset + 1)?, 3)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Fadt, GenericAddress, sleep_type_s5};

    #[test]
    fn s5_is_found_in_both_encodings() {
        let qemu = b"..\x08_S5_\x12\x06\x04\x00\x00\x00\x00";
        assert_eq!(sleep_type_s5(qemu), Some((0, 0)));
        let board = b"..\x08\\_S5_\x12\x4a\x00\x04\x0a\x07\x0a\x05\x00\x00";
        assert_eq!(sleep_type_s5(board), Some((7, 5)));
        let named_before = [b"\x0d_S5_\x00", &board[..]].concat();
        assert_eq!(sleep_type_s5(&named_before), Some((7, 5)));
    }

    #[test]
    fn what_is_not_a_package_is_not_s5() {
        assert_eq!(sleep_type_s5(b"_S5_"), None);
        assert_eq!(sleep_type_s5(b"\x08_S5_\x11\x06\x04\x00"), None);
        assert_eq!(sleep_type_s5(b"\x08_S5_\x12\x06\x04"), None);
        assert_eq!(sleep_type_s5(b""), None);
    }

    #[test]
    fn the_fixed_table_is_read() {
        let mut table = std::vec![0u8; 268];
        table[40..44].copy_from_slice(&0x7ffe_0040u32.to_le_bytes());
        table[64..68].copy_from_slice(&0x604u32.to_le_bytes());
        table[76..80].copy_from_slice(&0x608u32.to_le_bytes());
        table[112..116].copy_from_slice(&(1u32 << 10).to_le_bytes());
        table[116] = 1;
        table[120..128].copy_from_slice(&0xcf9u64.to_le_bytes());
        table[128] = 0xf;
        let fadt = Fadt::read(&table).unwrap();
        assert_eq!(fadt.dsdt, 0x7ffe_0040);
        assert_eq!((fadt.pm1a_control, fadt.pm1b_control, fadt.pm_timer), (0x604, 0, 0x608));
        assert_eq!(fadt.reset, Some((GenericAddress::Port(0xcf9), 0xf)));
        assert_eq!((fadt.enable, fadt.sleep_control), (None, None));
        assert_eq!(Fadt::read(&table[..100]), None);
        table[48] = 0xb2;
        assert_eq!(Fadt::read(&table).unwrap().enable, None, "nothing to write");
        table[52] = 0xf1;
        assert_eq!(Fadt::read(&table).unwrap().enable, Some((0xb2, 0xf1)));
        table[248..256].copy_from_slice(&0xfea0_0200u64.to_le_bytes());
        assert_eq!(Fadt::read(&table).unwrap().sleep_control, None, "there is fixed hardware");
        table[114] = 1 << 4;
        let reduced = Fadt::read(&table).unwrap();
        assert_eq!(reduced.sleep_control, Some(GenericAddress::Memory(0xfea0_0200)));
        assert_eq!(Fadt::read(&table[..244]).unwrap().sleep_control, None);
    }
}
