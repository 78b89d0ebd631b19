//! The instruction model: one enum that cannot hold an invalid instruction.
//!
//! Bytes are decoded once ([`fn@decode`]), following RFC 9669 and the additions of
//! Linux's v4 instruction set. Verifier, interpreter, JITs and disassembler all
//! read [`Insn`]. A decoded program is a `Vec<Insn>` with one entry for each
//! 8-byte slot, so that positions and jump offsets are Linux's slot numbers; the
//! second slot of a 16-byte `ld_imm64` is [`Insn::WideTail`], which is never
//! executed and which nothing may jump to.
//!
//! Neighbours: [`mod@decode`] and [`mod@encode`] for the binary format, `disasm`
//! and `asm` for text, `program` for what surrounds the instructions.

pub mod decode;
pub mod encode;
pub mod opcode;

pub use decode::{DecodeError, DecodeErrorKind, decode};
pub use encode::encode;

/// One of the eleven registers of the BPF machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum Reg {
    R0 = 0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    /// The frame pointer, read-only.
    R10,
}

impl Reg {
    /// All registers in order.
    pub const ALL: [Reg; 11] = [
        Reg::R0,
        Reg::R1,
        Reg::R2,
        Reg::R3,
        Reg::R4,
        Reg::R5,
        Reg::R6,
        Reg::R7,
        Reg::R8,
        Reg::R9,
        Reg::R10,
    ];
    /// The frame pointer.
    pub const FP: Reg = Reg::R10;

    /// The register with this number, if there is one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Reg> {
        Some(match number {
            0 => Reg::R0,
            1 => Reg::R1,
            2 => Reg::R2,
            3 => Reg::R3,
            4 => Reg::R4,
            5 => Reg::R5,
            6 => Reg::R6,
            7 => Reg::R7,
            8 => Reg::R8,
            9 => Reg::R9,
            10 => Reg::R10,
            _ => return None,
        })
    }

    /// Its number, 0 to 10.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl core::fmt::Display for Reg {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "r{}", *self as u8)
    }
}

/// Width of an arithmetic operation or comparison. 32-bit arithmetic clears the
/// upper half of its destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Width {
    W32,
    W64,
}

/// Size of a memory access.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Size {
    B,
    H,
    W,
    DW,
}

impl Size {
    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Size::B => 1,
            Size::H => 2,
            Size::W => 4,
            Size::DW => 8,
        }
    }

    /// In bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.bytes() * 8
    }
}

/// Size of the value that a sign extension starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum SignedSize {
    B,
    H,
    W,
}

impl SignedSize {
    /// The plain size.
    #[must_use]
    pub const fn size(self) -> Size {
        match self {
            SignedSize::B => Size::B,
            SignedSize::H => Size::H,
            SignedSize::W => Size::W,
        }
    }
}

/// The second operand of arithmetic, comparisons and stores. An immediate is
/// sign-extended to 64 bits where the operation is 64 bits wide.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Operand {
    Reg(Reg),
    Imm(i32),
}

/// Two-operand arithmetic, `dst = dst op src`.
///
/// Shift amounts are taken modulo the width; division by zero gives 0, the
/// remainder by zero leaves the destination (RFC 9669, section 4.1). A verified
/// program has no immediate divisor of zero and no immediate shift beyond the width.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum AluOp {
    Add,
    Sub,
    Mul,
    Div,
    Or,
    And,
    Lsh,
    Rsh,
    Mod,
    Xor,
    Arsh,
    SDiv,
    SMod,
}

impl AluOp {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Or,
        Self::And,
        Self::Lsh,
        Self::Rsh,
        Self::Mod,
        Self::Xor,
        Self::Arsh,
        Self::SDiv,
        Self::SMod,
    ];
}

/// What a byte-order instruction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ByteOrder {
    /// To little endian: on a little-endian machine a truncation.
    ToLittle,
    /// To big endian: on a little-endian machine a swap.
    ToBig,
    /// Unconditional swap (v4).
    Swap,
}

/// How many low bits a byte-order instruction keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum SwapWidth {
    B16,
    B32,
    B64,
}

impl SwapWidth {
    /// In bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            SwapWidth::B16 => 16,
            SwapWidth::B32 => 32,
            SwapWidth::B64 => 64,
        }
    }
}

/// Comparison of a conditional jump. `Set` jumps when `dst & src` is not zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Cond {
    Eq,
    Gt,
    Ge,
    Set,
    Ne,
    Sgt,
    Sge,
    Lt,
    Le,
    Slt,
    Sle,
}

impl Cond {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Eq,
        Self::Gt,
        Self::Ge,
        Self::Set,
        Self::Ne,
        Self::Sgt,
        Self::Sge,
        Self::Lt,
        Self::Le,
        Self::Slt,
        Self::Sle,
    ];
}

/// Read-modify-write of memory, 4 or 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum AtomicOp {
    /// With `fetch`, the source register receives the old value.
    Add {
        fetch: bool,
    },
    Or {
        fetch: bool,
    },
    And {
        fetch: bool,
    },
    Xor {
        fetch: bool,
    },
    /// The source register receives the old value.
    Xchg,
    /// Compares with r0, stores the source when equal; r0 receives the old value.
    CmpXchg,
}

impl AtomicOp {
    /// The register that receives the old value, if one does.
    #[must_use]
    pub const fn fetched_into(self, src: Reg) -> Option<Reg> {
        match self {
            AtomicOp::Add { fetch }
            | AtomicOp::Or { fetch }
            | AtomicOp::And { fetch }
            | AtomicOp::Xor { fetch } => {
                if fetch {
                    Some(src)
                } else {
                    None
                }
            }
            AtomicOp::Xchg => Some(src),
            AtomicOp::CmpXchg => Some(Reg::R0),
        }
    }
}

/// What a 16-byte `ld_imm64` loads.
///
/// In a [`crate::program::Program`] maps are always named by index into its list
/// of maps; descriptors occur only in what user space hands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Imm64 {
    /// A constant.
    Value(u64),
    /// The map with this descriptor.
    MapFd(i32),
    /// The address of an array map's first value plus an offset.
    MapFdValue { fd: i32, offset: u32 },
    /// The map at this index.
    MapIndex(u32),
    /// As `MapFdValue`, by index.
    MapIndexValue { index: u32, offset: u32 },
    /// A kernel variable, by BTF id.
    BtfId { id: i32, btf_fd: i32 },
    /// The address of a subprogram of this program, `offset` slots after the next
    /// slot (as in a pseudo-call).
    Func { offset: i32 },
}

/// One decoded instruction. Jump offsets count slots from the one after the
/// instruction (for `ld_imm64` none jumps).
///
/// Its tag is a byte of its own, so that every pass over a program finds it without arithmetic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Insn {
    /// `dst op= src`
    Alu { width: Width, op: AluOp, dst: Reg, src: Operand },
    /// `dst = -dst`
    Neg { width: Width, dst: Reg },
    /// `dst = src`
    Mov { width: Width, dst: Reg, src: Operand },
    /// `dst = (s8/s16/s32) src`, extended to `width`. `from` is never `W` when
    /// `width` is 32 bits.
    MovSx { width: Width, dst: Reg, src: Reg, from: SignedSize },
    /// Casts between address spaces; needs arenas.
    AddrSpaceCast { dst: Reg, src: Reg, spaces: i32 },
    /// `dst = swap(dst)`
    ByteOrder { kind: ByteOrder, dst: Reg, bits: SwapWidth },
    /// `dst = *(size *)(base + offset)`, zero-extended.
    Load { size: Size, dst: Reg, base: Reg, offset: i16 },
    /// `dst = *(signed size *)(base + offset)`, sign-extended to 64 bits.
    LoadSx { size: SignedSize, dst: Reg, base: Reg, offset: i16 },
    /// `*(size *)(base + offset) = src`
    Store { size: Size, base: Reg, offset: i16, src: Operand },
    /// Atomic read-modify-write at `base + offset`, `W32` or `W64` wide.
    Atomic { op: AtomicOp, width: Width, base: Reg, offset: i16, src: Reg },
    /// `dst = load_acquire((size *)(base + offset))`
    LoadAcquire { size: Size, dst: Reg, base: Reg, offset: i16 },
    /// `store_release((size *)(base + offset), src)`
    StoreRelease { size: Size, base: Reg, offset: i16, src: Reg },
    /// `dst = imm ll`, two slots.
    LoadImm64 { dst: Reg, value: Imm64 },
    /// The second slot of `LoadImm64`.
    WideTail,
    /// `goto` with a 16-bit offset, or `gotol` with a 32-bit one (`long`).
    Jump { offset: i32, long: bool },
    /// `if dst cond src goto offset`
    Branch { width: Width, cond: Cond, dst: Reg, src: Operand, offset: i16 },
    /// Jumps by `offset` when the loop budget of `may_goto` is used up.
    MayGoto { offset: i16 },
    /// Calls a helper by Linux's number.
    CallHelper { id: i32 },
    /// Calls a subprogram of this program, `offset` slots after the next slot.
    CallLocal { offset: i32 },
    /// Calls the helper whose number a register holds (`callx`). Never verified: Linux has
    /// no such instruction, only conformance suites do.
    CallRegister { target: Reg },
    /// Calls a kernel function by BTF id.
    CallKfunc { id: i32, btf: i16 },
    /// Returns from a subprogram or ends the program.
    Exit,
    /// Legacy packet access: `r0 = packet[imm]`, in host order.
    LoadAbs { size: Size, imm: i32 },
    /// Legacy packet access: `r0 = packet[src + imm]`, in host order.
    LoadInd { size: Size, src: Reg, imm: i32 },
}

impl Insn {
    /// The slot that follows this one when it does not jump, relative: 2 for `ld_imm64`.
    #[must_use]
    pub const fn slots(&self) -> usize {
        if matches!(self, Insn::LoadImm64 { .. }) { 2 } else { 1 }
    }

    /// Where a jump or branch at `slot` leads, if it is one: in Linux's slot
    /// numbers, and not checked against the program's length.
    #[must_use]
    pub const fn jump_target(&self, slot: usize) -> Option<i64> {
        let offset = match self {
            Insn::Jump { offset, .. } => *offset as i64,
            Insn::Branch { offset, .. } | Insn::MayGoto { offset } => *offset as i64,
            _ => return None,
        };
        Some(slot as i64 + 1 + offset)
    }
}
