//! What the node of a PCI host bridge says (PCI Bus Binding to Open Firmware): windows of
//! addresses, and how interrupt pins are wired.

use crate::{Device, Interrupt, cell, number};

/// Cells of a PCI address: space and function, then a number of two cells.
const ADDRESS_CELLS: usize = 3;
const CELL: usize = 4;

/// A range of addresses that a host bridge hands to its buses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciWindow {
    /// As devices see it.
    pub bus_address: u64,
    /// As CPUs see it.
    pub cpu_address: u64,
    pub length: u64,
}

/// The windows of a host bridge's `ranges` for memory below 4 GiB of bus addresses that is not
/// prefetchable: what every device can be put into.
#[derive(Clone, Debug)]
pub struct PciWindows<'a>(&'a [u8]);

impl<'a> PciWindows<'a> {
    /// The windows of a bridge whose parent counts addresses in two cells.
    #[must_use]
    pub fn of(bridge: &Device<'a>) -> Self {
        Self(bridge.property("ranges").unwrap_or_default())
    }
}

impl Iterator for PciWindows<'_> {
    type Item = PciWindow;

    fn next(&mut self) -> Option<PciWindow> {
        const ENTRY: usize = (ADDRESS_CELLS + 2 + 2) * CELL;
        const SPACE: u32 = 0x4300_0000;
        const MEMORY_32: u32 = 0x0200_0000;
        loop {
            let (entry, rest) = self.0.split_at_checked(ENTRY)?;
            self.0 = rest;
            if cell(entry)? & SPACE == MEMORY_32 {
                return Some(PciWindow {
                    bus_address: number(entry.get(4..)?, 2)?,
                    cpu_address: number(entry.get(12..)?, 2)?,
                    length: number(entry.get(20..)?, 2)?,
                });
            }
        }
    }
}

/// One way from an interrupt pin to the interrupt controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciRoute {
    /// The slot, as far as the wiring tells slots apart ([`PciInterrupts::slot_mask`]).
    pub slot: u8,
    /// 0 is INTA.
    pub pin: u8,
    pub interrupt: Interrupt,
}

/// The entries of a host bridge's `interrupt-map`.
#[derive(Clone, Debug)]
pub struct PciInterrupts<'a> {
    rest: &'a [u8],
    /// Bytes of the interrupt controller's unit address in each entry.
    unit: usize,
    /// Cells that describe an interrupt.
    cells: usize,
    /// Which bits of a slot's number the wiring looks at.
    pub slot_mask: u8,
}

impl<'a> PciInterrupts<'a> {
    /// The wiring to `controller`, the only one that the entries may name.
    #[must_use]
    pub fn of(bridge: &Device<'a>, controller: &Device<'a>) -> Self {
        let mask = bridge.property("interrupt-map-mask").and_then(cell).unwrap_or(0xf800);
        Self {
            rest: bridge.property("interrupt-map").unwrap_or_default(),
            unit: controller.cells("#address-cells").unwrap_or(0) * CELL,
            cells: controller.interrupt_cells(),
            slot_mask: slot(mask),
        }
    }
}

/// The slot in the first cell of a PCI address.
fn slot(cell: u32) -> u8 {
    (cell >> 11 & 31) as u8
}

impl Iterator for PciInterrupts<'_> {
    type Item = PciRoute;

    fn next(&mut self) -> Option<PciRoute> {
        // Address, pin, the controller's handle and unit address, the interrupt.
        let before = (ADDRESS_CELLS + 1 + 1) * CELL + self.unit;
        let (entry, rest) =
            self.rest.split_at_checked(before.checked_add(self.cells.checked_mul(CELL)?)?)?;
        self.rest = rest;
        let pin = cell(entry.get(ADDRESS_CELLS * CELL..)?)?.checked_sub(1)? as u8;
        let interrupt = Interrupt::read(entry.get(before..)?, self.cells)?;
        Some(PciRoute { slot: slot(cell(entry)?), pin, interrupt })
    }
}
