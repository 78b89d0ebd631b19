//! Puts programs together: each entry function with every subprogram that it reaches, calls
//! and map references filled in, line records moved along.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::elf::{File, Section, Symbol};
use super::externs::Externs;
use super::maps::{self, Datasecs, Maps};
use super::records::Records;
use super::relocate;
use super::section::meaning;
use super::{Object, ObjectError, ObjectProgram, SLOT, opcode, pseudo};
use crate::btf::Btf;
use crate::btf::ext::{CoreRecord, Ext, FuncRecord, LineRecord};

/// `R_BPF_64_64`: the 64-bit immediate of an `ld_imm64`.
const R_BPF_64_64: u32 = 1;
/// `R_BPF_64_32`: the target of a call.
const R_BPF_64_32: u32 = 10;
/// Most slots of one program (Linux: `BPF_COMPLEXITY_LIMIT_INSNS`).
const MAX_SLOTS: usize = 1_000_000;
/// Most slots of all programs of an object together.
const MAX_TOTAL_SLOTS: usize = 4_000_000;

/// A function: ELF index of its section, and its first slot there.
type Place = (usize, usize);

/// Where a function lies, in slots.
#[derive(Clone, Copy)]
struct Function {
    place: Place,
    end: usize,
}

struct Linker<'f> {
    file: &'f File<'f>,
    of_functions: Records<'f, FuncRecord>,
    of_lines: Records<'f, LineRecord>,
    of_relocations: Records<'f, CoreRecord>,
    maps: Maps,
    functions: BTreeMap<Place, Function>,
    externs: Externs,
    /// The map of the kernel's configuration.
    config: Option<usize>,
}

/// Reads a whole object.
pub(super) fn object(file: &File<'_>) -> Result<Object, ObjectError> {
    let bytes = file.section(".BTF").map(|section| section.data);
    let btf = bytes.map(Btf::parse).transpose();
    let btf = btf.map_err(|error| ObjectError::new(".BTF", error.to_string()))?;
    let ext = file.section(".BTF.ext").map(|section| Ext::parse(section.data)).transpose();
    let ext = ext.map_err(|error| ObjectError::new(".BTF.ext", error.to_string()))?;
    let ext = ext.unwrap_or_default();
    let license = license(file)?;
    let sections = btf.as_ref().map(Datasecs::new);
    let mut maps = maps::collect(file, sections.as_ref())?;
    let mut externs = sections.as_ref().map(Externs::collect).transpose()?.unwrap_or_default();
    let weak = file.symbols.iter().filter(|symbol| symbol.weak && symbol.section.is_none());
    externs.mark_weak(weak.map(|symbol| symbol.name));
    let config = externs.map().map(|map| {
        maps.maps.push(map);
        maps.maps.len() - 1
    });
    let functions = functions(file)?;
    let of = btf.as_ref();
    let mut linker = Linker {
        file,
        of_functions: Records::new(of, ext.functions),
        of_lines: Records::new(of, ext.lines),
        of_relocations: Records::new(of, ext.relocations),
        maps,
        functions,
        externs,
        config,
    };
    let mut programs = Vec::new();
    let mut total = 0;
    for (index, section) in file.sections.iter().enumerate() {
        // Subprograms; of compilers that give each a section of its own, too.
        let text = section.name == ".text" || section.name.starts_with(".text.");
        if !section.code || text || section.size == 0 {
            continue;
        }
        let meaning = meaning(section.name)?;
        let mut entries: Vec<&Symbol<'_>> =
            file.symbols_of(index).filter(|symbol| symbol.function).collect();
        entries.sort_by_key(|symbol| symbol.value);
        if entries.is_empty() {
            return Err(ObjectError::new(section.name, "no function in this section"));
        }
        for symbol in entries {
            if symbol.local {
                let reason = "a static function cannot be a program; put it into .text";
                return Err(ObjectError::new(symbol.name, reason));
            }
            let place = (index, symbol.value as usize / SLOT);
            let linked = linker.link(place, symbol.name)?;
            total += linked.insns.len() / SLOT;
            if total > MAX_TOTAL_SLOTS {
                return Err(ObjectError::new(symbol.name, "the object's programs are too large"));
            }
            programs.push(ObjectProgram {
                name: symbol.name.to_string(),
                section: section.name.to_string(),
                prog_type: meaning.prog_type,
                expected_attach_type: meaning.expected_attach_type,
                attach: meaning.attach.clone(),
                insns: linked.insns,
                functions: linked.functions,
                lines: linked.lines,
                relocations: linked.relocations,
                missing: linked.missing,
            });
        }
    }
    let complete = btf.as_ref().zip(bytes).map(|(btf, raw)| maps::complete_btf(file, btf, raw));
    let maps = core::mem::take(&mut linker.maps.maps);
    let config = linker.externs.config;
    Ok(Object { license, maps, programs, btf: complete, config })
}

fn license(file: &File<'_>) -> Result<String, ObjectError> {
    let Some(section) = file.section("license") else { return Ok(String::new()) };
    let bad = || ObjectError::new("license", "not a zero-terminated string");
    let end = section.data.iter().position(|&byte| byte == 0).ok_or_else(bad)?;
    let text = section.data.get(..end).ok_or_else(bad)?;
    core::str::from_utf8(text).map(String::from).map_err(|_| bad())
}

/// Every function by its place. Functions lie on slots, within their section, and apart.
fn functions(file: &File<'_>) -> Result<BTreeMap<Place, Function>, ObjectError> {
    let mut functions = BTreeMap::new();
    for symbol in file.symbols.iter().filter(|symbol| symbol.function) {
        let Some(index) = symbol.section else { continue };
        let Some(section) = file.sections.get(index).filter(|section| section.code) else {
            return Err(ObjectError::new(symbol.name, "a function outside code"));
        };
        let slot = SLOT as u64;
        let end = symbol.value.checked_add(symbol.size);
        if symbol.value % slot != 0
            || symbol.size % slot != 0
            || symbol.size == 0
            || end.is_none_or(|end| end > section.data.len() as u64)
        {
            return Err(ObjectError::new(symbol.name, "the function is not within its section"));
        }
        let place = (index, symbol.value as usize / SLOT);
        let function = Function { place, end: place.1 + symbol.size as usize / SLOT };
        functions.insert(place, function);
    }
    let mut last: Option<Function> = None;
    for function in functions.values() {
        if last.is_some_and(|last| last.place.0 == function.place.0 && last.end > function.place.1)
        {
            return Err(ObjectError::new("", "functions overlap"));
        }
        last = Some(*function);
    }
    Ok(functions)
}

/// A program under construction, with its records by slot.
#[derive(Default)]
struct Linked {
    insns: Vec<u8>,
    functions: Vec<FuncRecord>,
    lines: Vec<LineRecord>,
    relocations: Vec<CoreRecord>,
    missing: Vec<(u32, String)>,
}

impl Linker<'_> {
    /// One program: the function at `entry` first, then what it calls, in order of discovery.
    fn link(&self, entry: Place, name: &str) -> Result<Linked, ObjectError> {
        let mut linked = Linked::default();
        // Where each function lies in the program, and which slots refer to which function.
        let mut starts: BTreeMap<Place, usize> = BTreeMap::new();
        let mut queue = alloc::vec![entry];
        let mut references: Vec<(usize, Place)> = Vec::new();
        let mut next = 0;
        while let Some(&place) = queue.get(next) {
            next += 1;
            if starts.contains_key(&place) {
                continue;
            }
            let start = linked.insns.len() / SLOT;
            starts.insert(place, start);
            let function = self.functions.get(&place).copied().ok_or_else(|| {
                ObjectError::new(name, "calls or refers to what is not the start of a function")
            })?;
            let before = references.len();
            self.copy(function, name, &mut linked, &mut references)?;
            if linked.insns.len() / SLOT > MAX_SLOTS {
                return Err(ObjectError::new(name, "more than a million instructions"));
            }
            queue.extend(references.iter().skip(before).map(|(_, target)| *target));
            self.move_records(function, start, &mut linked)?;
        }
        for (slot, target) in references {
            let Some(&start) = starts.get(&target) else { continue };
            let distance = start as i64 - slot as i64 - 1;
            let imm = i32::try_from(distance).map_err(|_| ObjectError::new(name, "too large"))?;
            set_imm(&mut linked.insns, slot, imm);
        }
        Ok(linked)
    }

    /// Appends a function's instructions, with relocations applied.
    fn copy(
        &self,
        function: Function,
        name: &str,
        linked: &mut Linked,
        references: &mut Vec<(usize, Place)>,
    ) -> Result<(), ObjectError> {
        let (index, first) = function.place;
        let gone = || ObjectError::new(name, "the function is not within its section");
        let section = self.file.sections.get(index).ok_or_else(gone)?;
        let body = section.data.get(first * SLOT..function.end * SLOT).ok_or_else(gone)?;
        let base = linked.insns.len() / SLOT;
        linked.insns.extend_from_slice(body);
        let from = section.relocations.partition_point(|r| r.offset < (first * SLOT) as u64);
        let mut relocations = section.relocations.iter().skip(from).peekable();
        let mut slot = first;
        while slot < function.end {
            let relocation =
                relocations.next_if(|relocation| relocation.offset == (slot * SLOT) as u64);
            let at = base + slot - first;
            let insns = &mut linked.insns;
            let Some((code, source, imm)) = instruction(insns, at) else { return Err(gone()) };
            if let Some(relocation) = relocation {
                let symbol = self.file.symbols.get(relocation.symbol).ok_or_else(gone)?;
                match (relocation.kind, code) {
                    (R_BPF_64_64, opcode::LD_IMM64) => {
                        if let Some(target) = self.load_address(symbol, name, insns, at)? {
                            references.push((at, target));
                        }
                    }
                    (R_BPF_64_32, opcode::CALL) if symbol.section.is_none() => {
                        let missing = self.call_extern(symbol, name)?;
                        relocate::poison(insns, at);
                        linked.missing.push((at as u32, missing));
                    }
                    (R_BPF_64_32, opcode::CALL) => {
                        references.push((at, self.function_at(symbol, i64::from(imm) + 1, name)?));
                    }
                    (kind, _) => {
                        let reason = format!("relocation {kind} at instruction {slot}");
                        return Err(ObjectError::new(section.name, reason));
                    }
                }
            } else if code == opcode::CALL && source == pseudo::CALL {
                let target = slot as i64 + 1 + i64::from(imm);
                let target = usize::try_from(target).map_err(|_| gone())?;
                references.push((at, (index, target)));
            }
            slot += if code == opcode::LD_IMM64 { 2 } else { 1 };
        }
        // What is left in this function's range lies inside an instruction.
        if relocations.next().is_some_and(|r| r.offset < (function.end * SLOT) as u64) {
            return Err(ObjectError::new(section.name, "a relocation inside an instruction"));
        }
        Ok(())
    }

    /// Fills in an `ld_imm64` of a map, of a variable, or of a function (which is returned).
    fn load_address(
        &self,
        symbol: &Symbol<'_>,
        name: &str,
        insns: &mut [u8],
        at: usize,
    ) -> Result<Option<Place>, ObjectError> {
        let fail = |reason: String| Err(ObjectError::new(name, reason));
        let Some((_, _, imm)) = instruction(insns, at) else { return fail(String::new()) };
        let Some(index) = symbol.section else {
            return self.load_extern(symbol, name, insns, at).map(|()| None);
        };
        if let Some(offsets) = self.maps.declared.get(&index) {
            let map = offsets.get(&symbol.value).filter(|_| imm == 0 && !symbol.is_section);
            let Some(&map) = map else {
                return fail(format!("refers into map `{}` and not to it", symbol.name));
            };
            set_source(insns, at, pseudo::MAP_IDX);
            set_imm(insns, at, map as i32);
            return Ok(None);
        }
        if let Some(&map) = self.maps.variables.get(&index) {
            let offset = i64::try_from(symbol.value).ok().and_then(|v| v.checked_add(imm.into()));
            let size = self.file.sections.get(index).map_or(0, |section| section.size);
            let Some(offset) = offset.filter(|o| (0..=size as i64).contains(o)) else {
                return fail(format!("refers beyond the end of `{}`", symbol.name));
            };
            set_source(insns, at, pseudo::MAP_IDX_VALUE);
            set_imm(insns, at, map as i32);
            set_imm(insns, at + 1, offset as i32);
            return Ok(None);
        }
        if self.file.sections.get(index).is_some_and(|section| section.code) {
            let target = self.function_at(symbol, i64::from(imm) / SLOT as i64, name)?;
            set_source(insns, at, pseudo::FUNC);
            return Ok(Some(target));
        }
        let section =
            self.file.sections.get(index).map_or("", |section: &Section<'_>| section.name);
        fail(format!("refers to `{}` in section {section}", symbol.name))
    }

    /// Fills in an `ld_imm64` of what the kernel is to provide.
    fn load_extern(
        &self,
        symbol: &Symbol<'_>,
        name: &str,
        insns: &mut [u8],
        at: usize,
    ) -> Result<(), ObjectError> {
        if let Some(map) = self.config
            && let Some(offset) = self.externs.config_offset(symbol.name)
        {
            set_source(insns, at, pseudo::MAP_IDX_VALUE);
            set_imm(insns, at, map as i32);
            set_imm(insns, at + 1, offset as i32);
            return Ok(());
        }
        if self.externs.is_kernel_symbol(symbol.name) {
            if !symbol.weak {
                let reason = format!("kernel symbol `{}` is not available here", symbol.name);
                return Err(ObjectError::new(name, reason));
            }
            // A weak symbol that is not there has the address 0.
            set_source(insns, at, 0);
            set_imm(insns, at, 0);
            set_imm(insns, at + 1, 0);
            return Ok(());
        }
        let reason = format!("refers to `{}`, which is not defined", symbol.name);
        Err(ObjectError::new(name, reason))
    }

    /// A call of a function of the kernel's: none is available, so a weak one must not be
    /// reached.
    fn call_extern(&self, symbol: &Symbol<'_>, name: &str) -> Result<String, ObjectError> {
        if !self.externs.is_kernel_symbol(symbol.name) {
            let reason = format!("calls `{}`, which is not defined", symbol.name);
            return Err(ObjectError::new(name, reason));
        }
        let missing = format!("kernel function `{}` is not available here", symbol.name);
        if symbol.weak { Ok(missing) } else { Err(ObjectError::new(name, missing)) }
    }

    /// The function `slots` behind a symbol.
    fn function_at(
        &self,
        symbol: &Symbol<'_>,
        slots: i64,
        name: &str,
    ) -> Result<Place, ObjectError> {
        let Some(section) = symbol.section else {
            let reason = format!("calls `{}`, which is not defined", symbol.name);
            return Err(ObjectError::new(name, reason));
        };
        let start = i64::try_from(symbol.value / SLOT as u64).ok();
        let target = start.and_then(|start| start.checked_add(slots));
        match target.and_then(|target| usize::try_from(target).ok()) {
            Some(target) if self.functions.contains_key(&(section, target)) => {
                Ok((section, target))
            }
            _ => Err(ObjectError::new(name, format!("calls into the middle of `{}`", symbol.name))),
        }
    }

    /// Appends a function's records, by slot of the program. Each kind has one for an instruction:
    /// otherwise programs that share a function would multiply what the file has.
    fn move_records(
        &self,
        function: Function,
        start: usize,
        linked: &mut Linked,
    ) -> Result<(), ObjectError> {
        let (index, first) = function.place;
        let name = self.file.sections.get(index).map_or("", |section| section.name);
        let moved = |slot: usize| (start + slot - first) as u32;
        for (slot, record) in self.of_functions.of(name, first, function.end) {
            let insn = moved(slot);
            if linked.functions.last().is_none_or(|last| last.insn < insn) {
                linked.functions.push(FuncRecord { insn, ..record });
            }
        }
        for (slot, record) in self.of_lines.of(name, first, function.end) {
            let insn = moved(slot);
            // The same instruction may be named twice; the first is the innermost.
            if linked.lines.last().is_none_or(|last| last.insn < insn) {
                linked.lines.push(LineRecord { insn, ..record });
            }
        }
        for (slot, record) in self.of_relocations.of(name, first, function.end) {
            let insn = moved(slot);
            if linked.relocations.last().is_some_and(|last| last.insn >= insn) {
                let reason = format!("two CO-RE relocations of the instruction at {slot}");
                return Err(ObjectError::new(name, reason));
            }
            linked.relocations.push(CoreRecord { insn, ..record });
        }
        Ok(())
    }
}

/// Opcode, source register and immediate of a slot.
pub(super) fn instruction(insns: &[u8], slot: usize) -> Option<(u8, u8, i32)> {
    match insns.get(slot * SLOT..)?.first_chunk::<SLOT>()? {
        [code, registers, _, _, imm @ ..] => {
            Some((*code, registers >> 4, i32::from_le_bytes(*imm)))
        }
    }
}

pub(super) fn set_imm(insns: &mut [u8], slot: usize, imm: i32) {
    if let Some(bytes) = insns.get_mut(slot * SLOT + 4..slot * SLOT + 8) {
        bytes.copy_from_slice(&imm.to_le_bytes());
    }
}

fn set_source(insns: &mut [u8], slot: usize, source: u8) {
    if let Some(registers) = insns.get_mut(slot * SLOT + 1) {
        *registers = *registers & 0x0f | source << 4;
    }
}
