//! A device: a node with registers and interrupts.

use dtoolkit::fdt::FdtNode;
use dtoolkit::{Node, Property};

use crate::{cell, text};

/// An interrupt as a controller numbers and describes it: in three cells, as Arm's do, or in
/// one, as RISC-V's PLIC does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// The number by which the controller knows it; Arm's shared ones are from 32, a CPU's own
    /// from 16.
    pub number: u32,
    /// Asserted until served, rather than by an edge.
    pub level: bool,
}

impl Interrupt {
    /// Reads so many cells. Three: kind (0 shared, 1 a CPU's own), number within its kind, flags.
    /// One: the number.
    pub(crate) fn read(cells: &[u8], count: usize) -> Option<Self> {
        const EDGES: u32 = 0b11;
        match count {
            1 => return Some(Self { number: cell(cells)?, level: true }),
            3 => {}
            _ => return None,
        }
        let base = match cell(cells)? {
            0 => 32,
            1 => 16,
            _ => return None,
        };
        let number = cell(cells.get(4..)?)?.checked_add(base).filter(|&number| number < 1020)?;
        Some(Self { number, level: cell(cells.get(8..)?)? & EDGES == 0 })
    }
}

/// How many cells describe an interrupt of Arm's controllers.
const ARM_CELLS: usize = 3;

/// A node of the tree that stands for a device.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a>(pub(crate) FdtNode<'a>);

impl<'a> Device<'a> {
    /// The bytes of a property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&'a [u8]> {
        self.0.property(name)?.value_as().ok()
    }

    /// Whether this is one of the names by which a driver knows the device.
    #[must_use]
    pub fn is_compatible(&self, name: &str) -> bool {
        let list = self.property("compatible").unwrap_or_default();
        list.split(|&byte| byte == 0).any(|entry| entry == name.as_bytes())
    }

    /// Whether the device may be used: it does not say that it is disabled.
    #[must_use]
    pub fn is_used(&self) -> bool {
        matches!(self.property("status").map(text), None | Some(b"okay" | b"ok"))
    }

    /// Start and length of each range of registers, as the parent's cells have them.
    pub fn registers(&self) -> impl Iterator<Item = (u64, u64)> + 'a {
        let list = self.0.reg().ok().flatten();
        list.into_iter()
            .flatten()
            .filter_map(|range| Some((range.address().ok()?, range.size().ok()?)))
    }

    /// The interrupt with this index, of an interrupt controller of Arm's.
    #[must_use]
    pub fn interrupt(&self, index: usize) -> Option<Interrupt> {
        self.interrupt_of(index, ARM_CELLS)
    }

    /// The interrupt with this index, which is `controller`'s.
    #[must_use]
    pub fn interrupt_at(&self, index: usize, controller: &Device<'_>) -> Option<Interrupt> {
        self.interrupt_of(index, controller.interrupt_cells())
    }

    fn interrupt_of(&self, index: usize, cells: usize) -> Option<Interrupt> {
        let start = index.checked_mul(cells.checked_mul(4)?)?;
        Interrupt::read(self.property("interrupts")?.get(start..)?, cells)
    }

    /// Of an interrupt controller: how many cells describe an interrupt.
    pub(crate) fn interrupt_cells(&self) -> usize {
        self.cells("#interrupt-cells").unwrap_or(ARM_CELLS)
    }

    /// The number of cells that `name` says, such as `#address-cells`.
    pub(crate) fn cells(&self, name: &str) -> Option<usize> {
        Some(cell(self.property(name)?)? as usize)
    }
}
