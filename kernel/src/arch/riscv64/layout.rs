//! Where things are in the kernel's half of the address space, and in its image.
//!
//! | from | to | what |
//! |---|---|---|
//! | `DIRECT_MAP` | + 128 GiB | all RAM |
//! | `KERNEL_BASE` | + 512 MiB | the kernel image, at + 2 MiB |
//! | `KERNEL_MAP_START` | `KERNEL_MAP_END` | kernel stacks, executable BPF code |
//! | `DEVICE_START` | `DEVICE_END` | device registers |
//!
//! The kernel's addresses are those of Sv39, which every machine that can run this kernel has:
//! the upper half of 39 bits. Users have the lower half, 256 GiB; with Sv48, of 48 bits, 128 TiB
//! (mmu.rs).

pub(in crate::arch) use crate::arch::flat_image::image_to_phys;

/// Levels of the kernel's page tables, and of users' if the machine has no more.
pub(in crate::arch) const LEVELS: u32 = 3;
/// Levels of users' page tables at most.
pub(in crate::arch) const MOST_LEVELS: u32 = 4;
/// The first page is never mapped, so that a null pointer is found out.
pub(in crate::arch) const USER_START: usize = 0x1000;
pub(in crate::arch) const USER_END: usize = 1 << 47;
pub(in crate::arch) const DIRECT_MAP: usize = 0xffff_ffc0_0000_0000;
pub(in crate::arch) const DIRECT_MAP_END: usize = DIRECT_MAP + (128 << 30);
pub(in crate::arch) const KERNEL_BASE: usize = 0xffff_ffff_8000_0000;
pub(in crate::arch) const KERNEL_MAP_START: usize = 0xffff_ffff_a000_0000;
pub(in crate::arch) const KERNEL_MAP_END: usize = 0xffff_ffff_e000_0000;
pub(in crate::arch) const DEVICE_START: usize = 0xffff_ffff_e000_0000;
pub(in crate::arch) const DEVICE_END: usize = 0xffff_ffff_ff00_0000;
