//! Which [`Code`] an instruction has, and which codes belong together: a jump and its inverse,
//! arithmetic with a register and with an immediate, ops of one kind.

#![forbid(unsafe_code)]

use super::code::Code;
use crate::insn::{AluOp, Cond, Width};

/// Makes [`Code::inverse`] from pairs.
macro_rules! inverses {
    ($($one:ident $other:ident),+ $(,)?) => {
        impl Code {
            /// The jump that is taken when this one is not, with the same operands.
            pub(super) fn inverse(self) -> Option<Self> {
                Some(match self {
                    $(Self::$one => Self::$other, Self::$other => Self::$one,)+
                    _ => return None,
                })
            }
        }
    };
}

inverses!(
    JEq64Imm JNe64Imm, JGt64Imm JLe64Imm, JGe64Imm JLt64Imm,
    JSgt64Imm JSle64Imm, JSge64Imm JSlt64Imm,
    JEq64Reg JNe64Reg, JGt64Reg JLe64Reg, JGe64Reg JLt64Reg,
    JSgt64Reg JSle64Reg, JSge64Reg JSlt64Reg,
    JEq32Imm JNe32Imm, JGt32Imm JLe32Imm, JGe32Imm JLt32Imm,
    JSgt32Imm JSle32Imm, JSge32Imm JSlt32Imm,
    JEq32Reg JNe32Reg, JGt32Reg JLe32Reg, JGe32Reg JLt32Reg,
    JSgt32Reg JSle32Reg, JSge32Reg JSlt32Reg,
    AddJEq64 AddJNe64, AddJEq32 AddJNe32, AndJEq AndJNe,
    StepJEq StepJNe, SetJEq64 SetJNe64, SetJEq32 SetJNe32,
    Load8JEq Load8JNe, Load16JEq Load16JNe, Load32JEq Load32JNe, Load64JEq Load64JNe,
);

/// Makes a method of [`Code`] from pairs: what it makes of each code, and of no other.
macro_rules! counterparts {
    ($(#[$doc:meta])* $method:ident: $($code:ident $counterpart:ident),+ $(,)?) => {
        impl Code {
            $(#[$doc])*
            pub(super) fn $method(self) -> Option<Self> {
                Some(match self {
                    $(Self::$code => Self::$counterpart,)+
                    _ => return None,
                })
            }
        }
    };
}

counterparts!(
    /// The same arithmetic with an immediate as second operand.
    with_immediate:
    Add64Reg Add64Imm, Sub64Reg Sub64Imm, Mul64Reg Mul64Imm, Div64Reg Div64Imm, Or64Reg Or64Imm,
    And64Reg And64Imm, Lsh64Reg Lsh64Imm, Rsh64Reg Rsh64Imm, Mod64Reg Mod64Imm, Xor64Reg Xor64Imm,
    Arsh64Reg Arsh64Imm, SDiv64Reg SDiv64Imm, SMod64Reg SMod64Imm,
    Add32Reg Add32Imm, Sub32Reg Sub32Imm, Mul32Reg Mul32Imm, Div32Reg Div32Imm, Or32Reg Or32Imm,
    And32Reg And32Imm, Lsh32Reg Lsh32Imm, Rsh32Reg Rsh32Imm, Mod32Reg Mod32Imm, Xor32Reg Xor32Imm,
    Arsh32Reg Arsh32Imm, SDiv32Reg SDiv32Imm, SMod32Reg SMod32Imm,
);

counterparts!(
    /// The same access with a displacement of 64 bits.
    far:
    Load8 Load8Far, Load16 Load16Far, Load32 Load32Far, Load64 Load64Far,
    Store8Reg Store8Far, Store16Reg Store16Far, Store32Reg Store32Far, Store64Reg Store64Far,
);

counterparts!(
    /// The same access with a further register in its address.
    indexed:
    Load8 Load8At, Load16 Load16At, Load32 Load32At, Load64 Load64At,
    Store8Reg Store8At, Store16Reg Store16At, Store32Reg Store32At, Store64Reg Store64At,
);

impl Code {
    /// A plain load or store, before it is fused with anything.
    pub(super) fn accesses_memory(self) -> bool {
        (Self::Load8..=Self::Store64Reg).contains(&self)
    }

    /// Arithmetic on two registers, before it is fused with anything.
    pub(super) fn has_two_registers(self) -> bool {
        (Self::Add64Reg..=Self::SMod64Reg).contains(&self)
            || (Self::Add32Reg..=Self::SMod32Reg).contains(&self)
    }

    /// Computes `dst` from what is in `src`, or from what lies there, and writes nothing else.
    pub(super) fn goes_from_src_to_dst(self) -> bool {
        (Self::Add64Imm..=Self::LoadSx32).contains(&self)
            && !matches!(self, Self::Mov64Imm | Self::Mov32Imm)
    }

    /// One that [goes from `src` to `dst`](Self::goes_from_src_to_dst) and looks at no more than
    /// the lower halves of its operands.
    pub(super) fn reads_lower_halves(self) -> bool {
        (Self::Add32Imm..=Self::Mov32Reg).contains(&self) && self != Self::Mov32Imm
    }
}

macro_rules! select {
    ($operation:expr, $enum:ident, $($name:ident => $code:ident),+ $(,)?) => {
        match $operation { $($enum::$name => Code::$code),+ }
    };
}

impl Code {
    /// The code of two-operand arithmetic.
    pub(super) fn alu(op: AluOp, width: Width, immediate: bool) -> Self {
        match (width, immediate) {
            (Width::W64, true) => select!(op, AluOp,
                Add => Add64Imm, Sub => Sub64Imm, Mul => Mul64Imm, Div => Div64Imm,
                Or => Or64Imm, And => And64Imm, Lsh => Lsh64Imm, Rsh => Rsh64Imm,
                Mod => Mod64Imm, Xor => Xor64Imm, Arsh => Arsh64Imm, SDiv => SDiv64Imm,
                SMod => SMod64Imm,
            ),
            (Width::W64, false) => select!(op, AluOp,
                Add => Add64Reg, Sub => Sub64Reg, Mul => Mul64Reg, Div => Div64Reg,
                Or => Or64Reg, And => And64Reg, Lsh => Lsh64Reg, Rsh => Rsh64Reg,
                Mod => Mod64Reg, Xor => Xor64Reg, Arsh => Arsh64Reg, SDiv => SDiv64Reg,
                SMod => SMod64Reg,
            ),
            (Width::W32, true) => select!(op, AluOp,
                Add => Add32Imm, Sub => Sub32Imm, Mul => Mul32Imm, Div => Div32Imm,
                Or => Or32Imm, And => And32Imm, Lsh => Lsh32Imm, Rsh => Rsh32Imm,
                Mod => Mod32Imm, Xor => Xor32Imm, Arsh => Arsh32Imm, SDiv => SDiv32Imm,
                SMod => SMod32Imm,
            ),
            (Width::W32, false) => select!(op, AluOp,
                Add => Add32Reg, Sub => Sub32Reg, Mul => Mul32Reg, Div => Div32Reg,
                Or => Or32Reg, And => And32Reg, Lsh => Lsh32Reg, Rsh => Rsh32Reg,
                Mod => Mod32Reg, Xor => Xor32Reg, Arsh => Arsh32Reg, SDiv => SDiv32Reg,
                SMod => SMod32Reg,
            ),
        }
    }

    /// The code of a conditional jump.
    pub(super) fn branch(cond: Cond, width: Width, immediate: bool) -> Self {
        match (width, immediate) {
            (Width::W64, true) => select!(cond, Cond,
                Eq => JEq64Imm, Gt => JGt64Imm, Ge => JGe64Imm, Set => JSet64Imm, Ne => JNe64Imm,
                Sgt => JSgt64Imm, Sge => JSge64Imm, Lt => JLt64Imm, Le => JLe64Imm,
                Slt => JSlt64Imm, Sle => JSle64Imm,
            ),
            (Width::W64, false) => select!(cond, Cond,
                Eq => JEq64Reg, Gt => JGt64Reg, Ge => JGe64Reg, Set => JSet64Reg, Ne => JNe64Reg,
                Sgt => JSgt64Reg, Sge => JSge64Reg, Lt => JLt64Reg, Le => JLe64Reg,
                Slt => JSlt64Reg, Sle => JSle64Reg,
            ),
            (Width::W32, true) => select!(cond, Cond,
                Eq => JEq32Imm, Gt => JGt32Imm, Ge => JGe32Imm, Set => JSet32Imm, Ne => JNe32Imm,
                Sgt => JSgt32Imm, Sge => JSge32Imm, Lt => JLt32Imm, Le => JLe32Imm,
                Slt => JSlt32Imm, Sle => JSle32Imm,
            ),
            (Width::W32, false) => select!(cond, Cond,
                Eq => JEq32Reg, Gt => JGt32Reg, Ge => JGe32Reg, Set => JSet32Reg, Ne => JNe32Reg,
                Sgt => JSgt32Reg, Sge => JSge32Reg, Lt => JLt32Reg, Le => JLe32Reg,
                Slt => JSlt32Reg, Sle => JSle32Reg,
            ),
        }
    }
}
