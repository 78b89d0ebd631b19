//! Arithmetic and moves on registers; pointers go on to `pointer`.

use alloc::format;

use super::explore::Verifier;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::scalar::{Scalar, alu as ops};
use super::value::{Kind, Value};
use crate::insn::{AluOp, ByteOrder, Operand, Reg, SignedSize, SwapWidth, Width};

/// An immediate as the machine sees it: sign-extended, or 32 bits.
fn immediate(width: Width, imm: i32) -> Scalar {
    match width {
        Width::W64 => Scalar::constant(i64::from(imm) as u64),
        Width::W32 => Scalar::constant(u64::from(imm as u32)),
    }
}

/// A pointer's bits are any number.
fn number(value: &Value) -> Scalar {
    if value.is_pointer() { Scalar::UNKNOWN } else { value.scalar }
}

impl Verifier<'_> {
    pub(super) fn alu(
        &mut self,
        width: Width,
        op: AluOp,
        dst: Reg,
        src: Operand,
    ) -> Result<(), Refusal> {
        if let Operand::Reg(src) = src {
            self.read(src)?;
        }
        self.read(dst)?;
        if let Operand::Imm(imm) = src {
            self.check_immediate(width, op, imm)?;
        }
        self.writable(dst)?;
        let left = *self.state.reg(dst);
        let right = match src {
            Operand::Reg(src) => *self.state.reg(src),
            Operand::Imm(imm) => Value::scalar(immediate(width, imm)),
        };
        if left.is_pointer() || right.is_pointer() {
            let result = self.pointer_alu(width, op, dst, src, &left, &right)?;
            self.state.set(dst, result);
            return Ok(());
        }
        if let (AluOp::Div | AluOp::Mod, Operand::Reg(reg)) = (op, src) {
            self.note_divisor(width, reg);
        }
        let scalar = ops::alu(op, width, &left.scalar, &right.scalar);
        let (id, offset) = match src {
            Operand::Imm(imm) if width == Width::W64 && op == AluOp::Add => {
                self.moved_identity(&left, imm)
            }
            _ => (0, 0),
        };
        self.state.set(dst, Value { id, offset, ..Value::scalar(scalar) });
        Ok(())
    }

    /// The identity and offset of a number after a constant was added. As in Linux, for one
    /// addition of a positive constant: a number that moves on in every round of a loop would
    /// never be the same as before.
    fn moved_identity(&self, value: &Value, imm: i32) -> (u32, i32) {
        let moves = value.id != 0 && value.offset == 0 && imm > 0 && self.env.privileged();
        if moves { (value.id, imm) } else { (0, 0) }
    }

    fn check_immediate(&self, width: Width, op: AluOp, imm: i32) -> Result<(), Refusal> {
        match op {
            AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod if imm == 0 => {
                Err(self.refuse(Cause::BadInstruction, "div by zero".into()))
            }
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => {
                let bits = if width == Width::W32 { 32 } else { 64 };
                if (0..bits).contains(&imm) {
                    return Ok(());
                }
                Err(self.refuse(
                    Cause::BadInstruction,
                    format!("invalid shift {imm}: a {bits}-bit number has bits 0 to {}", bits - 1),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Records whether a division needs a test for zero. The claim holds only if the
    /// divisor is compared exactly when states are.
    fn note_divisor(&mut self, width: Width, divisor: Reg) {
        let scalar = &self.state.reg(divisor).scalar;
        let nonzero = match width {
            Width::W64 => scalar.r64.umin > 0,
            Width::W32 => scalar.r32.umin > 0,
        };
        if nonzero {
            self.need_precise(divisor);
        }
        self.note_nonzero_divisor(nonzero);
    }

    pub(super) fn neg(&mut self, width: Width, dst: Reg) -> Result<(), Refusal> {
        let value = *self.read(dst)?;
        self.writable(dst)?;
        self.only_numbers(dst, &value, "negation")?;
        let scalar = ops::neg(width, &number(&value));
        self.state.set(dst, Value::scalar(scalar));
        Ok(())
    }

    pub(super) fn byte_order(
        &mut self,
        kind: ByteOrder,
        dst: Reg,
        bits: SwapWidth,
    ) -> Result<(), Refusal> {
        let value = *self.read(dst)?;
        self.writable(dst)?;
        self.only_numbers(dst, &value, "byte swap")?;
        let scalar = ops::byte_order(kind, bits, &number(&value));
        self.state.set(dst, Value::scalar(scalar));
        Ok(())
    }

    fn only_numbers(&self, reg: Reg, value: &Value, what: &str) -> Result<(), Refusal> {
        if value.is_pointer() && !self.env.privileged() {
            return Err(self
                .refuse(
                    Cause::PointerArithmetic,
                    format!("R{} pointer arithmetic prohibited: {what} of a pointer", reg as u8),
                )
                .register(reg));
        }
        Ok(())
    }

    pub(super) fn mov(&mut self, width: Width, dst: Reg, src: Operand) -> Result<(), Refusal> {
        let value = match src {
            Operand::Imm(imm) => Value::scalar(immediate(width, imm)),
            Operand::Reg(src) => {
                let value = *self.read(src)?;
                match width {
                    Width::W64 => {
                        self.writable(dst)?;
                        self.link_copy(src)
                    }
                    Width::W32 if value.is_pointer() => {
                        if !self.env.privileged() {
                            return Err(self
                                .refuse(
                                    Cause::PointerLeak,
                                    format!("R{} partial copy of pointer", src as u8),
                                )
                                .register(src));
                        }
                        Value::scalar(Scalar::unsigned(0, u64::from(u32::MAX)))
                    }
                    Width::W32 => {
                        // A number that fits is the same number.
                        if value.scalar.r64.umax <= u64::from(u32::MAX) {
                            self.writable(dst)?;
                            self.link_copy(src)
                        } else {
                            Value::scalar(value.scalar.zero_extend32())
                        }
                    }
                }
            }
        };
        self.writable(dst)?;
        self.state.set(dst, value);
        Ok(())
    }

    /// A copy of a register's value. Unknown numbers get an identity, so that what is
    /// found out about one copy holds for the other.
    pub(super) fn link_copy(&mut self, src: Reg) -> Value {
        let value = *self.state.reg(src);
        if value.is_scalar() && value.id == 0 && value.as_constant().is_none() {
            let id = self.new_id();
            self.state.reg_mut(src).id = id;
        }
        *self.state.reg(src)
    }

    pub(super) fn mov_sx(
        &mut self,
        width: Width,
        dst: Reg,
        src: Reg,
        from: SignedSize,
    ) -> Result<(), Refusal> {
        let value = *self.read(src)?;
        self.writable(dst)?;
        if value.is_pointer() {
            if !self.env.privileged() {
                return Err(self
                    .refuse(
                        Cause::PointerLeak,
                        format!("R{} sign-extension part of pointer", src as u8),
                    )
                    .register(src));
            }
            if value.kind == Kind::Uninit {
                return Ok(());
            }
            self.state.set(dst, Value::UNKNOWN);
            return Ok(());
        }
        let bits = from.size().bits();
        let most = (1i64 << (bits - 1)) - 1;
        let unchanged = value.scalar.r64.umax <= most as u64;
        if unchanged {
            let copy = self.link_copy(src);
            self.state.set(dst, copy);
            return Ok(());
        }
        let extended = value.scalar.sign_extend(bits);
        let scalar = match width {
            Width::W64 => extended,
            Width::W32 => extended.zero_extend32(),
        };
        self.state.set(dst, Value::scalar(scalar));
        Ok(())
    }
}
