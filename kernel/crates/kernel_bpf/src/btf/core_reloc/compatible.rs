//! When two types, one of the program's and one of the kernel's, count as the same.
//!
//! Three degrees, as libbpf has them: [`fields`] may stand for each other where a member is
//! read; [`types`] are roughly the same type, for "does it exist"; [`types_match`] also have
//! members of the same names and types.

use super::essential;
use super::spec::{members, value_name};
use crate::btf::{Btf, Kind, MAX_DEPTH, TypeId};

/// A type in its BTF.
type In<'a> = (&'a Btf, TypeId);

const SIGNED: u8 = 1;

/// Whether two kinds are one; both widths of enumerations are.
pub(super) fn same_kind(a: &Kind, b: &Kind) -> bool {
    let is_enum = |kind: &Kind| matches!(kind, Kind::Enum { .. } | Kind::Enum64 { .. });
    core::mem::discriminant(a) == core::mem::discriminant(b) || is_enum(a) && is_enum(b)
}

/// Whether the types' names are the same, flavours aside.
fn same_name((a, a_id): In<'_>, (b, b_id): In<'_>) -> bool {
    essential(a.name(a_id)) == essential(b.name(b_id))
}

/// Whether a member of one type may be read as the other.
pub(super) fn fields((local, local_id): In<'_>, (target, target_id): In<'_>) -> bool {
    let (mut local_id, mut target_id) = (local_id, target_id);
    for _ in 0..=MAX_DEPTH {
        let (Some((a_id, a)), Some((b_id, b))) =
            (local.resolve(local_id), target.resolve(target_id))
        else {
            return false;
        };
        match (a, b) {
            _ if members(a).is_some() && members(b).is_some() => return true,
            _ if !same_kind(a, b) => return false,
            (Kind::Ptr(_) | Kind::Float { .. }, _) => return true,
            (Kind::Fwd { .. } | Kind::Enum { .. } | Kind::Enum64 { .. }, _) => {
                // What has no name fits any.
                return local.name(a_id).is_empty()
                    || target.name(b_id).is_empty()
                    || same_name((local, a_id), (target, b_id));
            }
            // Old bit fields have an offset of their own.
            (Kind::Int { offset: a, .. }, Kind::Int { offset: b, .. }) => {
                return *a == 0 && *b == 0;
            }
            (Kind::Array { element: a, .. }, Kind::Array { element: b, .. }) => {
                (local_id, target_id) = (*a, *b);
            }
            _ => return false,
        }
    }
    false
}

/// Whether two types are roughly the same: structures, unions and enumerations of one name
/// always, pointers and arrays if what they lead to is, functions if their parameters are.
pub(super) fn types(local: In<'_>, target: In<'_>) -> bool {
    types_within(local, target, MAX_DEPTH)
}

fn types_within((local, local_id): In<'_>, (target, target_id): In<'_>, depth: usize) -> bool {
    let (mut local_id, mut target_id) = (local_id, target_id);
    for depth in (0..depth).rev() {
        let (Some((_, a)), Some((_, b))) = (local.resolve(local_id), target.resolve(target_id))
        else {
            return false;
        };
        if !same_kind(a, b) {
            return false;
        }
        (local_id, target_id) = match (a, b) {
            (Kind::Int { offset: a, .. }, Kind::Int { offset: b, .. }) => {
                return *a == 0 && *b == 0;
            }
            (Kind::Ptr(a), Kind::Ptr(b)) => (*a, *b),
            (Kind::Array { element: a, .. }, Kind::Array { element: b, .. }) => (*a, *b),
            (
                Kind::FuncProto { result: a, params: a_params },
                Kind::FuncProto { result: b, params: b_params },
            ) => {
                let same = a_params.len() == b_params.len()
                    && a_params
                        .iter()
                        .zip(b_params)
                        .all(|(a, b)| types_within((local, a.type_id), (target, b.type_id), depth));
                if !same {
                    return false;
                }
                (*a, *b)
            }
            (
                Kind::Void
                | Kind::Struct { .. }
                | Kind::Union { .. }
                | Kind::Enum { .. }
                | Kind::Enum64 { .. }
                | Kind::Fwd { .. },
                _,
            ) => return true,
            _ => return false,
        };
    }
    false
}

/// How much a comparison of two types may do: types may hold each other many times over.
struct Match<'a> {
    local: &'a Btf,
    target: &'a Btf,
    work: u32,
}

/// Most types compared for one relocation.
const MAX_WORK: u32 = 100_000;

/// Whether two types match: all that the program's has, the kernel's has too.
pub(super) fn types_match((local, local_id): In<'_>, (target, target_id): In<'_>) -> bool {
    Match { local, target, work: MAX_WORK }.types(local_id, target_id, false, MAX_DEPTH)
}

impl Match<'_> {
    fn types(
        &mut self,
        local_id: TypeId,
        target_id: TypeId,
        behind_pointer: bool,
        depth: usize,
    ) -> bool {
        let (mut local_id, mut target_id) = (local_id, target_id);
        let mut behind_pointer = behind_pointer;
        for depth in (0..depth).rev() {
            let Some(work) = self.work.checked_sub(1) else { return false };
            self.work = work;
            let (Some((a_id, a)), Some((b_id, b))) =
                (self.local.resolve(local_id), self.target.resolve(target_id))
            else {
                return false;
            };
            if !same_name((self.local, a_id), (self.target, b_id)) {
                return false;
            }
            (local_id, target_id) = match (a, b) {
                (Kind::Void, Kind::Void) => return true,
                (Kind::Fwd { union: a }, Kind::Fwd { union: b }) => return a == b,
                (Kind::Fwd { union }, Kind::Struct { .. }) => return behind_pointer && !union,
                (Kind::Fwd { union }, Kind::Union { .. }) => return behind_pointer && *union,
                (Kind::Struct { .. }, Kind::Fwd { union }) => return behind_pointer && !union,
                (Kind::Union { .. }, Kind::Fwd { union }) => return behind_pointer && *union,
                (Kind::Enum { .. } | Kind::Enum64 { .. }, _) => {
                    return same_kind(a, b) && self.enums(a, b);
                }
                (Kind::Struct { .. }, Kind::Struct { .. })
                | (Kind::Union { .. }, Kind::Union { .. }) => {
                    return behind_pointer || self.composites(a, b, depth);
                }
                (
                    Kind::Int { size: a, encoding: a_encoding, .. },
                    Kind::Int { size: b, encoding: b_encoding, .. },
                ) => return a == b && a_encoding & SIGNED == b_encoding & SIGNED,
                (Kind::Ptr(a), Kind::Ptr(b)) => {
                    behind_pointer = true;
                    (*a, *b)
                }
                (
                    Kind::Array { element: a, count: a_count, .. },
                    Kind::Array { element: b, count: b_count, .. },
                ) if a_count == b_count => (*a, *b),
                (
                    Kind::FuncProto { result: a, params: a_params },
                    Kind::FuncProto { result: b, params: b_params },
                ) if a_params.len() == b_params.len() => {
                    for (a, b) in a_params.iter().zip(b_params) {
                        if !self.types(a.type_id, b.type_id, behind_pointer, depth) {
                            return false;
                        }
                    }
                    (*a, *b)
                }
                _ => return false,
            };
        }
        false
    }

    /// Every value of the program's enumeration has its namesake.
    fn enums(&self, a: &Kind, b: &Kind) -> bool {
        let names = |btf, kind| (0..).map_while(move |index| value_name(btf, kind, index));
        names(self.local, a)
            .all(|name| names(self.target, b).any(|other| essential(other) == essential(name)))
    }

    /// Every member of the program's structure has its namesake, of a type that matches.
    fn composites(&mut self, a: &Kind, b: &Kind, depth: usize) -> bool {
        let (Some(a), Some(b)) = (members(a), members(b)) else { return false };
        a.len() <= b.len()
            && a.iter().all(|member| {
                let name = self.local.string(member.name).map(essential);
                b.iter().any(|other| {
                    self.target.string(other.name).map(essential) == name
                        && self.types(member.type_id, other.type_id, false, depth)
                })
            })
    }
}
