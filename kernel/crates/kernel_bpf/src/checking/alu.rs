//! Arithmetic of the checking interpreter, written once more and differently: on 128-bit
//! numbers.

use crate::insn::{AluOp, AtomicOp, ByteOrder, Cond, SwapWidth, Width};

const fn bits(width: Width) -> u32 {
    match width {
        Width::W32 => 32,
        Width::W64 => 64,
    }
}

/// The lower bits that a width keeps.
pub(super) const fn cut(value: u64, width: Width) -> u64 {
    match width {
        Width::W32 => value & 0xffff_ffff,
        Width::W64 => value,
    }
}

pub(super) fn sign_extend(value: u64, from: u32) -> u64 {
    let sign = 1u64 << (from - 1);
    let value = if from == 64 { value } else { value & ((1 << from) - 1) };
    (value ^ sign).wrapping_sub(sign)
}

fn signed(value: u64, width: Width) -> i128 {
    i128::from(sign_extend(value, bits(width)) as i64)
}

pub(super) fn alu(op: AluOp, width: Width, a: u64, b: u64) -> u64 {
    let (a, b) = (cut(a, width), cut(b, width));
    let (wide_a, wide_b) = (u128::from(a), u128::from(b));
    let shift = b % u64::from(bits(width));
    let result = match op {
        AluOp::Add => (wide_a + wide_b) as u64,
        AluOp::Sub => (wide_a + (1 << 64) - wide_b) as u64,
        AluOp::Mul => (wide_a * wide_b) as u64,
        AluOp::Div if b == 0 => 0,
        AluOp::Mod if b == 0 => a,
        AluOp::SDiv if b == 0 => 0,
        AluOp::SMod if b == 0 => a,
        AluOp::Div => a / b,
        AluOp::Mod => a % b,
        AluOp::SDiv => (signed(a, width) / signed(b, width)) as u64,
        AluOp::SMod => (signed(a, width) % signed(b, width)) as u64,
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Lsh => (wide_a << shift) as u64,
        AluOp::Rsh => (wide_a >> shift) as u64,
        AluOp::Arsh => (signed(a, width) >> shift) as u64,
    };
    cut(result, width)
}

pub(super) fn holds(cond: Cond, width: Width, a: u64, b: u64) -> bool {
    let (a, b) = (cut(a, width), cut(b, width));
    let (sa, sb) = (signed(a, width), signed(b, width));
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Set => a & b != 0,
        Cond::Sgt => sa > sb,
        Cond::Sge => sa >= sb,
        Cond::Slt => sa < sb,
        Cond::Sle => sa <= sb,
    }
}

pub(super) fn byte_order(kind: ByteOrder, width: SwapWidth, value: u64) -> u64 {
    let count = width.bits() as usize / 8;
    let mut bytes = value.to_le_bytes();
    let swap = match kind {
        ByteOrder::Swap => true,
        ByteOrder::ToBig => cfg!(target_endian = "little"),
        ByteOrder::ToLittle => cfg!(target_endian = "big"),
    };
    if swap {
        bytes[..count].reverse();
    }
    bytes[count..].fill(0);
    u64::from_le_bytes(bytes)
}

pub(super) const fn compares(op: AtomicOp) -> bool {
    matches!(op, AtomicOp::CmpXchg)
}

/// What an atomic leaves in memory.
pub(super) fn atomic(op: AtomicOp, width: Width, old: u64, source: u64, compare: u64) -> u64 {
    match op {
        AtomicOp::Add { .. } => alu(AluOp::Add, width, old, source),
        AtomicOp::Or { .. } => alu(AluOp::Or, width, old, source),
        AtomicOp::And { .. } => alu(AluOp::And, width, old, source),
        AtomicOp::Xor { .. } => alu(AluOp::Xor, width, old, source),
        AtomicOp::Xchg => cut(source, width),
        AtomicOp::CmpXchg if old == cut(compare, width) => cut(source, width),
        AtomicOp::CmpXchg => old,
    }
}
