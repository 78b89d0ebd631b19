//! Which two ops, one after the other, are one: moves and arithmetic, arithmetic or a load with
//! the comparison of its result, shifts that only extend or rotate, sums with the load from
//! there, a constant result with the exit. An op that is fused already may be fused again.
//! Pure; the caller makes sure that nothing jumps to the second op.

#![forbid(unsafe_code)]

use super::code::{Code, Op, pair};

/// Register 0, where results are returned.
const R0: u8 = 0;

/// The op that does what `first` and then `second` do, if there is one. A fused jump's
/// distance is the second's, to be computed anew from where the fused op lies.
pub(super) fn fuse(first: &Op, second: &Op) -> Option<Op> {
    let same = first.dst == second.dst;
    Some(match (first.code, second.code) {
        (Code::Mov64Reg, Code::Add64Imm) if same => {
            Op { code: Code::Lea64, imm: second.imm, ..*first }
        }
        (Code::Lea64 | Code::Add64Imm, Code::Add64Imm) if same => {
            Op { imm: first.imm.wrapping_add(second.imm), ..*first }
        }
        (Code::Mov64Imm, Code::Exit) if first.dst == R0 => Op { code: Code::ExitImm, ..*first },
        (Code::Mov32Imm, Code::Exit) if first.dst == R0 => {
            Op { code: Code::ExitImm, imm: u64::from(first.imm as u32), ..*first }
        }
        (Code::Lsh64Imm | Code::Lsh64To, Code::Rsh64Imm | Code::Arsh64Imm) if same => {
            let signed = second.code == Code::Arsh64Imm;
            let src = if first.code == Code::Lsh64To { first.src } else { first.dst };
            let (code, imm) = match (first.imm & 63, second.imm & 63) {
                (32, 32) => (if signed { Code::Sx32To64 } else { Code::Mov32Reg }, 0),
                (left, right) => {
                    let code = if signed { Code::LshArsh64 } else { Code::LshRsh64 };
                    (code, left | right << 32)
                }
            };
            Op { code, src, imm, ..*first }
        }
        // A move whose result is extended in place: extend the source.
        (Code::Mov64Reg, Code::Mov32Reg | Code::Sx32To64) if same && second.src == first.dst => {
            Op { src: first.src, ..*second }
        }
        (Code::Add64Imm | Code::And64Imm, branch) if same => {
            let code = fused_alu(first.code, branch)?;
            let (low, high) = (narrow(first.imm)?, narrow(second.imm)?);
            Op { code, src: 0, imm: pair(low, high), ..*second }
        }
        (Code::Load8 | Code::Load16 | Code::Load32 | Code::Load64, branch) if same => {
            let code = fused_load(first.code, branch, second.imm)?;
            let imm = pair(first.offset, narrow(second.imm)?);
            Op { code, src: first.src, imm, ..*second }
        }
        (Code::ArrayLookup, Code::JEq64Imm) if second.dst == R0 && second.imm == 0 => {
            Op { code: Code::ArrayLookupJEq, imm: first.imm, ..*second }
        }
        (Code::Mov64Reg | Code::Mov32Reg, _) if same => moved(first, second)?,
        (Code::Lsh64To | Code::Rsh64To, Code::Xor64Reg)
            if second.src == first.dst && second.dst != first.dst =>
        {
            let left = first.code == Code::Lsh64To;
            let code = if left { Code::LshXor64 } else { Code::RshXor64 };
            // What is shifted may be what is changed: it is read first.
            Op { code, dst: second.dst, src: first.src, offset: first.dst.into(), imm: first.imm }
        }
        (Code::Lsh64To | Code::Rsh64To | Code::Lsh32To | Code::Rsh32To, _) => {
            shifts(first, second)?
        }
        (
            Code::ShiftsRL64 | Code::ShiftsLR64 | Code::ShiftsRL32 | Code::ShiftsLR32,
            Code::Or64Reg | Code::Or32Reg,
        ) => rotation(first, second)?,
        (Code::Add64To, Code::Load8 | Code::Load16 | Code::Load32 | Code::Load64)
            if same && second.src == first.dst =>
        {
            let code = match second.code {
                Code::Load8 => Code::Load8At,
                Code::Load16 => Code::Load16At,
                Code::Load32 => Code::Load32At,
                _ => Code::Load64At,
            };
            Op { code, src: first.src, imm: first.offset as u64, ..*second }
        }
        (Code::Load32 | Code::Load64, _) if second.src == first.dst && second.dst != first.dst => {
            let code = match (first.code, second.code) {
                (Code::Load32, Code::Add32Reg) => Code::LoadAdd32,
                (Code::Load32, Code::Xor32Reg) => Code::LoadXor32,
                (Code::Load64, Code::Add64Reg) => Code::LoadAdd64,
                (Code::Load64, Code::Xor64Reg) => Code::LoadXor64,
                _ => return None,
            };
            Op { code, dst: second.dst, imm: first.dst.into(), ..*first }
        }
        _ => return None,
    })
}

/// Arithmetic on what has just been moved to its destination.
fn moved(first: &Op, second: &Op) -> Option<Op> {
    let wide = first.code == Code::Mov64Reg;
    let shifted = match second.code {
        Code::Lsh64Imm if wide => Some(Code::Lsh64To),
        Code::Rsh64Imm if wide => Some(Code::Rsh64To),
        Code::Lsh32Imm => Some(Code::Lsh32To),
        Code::Rsh32Imm => Some(Code::Rsh32To),
        _ => None,
    };
    if let Some(code) = shifted {
        return Some(Op { code, imm: second.imm, ..*first });
    }
    let code = match second.code {
        Code::Add64Reg if wide => Code::Add64To,
        Code::Sub64Reg if wide => Code::Sub64To,
        Code::Or64Reg if wide => Code::Or64To,
        Code::And64Reg if wide => Code::And64To,
        Code::Xor64Reg if wide => Code::Xor64To,
        // They look at the lower half only.
        Code::Add32Reg => Code::Add32To,
        Code::Sub32Reg => Code::Sub32To,
        Code::Or32Reg => Code::Or32To,
        Code::And32Reg => Code::And32To,
        Code::Xor32Reg => Code::Xor32To,
        _ => return None,
    };
    let operand = if second.src == first.dst { first.src } else { second.src };
    Some(Op { code, offset: operand.into(), ..*first })
}

/// Two shifts of one value in opposite directions; the first one's result is neither its source
/// nor the second one's result.
fn shifts(first: &Op, second: &Op) -> Option<Op> {
    let in_place =
        matches!(second.code, Code::Lsh64Imm | Code::Rsh64Imm | Code::Lsh32Imm | Code::Rsh32Imm);
    let source = if in_place { second.dst } else { second.src };
    let code = match (first.code, second.code) {
        (Code::Rsh64To, Code::Lsh64Imm | Code::Lsh64To) => Code::ShiftsRL64,
        (Code::Lsh64To, Code::Rsh64Imm | Code::Rsh64To) => Code::ShiftsLR64,
        (Code::Rsh32To, Code::Lsh32Imm | Code::Lsh32To) => Code::ShiftsRL32,
        (Code::Lsh32To, Code::Rsh32Imm | Code::Rsh32To) => Code::ShiftsLR32,
        _ => return None,
    };
    if source != first.src || first.dst == first.src || first.dst == second.dst {
        return None;
    }
    let imm = pair(narrow(first.imm)?, narrow(second.imm)?);
    Some(Op { code, dst: second.dst, src: first.src, offset: first.dst.into(), imm })
}

/// Two shifts, and the union of their results in either register.
fn rotation(first: &Op, second: &Op) -> Option<Op> {
    let wide = matches!(first.code, Code::ShiftsRL64 | Code::ShiftsLR64);
    if wide != (second.code == Code::Or64Reg) {
        return None;
    }
    let other = u8::try_from(first.offset).ok()?;
    if second.dst == first.dst && second.src == other {
        let code = match first.code {
            Code::ShiftsRL64 => Code::RotateRL64,
            Code::ShiftsLR64 => Code::RotateLR64,
            Code::ShiftsRL32 => Code::RotateRL32,
            _ => Code::RotateLR32,
        };
        return Some(Op { code, ..*first });
    }
    if second.dst == other && second.src == first.dst {
        // The registers change their parts, and with them the directions.
        let code = match first.code {
            Code::ShiftsRL64 => Code::RotateLR64,
            Code::ShiftsLR64 => Code::RotateRL64,
            Code::ShiftsRL32 => Code::RotateLR32,
            _ => Code::RotateRL32,
        };
        let imm = first.imm.rotate_left(32);
        return Some(Op { code, dst: other, offset: first.dst.into(), imm, ..*first });
    }
    None
}

/// An immediate as the signed 32-bit number that it was extended from, if it was.
fn narrow(imm: u64) -> Option<i32> {
    i32::try_from(imm as i64).ok()
}

fn fused_alu(alu: Code, branch: Code) -> Option<Code> {
    Some(match (alu, branch) {
        (Code::Add64Imm, Code::JEq64Imm) => Code::AddJEq,
        (Code::Add64Imm, Code::JNe64Imm) => Code::AddJNe,
        (Code::Add64Imm, Code::JGt64Imm) => Code::AddJGt,
        (Code::Add64Imm, Code::JLt64Imm) => Code::AddJLt,
        (Code::And64Imm, Code::JEq64Imm) => Code::AndJEq,
        (Code::And64Imm, Code::JNe64Imm) => Code::AndJNe,
        (Code::And64Imm, Code::JGt64Imm) => Code::AndJGt,
        (Code::And64Imm, Code::JLt64Imm) => Code::AndJLt,
        _ => return None,
    })
}

/// A 32-bit comparison of what a load extended with zeros equals a 64-bit one if the immediate
/// is not negative.
fn fused_load(load: Code, branch: Code, imm: u64) -> Option<Code> {
    let equal = match branch {
        Code::JEq64Imm => true,
        Code::JNe64Imm => false,
        Code::JEq32Imm if load != Code::Load64 && imm as i64 >= 0 => true,
        Code::JNe32Imm if load != Code::Load64 && imm as i64 >= 0 => false,
        _ => return None,
    };
    Some(match (load, equal) {
        (Code::Load8, true) => Code::Load8JEq,
        (Code::Load8, false) => Code::Load8JNe,
        (Code::Load16, true) => Code::Load16JEq,
        (Code::Load16, false) => Code::Load16JNe,
        (Code::Load32, true) => Code::Load32JEq,
        (Code::Load32, false) => Code::Load32JNe,
        (Code::Load64, true) => Code::Load64JEq,
        (Code::Load64, false) => Code::Load64JNe,
        _ => return None,
    })
}
