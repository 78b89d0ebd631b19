//! Where things are in the kernel's half of the address space, and in its image.
//!
//! | from | to | what |
//! |---|---|---|
//! | `DIRECT_MAP` | + 64 TiB | all RAM |
//! | `KERNEL_BASE` | + 512 MiB | the kernel image, at + 1 MiB |
//! | `KERNEL_MAP_START` | `KERNEL_MAP_END` | kernel stacks, executable BPF code |
//! | `DEVICE_START` | `DEVICE_END` | device registers |
//!
//! Everything but the direct map lies within 2 GiB, so code in any of it reaches any other
//! by a 32-bit displacement.

use crate::arch::image::linker_symbols;

/// Levels of page tables.
pub(in crate::arch) const LEVELS: u32 = 4;
/// The first page is never mapped, so that a null pointer is found out.
pub(in crate::arch) const USER_START: usize = 0x1000;
/// The last page below 2^47 stays free: SYSCALL there would return to a non-canonical address.
pub(in crate::arch) const USER_END: usize = 0x7fff_ffff_f000;
pub(in crate::arch) const DIRECT_MAP: usize = 0xffff_8000_0000_0000;
pub(in crate::arch) const DIRECT_MAP_END: usize = DIRECT_MAP + (64 << 40);
pub(in crate::arch) const KERNEL_BASE: usize = 0xffff_ffff_8000_0000;
pub(in crate::arch) const KERNEL_MAP_START: usize = 0xffff_ffff_a000_0000;
pub(in crate::arch) const KERNEL_MAP_END: usize = 0xffff_ffff_e000_0000;
pub(in crate::arch) const DEVICE_START: usize = 0xffff_ffff_e000_0000;
pub(in crate::arch) const DEVICE_END: usize = 0xffff_ffff_ff00_0000;

linker_symbols! {
    smap_sites_start = __smap_sites_start;
    smap_sites_end = __smap_sites_end;
}

/// The physical address of a byte of the kernel image.
pub(in crate::arch) fn image_to_phys(address: usize) -> u64 {
    (address - KERNEL_BASE) as u64
}
