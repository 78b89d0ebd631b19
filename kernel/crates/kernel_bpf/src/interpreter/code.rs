//! The pre-decoded form: [`Op`], 16 bytes, with everything that running it needs.
//!
//! Each [`Code`] says operation, width and kind of operand at once, so that running an
//! instruction is one jump through a table. Besides one code for each instruction there are
//! *fused* codes for pairs that compilers emit often. [`super::lower`] makes them,
//! [`super::execute`] runs them.

#![forbid(unsafe_code)]

/// A pre-decoded instruction.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Op {
    pub(super) code: Code,
    /// Destination register, the left side of a comparison, or the base of a store; always
    /// below 11.
    pub(super) dst: u8,
    /// First operand, the right side of a comparison, what is stored, or the base of a load;
    /// always below 11.
    pub(super) src: u8,
    /// Bytes from this op to the jump's target, the displacement of a memory access, a register's
    /// number (arithmetic's second operand, or what a fused op says), or a caller's stack in bytes.
    pub(super) offset: i32,
    /// Immediate, sign-extended; an address; two halves of a fused pair, or a further register.
    pub(super) imm: u64,
}

/// What an [`Op`] does. `64` and `32` are widths, `Imm` and `Reg` kinds of second operand.
///
/// Arithmetic has three operands, as `dst = src + imm`, so that a move before it is part of it. The
/// order matters: where ops of one kind begin and end is how they are told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
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
    /// `r0 = imm; exit`
    ExitImm,
    /// `dst = src; r = q`, r and q the registers whose numbers are in `offset` and `imm`.
    Moves,
    // `dst = src op low half of imm; if dst cond high half of imm goto`
    AddJEq64,
    AddJNe64,
    AddJGt64,
    AddJLt64,
    AddJEq32,
    AddJNe32,
    AddJGt32,
    AddJLt32,
    AndJEq,
    AndJNe,
    AndJGt,
    AndJLt,
    // `dst += low half of imm; if src cond high half of imm goto`
    StepJEq,
    StepJNe,
    StepJGt,
    StepJLt,
    // `dst = low half of imm; if src cond high half of imm goto`
    SetJEq64,
    SetJNe64,
    SetJGt64,
    SetJLt64,
    SetJSgt64,
    SetJSlt64,
    SetJEq32,
    SetJNe32,
    SetJGt32,
    SetJLt32,
    SetJSgt32,
    SetJSlt32,
    /// `dst = imm; goto`
    SetJump,
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
    // `r = src shifted by the low half of imm; dst = src shifted by the high half`, r the register
    // whose number is in `offset`: to the right and to the left (RL), or the other way round.
    ShiftsRL64,
    ShiftsLR64,
    ShiftsRL32,
    ShiftsLR32,
    // `dst = src rotated to the left by imm`
    Rotate64,
    Rotate32,
    // `dst = (src shifted by imm) op r`, r as above.
    LshAdd64,
    LshOr64,
    LshXor64,
    RshXor64,
    LshOr32,
    // `dst = *(src + r + offset)`, r the register whose number is in `imm`.
    Load8At,
    Load16At,
    Load32At,
    Load64At,
    // `dst = *(src + imm)`, a displacement that has no room in `offset`.
    Load8Far,
    Load16Far,
    Load32Far,
    Load64Far,
    // The same for `*(dst + r + offset) = src` and `*(dst + imm) = src`.
    Store8At,
    Store16At,
    Store32At,
    Store64At,
    Store8Far,
    Store16Far,
    Store32Far,
    Store64Far,
    // `dst = r op *(src + imm)`, r the register whose number is in `offset`: what is loaded from so
    // many bits, and what is computed from it.
    Load8Add64,
    Load16Add64,
    Load32Add64,
    Load64Add64,
    Load32Add32,
    Load8Xor64,
    Load64Xor64,
    Load8Xor32,
    Load32Xor32,
    /// Array lookup, then `if r0 == 0 goto`.
    ArrayLookupJEq,
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
