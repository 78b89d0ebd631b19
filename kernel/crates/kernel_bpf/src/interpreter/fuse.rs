//! Which two ops, one after the other, are one: moves and constants with the arithmetic on them,
//! arithmetic or a load with the comparison of its result, sums with the access there, shifts with
//! what their results go into, a constant result with the exit. An op that is fused already may be
//! fused again. Pure; the caller makes sure that nothing jumps to the second op.
//!
//! A register between the two that nobody reads afterwards is not written: the caller says which
//! registers are live.

#![forbid(unsafe_code)]

use super::code::{Code, Op, pair};
use crate::verifier::RegSet;

/// Register 0, where results are returned.
const R0: u8 = 0;

/// Two ops that follow each other.
struct Pair<'a> {
    first: &'a Op,
    second: &'a Op,
    /// Registers that may be read after both, before they are written.
    live: RegSet,
}

/// The op that does what `first` and then `second` do, if there is one; `live` are the registers
/// that may be read afterwards. A fused jump's distance is the second's, to be computed anew from
/// where the fused op lies.
pub(super) fn fuse(first: &Op, second: &Op, live: RegSet) -> Option<Op> {
    let pair = Pair { first, second, live };
    match first.code {
        Code::Mov64Reg | Code::Mov32Reg => pair.moved(),
        Code::Mov64Imm | Code::Mov32Imm => pair.constant(),
        Code::Add64Imm => pair.displaced().or_else(|| pair.compared(64, 64)),
        Code::Add64Reg => pair.indexed(),
        Code::Add32Imm => pair.compared(32, 32),
        Code::And64Imm => pair.compared(64, bits(first.imm)),
        Code::Lsh64Imm | Code::Rsh64Imm | Code::Lsh32Imm | Code::Rsh32Imm => pair.shifted(),
        Code::ShiftsRL64 | Code::ShiftsLR64 | Code::ShiftsRL32 | Code::ShiftsLR32 => pair.rotated(),
        Code::Load8 | Code::Load16 | Code::Load32 | Code::Load64 => pair.loaded(),
        Code::Load8Far | Code::Load16Far | Code::Load32Far | Code::Load64Far => {
            pair.loaded_from_far()
        }
        Code::ArrayLookup
            if second.code == Code::JEq64Imm && second.dst == R0 && second.imm == 0 =>
        {
            Some(Op { code: Code::ArrayLookupJEq, imm: first.imm, ..*second })
        }
        _ => None,
    }
}

impl Pair<'_> {
    /// Whether nobody reads what a register holds now, given that the second op writes its `dst`.
    fn overwritten_or_dead(&self, register: u8) -> bool {
        self.second.dst == register || self.dead(register)
    }

    /// Whether nobody reads afterwards what a register holds.
    fn dead(&self, register: u8) -> bool {
        self.live & 1 << register == 0
    }

    /// The other operand of arithmetic on the first op's result and one more register. A sum or
    /// the like: the order does not matter.
    fn other_operand(&self) -> Option<u8> {
        let second = u8::try_from(self.second.offset).ok()?;
        let result = self.first.dst;
        match (self.second.src == result, second == result) {
            (true, false) => Some(second),
            (false, true) => Some(self.second.src),
            _ => None,
        }
    }

    /// A register's copy: what overwrites it reads the register itself.
    fn moved(&self) -> Option<Op> {
        let (first, second) = (self.first, self.second);
        let halves_suffice = second.code.reads_lower_halves()
            || second.code == Code::And64Imm && bits(second.imm) <= 32;
        let fits =
            second.code.goes_from_src_to_dst() && (first.code == Code::Mov64Reg || halves_suffice);
        if !fits || second.dst != first.dst {
            return None;
        }
        let original = |register| if register == first.dst { first.src } else { register };
        let offset = match u8::try_from(second.offset) {
            Ok(register) if second.code.has_two_registers() => original(register).into(),
            _ => second.offset,
        };
        Some(Op { src: original(second.src), offset, ..*second })
    }

    /// A constant: an immediate of the arithmetic on it, or the result.
    fn constant(&self) -> Option<Op> {
        let (first, second) = (self.first, self.second);
        let wide = first.code == Code::Mov64Imm;
        let imm = if wide { first.imm } else { u64::from(first.imm as u32) };
        if second.code == Code::Exit && first.dst == R0 {
            return Some(Op { code: Code::ExitImm, imm, ..*first });
        }
        let Some(code) = second.code.with_immediate() else { return self.set(imm) };
        let other = self.other_operand()?;
        let commutes = matches!(
            code,
            Code::Add64Imm
                | Code::Mul64Imm
                | Code::Or64Imm
                | Code::And64Imm
                | Code::Xor64Imm
                | Code::Add32Imm
                | Code::Mul32Imm
                | Code::Or32Imm
                | Code::And32Imm
                | Code::Xor32Imm
        );
        let fits = (commutes || other == second.src) && self.overwritten_or_dead(first.dst);
        fits.then_some(Op { code, src: other, offset: 0, imm, ..*second })
    }

    /// A constant `imm`, and then a jump that does not look at it.
    fn set(&self, imm: u64) -> Option<Op> {
        let (first, second) = (self.first, self.second);
        let code = match second.code {
            Code::Jump => return Some(Op { code: Code::SetJump, dst: first.dst, imm, ..*second }),
            Code::JEq64Imm => Code::SetJEq64,
            Code::JNe64Imm => Code::SetJNe64,
            Code::JGt64Imm => Code::SetJGt64,
            Code::JLt64Imm => Code::SetJLt64,
            Code::JSgt64Imm => Code::SetJSgt64,
            Code::JSlt64Imm => Code::SetJSlt64,
            Code::JEq32Imm => Code::SetJEq32,
            Code::JNe32Imm => Code::SetJNe32,
            Code::JGt32Imm => Code::SetJGt32,
            Code::JLt32Imm => Code::SetJLt32,
            Code::JSgt32Imm => Code::SetJSgt32,
            Code::JSlt32Imm => Code::SetJSlt32,
            _ => return None,
        };
        let imm = pair(narrow(imm)?, narrow(second.imm)?);
        let fits = second.dst != first.dst;
        fits.then_some(Op { code, dst: first.dst, src: second.dst, imm, ..*second })
    }

    /// The sum of a register and a constant: part of the next one, or of an address.
    fn displaced(&self) -> Option<Op> {
        let (first, second) = (self.first, self.second);
        if second.code == Code::Add64Imm {
            let fits = second.src == first.dst && self.overwritten_or_dead(first.dst);
            let imm = first.imm.wrapping_add(second.imm);
            return fits.then_some(Op { src: first.src, imm, ..*second });
        }
        let far = second.code.far()?;
        let access = self.based_on(first.src)?;
        let displacement = first.imm.wrapping_add_signed(second.offset.into());
        Some(match narrow(displacement) {
            Some(offset) => Op { offset, ..access },
            None => Op { code: far, offset: 0, imm: displacement, ..access },
        })
    }

    /// The sum of two registers: an address.
    fn indexed(&self) -> Option<Op> {
        let code = self.second.code.indexed()?;
        let access = self.based_on(self.first.src)?;
        Some(Op { code, imm: self.first.offset as u64, ..access })
    }

    /// The load or store behind, with `base` in the place of the sum that its address is, if
    /// nobody else reads that.
    fn based_on(&self, base: u8) -> Option<Op> {
        let (sum, second) = (self.first.dst, self.second);
        if second.code.goes_from_src_to_dst() {
            let fits = second.src == sum && self.overwritten_or_dead(sum);
            fits.then_some(Op { src: base, ..*second })
        } else {
            let fits = second.dst == sum && second.src != sum && self.dead(sum);
            fits.then_some(Op { dst: base, ..*second })
        }
    }

    /// A sum or a bitwise and, of no more than `bits` bits, that is compared with a constant as a
    /// number of `width` bits; or a step before the comparison of something else.
    fn compared(&self, width: u32, bits: u32) -> Option<Op> {
        let (first, second) = (self.first, self.second);
        let test = test(second, width, bits)?;
        let imm = pair(narrow(first.imm)?, narrow(second.imm)?);
        if second.dst != first.dst {
            let code = match test {
                Test::Eq => Code::StepJEq,
                Test::Ne => Code::StepJNe,
                Test::Gt => Code::StepJGt,
                Test::Lt => Code::StepJLt,
            };
            let fits = first.code == Code::Add64Imm && first.src == first.dst;
            return fits.then_some(Op { code, dst: first.dst, src: second.dst, imm, ..*second });
        }
        let code = match (first.code, test) {
            (Code::Add64Imm, Test::Eq) => Code::AddJEq64,
            (Code::Add64Imm, Test::Ne) => Code::AddJNe64,
            (Code::Add64Imm, Test::Gt) => Code::AddJGt64,
            (Code::Add64Imm, Test::Lt) => Code::AddJLt64,
            (Code::Add32Imm, Test::Eq) => Code::AddJEq32,
            (Code::Add32Imm, Test::Ne) => Code::AddJNe32,
            (Code::Add32Imm, Test::Gt) => Code::AddJGt32,
            (Code::Add32Imm, Test::Lt) => Code::AddJLt32,
            (Code::And64Imm, Test::Eq) => Code::AndJEq,
            (Code::And64Imm, Test::Ne) => Code::AndJNe,
            (Code::And64Imm, Test::Gt) => Code::AndJGt,
            (Code::And64Imm, Test::Lt) => Code::AndJLt,
            _ => return None,
        };
        Some(Op { code, src: first.src, imm, ..*second })
    }

    /// A shifted value: shifted back, shifted the other way too, or one side of a sum.
    fn shifted(&self) -> Option<Op> {
        let (first, second) = (self.first, self.second);
        let (value, result) = (first.src, first.dst);
        if second.src == result && self.overwritten_or_dead(result) {
            let amounts = (first.imm & 63, second.imm & 63);
            let code = match (first.code, second.code, amounts) {
                (Code::Lsh64Imm, Code::Rsh64Imm, (32, 32)) => Some((Code::Mov32Reg, 0)),
                (Code::Lsh64Imm, Code::Arsh64Imm, (32, 32)) => Some((Code::Sx32To64, 0)),
                (Code::Lsh64Imm, Code::Rsh64Imm, (left, right)) => {
                    Some((Code::LshRsh64, left | right << 32))
                }
                (Code::Lsh64Imm, Code::Arsh64Imm, (left, right)) => {
                    Some((Code::LshArsh64, left | right << 32))
                }
                _ => None,
            };
            if let Some((code, imm)) = code {
                return Some(Op { code, src: value, imm, ..*second });
            }
        }
        let both = match (first.code, second.code) {
            (Code::Rsh64Imm, Code::Lsh64Imm) => Some(Code::ShiftsRL64),
            (Code::Lsh64Imm, Code::Rsh64Imm) => Some(Code::ShiftsLR64),
            (Code::Rsh32Imm, Code::Lsh32Imm) => Some(Code::ShiftsRL32),
            (Code::Lsh32Imm, Code::Rsh32Imm) => Some(Code::ShiftsLR32),
            _ => None,
        };
        if let Some(code) = both {
            // The second one still finds the value.
            let fits = second.src == value && result != value;
            let imm = pair(narrow(first.imm)?, narrow(second.imm)?);
            return fits.then_some(Op { code, offset: result.into(), imm, ..*second });
        }
        let code = match (first.code, second.code) {
            (Code::Lsh64Imm, Code::Add64Reg) => Code::LshAdd64,
            (Code::Lsh64Imm, Code::Or64Reg) => Code::LshOr64,
            (Code::Lsh64Imm, Code::Xor64Reg) => Code::LshXor64,
            (Code::Rsh64Imm, Code::Xor64Reg) => Code::RshXor64,
            (Code::Lsh32Imm, Code::Or32Reg) => Code::LshOr32,
            _ => return None,
        };
        let offset = self.other_operand()?.into();
        let fits = self.overwritten_or_dead(result);
        fits.then_some(Op { code, src: value, offset, imm: first.imm, ..*second })
    }

    /// Two shifts of one value whose results together are that value, rotated.
    fn rotated(&self) -> Option<Op> {
        let (first, second) = (self.first, self.second);
        let (code, width) = match (first.code, second.code) {
            (Code::ShiftsRL64 | Code::ShiftsLR64, Code::Or64Reg) => (Code::Rotate64, 64),
            (Code::ShiftsRL32 | Code::ShiftsLR32, Code::Or32Reg) => (Code::Rotate32, 32),
            _ => return None,
        };
        let one = u8::try_from(first.offset).ok()?;
        let amounts = (first.imm & (width - 1), first.imm >> 32 & (width - 1));
        let left = match first.code {
            Code::ShiftsLR64 | Code::ShiftsLR32 => amounts.0,
            _ => amounts.1,
        };
        let fits = self.other_operand() == Some(one)
            && amounts.0 + amounts.1 == width
            && self.overwritten_or_dead(one)
            && self.overwritten_or_dead(first.dst);
        fits.then_some(Op { code, src: first.src, offset: 0, imm: left, ..*second })
    }

    /// What was loaded: compared with a constant, or one side of a sum.
    fn loaded(&self) -> Option<Op> {
        let (first, second) = (self.first, self.second);
        if second.code.has_two_registers() {
            return self.summed(first.code, i64::from(first.offset) as u64);
        }
        let bits = match first.code {
            Code::Load8 => 8,
            Code::Load16 => 16,
            Code::Load32 => 32,
            _ => 64,
        };
        let code = match (first.code, test(second, 64, bits)?) {
            (Code::Load8, Test::Eq) => Code::Load8JEq,
            (Code::Load8, Test::Ne) => Code::Load8JNe,
            (Code::Load16, Test::Eq) => Code::Load16JEq,
            (Code::Load16, Test::Ne) => Code::Load16JNe,
            (Code::Load32, Test::Eq) => Code::Load32JEq,
            (Code::Load32, Test::Ne) => Code::Load32JNe,
            (Code::Load64, Test::Eq) => Code::Load64JEq,
            (Code::Load64, Test::Ne) => Code::Load64JNe,
            _ => return None,
        };
        let imm = pair(first.offset, narrow(second.imm)?);
        (second.dst == first.dst).then_some(Op { code, src: first.src, imm, ..*second })
    }

    /// What was loaded from far away: one side of a sum.
    fn loaded_from_far(&self) -> Option<Op> {
        let loads = [Code::Load8, Code::Load16, Code::Load32, Code::Load64];
        let near = loads.into_iter().find(|load| load.far() == Some(self.first.code))?;
        self.summed(near, self.first.imm)
    }

    /// What `load` has loaded, at this displacement: one side of a sum.
    fn summed(&self, load: Code, displacement: u64) -> Option<Op> {
        let (first, second) = (self.first, self.second);
        let code = sum_with_loaded(load, second.code)?;
        let offset = self.other_operand()?.into();
        let fits = self.overwritten_or_dead(first.dst);
        fits.then_some(Op { code, dst: second.dst, offset, imm: displacement, ..*first })
    }
}

/// A sum, or the like, of what a load has loaded and a register.
fn sum_with_loaded(load: Code, sum: Code) -> Option<Code> {
    Some(match (load, sum) {
        (Code::Load8, Code::Add64Reg) => Code::Load8Add64,
        (Code::Load16, Code::Add64Reg) => Code::Load16Add64,
        (Code::Load32, Code::Add64Reg) => Code::Load32Add64,
        (Code::Load64, Code::Add64Reg) => Code::Load64Add64,
        (Code::Load32, Code::Add32Reg) => Code::Load32Add32,
        (Code::Load8, Code::Xor64Reg) => Code::Load8Xor64,
        (Code::Load64, Code::Xor64Reg) => Code::Load64Xor64,
        (Code::Load8, Code::Xor32Reg) => Code::Load8Xor32,
        (Code::Load32, Code::Xor32Reg) => Code::Load32Xor32,
        _ => return None,
    })
}

/// Two moves that are made at once. Not one of [`fuse`]'s pairs: the second move may yet become
/// part of what follows it.
pub(super) fn moves(first: &Op, second: &Op) -> Option<Op> {
    let fits = first.code == Code::Mov64Reg && second.code == Code::Mov64Reg;
    fits.then_some(Op {
        code: Code::Moves,
        offset: second.dst.into(),
        imm: second.src.into(),
        ..*first
    })
}

/// How a result is compared with a constant, both without sign.
enum Test {
    Eq,
    Ne,
    Gt,
    Lt,
}

/// The test that a branch makes of a register, which holds a number of no more than `bits` bits,
/// as a comparison of `width` bits.
fn test(branch: &Op, width: u32, bits: u32) -> Option<Test> {
    // Neither side has bits that make a difference to the other width; to the sign.
    let positive = branch.imm as i64 >= 0;
    let (any_width, any_sign) = (positive && bits <= 32, positive && bits <= 31);
    let (wide, narrow) = (width == 64 || any_width, width == 32 || any_width);
    Some(match branch.code {
        Code::JEq64Imm if wide => Test::Eq,
        Code::JNe64Imm if wide => Test::Ne,
        Code::JGt64Imm if wide => Test::Gt,
        Code::JLt64Imm if wide => Test::Lt,
        Code::JEq32Imm if narrow => Test::Eq,
        Code::JNe32Imm if narrow => Test::Ne,
        Code::JGt32Imm if narrow => Test::Gt,
        Code::JLt32Imm if narrow => Test::Lt,
        Code::JSgt64Imm | Code::JSgt32Imm if any_sign => Test::Gt,
        Code::JSlt64Imm | Code::JSlt32Imm if any_sign => Test::Lt,
        _ => return None,
    })
}

/// How many bits a number has.
const fn bits(number: u64) -> u32 {
    u64::BITS - number.leading_zeros()
}

/// An immediate as the signed 32-bit number that it was extended from, if it was.
fn narrow(imm: u64) -> Option<i32> {
    i32::try_from(imm as i64).ok()
}
