//! Objects of the kernel's on the program's stack: dynptrs (`struct bpf_dynptr`, 16 bytes)
//! and iterators over numbers (`struct bpf_iter_num`, 8 bytes).
//!
//! Their slots hold [`Byte::Special`] and are described by the slot's value; the program
//! reaches them through helpers and kernel functions only. A dynptr over a ring buffer's
//! record and an iterator must be given back, so they hold a reference; memory that a
//! dynptr gives out depends on it and is gone when it is.

use alloc::format;

use super::call::Arguments;
use super::explore::Verifier;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::state::{Byte, MAX_STACK, Slot};
use super::value::{Kind, Value};
use crate::insn::Reg;

impl Slot {
    fn special(value: Value) -> Slot {
        Slot { bytes: [Byte::Special; 8], value }
    }
}

impl Verifier<'_> {
    /// Where on the stack a pointer to such an object points: frame, and its first slot (the
    /// one with the lowest address).
    fn object_place(
        &self,
        reg: Reg,
        value: &Value,
        slots: usize,
        what: &str,
    ) -> Result<(u8, usize), Refusal> {
        let refuse = |message| Err(self.refuse(Cause::BadArgument, message).register(reg));
        let number = reg as u8;
        let Kind::Stack { frame } = value.kind else {
            return refuse(format!(
                "R{number} type={} expected=fp: the {what} lies on the stack",
                self.kind_name(value)
            ));
        };
        let Some(x) = value.scalar.as_constant() else {
            return refuse(format!("R{number}: {what} has to be at a constant offset"));
        };
        let at = i64::from(value.offset).saturating_add(x as i64);
        if at % 8 != 0 || at < -i64::from(MAX_STACK) || at + slots as i64 * 8 > 0 {
            return refuse(format!("R{number}: cannot pass in {what} at an offset={at}"));
        }
        Ok((frame, (-at / 8) as usize - 1))
    }

    /// Puts an object there; what was there before is gone.
    fn put_object(&mut self, (frame, first): (u8, usize), values: &[Value]) -> Result<(), Refusal> {
        for position in 0..values.len() {
            self.overwrite_special(frame, first - position)?;
        }
        self.grow_stack(frame, first + 1);
        for (position, &value) in values.iter().enumerate() {
            let index = first - position;
            self.path.wrote(frame as usize, 1 << index);
            if let Some(slot) = self.slot_mut(frame, index) {
                *slot = Slot::special(value);
            }
        }
        Ok(())
    }

    /// A slot is about to be written: an object that it belongs to exists no more. One that
    /// must be given back may not be lost so.
    pub(super) fn overwrite_special(&mut self, frame: u8, index: usize) -> Result<(), Refusal> {
        let slot = self.slot(frame, index);
        if !slot.is_special() {
            return Ok(());
        }
        let value = slot.value;
        if self.state.references.iter().any(|held| held.id == value.reference) {
            return Err(self.refuse(
                Cause::Reference,
                "cannot overwrite referenced dynptr or iterator: give it back first".into(),
            ));
        }
        let other = match value.kind {
            Kind::DynptrSlot { first: true, .. } => index.checked_sub(1),
            Kind::DynptrSlot { first: false, .. } => Some(index + 1),
            _ => None,
        };
        for index in [Some(index), other].into_iter().flatten() {
            if let Some(slot) = self.slot_mut(frame, index) {
                *slot = Slot::INVALID;
            }
        }
        self.forget_dependent(value.reference);
        Ok(())
    }

    /// Memory that depends on an object that is gone.
    fn forget_dependent(&mut self, reference: u32) {
        if reference == 0 {
            return;
        }
        let stale = self.stale_pointer();
        self.state.for_each_value(|value| {
            if value.reference == reference {
                *value = stale;
            }
        });
    }

    /// The place of a new dynptr.
    pub(super) fn new_dynptr_argument(
        &mut self,
        reg: Reg,
        value: &Value,
        found: &mut Arguments,
    ) -> Result<(), Refusal> {
        let place = self.object_place(reg, value, 2, "dynptr")?;
        for index in [place.1, place.1 - 1] {
            self.overwrite_special(place.0, index)?;
        }
        found.object = Some(place);
        Ok(())
    }

    /// Makes the dynptr that a call was given the place of.
    pub(super) fn make_dynptr(&mut self, place: (u8, usize), ringbuf: bool) -> Result<(), Refusal> {
        // One without reference has an identity, for what depends on it.
        let reference = if ringbuf { self.acquire()? } else { self.new_id() };
        let half =
            |first| Value { reference, ..Value::pointer(Kind::DynptrSlot { first, ringbuf }) };
        self.put_object(place, &[half(true), half(false)])
    }

    /// An initialised dynptr.
    pub(super) fn dynptr_argument(
        &mut self,
        reg: Reg,
        value: &Value,
        release: bool,
        found: &mut Arguments,
    ) -> Result<(), Refusal> {
        let (frame, first) = self.object_place(reg, value, 2, "dynptr")?;
        self.read_slots(frame as usize, 1 << first | 1 << (first - 1));
        let (slot, next) = (self.slot(frame, first), self.slot(frame, first - 1));
        let (Kind::DynptrSlot { first: true, ringbuf }, Kind::DynptrSlot { first: false, .. }) =
            (slot.value.kind, next.value.kind)
        else {
            return Err(self
                .refuse(
                    Cause::BadArgument,
                    format!("Expected an initialized dynptr as R{}", reg as u8),
                )
                .register(reg));
        };
        let reference = slot.value.reference;
        let held = self.state.references.iter().any(|held| held.id == reference);
        if !release {
            found.object_reference = reference;
            return Ok(());
        }
        if !ringbuf || !held {
            return Err(self
                .refuse(
                    Cause::Reference,
                    format!("R{} must be a dynptr of a ring buffer's record", reg as u8),
                )
                .register(reg));
        }
        for index in [first, first - 1] {
            if let Some(slot) = self.slot_mut(frame, index) {
                *slot = Slot::INVALID;
            }
        }
        found.released = reference;
        Ok(())
    }

    /// `bpf_iter_num_new`: `count` is a range of how many numbers there may be.
    pub(super) fn new_iterator(&mut self, reg: Reg, count: u64) -> Result<(), Refusal> {
        let value = *self.read(reg)?;
        let place = self.object_place(reg, &value, 1, "iterator")?;
        self.overwrite_special(place.0, place.1)?;
        let reference = self.acquire()?;
        let iterator = Value {
            reference,
            scalar: super::scalar::Scalar::constant(count),
            ..Value::pointer(Kind::IteratorSlot { drained: false })
        };
        self.put_object(place, &[iterator])
    }

    /// The iterator that a register points to: its place, reference, greatest count, and
    /// whether it has come to its end.
    pub(super) fn iterator(&mut self, reg: Reg) -> Result<((u8, usize), u32, u64, bool), Refusal> {
        let value = *self.read(reg)?;
        let (frame, index) = self.object_place(reg, &value, 1, "iterator")?;
        self.read_slots(frame as usize, 1 << index);
        let slot = self.slot(frame, index);
        let Kind::IteratorSlot { drained } = slot.value.kind else {
            return Err(self
                .refuse(
                    Cause::BadArgument,
                    format!("expected an initialized iter_num as R{}", reg as u8),
                )
                .register(reg));
        };
        let most = slot.value.scalar.r64.umax;
        Ok(((frame, index), slot.value.reference, most, drained))
    }

    /// Whether a pointer is to the number that an iterator has given.
    pub(super) fn is_number_of_iterator(&self, pointer: &Value) -> bool {
        let mut slots = self.state.frames.iter().flat_map(|frame| &frame.stack);
        pointer.reference != 0
            && slots.any(|slot| {
                matches!(slot.value.kind, Kind::IteratorSlot { .. })
                    && slot.value.reference == pointer.reference
            })
    }

    /// The iterator has come to its end.
    pub(super) fn drain_iterator(slot: &mut Slot) {
        slot.value.kind = Kind::IteratorSlot { drained: true };
    }

    /// `bpf_iter_num_destroy`.
    pub(super) fn destroy_iterator(&mut self, reg: Reg) -> Result<(), Refusal> {
        let ((frame, index), reference, ..) = self.iterator(reg)?;
        if let Some(slot) = self.slot_mut(frame, index) {
            *slot = Slot::INVALID;
        }
        self.release(reference)
    }
}
