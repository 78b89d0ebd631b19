//! Kernels that are booted as a flat image, wherever the boot loader put it: which physical
//! addresses the image's bytes have.

use core::sync::atomic::{AtomicU64, Ordering};

use super::image::kernel_start;

/// Where the image's first byte was loaded.
static LOADED_AT: AtomicU64 = AtomicU64::new(0);

/// Remembers where the image was loaded. Called once, by the boot code.
pub(super) fn set_loaded_at(address: u64) {
    LOADED_AT.store(address, Ordering::Relaxed);
}

/// The physical address of a byte of the kernel image.
pub(super) fn image_to_phys(address: usize) -> u64 {
    LOADED_AT.load(Ordering::Relaxed) + (address - kernel_start()) as u64
}
