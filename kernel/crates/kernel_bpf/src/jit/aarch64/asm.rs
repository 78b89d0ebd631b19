//! Encodings of the instructions that the emitter uses (Arm ARM, DDI 0487, chapter C6).
//!
//! Functions return the instruction; [`Asm`] writes it. Register 31 is the stack pointer or zero,
//! as the instruction says.

use super::super::emitter::Emission;
use super::super::ir::Place;

/// A machine register, by its number.
pub(super) type Reg = u8;

pub(super) const X0: Reg = 0;
pub(super) const X1: Reg = 1;
/// Where helpers take their sixth argument.
pub(super) const X5: Reg = 5;
/// Keeps the address of the [`super::super::run::Run`], in programs that need it.
pub(super) const RUN: Reg = 28;
/// The return address.
pub(super) const LINK: Reg = 30;
pub(super) const ZERO: Reg = 31;
pub(super) const SP: Reg = 31;

/// The emitter's own registers.
pub(super) const T0: Reg = 16;
pub(super) const T1: Reg = 17;
pub(super) const T2: Reg = 15;
pub(super) const T3: Reg = 14;

/// r0 has a register of its own, so that r1 to r5 lie where arguments go.
pub(super) const R0: Reg = 7;

/// Extras that callees save.
pub(super) const KEPT: u8 = 5;
/// Extras that calls change.
pub(super) const SCRATCH: u8 = 7;

/// The register of each place. The stack pointer stands for the frame pointer.
const HOME: [Reg; 24] =
    [R0, 0, 1, 2, 3, 4, 19, 20, 21, 22, SP, 9, 23, 24, 25, 26, 27, 5, 6, 8, 10, 11, 12, 13];

#[inline(always)]
pub(super) fn home(place: Place) -> Reg {
    HOME.get(place.index()).copied().unwrap_or(T3)
}

/// The places whose registers a function must save.
pub(super) const SAVED: [Place; 9] = [
    Place::R6,
    Place::R7,
    Place::R8,
    Place::R9,
    Place::extra(0),
    Place::extra(1),
    Place::extra(2),
    Place::extra(3),
    Place::extra(4),
];

/// Whether an operation is 64 bits wide.
pub(super) const W: bool = true;
pub(super) const D: bool = false;

/// Conditions.
pub(super) mod cc {
    pub(in super::super) const EQ: u8 = 0;
    pub(in super::super) const NE: u8 = 1;
    pub(in super::super) const HS: u8 = 2;
    pub(in super::super) const LO: u8 = 3;
    pub(in super::super) const MI: u8 = 4;
    pub(in super::super) const HI: u8 = 8;
    pub(in super::super) const LS: u8 = 9;
    pub(in super::super) const GE: u8 = 10;
    pub(in super::super) const LT: u8 = 11;
    pub(in super::super) const GT: u8 = 12;
    pub(in super::super) const LE: u8 = 13;
}

/// Additions and subtractions; bit 29 sets the flags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    Add = 0x0b00_0000,
    Adds = 0x2b00_0000,
    Sub = 0x4b00_0000,
    Subs = 0x6b00_0000,
}

/// Operations on bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Logic {
    And = 0x0a00_0000,
    Or = 0x2a00_0000,
    Xor = 0x4a00_0000,
    Ands = 0x6a00_0000,
}

/// How the second operand of an addition or an operation on bits is shifted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shift {
    Left = 0,
    Right = 1,
    Arithmetic = 2,
    /// Of operations on bits only.
    Rotate = 3,
}

/// Operations of two registers that have no other form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Two {
    UDiv = 0x1ac0_0800,
    SDiv = 0x1ac0_0c00,
    Lsl = 0x1ac0_2000,
    Lsr = 0x1ac0_2400,
    Asr = 0x1ac0_2800,
}

/// What a selection takes when its condition does not hold: of its second register, the value,
/// the complement, or one more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Select {
    Other = 0x1a80_0000,
    Increment = 0x1a80_0400,
    Invert = 0x5a80_0000,
}

/// What a load or store does with the rest of the register.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Store = 0,
    Load = 1,
    LoadSigned = 2,
}

/// The read-modify-write instructions of FEAT_LSE.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lse {
    Add = 0x3820_0000,
    Clear = 0x3820_1000,
    Xor = 0x3820_2000,
    Set = 0x3820_3000,
    Swap = 0x3820_8000,
}

const fn sf(wide: bool) -> u32 {
    (wide as u32) << 31
}

const fn dn(d: Reg, n: Reg) -> u32 {
    d as u32 | (n as u32) << 5
}

const fn dnm(d: Reg, n: Reg, m: Reg) -> u32 {
    dn(d, n) | (m as u32) << 16
}

/// `op d, n, #imm`, with `shifted` `lsl #12`; `imm` has 12 bits.
pub(super) const fn sum_imm(op: Sum, wide: bool, d: Reg, n: Reg, imm: u32, shifted: bool) -> u32 {
    sf(wide) | op as u32 & 0x6000_0000 | 0x1100_0000 | (shifted as u32) << 22 | imm << 10 | dn(d, n)
}

/// `op d, n, m, shift #by`
pub(super) const fn sum(op: Sum, wide: bool, d: Reg, n: Reg, m: Reg, by: (Shift, u8)) -> u32 {
    sf(wide) | op as u32 | (by.0 as u32) << 22 | (by.1 as u32) << 10 | dnm(d, n, m)
}

/// `add d, n, w<m>, uxtw #by`, or with `full` `x<m>, uxtx`, where 31 is the stack pointer.
pub(super) const fn add_extended(d: Reg, n: Reg, m: Reg, full: bool, by: u8) -> u32 {
    0x8b20_4000 | (full as u32) << 13 | (by as u32) << 10 | dnm(d, n, m)
}

/// `op d, n, m, shift #by`
pub(super) const fn logic(op: Logic, wide: bool, d: Reg, n: Reg, m: Reg, by: (Shift, u8)) -> u32 {
    sf(wide) | op as u32 | (by.0 as u32) << 22 | (by.1 as u32) << 10 | dnm(d, n, m)
}

/// `op d, n, #imm`, the immediate encoded by [`super::constant::logical`].
pub(super) const fn logic_imm(op: Logic, wide: bool, d: Reg, n: Reg, encoded: u32) -> u32 {
    sf(wide) | op as u32 & 0x6000_0000 | 0x1200_0000 | encoded << 10 | dn(d, n)
}

/// `mvn d, m`
pub(super) const fn not(wide: bool, d: Reg, m: Reg) -> u32 {
    sf(wide) | 0x2a20_0000 | dnm(d, ZERO, m)
}

/// `mov d, m`
pub(super) const fn mov(wide: bool, d: Reg, m: Reg) -> u32 {
    logic(Logic::Or, wide, d, ZERO, m, (Shift::Left, 0))
}

/// `movz d, #imm, lsl #(16 * half)`
pub(super) const fn movz(wide: bool, d: Reg, imm: u16, half: u8) -> u32 {
    sf(wide) | 0x5280_0000 | (half as u32) << 21 | (imm as u32) << 5 | d as u32
}

/// `movn d, #imm, lsl #(16 * half)`
pub(super) const fn movn(wide: bool, d: Reg, imm: u16, half: u8) -> u32 {
    sf(wide) | 0x1280_0000 | (half as u32) << 21 | (imm as u32) << 5 | d as u32
}

/// `movk d, #imm, lsl #(16 * half)`
pub(super) const fn movk(wide: bool, d: Reg, imm: u16, half: u8) -> u32 {
    sf(wide) | 0x7280_0000 | (half as u32) << 21 | (imm as u32) << 5 | d as u32
}

/// `ubfm d, n, #r, #s`
pub(super) const fn ubfm(wide: bool, d: Reg, n: Reg, r: u8, s: u8) -> u32 {
    sf(wide) | (wide as u32) << 22 | 0x5300_0000 | (r as u32) << 16 | (s as u32) << 10 | dn(d, n)
}

/// `sbfm d, n, #r, #s`
pub(super) const fn sbfm(wide: bool, d: Reg, n: Reg, r: u8, s: u8) -> u32 {
    sf(wide) | (wide as u32) << 22 | 0x1300_0000 | (r as u32) << 16 | (s as u32) << 10 | dn(d, n)
}

/// `extr d, n, m, #by`: from bit `by` on, `m` and above it `n`.
pub(super) const fn extr(wide: bool, d: Reg, n: Reg, m: Reg, by: u8) -> u32 {
    sf(wide) | (wide as u32) << 22 | 0x1380_0000 | (by as u32) << 10 | dnm(d, n, m)
}

/// `ror d, n, #by`
pub(super) const fn ror(wide: bool, d: Reg, n: Reg, by: u8) -> u32 {
    extr(wide, d, n, n, by)
}

/// `op d, n, m`
pub(super) const fn two(op: Two, wide: bool, d: Reg, n: Reg, m: Reg) -> u32 {
    sf(wide) | op as u32 | dnm(d, n, m)
}

/// `csel d, n, m, cond` and its kin: `n` if the condition holds, else what `op` makes of `m`
pub(super) const fn select(op: Select, wide: bool, d: Reg, n: Reg, m: Reg, cond: u8) -> u32 {
    sf(wide) | op as u32 | (cond as u32) << 12 | dnm(d, n, m)
}

/// `madd d, n, m, a`: `a + n * m`
pub(super) const fn madd(wide: bool, d: Reg, n: Reg, m: Reg, a: Reg) -> u32 {
    sf(wide) | 0x1b00_0000 | (a as u32) << 10 | dnm(d, n, m)
}

/// `msub d, n, m, a`: `a - n * m`
pub(super) const fn msub(wide: bool, d: Reg, n: Reg, m: Reg, a: Reg) -> u32 {
    sf(wide) | 0x1b00_8000 | (a as u32) << 10 | dnm(d, n, m)
}

/// `umulh d, n, m`: the upper half of the product.
pub(super) const fn umulh(d: Reg, n: Reg, m: Reg) -> u32 {
    0x9bc0_7c00 | dnm(d, n, m)
}

/// `rev16 d, n`
pub(super) const fn rev16(d: Reg, n: Reg) -> u32 {
    0x5ac0_0400 | dn(d, n)
}

/// `rev d, n`
pub(super) const fn rev(wide: bool, d: Reg, n: Reg) -> u32 {
    if wide { 0xdac0_0c00 | dn(d, n) } else { 0x5ac0_0800 | dn(d, n) }
}

/// `ldr t, [n, #(offset << log)]`, and its relatives; `log` is that of the size in bytes.
pub(super) const fn access(what: Access, log: u8, t: Reg, n: Reg, scaled: u32) -> u32 {
    (log as u32) << 30 | 0x3900_0000 | (what as u32) << 22 | scaled << 10 | dn(t, n)
}

/// `ldur t, [n, #offset]`, and its relatives; 9 bits of offset.
pub(super) const fn access_near(what: Access, log: u8, t: Reg, n: Reg, offset: i32) -> u32 {
    let offset = (offset as u32 & 0x1ff) << 12;
    (log as u32) << 30 | 0x3800_0000 | (what as u32) << 22 | offset | dn(t, n)
}

/// `ldr t, [n, m, lsl #log]` or without a shift, and its relatives.
pub(super) const fn access_index(what: Access, log: u8, t: Reg, n: Reg, m: Reg, by: bool) -> u32 {
    let what = (what as u32) << 22;
    (log as u32) << 30 | 0x3820_6800 | what | (by as u32) << 12 | dnm(t, n, m)
}

/// `stp t, u, [sp, #-16]!`
pub(super) const fn push_pair(t: Reg, u: Reg) -> u32 {
    0xa9bf_0000 | (u as u32) << 10 | dn(t, SP)
}

/// `ldp t, u, [sp], #16`
pub(super) const fn pop_pair(t: Reg, u: Reg) -> u32 {
    0xa8c1_0000 | (u as u32) << 10 | dn(t, SP)
}

/// `str t, [sp, #-16]!`
pub(super) const fn push(t: Reg) -> u32 {
    0xf81f_0c00 | dn(t, SP)
}

/// `ldr t, [sp], #16`
pub(super) const fn pop(t: Reg) -> u32 {
    0xf841_0400 | dn(t, SP)
}

/// `ldp t, u, [n, #offset]` of 8-byte registers; a multiple of 8 from -512 to 504.
pub(super) const fn load_pair(t: Reg, u: Reg, n: Reg, offset: i32) -> u32 {
    0xa940_0000 | ((offset as u32 / 8) & 0x7f) << 15 | (u as u32) << 10 | dn(t, n)
}

/// `ldar t, [n]`
pub(super) const fn ldar(log: u8, t: Reg, n: Reg) -> u32 {
    (log as u32) << 30 | 0x08df_fc00 | dn(t, n)
}

/// `stlr t, [n]`
pub(super) const fn stlr(log: u8, t: Reg, n: Reg) -> u32 {
    (log as u32) << 30 | 0x089f_fc00 | dn(t, n)
}

/// `ldxr t, [n]`
pub(super) const fn ldxr(wide: bool, t: Reg, n: Reg) -> u32 {
    0x885f_7c00 | (wide as u32) << 30 | dn(t, n)
}

/// `stxr s, t, [n]`, or with `release` `stlxr`.
pub(super) const fn stxr(wide: bool, release: bool, s: Reg, t: Reg, n: Reg) -> u32 {
    0x8800_7c00 | (wide as u32) << 30 | (release as u32) << 15 | dnm(t, n, s)
}

/// `ldadd s, t, [n]` and its relatives; with `ordered` in sequentially consistent order.
pub(super) const fn lse(op: Lse, wide: bool, ordered: bool, s: Reg, t: Reg, n: Reg) -> u32 {
    0x8000_0000 | (wide as u32) << 30 | op as u32 | (ordered as u32 * 3) << 22 | dnm(t, n, s)
}

/// `casal s, t, [n]`
pub(super) const fn casal(wide: bool, s: Reg, t: Reg, n: Reg) -> u32 {
    0x88e0_fc00 | (wide as u32) << 30 | dnm(t, n, s)
}

/// `dmb ish`
pub(super) const DMB: u32 = 0xd503_3bbf;
/// `ret`
pub(super) const RET: u32 = 0xd65f_03c0;
/// `b` and `bl`, without their distance.
pub(super) const B: u32 = 0x1400_0000;
pub(super) const BL: u32 = 0x9400_0000;

/// `b.cond`
pub(super) const fn b_cond(cond: u8) -> u32 {
    0x5400_0000 | cond as u32
}

/// `cbz t`, or with `nonzero` `cbnz`.
pub(super) const fn cbz(wide: bool, nonzero: bool, t: Reg) -> u32 {
    sf(wide) | 0x3400_0000 | (nonzero as u32) << 24 | t as u32
}

/// `tbz t, #bit`, or with `nonzero` `tbnz`.
pub(super) const fn tbz(nonzero: bool, t: Reg, bit: u8) -> u32 {
    let bit = bit as u32;
    0x3600_0000 | (nonzero as u32) << 24 | (bit >> 5) << 31 | (bit & 31) << 19 | t as u32
}

/// `br n`
pub(super) const fn br(n: Reg) -> u32 {
    0xd61f_0000 | (n as u32) << 5
}

/// `blr n`
pub(super) const fn blr(n: Reg) -> u32 {
    0xd63f_0000 | (n as u32) << 5
}

/// `mrs t, tpidr_el1`
pub(super) const fn thread_pointer(t: Reg) -> u32 {
    0xd538_d080 | t as u32
}

/// `isb`: what follows is not done before what stands before.
pub(super) const ISB: u32 = 0xd503_3fdf;

/// `mrs t, cntvct_el0`
pub(super) const fn counter(t: Reg) -> u32 {
    0xd53b_e040 | t as u32
}

/// `adr d, #distance`; 21 bits.
pub(super) const fn adr(d: Reg, distance: i32) -> u32 {
    let distance = distance as u32;
    0x1000_0000 | (distance & 3) << 29 | (distance >> 2 & 0x7_ffff) << 5 | d as u32
}

/// Which bits of an instruction are its distance, in instructions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// `b`, `bl`
    Imm26,
    /// `b.cond`, `cbz`
    Imm19,
    /// `tbz`
    Imm14,
}

impl Field {
    const fn place(self) -> (u32, u32) {
        match self {
            Field::Imm26 => (26, 0),
            Field::Imm19 => (19, 5),
            Field::Imm14 => (14, 5),
        }
    }

    /// Whether a distance in bytes can be written.
    pub(super) const fn reaches(self, distance: i64) -> bool {
        let (bits, _) = self.place();
        let half = 1 << (bits + 1);
        -half <= distance && distance < half
    }

    /// The instruction with its distance.
    pub(super) const fn with(self, word: u32, distance: i64) -> u32 {
        let (bits, shift) = self.place();
        let mask = (1 << bits) - 1;
        word & !(mask << shift) | ((distance >> 2) as u32 & mask) << shift
    }
}

/// Writes instructions.
pub(super) trait Asm {
    fn word(&mut self, word: u32);
}

impl Asm for Emission {
    #[inline(always)]
    fn word(&mut self, word: u32) {
        self.bytes.extend_from_slice(&word.to_le_bytes());
    }
}
