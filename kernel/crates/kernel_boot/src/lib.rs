//! Reads what boot protocols pass to a kernel, and makes one clean memory map of it.
//!
//! [`pvh`] and [`multiboot2`] decode the two protocols of a PC from plain bytes; reaching
//! those bytes in physical memory is the caller's work. [`MemoryMap`] sorts out what firmware
//! says of memory. [`MmioDevice`] is what a command line says of a device. Nothing here allocates: it runs before there is anything to allocate.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::expect_used, clippy::indexing_slicing)]

#[cfg(test)]
extern crate std;

mod bytes;
mod e820;
mod loaded;
mod memory_map;
mod mmio_device;
pub mod multiboot2;
pub mod pvh;

pub use bytes::until_nul;
pub use e820::{E820Entry, E820Table};
pub use loaded::Loaded;
pub use memory_map::{MemoryKind, MemoryMap};
pub use mmio_device::MmioDevice;
pub use multiboot2::Framebuffer;
