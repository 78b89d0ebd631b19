//! From the 8-byte little-endian encoding to [`Insn`], with the checks of numbers
//! and reserved fields that Linux makes.
//!
//! What is refused here cannot be expressed as an [`Insn`]. What can be expressed
//! but is not allowed in a verified program (a shift by more than the width, a
//! write to r10) is the verifier's business.

use alloc::vec::Vec;
use core::fmt;

use super::opcode as op;
use super::{
    AluOp, AtomicOp, ByteOrder, Cond, Imm64, Insn, Operand, Reg, SignedSize, Size, SwapWidth, Width,
};

/// Why bytes are not a program, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodeError {
    /// Slot of the instruction.
    pub slot: usize,
    pub kind: DecodeErrorKind,
}

/// Why an instruction cannot be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeErrorKind {
    /// No instruction at all.
    Empty,
    /// The length is not a multiple of 8 bytes.
    Truncated,
    UnknownOpcode(u8),
    /// A register number above 10.
    InvalidRegister(u8),
    /// A field that must be zero is not; the text names the instruction.
    ReservedField(&'static str),
    /// The second half of a 16-byte load is missing or malformed.
    InvalidWideLoad,
    /// An unknown source number in a 16-byte load.
    UnknownWideSource(u8),
    InvalidAtomic(i32),
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the program has no instructions"),
            Self::Truncated => f.write_str("the program's length is not a multiple of 8 bytes"),
            Self::UnknownOpcode(code) => write!(f, "unknown opcode {code:02x}"),
            Self::InvalidRegister(number) => {
                write!(f, "R{number} is invalid: registers are r0 to r10")
            }
            Self::ReservedField(what) => write!(f, "{what} uses reserved fields: they must be 0"),
            Self::InvalidWideLoad => {
                f.write_str("invalid bpf_ld_imm64 insn: its second half is missing or malformed")
            }
            Self::UnknownWideSource(src) => {
                write!(f, "unrecognized bpf_ld_imm64 insn: source {src} is unknown")
            }
            Self::InvalidAtomic(imm) => {
                write!(f, "BPF_ATOMIC uses invalid atomic opcode {imm:02x}")
            }
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: {}", self.slot, self.kind)
    }
}

impl core::error::Error for DecodeError {}

/// One slot's fields, before they mean anything.
#[derive(Clone, Copy)]
struct Raw {
    code: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

impl Raw {
    fn new(bytes: [u8; 8]) -> Raw {
        let [code, regs, o0, o1, i0, i1, i2, i3] = bytes;
        Raw {
            code,
            dst: regs & 0x0f,
            src: regs >> 4,
            off: i16::from_le_bytes([o0, o1]),
            imm: i32::from_le_bytes([i0, i1, i2, i3]),
        }
    }

    fn dst(&self) -> Result<Reg, DecodeErrorKind> {
        Reg::new(self.dst).ok_or(DecodeErrorKind::InvalidRegister(self.dst))
    }

    fn src(&self) -> Result<Reg, DecodeErrorKind> {
        Reg::new(self.src).ok_or(DecodeErrorKind::InvalidRegister(self.src))
    }

    fn size(&self) -> Size {
        match self.code & op::SIZE_MASK {
            op::SIZE_W => Size::W,
            op::SIZE_H => Size::H,
            op::SIZE_B => Size::B,
            _ => Size::DW,
        }
    }

    /// The operand of ALU and JMP classes; the unused field must be 0.
    fn operand(&self, what: &'static str) -> Result<Operand, DecodeErrorKind> {
        if self.code & op::SRC_X != 0 {
            reserved(self.imm == 0, what)?;
            Ok(Operand::Reg(self.src()?))
        } else {
            reserved(self.src == 0, what)?;
            Ok(Operand::Imm(self.imm))
        }
    }
}

fn reserved(zero: bool, what: &'static str) -> Result<(), DecodeErrorKind> {
    if zero { Ok(()) } else { Err(DecodeErrorKind::ReservedField(what)) }
}

/// Decodes a whole program. The result has one entry per slot.
///
/// # Errors
/// The first instruction that is not valid.
pub fn decode(bytes: &[u8]) -> Result<Vec<Insn>, DecodeError> {
    let (slots, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(DecodeError { slot: slots.len(), kind: DecodeErrorKind::Truncated });
    }
    if slots.is_empty() {
        return Err(DecodeError { slot: 0, kind: DecodeErrorKind::Empty });
    }
    let mut insns = Vec::with_capacity(slots.len());
    let mut slots = slots.iter();
    while let Some(&slot) = slots.next() {
        let raw = Raw::new(slot);
        let at = insns.len();
        let fail = |kind| DecodeError { slot: at, kind };
        let insn = match raw.code & op::CLASS_MASK {
            op::CLASS_LD if raw.code == op::CLASS_LD | op::MODE_IMM | op::SIZE_DW => {
                let tail = slots.next().ok_or(fail(DecodeErrorKind::InvalidWideLoad))?;
                decode_wide(raw, Raw::new(*tail))
            }
            op::CLASS_LD => decode_legacy(raw),
            op::CLASS_LDX => decode_load(raw),
            op::CLASS_ST => decode_store_imm(raw),
            op::CLASS_STX => decode_store_reg(raw),
            op::CLASS_ALU => decode_alu(raw, Width::W32),
            op::CLASS_ALU64 => decode_alu(raw, Width::W64),
            op::CLASS_JMP => decode_jump(raw, Width::W64),
            _ => decode_jump(raw, Width::W32),
        }
        .map_err(fail)?;
        insns.push(insn);
        if insn.slots() == 2 {
            insns.push(Insn::WideTail);
        }
    }
    Ok(insns)
}

fn decode_wide(raw: Raw, tail: Raw) -> Result<Insn, DecodeErrorKind> {
    if tail.code != 0 || tail.dst != 0 || tail.src != 0 || tail.off != 0 {
        return Err(DecodeErrorKind::InvalidWideLoad);
    }
    reserved(raw.off == 0, "BPF_LD_IMM64")?;
    let dst = raw.dst()?;
    let no_tail = || {
        if tail.imm == 0 { Ok(()) } else { Err(DecodeErrorKind::UnknownWideSource(raw.src)) }
    };
    let value = match raw.src {
        0 => Imm64::Value(u64::from(raw.imm as u32) | (u64::from(tail.imm as u32) << 32)),
        op::PSEUDO_MAP_FD => {
            no_tail()?;
            Imm64::MapFd(raw.imm)
        }
        op::PSEUDO_MAP_VALUE => Imm64::MapFdValue { fd: raw.imm, offset: tail.imm as u32 },
        op::PSEUDO_BTF_ID => Imm64::BtfId { id: raw.imm, btf_fd: tail.imm },
        op::PSEUDO_FUNC => {
            no_tail()?;
            Imm64::Func { offset: raw.imm }
        }
        op::PSEUDO_MAP_IDX => {
            no_tail()?;
            Imm64::MapIndex(raw.imm as u32)
        }
        op::PSEUDO_MAP_IDX_VALUE => {
            Imm64::MapIndexValue { index: raw.imm as u32, offset: tail.imm as u32 }
        }
        other => return Err(DecodeErrorKind::UnknownWideSource(other)),
    };
    Ok(Insn::LoadImm64 { dst, value })
}

fn decode_legacy(raw: Raw) -> Result<Insn, DecodeErrorKind> {
    const WHAT: &str = "BPF_LD_[ABS|IND]";
    match raw.code & op::MODE_MASK {
        op::MODE_ABS => {
            reserved(raw.dst == 0 && raw.off == 0 && raw.src == 0, WHAT)?;
            reserved(raw.size() != Size::DW, WHAT)?;
            Ok(Insn::LoadAbs { size: raw.size(), imm: raw.imm })
        }
        op::MODE_IND => {
            reserved(raw.dst == 0 && raw.off == 0, WHAT)?;
            reserved(raw.size() != Size::DW, WHAT)?;
            Ok(Insn::LoadInd { size: raw.size(), src: raw.src()?, imm: raw.imm })
        }
        op::MODE_IMM => Err(DecodeErrorKind::InvalidWideLoad),
        _ => Err(DecodeErrorKind::UnknownOpcode(raw.code)),
    }
}

fn decode_load(raw: Raw) -> Result<Insn, DecodeErrorKind> {
    let (dst, base, offset) = (raw.dst()?, raw.src()?, raw.off);
    match raw.code & op::MODE_MASK {
        op::MODE_MEM => {
            reserved(raw.imm == 0, "BPF_LDX")?;
            Ok(Insn::Load { size: raw.size(), dst, base, offset })
        }
        op::MODE_MEMSX => {
            let size = match raw.size() {
                Size::B => SignedSize::B,
                Size::H => SignedSize::H,
                Size::W => SignedSize::W,
                Size::DW => return Err(DecodeErrorKind::UnknownOpcode(raw.code)),
            };
            reserved(raw.imm == 0, "BPF_LDX")?;
            Ok(Insn::LoadSx { size, dst, base, offset })
        }
        _ => Err(DecodeErrorKind::UnknownOpcode(raw.code)),
    }
}

fn decode_store_imm(raw: Raw) -> Result<Insn, DecodeErrorKind> {
    if raw.code & op::MODE_MASK != op::MODE_MEM {
        return Err(DecodeErrorKind::UnknownOpcode(raw.code));
    }
    reserved(raw.src == 0, "BPF_ST")?;
    let src = Operand::Imm(raw.imm);
    Ok(Insn::Store { size: raw.size(), base: raw.dst()?, offset: raw.off, src })
}

fn decode_store_reg(raw: Raw) -> Result<Insn, DecodeErrorKind> {
    let (base, src, offset) = (raw.dst()?, raw.src()?, raw.off);
    match raw.code & op::MODE_MASK {
        op::MODE_MEM => {
            reserved(raw.imm == 0, "BPF_STX")?;
            Ok(Insn::Store { size: raw.size(), base, offset, src: Operand::Reg(src) })
        }
        op::MODE_ATOMIC => {
            // In these two the roles of the fields are those of a load and a store.
            if raw.imm == op::ATOMIC_LOAD_ACQ {
                let (dst, base) = (raw.dst()?, raw.src()?);
                return Ok(Insn::LoadAcquire { size: raw.size(), dst, base, offset });
            }
            if raw.imm == op::ATOMIC_STORE_REL {
                return Ok(Insn::StoreRelease { size: raw.size(), base, offset, src });
            }
            let width = match raw.size() {
                Size::W => Width::W32,
                Size::DW => Width::W64,
                _ => return Err(DecodeErrorKind::InvalidAtomic(raw.imm)),
            };
            let fetch = raw.imm & op::ATOMIC_FETCH != 0;
            let operation = match raw.imm {
                op::ATOMIC_XCHG => AtomicOp::Xchg,
                op::ATOMIC_CMPXCHG => AtomicOp::CmpXchg,
                other => match other & !op::ATOMIC_FETCH {
                    op::ATOMIC_ADD => AtomicOp::Add { fetch },
                    op::ATOMIC_OR => AtomicOp::Or { fetch },
                    op::ATOMIC_AND => AtomicOp::And { fetch },
                    op::ATOMIC_XOR => AtomicOp::Xor { fetch },
                    _ => return Err(DecodeErrorKind::InvalidAtomic(raw.imm)),
                },
            };
            Ok(Insn::Atomic { op: operation, width, base, offset, src })
        }
        _ => Err(DecodeErrorKind::UnknownOpcode(raw.code)),
    }
}

fn decode_alu(raw: Raw, width: Width) -> Result<Insn, DecodeErrorKind> {
    const WHAT: &str = "BPF_ALU";
    let signed = raw.off == 1;
    let operation = match raw.code & op::OP_MASK {
        op::ALU_NEG => {
            let clear = raw.code & op::SRC_X == 0 && raw.src == 0 && raw.off == 0 && raw.imm == 0;
            reserved(clear, "BPF_NEG")?;
            return Ok(Insn::Neg { width, dst: raw.dst()? });
        }
        op::ALU_END => return decode_byte_order(raw, width),
        op::ALU_MOV => return decode_mov(raw, width),
        op::ALU_ADD => AluOp::Add,
        op::ALU_SUB => AluOp::Sub,
        op::ALU_MUL => AluOp::Mul,
        op::ALU_DIV if signed => AluOp::SDiv,
        op::ALU_DIV => AluOp::Div,
        op::ALU_MOD if signed => AluOp::SMod,
        op::ALU_MOD => AluOp::Mod,
        op::ALU_OR => AluOp::Or,
        op::ALU_AND => AluOp::And,
        op::ALU_LSH => AluOp::Lsh,
        op::ALU_RSH => AluOp::Rsh,
        op::ALU_XOR => AluOp::Xor,
        op::ALU_ARSH => AluOp::Arsh,
        _ => return Err(DecodeErrorKind::UnknownOpcode(raw.code)),
    };
    reserved(raw.off == 0 || matches!(operation, AluOp::SDiv | AluOp::SMod), WHAT)?;
    Ok(Insn::Alu { width, op: operation, dst: raw.dst()?, src: raw.operand(WHAT)? })
}

fn decode_mov(raw: Raw, width: Width) -> Result<Insn, DecodeErrorKind> {
    const WHAT: &str = "BPF_MOV";
    let dst = raw.dst()?;
    if raw.off == 0 {
        return Ok(Insn::Mov { width, dst, src: raw.operand(WHAT)? });
    }
    reserved(raw.code & op::SRC_X != 0, WHAT)?;
    let src = raw.src()?;
    let from = match (raw.off, width) {
        (8, _) => SignedSize::B,
        (16, _) => SignedSize::H,
        (32, Width::W64) => SignedSize::W,
        (1, Width::W64) => {
            reserved(raw.imm == 1 || raw.imm == 1 << 16, "addr_space_cast")?;
            return Ok(Insn::AddrSpaceCast { dst, src, spaces: raw.imm });
        }
        _ => return Err(DecodeErrorKind::ReservedField(WHAT)),
    };
    reserved(raw.imm == 0, WHAT)?;
    Ok(Insn::MovSx { width, dst, src, from })
}

fn decode_byte_order(raw: Raw, width: Width) -> Result<Insn, DecodeErrorKind> {
    const WHAT: &str = "BPF_END";
    let big = raw.code & op::SRC_X != 0;
    reserved(raw.src == 0 && raw.off == 0, WHAT)?;
    let kind = match (width, big) {
        (Width::W32, false) => ByteOrder::ToLittle,
        (Width::W32, true) => ByteOrder::ToBig,
        (Width::W64, false) => ByteOrder::Swap,
        (Width::W64, true) => return Err(DecodeErrorKind::ReservedField(WHAT)),
    };
    let bits = match raw.imm {
        16 => SwapWidth::B16,
        32 => SwapWidth::B32,
        64 => SwapWidth::B64,
        _ => return Err(DecodeErrorKind::ReservedField(WHAT)),
    };
    Ok(Insn::ByteOrder { kind, dst: raw.dst()?, bits })
}

fn decode_jump(raw: Raw, width: Width) -> Result<Insn, DecodeErrorKind> {
    const WHAT: &str = "BPF_JMP/JMP32";
    let immediate = raw.code & op::SRC_X == 0;
    let wide = width == Width::W64;
    let cond = match raw.code & op::OP_MASK {
        op::JMP_JA => {
            const WHAT: &str = "BPF_JA";
            reserved(immediate && raw.src == 0 && raw.dst == 0, WHAT)?;
            return if wide {
                reserved(raw.imm == 0, WHAT)?;
                Ok(Insn::Jump { offset: i32::from(raw.off), long: false })
            } else {
                reserved(raw.off == 0, WHAT)?;
                Ok(Insn::Jump { offset: raw.imm, long: true })
            };
        }
        op::JMP_CALL => {
            const WHAT: &str = "BPF_CALL";
            if wide && !immediate {
                let clear = raw.src == 0 && raw.off == 0 && raw.imm == 0;
                reserved(clear, "callx")?;
                return Ok(Insn::CallRegister { target: raw.dst()? });
            }
            reserved(wide && raw.dst == 0, WHAT)?;
            reserved(raw.src == op::PSEUDO_KFUNC_CALL || raw.off == 0, WHAT)?;
            return match raw.src {
                0 => Ok(Insn::CallHelper { id: raw.imm }),
                op::PSEUDO_CALL => Ok(Insn::CallLocal { offset: raw.imm }),
                op::PSEUDO_KFUNC_CALL => Ok(Insn::CallKfunc { id: raw.imm, btf: raw.off }),
                _ => Err(DecodeErrorKind::ReservedField(WHAT)),
            };
        }
        op::JMP_EXIT => {
            let clear = raw.imm == 0 && raw.src == 0 && raw.dst == 0;
            reserved(wide && immediate && clear, "BPF_EXIT")?;
            return Ok(Insn::Exit);
        }
        op::JMP_JCOND => {
            let clear = raw.imm == 0 && raw.src == 0 && raw.dst == 0;
            reserved(wide && immediate && clear, "may_goto")?;
            return Ok(Insn::MayGoto { offset: raw.off });
        }
        op::JMP_JEQ => Cond::Eq,
        op::JMP_JGT => Cond::Gt,
        op::JMP_JGE => Cond::Ge,
        op::JMP_JSET => Cond::Set,
        op::JMP_JNE => Cond::Ne,
        op::JMP_JSGT => Cond::Sgt,
        op::JMP_JSGE => Cond::Sge,
        op::JMP_JLT => Cond::Lt,
        op::JMP_JLE => Cond::Le,
        op::JMP_JSLT => Cond::Slt,
        op::JMP_JSLE => Cond::Sle,
        _ => return Err(DecodeErrorKind::UnknownOpcode(raw.code)),
    };
    Ok(Insn::Branch { width, cond, dst: raw.dst()?, src: raw.operand(WHAT)?, offset: raw.off })
}
