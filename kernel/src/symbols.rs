//! Names for kernel addresses, from the table that the build appends to the image
//! ([`crate::arch::Architecture::kernel_symbols`] says how it is laid out).

use crate::arch::{Arch, Architecture};

/// A function of the kernel, and how far into it an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// As in the source, with its path.
    pub name: &'static str,
    pub offset: usize,
}

const HEADER: usize = 16;
const ENTRY: usize = 8;

fn u32_at(table: &[u8], offset: usize) -> Option<u32> {
    let word = table.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

/// The last function that begins at or before an address of the kernel.
pub fn lookup(address: usize) -> Option<Symbol> {
    let table = Arch::kernel_symbols().get(HEADER..)?;
    let wanted = u32::try_from(address.checked_sub(Arch::KERNEL_BASE)?).ok()?;
    let count = u32_at(table, 0)? as usize;
    let entries = table.get(4..)?;
    let names = entries.get(count.checked_mul(ENTRY)?..)?;
    // The first entry beyond the address, by halving.
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if u32_at(entries, middle * ENTRY)? <= wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let entry = low.checked_sub(1)? * ENTRY;
    let start = u32_at(entries, entry)?;
    let name = names.get(u32_at(entries, entry + 4)? as usize..)?;
    let name = name.split(|&byte| byte == 0).next()?;
    Some(Symbol { name: core::str::from_utf8(name).ok()?, offset: (wanted - start) as usize })
}
