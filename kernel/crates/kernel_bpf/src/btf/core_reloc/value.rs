//! The numbers that an instruction must say, from the two paths.

use alloc::format;
use alloc::string::{String, ToString};

use super::Wanted;
use super::spec::{Spec, may_be_absent, members};
use crate::btf::{Btf, Kind, TypeId};

/// How an instruction accesses a field: what its size may be changed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Bytes of the field.
    pub size: u32,
    /// A pointer, or an unsigned integer: of these a narrower or wider one can be read in the
    /// other's place.
    pub kind: Resizable,
}

/// What a field whose size differs is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resizable {
    Pointer,
    Unsigned,
    No,
}

/// What a relocation comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// What the instruction says as compiled; `None` if it is not to be compared.
    pub original: Option<u64>,
    /// What it must say.
    pub value: u64,
    /// The field as compiled and in this kernel, for a load or store of it.
    pub access: Option<(Access, Access)>,
    /// What this kernel lacks: the instruction must not be reached.
    pub missing: Option<String>,
}

impl Resolved {
    /// The program's own number of a type.
    pub(super) fn local_id(id: TypeId) -> Self {
        Self { original: None, value: id.into(), access: None, missing: None }
    }
}

/// One side's number.
struct Number {
    value: u64,
    access: Option<Access>,
    /// Whether the compiler must have come to the same number.
    certain: bool,
}

/// Computes both sides' numbers. `target` is `None` where the kernel has no such path.
pub(super) fn resolve(
    local: &Spec<'_>,
    target: Option<&Spec<'_>>,
    wanted: Wanted,
) -> Result<Resolved, String> {
    let own = number(local, wanted)?;
    let original = own.certain.then_some(own.value);
    let Some(target) = target else {
        // Whether it exists, and what size nothing has, can be said.
        if may_be_absent(wanted) {
            return Ok(Resolved { original, value: 0, access: None, missing: None });
        }
        let missing = format!("this kernel has no {}", local.path_text());
        return Ok(Resolved { original, value: 0, access: None, missing: Some(missing) });
    };
    let found = number(target, wanted)?;
    Ok(Resolved {
        original,
        value: found.value,
        access: own.access.zip(found.access),
        missing: None,
    })
}

fn number(spec: &Spec<'_>, wanted: Wanted) -> Result<Number, String> {
    let plain = |value: u64| Number { value, access: None, certain: true };
    let no_size = || "a type without a size".to_string();
    match wanted {
        Wanted::FieldExists | Wanted::TypeExists | Wanted::TypeMatches => Ok(plain(1)),
        Wanted::EnumValueExists => Ok(plain(1)),
        // Linking renumbers types.
        Wanted::TypeIdLocal | Wanted::TypeIdTarget => {
            Ok(Number { certain: false, ..plain(spec.root.into()) })
        }
        Wanted::TypeSize => Ok(plain(spec.btf.size_of(spec.root).ok_or_else(no_size)?.into())),
        Wanted::EnumValue => {
            let step = spec.steps.first().ok_or("no value")?;
            let value = match spec.btf.get(step.type_id).map(|ty| &ty.kind) {
                Some(Kind::Enum { values, .. }) => {
                    let value = values.get(step.index as usize).map(|(_, value)| *value);
                    // Sign-extended in any case: old compilers do not say which they are.
                    i64::from(value.ok_or("no value")?) as u64
                }
                Some(Kind::Enum64 { values, .. }) => {
                    values.get(step.index as usize).map(|(_, value)| *value).ok_or("no value")?
                }
                _ => return Err("not an enumeration".to_string()),
            };
            Ok(plain(value))
        }
        _ => field(spec, wanted),
    }
}

/// Offset, size and sign of a field.
fn field(spec: &Spec<'_>, wanted: Wanted) -> Result<Number, String> {
    let btf = spec.btf;
    let step = spec.steps.last().ok_or("no field")?;
    let no_size = || "a field without a size".to_string();
    let plain = |value: u64, certain| Number { value, access: None, certain };
    let Some(_) = step.name else {
        // An element of an array.
        let size = btf.size_of(step.type_id).ok_or_else(no_size)?;
        let access = Some(Access { size, kind: resizable(btf, step.type_id) });
        return match wanted {
            Wanted::FieldByteOffset => {
                Ok(Number { value: spec.bit_offset / 8, access, certain: true })
            }
            Wanted::FieldByteSize => Ok(plain(size.into(), true)),
            _ => Err("an element of an array has an offset and a size only".to_string()),
        };
    };
    let member = btf
        .get(step.type_id)
        .and_then(|ty| members(&ty.kind))
        .and_then(|members| members.get(step.index as usize))
        .ok_or("no member")?;
    let (type_id, kind) = btf.resolve(member.type_id).ok_or("no type")?;
    let size = u64::from(btf.size_of(type_id).ok_or_else(no_size)?);
    let start = spec.bit_offset;
    let bit_field = member.bit_size > 0;
    let (mut bytes, mut bits) = (size, size * 8);
    let mut offset = start / 8;
    if bit_field {
        if !matches!(size, 1 | 2 | 4 | 8) {
            return Err("a bit field in a type of an odd size".to_string());
        }
        bits = member.bit_size.into();
        offset = start / 8 / bytes * bytes;
        // The least aligned integer that holds the whole field.
        while start + bits - offset * 8 > bytes * 8 {
            if bytes >= 8 {
                return Err("a bit field that no integer holds".to_string());
            }
            bytes *= 2;
            offset = start / 8 / bytes * bytes;
        }
    }
    // What a compiler makes of a bit field is its own choice.
    let certain = !bit_field;
    let shift = |bits: u64| 64u64.checked_sub(bits).ok_or("a field of more than 64 bits");
    Ok(match wanted {
        Wanted::FieldByteOffset => {
            let access =
                (!bit_field).then_some(Access { size: size as u32, kind: resizable(btf, type_id) });
            Number { value: offset, access, certain }
        }
        Wanted::FieldByteSize => plain(bytes, certain),
        Wanted::FieldSigned => {
            let signed = match kind {
                Kind::Int { encoding, .. } => encoding & 1 != 0,
                Kind::Enum { signed, .. } | Kind::Enum64 { signed, .. } => *signed,
                _ => false,
            };
            plain(signed.into(), true)
        }
        Wanted::FieldLeftShift => plain(shift(start + bits - offset * 8)?, certain),
        Wanted::FieldRightShift => plain(shift(bits)?, true),
        _ => return Err("not a field's".to_string()),
    })
}

fn resizable(btf: &Btf, type_id: TypeId) -> Resizable {
    match btf.resolve(type_id).map(|(_, kind)| kind) {
        Some(Kind::Ptr(_)) => Resizable::Pointer,
        Some(Kind::Int { encoding, .. }) if encoding & 1 == 0 => Resizable::Unsigned,
        _ => Resizable::No,
    }
}
