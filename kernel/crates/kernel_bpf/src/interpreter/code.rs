//! The pre-decoded form: [`Op`], 16 bytes, with everything that running it needs.
//!
//! Each [`Code`] says operation, width and kind of operand at once, so that running an
//! instruction is one jump through a table. Besides one code for each instruction there are
//! *fused* codes for pairs that compilers emit often. [`super::lower`] makes them,
//! [`super::execute`] runs them.

#![forbid(unsafe_code)]

use crate::insn::{AluOp, Cond, Width};

/// A pre-decoded instruction.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Op {
    pub(super) code: Code,
    /// Destination register, or the base of a store; always below 11.
    pub(super) dst: u8,
    /// Source register, or the base of a load; always below 11.
    pub(super) src: u8,
    /// Bytes from this op to the jump's target, or the displacement of a memory access.
    pub(super) offset: i32,
    /// Immediate, sign-extended; an address; or two halves of a fused pair.
    pub(super) imm: u64,
}

/// What an [`Op`] does. `64` and `32` are widths, `Imm` and `Reg` kinds of second operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(super) enum Code {
    Add64Imm,
    Sub64Imm,
    Mul64Imm,
    Div64Imm,
    Or64Imm,
    And64Imm,
    Lsh64Imm,
    Rsh64Imm,
    Mod64Imm,
    Xor64Imm,
    Arsh64Imm,
    SDiv64Imm,
    SMod64Imm,
    Mov64Imm,
    Add64Reg,
    Sub64Reg,
    Mul64Reg,
    Div64Reg,
    Or64Reg,
    And64Reg,
    Lsh64Reg,
    Rsh64Reg,
    Mod64Reg,
    Xor64Reg,
    Arsh64Reg,
    SDiv64Reg,
    SMod64Reg,
    Mov64Reg,
    Add32Imm,
    Sub32Imm,
    Mul32Imm,
    Div32Imm,
    Or32Imm,
    And32Imm,
    Lsh32Imm,
    Rsh32Imm,
    Mod32Imm,
    Xor32Imm,
    Arsh32Imm,
    SDiv32Imm,
    SMod32Imm,
    Mov32Imm,
    Add32Reg,
    Sub32Reg,
    Mul32Reg,
    Div32Reg,
    Or32Reg,
    And32Reg,
    Lsh32Reg,
    Rsh32Reg,
    Mod32Reg,
    Xor32Reg,
    Arsh32Reg,
    SDiv32Reg,
    SMod32Reg,
    Mov32Reg,
    Neg64,
    Neg32,
    // Sign extensions: from how many bits, to what width.
    Sx8To64,
    Sx16To64,
    Sx32To64,
    Sx8To32,
    Sx16To32,
    // Byte order: swapped or truncated to so many bits.
    Swap16,
    Swap32,
    Swap64,
    Zext16,
    Zext32,
    Nop,
    Load8,
    Load16,
    Load32,
    Load64,
    LoadSx8,
    LoadSx16,
    LoadSx32,
    Store8Imm,
    Store16Imm,
    Store32Imm,
    Store64Imm,
    Store8Reg,
    Store16Reg,
    Store32Reg,
    Store64Reg,
    // Atomics; `F` returns the old value in the source register.
    AtomicAdd32,
    AtomicOr32,
    AtomicAnd32,
    AtomicXor32,
    AtomicAddF32,
    AtomicOrF32,
    AtomicAndF32,
    AtomicXorF32,
    AtomicXchg32,
    AtomicCmpXchg32,
    AtomicAdd64,
    AtomicOr64,
    AtomicAnd64,
    AtomicXor64,
    AtomicAddF64,
    AtomicOrF64,
    AtomicAndF64,
    AtomicXorF64,
    AtomicXchg64,
    AtomicCmpXchg64,
    Acquire8,
    Acquire16,
    Acquire32,
    Acquire64,
    Release8,
    Release16,
    Release32,
    Release64,
    Jump,
    JEq64Imm,
    JGt64Imm,
    JGe64Imm,
    JSet64Imm,
    JNe64Imm,
    JSgt64Imm,
    JSge64Imm,
    JLt64Imm,
    JLe64Imm,
    JSlt64Imm,
    JSle64Imm,
    JEq64Reg,
    JGt64Reg,
    JGe64Reg,
    JSet64Reg,
    JNe64Reg,
    JSgt64Reg,
    JSge64Reg,
    JLt64Reg,
    JLe64Reg,
    JSlt64Reg,
    JSle64Reg,
    JEq32Imm,
    JGt32Imm,
    JGe32Imm,
    JSet32Imm,
    JNe32Imm,
    JSgt32Imm,
    JSge32Imm,
    JLt32Imm,
    JLe32Imm,
    JSlt32Imm,
    JSle32Imm,
    JEq32Reg,
    JGt32Reg,
    JGe32Reg,
    JSet32Reg,
    JNe32Reg,
    JSgt32Reg,
    JSge32Reg,
    JLt32Reg,
    JLe32Reg,
    JSlt32Reg,
    JSle32Reg,
    MayGoto,
    /// `imm` is the helper's function.
    CallHelper,
    /// `imm` is the function that finds a helper by number.
    CallRegister,
    /// `imm` is the function of a helper that calls back, `offset` the caller's stack in bytes.
    CallCallback,
    /// `dst` is the address of the op `offset` bytes on: a callback.
    FunctionAddress,
    /// Goes to the program that r2 and r3 name, if there is one.
    TailCall,
    /// Jumps by `offset`; `imm` is the caller's stack in bytes.
    CallLocal,
    /// Array lookup; `imm` is the address of its `ArrayLookup`.
    ArrayLookup,
    /// The same for a per-CPU array.
    PercpuArrayLookup,
    /// Leaves a function; the outermost one ends the program.
    Exit,
    // Legacy packet access; `offset` is where the context has the packet's start and end.
    PacketAbs8,
    PacketAbs16,
    PacketAbs32,
    PacketInd8,
    PacketInd16,
    PacketInd32,

    // Fused pairs.
    /// `dst = src + imm`
    Lea64,
    /// `r0 = imm; exit`
    ExitImm,
    // `dst op= low half of imm; if dst cond high half of imm goto`
    AddJEq,
    AddJNe,
    AddJGt,
    AddJLt,
    AndJEq,
    AndJNe,
    AndJGt,
    AndJLt,
    // `dst = *(src + low half of imm); if dst cond high half of imm goto`
    Load8JEq,
    Load8JNe,
    Load16JEq,
    Load16JNe,
    Load32JEq,
    Load32JNe,
    Load64JEq,
    Load64JNe,
    // `dst = (src << low half of imm) >> high half of imm`
    LshRsh64,
    LshArsh64,
    // `dst = src op r`, r the register whose number is in `offset`.
    Add64To,
    Sub64To,
    Or64To,
    And64To,
    Xor64To,
    Add32To,
    Sub32To,
    Or32To,
    And32To,
    Xor32To,
    // `dst = src shifted by imm`
    Lsh64To,
    Rsh64To,
    Lsh32To,
    Rsh32To,
    // `r = src shifted by the low half of imm; dst = src shifted by the high half`, r as above: to
    // the right and to the left (RL), or the other way round.
    ShiftsRL64,
    ShiftsLR64,
    ShiftsRL32,
    ShiftsLR32,
    // The same, then `dst |= r`: most often a rotation.
    RotateRL64,
    RotateLR64,
    RotateRL32,
    RotateLR32,
    // `r = src shifted by imm; dst ^= r`, r as above.
    LshXor64,
    RshXor64,
    // `dst = *(src + r + offset)`, r the register whose number is in `imm`.
    Load8At,
    Load16At,
    Load32At,
    Load64At,
    // `r = *(src + offset); dst op= r`, r as above.
    LoadAdd32,
    LoadXor32,
    LoadAdd64,
    LoadXor64,
    /// Array lookup, then `if r0 == 0 goto`.
    ArrayLookupJEq,
}

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
    AddJEq AddJNe, AndJEq AndJNe,
    Load8JEq Load8JNe, Load16JEq Load16JNe, Load32JEq Load32JNe, Load64JEq Load64JNe,
);

impl Code {
    /// A load of a number from memory, before it is fused with anything.
    pub(super) const fn is_load(self) -> bool {
        matches!(self, Self::Load8 | Self::Load16 | Self::Load32 | Self::Load64)
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

/// Two signed 32-bit numbers in one immediate: the lower and the upper half.
pub(super) const fn pair(low: i32, high: i32) -> u64 {
    low as u32 as u64 | (high as u32 as u64) << 32
}

/// The lower half of a [`pair`], sign-extended.
#[inline(always)]
pub(super) const fn low(imm: u64) -> u64 {
    imm as i32 as i64 as u64
}

/// The upper half of a [`pair`], sign-extended.
#[inline(always)]
pub(super) const fn high(imm: u64) -> u64 {
    (imm as i64 >> 32) as u64
}
