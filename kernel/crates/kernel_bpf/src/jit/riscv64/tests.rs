//! Encodings, beside those of LLVM's assembler; constants, beside what they should amount to.

use alloc::vec::Vec;

use super::asm::*;
use super::constant::Constants;
use crate::jit::emitter::Emission;
use crate::jit::tests::tools::compare_encodings;

const ARGUMENTS: [&str; 3] = [
    "--target=riscv64-linux-gnu",
    "-march=rv64ima_zba_zbb",
    // Distances as they are written, not as the linker may make them.
    "-mno-relax",
];

#[test]
fn arithmetic_is_encoded_as_llvm_does() {
    let forms = [
        (r(op::ADD, 5, 6, 7), "add x5, x6, x7"),
        (r(op::SUB, 5, 6, 7), "sub x5, x6, x7"),
        (r(op::SLL, 5, 6, 7), "sll x5, x6, x7"),
        (r(op::XOR, 5, 6, 7), "xor x5, x6, x7"),
        (r(op::SRL, 5, 6, 7), "srl x5, x6, x7"),
        (r(op::SRA, 5, 6, 7), "sra x5, x6, x7"),
        (r(op::OR, 5, 6, 7), "or x5, x6, x7"),
        (r(op::AND, 31, 30, 29), "and x31, x30, x29"),
        (r(op::ADDW, 5, 6, 7), "addw x5, x6, x7"),
        (r(op::SUBW, 5, 6, 7), "subw x5, x6, x7"),
        (r(op::SLLW, 5, 6, 7), "sllw x5, x6, x7"),
        (r(op::SRLW, 5, 6, 7), "srlw x5, x6, x7"),
        (r(op::SRAW, 5, 6, 7), "sraw x5, x6, x7"),
        (r(op::MUL, 5, 6, 7), "mul x5, x6, x7"),
        (r(op::MULHU, 5, 6, 7), "mulhu x5, x6, x7"),
        (r(op::DIV, 5, 6, 7), "div x5, x6, x7"),
        (rdtime(7), "rdtime x7"),
        (r(op::DIVU, 5, 6, 7), "divu x5, x6, x7"),
        (r(op::REM, 5, 6, 7), "rem x5, x6, x7"),
        (r(op::REMU, 5, 6, 7), "remu x5, x6, x7"),
        (r(op::MULW, 5, 6, 7), "mulw x5, x6, x7"),
        (r(op::DIVW, 5, 6, 7), "divw x5, x6, x7"),
        (r(op::DIVUW, 5, 6, 7), "divuw x5, x6, x7"),
        (r(op::REMW, 5, 6, 7), "remw x5, x6, x7"),
        (r(op::REMUW, 5, 6, 7), "remuw x5, x6, x7"),
        (r(op::ADD_UW, 5, 6, ZERO), "zext.w x5, x6"),
        (r(op::SH_ADD[0], 5, 6, 7), "sh1add x5, x6, x7"),
        (r(op::SH_ADD[1], 5, 6, 7), "sh2add x5, x6, x7"),
        (r(op::SH_ADD[2], 5, 6, 7), "sh3add x5, x6, x7"),
        (i(imm::ADDI, 5, 6, -2048), "addi x5, x6, -2048"),
        (i(imm::ADDIW, 5, 6, 0), "sext.w x5, x6"),
        (i(imm::XORI, 5, 6, -1), "not x5, x6"),
        (i(imm::ORI, 5, 6, 2047), "ori x5, x6, 2047"),
        (i(imm::ANDI, 5, 6, 255), "andi x5, x6, 255"),
        (i(imm::SLLI, 5, 6, 63), "slli x5, x6, 63"),
        (i(imm::SRLI, 5, 6, 32), "srli x5, x6, 32"),
        (i(imm::SRAI, 5, 6, 48), "srai x5, x6, 48"),
        (i(imm::SLLIW, 5, 6, 31), "slliw x5, x6, 31"),
        (i(imm::SRLIW, 5, 6, 1), "srliw x5, x6, 1"),
        (i(imm::SRAIW, 5, 6, 7), "sraiw x5, x6, 7"),
        (i(imm::SLLI_UW, 5, 6, 3), "slli.uw x5, x6, 3"),
        (i(imm::RORI, 5, 6, 63), "rori x5, x6, 63"),
        (i(imm::RORIW, 5, 6, 31), "roriw x5, x6, 31"),
        (i(imm::REV8, 5, 6, 0), "rev8 x5, x6"),
        (i(imm::SEXT_B, 5, 6, 0), "sext.b x5, x6"),
        (i(imm::SEXT_H, 5, 6, 0), "sext.h x5, x6"),
        (i(imm::ZEXT_H, 5, 6, 0), "zext.h x5, x6"),
        (lui(5, 0x1234_5000), "lui x5, 0x12345"),
        (lui(5, i32::MIN), "lui x5, 0x80000"),
        (auipc(1, -4096), "auipc x1, 0xfffff"),
    ];
    compare_encodings("riscv64-arithmetic", &ARGUMENTS, &forms);
}

#[test]
fn accesses_are_encoded_as_llvm_does() {
    let forms = [
        (i(imm::LB, 5, 6, -1), "lb x5, -1(x6)"),
        (i(imm::LH, 5, 6, 2), "lh x5, 2(x6)"),
        (i(imm::LW, 5, 6, 2047), "lw x5, 2047(x6)"),
        (i(imm::LD, 5, 6, -2048), "ld x5, -2048(x6)"),
        (i(imm::LBU, 5, 6, 0), "lbu x5, (x6)"),
        (i(imm::LHU, 5, 6, 0), "lhu x5, (x6)"),
        (i(imm::LWU, 5, 6, 0), "lwu x5, (x6)"),
        (s(store::SB, 5, 6, -1), "sb x5, -1(x6)"),
        (s(store::SH, 5, 6, 2046), "sh x5, 2046(x6)"),
        (s(store::SW, ZERO, SP, 32), "sw x0, 32(sp)"),
        (s(store::SD, 5, 6, -2048), "sd x5, -2048(x6)"),
        (atomic(amo::ADD, false, 0, ZERO, 5, 6), "amoadd.w x0, x5, (x6)"),
        (atomic(amo::ADD, true, 3, 4, 5, 6), "amoadd.d.aqrl x4, x5, (x6)"),
        (atomic(amo::SWAP, true, 3, 4, 5, 6), "amoswap.d.aqrl x4, x5, (x6)"),
        (atomic(amo::XOR, false, 3, 4, 5, 6), "amoxor.w.aqrl x4, x5, (x6)"),
        (atomic(amo::OR, true, 0, 4, 5, 6), "amoor.d x4, x5, (x6)"),
        (atomic(amo::AND, false, 0, 4, 5, 6), "amoand.w x4, x5, (x6)"),
        (atomic(amo::LR, false, 0, 7, ZERO, 6), "lr.w x7, (x6)"),
        (atomic(amo::SC, true, 1, 28, 5, 6), "sc.d.rl x28, x5, (x6)"),
        (FENCE, "fence rw, rw"),
        (FENCE_ACQUIRE, "fence r, rw"),
        (FENCE_RELEASE, "fence rw, w"),
    ];
    compare_encodings("riscv64-accesses", &ARGUMENTS, &forms);
}

#[test]
fn jumps_are_encoded_as_llvm_does() {
    let forms = [
        (b(branch::BEQ, 5, 6, -4096), "beq x5, x6, -4096"),
        (b(branch::BNE, 5, 6, 4094), "bne x5, x6, 4094"),
        (b(branch::BLT, 5, ZERO, 2048), "blt x5, x0, 2048"),
        (b(branch::BGE, 5, 6, -12), "bge x5, x6, -12"),
        (b(branch::BLTU, 5, 6, 8), "bltu x5, x6, 8"),
        (b(branch::BGEU, 5, 6, 30), "bgeu x5, x6, 30"),
        (jal(ZERO, -1_048_576), "jal x0, -1048576"),
        (jal(LINK, 1_048_574), "jal ra, 1048574"),
        (jal(LINK, 2048), "jal ra, 2048"),
        (i(imm::JALR, LINK, 6, -4), "jalr ra, -4(x6)"),
        (RET, "ret"),
    ];
    compare_encodings("riscv64-jumps", &ARGUMENTS, &forms);
}

/// What `lui`, `addi`, `addiw`, `slli` and `srli` leave in register 5.
fn amounts_to(code: &[u8]) -> i64 {
    let mut value = 0i64;
    for word in code.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())) {
        assert_eq!(word >> 7 & 31, 5);
        let source = if word >> 15 & 31 == 5 { value } else { 0 };
        let immediate = i64::from(word as i32 >> 20);
        value = match word & 0x707f {
            0x13 => source.wrapping_add(immediate),
            0x1b => i64::from(source.wrapping_add(immediate) as i32),
            0x1013 => source << (immediate & 63),
            0x5013 => (source as u64 >> (immediate & 63)) as i64,
            _ if word & 0x7f == 0x37 => i64::from((word & 0xffff_f000) as i32),
            other => unreachable!("{other:#x}"),
        };
    }
    value
}

#[test]
fn constants_amount_to_what_they_should() {
    let mut values = Vec::from([0x1234_5678_9abc_def0u64, 0x7fff_f800, 0x8000_07ff, 0x7fff_ffff]);
    for bit in 0..64 {
        for near in [0u64, 1, 0x7ff, 0x800, 0xfff, 0x1000, 0xffff_ffff, 0x8000_0800] {
            let one = 1u64 << bit;
            values.extend([one.wrapping_add(near), one.wrapping_sub(near), !one ^ near]);
            values.push(near.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> bit);
        }
    }
    for value in values {
        let mut out = Emission::default();
        out.constant(5, value);
        assert_eq!(amounts_to(&out.bytes) as u64, value, "{value:#x}: {:x?}", out.bytes);
        assert!(out.bytes.len() <= 32, "{value:#x}");
    }
}
