//! State inclusion: whether everything that holds of a new state was already covered
//! when an old one was explored.

use alloc::vec::Vec;

use super::checkpoint::Checkpoint;
use super::liveness::RegSet;
use super::scalar::Scalar;
use super::state::{Byte, MAX_FRAMES, Slot, State};
use super::value::{Kind, Value};

/// Which of the old state's identities stand for which of the new one's.
#[derive(Default)]
pub(super) struct IdMap(Vec<(u32, u32)>);

impl IdMap {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether `old` may stand for `new`. An old 0 claims no relation.
    fn maps(&mut self, old: u32, new: u32) -> bool {
        if old == 0 {
            return true;
        }
        if new == 0 {
            return false;
        }
        for &(known, image) in &self.0 {
            if known == old {
                return image == new;
            }
        }
        self.0.push((old, new));
        true
    }

    /// As `maps`, when both sides must agree that there is a relation.
    fn maps_both(&mut self, old: u32, new: u32) -> bool {
        (old == 0) == (new == 0) && self.maps(old, new)
    }
}

/// How states are compared.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// A privileged loader may read uninitialised stack.
    pub(super) uninit_stack: bool,
    /// Compare every number, wanted or not.
    pub(super) all_precise: bool,
}

impl Rules {
    /// The same for a number that is wanted in any case, if `exact`.
    #[inline]
    fn exact_if(self, exact: bool) -> Self {
        Self { all_precise: self.all_precise || exact, ..self }
    }
}

/// Whether `new` is covered by the completely explored `old`. `live` gives the
/// registers of each frame that may still be read.
pub(super) fn covers(
    old: &Checkpoint,
    new: &State,
    live: impl Fn(usize) -> RegSet,
    rules: Rules,
    ids: &mut IdMap,
) -> bool {
    let state = &old.state;
    ids.clear();
    // Most comparisons fail, and on the same register as the last time.
    let witness = old.witness.get() as usize;
    if let (Some(fold), Some(fnew)) = (state.frames.last(), new.frames.last())
        && let (Some(vold), Some(vnew)) = (fold.regs.get(witness), fnew.regs.get(witness))
        && state.frames.len() == new.frames.len()
        && live(state.frames.len() - 1) & (1 << witness) != 0
    {
        if !value_covers(vold, vnew, rules, ids) {
            return false;
        }
        ids.clear();
    }
    if !same_shape(state, new) || !same_held(state, new, ids) {
        return false;
    }
    for (number, (fold, fnew)) in state.frames.iter().zip(&new.frames).enumerate() {
        let (wanted, exact) = (live(number), old.exact[number]);
        for (index, (vold, vnew)) in fold.regs.iter().zip(&fnew.regs).enumerate() {
            let rules = rules.exact_if(exact & (1 << index) != 0);
            if wanted & (1 << index) != 0 && !value_covers(vold, vnew, rules, ids) {
                if number + 1 == state.frames.len() {
                    old.witness.set(index as u8);
                }
                return false;
            }
        }
        let slots = old.live_slots[number];
        for (index, sold) in fold.stack.iter().enumerate() {
            if slots & (1 << index) != 0 {
                let snew = fnew.stack.get(index).unwrap_or(&Slot::INVALID);
                if !slot_covers(sold, snew, rules, ids) {
                    return false;
                }
            }
        }
    }
    true
}

/// Whether `new` lies within `old`, a loop's head that is still being explored: every
/// number, and every slot, as anything may turn out to matter.
pub(super) fn lies_within(
    old: &State,
    new: &State,
    live: impl Fn(usize) -> RegSet,
    uninit_stack: bool,
    ids: &mut IdMap,
) -> bool {
    let rules = Rules { uninit_stack, all_precise: true };
    ids.clear();
    same_shape(old, new)
        && same_held(old, new, ids)
        && old.frames.iter().zip(&new.frames).enumerate().all(|(number, (fold, fnew))| {
            let wanted = live(number);
            let regs = fold.regs.iter().zip(&fnew.regs).enumerate().all(|(index, (a, b))| {
                wanted & (1 << index) == 0 || value_covers(a, b, rules, ids)
            });
            let slots = fold.stack.len().max(fnew.stack.len());
            regs && (0..slots).all(|index| {
                let a = fold.stack.get(index).unwrap_or(&Slot::INVALID);
                let b = fnew.stack.get(index).unwrap_or(&Slot::INVALID);
                slot_covers(a, b, rules, ids)
            })
        })
}

/// Gives up the bounds of numbers that changed since the loop's head was last seen and did
/// not matter so far, so that the loop converges.
pub(super) fn widen(old: &State, new: &mut State) {
    let give_up = |old: &Value, new: &mut Value| {
        if old.is_scalar() && new.is_scalar() && !old.precise && old.scalar != new.scalar {
            *new = Value::UNKNOWN;
        }
    };
    for (fold, fnew) in old.frames.iter().zip(&mut new.frames) {
        for (a, b) in fold.regs.iter().zip(&mut fnew.regs) {
            give_up(a, b);
        }
        for (a, b) in fold.stack.iter().zip(&mut fnew.stack) {
            if a.whole_spill().is_some() && b.whole_spill().is_some() {
                give_up(&a.value, &mut b.value);
            }
        }
    }
}

pub(super) fn same_shape(old: &State, new: &State) -> bool {
    old.frames.len() == new.frames.len()
        && old
            .frames
            .iter()
            .zip(&new.frames)
            .all(|(a, b)| a.call_site == b.call_site && a.callback == b.callback)
}

fn same_held(old: &State, new: &State, ids: &mut IdMap) -> bool {
    if old.references.len() != new.references.len() {
        return false;
    }
    for (a, b) in old.references.iter().zip(&new.references) {
        if a.frame != b.frame || !ids.maps(a.id, b.id) {
            return false;
        }
    }
    match (old.lock, new.lock) {
        (None, None) => true,
        (Some(a), Some(b)) => a.map == b.map && ids.maps_both(a.id, b.id),
        _ => false,
    }
}

fn value_covers(old: &Value, new: &Value, rules: Rules, ids: &mut IdMap) -> bool {
    if old.kind == Kind::Uninit {
        return true;
    }
    if old.kind != new.kind {
        return false;
    }
    if old.kind == Kind::Scalar {
        if !old.precise && !rules.all_precise {
            return true;
        }
        return old.scalar.includes(&new.scalar)
            && ids.maps(old.id, new.id)
            && (old.id == 0 || old.offset == new.offset);
    }
    if old.nullable != new.nullable || old.offset != new.offset {
        return false;
    }
    // All packet pointers without a variable part count from the same point, so their
    // identity 0 stands for itself.
    let known = match old.kind {
        Kind::Packet | Kind::PacketMeta => old.range <= new.range && ids.maps_both(old.id, new.id),
        _ => true,
    };
    known
        && old.scalar.includes(&new.scalar)
        && ids.maps(old.id, new.id)
        && ids.maps_both(old.reference, new.reference)
}

/// A slot as a number, when it holds no pointer.
fn slot_number(slot: &Slot, rules: Rules) -> Option<Value> {
    if let Some(value) = slot.whole_spill() {
        return Some(*value);
    }
    if slot.bytes.iter().all(|&byte| byte == Byte::Zero) {
        return Some(Value::constant(0));
    }
    let readable = slot.bytes.iter().all(|&byte| rules.uninit_stack || byte != Byte::Invalid);
    readable.then_some(Value::scalar(Scalar::UNKNOWN))
}

fn slot_covers(old: &Slot, new: &Slot, rules: Rules, ids: &mut IdMap) -> bool {
    if old.is_special() || new.is_special() {
        // Even where nothing is read: what is there must be given back.
        return old.is_special()
            && new.is_special()
            && value_covers(&old.value, &new.value, rules, ids);
    }
    if let Some(value) = old.whole_spill() {
        return slot_number(new, rules).is_some_and(|new| value_covers(value, &new, rules, ids));
    }
    let spilled = old.spill_size();
    if spilled > 0
        && (spilled != new.spill_size() || !value_covers(&old.value, &new.value, rules, ids))
    {
        return false;
    }
    let new_zero = new.whole_spill().is_some_and(Value::is_zero);
    let new_number = new.value.kind == Kind::Scalar;
    old.bytes.iter().zip(&new.bytes).all(|(&a, &b)| match a {
        Byte::Invalid => true,
        Byte::Misc => match b {
            Byte::Special => false,
            Byte::Misc | Byte::Zero => true,
            Byte::Spill => rules.uninit_stack || new_number,
            Byte::Invalid => rules.uninit_stack,
        },
        Byte::Zero => b == Byte::Zero || (b == Byte::Spill && new_zero),
        Byte::Spill => b == Byte::Spill,
        // Compared as a whole above.
        Byte::Special => b == Byte::Special,
    })
}

/// Slots of each frame where the covering state has zero bytes, and the covered one the
/// spilled number zero: it must be that number.
pub(super) fn zeros_from_spills(old: &State, new: &State) -> [u64; MAX_FRAMES] {
    let mut slots = [0; MAX_FRAMES];
    for (bits, (fold, fnew)) in slots.iter_mut().zip(old.frames.iter().zip(&new.frames)) {
        for (index, (a, b)) in fold.stack.iter().zip(&fnew.stack).enumerate() {
            if b.is_spill() && a.bytes.contains(&Byte::Zero) {
                *bits |= 1 << index;
            }
        }
    }
    slots
}

/// Whether nothing at all has changed: a loop that makes no progress.
pub(super) fn unchanged(old: &State, new: &State, ids: &mut IdMap) -> bool {
    ids.clear();
    let progress = old.may_gotos != new.may_gotos || old.numbers != new.numbers;
    if progress || !same_shape(old, new) || !same_held(old, new, ids) {
        return false;
    }
    let mut same = |a: &Value, b: &Value| {
        a.kind == b.kind
            && a.nullable == b.nullable
            && a.offset == b.offset
            && a.range == b.range
            && a.scalar == b.scalar
            && ids.maps(a.id, b.id)
            && ids.maps_both(a.reference, b.reference)
    };
    // The active frame changes most often, so it is compared first.
    old.frames.iter().zip(&new.frames).rev().all(|(fold, fnew)| {
        fold.callback == fnew.callback
            && fold.regs.iter().zip(&fnew.regs).all(|(a, b)| same(a, b))
            && fold.stack.len() == fnew.stack.len()
            && fold.stack.iter().zip(&fnew.stack).all(|(a, b)| {
                a.bytes == b.bytes
                    && (!(a.is_spill() || a.is_special()) || same(&a.value, &b.value))
            })
    })
}
