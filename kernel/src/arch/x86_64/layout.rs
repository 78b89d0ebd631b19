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

use core::ops::Range;

use crate::arch::traits::PhysAddr;

/// The first page is never mapped, so that a null pointer is found out.
pub(super) const USER_START: usize = 0x1000;
/// The last page below 2^47 stays free: SYSCALL there would return to a non-canonical address.
pub(super) const USER_END: usize = 0x7fff_ffff_f000;
pub(super) const DIRECT_MAP: usize = 0xffff_8000_0000_0000;
const DIRECT_MAP_END: usize = DIRECT_MAP + (64 << 40);
pub(super) const KERNEL_BASE: usize = 0xffff_ffff_8000_0000;
pub(super) const KERNEL_MAP_START: usize = 0xffff_ffff_a000_0000;
pub(super) const KERNEL_MAP_END: usize = 0xffff_ffff_e000_0000;
pub(super) const DEVICE_START: usize = 0xffff_ffff_e000_0000;
pub(super) const DEVICE_END: usize = 0xffff_ffff_ff00_0000;

macro_rules! linker_symbols {
    ($($function:ident = $symbol:ident;)*) => {
        $(
            /// The address of the linker script's symbol of this name.
            pub(super) fn $function() -> usize {
                unsafe extern "C" {
                    static $symbol: u8;
                }
                (&raw const $symbol) as usize
            }
        )*
    };
}

linker_symbols! {
    kernel_start = __kernel_start;
    text_start = __text_start;
    text_end = __text_end;
    rodata_start = __rodata_start;
    rodata_end = __rodata_end;
    data_start = __data_start;
    data_end = __data_end;
    ksyms_start = __ksyms_start;
    boot_stack_guard = boot_stack_guard;
    ex_table_start = __ex_table_start;
    ex_table_end = __ex_table_end;
    smap_sites_start = __smap_sites_start;
    smap_sites_end = __smap_sites_end;
}

/// The kernel symbol table that the build appends: a 16-byte header {"LEMSYMS1", u64 length,
/// header included}, then the table. Empty if the header is damaged.
pub(super) fn kernel_symbols() -> &'static [u8] {
    let start = ksyms_start() as *const u8;
    // SAFETY: the linker script places 16 bytes there.
    let header = unsafe { core::slice::from_raw_parts(start, 16) };
    let (magic, length) = header.split_at(8);
    let length = length.try_into().map_or(0, u64::from_le_bytes) as usize;
    if magic != b"LEMSYMS1" || !(16..1 << 26).contains(&length) {
        return &[];
    }
    // SAFETY: the header says so, and the loader loaded that many bytes.
    unsafe { core::slice::from_raw_parts(start, length) }
}

/// The physical pages of the kernel image, symbols included.
pub(super) fn kernel_image() -> Range<u64> {
    let end = ksyms_start() + kernel_symbols().len().max(16);
    image_to_phys(kernel_start())..image_to_phys(end.next_multiple_of(4096))
}

/// The physical address of a byte of the kernel image.
pub(super) fn image_to_phys(address: usize) -> u64 {
    (address - KERNEL_BASE) as u64
}

/// See [`crate::arch::Architecture::dma_address`].
pub(super) fn dma_address(address: usize) -> Option<PhysAddr> {
    if (DIRECT_MAP..DIRECT_MAP_END).contains(&address) {
        Some(PhysAddr((address - DIRECT_MAP) as u64))
    } else if (kernel_start()..data_end()).contains(&address) {
        Some(PhysAddr(image_to_phys(address)))
    } else {
        None
    }
}
