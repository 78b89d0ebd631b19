//! Reads BPF objects: ELF files as `clang -target bpf -g` writes them, laid out by libbpf's
//! conventions.
//!
//! [`Object::parse`] checks everything (an object file may come from anybody) and gives plain
//! data: maps to create, programs with their instructions, types and lines. Nothing is created
//! or loaded here; the `bpf` tool does that through system calls
//! ([`ObjectProgram::patch_maps`]), host tools through [`Object::create_maps`] and
//! [`ObjectProgram::to_program`].
//!
//! An object may depend on the kernel that it is to run on: on the layout of its types (CO-RE)
//! and on its configuration (`.kconfig`). Such an object is ready only after
//! [`Object::relocate`] and [`Object::configure`].
//!
//! `elf` reads the file, `section` knows the names of sections, `maps` the declarations of
//! maps, `externs` what the kernel is to provide, `link` puts programs together from their
//! functions and applies relocations, with the `records` of their lines and types, and `relocate`
//! applies those that depend on the kernel's types.
//! [`signature`] says who made an object.

#![forbid(unsafe_code)]

mod create;
mod elf;
mod externs;
mod link;
mod maps;
mod records;
mod relocate;
mod section;
pub mod signature;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::btf::ext::{CoreRecord, FuncRecord, LineRecord, func_info, line_info};
use crate::btf::{Btf, TypeId};
use crate::map::MapDef;
use crate::prog_type::ProgType;
use crate::program::Program;
pub use externs::{ConfigKind, ConfigVariable};

/// Size of an instruction slot.
const SLOT: usize = 8;

/// Why an object cannot be used: where, and what is wrong there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectError {
    /// A section, map, program or symbol.
    pub place: String,
    pub reason: String,
}

impl ObjectError {
    fn new(place: &str, reason: impl Into<String>) -> Self {
        Self { place: String::from(place), reason: reason.into() }
    }
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{}: {}", self.place, self.reason)
        }
    }
}

impl core::error::Error for ObjectError {}

/// Where a program wants to be attached, from its section's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attach {
    /// The name does not say.
    Nowhere,
    /// Lemma's hook with this attach type.
    Hook(u32),
    /// The raw tracepoint with this name.
    RawTracepoint(String),
    /// The tracepoint of this category and name.
    Tracepoint { category: String, name: String },
    /// The timer, as a perf event.
    PerfEvent,
}

/// What becomes of a map beyond its creation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pinning {
    None,
    /// Shared by name under the BPF file system (`LIBBPF_PIN_BY_NAME`).
    ByName,
}

/// What a map of maps or programs holds from the start, by where the object has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Slot {
    /// The map with this index in [`Object::maps`].
    Map(usize),
    /// The program with this name.
    Program(String),
}

/// A map to create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectMap {
    /// As declared; for global variables their section's.
    pub name: String,
    pub def: MapDef,
    pub pinning: Pinning,
    /// What the value of key 0 is to be, for global variables.
    pub contents: Option<Vec<u8>>,
    /// To be frozen once it has its contents.
    pub freeze: bool,
    /// What the maps inside look like, for maps of maps.
    pub inner: Option<MapDef>,
    /// What is to be in it from the start, by index.
    pub slots: Vec<(u32, Slot)>,
    /// `map_extra` of `BPF_MAP_CREATE`.
    pub map_extra: u64,
    /// Types of key and value; 0 where they were declared by size.
    pub key_type: TypeId,
    pub value_type: TypeId,
}

/// A program to load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectProgram {
    /// The function's name.
    pub name: String,
    pub section: String,
    pub prog_type: ProgType,
    pub expected_attach_type: u32,
    pub attach: Attach,
    /// As `BPF_PROG_LOAD` takes them, maps named by their index in [`Object::maps`]
    /// (`BPF_PSEUDO_MAP_IDX`, `BPF_PSEUDO_MAP_IDX_VALUE`).
    pub insns: Vec<u8>,
    /// By slot; empty without BTF.
    pub functions: Vec<FuncRecord>,
    /// By slot; empty without line information.
    pub lines: Vec<LineRecord>,
    /// By slot: what depends on the kernel's types and is not resolved yet.
    pub relocations: Vec<CoreRecord>,
    /// Instructions that must not be reached because the kernel lacks something, and what:
    /// the verifier refuses a program that can get there.
    pub missing: Vec<(u32, String)>,
}

/// A parsed object.
#[derive(Clone, Debug)]
pub struct Object {
    pub license: String,
    pub maps: Vec<ObjectMap>,
    pub programs: Vec<ObjectProgram>,
    /// Type information ready for `BPF_BTF_LOAD`: sizes and offsets of sections filled in.
    pub btf: Option<Vec<u8>>,
    /// What the program wants to know of the kernel's configuration, until
    /// [`Object::configure`] has said it.
    pub config: Vec<ConfigVariable>,
}

impl Object {
    /// Checks and reads an ELF file.
    ///
    /// # Errors
    /// Whatever keeps any of its programs from being loaded, with the place where it is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ObjectError> {
        link::object(&elf::File::parse(bytes)?)
    }

    /// Whether a program depends on the kernel's types and has not been relocated.
    #[must_use]
    pub fn needs_kernel_types(&self) -> bool {
        self.programs.iter().any(|program| !program.relocations.is_empty())
    }

    /// Whether the licence makes GPL-only helpers available (Linux:
    /// `license_is_gpl_compatible`).
    #[must_use]
    pub fn gpl_compatible(&self) -> bool {
        is_gpl_compatible(&self.license)
    }
}

/// Whether a licence is one with which GPL-only helpers may be called.
#[must_use]
pub fn is_gpl_compatible(license: &str) -> bool {
    matches!(
        license,
        "GPL"
            | "GPL v2"
            | "GPL and additional rights"
            | "Dual BSD/GPL"
            | "Dual MIT/GPL"
            | "Dual MPL/GPL"
    )
}

/// Linux's numbers for the source register of an `ld_imm64`.
mod pseudo {
    pub(super) const MAP_FD: u8 = 1;
    pub(super) const MAP_VALUE: u8 = 2;
    pub(super) const FUNC: u8 = 4;
    pub(super) const MAP_IDX: u8 = 5;
    pub(super) const MAP_IDX_VALUE: u8 = 6;
    /// Of a call.
    pub(super) const CALL: u8 = 1;
}

/// The opcodes that linking looks at.
mod opcode {
    pub(super) const LD_IMM64: u8 = 0x18;
    /// The lower three bits of an opcode, and the classes that relocations may change.
    pub(super) const CLASS: u8 = 0x07;
    pub(super) const LDX: u8 = 0x01;
    pub(super) const ST: u8 = 0x02;
    pub(super) const STX: u8 = 0x03;
    pub(super) const ALU: u8 = 0x04;
    pub(super) const ALU64: u8 = 0x07;
    /// Set when the second operand is a register.
    pub(super) const SOURCE: u8 = 0x08;
    /// The bits that say how many bytes a load or store accesses.
    pub(super) const SIZE: u8 = 0x18;
    pub(super) const CALL: u8 = 0x85;
}

impl ObjectProgram {
    /// What the kernel lacks at an instruction, for the message when the verifier refuses it.
    #[must_use]
    pub fn missing_at(&self, slot: usize) -> Option<&str> {
        let missing = self.missing.iter().find(|(at, _)| *at as usize == slot);
        missing.map(|(_, what)| what.as_str())
    }

    /// Replaces map indices by the descriptors `fds`, one for each of [`Object::maps`].
    /// Returns false if an index has none.
    pub fn patch_maps(&mut self, fds: &[i32]) -> bool {
        let mut wide = false;
        for slot in self.insns.chunks_exact_mut(SLOT) {
            let [code, registers, _, _, imm @ ..] = slot else { return false };
            if core::mem::take(&mut wide) || *code != opcode::LD_IMM64 {
                continue;
            }
            wide = true;
            let kind = match *registers >> 4 {
                pseudo::MAP_IDX => pseudo::MAP_FD,
                pseudo::MAP_IDX_VALUE => pseudo::MAP_VALUE,
                _ => continue,
            };
            let Some(index) = imm.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)) else {
                return false;
            };
            let Some(fd) = fds.get(index as usize) else { return false };
            *registers = *registers & 0x0f | kind << 4;
            imm.copy_from_slice(&fd.to_le_bytes());
        }
        true
    }

    /// The program for the verifier, with `maps` in the place of [`Object::maps`].
    ///
    /// # Errors
    /// Instructions that do not decode, or a map that is not there; an object that waits for
    /// the kernel's types or configuration.
    pub fn to_program<M: Clone>(
        &self,
        object: &Object,
        maps: &[M],
        same: impl Fn(&M, &M) -> bool,
    ) -> Result<Program<M>, ObjectError> {
        let fail = |reason: &str| Err(ObjectError::new(&self.name, reason));
        if !self.relocations.is_empty() {
            return fail("it depends on the types of a kernel (CO-RE), and none were given");
        }
        if let Some(variable) = object.config.iter().find(|variable| !variable.weak) {
            return fail(&format!("the kernel's {} is not known", variable.name));
        }
        let mut program = Program::from_bytes(
            &self.insns,
            self.prog_type,
            |_| None,
            |index| maps.get(index as usize).cloned(),
            same,
        )
        .map_err(|error| ObjectError::new(&self.name, error.to_string()))?;
        program.name.clone_from(&self.name);
        program.expected_attach_type = self.expected_attach_type;
        program.gpl_compatible = object.gpl_compatible();
        if let Some(bytes) = &object.btf
            && let Ok(btf) = Btf::parse(bytes)
        {
            let slots = program.insns.len();
            program.func_info = func_info(&btf, &self.functions, slots).unwrap_or_default();
            program.line_info = line_info(&btf, &self.lines, slots).unwrap_or_default();
            program.btf = Some(Arc::from(bytes.as_slice()));
        }
        Ok(program)
    }
}
