//! What makes parsed BTF safe to follow: references lead to types that may stand there, and
//! no value contains itself.

use alloc::vec::Vec;

use crate::btf::{Btf, BtfError, Kind, MAX_DEPTH, NO_MEMORY, SectionVar, TypeId};

/// Every reference leads to a type of a kind that may stand there, every name to a string.
pub(super) fn references(btf: &Btf) -> Result<(), BtfError> {
    for (id, ty) in btf.iter() {
        reference(btf, &ty.kind).map_err(|what| BtfError::new(id, what))?;
    }
    Ok(())
}

fn reference(btf: &Btf, kind: &Kind) -> Result<(), &'static str> {
    let exists = |other: TypeId| btf.get(other).is_some();
    let named = |offset: u32| (offset as usize) < btf.strings.len();
    let require = |holds: bool, what| if holds { Ok(()) } else { Err(what) };
    const MISSING: &str = "refers to a type that does not exist";
    const BAD_ENUM: &str = "impossible enumeration";
    match kind {
        Kind::Void | Kind::Fwd { .. } => Ok(()),
        Kind::Int { size, bits, offset, encoding } => require(
            matches!(size, 1 | 2 | 4 | 8 | 16)
                && u32::from(*bits) + u32::from(*offset) <= size * 8
                && matches!(encoding, 0 | 1 | 2 | 4),
            "impossible integer",
        ),
        Kind::Float { size } => {
            require(matches!(size, 2 | 4 | 8 | 12 | 16), "impossible floating-point number")
        }
        Kind::Enum { size, values, .. } => {
            let names = values.iter().all(|(name, _)| named(*name));
            require(matches!(size, 1 | 2 | 4 | 8) && names, BAD_ENUM)
        }
        Kind::Enum64 { size, values, .. } => {
            let names = values.iter().all(|(name, _)| named(*name));
            require(matches!(size, 1 | 2 | 4 | 8) && names, BAD_ENUM)
        }
        Kind::Ptr(other)
        | Kind::Typedef(other)
        | Kind::Volatile(other)
        | Kind::Const(other)
        | Kind::Restrict(other)
        | Kind::TypeTag(other)
        | Kind::DeclTag { type_id: other, .. }
        | Kind::Var { type_id: other, .. } => require(exists(*other), MISSING),
        Kind::Array { element, index, .. } => require(exists(*element) && exists(*index), MISSING),
        Kind::Struct { size, members } | Kind::Union { size, members } => {
            for member in members {
                require(
                    exists(member.type_id) && named(member.name),
                    "a member without a type or name",
                )?;
                let end = u64::from(*size) * 8;
                require(u64::from(member.bit_offset) <= end, "a member beyond the end")?;
            }
            Ok(())
        }
        Kind::Func { proto, linkage } => {
            let proto = btf.get(*proto).map(|ty| &ty.kind);
            let is_proto = matches!(proto, Some(Kind::FuncProto { .. }));
            require(is_proto, "a function without a prototype")?;
            require(*linkage <= 2, "unknown linkage")
        }
        Kind::FuncProto { result, params } => require(
            exists(*result) && params.iter().all(|p| exists(p.type_id) && named(p.name)),
            "a parameter without a type or name",
        ),
        Kind::Datasec { vars, .. } => {
            let is_var = |var: &SectionVar| {
                let kind = btf.get(var.type_id).map(|ty| &ty.kind);
                matches!(kind, Some(Kind::Var { .. } | Kind::Func { .. }))
            };
            require(vars.iter().all(is_var), "a section of what is no variable")
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Open,
    Done,
}

/// A value that contains itself has no size, and a chain of names may be no ring. Depth-first,
/// each type once.
pub(super) fn nesting(btf: &Btf) -> Result<(), BtfError> {
    let no_memory = |_| BtfError::new(0, NO_MEMORY);
    let mut states = Vec::new();
    states.try_reserve_exact(btf.len()).map_err(no_memory)?;
    states.resize(btf.len(), State::New);
    // Types under way, and how many of their parts were entered.
    let mut stack: Vec<(TypeId, usize)> = Vec::new();
    for root in 0..btf.len() as TypeId {
        if states.get(root as usize) != Some(&State::New) {
            continue;
        }
        stack.push((root, 0));
        while let Some((id, entered)) = stack.last_mut() {
            let (id, part) = (*id, *entered);
            *entered += 1;
            let next = contained(btf, id, part);
            if let Some(state) = states.get_mut(id as usize) {
                *state = if next.is_some() { State::Open } else { State::Done };
            }
            let Some(next) = next else {
                stack.pop();
                continue;
            };
            match states.get(next as usize) {
                Some(State::Open) => return Err(BtfError::new(id, "contains itself")),
                Some(State::New) if stack.len() >= MAX_DEPTH => {
                    return Err(BtfError::new(id, "nested too deeply"));
                }
                Some(State::New) => stack.push((next, 0)),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The `part`th type that a type contains by value or stands for by name. A pointer contains
/// nothing.
fn contained(btf: &Btf, id: TypeId, part: usize) -> Option<TypeId> {
    match &btf.get(id)?.kind {
        Kind::Struct { members, .. } | Kind::Union { members, .. } => {
            members.get(part).map(|member| member.type_id)
        }
        Kind::Array { element: next, .. }
        | Kind::Typedef(next)
        | Kind::Volatile(next)
        | Kind::Const(next)
        | Kind::Restrict(next)
        | Kind::TypeTag(next)
        | Kind::Var { type_id: next, .. } => (part == 0).then_some(*next),
        _ => None,
    }
}
