//! Looks for a path of the program's types in a type of the kernel's.

use alloc::vec::Vec;

use super::compatible::{fields, types, types_match};
use super::spec::{MAX_LENGTH, Spec, Step, is_flexible, members, value_name};
use super::{Wanted, essential};
use crate::btf::{Btf, Kind, MAX_DEPTH, TypeId};

/// The same path in `root` of the kernel's types, if it has one.
pub(super) fn find<'t>(
    local: &Spec<'_>,
    btf: &'t Btf,
    root: TypeId,
    wanted: Wanted,
) -> Option<Spec<'t>> {
    let mut target = Spec { btf, root, steps: Vec::new(), bit_offset: 0 };
    if wanted.is_enum_value() {
        let (type_id, kind) = btf.resolve(root)?;
        let name = essential(local.steps.first()?.name?);
        let count = match kind {
            Kind::Enum { values, .. } => values.len(),
            Kind::Enum64 { values, .. } => values.len(),
            _ => return None,
        };
        let index = (0..count as u32)
            .find(|&index| value_name(btf, kind, index).is_some_and(|n| essential(n) == name))?;
        let name = value_name(btf, kind, index);
        target.steps.push(Step { type_id, index, name });
        return Some(target);
    }
    if wanted == Wanted::TypeMatches {
        return types_match((local.btf, local.root), (btf, root)).then_some(target);
    }
    if !wanted.is_field() {
        return types((local.btf, local.root), (btf, root)).then_some(target);
    }
    let mut id = root;
    for (position, step) in local.steps.iter().enumerate() {
        if step.name.is_some() {
            id = member(local.btf, step, &mut target, id, 0)?;
            continue;
        }
        // The first index is into an array of the root type itself.
        if position > 0 {
            let (_, Kind::Array { element, count, .. }) = btf.resolve(id)? else { return None };
            if step.index >= *count && !is_flexible(btf, target.steps.last(), *count) {
                return None;
            }
            id = *element;
        }
        let (element, _) = btf.resolve(id)?;
        id = element;
        target.steps.push(Step { type_id: id, index: step.index, name: None });
        let bits = u64::from(step.index) * u64::from(btf.size_of(id)?) * 8;
        target.advance(bits)?;
    }
    (target.steps.len() <= MAX_LENGTH).then_some(target)
}

/// Goes into the member of the kernel's structure `id` that has the name of the program's, also
/// through members without a name. Returns the member's type.
fn member<'t>(
    local: &Btf,
    step: &Step<'_>,
    target: &mut Spec<'t>,
    id: TypeId,
    depth: usize,
) -> Option<TypeId> {
    if depth > MAX_DEPTH {
        return None;
    }
    let btf = target.btf;
    let (type_id, kind) = btf.resolve(id)?;
    let local_member = members(&local.get(step.type_id)?.kind)?.get(step.index as usize)?;
    for (index, found) in (0..).zip(members(kind)?) {
        let before = (target.bit_offset, target.steps.len());
        target.advance(found.bit_offset.into())?;
        let name = btf.string(found.name)?;
        if name.is_empty() {
            if let Some(next) = member(local, step, target, found.type_id, depth + 1) {
                return Some(next);
            }
        } else if Some(name) == step.name {
            target.steps.push(Step { type_id, index, name: Some(name) });
            if fields((local, local_member.type_id), (btf, found.type_id)) {
                return Some(found.type_id);
            }
        }
        target.bit_offset = before.0;
        target.steps.truncate(before.1);
        // A member of this name and another type is not what is looked for.
        if Some(name) == step.name {
            return None;
        }
    }
    None
}
