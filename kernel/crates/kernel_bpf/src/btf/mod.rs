//! BTF, the type information of BPF objects and programs (Linux
//! `Documentation/bpf/btf.rst`).
//!
//! [`Btf::parse`] checks bytes that may come from anybody: afterwards every type that is
//! referred to exists, every name is a string, and nothing is nested endlessly. The loader
//! reads map declarations from it, the kernel checks `BPF_BTF_LOAD` with it, and [`ext`]
//! reads the line and function records that name its strings and types.

#![forbid(unsafe_code)]

pub mod core_reloc;
mod describe;
pub mod ext;
mod fields;
mod kptr;
mod parse;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

pub use describe::kernel_types;

/// Most types that one BTF may have (Linux: `BTF_MAX_TYPE`).
pub const MAX_TYPES: usize = 0x000f_ffff;
/// Most bytes of BTF (Linux: `BTF_MAX_SIZE`).
pub const MAX_BYTES: usize = 16 << 20;
/// How deep types may be nested where they are followed (Linux: `MAX_RESOLVE_DEPTH`).
const MAX_DEPTH: usize = 32;

/// Number of a type; 0 is `void`.
pub type TypeId = u32;

/// A member of a structure or union.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Offset of its name among the strings.
    pub name: u32,
    pub type_id: TypeId,
    /// Offset in bits.
    pub bit_offset: u32,
    /// Bits of a bit field; 0 for a whole member.
    pub bit_size: u32,
}

/// A parameter of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Param {
    pub name: u32,
    /// 0 with an empty name says that more arguments follow.
    pub type_id: TypeId,
}

/// A variable of a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SectionVar {
    pub type_id: TypeId,
    pub offset: u32,
    pub size: u32,
    /// Where `offset` lies in the parsed bytes, for a loader that fills it in.
    pub position: usize,
}

/// What kind of type it is, with what that kind carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    Void,
    Int {
        size: u32,
        bits: u8,
        offset: u8,
        encoding: u8,
    },
    Ptr(TypeId),
    Array {
        element: TypeId,
        index: TypeId,
        count: u32,
    },
    Struct {
        size: u32,
        members: Box<[Member]>,
    },
    Union {
        size: u32,
        members: Box<[Member]>,
    },
    Enum {
        size: u32,
        signed: bool,
        values: Box<[(u32, i32)]>,
    },
    Enum64 {
        size: u32,
        signed: bool,
        values: Box<[(u32, u64)]>,
    },
    Fwd {
        union: bool,
    },
    Typedef(TypeId),
    Volatile(TypeId),
    Const(TypeId),
    Restrict(TypeId),
    /// Linkage: 0 static, 1 global, 2 extern.
    Func {
        proto: TypeId,
        linkage: u16,
    },
    FuncProto {
        result: TypeId,
        params: Box<[Param]>,
    },
    /// Linkage: 0 static, 1 global, 2 extern.
    Var {
        type_id: TypeId,
        linkage: u32,
    },
    /// `position`: where `size` lies in the parsed bytes.
    Datasec {
        size: u32,
        vars: Box<[SectionVar]>,
        position: usize,
    },
    Float {
        size: u32,
    },
    DeclTag {
        type_id: TypeId,
        component: i32,
    },
    TypeTag(TypeId),
}

/// A type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Type {
    /// Offset of its name among the strings.
    pub name: u32,
    pub kind: Kind,
}

/// Checked type information.
#[derive(Clone, Debug)]
pub struct Btf {
    /// By number; the first is `void`.
    types: Vec<Type>,
    /// Zero-terminated strings; the first is empty.
    strings: Box<[u8]>,
}

/// What is wrong where nothing is: there is no memory to read it.
const NO_MEMORY: &str = "there is not enough memory to read it";

/// What is wrong with BTF, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BtfError {
    /// Number of the type, or 0 for the header and the strings.
    pub type_id: TypeId,
    pub what: &'static str,
}

impl BtfError {
    const fn new(type_id: TypeId, what: &'static str) -> Self {
        Self { type_id, what }
    }

    /// Whether nothing is wrong but that there is no memory to read it.
    #[must_use]
    pub fn is_for_want_of_memory(&self) -> bool {
        self.what == NO_MEMORY
    }
}

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.type_id {
            0 => write!(f, "BTF: {}", self.what),
            id => write!(f, "BTF type {id}: {}", self.what),
        }
    }
}

impl core::error::Error for BtfError {}

impl Btf {
    /// Checks `bytes` (a `.BTF` section, or what `BPF_BTF_LOAD` is given) and reads them.
    ///
    /// # Errors
    /// Anything that Linux would refuse in a header, a string, a type's shape or a reference.
    pub fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        parse::parse(bytes)
    }

    /// How many types there are, `void` included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether there is no type but `void`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.len() <= 1
    }

    /// The type with this number.
    #[must_use]
    pub fn get(&self, id: TypeId) -> Option<&Type> {
        self.types.get(id as usize)
    }

    /// All types with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (TypeId, &Type)> {
        (0..).zip(&self.types)
    }

    /// The string at an offset; `None` when there is none or it is not UTF-8.
    #[must_use]
    pub fn string(&self, offset: u32) -> Option<&str> {
        let rest = self.strings.get(offset as usize..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        core::str::from_utf8(rest.get(..end)?).ok()
    }

    /// A type's name; empty when it has none.
    #[must_use]
    pub fn name(&self, id: TypeId) -> &str {
        self.get(id).and_then(|ty| self.string(ty.name)).unwrap_or("")
    }

    /// The type behind type definitions and qualifiers.
    #[must_use]
    pub fn resolve(&self, id: TypeId) -> Option<(TypeId, &Kind)> {
        let mut id = id;
        for _ in 0..=MAX_DEPTH {
            match &self.get(id)?.kind {
                Kind::Typedef(next)
                | Kind::Volatile(next)
                | Kind::Const(next)
                | Kind::Restrict(next)
                | Kind::TypeTag(next) => id = *next,
                kind => return Some((id, kind)),
            }
        }
        None
    }

    /// The size of a value of a type in bytes; `None` for what has none.
    #[must_use]
    pub fn size_of(&self, id: TypeId) -> Option<u32> {
        let mut id = id;
        let mut count = 1u32;
        for _ in 0..=MAX_DEPTH {
            let size = match *self.resolve(id)?.1 {
                Kind::Array { element, count: elements, .. } => {
                    count = count.checked_mul(elements)?;
                    id = element;
                    continue;
                }
                Kind::Var { type_id, .. } => {
                    id = type_id;
                    continue;
                }
                Kind::Ptr(_) => 8,
                Kind::Int { size, .. }
                | Kind::Struct { size, .. }
                | Kind::Union { size, .. }
                | Kind::Enum { size, .. }
                | Kind::Enum64 { size, .. }
                | Kind::Datasec { size, .. }
                | Kind::Float { size } => size,
                _ => return None,
            };
            return count.checked_mul(size);
        }
        None
    }
}
