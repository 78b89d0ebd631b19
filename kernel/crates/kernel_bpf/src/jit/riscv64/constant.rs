//! Constants: as an immediate where it has room for them, otherwise in a register.

use super::super::emitter::Emission;
use super::asm::{Asm, Reg, T0, ZERO, fits, i, imm, lui, op, r, split};

/// What constants do with emissions.
pub(super) trait Constants {
    /// `d = value`
    fn constant(&mut self, d: Reg, value: u64);
    /// `d = n + value`, or, not `wide`, its lower half extended with its sign.
    fn add(&mut self, wide: bool, d: Reg, n: Reg, value: i64);
}

impl Constants for Emission {
    fn constant(&mut self, d: Reg, value: u64) {
        let value = value as i64;
        if fits(value) {
            return self.word(i(imm::ADDI, d, ZERO, value as i32));
        }
        if let Ok(value) = i32::try_from(value) {
            let (high, low) = split(value);
            self.word(lui(d, high));
            if low != 0 {
                // addiw: what lui extends with its sign beyond 32 bits must not overflow.
                self.word(i(imm::ADDIW, d, d, low));
            }
            return;
        }
        if value & value.wrapping_add(1) == 0 {
            // A run of ones from the lowest bit.
            self.word(i(imm::ADDI, d, ZERO, -1));
            return self.word(i(imm::SRLI, d, d, value.leading_zeros() as i32));
        }
        let low = (value << 52 >> 52) as i32;
        let rest = value.wrapping_sub(i64::from(low));
        let by = rest.trailing_zeros();
        // What is left has fewer bits than before, since the lowest 12 are gone.
        self.constant(d, (rest >> by) as u64);
        self.word(i(imm::SLLI, d, d, by as i32));
        if low != 0 {
            self.word(i(imm::ADDI, d, d, low));
        }
    }

    fn add(&mut self, wide: bool, d: Reg, n: Reg, value: i64) {
        let (add, add_register) = if wide { (imm::ADDI, op::ADD) } else { (imm::ADDIW, op::ADDW) };
        if fits(value) {
            self.word(i(add, d, n, value as i32));
        } else if (-4096..=4094).contains(&value) {
            let half = value as i32 / 2;
            self.word(i(add, d, n, half));
            self.word(i(add, d, d, value as i32 - half));
        } else {
            self.constant(T0, value as u64);
            self.word(r(add_register, d, n, T0));
        }
    }
}
