//! Encodings, beside those of LLVM's assembler; constants, beside what they should amount to.

use alloc::vec::Vec;
use std::format;
use std::string::String;

use super::asm::*;
use super::constant::{Constants, logical};
use crate::jit::emitter::Emission;
use crate::jit::tests::tools::compare_encodings;

const LEFT: (Shift, u8) = (Shift::Left, 0);
const ARGUMENTS: [&str; 2] = ["--target=aarch64-linux-gnu", "-march=armv8.1-a"];

#[test]
fn arithmetic_is_encoded_as_llvm_does() {
    let forms = [
        (sum_imm(Sum::Add, W, 3, 4, 4095, false), "add x3, x4, #4095"),
        (sum_imm(Sum::Add, W, SP, SP, 1, true), "add sp, sp, #1, lsl #12"),
        (sum_imm(Sum::Sub, D, 30, 0, 7, false), "sub w30, w0, #7"),
        (sum_imm(Sum::Subs, W, ZERO, 9, 33, false), "cmp x9, #33"),
        (sum_imm(Sum::Subs, D, 16, 16, 1, false), "subs w16, w16, #1"),
        (sum_imm(Sum::Adds, D, ZERO, 9, 2, true), "cmn w9, #2, lsl #12"),
        (sum(Sum::Add, W, 1, 2, 3, LEFT), "add x1, x2, x3"),
        (sum(Sum::Add, W, 1, 2, 3, (Shift::Left, 3)), "add x1, x2, x3, lsl #3"),
        (sum(Sum::Sub, D, 1, 2, 3, (Shift::Right, 31)), "sub w1, w2, w3, lsr #31"),
        (sum(Sum::Sub, W, 1, ZERO, 3, LEFT), "neg x1, x3"),
        (sum(Sum::Subs, W, ZERO, 2, 3, LEFT), "cmp x2, x3"),
        (sum(Sum::Add, W, 1, 2, 3, (Shift::Arithmetic, 63)), "add x1, x2, x3, asr #63"),
        (add_extended(17, SP, 16, true, 0), "add x17, sp, x16, uxtx"),
        (add_extended(7, 7, 0, true, 4), "add x7, x7, x0, uxtx #4"),
        (add_extended(7, 8, 9, false, 3), "add x7, x8, w9, uxtw #3"),
        (logic(Logic::And, W, 1, 2, 3, LEFT), "and x1, x2, x3"),
        (logic(Logic::Or, D, 1, 2, 3, (Shift::Left, 5)), "orr w1, w2, w3, lsl #5"),
        (logic(Logic::Xor, W, 1, 2, 3, (Shift::Right, 60)), "eor x1, x2, x3, lsr #60"),
        (logic(Logic::Xor, W, 1, 2, 3, (Shift::Rotate, 51)), "eor x1, x2, x3, ror #51"),
        (logic(Logic::Ands, D, ZERO, 2, 3, LEFT), "tst w2, w3"),
        (not(W, 5, 6), "mvn x5, x6"),
        (mov(W, 5, 28), "mov x5, x28"),
        (mov(D, 5, 5), "mov w5, w5"),
        (movz(W, 7, 0xabcd, 3), "movz x7, #0xabcd, lsl #48"),
        (movn(D, 7, 5, 1), "movn w7, #5, lsl #16"),
        (movk(W, 7, 0xffff, 2), "movk x7, #0xffff, lsl #32"),
        (ubfm(W, 1, 2, 8, 15), "ubfx x1, x2, #8, #8"),
        (ubfm(D, 1, 2, 0, 7), "uxtb w1, w2"),
        (sbfm(W, 1, 2, 0, 31), "sxtw x1, w2"),
        (sbfm(D, 1, 2, 9, 31), "asr w1, w2, #9"),
        (extr(W, 1, 2, 3, 32), "extr x1, x2, x3, #32"),
        (extr(D, 1, 2, 3, 7), "extr w1, w2, w3, #7"),
        (ror(W, 1, 2, 61), "ror x1, x2, #61"),
        (ror(D, 1, 2, 1), "ror w1, w2, #1"),
        (two(Two::UDiv, D, 1, 2, 3), "udiv w1, w2, w3"),
        (two(Two::SDiv, W, 1, 2, 3), "sdiv x1, x2, x3"),
        (two(Two::Lsl, W, 1, 2, 3), "lsl x1, x2, x3"),
        (two(Two::Lsr, D, 1, 2, 3), "lsr w1, w2, w3"),
        (two(Two::Asr, W, 1, 2, 3), "asr x1, x2, x3"),
        (select(Select::Other, W, 1, 2, 3, cc::LO), "csel x1, x2, x3, lo"),
        (select(Select::Other, D, 1, 1, ZERO, cc::GT), "csel w1, w1, wzr, gt"),
        (select(Select::Increment, W, 7, 7, ZERO, cc::EQ), "csinc x7, x7, xzr, eq"),
        (select(Select::Invert, D, 7, 8, 9, cc::NE), "csinv w7, w8, w9, ne"),
        (madd(W, 1, 2, 3, 4), "madd x1, x2, x3, x4"),
        (umulh(1, 2, 3), "umulh x1, x2, x3"),
        (ISB, "isb"),
        (counter(7), "mrs x7, cntvct_el0"),
        (madd(D, 1, 2, 3, ZERO), "mul w1, w2, w3"),
        (msub(W, 1, 2, 3, 4), "msub x1, x2, x3, x4"),
        (rev16(1, 2), "rev16 w1, w2"),
        (rev(D, 1, 2), "rev w1, w2"),
        (rev(W, 1, 2), "rev x1, x2"),
    ];
    compare_encodings("aarch64-arithmetic", &ARGUMENTS, &forms);
}

#[test]
fn accesses_are_encoded_as_llvm_does() {
    let forms = [
        (access(Access::Load, 3, 1, 2, 4095), "ldr x1, [x2, #32760]"),
        (access(Access::Load, 0, 1, SP, 5), "ldrb w1, [sp, #5]"),
        (access(Access::LoadSigned, 0, 1, 2, 0), "ldrsb x1, [x2]"),
        (access(Access::LoadSigned, 2, 1, 2, 1), "ldrsw x1, [x2, #4]"),
        (access(Access::Store, 1, ZERO, 2, 3), "strh wzr, [x2, #6]"),
        (access_near(Access::Load, 2, 1, 2, -256), "ldur w1, [x2, #-256]"),
        (access_near(Access::Store, 3, 1, 2, 255), "stur x1, [x2, #255]"),
        (access_near(Access::LoadSigned, 1, 1, 2, -1), "ldursh x1, [x2, #-1]"),
        (access_index(Access::Load, 3, 1, 2, 3, true), "ldr x1, [x2, x3, lsl #3]"),
        (access_index(Access::Store, 0, 1, 2, 3, false), "strb w1, [x2, x3]"),
        (access_index(Access::LoadSigned, 2, 1, 2, 3, true), "ldrsw x1, [x2, x3, lsl #2]"),
        (push_pair(19, 30), "stp x19, x30, [sp, #-16]!"),
        (pop_pair(19, 30), "ldp x19, x30, [sp], #16"),
        (push(19), "str x19, [sp, #-16]!"),
        (pop(19), "ldr x19, [sp], #16"),
        (load_pair(2, 3, 17, 16), "ldp x2, x3, [x17, #16]"),
        (ldar(0, 1, 2), "ldarb w1, [x2]"),
        (ldar(3, 1, 2), "ldar x1, [x2]"),
        (stlr(1, 1, 2), "stlrh w1, [x2]"),
        (stlr(2, ZERO, 2), "stlr wzr, [x2]"),
        (ldxr(W, 1, 2), "ldxr x1, [x2]"),
        (ldxr(D, 1, 2), "ldxr w1, [x2]"),
        (stxr(D, false, 14, 15, 17), "stxr w14, w15, [x17]"),
        (stxr(W, true, 14, 15, 17), "stlxr w14, x15, [x17]"),
        (lse(Lse::Add, W, true, 1, 2, 3), "ldaddal x1, x2, [x3]"),
        (lse(Lse::Add, D, false, 1, ZERO, 3), "stadd w1, [x3]"),
        (lse(Lse::Clear, W, false, 1, ZERO, 3), "stclr x1, [x3]"),
        (lse(Lse::Xor, D, true, 1, 2, 3), "ldeoral w1, w2, [x3]"),
        (lse(Lse::Set, W, true, 1, 2, 3), "ldsetal x1, x2, [x3]"),
        (lse(Lse::Swap, W, true, 1, 2, 3), "swpal x1, x2, [x3]"),
        (casal(D, 7, 2, 3), "casal w7, w2, [x3]"),
        (casal(W, 7, 2, 3), "casal x7, x2, [x3]"),
        (DMB, "dmb ish"),
        (thread_pointer(17), "mrs x17, tpidr_el1"),
    ];
    compare_encodings("aarch64-accesses", &ARGUMENTS, &forms);
}

#[test]
fn jumps_are_encoded_as_llvm_does() {
    let forms = [
        (Field::Imm26.with(B, -8), "b .-8"),
        (Field::Imm26.with(BL, 0x7ff_fffc), "bl .+0x7fffffc"),
        (Field::Imm19.with(b_cond(cc::HI), 0xf_fffc), "b.hi .+0xffffc"),
        (Field::Imm19.with(b_cond(cc::MI), -0x10_0000), "b.mi .-0x100000"),
        (Field::Imm19.with(cbz(W, false, 3), 8), "cbz x3, .+8"),
        (Field::Imm19.with(cbz(D, true, 3), -4), "cbnz w3, .-4"),
        (Field::Imm14.with(tbz(false, 3, 63), 0x7ffc), "tbz x3, #63, .+0x7ffc"),
        (Field::Imm14.with(tbz(true, 3, 31), -0x8000), "tbnz w3, #31, .-0x8000"),
        (br(7), "br x7"),
        (blr(16), "blr x16"),
        (RET, "ret"),
        (adr(3, -5), "adr x3, .-5"),
        (adr(3, 4095), "adr x3, .+4095"),
    ];
    compare_encodings("aarch64-jumps", &ARGUMENTS, &forms);
}

/// Values whose constants are hard: runs of ones of every length at every place, and near them.
fn values() -> Vec<u64> {
    let mut values = Vec::from([0, u64::MAX, 0x1234_5678_9abc_def0, 0xffff_0000_1234_ffff]);
    for ones in 1..64 {
        let run = u64::MAX >> (64 - ones);
        for rotation in [0, 1, 7, 15, 16, 31, 32, 47, 63] {
            let value = run.rotate_left(rotation);
            values.extend([
                value,
                value & 0xffff_ffff,
                value ^ 1 << 40,
                value as u32 as i32 as u64,
            ]);
        }
        let element = run & 0xffff;
        values.push(element * 0x1_0001_0001_0001);
        values.push((run & 0xff) * 0x101_0101_0101_0101);
    }
    values
}

#[test]
fn logical_immediates_are_encoded_as_llvm_does() {
    let mut texts: Vec<(u32, String)> = Vec::new();
    for value in values() {
        if let Some(encoded) = logical(value, W) {
            let text = format!("and x1, x2, #{value:#x}");
            texts.push((logic_imm(Logic::And, W, 1, 2, encoded), text));
        }
        let narrow = value & 0xffff_ffff;
        if let Some(encoded) = logical(narrow, D) {
            let text = format!("orr w1, w2, #{narrow:#x}");
            texts.push((logic_imm(Logic::Or, D, 1, 2, encoded), text));
        }
    }
    assert!(texts.len() > 1500, "{}", texts.len());
    let forms: Vec<(u32, &str)> = texts.iter().map(|(word, text)| (*word, text.as_str())).collect();
    compare_encodings("aarch64-logical", &ARGUMENTS, &forms);
}

/// What `movz`, `movn`, `movk` and `orr` of a logical immediate leave in register 3.
fn amounts_to(code: &[u8]) -> u64 {
    let mut value = 0u64;
    for word in code.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())) {
        let wide = word >> 31 == 1;
        let by = 16 * (word >> 21 & 3);
        let bits = u64::from(word >> 5 & 0xffff) << by;
        value = match word >> 23 & 0xff {
            0xa5 => bits,
            0x25 => !bits,
            0xe5 => value & !(0xffff << by) | bits,
            // Decoded as the manual's `DecodeBitMasks` does.
            0x64 => {
                let (n, immr, imms) = (word >> 22 & 1, word >> 16 & 63, word >> 10 & 63);
                let size = 1 << (31 - (n << 6 | !imms & 63).leading_zeros());
                let ones = (imms & (size - 1)) + 1;
                let element = u64::MAX >> (64 - ones);
                let all = (0..64 / size).fold(0, |all, index| all | element << (index * size));
                let mask = u64::MAX >> (64 - size);
                let right = immr & (size - 1);
                let rotate = |part: u64| {
                    if right == 0 { part } else { (part >> right | part << (size - right)) & mask }
                };
                (0..64 / size).fold(0, |sum, index| {
                    sum | rotate(all >> (index * size) & mask) << (index * size)
                })
            }
            other => unreachable!("{other:#x}"),
        };
        assert_eq!(word & 31, 3);
        if !wide {
            value &= 0xffff_ffff;
        }
    }
    value
}

#[test]
fn constants_amount_to_what_they_should() {
    for value in values() {
        let mut out = Emission::default();
        out.constant(3, value);
        assert_eq!(amounts_to(&out.bytes), value, "{value:#x}: {:x?}", out.bytes);
        assert!(out.bytes.len() <= 16, "{value:#x}");
    }
}
