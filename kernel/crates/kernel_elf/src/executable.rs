//! Static ELF64 executables (System V ABI, chapters 4 and 5), position-dependent (`ET_EXEC`)
//! or not (`ET_DYN` without an interpreter: static-pie).
//!
//! Reading goes in two steps, so that the caller decides what to read: [`Header::parse`] takes
//! the first 64 bytes and says where the program headers are; [`Executable::parse`] takes
//! those and gives the segments. Then everything is checked: each segment lies in the file
//! and in the allowed addresses, they ascend without sharing a page, none is writable and
//! executable at once.

use alloc::vec::Vec;

use elf::abi::{ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_INTERP, PT_LOAD, PT_PHDR};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::segment::{ProgramHeader, SegmentTable};

use crate::PAGE_SIZE;

/// Bytes of the ELF header.
pub const HEADER_BYTES: usize = 64;
/// Bytes of one program header.
pub const PROGRAM_HEADER_BYTES: usize = 56;
/// The most bytes of program headers, as Linux has it.
pub const MAX_PROGRAM_HEADERS: usize = 65_536 / PROGRAM_HEADER_BYTES;

bitflags::bitflags! {
    /// What a segment's pages may be used for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SegmentRights: u8 {
        const READ = 1;
        const WRITE = 2;
        const EXECUTE = 4;
    }
}

/// Why a file is not a program that can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// Not ELF, or cut short.
    NotElf,
    /// ELF, but of another class, byte order, machine or type.
    WrongKind,
    /// Needs a dynamic linker.
    Dynamic,
    /// The headers contradict themselves or the file's length.
    Malformed,
    /// A segment would lie outside the allowed addresses.
    BadAddress,
    /// A segment is writable and executable.
    WriteAndExecute,
    /// No memory for the list of segments.
    OutOfMemory,
}

/// What the ELF header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// May be loaded at any page-aligned distance from its link address.
    pub relocatable: bool,
    /// Where the program starts, before relocation.
    pub entry: u64,
    /// Where in the file the program headers are.
    pub program_headers_offset: u64,
    /// How many there are: 1 to [`MAX_PROGRAM_HEADERS`].
    pub program_headers: usize,
}

impl Header {
    /// Reads the first [`HEADER_BYTES`] bytes of a file.
    ///
    /// # Errors
    /// If it is not a 64-bit little-endian program for `machine`.
    pub fn parse(bytes: &[u8], machine: u16) -> Result<Self, ElfError> {
        let (ident, tail) = bytes.split_at_checked(elf::abi::EI_NIDENT).ok_or(ElfError::NotElf)?;
        let tail = tail.get(..HEADER_BYTES - elf::abi::EI_NIDENT).ok_or(ElfError::NotElf)?;
        if !ident.starts_with(&elf::abi::ELFMAGIC) {
            return Err(ElfError::NotElf);
        }
        let ident = parse_ident::<LittleEndian>(ident).map_err(|_| ElfError::WrongKind)?;
        if ident.1 != Class::ELF64 {
            return Err(ElfError::WrongKind);
        }
        let header = FileHeader::parse_tail(ident, tail).map_err(|_| ElfError::NotElf)?;
        if header.e_machine != machine || !matches!(header.e_type, ET_EXEC | ET_DYN) {
            return Err(ElfError::WrongKind);
        }
        let program_headers = usize::from(header.e_phnum);
        if usize::from(header.e_phentsize) != PROGRAM_HEADER_BYTES
            || program_headers == 0
            || program_headers > MAX_PROGRAM_HEADERS
        {
            return Err(ElfError::Malformed);
        }
        Ok(Self {
            relocatable: header.e_type == ET_DYN,
            entry: header.e_entry,
            program_headers_offset: header.e_phoff,
            program_headers,
        })
    }

    /// The length of all program headers in bytes.
    pub fn program_headers_bytes(&self) -> usize {
        self.program_headers * PROGRAM_HEADER_BYTES
    }
}

/// Where a program may be placed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The lowest address that may be mapped.
    pub low: usize,
    /// One past the highest.
    pub high: usize,
    /// Added to each address of a relocatable program; a multiple of the page size.
    pub bias: usize,
    /// The length of the file.
    pub file_bytes: u64,
}

/// A range of memory to fill from the file. All but the rights is in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The first address, a multiple of the page size.
    pub start: usize,
    /// One past the last, a multiple of the page size.
    pub end: usize,
    /// Where in the file the first page comes from, a multiple of the page size.
    pub file_offset: u64,
    /// How many bytes from `start` come from the file; the rest is zero.
    pub file_bytes: usize,
    pub rights: SegmentRights,
}

/// A program that can be mapped and started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// Ascending, at least one page each, no page in two of them.
    pub segments: Vec<Segment>,
    /// The address of the first instruction.
    pub entry: usize,
    /// The address of the program headers, if they are in a segment (`AT_PHDR`).
    pub program_headers: Option<usize>,
    /// How many there are (`AT_PHNUM`).
    pub program_header_count: usize,
    /// The end of the last segment: where the heap begins.
    pub end: usize,
}

impl Executable {
    /// Reads the program headers of the file with this `header`.
    ///
    /// # Errors
    /// If the program cannot be run within `limits`.
    pub fn parse(header: &Header, bytes: &[u8], limits: &Limits) -> Result<Self, ElfError> {
        let bytes = bytes.get(..header.program_headers_bytes()).ok_or(ElfError::Malformed)?;
        let table: SegmentTable<'_, LittleEndian> =
            SegmentTable::new(LittleEndian, Class::ELF64, bytes);
        let bias = if header.relocatable { limits.bias } else { 0 };
        let mut segments: Vec<Segment> = Vec::new();
        let mut explicit = None;
        let mut covering = None;
        for program_header in table.iter() {
            match program_header.p_type {
                PT_INTERP => return Err(ElfError::Dynamic),
                PT_PHDR => explicit = address(program_header.p_vaddr, bias),
                PT_LOAD => {
                    let Some(segment) = check_segment(&program_header, bias, limits)? else {
                        continue;
                    };
                    if segments.last().is_some_and(|last| last.end > segment.start) {
                        return Err(ElfError::Malformed);
                    }
                    let within = header
                        .program_headers_offset
                        .checked_sub(program_header.p_offset)
                        .filter(|&distance| distance < program_header.p_filesz);
                    if let Some(distance) = within {
                        covering = address(program_header.p_vaddr.wrapping_add(distance), bias);
                    }
                    segments.try_reserve(1).map_err(|_| ElfError::OutOfMemory)?;
                    segments.push(segment);
                }
                _ => {}
            }
        }
        let end = segments.last().ok_or(ElfError::Malformed)?.end;
        let entry = address(header.entry, bias).ok_or(ElfError::BadAddress)?;
        if !segments.iter().any(|segment| segment.start <= entry && entry < segment.end) {
            return Err(ElfError::BadAddress);
        }
        let program_headers = covering.or(explicit);
        let program_header_count = header.program_headers;
        Ok(Self { segments, entry, program_headers, program_header_count, end })
    }
}

fn address(link_address: u64, bias: usize) -> Option<usize> {
    usize::try_from(link_address).ok()?.checked_add(bias)
}

fn check_segment(
    header: &ProgramHeader,
    bias: usize,
    limits: &Limits,
) -> Result<Option<Segment>, ElfError> {
    let page = PAGE_SIZE as u64;
    if header.p_memsz == 0 {
        return Ok(None);
    }
    if header.p_filesz > header.p_memsz
        || (header.p_align > 1 && !header.p_align.is_power_of_two())
        || header.p_vaddr % page != header.p_offset % page
        || header.p_offset.checked_add(header.p_filesz).is_none_or(|end| end > limits.file_bytes)
    {
        return Err(ElfError::Malformed);
    }
    let mut rights = SegmentRights::empty();
    rights.set(SegmentRights::READ, header.p_flags & PF_R != 0);
    rights.set(SegmentRights::WRITE, header.p_flags & PF_W != 0);
    rights.set(SegmentRights::EXECUTE, header.p_flags & PF_X != 0);
    if rights.contains(SegmentRights::WRITE | SegmentRights::EXECUTE) {
        return Err(ElfError::WriteAndExecute);
    }
    let first = address(header.p_vaddr, bias).ok_or(ElfError::BadAddress)?;
    let memory = usize::try_from(header.p_memsz).map_err(|_| ElfError::BadAddress)?;
    let file = usize::try_from(header.p_filesz).map_err(|_| ElfError::Malformed)?;
    let start = first - first % PAGE_SIZE;
    let end = first
        .checked_add(memory)
        .and_then(|end| end.checked_next_multiple_of(PAGE_SIZE))
        .ok_or(ElfError::BadAddress)?;
    if start < limits.low || end > limits.high {
        return Err(ElfError::BadAddress);
    }
    let lead = first - start;
    let file_bytes = if file == 0 { 0 } else { lead + file };
    let file_offset = header.p_offset - header.p_offset % page;
    Ok(Some(Segment { start, end, file_offset, file_bytes, rights }))
}

#[cfg(test)]
mod tests;
