//! What a kernel takes from a flattened device tree (Devicetree Specification 0.4): memory, the
//! command line, the console, and devices with their registers and interrupts. The format
//! itself is read by the `dtoolkit` crate, which checks a tree as a whole before anything is
//! taken from it; here stands which nodes and properties mean what.
//!
//! | type | what |
//! |---|---|
//! | [`DeviceTree`] | a tree that has been checked |
//! | [`Device`] | a node with registers at physical addresses |
//! | [`Hart`] | a CPU of RISC-V |
//! | [`PciWindows`], [`PciInterrupts`] | what a PCI host bridge's node says |
//!
//! Values are big-endian cells of 32 bits. Nothing here panics, whatever the tree holds.
#![no_std]
#![forbid(unsafe_code)]

mod device;
mod hart;
mod pci;
mod tree;

pub use device::{Device, Interrupt};
pub use hart::Hart;
pub use pci::{PciInterrupts, PciRoute, PciWindow, PciWindows};
pub use tree::{DeviceTree, size};

/// The cell at the start of `bytes`.
fn cell(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// The number of `cells` cells at the start of `bytes`: what a property of one or two cells
/// holds.
fn number(bytes: &[u8], cells: usize) -> Option<u64> {
    match cells {
        1 => cell(bytes).map(u64::from),
        2 => Some(u64::from(cell(bytes)?) << 32 | u64::from(cell(bytes.get(4..)?)?)),
        _ => None,
    }
}

/// A number that is as long as its property.
fn whole_number(bytes: &[u8]) -> Option<u64> {
    number(bytes, bytes.len() / 4)
}

/// A string property, without its terminator.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
