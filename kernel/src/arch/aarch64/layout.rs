//! Where things are in the kernel's half of the address space, and in its image.
//!
//! | from | to | what |
//! |---|---|---|
//! | `DIRECT_MAP` | + 64 TiB | all RAM |
//! | `KERNEL_BASE` | + 512 MiB | the kernel image, at + 2 MiB |
//! | `KERNEL_MAP_START` | `KERNEL_MAP_END` | kernel stacks, executable BPF code |
//! | `DEVICE_START` | `DEVICE_END` | device registers |
//!
//! The kernel's half is reached through TTBR1, users' through TTBR0; both have 48 bits.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch::image::{data_end, kernel_start};
use crate::arch::traits::PhysAddr;

/// The first page is never mapped, so that a null pointer is found out.
pub(in crate::arch) const USER_START: usize = 0x1000;
pub(in crate::arch) const USER_END: usize = 1 << 48;
pub(in crate::arch) const DIRECT_MAP: usize = 0xffff_8000_0000_0000;
const DIRECT_MAP_END: usize = DIRECT_MAP + (64 << 40);
pub(in crate::arch) const KERNEL_BASE: usize = 0xffff_ffff_8000_0000;
pub(in crate::arch) const KERNEL_MAP_START: usize = 0xffff_ffff_a000_0000;
pub(in crate::arch) const KERNEL_MAP_END: usize = 0xffff_ffff_e000_0000;
pub(in crate::arch) const DEVICE_START: usize = 0xffff_ffff_e000_0000;
pub(in crate::arch) const DEVICE_END: usize = 0xffff_ffff_ff00_0000;

/// Where the image's first byte was loaded.
static LOADED_AT: AtomicU64 = AtomicU64::new(0);

/// Remembers where the image was loaded. Called once, by the boot code.
pub(super) fn set_loaded_at(address: u64) {
    LOADED_AT.store(address, Ordering::Relaxed);
}

/// The physical address of a byte of the kernel image.
pub(in crate::arch) fn image_to_phys(address: usize) -> u64 {
    LOADED_AT.load(Ordering::Relaxed) + (address - kernel_start()) as u64
}

/// See [`crate::arch::Architecture::dma_address`].
pub(in crate::arch) fn dma_address(address: usize) -> Option<PhysAddr> {
    if (DIRECT_MAP..DIRECT_MAP_END).contains(&address) {
        Some(PhysAddr((address - DIRECT_MAP) as u64))
    } else if (kernel_start()..data_end()).contains(&address) {
        Some(PhysAddr(image_to_phys(address)))
    } else {
        None
    }
}
