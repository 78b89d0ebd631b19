//! Branches, and how jumps get their distances. There are only branches of 64 bits: what is
//! compared in 32 is extended with its sign, if it is not so already.

use super::super::emitter::{Emission, Jump, Target};
use super::super::far;
use super::super::ir::{Place, Source};
use super::Riscv64;
use super::asm::{
    Asm, LINK, Reg, T0, T1, ZERO, auipc, b, branch, branch_distance, fits, home, i, imm, jal, op,
    r, split,
};
use super::constant::Constants;
use crate::insn::{Cond, Width};

/// The kinds of [`Jump`].
pub(super) const BRANCH: u16 = 0;
pub(super) const ALWAYS: u16 = 1;
pub(super) const CALL: u16 = 2;
/// The address of a function: two instructions.
pub(super) const ADDRESS: u16 = 3;

/// The bytes that a kind of jump needs beyond its one instruction to go that far: `jal`, or
/// `auipc` and `jalr`.
fn more(kind: u16, distance: i64) -> u8 {
    let near = (-0x1000..0x1000).contains(&distance);
    // What the longer forms begin with takes 4 bytes.
    let middle = (-0xf_fff0..0xf_fff0).contains(&distance);
    match kind {
        BRANCH if near => 0,
        BRANCH if middle => 4,
        BRANCH => 8,
        ALWAYS | CALL if middle => 0,
        ALWAYS | CALL => 4,
        _ => 0,
    }
}

impl Riscv64 {
    pub(super) fn jump(word: u32, kind: u16, to: Target, out: &mut Emission) {
        let at = out.here();
        out.jumps.push(Jump { at, to, kind });
        out.word(word);
    }

    pub(super) fn jump_to(&self, target: u32, out: &mut Emission) {
        Self::jump(jal(ZERO, 0), ALWAYS, Target::Slot(target), out);
    }

    fn branch_if(cond: Cond, n: Reg, m: Reg, target: u32, out: &mut Emission) {
        let (instruction, n, m) = match cond {
            Cond::Eq => (branch::BEQ, n, m),
            Cond::Ne | Cond::Set => (branch::BNE, n, m),
            Cond::Gt => (branch::BLTU, m, n),
            Cond::Ge => (branch::BGEU, n, m),
            Cond::Lt => (branch::BLTU, n, m),
            Cond::Le => (branch::BGEU, m, n),
            Cond::Sgt => (branch::BLT, m, n),
            Cond::Sge => (branch::BGE, n, m),
            Cond::Slt => (branch::BLT, n, m),
            Cond::Sle => (branch::BGE, m, n),
        };
        Self::jump(b(instruction, n, m, 0), BRANCH, Target::Slot(target), out);
    }

    pub(super) fn branch(
        &mut self,
        (width, cond, a, b, target): (Width, Cond, Place, Source, u32),
        out: &mut Emission,
    ) {
        let wide = width == Width::W64;
        if cond == Cond::Set {
            return self.branch_bits(wide, a, b, target, out);
        }
        let signed = matches!(cond, Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle);
        let known = |set: u32| match b {
            Source::Place(b) => set & a.bit() != 0 && set & b.bit() != 0,
            Source::Imm(_) => set & a.bit() != 0,
        };
        // Unsigned numbers compare alike with zeros in both upper halves.
        let zeros = !wide && !signed && known(self.zeros) && !known(self.signs);
        let n = if wide || zeros { home(a) } else { self.with_sign(a, T0, out) };
        let m = match b {
            Source::Imm(0) => ZERO,
            Source::Imm(imm) => {
                let value = if zeros { u64::from(imm as u32) } else { i64::from(imm) as u64 };
                out.constant(T1, value);
                T1
            }
            Source::Place(b) if wide || zeros => home(b),
            Source::Place(b) => self.with_sign(b, T1, out),
        };
        Self::branch_if(cond, n, m, target, out);
    }

    /// A register with a place's lower half, extended with its sign: its own, if its upper half
    /// does not matter.
    fn with_sign(&mut self, place: Place, free: Reg, out: &mut Emission) -> Reg {
        let n = home(place);
        if self.signs & place.bit() != 0 {
            return n;
        }
        if self.wide & place.bit() != 0 {
            out.word(i(imm::ADDIW, free, n, 0));
            return free;
        }
        out.word(i(imm::ADDIW, n, n, 0));
        self.zeros &= !place.bit();
        self.signs |= place.bit();
        n
    }

    /// Goes to `target` if a bit is set in both operands.
    fn branch_bits(&self, wide: bool, a: Place, b: Source, target: u32, out: &mut Emission) {
        let n = home(a);
        let bits = match b {
            Source::Imm(imm) if wide => i64::from(imm) as u64,
            Source::Imm(imm) => u64::from(imm as u32),
            Source::Place(b) => {
                out.word(r(op::AND, T0, n, home(b)));
                if !wide {
                    out.word(i(imm::ADDIW, T0, T0, 0));
                }
                return Self::branch_if(Cond::Ne, T0, ZERO, target, out);
            }
        };
        if fits(bits as i64) {
            out.word(i(imm::ANDI, T0, n, bits as i32));
        } else if bits.is_power_of_two() {
            // The bit as the sign.
            out.word(i(imm::SLLI, T0, n, bits.leading_zeros() as i32));
            return Self::branch_if(Cond::Slt, T0, ZERO, target, out);
        } else {
            out.constant(T0, bits);
            out.word(r(op::AND, T0, n, T0));
        }
        Self::branch_if(Cond::Ne, T0, ZERO, target, out);
    }

    /// Writes the distances of jumps. A branch that does not reach becomes the opposite branch
    /// over a jump; one of 20 bits that does not, one of 32.
    pub(super) fn finish_jumps(out: &mut Emission) -> Result<(), &'static str> {
        const OUTSIDE: &str = "a jump outside of the code";
        let longer = far::widen(out, 4, more);
        for index in 0..out.jumps.len() {
            let Some(&Jump { at, to, kind }) = out.jumps.get(index) else { break };
            let extra = longer.get(index).copied().unwrap_or(0);
            let distance = i64::from(out.position(to)) - i64::from(at);
            let distance = i32::try_from(distance).map_err(|_| "a jump this far")?;
            let size = usize::from(extra) + if kind == ADDRESS { 8 } else { 4 };
            let code = out.bytes.get_mut(at as usize..at as usize + size).ok_or(OUTSIDE)?;
            let mut old = [0; 4];
            old.copy_from_slice(code.get(..4).ok_or(OUTSIDE)?);
            let word = u32::from_le_bytes(old);
            let link = if kind == CALL { LINK } else { ZERO };
            let through = if kind == CALL { LINK } else { T0 };
            let far = |distance: i32| {
                let (high, low) = split(distance);
                [auipc(through, high), i(imm::JALR, link, through, low)]
            };
            let over = |size: i32| (word ^ 0x1000) | branch_distance(size);
            let words = match (kind, extra) {
                (BRANCH, 0) => [word | branch_distance(distance), 0, 0],
                (BRANCH, 4) => [over(8), jal(ZERO, distance - 4), 0],
                (BRANCH, _) => {
                    let [one, two] = far(distance - 4);
                    [over(12), one, two]
                }
                (ADDRESS, _) => {
                    let d = (word >> 7 & 31) as Reg;
                    let (high, low) = split(distance);
                    [auipc(d, high), i(imm::ADDI, d, d, low), 0]
                }
                (_, 0) => [jal(link, distance), 0, 0],
                _ => {
                    let [one, two] = far(distance);
                    [one, two, 0]
                }
            };
            for (to, word) in code.chunks_exact_mut(4).zip(words) {
                to.copy_from_slice(&word.to_le_bytes());
            }
        }
        Ok(())
    }
}
