//! The bootable image: the linked kernel without debug information, with its symbol table
//! where the panic code looks for it.
//!
//! The linker script ends the kernel with a loadable segment that holds only a 16-byte
//! header: the magic number `LEMSYMS1` and a length. [`bootable_image`] fills it: header,
//! then `u32` count, then per function `u32` offset from [`KERNEL_BASE`] and `u32` offset of
//! its name from the start of the names, sorted by address, then the names, each once and
//! ended by a NUL: the functions that a generic one is made into share its name. The length
//! counts from the header's first byte. Everything is little-endian.
//!
//! The image keeps the program headers and what they cover; section headers, symbols and
//! DWARF stay in the linked file, which is what a debugger reads.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use object::read::elf::{ElfFile64, ElfSymbol64};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

/// Symbol addresses are stored as offsets from here.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

const MAGIC: &[u8; 8] = b"LEMSYMS1";
const HEADER: usize = 16;
const PAGE: usize = 4096;

const EHDR: usize = 64;
const PHDR: usize = 56;
const PT_LOAD: u32 = 1;

/// One program header, as the 64-bit ELF format lays it out.
#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    virtual_address: u64,
    physical_address: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

/// Makes the image that is booted from the kernel as the linker left it, for boot loaders that
/// read ELF files.
pub fn bootable_image(linked: &[u8]) -> Result<Vec<u8>> {
    let table = symbol_table(linked)?;
    let segments = read_segments(linked)?;
    let mut image = linked.get(..EHDR).context("not an ELF file")?.to_vec();
    // No section headers: e_shoff, e_shnum and e_shstrndx become 0.
    put(&mut image, 40, &0_u64.to_le_bytes())?;
    put(&mut image, 60, &[0; 4])?;
    put(&mut image, 32, &(EHDR as u64).to_le_bytes())?;
    image.resize(EHDR + segments.len() * PHDR, 0);

    let unfilled = unfilled();
    let mut filled = false;
    let mut placed: Vec<(Segment, u64)> = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let content = range(linked, segment.offset, segment.file_size)?;
        let mut segment = *segment;
        let content = if segment.kind == PT_LOAD && content == unfilled {
            filled = true;
            segment.file_size = table.len() as u64;
            segment.memory_size = segment.file_size;
            table.as_slice()
        } else {
            content
        };
        // A header such as PT_NOTE covers part of a PT_LOAD: it points into the copy.
        let inside = placed.iter().find(|(outer, _)| {
            segment.kind != PT_LOAD
                && segment.offset >= outer.offset
                && segment.offset + segment.file_size <= outer.offset + outer.file_size
        });
        let offset = match inside {
            Some((outer, new_offset)) => new_offset + (segment.offset - outer.offset),
            None if segment.file_size == 0 => 0,
            None => {
                // File offset and address agree modulo the page size.
                let misalignment = usize::try_from(segment.virtual_address)? % PAGE;
                let start = image.len().next_multiple_of(PAGE) + misalignment;
                image.resize(start, 0);
                image.extend_from_slice(content);
                start as u64
            }
        };
        if segment.kind == PT_LOAD {
            placed.push((segment, offset));
        }
        segment.offset = offset;
        put(&mut image, EHDR + index * PHDR, &segment.encode())?;
    }
    if !filled {
        bail!("the kernel has no segment for its symbols (linker script)");
    }
    Ok(image)
}

/// Makes the image that is booted where the boot loader reads no ELF file: memory as it is at
/// the start, beginning with the header of Linux's boot protocol (AArch64's and RISC-V's are laid
/// out alike), in which the length that the kernel takes in memory is filled in. The image is
/// shorter: what is zero at the start and has no content in the file is left out, and the symbols
/// have its place, from the next page on. The boot code moves them where they belong.
pub fn flat_image(linked: &[u8]) -> Result<Vec<u8>> {
    const SIZE_FIELD: usize = 16;
    const MAGIC_FIELD: usize = 56;
    const MAGIC_NUMBERS: [&[u8; 4]; 2] = [b"ARM\x64", b"RSC\x05"];
    let mut table = symbol_table(linked)?;
    // It is moved in steps of 16 bytes.
    table.resize(table.len().next_multiple_of(16), 0);
    let segments: Vec<Segment> =
        read_segments(linked)?.into_iter().filter(|segment| segment.kind == PT_LOAD).collect();
    let base = segments.iter().map(|segment| segment.physical_address).min();
    let base = base.context("the kernel has no segments")?;
    let unfilled = unfilled();
    let mut image = Vec::new();
    let mut symbols = None;
    for segment in &segments {
        let content = range(linked, segment.offset, segment.file_size)?;
        let start = usize::try_from(segment.physical_address - base)?;
        if content == unfilled {
            symbols = Some(start);
            continue;
        }
        image.resize(image.len().max(start + content.len()), 0);
        put(&mut image, start, content)?;
    }
    let Some(symbols) = symbols else {
        bail!("the kernel has no segment for its symbols (linker script)");
    };
    let magic: [u8; 4] = array(&image, MAGIC_FIELD)?;
    if !MAGIC_NUMBERS.contains(&&magic) {
        bail!("the kernel does not begin with the header of an image");
    }
    let length = (symbols + table.len()).next_multiple_of(PAGE) as u64;
    put(&mut image, SIZE_FIELD, &length.to_le_bytes())?;
    image.resize(image.len().next_multiple_of(PAGE), 0);
    if image.len() > symbols {
        bail!("the kernel's symbols are not behind everything else (linker script)");
    }
    image.append(&mut table);
    Ok(image)
}

/// What the linker leaves where the symbols go: exactly the header. The magic number alone
/// also stands among the kernel's constants.
fn unfilled() -> Vec<u8> {
    [MAGIC.as_slice(), &(HEADER as u64).to_le_bytes()].concat()
}

/// The filled segment: header, addresses, names.
fn symbol_table(linked: &[u8]) -> Result<Vec<u8>> {
    let file = ElfFile64::<Endianness>::parse(linked).context("the kernel is not an ELF file")?;
    let executable: Vec<_> = file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
        .map(|section| section.index())
        .collect();
    // Labels in assembly have no type, but a place among the code.
    let is_code = |symbol: &ElfSymbol64<'_, '_, Endianness>| match symbol.kind() {
        SymbolKind::Text => symbol.is_definition(),
        SymbolKind::Unknown | SymbolKind::Label => {
            symbol.section_index().is_some_and(|index| executable.contains(&index))
        }
        _ => false,
    };
    let mut functions: Vec<(u32, String)> = file
        .symbols()
        .filter(is_code)
        .filter_map(|symbol| {
            let offset = u32::try_from(symbol.address().checked_sub(KERNEL_BASE)?).ok()?;
            let name = symbol.name().ok()?;
            // `$x` and the like tell code from data on some architectures; `.L` and the like are
            // places within functions that the linker may move on others.
            if name.is_empty() || name.starts_with('$') || name.starts_with(".L") {
                return None;
            }
            Some((offset, format!("{:#}", rustc_demangle::demangle(name))))
        })
        .collect();
    functions.sort();
    functions.dedup_by_key(|(offset, _)| *offset);
    Ok(encode_table(&functions)?)
}

fn encode_table(functions: &[(u32, String)]) -> Result<Vec<u8>, std::num::TryFromIntError> {
    let mut entries = Vec::new();
    let mut names = Vec::new();
    let mut places: HashMap<&str, u32> = HashMap::new();
    for (offset, name) in functions {
        let place = match places.get(name.as_str()) {
            Some(place) => *place,
            None => {
                let place = u32::try_from(names.len())?;
                places.insert(name, place);
                names.extend(name.bytes().filter(|byte| *byte != 0));
                names.push(0);
                place
            }
        };
        entries.extend_from_slice(&offset.to_le_bytes());
        entries.extend_from_slice(&place.to_le_bytes());
    }
    let length = HEADER + 4 + entries.len() + names.len();
    let mut table = MAGIC.to_vec();
    table.extend_from_slice(&(length as u64).to_le_bytes());
    table.extend_from_slice(&u32::try_from(functions.len())?.to_le_bytes());
    table.append(&mut entries);
    table.append(&mut names);
    Ok(table)
}

fn read_segments(file: &[u8]) -> Result<Vec<Segment>> {
    let start = u64::from_le_bytes(array(file, 32)?);
    let size = u16::from_le_bytes(array(file, 54)?);
    let count = u16::from_le_bytes(array(file, 56)?);
    if usize::from(size) != PHDR {
        bail!("unexpected size of a program header: {size}");
    }
    let headers = range(file, start, u64::from(count) * PHDR as u64)?;
    headers.chunks_exact(PHDR).map(Segment::decode).collect()
}

impl Segment {
    fn decode(bytes: &[u8]) -> Result<Self> {
        let long = |at| array(bytes, at).map(u64::from_le_bytes);
        Ok(Self {
            kind: u32::from_le_bytes(array(bytes, 0)?),
            flags: u32::from_le_bytes(array(bytes, 4)?),
            offset: long(8)?,
            virtual_address: long(16)?,
            physical_address: long(24)?,
            file_size: long(32)?,
            memory_size: long(40)?,
            align: long(48)?,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.kind.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.flags.to_le_bytes());
        for field in [
            self.offset,
            self.virtual_address,
            self.physical_address,
            self.file_size,
            self.memory_size,
            self.align,
        ] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

fn range(file: &[u8], offset: u64, length: u64) -> Result<&[u8]> {
    let start = usize::try_from(offset)?;
    let end = start.checked_add(usize::try_from(length)?).context("a segment too long")?;
    file.get(start..end).context("a segment reaches past the end of the file")
}

fn array<const N: usize>(file: &[u8], offset: usize) -> Result<[u8; N]> {
    Ok(range(file, offset as u64, N as u64)?.try_into()?)
}

fn put(file: &mut [u8], offset: usize, bytes: &[u8]) -> Result<()> {
    file.get_mut(offset..offset + bytes.len())
        .context("a header beyond the end of the file")?
        .copy_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with the given segments, the content of each behind the headers.
    fn elf(segments: &[(u32, u64, &[u8])]) -> Vec<u8> {
        let mut file = vec![0_u8; EHDR];
        file[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
        file[16..18].copy_from_slice(&2_u16.to_le_bytes());
        file[18..20].copy_from_slice(&62_u16.to_le_bytes());
        file[20..24].copy_from_slice(&1_u32.to_le_bytes());
        file[32..40].copy_from_slice(&(EHDR as u64).to_le_bytes());
        file[52..54].copy_from_slice(&(EHDR as u16).to_le_bytes());
        file[54..56].copy_from_slice(&(PHDR as u16).to_le_bytes());
        file[56..58].copy_from_slice(&(segments.len() as u16).to_le_bytes());
        file[58..60].copy_from_slice(&64_u16.to_le_bytes());
        let mut offset = EHDR + segments.len() * PHDR;
        for (kind, address, content) in segments {
            let size = content.len() as u64;
            let segment = Segment {
                kind: *kind,
                flags: 4,
                offset: offset as u64,
                virtual_address: *address,
                physical_address: *address - KERNEL_BASE,
                file_size: size,
                memory_size: size,
                align: 4096,
            };
            file.extend(segment.encode());
            offset += content.len();
        }
        segments.iter().for_each(|(_, _, content)| file.extend_from_slice(content));
        file
    }

    fn empty_header() -> Vec<u8> {
        [MAGIC.as_slice(), &16_u64.to_le_bytes()].concat()
    }

    #[test]
    fn segments_keep_their_content_and_symbols_grow() {
        let header = empty_header();
        let text = b"the text of the kernel".as_slice();
        let file = elf(&[(PT_LOAD, KERNEL_BASE, text), (PT_LOAD, KERNEL_BASE + 0x5000, &header)]);
        let image = bootable_image(&file).unwrap();
        let segments = read_segments(&image).unwrap();
        assert_eq!(segments.len(), 2);
        assert_eq!(range(&image, segments[0].offset, segments[0].file_size).unwrap(), text);
        let symbols = range(&image, segments[1].offset, segments[1].file_size).unwrap();
        // No symbols in this file: the header and a count of 0.
        assert_eq!(&symbols[..8], MAGIC);
        assert_eq!(&symbols[8..16], 20_u64.to_le_bytes());
        assert_eq!(&symbols[16..], 0_u32.to_le_bytes());
        for segment in segments {
            assert_eq!(segment.offset % 4096, segment.virtual_address % 4096);
        }
    }

    #[test]
    fn constants_that_look_like_the_header_stay() {
        let header = empty_header();
        let constants = [&header[..], b"more"].concat();
        let file =
            elf(&[(PT_LOAD, KERNEL_BASE, &constants), (PT_LOAD, KERNEL_BASE + 0x1000, &header)]);
        let image = bootable_image(&file).unwrap();
        let first = read_segments(&image).unwrap()[0];
        assert_eq!(range(&image, first.offset, first.file_size).unwrap(), constants);
    }

    #[test]
    fn a_kernel_without_room_for_symbols_is_refused() {
        let file = elf(&[(PT_LOAD, KERNEL_BASE, b"text")]);
        let message = bootable_image(&file).unwrap_err().to_string();
        assert!(message.contains("symbols"), "{message}");
    }

    #[test]
    fn notes_follow_the_segment_that_holds_them() {
        let header = empty_header();
        let mut file = elf(&[
            (PT_LOAD, KERNEL_BASE, b"0123456789"),
            (PT_LOAD, KERNEL_BASE + 0x1000, &header),
            (4, KERNEL_BASE, b""),
        ]);
        // The note is bytes 2..5 of the first segment.
        let mut note = read_segments(&file).unwrap()[2];
        note.offset = read_segments(&file).unwrap()[0].offset + 2;
        note.file_size = 3;
        put(&mut file, EHDR + 2 * PHDR, &note.encode()).unwrap();
        let image = bootable_image(&file).unwrap();
        let segments = read_segments(&image).unwrap();
        assert_eq!(range(&image, segments[2].offset, 3).unwrap(), b"234");
        assert_eq!(segments[2].offset, segments[0].offset + 2);
    }

    #[test]
    fn a_flat_image_is_memory_without_what_is_zero_and_its_length_in_the_header() {
        let mut text = vec![0; 0x1800];
        text[56..60].copy_from_slice(b"ARM\x64");
        let header = empty_header();
        let symbols = KERNEL_BASE + 0x4000;
        let file = elf(&[(PT_LOAD, KERNEL_BASE, &text), (PT_LOAD, symbols, &header)]);
        let image = flat_image(&file).unwrap();
        assert_eq!(u64::from_le_bytes(array(&image, 16).unwrap()), 0x5000);
        // The symbols are in the next page, to be moved.
        assert_eq!(image.len(), 0x2000 + 32);
        assert_eq!(&image[0x2000..0x2008], MAGIC);
        assert_eq!(image[0x2008..0x2010], 20_u64.to_le_bytes());
        let without_magic = elf(&[(PT_LOAD, KERNEL_BASE, b"code"), (PT_LOAD, symbols, &header)]);
        assert!(flat_image(&without_magic).is_err());
        assert!(flat_image(&elf(&[(PT_LOAD, KERNEL_BASE, &text)])).is_err());
        let before = elf(&[(PT_LOAD, KERNEL_BASE + 0x5000, &text), (PT_LOAD, symbols, &header)]);
        assert!(flat_image(&before).is_err());
    }

    #[test]
    fn the_table_has_the_documented_layout() {
        let table =
            encode_table(&[(0x10, "first".to_owned()), (0x20, "second".to_owned())]).unwrap();
        assert_eq!(u64::from_le_bytes(array(&table, 8).unwrap()), table.len() as u64);
        assert_eq!(u32::from_le_bytes(array(&table, 16).unwrap()), 2);
        assert_eq!(u32::from_le_bytes(array(&table, 28).unwrap()), 0x20);
        let name = u32::from_le_bytes(array(&table, 32).unwrap()) as usize;
        let names = &table[20 + 2 * 8..];
        assert_eq!(&names[name..], b"second\0");
    }

    #[test]
    fn functions_of_one_name_share_it() {
        let functions = [(0x10, "one"), (0x20, "two"), (0x30, "one"), (0x40, "on")];
        let table = encode_table(&functions.map(|(at, name)| (at, name.to_owned()))).unwrap();
        let names = &table[20 + functions.len() * 8..];
        assert_eq!(names, b"one\0two\0on\0");
        for (index, (at, name)) in functions.into_iter().enumerate() {
            let entry = 20 + index * 8;
            assert_eq!(u32::from_le_bytes(array(&table, entry).unwrap()), at);
            let place = u32::from_le_bytes(array(&table, entry + 4).unwrap()) as usize;
            assert_eq!(names[place..].split(|&byte| byte == 0).next().unwrap(), name.as_bytes());
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        let header = empty_header();
        let file = elf(&[(PT_LOAD, KERNEL_BASE, &header)]);
        for length in [0, 3, EHDR - 1, EHDR, EHDR + PHDR - 1, file.len() - 1] {
            assert!(bootable_image(&file[..length]).is_err(), "{length}");
        }
    }
}
