//! Multiboot2: what GRUB passes (Multiboot2 Specification 2.0, section 3.6).

use crate::bytes::{u32_at, u64_at, until_nul};
use crate::e820::E820Table;
use crate::loaded::Loaded;

const END: u32 = 0;
const COMMAND_LINE: u32 = 1;
const MODULE: u32 = 3;
const MEMORY_MAP: u32 = 6;
const FRAMEBUFFER: u32 = 8;
/// A copy of the ACPI root pointer, of version 1 or 2.
const RSDP_1: u32 = 14;
const RSDP_2: u32 = 15;
const TAG_HEADER: usize = 8;

/// The largest information that can be meant.
const LARGEST: u32 = 1 << 20;

/// The size of the whole, from its first 8 bytes.
pub fn size(start: &[u8]) -> Option<usize> {
    let size = u32_at(start, 0)?;
    (8..=LARGEST).contains(&size).then_some(size as usize)
}

/// A picture that the boot loader has set up, as it tells of it: nothing is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framebuffer {
    /// Where its memory begins.
    pub address: u64,
    /// Bytes from a row to the next.
    pub pitch: u32,
    /// In pixels.
    pub width: u32,
    pub height: u32,
    pub bits_per_pixel: u8,
    /// Red, green, blue: the lowest bit in a pixel, and how many bits.
    pub channels: [(u8, u8); 3],
}

impl Framebuffer {
    /// Reads the tag's content (section 3.6.12); `None` if it is not of pixels with colours of
    /// their own, but of characters or a palette.
    fn read(content: &[u8]) -> Option<Self> {
        const DIRECT: u8 = 1;
        let [red_at, red, green_at, green, blue_at, blue] = *content.get(24..)?.first_chunk()?;
        if content.get(21) != Some(&DIRECT) {
            return None;
        }
        Some(Self {
            address: u64_at(content, 0)?,
            pitch: u32_at(content, 8)?,
            width: u32_at(content, 12)?,
            height: u32_at(content, 16)?,
            bits_per_pixel: *content.get(20)?,
            channels: [(red_at, red), (green_at, green), (blue_at, blue)],
        })
    }
}

/// The parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Information<'a> {
    pub command_line: &'a [u8],
    /// The ACPI root pointer itself: 20 or 36 bytes.
    pub rsdp: Option<&'a [u8]>,
    pub memory: E820Table<'a>,
    /// The first module.
    pub module: Option<Loaded>,
    pub framebuffer: Option<Framebuffer>,
}

impl<'a> Information<'a> {
    /// Reads all tags, up to the end or the first damaged one. Unknown ones are passed over;
    /// the newer root pointer counts.
    pub fn read(bytes: &'a [u8]) -> Self {
        let mut found = Self::default();
        let mut version = 0;
        let mut offset = 8;
        while let (Some(kind), Some(length)) = (u32_at(bytes, offset), u32_at(bytes, offset + 4)) {
            let length = length as usize;
            let Some(content) = bytes.get(offset + TAG_HEADER..offset.saturating_add(length))
            else {
                break;
            };
            match kind {
                END => break,
                COMMAND_LINE => found.command_line = until_nul(content),
                MEMORY_MAP => {
                    let stride = u32_at(content, 0).unwrap_or(0) as usize;
                    found.memory = E820Table::new(content.get(8..).unwrap_or(&[]), stride);
                }
                MODULE => found.module = found.module.or_else(|| module(content)),
                FRAMEBUFFER => found.framebuffer = Framebuffer::read(content),
                RSDP_1 | RSDP_2 if kind > version => {
                    version = kind;
                    found.rsdp = Some(content);
                }
                _ => {}
            }
            offset += length.next_multiple_of(8);
        }
        found
    }
}

/// Reads a module's tag: {u32 start, u32 end}, then a string.
fn module(content: &[u8]) -> Option<Loaded> {
    Loaded::until(u64::from(u32_at(content, 0)?), u64::from(u32_at(content, 4)?))
}

#[cfg(test)]
mod tests {
    use super::{Framebuffer, Information, Loaded, size};
    use crate::memory_map::MemoryKind;
    use proptest::prelude::{any, prop, proptest};
    use std::vec::Vec;

    fn tag(bytes: &mut Vec<u8>, kind: u32, content: &[u8]) {
        bytes.extend(kind.to_le_bytes());
        bytes.extend((8 + content.len() as u32).to_le_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }

    /// What GRUB passes of a picture of this kind.
    fn picture(kind: u8) -> Vec<u8> {
        let mut content = 0xfd00_0000_u64.to_le_bytes().to_vec();
        for word in [4096_u32, 1024, 768] {
            content.extend(word.to_le_bytes());
        }
        content.extend([32, kind, 0, 0, 16, 8, 8, 8, 0, 8]);
        content
    }

    #[test]
    fn only_pictures_of_pixels_count() {
        for content in [picture(0), picture(2), picture(1)[..29].to_vec(), Vec::new()] {
            assert_eq!(Framebuffer::read(&content), None);
        }
    }

    #[test]
    fn the_tags_are_found() {
        let mut bytes = std::vec![0u8; 8];
        tag(&mut bytes, 21, &[1, 2, 3, 4]);
        tag(&mut bytes, 1, b"quiet root=vda\0");
        let mut memory = [24u32.to_le_bytes(), 0u32.to_le_bytes()].concat();
        memory.extend(0x10_0000u64.to_le_bytes());
        memory.extend(0x700_0000u64.to_le_bytes());
        memory.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        tag(&mut bytes, 6, &memory);
        // Empty, so not the first.
        tag(&mut bytes, 3, &[0x2000u32.to_le_bytes(), 0x2000u32.to_le_bytes()].concat());
        tag(&mut bytes, 3, &[0x3000u32.to_le_bytes(), 0x5000u32.to_le_bytes()].concat());
        tag(&mut bytes, 3, &[0x6000u32.to_le_bytes(), 0x7000u32.to_le_bytes()].concat());
        tag(&mut bytes, 8, &picture(1));
        tag(&mut bytes, 15, &[b'2'; 36]);
        tag(&mut bytes, 14, &[b'1'; 20]);
        tag(&mut bytes, 0, &[]);
        tag(&mut bytes, 1, b"after the end\0");
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        assert_eq!(size(&bytes), Some(bytes.len()));
        let found = Information::read(&bytes);
        assert_eq!(found.command_line, b"quiet root=vda");
        assert_eq!(found.module, Some(Loaded { start: 0x3000, length: 0x2000 }));
        assert_eq!(found.rsdp, Some(&[b'2'; 36][..]));
        let picture = Framebuffer {
            address: 0xfd00_0000,
            pitch: 4096,
            width: 1024,
            height: 768,
            bits_per_pixel: 32,
            channels: [(16, 8), (8, 8), (0, 8)],
        };
        assert_eq!(found.framebuffer, Some(picture));
        let entries: Vec<_> = found.memory.entries().collect();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].start, entries[0].length), (0x10_0000, 0x700_0000));
        assert_eq!(entries[0].kind, MemoryKind::Usable);
    }

    #[test]
    fn a_tag_of_no_length_ends_the_list() {
        let mut bytes = std::vec![0u8; 8];
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        tag(&mut bytes, 1, b"never\0");
        assert_eq!(Information::read(&bytes).command_line, b"");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let found = Information::read(&bytes);
            found.memory.entries().for_each(drop);
            size(&bytes);
        }
    }
}
