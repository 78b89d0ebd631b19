//! Line and function records: which source line and which function an instruction begins.
//!
//! They come from an object's `.BTF.ext` section ([`Ext::parse`]), where instructions are
//! counted in bytes from the start of a section, and from `BPF_PROG_LOAD` ([`func_records`],
//! [`line_records`]), where they are counted in slots of the program. [`func_info`] and
//! [`line_info`] turn the latter into what the verifier's messages need.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::parse::{Reader, section};
use super::{Btf, BtfError, Kind};
use crate::program::{FuncInfo, LineInfo};

const MAGIC: u16 = 0xeb9f;
/// Largest record that is understood (Linux: `MAX_FUNCINFO_REC_SIZE`).
const MAX_RECORD: u32 = 252;

/// `struct bpf_func_info`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FuncRecord {
    pub insn: u32,
    pub type_id: u32,
}

/// `struct bpf_line_info`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineRecord {
    pub insn: u32,
    /// Offset of the file's name among the strings.
    pub file: u32,
    /// Offset of the line's text.
    pub text: u32,
    /// Line in the upper 22 bits, column in the lower 10.
    pub line_column: u32,
}

/// `struct bpf_core_relo`: an instruction that depends on a type of the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CoreRecord {
    pub insn: u32,
    /// The type that the program was compiled with.
    pub type_id: u32,
    /// Offset of the access string among the strings.
    pub access: u32,
    /// `enum bpf_core_relo_kind`.
    pub kind: u32,
}

/// The records of one section of an object.
#[derive(Clone, Debug)]
pub struct SectionRecords<T> {
    /// Offset of the section's name among the strings.
    pub section: u32,
    /// With instructions in bytes from the section's start.
    pub records: Vec<T>,
}

/// A parsed `.BTF.ext` section.
#[derive(Clone, Debug, Default)]
pub struct Ext {
    pub functions: Vec<SectionRecords<FuncRecord>>,
    pub lines: Vec<SectionRecords<LineRecord>>,
    /// CO-RE relocations.
    pub relocations: Vec<SectionRecords<CoreRecord>>,
}

const SHORT: BtfError = BtfError::new(0, ".BTF.ext is cut short");

impl Ext {
    /// Reads a `.BTF.ext` section.
    ///
    /// # Errors
    /// A header or records that do not fit their section.
    pub fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        let bad = |what| BtfError::new(0, what);
        let mut header = Reader::new(bytes);
        if header.u16() != Some(MAGIC) || header.u16() != Some(1) {
            return Err(bad(".BTF.ext has an unknown header"));
        }
        let mut word = || header.u32().ok_or(SHORT);
        let length = word()?;
        let (functions, function_bytes) = (word()?, word()?);
        let (lines, line_bytes) = (word()?, word()?);
        let relocations = if length >= 32 { [word()?, word()?] } else { [0, 0] };
        if length < 24 || length as usize > bytes.len() {
            return Err(bad(".BTF.ext has an impossible header length"));
        }
        let part = |offset, size| section(bytes, length as usize, offset, size).ok_or(SHORT);
        Ok(Self {
            functions: sections(part(functions, function_bytes)?, function)?,
            lines: sections(part(lines, line_bytes)?, line)?,
            relocations: sections(part(relocations[0], relocations[1])?, relocation)?,
        })
    }
}

fn function(reader: &mut Reader<'_>) -> Option<FuncRecord> {
    Some(FuncRecord { insn: reader.u32()?, type_id: reader.u32()? })
}

fn line(reader: &mut Reader<'_>) -> Option<LineRecord> {
    Some(LineRecord {
        insn: reader.u32()?,
        file: reader.u32()?,
        text: reader.u32()?,
        line_column: reader.u32()?,
    })
}

fn relocation(reader: &mut Reader<'_>) -> Option<CoreRecord> {
    Some(CoreRecord {
        insn: reader.u32()?,
        type_id: reader.u32()?,
        access: reader.u32()?,
        kind: reader.u32()?,
    })
}

fn sections<T>(
    bytes: &[u8],
    read: fn(&mut Reader<'_>) -> Option<T>,
) -> Result<Vec<SectionRecords<T>>, BtfError> {
    let mut sections = Vec::new();
    if bytes.is_empty() {
        return Ok(sections);
    }
    let mut reader = Reader::new(bytes);
    let size = reader.u32().ok_or(SHORT)?;
    while !reader.is_empty() {
        let section = reader.u32().ok_or(SHORT)?;
        let count = reader.u32().ok_or(SHORT)? as usize;
        let length = count.checked_mul(size as usize).ok_or(SHORT)?;
        let records = records(reader.take(length).ok_or(SHORT)?, size, read)?;
        sections.push(SectionRecords { section, records });
    }
    Ok(sections)
}

fn records<T>(
    bytes: &[u8],
    size: u32,
    read: fn(&mut Reader<'_>) -> Option<T>,
) -> Result<Vec<T>, BtfError> {
    let bad = BtfError::new(0, "records of an impossible size");
    if !(8..=MAX_RECORD).contains(&size)
        || !size.is_multiple_of(4)
        || !bytes.len().is_multiple_of(size as usize)
    {
        return Err(bad);
    }
    bytes.chunks(size as usize).map(|chunk| read(&mut Reader::new(chunk)).ok_or(bad)).collect()
}

/// Reads the `func_info` array of `BPF_PROG_LOAD`, whose records have `size` bytes.
///
/// # Errors
/// An impossible record size.
pub fn func_records(bytes: &[u8], size: u32) -> Result<Vec<FuncRecord>, BtfError> {
    records(bytes, size, function)
}

/// Reads the `line_info` array of `BPF_PROG_LOAD`, whose records have `size` bytes.
///
/// # Errors
/// An impossible record size.
pub fn line_records(bytes: &[u8], size: u32) -> Result<Vec<LineRecord>, BtfError> {
    records(bytes, size, line)
}

/// Names the functions of a program with `slots` slots.
///
/// # Errors
/// Records that are not ascending or beyond the program, or types that are no functions.
pub fn func_info(
    btf: &Btf,
    records: &[FuncRecord],
    slots: usize,
) -> Result<Vec<FuncInfo>, BtfError> {
    let mut infos: Vec<FuncInfo> = Vec::with_capacity(records.len().min(slots));
    for record in records {
        let ascending = infos.last().is_none_or(|last| last.insn < record.insn);
        if !ascending || record.insn as usize >= slots {
            return Err(BtfError::new(record.type_id, "function records out of order"));
        }
        let Some(Kind::Func { linkage, .. }) = btf.get(record.type_id).map(|ty| &ty.kind) else {
            return Err(BtfError::new(record.type_id, "not a function"));
        };
        infos.push(FuncInfo {
            insn: record.insn,
            type_id: record.type_id,
            name: Arc::from(btf.name(record.type_id)),
            global: *linkage == 1,
        });
    }
    Ok(infos)
}

/// Names the source lines of a program with `slots` slots.
///
/// # Errors
/// Records that are not ascending or beyond the program, or text that is not there.
pub fn line_info(
    btf: &Btf,
    records: &[LineRecord],
    slots: usize,
) -> Result<Vec<LineInfo>, BtfError> {
    let bad = |what| BtfError::new(0, what);
    // The same few strings occur again and again.
    let mut strings: BTreeMap<u32, Arc<str>> = BTreeMap::new();
    let mut string = |offset: u32| -> Result<Arc<str>, BtfError> {
        if let Some(known) = strings.get(&offset) {
            return Ok(Arc::clone(known));
        }
        let text = btf.string(offset).ok_or(bad("a line without text or file"))?;
        let text: Arc<str> = Arc::from(text.trim());
        strings.insert(offset, Arc::clone(&text));
        Ok(text)
    };
    let mut infos: Vec<LineInfo> = Vec::with_capacity(records.len().min(slots));
    for record in records {
        let ascending = infos.last().is_none_or(|last| last.insn < record.insn);
        if !ascending || record.insn as usize >= slots {
            return Err(bad("line records out of order"));
        }
        infos.push(LineInfo {
            insn: record.insn,
            file: string(record.file)?,
            line: record.line_column >> 10,
            column: record.line_column & 0x3ff,
            text: string(record.text)?,
        });
    }
    Ok(infos)
}
