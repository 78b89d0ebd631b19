//! The program's stack: which bytes were written, what was spilled, and what a read
//! gives back.

use alloc::format;

use super::explore::Verifier;
use super::path::Place;
use super::pointer::MAX_OFFSET;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::state::{Byte, MAX_STACK, Slot};
use super::value::{Kind, Value};
use crate::insn::{Operand, Reg};

/// Bytes of a frame, counted down from the frame pointer: `low` is the greatest
/// distance below it, `high` the least. `low..high` as negative offsets.
#[derive(Clone, Copy)]
struct Span {
    /// Least offset of the access.
    low: i32,
    /// One past its greatest offset.
    high: i32,
    /// Whether there is only one possible place.
    fixed: bool,
}

/// The slot and byte of an offset below the frame pointer.
fn locate(offset: i32) -> (usize, usize) {
    let below = (-offset - 1) as usize;
    (below / 8, 7 - below % 8)
}

/// One bit for each slot that a span touches.
fn slot_bits(low: i32, high: i32) -> u64 {
    if low >= high {
        return 0;
    }
    let (deepest, _) = locate(low);
    let (shallowest, _) = locate(high - 1);
    let upto = if deepest >= 63 { u64::MAX } else { (1 << (deepest + 1)) - 1 };
    upto & !((1 << shallowest) - 1)
}

impl Verifier<'_> {
    fn span(
        &self,
        base: Reg,
        pointer: &Value,
        offset: i32,
        size: u32,
        what: &str,
    ) -> Result<Span, Refusal> {
        let number = base as u8;
        let refuse = |message| {
            Err(self
                .refuse(Cause::OutOfBounds, message)
                .register(base)
                .hint("a function has 512 bytes of stack below r10"))
        };
        let fixed = i64::from(pointer.offset) + i64::from(offset);
        let range = &pointer.scalar.r64;
        let constant = pointer.scalar.as_constant();
        let (min, max) = match constant {
            Some(x) => (x as i64, x as i64),
            None => (range.smin, range.smax),
        };
        if min <= -MAX_OFFSET || max >= MAX_OFFSET {
            return refuse(format!("invalid unbounded variable-offset {what} stack R{number}"));
        }
        let (low, high) = (min + fixed, max + fixed + i64::from(size));
        if low < -i64::from(MAX_STACK) || high > 0 {
            let kind = if constant.is_some() { "" } else { "variable-offset " };
            return refuse(format!(
                "invalid {kind}{what} stack R{number} off={low} size={size}: outside the 512 bytes below r10"
            ));
        }
        Ok(Span { low: low as i32, high: high as i32, fixed: constant.is_some() })
    }

    /// Keeps the frame's greatest depth.
    fn use_stack(&mut self, frame: u8, span: Span) {
        let depth = span.low.unsigned_abs();
        let Some(frame) = self.state.frames.get_mut(frame as usize) else { return };
        frame.grow(depth.div_ceil(8) as usize);
        let subprogram = frame.subprogram as usize;
        if let Some(info) = self.proof.subprograms.get_mut(subprogram) {
            info.stack = info.stack.max(depth.next_multiple_of(8));
        }
    }

    /// Reads; with `wanted`, gives the value.
    pub(super) fn stack_read(
        &mut self,
        base: Reg,
        pointer: &Value,
        frame: u8,
        offset: i32,
        size: u32,
        wanted: bool,
    ) -> Result<Option<Value>, Refusal> {
        let span = self.span(base, pointer, offset, size, "read from")?;
        self.use_stack(frame, span);
        self.read_slots(frame as usize, slot_bits(span.low, span.high));
        if !span.fixed {
            if !self.env.privileged() {
                return Err(self
                    .refuse(
                        Cause::OutOfBounds,
                        format!("R{} variable stack access prohibited for !root", base as u8),
                    )
                    .register(base));
            }
            self.check_readable(base, frame, span.low, span.high, false)?;
            let zero = self.all_zero(frame, span.low, span.high);
            return Ok(Some(if zero { Value::constant(0) } else { Value::UNKNOWN }));
        }
        let (slot_index, byte) = locate(span.low);
        let slot = self.slot(frame, slot_index);
        let first = byte;
        if slot.is_spill() {
            let value = slot.value;
            let spilled = slot.spill_size();
            let whole = spilled == 8 && size == 8;
            if whole || (value.is_scalar() && first == 0 && size <= spilled) {
                if !wanted {
                    if value.is_pointer() && !self.env.privileged() {
                        return Err(self.refuse(
                            Cause::PointerLeak,
                            format!("leaking pointer from stack off {}", span.low),
                        ));
                    }
                    return Ok(None);
                }
                if value.is_scalar() {
                    self.path.note_slot(frame as usize, slot_index);
                }
                // Loading is copying: the slot and the register are the same number.
                if whole && value.is_scalar() && value.id == 0 && value.as_constant().is_none() {
                    let id = self.new_id();
                    if let Some(slot) = self.slot_mut(frame, slot_index) {
                        slot.value.id = id;
                    }
                }
                return Ok(Some(self.slot(frame, slot_index).value));
            }
            if !value.is_scalar() {
                return Err(self
                    .refuse(
                        Cause::PointerLeak,
                        "invalid size of register fill: a pointer is read in parts".into(),
                    )
                    .register(base));
            }
        }
        self.check_readable(base, frame, span.low, span.high, false)?;
        if self.all_zero(frame, span.low, span.high) {
            return Ok(Some(Value::constant(0)));
        }
        // A spilled zero is zero in every part, if it is one for good.
        if slot.is_spill()
            && slot.value.is_zero()
            && first + size as usize <= slot.spill_size() as usize
        {
            self.need_precise_places(&[Some(Place::Slot(frame, slot_index as u8))]);
            return Ok(Some(Value::constant(0)));
        }
        Ok(Some(Value::UNKNOWN))
    }

    pub(super) fn slot(&self, frame: u8, index: usize) -> Slot {
        let frame = self.state.frames.get(frame as usize);
        frame.and_then(|frame| frame.stack.get(index)).copied().unwrap_or(Slot::INVALID)
    }

    pub(super) fn grow_stack(&mut self, frame: u8, slots: usize) {
        let high = -(slots as i32) * 8;
        self.use_stack(frame, Span { low: high, high: high + 8, fixed: true });
    }

    pub(super) fn slot_mut(&mut self, frame: u8, index: usize) -> Option<&mut Slot> {
        self.state.frames.get_mut(frame as usize)?.stack.get_mut(index)
    }

    fn all_zero(&self, frame: u8, low: i32, high: i32) -> bool {
        (low..high).all(|offset| {
            let (slot, byte) = locate(offset);
            self.slot(frame, slot).bytes.get(byte) == Some(&Byte::Zero)
        })
    }

    /// Whether every byte may be read as a number. `helper`: by a helper, so that a
    /// pointer would leave the program.
    pub(super) fn check_readable(
        &self,
        base: Reg,
        frame: u8,
        low: i32,
        high: i32,
        helper: bool,
    ) -> Result<(), Refusal> {
        for offset in low..high {
            let (index, byte) = locate(offset);
            let slot = self.slot(frame, index);
            let content = slot.bytes.get(byte).copied().unwrap_or(Byte::Invalid);
            match content {
                Byte::Misc | Byte::Zero => {}
                Byte::Spill if slot.value.is_scalar() || self.env.privileged() => {}
                Byte::Spill => {
                    let message = if helper {
                        format!(
                            "invalid indirect read from stack R{} off {low}+{}: a pointer is stored there",
                            base as u8,
                            offset - low
                        )
                    } else {
                        format!("invalid read from stack off {low}: part of a pointer")
                    };
                    return Err(self.refuse(Cause::PointerLeak, message).register(base));
                }
                Byte::Special => {
                    return Err(self
                        .refuse(
                            Cause::OutOfBounds,
                            format!(
                                "invalid read from stack R{} off {low}+{} size {}: an object of the kernel's lies there",
                                base as u8,
                                offset - low,
                                high - low
                            ),
                        )
                        .register(base));
                }
                Byte::Invalid if self.env.privileged() => {}
                Byte::Invalid => {
                    let kind = if helper { "indirect read" } else { "read" };
                    return Err(self
                        .refuse(
                            Cause::Uninitialised,
                            format!(
                                "invalid {kind} from stack R{} off {low}+{} size {}: the byte at r10{offset} was never written",
                                base as u8,
                                offset - low,
                                high - low
                            ),
                        )
                        .register(base)
                        .hint("initialise the whole variable, padding included"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn stack_write(
        &mut self,
        base: Reg,
        pointer: &Value,
        frame: u8,
        offset: i32,
        size: u32,
        src: Operand,
    ) -> Result<(), Refusal> {
        let span = self.span(base, pointer, offset, size, "write to")?;
        self.use_stack(frame, span);
        let value = match src {
            Operand::Reg(src) => *self.state.reg(src),
            Operand::Imm(imm) => Value::constant(i64::from(imm) as u64),
        };
        if !span.fixed {
            return self.stack_write_somewhere(base, frame, span, src, &value);
        }
        let (index, byte) = locate(span.low);
        self.overwrite_special(frame, index)?;
        let old = self.slot(frame, index);
        if !self.env.privileged() && old.is_spill() && old.value.is_pointer() && size != 8 {
            return Err(self
                .refuse(Cause::PointerLeak, "attempt to corrupt spilled pointer on stack".into())
                .register(base));
        }
        if value.is_pointer() {
            if size != 8 {
                return Err(self
                    .refuse(
                        Cause::PointerLeak,
                        "invalid size of register spill: a pointer takes 8 bytes".into(),
                    )
                    .register(base));
            }
            if matches!(value.kind, Kind::Stack { .. }) && frame as usize != self.state.depth() {
                return Err(self
                    .refuse(
                        Cause::PointerLeak,
                        "cannot spill pointers to stack into stack frame of the caller".into(),
                    )
                    .register(base));
            }
        }
        if size == 8 {
            self.path.wrote(frame as usize, 1 << index);
        }
        // A number at the start of a slot is kept; so is every pointer.
        if byte == 0 {
            let fits = size == 8 || value.scalar.r64.umax >> (size * 8) == 0;
            let mut kept = value;
            if let Operand::Reg(src) = src {
                if value.is_scalar() && fits {
                    kept = self.link_copy(src);
                }
                self.path.note_slot(frame as usize, index);
            } else {
                self.path.note_slot(frame as usize, index);
            }
            if kept.is_scalar() && !fits {
                (kept.id, kept.offset) = (0, 0);
                kept.scalar = kept.scalar.truncate(size);
            }
            kept.precise = false;
            if let Some(slot) = self.slot_mut(frame, index) {
                slot.scrub();
                for byte in slot.bytes.iter_mut().take(size as usize) {
                    *byte = Byte::Spill;
                }
                slot.value = kept;
            }
            return Ok(());
        }
        let zero = value.is_zero();
        if zero && let Operand::Reg(src) = src {
            // It must stay zero for every state that this one will cover.
            self.need_precise(src);
        }
        if let Some(slot) = self.slot_mut(frame, index) {
            slot.scrub();
            let content = if zero { Byte::Zero } else { Byte::Misc };
            for byte in slot.bytes.iter_mut().skip(byte).take(size as usize) {
                *byte = content;
            }
        }
        Ok(())
    }

    /// A write whose place is not known: any of the bytes may have changed.
    fn stack_write_somewhere(
        &mut self,
        base: Reg,
        frame: u8,
        span: Span,
        src: Operand,
        value: &Value,
    ) -> Result<(), Refusal> {
        if !self.env.privileged() {
            return Err(self
                .refuse(
                    Cause::OutOfBounds,
                    format!("R{} variable stack access prohibited for !root", base as u8),
                )
                .register(base));
        }
        if value.is_pointer()
            && matches!(value.kind, Kind::Stack { .. })
            && frame as usize != self.state.depth()
        {
            return Err(self.refuse(
                Cause::PointerLeak,
                "cannot spill pointers to stack into stack frame of the caller".into(),
            ));
        }
        let zero = value.is_zero();
        if zero && let Operand::Reg(src) = src {
            self.need_precise(src);
        }
        // What it held before may still be there, so it counts as read as well.
        self.read_slots(frame as usize, slot_bits(span.low, span.high));
        for offset in span.low..span.high {
            let (index, byte) = locate(offset);
            self.overwrite_special(frame, index)?;
            let Some(slot) = self.slot_mut(frame, index) else { continue };
            slot.scrub();
            if let Some(content) = slot.bytes.get_mut(byte) {
                *content = match *content {
                    Byte::Zero if zero => Byte::Zero,
                    Byte::Invalid => Byte::Invalid,
                    _ => Byte::Misc,
                };
            }
        }
        Ok(())
    }

    /// Bytes that were changed to something unknown, by an atomic or a helper.
    pub(super) fn stack_clobber(
        &mut self,
        base: Reg,
        pointer: &Value,
        frame: u8,
        offset: i32,
        size: u32,
    ) -> Result<(), Refusal> {
        let span = self.span(base, pointer, offset, size, "write to")?;
        self.use_stack(frame, span);
        for offset in span.low..span.high {
            let (index, byte) = locate(offset);
            self.overwrite_special(frame, index)?;
            let privileged = self.env.privileged();
            let Some(slot) = self.slot_mut(frame, index) else { continue };
            if !privileged && slot.is_spill() && slot.value.is_pointer() && !size.is_multiple_of(8)
            {
                return Err(self.refuse(
                    Cause::PointerLeak,
                    "attempt to corrupt spilled pointer on stack".into(),
                ));
            }
            slot.scrub();
            if let Some(content) = slot.bytes.get_mut(byte) {
                *content = Byte::Misc;
            }
        }
        if span.fixed {
            let (low, high) = ((span.low + 7) & !7, span.high & !7);
            self.path.wrote(frame as usize, slot_bits(low, high));
        }
        Ok(())
    }

    /// A helper must not write over a part of a pointer, of which the rest would be a number: Linux
    /// takes each of its bytes for a write of its own.
    fn keep_pointers(&self, frame: u8, span: Span) -> Result<(), Refusal> {
        let pointer = |offset| {
            let slot = self.slot(frame, locate(offset).0);
            slot.is_spill() && slot.value.is_pointer()
        };
        if !self.env.privileged() && (span.low..span.high).any(pointer) {
            return Err(self
                .refuse(Cause::PointerLeak, "attempt to corrupt spilled pointer on stack".into()));
        }
        Ok(())
    }

    /// Memory on the stack that a helper reads or writes. `must_read`: its content
    /// is used, otherwise it is only written.
    pub(super) fn stack_argument(
        &mut self,
        base: Reg,
        pointer: &Value,
        frame: u8,
        size: u32,
        must_read: bool,
        writes: bool,
    ) -> Result<(), Refusal> {
        let what = if must_read { "indirect access to" } else { "indirect write to" };
        let span = self.span(base, pointer, 0, size, what)?;
        if size == 0 {
            return Ok(());
        }
        if !span.fixed && !self.env.privileged() {
            return Err(self
                .refuse(
                    Cause::OutOfBounds,
                    format!("R{} variable stack access prohibited for !root", base as u8),
                )
                .register(base));
        }
        self.use_stack(frame, span);
        if must_read {
            self.read_slots(frame as usize, slot_bits(span.low, span.high));
            self.check_readable(base, frame, span.low, span.high, true)?;
        }
        if writes {
            self.keep_pointers(frame, span)?;
            if !span.fixed {
                self.read_slots(frame as usize, slot_bits(span.low, span.high));
            }
            self.stack_clobber(base, pointer, frame, 0, size)?;
        }
        Ok(())
    }
}
