//! The path of a relocation: from a type through members and elements to a field.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{CoreError, Relocation, Wanted};
use crate::btf::{Btf, Kind, Member, TypeId};

/// Longest path (libbpf: `BPF_CORE_SPEC_MAX_LEN`).
pub(super) const MAX_LENGTH: usize = 64;

/// One step: into a named member, an element of an array, or to a value of an enumeration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'b> {
    /// The structure, the array's element type, or the enumeration.
    pub(super) type_id: TypeId,
    /// Index of member, element or value.
    pub(super) index: u32,
    /// Name of member or value; `None` for an element.
    pub(super) name: Option<&'b str>,
}

/// A path in one BTF.
#[derive(Clone, Debug)]
pub(super) struct Spec<'b> {
    pub(super) btf: &'b Btf,
    pub(super) root: TypeId,
    /// Named members and elements; anonymous members in between are not steps of their own.
    pub(super) steps: Vec<Step<'b>>,
    /// From the root to the field.
    pub(super) bit_offset: u64,
}

/// The members of a structure or union.
pub(super) fn members(kind: &Kind) -> Option<&[Member]> {
    match kind {
        Kind::Struct { members, .. } | Kind::Union { members, .. } => Some(members),
        _ => None,
    }
}

/// The name of a value of an enumeration.
pub(super) fn value_name<'b>(btf: &'b Btf, kind: &Kind, index: u32) -> Option<&'b str> {
    let name = match kind {
        Kind::Enum { values, .. } => values.get(index as usize)?.0,
        Kind::Enum64 { values, .. } => values.get(index as usize)?.0,
        _ => return None,
    };
    btf.string(name)
}

/// Whether an array is the last member of its structure and declared without a length: any
/// index is allowed then.
pub(super) fn is_flexible(btf: &Btf, step: Option<&Step<'_>>, count: u32) -> bool {
    let Some(step) = step.filter(|step| step.name.is_some() && count == 0) else { return false };
    let members = btf.get(step.type_id).and_then(|ty| members(&ty.kind));
    members.is_some_and(|members| step.index as usize + 1 == members.len())
}

impl<'b> Spec<'b> {
    /// Reads a path and follows it through the program's own types.
    pub(super) fn parse(btf: &'b Btf, relocation: &Relocation<'_>) -> Result<Self, CoreError> {
        let bad = |what: &str| {
            let name = btf.name(relocation.type_id);
            CoreError(format!("bad path {} of {name}: {what}", relocation.path))
        };
        let mut path: Vec<u32> = Vec::new();
        for part in relocation.path.split(':') {
            if path.len() == MAX_LENGTH {
                return Err(bad("too long"));
            }
            path.push(part.parse().map_err(|_| bad("not a number"))?);
        }
        let mut spec = Self { btf, root: relocation.type_id, steps: Vec::new(), bit_offset: 0 };
        let (first, rest) = path.split_first().ok_or_else(|| bad("empty"))?;
        let (mut id, mut kind) =
            btf.resolve(relocation.type_id).ok_or_else(|| bad("no such type"))?;
        if relocation.wanted.is_enum_value() {
            let name = value_name(btf, kind, *first).filter(|_| rest.is_empty());
            let name = name.ok_or_else(|| bad("no such value"))?;
            spec.steps.push(Step { type_id: id, index: *first, name: Some(name) });
            return Ok(spec);
        }
        if !relocation.wanted.is_field() {
            return if (*first, rest.is_empty()) == (0, true) {
                Ok(spec)
            } else {
                Err(bad("a type has no parts"))
            };
        }
        spec.steps.push(Step { type_id: id, index: *first, name: None });
        let size = btf.size_of(id).ok_or_else(|| bad("a type without a size"))?;
        spec.advance(u64::from(*first) * u64::from(size) * 8).ok_or_else(|| bad("too far"))?;
        for &index in rest {
            match kind {
                Kind::Struct { members, .. } | Kind::Union { members, .. } => {
                    let member = members.get(index as usize).ok_or_else(|| bad("no member"))?;
                    spec.advance(member.bit_offset.into()).ok_or_else(|| bad("too far"))?;
                    if member.name != 0 {
                        let name = btf.string(member.name).ok_or_else(|| bad("no name"))?;
                        spec.steps.push(Step { type_id: id, index, name: Some(name) });
                    }
                    (id, kind) = btf.resolve(member.type_id).ok_or_else(|| bad("no type"))?;
                }
                Kind::Array { element, count, .. } => {
                    if index >= *count && !is_flexible(btf, spec.steps.last(), *count) {
                        return Err(bad("beyond the array"));
                    }
                    (id, kind) = btf.resolve(*element).ok_or_else(|| bad("no type"))?;
                    spec.steps.push(Step { type_id: id, index, name: None });
                    let size = btf.size_of(id).ok_or_else(|| bad("a type without a size"))?;
                    let bits = u64::from(index) * u64::from(size) * 8;
                    spec.advance(bits).ok_or_else(|| bad("too far"))?;
                }
                _ => return Err(bad("a part of what has none")),
            }
        }
        Ok(spec)
    }

    /// Moves the offset on.
    pub(super) fn advance(&mut self, bits: u64) -> Option<()> {
        self.bit_offset = self.bit_offset.checked_add(bits)?;
        Some(())
    }

    /// The path as C writes it: `struct task_struct.mm.flags`, `enum state.RUNNING`.
    pub(super) fn path_text(&self) -> String {
        let keyword = match self.btf.resolve(self.root).map(|(_, kind)| kind) {
            Some(Kind::Struct { .. }) => "struct ",
            Some(Kind::Union { .. }) => "union ",
            Some(Kind::Enum { .. } | Kind::Enum64 { .. }) => "enum ",
            _ => "",
        };
        let typedef = matches!(self.btf.get(self.root).map(|ty| &ty.kind), Some(Kind::Typedef(_)));
        let keyword = if typedef { "" } else { keyword };
        let mut text = format!("{keyword}{}", self.btf.name(self.root));
        for (position, step) in self.steps.iter().enumerate() {
            match step.name {
                Some(name) => text += &format!(".{name}"),
                None if position == 0 && step.index == 0 => {}
                None => text += &format!("[{}]", step.index),
            }
        }
        text
    }
}

/// Whether anything at all is left to find for what is wanted when nothing was found.
pub(super) const fn may_be_absent(wanted: Wanted) -> bool {
    !matches!(
        wanted,
        Wanted::FieldByteOffset
            | Wanted::FieldByteSize
            | Wanted::FieldSigned
            | Wanted::FieldLeftShift
            | Wanted::FieldRightShift
            | Wanted::EnumValue
    )
}
