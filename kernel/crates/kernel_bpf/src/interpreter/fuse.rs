//! Which two ops, one after the other, are one: moves and additions, arithmetic or a load with
//! the comparison of its result, shifts that only extend, a constant result with the exit.
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
        (Code::Lsh64Imm, Code::Rsh64Imm) if same => match (first.imm & 63, second.imm & 63) {
            (32, 32) => Op { code: Code::Mov32Reg, src: first.dst, imm: 0, ..*first },
            (left, right) => Op { code: Code::LshRsh64, imm: left | right << 32, ..*first },
        },
        (Code::Lsh64Imm, Code::Arsh64Imm) if same => match (first.imm & 63, second.imm & 63) {
            (32, 32) => Op { code: Code::Sx32To64, src: first.dst, imm: 0, ..*first },
            (left, right) => Op { code: Code::LshArsh64, imm: left | right << 32, ..*first },
        },
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
        _ => return None,
    })
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
