//! The kernel's own image: where the linker script of the machine put its parts, and the symbol
//! table behind it.

use core::ops::Range;

use super::machine::layout::{DIRECT_MAP, DIRECT_MAP_END, image_to_phys};
use super::traits::PhysAddr;

/// Defines a function for the address of each named symbol of the linker script.
macro_rules! linker_symbols {
    ($($function:ident = $symbol:ident;)*) => {
        $(
            /// The address of the linker script's symbol of this name.
            pub(in crate::arch) fn $function() -> usize {
                unsafe extern "C" {
                    static $symbol: u8;
                }
                (&raw const $symbol) as usize
            }
        )*
    };
}
pub(in crate::arch) use linker_symbols;

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
}

/// The kernel symbol table that the build appends: a 16-byte header {"LEMSYMS1", u64 length,
/// header included}, then the table. Empty if the header is damaged.
pub(in crate::arch) fn kernel_symbols() -> &'static [u8] {
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
pub(in crate::arch) fn kernel_image() -> Range<u64> {
    let end = ksyms_start() + kernel_symbols().len().max(16);
    image_to_phys(kernel_start())..image_to_phys(end.next_multiple_of(4096))
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
