//! The join of states: one that holds whatever holds in either.
//!
//! Used where a callback returns on several paths, and between its rounds. What the states
//! do not agree about becomes unknown: numbers keep common bounds or lose them, registers
//! that hold different things cannot be read any more, slots become plain bytes.

use alloc::string::String;

use super::scalar::Scalar;
use super::state::{Byte, Slot, State};
use super::value::{Kind, Value};

/// Makes `state` hold what holds in `other` too. With `widen`, numbers that differ lose
/// their bounds at once, so that repeated joins come to an end.
///
/// # Errors
/// The states hold different references or locks.
pub(super) fn join(state: &mut State, other: &State, widen: bool) -> Result<(), String> {
    if state.references != other.references || state.lock != other.lock {
        return Err("a callback may not acquire or release what its caller holds".into());
    }
    for (ours, theirs) in state.frames.iter_mut().zip(&other.frames) {
        for (a, b) in ours.regs.iter_mut().zip(&theirs.regs) {
            *a = join_value(a, b, widen).unwrap_or(Value::UNINIT);
        }
        ours.grow(theirs.stack.len());
        for (index, slot) in ours.stack.iter_mut().enumerate() {
            let theirs = theirs.stack.get(index).unwrap_or(&Slot::INVALID);
            *slot = join_slot(slot, theirs, widen);
        }
    }
    // What was used up on one path only has not been for certain. After the rounds of a callback
    // this leaves what was used up before the call.
    state.may_gotos = state.may_gotos.min(other.may_gotos);
    state.numbers = state.numbers.min(other.numbers);
    Ok(())
}

/// What both values are; `None` when they have nothing in common.
fn join_value(a: &Value, b: &Value, widen: bool) -> Option<Value> {
    if a == b {
        return Some(*a);
    }
    if a.kind != b.kind || a.kind == Kind::Uninit {
        return None;
    }
    let scalar = join_scalar(&a.scalar, &b.scalar, widen);
    if a.kind == Kind::Scalar {
        let same = a.id == b.id && a.offset == b.offset;
        let (id, offset) = if same { (a.id, a.offset) } else { (0, 0) };
        return Some(Value { scalar, id, offset, precise: false, ..*a });
    }
    if a.offset != b.offset || a.reference != b.reference {
        return None;
    }
    // Which pointers are null together, or count from the same point, is told by identity.
    let id = match (a.nullable, b.nullable) {
        _ if a.id == b.id => a.id,
        (false, false) if matches!(a.kind, Kind::MapValue { .. }) => Value::SOME_ELEMENT,
        _ => return None,
    };
    if a.is_packet() && a.id != b.id {
        return None;
    }
    Some(Value {
        nullable: a.nullable || b.nullable,
        range: a.range.min(b.range),
        scalar,
        id,
        ..*a
    })
}

fn join_scalar(a: &Scalar, b: &Scalar, widen: bool) -> Scalar {
    if a.includes(b) {
        *a
    } else if widen {
        Scalar::UNKNOWN
    } else {
        a.union(b)
    }
}

fn join_slot(a: &Slot, b: &Slot, widen: bool) -> Slot {
    if a == b {
        return *a;
    }
    if a.is_spill()
        && b.is_spill()
        && a.bytes == b.bytes
        && let Some(value) = join_value(&a.value, &b.value, widen)
    {
        return Slot { value, ..*a };
    }
    let special = |slot: &Slot| slot.bytes.contains(&Byte::Special);
    if special(a) || special(b) {
        // No dynptr, iterator or the like is there for certain.
        return Slot::INVALID;
    }
    let mut bytes = [Byte::Misc; 8];
    for ((byte, &a), &b) in bytes.iter_mut().zip(&a.bytes).zip(&b.bytes) {
        *byte = match (a, b) {
            (Byte::Zero, Byte::Zero) => Byte::Zero,
            (Byte::Invalid, _) | (_, Byte::Invalid) => Byte::Invalid,
            _ => Byte::Misc,
        };
    }
    Slot { bytes, value: Value::UNINIT }
}
