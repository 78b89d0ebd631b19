//! Encodings of the instructions that the emitter uses (The RISC-V Instruction Set Manual,
//! volume I: RV64I, M, A; Zba and Zbb).
//!
//! An instruction is a constant without its registers; [`r`], [`i`], [`s`] and the others put
//! registers and immediates in, [`Asm`] writes it.

use super::super::emitter::Emission;
use super::super::ir::Place;

/// A machine register, by its number.
pub(super) type Reg = u8;

pub(super) const ZERO: Reg = 0;
/// The return address.
pub(super) const LINK: Reg = 1;
pub(super) const SP: Reg = 2;
/// The thread pointer.
pub(super) const TP: Reg = 4;
pub(super) const A0: Reg = 10;
pub(super) const A1: Reg = 11;
/// r0: where helpers take their sixth argument, so that r1 to r5 lie where arguments go.
pub(super) const R0: Reg = 15;
/// Keeps the address of the [`super::super::run::Run`], in programs that need it (s11).
pub(super) const RUN: Reg = 27;

/// The emitter's own registers: t1, t2, t3 and a7.
pub(super) const T0: Reg = 6;
pub(super) const T1: Reg = 7;
pub(super) const T2: Reg = 28;
pub(super) const T3: Reg = 17;

/// Extras that callees save.
pub(super) const KEPT: u8 = 7;
/// Extras that calls change.
pub(super) const SCRATCH: u8 = 4;

/// The register of each place. The stack pointer stands for the frame pointer.
const HOME: [Reg; 23] =
    [R0, 10, 11, 12, 13, 14, 8, 9, 18, 19, SP, 5, 20, 21, 22, 23, 24, 25, 26, 29, 30, 31, 16];

#[inline(always)]
pub(super) fn home(place: Place) -> Reg {
    HOME.get(place.index()).copied().unwrap_or(T3)
}

/// The places whose registers a function must save.
pub(super) const SAVED: [Place; 11] = [
    Place::R6,
    Place::R7,
    Place::R8,
    Place::R9,
    Place::extra(0),
    Place::extra(1),
    Place::extra(2),
    Place::extra(3),
    Place::extra(4),
    Place::extra(5),
    Place::extra(6),
];

/// Instructions of two registers and a result.
pub(super) mod op {
    pub(in super::super) const ADD: u32 = 0x33;
    pub(in super::super) const SUB: u32 = 0x4000_0033;
    pub(in super::super) const SLL: u32 = 0x1033;
    pub(in super::super) const XOR: u32 = 0x4033;
    pub(in super::super) const SRL: u32 = 0x5033;
    pub(in super::super) const SRA: u32 = 0x4000_5033;
    pub(in super::super) const OR: u32 = 0x6033;
    pub(in super::super) const AND: u32 = 0x7033;
    pub(in super::super) const ADDW: u32 = 0x3b;
    pub(in super::super) const SUBW: u32 = 0x4000_003b;
    pub(in super::super) const SLLW: u32 = 0x103b;
    pub(in super::super) const SRLW: u32 = 0x503b;
    pub(in super::super) const SRAW: u32 = 0x4000_503b;
    pub(in super::super) const MUL: u32 = 0x0200_0033;
    pub(in super::super) const MULHU: u32 = 0x0200_3033;
    pub(in super::super) const DIV: u32 = 0x0200_4033;
    pub(in super::super) const DIVU: u32 = 0x0200_5033;
    pub(in super::super) const REM: u32 = 0x0200_6033;
    pub(in super::super) const REMU: u32 = 0x0200_7033;
    pub(in super::super) const MULW: u32 = 0x0200_003b;
    pub(in super::super) const DIVW: u32 = 0x0200_403b;
    pub(in super::super) const DIVUW: u32 = 0x0200_503b;
    pub(in super::super) const REMW: u32 = 0x0200_603b;
    pub(in super::super) const REMUW: u32 = 0x0200_703b;
    /// Zba: the lower half of the first operand, extended with zeros, and the second.
    pub(in super::super) const ADD_UW: u32 = 0x0800_003b;
    /// Zba: the first operand shifted by 1, 2 or 3, and the second.
    pub(in super::super) const SH_ADD: [u32; 3] = [0x2000_2033, 0x2000_4033, 0x2000_6033];
}

/// Instructions of a register and 12 bits.
pub(super) mod imm {
    pub(in super::super) const ADDI: u32 = 0x13;
    pub(in super::super) const ADDIW: u32 = 0x1b;
    pub(in super::super) const XORI: u32 = 0x4013;
    pub(in super::super) const ORI: u32 = 0x6013;
    pub(in super::super) const ANDI: u32 = 0x7013;
    pub(in super::super) const SLLI: u32 = 0x1013;
    pub(in super::super) const SRLI: u32 = 0x5013;
    pub(in super::super) const SRAI: u32 = 0x4000_5013;
    pub(in super::super) const SLLIW: u32 = 0x101b;
    pub(in super::super) const SRLIW: u32 = 0x501b;
    pub(in super::super) const SRAIW: u32 = 0x4000_501b;
    pub(in super::super) const JALR: u32 = 0x67;
    pub(in super::super) const LB: u32 = 0x03;
    pub(in super::super) const LH: u32 = 0x1003;
    pub(in super::super) const LW: u32 = 0x2003;
    pub(in super::super) const LD: u32 = 0x3003;
    pub(in super::super) const LBU: u32 = 0x4003;
    pub(in super::super) const LHU: u32 = 0x5003;
    pub(in super::super) const LWU: u32 = 0x6003;
    /// Zba: shifts the lower half, extended with zeros.
    pub(in super::super) const SLLI_UW: u32 = 0x0800_101b;
    /// Zbb
    pub(in super::super) const RORI: u32 = 0x6000_5013;
    pub(in super::super) const RORIW: u32 = 0x6000_501b;
    pub(in super::super) const REV8: u32 = 0x6b80_5013;
    pub(in super::super) const SEXT_B: u32 = 0x6040_1013;
    pub(in super::super) const SEXT_H: u32 = 0x6050_1013;
    pub(in super::super) const ZEXT_H: u32 = 0x0800_403b;
}

/// Stores.
pub(super) mod store {
    pub(in super::super) const SB: u32 = 0x23;
    pub(in super::super) const SH: u32 = 0x1023;
    pub(in super::super) const SW: u32 = 0x2023;
    pub(in super::super) const SD: u32 = 0x3023;
}

/// Branches.
pub(super) mod branch {
    pub(in super::super) const BEQ: u32 = 0x63;
    pub(in super::super) const BNE: u32 = 0x1063;
    pub(in super::super) const BLT: u32 = 0x4063;
    pub(in super::super) const BGE: u32 = 0x5063;
    pub(in super::super) const BLTU: u32 = 0x6063;
    pub(in super::super) const BGEU: u32 = 0x7063;
}

/// Atomic instructions of 32 bits; [`atomic`] makes them of 64.
pub(super) mod amo {
    pub(in super::super) const ADD: u32 = 0x202f;
    pub(in super::super) const SWAP: u32 = 0x0800_202f;
    pub(in super::super) const LR: u32 = 0x1000_202f;
    pub(in super::super) const SC: u32 = 0x1800_202f;
    pub(in super::super) const XOR: u32 = 0x2000_202f;
    pub(in super::super) const OR: u32 = 0x4000_202f;
    pub(in super::super) const AND: u32 = 0x6000_202f;
}

/// `fence rw, rw`
pub(super) const FENCE: u32 = 0x0330_000f;
/// `fence r, rw`
pub(super) const FENCE_ACQUIRE: u32 = 0x0230_000f;
/// `fence rw, w`
pub(super) const FENCE_RELEASE: u32 = 0x0310_000f;
/// `ret`
pub(super) const RET: u32 = i(imm::JALR, ZERO, LINK, 0);

const fn rd(d: Reg) -> u32 {
    (d as u32) << 7
}

const fn rs1(n: Reg) -> u32 {
    (n as u32) << 15
}

const fn rs2(m: Reg) -> u32 {
    (m as u32) << 20
}

/// `op d, n, m`
pub(super) const fn r(op: u32, d: Reg, n: Reg, m: Reg) -> u32 {
    op | rd(d) | rs1(n) | rs2(m)
}

/// `op d, n, imm`; also loads, `op d, imm(n)`, and shifts by a constant.
pub(super) const fn i(op: u32, d: Reg, n: Reg, imm: i32) -> u32 {
    op | rd(d) | rs1(n) | (imm as u32 & 0xfff) << 20
}

/// A store, `op m, imm(n)`.
pub(super) const fn s(op: u32, m: Reg, n: Reg, imm: i32) -> u32 {
    let imm = imm as u32;
    op | rs1(n) | rs2(m) | (imm >> 5 & 0x7f) << 25 | (imm & 0x1f) << 7
}

/// A branch, `op n, m, distance`.
pub(super) const fn b(op: u32, n: Reg, m: Reg, distance: i32) -> u32 {
    op | rs1(n) | rs2(m) | branch_distance(distance)
}

/// The distance of a branch, in its place.
pub(super) const fn branch_distance(distance: i32) -> u32 {
    let d = distance as u32;
    (d >> 12 & 1) << 31 | (d >> 5 & 0x3f) << 25 | (d >> 1 & 0xf) << 8 | (d >> 11 & 1) << 7
}

/// `jal d, distance`
pub(super) const fn jal(d: Reg, distance: i32) -> u32 {
    let by = distance as u32;
    let by = (by >> 20 & 1) << 31 | (by >> 1 & 0x3ff) << 21 | (by >> 11 & 1) << 20 | by & 0xf_f000;
    0x6f | rd(d) | by
}

/// `lui d, high`: the upper 20 bits of `high`.
pub(super) const fn lui(d: Reg, high: i32) -> u32 {
    0x37 | rd(d) | high as u32 & 0xffff_f000
}

/// `auipc d, high`: the upper 20 bits of `high`.
pub(super) const fn auipc(d: Reg, high: i32) -> u32 {
    0x17 | rd(d) | high as u32 & 0xffff_f000
}

/// An atomic instruction, `op d, m, (n)`; `order` is aq (2) and rl (1).
pub(super) const fn atomic(op: u32, wide: bool, order: u32, d: Reg, m: Reg, n: Reg) -> u32 {
    r(op | (wide as u32) << 12 | order << 25, d, n, m)
}

/// `rdtime d`
pub(super) const fn rdtime(d: Reg) -> u32 {
    0xc010_2073 | rd(d)
}

/// A number as its upper 20 bits, for `lui` or `auipc`, and the 12 bits with a sign that go with
/// them.
pub(super) const fn split(value: i32) -> (i32, i32) {
    let low = value << 20 >> 20;
    (value.wrapping_sub(low), low)
}

/// Whether an immediate of 12 bits with a sign holds a number.
pub(super) const fn fits(value: i64) -> bool {
    -2048 <= value && value < 2048
}

/// Writes instructions.
pub(super) trait Asm {
    fn word(&mut self, word: u32);

    /// `mv d, n`
    #[inline]
    fn mv(&mut self, d: Reg, n: Reg) {
        self.word(i(imm::ADDI, d, n, 0));
    }
}

impl Asm for Emission {
    #[inline(always)]
    fn word(&mut self, word: u32) {
        self.bytes.extend_from_slice(&word.to_le_bytes());
    }
}
