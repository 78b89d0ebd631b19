//! The disk that the boot loader loaded into memory (`initrd`, a multiboot2 module): `ram0`.
//!
//! What is written to it lasts until the machine ends. Its memory is set apart by the memory
//! map ([`kernel_boot::MemoryKind::Kernel`]), so this is its only use.

use alloc::sync::Arc;

use kernel_vfs::MemoryDisk;

use super::block::{DiskKind, register};
use crate::arch::RamDisk;
use crate::mem::phys::phys_to_virt;

const BLOCK: usize = 512;

/// Makes the disk. After the heap; called once.
pub(super) fn start(loaded: RamDisk) {
    let start = phys_to_virt(loaded.start) as *mut u8;
    // SAFETY: the boot code has checked that the range is RAM; the direct map shows it, and the
    // memory map keeps it from everybody else. This is called once, with the one RAM disk.
    let bytes = unsafe { core::slice::from_raw_parts_mut(start, loaded.length as usize) };
    let disk = Arc::new(MemoryDisk::new(BLOCK, bytes));
    match register(DiskKind::Memory, disk) {
        Some(name) => log::info!("{name}: {} KiB in memory", loaded.length / 1024),
        None => log::warn!("no name left for the disk in memory"),
    }
}
