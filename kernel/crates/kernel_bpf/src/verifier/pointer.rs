//! Arithmetic on pointers: only addition and subtraction, only on pointers into memory
//! whose extent is known, and only by bounded amounts.

use alloc::format;

use super::explore::Verifier;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::scalar::{Scalar, alu as ops};
use super::state::MAX_STACK;
use super::value::{Kind, Value};
use crate::insn::{AluOp, Operand, Reg, Width};

/// Linux's `BPF_MAX_VAR_OFF`: no offset reaches this far.
pub(super) const MAX_OFFSET: i64 = 1 << 29;

impl Verifier<'_> {
    /// `dst op src` where at least one is a pointer.
    pub(super) fn pointer_alu(
        &mut self,
        width: Width,
        op: AluOp,
        dst: Reg,
        src: Operand,
        left: &Value,
        right: &Value,
    ) -> Result<Value, Refusal> {
        if left.is_pointer() && right.is_pointer() {
            if op == AluOp::Sub && self.env.privileged() {
                // The distance of two pointers is a number.
                return Ok(match width {
                    Width::W64 => Value::UNKNOWN,
                    Width::W32 => Value::scalar(Scalar::unsigned(0, u64::from(u32::MAX))),
                });
            }
            return Err(self
                .refuse(
                    Cause::PointerArithmetic,
                    format!("R{} pointer {} pointer prohibited", dst as u8, symbol(op)),
                )
                .register(dst));
        }
        let (pointer, number) = if left.is_pointer() { (left, right) } else { (right, left) };
        // Pointers are compared exactly, so what they are made of must be too.
        if left.is_pointer() {
            if let Operand::Reg(src) = src {
                self.need_precise(src);
            }
        } else {
            self.need_precise(dst);
        }
        if width == Width::W32 {
            if op == AluOp::Sub && self.env.privileged() {
                return Ok(Value::scalar(Scalar::unsigned(0, u64::from(u32::MAX))));
            }
            return Err(self
                .refuse(
                    Cause::PointerArithmetic,
                    format!("R{} 32-bit pointer arithmetic prohibited", dst as u8),
                )
                .register(dst)
                .hint("use 64-bit arithmetic on pointers"));
        }
        self.check_movable(dst, op, pointer, number)?;
        self.check_distance(dst, pointer, number)?;
        let result = match op {
            AluOp::Add => self.move_pointer(pointer, number, false),
            AluOp::Sub if !left.is_pointer() => {
                return Err(self
                    .refuse(
                        Cause::PointerArithmetic,
                        format!("R{} tried to subtract pointer from scalar", dst as u8),
                    )
                    .register(dst));
            }
            AluOp::Sub => {
                if matches!(pointer.kind, Kind::Stack { .. }) {
                    return Err(self
                        .refuse(
                            Cause::PointerArithmetic,
                            format!("R{} subtraction from stack pointer prohibited", dst as u8),
                        )
                        .register(dst)
                        .hint("add a negative number instead"));
                }
                self.move_pointer(pointer, number, true)
            }
            AluOp::And | AluOp::Or | AluOp::Xor => {
                return Err(self
                    .refuse(
                        Cause::PointerArithmetic,
                        format!(
                            "R{} bitwise operator {} on pointer prohibited",
                            dst as u8,
                            symbol(op)
                        ),
                    )
                    .register(dst));
            }
            _ => {
                return Err(self
                    .refuse(
                        Cause::PointerArithmetic,
                        format!(
                            "R{} pointer arithmetic with {} operator prohibited",
                            dst as u8,
                            symbol(op)
                        ),
                    )
                    .register(dst));
            }
        };
        let moved = Value::scalar(result.scalar);
        self.check_distance(dst, &result, &moved)?;
        if !self.env.privileged() {
            if matches!(src, Operand::Reg(_)) {
                self.check_maskable(dst, op, pointer, &result, number)?;
            }
            self.check_stays_inside(dst, &result, number)?;
        }
        Ok(result)
    }

    /// Refuses arithmetic on pointers that stand for a whole object or may be null.
    fn check_movable(
        &self,
        dst: Reg,
        op: AluOp,
        pointer: &Value,
        number: &Value,
    ) -> Result<(), Refusal> {
        if pointer.nullable {
            return Err(self
                .refuse(
                    Cause::MayBeNull,
                    format!(
                        "R{} pointer arithmetic on {} prohibited, null-check it first",
                        dst as u8,
                        self.kind_name(pointer)
                    ),
                )
                .register(dst)
                .hint("check the pointer for null first"));
        }
        let allowed = match pointer.kind {
            Kind::Ctx
            | Kind::Stack { .. }
            | Kind::MapValue { .. }
            | Kind::MapKey { .. }
            | Kind::Lent { .. }
            | Kind::Packet
            | Kind::PacketMeta
            | Kind::Memory { .. } => true,
            Kind::TraceBuffer => true,
            Kind::Btf { .. } => number.as_constant().is_some(),
            Kind::MapPtr { .. } => op == AluOp::Add && number.is_zero(),
            _ => false,
        };
        if allowed {
            return Ok(());
        }
        Err(self
            .refuse(
                Cause::PointerArithmetic,
                format!(
                    "R{} pointer arithmetic on {} prohibited",
                    dst as u8,
                    self.kind_name(pointer)
                ),
            )
            .register(dst))
    }

    /// Refuses offsets that could wrap around, or that are not bounded below.
    fn check_distance(&self, dst: Reg, pointer: &Value, number: &Value) -> Result<(), Refusal> {
        let kind = self.kind_name(pointer);
        let range = &number.scalar.r64;
        let message = if let Some(x) = number.scalar.as_constant() {
            let x = x as i64;
            if x.checked_abs().is_none_or(|x| x >= MAX_OFFSET) {
                format!("math between {kind} pointer and {x} is not allowed")
            } else if i64::from(pointer.offset).abs() >= MAX_OFFSET {
                format!("{kind} pointer offset {} is not allowed", pointer.offset)
            } else {
                return Ok(());
            }
        } else if range.smin == i64::MIN {
            format!(
                "math between {kind} pointer and register with unbounded min value is not allowed"
            )
        } else if range.smin.abs() >= MAX_OFFSET {
            format!("value {} makes {kind} pointer be out of bounds", range.smin)
        } else if i64::from(pointer.offset).abs() >= MAX_OFFSET {
            format!("{kind} pointer offset {} is not allowed", pointer.offset)
        } else {
            return Ok(());
        };
        Err(self
            .refuse(Cause::PointerArithmetic, message)
            .register(dst)
            .hint("bound the number first, for instance with `if (index < SIZE)`"))
    }

    fn move_pointer(&mut self, pointer: &Value, number: &Value, back: bool) -> Value {
        let mut result = *pointer;
        if let Some(x) = number.scalar.as_constant() {
            let by = if back { (x as i64).wrapping_neg() } else { x as i64 };
            if let Ok(offset) = i32::try_from(i64::from(pointer.offset).saturating_add(by)) {
                result.offset = offset;
                return result;
            }
        }
        let op = if back { AluOp::Sub } else { AluOp::Add };
        result.scalar = ops::alu(op, Width::W64, &pointer.scalar, &number.scalar);
        if matches!(pointer.kind, Kind::Packet | Kind::PacketMeta) {
            // What is known about the packet's length counts from another point now.
            result.id = self.new_id();
            result.range = 0;
        }
        result
    }

    /// Linux masks what an unprivileged program adds to a pointer, so that a wrong guess
    /// of the processor stays inside. That works for some kinds of pointers, in one
    /// direction, with one limit per instruction.
    fn check_maskable(
        &mut self,
        dst: Reg,
        op: AluOp,
        pointer: &Value,
        result: &Value,
        number: &Value,
    ) -> Result<(), Refusal> {
        let reg = dst as u8;
        if !matches!(pointer.kind, Kind::Stack { .. } | Kind::MapValue { .. }) {
            return Err(self
                .refuse(
                    Cause::PointerArithmetic,
                    format!("R{reg} has pointer with unsupported alu operation"),
                )
                .register(dst));
        }
        let constant = number.scalar.as_constant();
        let leftwards = (number.scalar.r64.smin < 0) != (op == AluOp::Sub);
        let limit = match (constant, leftwards) {
            (Some(x), _) => x as i64,
            (None, true) => result.scalar.r64.smin.saturating_add(i64::from(pointer.offset)),
            (None, false) => i64::try_from(pointer.scalar.r64.umax)
                .unwrap_or(i64::MAX)
                .saturating_add(i64::from(pointer.offset)),
        };
        let now = (leftwards, constant.is_some(), limit);
        if *self.masked.entry(self.pc).or_insert(now) != now {
            return Err(self
                .refuse(
                    Cause::PointerArithmetic,
                    format!("R{reg} tried to add from different maps, paths or scalars"),
                )
                .register(dst));
        }
        Ok(())
    }

    /// Unprivileged programs may not even form pointers outside the memory: the
    /// processor could follow them speculatively.
    fn check_stays_inside(&self, dst: Reg, result: &Value, number: &Value) -> Result<(), Refusal> {
        let range = &number.scalar.r64;
        if (range.smin < 0) != (range.smax < 0) {
            return Err(self
                .refuse(
                    Cause::PointerArithmetic,
                    format!("R{} has unknown scalar with mixed signed bounds", dst as u8),
                )
                .register(dst));
        }
        match result.kind {
            Kind::Stack { .. } => {
                let Some(x) = result.scalar.as_constant() else {
                    return Err(self
                        .refuse(
                            Cause::OutOfBounds,
                            format!("R{} variable stack access prohibited for !root", dst as u8),
                        )
                        .register(dst));
                };
                let at = i64::from(result.offset).saturating_add(x as i64);
                if !(-i64::from(MAX_STACK)..0).contains(&at) {
                    return Err(self
                        .refuse(
                            Cause::OutOfBounds,
                            format!(
                                "R{} stack pointer arithmetic goes out of range, prohibited for !root",
                                dst as u8
                            ),
                        )
                        .register(dst));
                }
            }
            Kind::MapValue { map } => {
                let size = self.env.map(map).map_or(0, |def| def.value_size);
                if self.check_extent(dst, result, 0, 1, size, false).is_err() {
                    return Err(self
                        .refuse(
                            Cause::OutOfBounds,
                            format!(
                                "R{} pointer arithmetic of map value goes out of range, prohibited for !root",
                                dst as u8
                            ),
                        )
                        .register(dst));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The operator as C writes it.
fn symbol(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+=",
        AluOp::Sub => "-=",
        AluOp::Mul => "*=",
        AluOp::Div | AluOp::SDiv => "/=",
        AluOp::Or => "|=",
        AluOp::And => "&=",
        AluOp::Lsh => "<<=",
        AluOp::Rsh => ">>=",
        AluOp::Mod | AluOp::SMod => "%=",
        AluOp::Xor => "^=",
        AluOp::Arsh => "s>>=",
    }
}
