//! From [`Insn`] back to the 8-byte encoding: the inverse of [`fn@super::decode`].

use alloc::vec::Vec;

use super::opcode as op;
use super::{AluOp, AtomicOp, ByteOrder, Cond, Imm64, Insn, Operand, Reg, SignedSize, Size, Width};

/// Encodes a program that has one entry per slot, as [`fn@super::decode`] returns it.
#[must_use]
pub fn encode(insns: &[Insn]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(insns.len() * 8);
    for insn in insns {
        match *insn {
            Insn::LoadImm64 { dst, value } => {
                let (src, imm, high) = wide(value);
                bytes.extend(slot(op::CLASS_LD | op::SIZE_DW, dst as u8, src, 0, imm));
                bytes.extend(slot(0, 0, 0, 0, high));
            }
            Insn::WideTail => {}
            other => bytes.extend(encode_one(&other)),
        }
    }
    bytes
}

fn slot(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; 8] {
    let [o0, o1] = off.to_le_bytes();
    let [i0, i1, i2, i3] = imm.to_le_bytes();
    [code, (src << 4) | dst, o0, o1, i0, i1, i2, i3]
}

fn wide(value: Imm64) -> (u8, i32, i32) {
    match value {
        Imm64::Value(value) => (0, value as i32, (value >> 32) as i32),
        Imm64::MapFd(fd) => (op::PSEUDO_MAP_FD, fd, 0),
        Imm64::MapFdValue { fd, offset } => (op::PSEUDO_MAP_VALUE, fd, offset as i32),
        Imm64::MapIndex(index) => (op::PSEUDO_MAP_IDX, index as i32, 0),
        Imm64::MapIndexValue { index, offset } => {
            (op::PSEUDO_MAP_IDX_VALUE, index as i32, offset as i32)
        }
        Imm64::BtfId { id, btf_fd } => (op::PSEUDO_BTF_ID, id, btf_fd),
        Imm64::Func { offset } => (op::PSEUDO_FUNC, offset, 0),
    }
}

fn size_bits(size: Size) -> u8 {
    match size {
        Size::B => op::SIZE_B,
        Size::H => op::SIZE_H,
        Size::W => op::SIZE_W,
        Size::DW => op::SIZE_DW,
    }
}

fn operand(src: Operand) -> (u8, u8, i32) {
    match src {
        Operand::Reg(reg) => (op::SRC_X, reg as u8, 0),
        Operand::Imm(imm) => (0, 0, imm),
    }
}

fn alu_class(width: Width) -> u8 {
    match width {
        Width::W32 => op::CLASS_ALU,
        Width::W64 => op::CLASS_ALU64,
    }
}

fn alu_code(alu: AluOp) -> (u8, i16) {
    match alu {
        AluOp::Add => (op::ALU_ADD, 0),
        AluOp::Sub => (op::ALU_SUB, 0),
        AluOp::Mul => (op::ALU_MUL, 0),
        AluOp::Div => (op::ALU_DIV, 0),
        AluOp::SDiv => (op::ALU_DIV, 1),
        AluOp::Or => (op::ALU_OR, 0),
        AluOp::And => (op::ALU_AND, 0),
        AluOp::Lsh => (op::ALU_LSH, 0),
        AluOp::Rsh => (op::ALU_RSH, 0),
        AluOp::Mod => (op::ALU_MOD, 0),
        AluOp::SMod => (op::ALU_MOD, 1),
        AluOp::Xor => (op::ALU_XOR, 0),
        AluOp::Arsh => (op::ALU_ARSH, 0),
    }
}

fn cond_code(cond: Cond) -> u8 {
    match cond {
        Cond::Eq => op::JMP_JEQ,
        Cond::Gt => op::JMP_JGT,
        Cond::Ge => op::JMP_JGE,
        Cond::Set => op::JMP_JSET,
        Cond::Ne => op::JMP_JNE,
        Cond::Sgt => op::JMP_JSGT,
        Cond::Sge => op::JMP_JSGE,
        Cond::Lt => op::JMP_JLT,
        Cond::Le => op::JMP_JLE,
        Cond::Slt => op::JMP_JSLT,
        Cond::Sle => op::JMP_JSLE,
    }
}

fn atomic_imm(atomic: AtomicOp) -> i32 {
    let flag = |fetch: bool| if fetch { op::ATOMIC_FETCH } else { 0 };
    match atomic {
        AtomicOp::Add { fetch } => op::ATOMIC_ADD | flag(fetch),
        AtomicOp::Or { fetch } => op::ATOMIC_OR | flag(fetch),
        AtomicOp::And { fetch } => op::ATOMIC_AND | flag(fetch),
        AtomicOp::Xor { fetch } => op::ATOMIC_XOR | flag(fetch),
        AtomicOp::Xchg => op::ATOMIC_XCHG,
        AtomicOp::CmpXchg => op::ATOMIC_CMPXCHG,
    }
}

/// One slot; `LoadImm64` gives its first, `WideTail` an empty second.
fn encode_one(insn: &Insn) -> [u8; 8] {
    match *insn {
        Insn::Alu { width, op: alu, dst, src } => {
            let (code, off) = alu_code(alu);
            let (x, reg, imm) = operand(src);
            slot(alu_class(width) | code | x, dst as u8, reg, off, imm)
        }
        Insn::Neg { width, dst } => slot(alu_class(width) | op::ALU_NEG, dst as u8, 0, 0, 0),
        Insn::Mov { width, dst, src } => {
            let (x, reg, imm) = operand(src);
            slot(alu_class(width) | op::ALU_MOV | x, dst as u8, reg, 0, imm)
        }
        Insn::MovSx { width, dst, src, from } => {
            let code = alu_class(width) | op::ALU_MOV | op::SRC_X;
            slot(code, dst as u8, src as u8, from.size().bits() as i16, 0)
        }
        Insn::AddrSpaceCast { dst, src, spaces } => {
            let code = op::CLASS_ALU64 | op::ALU_MOV | op::SRC_X;
            slot(code, dst as u8, src as u8, 1, spaces)
        }
        Insn::ByteOrder { kind, dst, bits } => {
            let class = match kind {
                ByteOrder::ToLittle => op::CLASS_ALU,
                ByteOrder::ToBig => op::CLASS_ALU | op::SRC_X,
                ByteOrder::Swap => op::CLASS_ALU64,
            };
            slot(class | op::ALU_END, dst as u8, 0, 0, bits.bits() as i32)
        }
        Insn::Load { size, dst, base, offset } => {
            let code = op::CLASS_LDX | op::MODE_MEM | size_bits(size);
            slot(code, dst as u8, base as u8, offset, 0)
        }
        Insn::LoadSx { size, dst, base, offset } => {
            let size = match size {
                SignedSize::B => op::SIZE_B,
                SignedSize::H => op::SIZE_H,
                SignedSize::W => op::SIZE_W,
            };
            slot(op::CLASS_LDX | op::MODE_MEMSX | size, dst as u8, base as u8, offset, 0)
        }
        Insn::Store { size, base, offset, src } => {
            let (x, reg, imm) = operand(src);
            let class = if x == 0 { op::CLASS_ST } else { op::CLASS_STX };
            slot(class | op::MODE_MEM | size_bits(size), base as u8, reg, offset, imm)
        }
        Insn::Atomic { op: atomic, width, base, offset, src } => {
            let size = if width == Width::W32 { op::SIZE_W } else { op::SIZE_DW };
            let code = op::CLASS_STX | op::MODE_ATOMIC | size;
            slot(code, base as u8, src as u8, offset, atomic_imm(atomic))
        }
        Insn::LoadAcquire { size, dst, base, offset } => {
            let code = op::CLASS_STX | op::MODE_ATOMIC | size_bits(size);
            slot(code, dst as u8, base as u8, offset, op::ATOMIC_LOAD_ACQ)
        }
        Insn::StoreRelease { size, base, offset, src } => {
            let code = op::CLASS_STX | op::MODE_ATOMIC | size_bits(size);
            slot(code, base as u8, src as u8, offset, op::ATOMIC_STORE_REL)
        }
        Insn::LoadImm64 { dst, value } => {
            let (src, imm, _) = wide(value);
            slot(op::CLASS_LD | op::SIZE_DW, dst as u8, src, 0, imm)
        }
        Insn::WideTail => slot(0, 0, 0, 0, 0),
        Insn::Jump { offset, long } => {
            // A 16-bit jump was decoded from 16 bits, so nothing is lost.
            if long {
                slot(op::CLASS_JMP32 | op::JMP_JA, 0, 0, 0, offset)
            } else {
                slot(op::CLASS_JMP | op::JMP_JA, 0, 0, offset as i16, 0)
            }
        }
        Insn::Branch { width, cond, dst, src, offset } => {
            let class = if width == Width::W32 { op::CLASS_JMP32 } else { op::CLASS_JMP };
            let (x, reg, imm) = operand(src);
            slot(class | cond_code(cond) | x, dst as u8, reg, offset, imm)
        }
        Insn::MayGoto { offset } => slot(op::CLASS_JMP | op::JMP_JCOND, 0, 0, offset, 0),
        Insn::CallHelper { id } => slot(op::CLASS_JMP | op::JMP_CALL, 0, 0, 0, id),
        Insn::CallRegister { target } => {
            slot(op::CLASS_JMP | op::JMP_CALL | op::SRC_X, target as u8, 0, 0, 0)
        }
        Insn::CallLocal { offset } => {
            slot(op::CLASS_JMP | op::JMP_CALL, 0, op::PSEUDO_CALL, 0, offset)
        }
        Insn::CallKfunc { id, btf } => {
            slot(op::CLASS_JMP | op::JMP_CALL, 0, op::PSEUDO_KFUNC_CALL, btf, id)
        }
        Insn::Exit => slot(op::CLASS_JMP | op::JMP_EXIT, 0, 0, 0, 0),
        Insn::LoadAbs { size, imm } => {
            slot(op::CLASS_LD | op::MODE_ABS | size_bits(size), 0, 0, 0, imm)
        }
        Insn::LoadInd { size, src, imm } => {
            let code = op::CLASS_LD | op::MODE_IND | size_bits(size);
            slot(code, Reg::R0 as u8, src as u8, 0, imm)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::encode;
    use crate::insn::decode;

    /// Whatever decodes must encode to the same bytes, except for the offset of
    /// `exit`, which Linux ignores.
    #[test]
    fn decode_then_encode_is_the_identity() {
        let mut decoded = 0u32;
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for code in 0..=255u8 {
            for _ in 0..3000 {
                let r = random();
                let regs = (r & 0xff) as u8 & if r & 0x100 != 0 { 0x0f } else { 0xff };
                let off = [0i16, 1, 8, 16, 32, -1, 77][(r >> 16) as usize % 7].to_le_bytes();
                let imm = [0i32, 1, 16, 32, 64, 0x41, 0xe1, 0xf1, 0x100, 0x110, -5]
                    [(r >> 32) as usize % 11]
                    .to_le_bytes();
                let mut bytes = vec![code, regs, off[0], off[1], imm[0], imm[1], imm[2], imm[3]];
                if code == 0x18 {
                    bytes.extend([0, 0, 0, 0, 1, 0, 0, 0]);
                }
                if let Ok(insns) = decode(&bytes) {
                    decoded += 1;
                    if code == 0x95 {
                        bytes[2..4].fill(0);
                    }
                    assert_eq!(encode(&insns), bytes, "{insns:?}");
                }
            }
        }
        assert!(decoded > 1000);
    }
}
