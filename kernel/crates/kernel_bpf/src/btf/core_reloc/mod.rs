//! CO-RE ("compile once, run everywhere"): what an instruction that was compiled with one
//! kernel's types must say for another kernel's (Linux `Documentation/bpf/llvm_reloc.rst`,
//! section "CO-RE Relocations").
//!
//! A [`Relocation`] names a type that the program was compiled with, a path into it, and what
//! the instruction wants to know of it ([`Wanted`]): where a field lies, how large it is,
//! whether it is there at all. `spec` reads the path, `find` looks for the same path in a type
//! of the same name in the kernel's BTF, `value` computes the numbers, and [`Kernel::resolve`]
//! does it all. Types match by name, without the flavour behind `___`; numbers, sizes and order
//! of members may differ.

mod compatible;
mod find;
mod spec;
mod value;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::{Btf, Kind, TypeId};
use spec::Spec;
pub use value::{Access, Resizable, Resolved};

/// Most candidates for one type: a kernel has a few types of one name at most.
const MAX_CANDIDATES: usize = 256;

/// What an instruction wants to know (`enum bpf_core_relo_kind`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Wanted {
    FieldByteOffset = 0,
    FieldByteSize = 1,
    FieldExists = 2,
    FieldSigned = 3,
    FieldLeftShift = 4,
    FieldRightShift = 5,
    TypeIdLocal = 6,
    TypeIdTarget = 7,
    TypeExists = 8,
    TypeSize = 9,
    EnumValueExists = 10,
    EnumValue = 11,
    TypeMatches = 12,
}

impl Wanted {
    /// By Linux's number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        const ALL: [Wanted; 13] = [
            Wanted::FieldByteOffset,
            Wanted::FieldByteSize,
            Wanted::FieldExists,
            Wanted::FieldSigned,
            Wanted::FieldLeftShift,
            Wanted::FieldRightShift,
            Wanted::TypeIdLocal,
            Wanted::TypeIdTarget,
            Wanted::TypeExists,
            Wanted::TypeSize,
            Wanted::EnumValueExists,
            Wanted::EnumValue,
            Wanted::TypeMatches,
        ];
        ALL.get(number as usize).copied()
    }

    const fn is_field(self) -> bool {
        matches!(
            self,
            Self::FieldByteOffset
                | Self::FieldByteSize
                | Self::FieldExists
                | Self::FieldSigned
                | Self::FieldLeftShift
                | Self::FieldRightShift
        )
    }

    const fn is_enum_value(self) -> bool {
        matches!(self, Self::EnumValueExists | Self::EnumValue)
    }

    /// What it is called in messages, as libbpf writes it.
    const fn name(self) -> &'static str {
        match self {
            Self::FieldByteOffset => "byte_off",
            Self::FieldByteSize => "byte_sz",
            Self::FieldExists => "field_exists",
            Self::FieldSigned => "signed",
            Self::FieldLeftShift => "lshift_u64",
            Self::FieldRightShift => "rshift_u64",
            Self::TypeIdLocal => "local_type_id",
            Self::TypeIdTarget => "target_type_id",
            Self::TypeExists => "type_exists",
            Self::TypeSize => "type_size",
            Self::EnumValueExists => "enumval_exists",
            Self::EnumValue => "enumval_value",
            Self::TypeMatches => "type_matches",
        }
    }
}

/// One relocation, of the program's own types.
#[derive(Clone, Copy, Debug)]
pub struct Relocation<'a> {
    pub type_id: TypeId,
    /// Indices into the type, with colons between them.
    pub path: &'a str,
    pub wanted: Wanted,
}

/// Why a relocation cannot be resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoreError(pub String);

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for CoreError {}

/// A kernel's types, with an index by name.
pub struct Kernel<'a> {
    btf: &'a Btf,
    by_name: BTreeMap<&'a str, Vec<TypeId>>,
}

/// A name without the flavour behind three underscores (`task_struct___old`).
fn essential(name: &str) -> &str {
    let bytes = name.as_bytes();
    for at in (0..bytes.len().saturating_sub(4)).rev() {
        if let Some([first, b'_', b'_', b'_', last]) = bytes.get(at..at + 5)
            && *first != b'_'
            && *last != b'_'
        {
            return name.get(..=at).unwrap_or(name);
        }
    }
    name
}

impl<'a> Kernel<'a> {
    /// Indexes a kernel's BTF.
    #[must_use]
    pub fn new(btf: &'a Btf) -> Self {
        let mut by_name: BTreeMap<&str, Vec<TypeId>> = BTreeMap::new();
        for (id, ty) in btf.iter() {
            let name = essential(btf.name(id));
            if !name.is_empty() && !matches!(ty.kind, Kind::Var { .. } | Kind::Datasec { .. }) {
                by_name.entry(name).or_default().push(id);
            }
        }
        Self { btf, by_name }
    }

    /// Computes what a relocation's instruction must say. A field, type or value that this
    /// kernel lacks gives [`Resolved::missing`] where the answer cannot be "no".
    ///
    /// # Errors
    /// A path that does not fit the program's own types, or types of this kernel that
    /// disagree.
    pub fn resolve(&self, local: &Btf, relocation: &Relocation<'_>) -> Result<Resolved, CoreError> {
        let spec = Spec::parse(local, relocation)?;
        let describe =
            |what: &str| CoreError(format!("{} ({})", what, spec.describe(relocation.wanted)));
        if relocation.wanted == Wanted::TypeIdLocal {
            return Ok(Resolved::local_id(relocation.type_id));
        }
        let name = essential(local.name(relocation.type_id));
        if name.is_empty() {
            return Err(describe("a type without a name cannot be found in another kernel"));
        }
        let kind = local.get(relocation.type_id).map(|ty| &ty.kind);
        let mut found: Option<(Spec<'_>, Resolved)> = None;
        let candidates = self.by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        for &id in candidates.iter().take(MAX_CANDIDATES) {
            let same_kind = match (kind, self.btf.get(id).map(|ty| &ty.kind)) {
                (Some(a), Some(b)) => compatible::same_kind(a, b),
                _ => false,
            };
            if !same_kind {
                continue;
            }
            let Some(target) = find::find(&spec, self.btf, id, relocation.wanted) else {
                continue;
            };
            let resolved = value::resolve(&spec, Some(&target), relocation.wanted)
                .map_err(|error| describe(&error))?;
            if let Some((first, known)) = &found
                && (first.bit_offset != target.bit_offset
                    || (known.value, known.missing.is_some())
                        != (resolved.value, resolved.missing.is_some()))
            {
                return Err(describe("types of one name in the kernel disagree"));
            }
            found.get_or_insert((target, resolved));
        }
        match found {
            Some((_, resolved)) => Ok(resolved),
            None => value::resolve(&spec, None, relocation.wanted).map_err(|e| describe(&e)),
        }
    }
}

impl Spec<'_> {
    /// What a path leads to, as C writes it, with what is wanted.
    fn describe(&self, wanted: Wanted) -> String {
        let mut text = self.path_text();
        if !wanted.is_field() {
            text = text.trim_start_matches('.').to_string();
        }
        format!("{} of {text}", wanted.name())
    }
}
