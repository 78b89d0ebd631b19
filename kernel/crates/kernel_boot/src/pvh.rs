//! PVH: what QEMU's `-kernel` passes, Xen's `struct hvm_start_info`
//! (public/arch-x86/hvm/start_info.h).

use crate::bytes::{u32_at, u64_at};
use crate::loaded::Loaded;

/// Bytes of the structure that are read.
pub const SIZE: usize = 56;
/// Bytes of one entry of its memory map, which is an [`crate::E820Table`].
pub const MEMORY_STRIDE: usize = 24;

const MAGIC: u32 = 0x336e_c578;
/// Bytes of one entry of its list of modules that are read: {u64 start, u64 length}.
pub const MODULE_SIZE: usize = 16;
/// The most entries of a memory map that can be meant.
const MOST_ENTRIES: u32 = 4096;

/// Where the parts are, as physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartInfo {
    /// A string that ends in NUL.
    pub command_line: Option<u64>,
    /// The ACPI root pointer.
    pub rsdp: Option<u64>,
    /// The first entry of the list of modules.
    pub modules: Option<u64>,
    pub memory: u64,
    /// How many entries the memory map has.
    pub memory_entries: usize,
}

impl StartInfo {
    /// Reads the structure; it has a memory map since version 1.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if u32_at(bytes, 0)? != MAGIC || u32_at(bytes, 4)? < 1 {
            return None;
        }
        let address =
            |offset| u64_at(bytes, offset).map(|address| (address != 0).then_some(address));
        let memory_entries = u32_at(bytes, 48).filter(|&count| count <= MOST_ENTRIES)?;
        Some(Self {
            modules: address(16)?.filter(|_| u32_at(bytes, 12) > Some(0)),
            command_line: address(24)?,
            rsdp: address(32)?,
            memory: u64_at(bytes, 40)?,
            memory_entries: memory_entries as usize,
        })
    }
}

/// Reads an entry of the list of modules.
pub fn module(entry: &[u8]) -> Option<Loaded> {
    Loaded::of(u64_at(entry, 0)?, u64_at(entry, 8)?)
}

#[cfg(test)]
mod tests {
    use super::{Loaded, MAGIC, SIZE, StartInfo, module};

    #[test]
    fn the_parts_are_found() {
        let mut bytes = [0u8; SIZE];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4] = 1;
        bytes[32..40].copy_from_slice(&0xf_5a00u64.to_le_bytes());
        bytes[16..24].copy_from_slice(&0x3000u64.to_le_bytes());
        bytes[40..48].copy_from_slice(&0x2000u64.to_le_bytes());
        bytes[48] = 7;
        let mut info = StartInfo {
            modules: None,
            command_line: None,
            rsdp: Some(0xf_5a00),
            memory: 0x2000,
            memory_entries: 7,
        };
        assert_eq!(StartInfo::read(&bytes), Some(info));
        bytes[12] = 1;
        info.modules = Some(0x3000);
        assert_eq!(StartInfo::read(&bytes), Some(info));
        bytes[51] = 1;
        assert_eq!(StartInfo::read(&bytes), None, "far too many entries");
        bytes[51] = 0;
        bytes[4] = 0;
        assert_eq!(StartInfo::read(&bytes), None, "version 0 has no memory map");
        assert_eq!(StartInfo::read(&bytes[..20]), None);
    }

    #[test]
    fn a_module_is_found_unless_it_is_empty() {
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&0x700_0000u64.to_le_bytes());
        assert_eq!(module(&entry), None);
        entry[8..].copy_from_slice(&0x10_0000u64.to_le_bytes());
        assert_eq!(module(&entry), Some(Loaded { start: 0x700_0000, length: 0x10_0000 }));
        assert_eq!(module(&entry[..15]), None);
    }
}
