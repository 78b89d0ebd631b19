//! Encodings of the instructions that the emitter uses (Intel SDM, volume 2).

use super::super::emitter::Emission;
use super::super::ir::{Mem, PLACES, Place};

/// A machine register, by its number.
pub(super) type Reg = u8;

pub(super) const RAX: Reg = 0;
pub(super) const RCX: Reg = 1;
pub(super) const RDX: Reg = 2;
pub(super) const RBX: Reg = 3;
pub(super) const RSP: Reg = 4;
pub(super) const RBP: Reg = 5;
pub(super) const RSI: Reg = 6;
pub(super) const RDI: Reg = 7;
pub(super) const R8: Reg = 8;
pub(super) const R9: Reg = 9;
pub(super) const R10: Reg = 10;
pub(super) const R11: Reg = 11;
pub(super) const R12: Reg = 12;
pub(super) const R13: Reg = 13;
pub(super) const R14: Reg = 14;
pub(super) const R15: Reg = 15;

/// The register of each place; rcx and rdx are the emitter's own. The stack pointer stands for
/// the frame pointer.
const HOME: [Reg; PLACES] = {
    let of = [RAX, RDI, RSI, R10, R9, R8, RBX, R13, R14, R15, RSP, R11, RBP, R12];
    // A table for every number that there can be needs no check.
    let mut all = [R11; PLACES];
    let mut place = 0;
    while place < of.len() {
        all[place] = of[place];
        place += 1;
    }
    all
};

#[inline(always)]
pub(super) fn home(place: Place) -> Reg {
    HOME[place.index()]
}

/// The places whose registers a function must save, with the registers in the order in which
/// they are pushed.
pub(super) const SAVED: [(Place, Reg); 6] = [
    (Place::extra(0), RBP),
    (Place::extra(1), R12),
    (Place::R6, RBX),
    (Place::R7, R13),
    (Place::R8, R14),
    (Place::R9, R15),
];

/// Whether an operation is 64 bits wide.
pub(super) const W: bool = true;
pub(super) const D: bool = false;

/// Opcodes, in the order of their bytes: 0x..0f is the two-byte map.
pub(super) mod op {
    pub(in super::super) const ADD: u32 = 0x01;
    pub(in super::super) const OR: u32 = 0x09;
    pub(in super::super) const AND: u32 = 0x21;
    pub(in super::super) const SUB: u32 = 0x29;
    pub(in super::super) const XOR: u32 = 0x31;
    pub(in super::super) const CMP: u32 = 0x39;
    pub(in super::super) const TEST: u32 = 0x85;
    pub(in super::super) const XCHG: u32 = 0x87;
    pub(in super::super) const MOV_STORE8: u32 = 0x88;
    pub(in super::super) const MOV: u32 = 0x89;
    pub(in super::super) const MOV_LOAD: u32 = 0x8b;
    pub(in super::super) const LEA: u32 = 0x8d;
    pub(in super::super) const MOVSXD: u32 = 0x63;
    pub(in super::super) const SHRD: u32 = 0xac0f;
    pub(in super::super) const IMUL: u32 = 0xaf0f;
    /// With no condition yet.
    pub(in super::super) const CMOV: u32 = 0x400f;
    pub(in super::super) const MOVZX8: u32 = 0xb60f;
    pub(in super::super) const MOVZX16: u32 = 0xb70f;
    pub(in super::super) const MOVSX8: u32 = 0xbe0f;
    pub(in super::super) const MOVSX16: u32 = 0xbf0f;
    pub(in super::super) const XADD: u32 = 0xc10f;
    pub(in super::super) const CMPXCHG: u32 = 0xb10f;
}

/// A VEX instruction: `map` 2 for 0f38, 3 for 0f3a; `prefix` 0 to 3 for none, 66, f3, f2.
#[derive(Clone, Copy)]
pub(super) struct Vex {
    pub(super) map: u8,
    pub(super) prefix: u8,
    pub(super) opcode: u8,
}

pub(super) const MULX: Vex = Vex { map: 2, prefix: 3, opcode: 0xf6 };
pub(super) const RORX: Vex = Vex { map: 3, prefix: 3, opcode: 0xf0 };
pub(super) const SHLX: Vex = Vex { map: 2, prefix: 1, opcode: 0xf7 };
pub(super) const SHRX: Vex = Vex { map: 2, prefix: 3, opcode: 0xf7 };
pub(super) const SARX: Vex = Vex { map: 2, prefix: 2, opcode: 0xf7 };

/// What operands add to an instruction, in the bytes of a number: bits of the REX prefix, ModRM,
/// SIB, and how many of the latter two there are; from bit 26 on whether a displacement must
/// follow.
type Operands = u32;

/// One byte behind the opcode, or two.
const ONE: Operands = 1 << 24;
const TWO: Operands = 2 << 24;
const LENGTH: Operands = 3 << 24;

/// The operand that the opcode calls reg, or an extension of the opcode.
const REG: [Operands; 16] = operands(2, 11, 0);
/// The operand that it calls r/m, as a register.
const RM: [Operands; 16] = operands(0, 8, ONE | 0xc0 << 8);
/// An index.
const INDEX: [Operands; 16] = operands(1, 19, 0);
/// A base beside an index: r/m says that there is a SIB byte.
const BASE_OF_SUM: [Operands; 16] = {
    let mut all = operands(0, 16, TWO | 4 << 8);
    // rbp and r13 as a base always have a displacement.
    all[RBP as usize] |= 1 << 26;
    all[R13 as usize] |= 1 << 26;
    all
};
/// A base alone. rsp and r12 need the SIB byte too, with no index.
const BASE: [Operands; 16] = {
    let mut all = operands(0, 8, ONE);
    all[RBP as usize] |= 1 << 26;
    all[R13 as usize] |= 1 << 26;
    all[RSP as usize] = TWO | 4 << 8 | 0x24 << 16;
    all[R12 as usize] = TWO | 4 << 8 | 0x24 << 16 | 1;
    all
};

/// For each register: its upper bit in the prefix, the others elsewhere, and `more`.
const fn operands(prefix: u32, at: u32, more: Operands) -> [Operands; 16] {
    let mut all = [more; 16];
    let mut reg = 0;
    while reg < all.len() {
        all[reg] |= (reg as u32 >> 3) << prefix | (reg as u32 & 7) << at;
        reg += 1;
    }
    all
}

#[inline(always)]
fn part(of: &[Operands; 16], reg: Reg) -> Operands {
    of[reg as usize % 16]
}

/// A memory operand, as what it adds to an instruction.
#[derive(Clone, Copy)]
pub(super) struct Address {
    operands: Operands,
    offset: i32,
}

impl Address {
    #[inline(always)]
    pub(super) fn at(base: Reg, offset: i32) -> Self {
        Self { operands: part(&BASE, base), offset }
    }

    /// `base + (index << shift)`; the machine has no index in the stack pointer's place.
    #[inline(always)]
    pub(super) fn sum(base: Reg, index: Reg, shift: u8) -> Self {
        let operands = part(&BASE_OF_SUM, base) | part(&INDEX, index) | u32::from(shift) << 22;
        Self { operands, offset: 0 }
    }

    /// The operand of an operation's memory; the frame lies `frame` bytes above the stack pointer.
    #[inline(always)]
    pub(super) fn of(mem: &Mem, frame: i32) -> Self {
        let above = if mem.base == Place::FRAME { frame } else { 0 };
        let offset = mem.offset.wrapping_add(above);
        match mem.index {
            None => Self::at(home(mem.base), offset),
            Some(index) => Self { offset, ..Self::sum(home(mem.base), home(index), mem.shift) },
        }
    }
}

/// The prefix, where it is needed, the opcode, of one byte or two, and what follows it, with the
/// number of bytes. Which registers a program uses cannot be foreseen, so this has no branches, as
/// what it is used by has few.
#[inline(always)]
fn instruction(op: u32, wide: bool, operands: Operands, behind: u64, force: bool) -> (u64, usize) {
    let rex = 0x40 | u64::from(wide) << 3 | u64::from(operands & 7);
    let opcode = if op > 0xff { 2 } else { 1 };
    let bytes = rex | u64::from(op) << 8 | behind << (8 + 8 * opcode);
    let count = opcode + ((operands & LENGTH) >> 24) as usize;
    if rex == 0x40 && !force { (bytes >> 8, count) } else { (bytes, count + 1) }
}

/// An instruction between two registers.
#[inline(always)]
fn rr_bytes(op: u32, wide: bool, reg: Reg, rm: Reg, force: bool) -> (u64, usize) {
    let operands = part(&REG, reg) | part(&RM, rm);
    instruction(op, wide, operands, u64::from(operands >> 8 & 0xff), force)
}

/// Writes instructions.
pub(super) trait Asm {
    /// The lower `count` bytes of `bytes`.
    fn put(&mut self, bytes: u64, count: usize);
    fn put32(&mut self, value: i32);

    /// `op reg, reg`: `rm` is the operand that the opcode calls r/m.
    #[inline(always)]
    fn rr(&mut self, op: u32, wide: bool, reg: Reg, rm: Reg) {
        let (bytes, count) = rr_bytes(op, wide, reg, rm, false);
        self.put(bytes, count);
    }

    /// The same; with a REX prefix in any case, which makes byte registers of the low bytes of rsi
    /// and rdi, if `force`.
    #[inline(always)]
    fn rr_rex(&mut self, op: u32, wide: bool, reg: Reg, rm: Reg, force: bool) {
        let (bytes, count) = rr_bytes(op, wide, reg, rm, force);
        self.put(bytes, count);
    }

    /// The same with a constant of one byte behind it.
    #[inline(always)]
    fn rr_imm8(&mut self, op: u32, wide: bool, reg: Reg, rm: Reg, imm: u8) {
        let (bytes, count) = rr_bytes(op, wide, reg, rm, false);
        self.put(bytes | u64::from(imm) << (8 * count), count + 1);
    }

    /// `op` between a register (or opcode extension) and memory.
    #[inline]
    fn rm(&mut self, op: u32, wide: bool, reg: Reg, at: Address) {
        self.rm_rex(op, wide, reg, at, false);
    }

    #[inline(always)]
    fn rm_rex(&mut self, op: u32, wide: bool, reg: Reg, at: Address, force: bool) {
        let operands = part(&REG, reg) | at.operands;
        let behind = u64::from(operands >> 8 & 0xffff);
        match i8::try_from(at.offset) {
            Ok(offset) => {
                let displaced = offset != 0 || operands >> 26 != 0;
                let length = (operands & LENGTH) >> 21;
                let behind = behind | u64::from(displaced) << 6 | u64::from(offset as u8) << length;
                let (bytes, count) = instruction(op, wide, operands, behind, force);
                // What stands behind the bytes that count is overwritten by the next instruction.
                self.put(bytes, count + usize::from(displaced));
            }
            Err(_) => {
                let (bytes, count) = instruction(op, wide, operands, behind | 0x80, force);
                self.put(bytes, count);
                self.put32(at.offset);
            }
        }
    }

    /// One of the eight operations of group 1 with a constant; `extension` is its number.
    fn ri(&mut self, extension: u8, wide: bool, rm: Reg, imm: i32) {
        if let Ok(short) = i8::try_from(imm) {
            self.rr_imm8(0x83, wide, extension, rm, short as u8);
        } else if rm == RAX {
            let opcode = u64::from(extension << 3 | 5);
            if wide {
                self.put(opcode << 8 | 0x48, 2)
            } else {
                self.put(opcode, 1)
            }
            self.put32(imm);
        } else {
            self.rr(0x81, wide, extension, rm);
            self.put32(imm);
        }
    }

    /// `mov`, of 64 bits, or of 32 that clear the upper half.
    #[inline]
    fn mov(&mut self, wide: bool, dst: Reg, src: Reg) {
        self.rr(op::MOV, wide, src, dst);
    }

    /// `mov` if the registers differ.
    #[inline]
    fn mov_if(&mut self, wide: bool, dst: Reg, src: Reg) {
        if dst != src {
            self.mov(wide, dst, src);
        }
    }

    /// A constant in the shortest way that leaves the flags, except zero if they may change.
    fn constant(&mut self, dst: Reg, value: u64, flags_free: bool) {
        if value == 0 && flags_free {
            self.rr(op::XOR, D, dst, dst);
        } else if u32::try_from(value).is_ok() {
            if dst > 7 {
                self.put(u64::from(0xb8 | dst & 7) << 8 | 0x41, 2);
            } else {
                self.put(u64::from(0xb8 | dst), 1);
            }
            self.put32(value as u32 as i32);
        } else if let Ok(imm) = i32::try_from(value as i64) {
            self.rr(0xc7, W, 0, dst);
            self.put32(imm);
        } else {
            self.put(u64::from(0xb8 | dst & 7) << 8 | 0x48 | u64::from(dst >> 3), 2);
            self.put(value, 8);
        }
    }

    /// A shift or rotation by a constant: 0 rol, 4 shl, 5 shr, 7 sar.
    fn shift(&mut self, extension: u8, wide: bool, dst: Reg, amount: u8) {
        if amount == 1 {
            self.rr(0xd1, wide, extension, dst);
        } else {
            self.rr_imm8(0xc1, wide, extension, dst, amount);
        }
    }

    /// A VEX instruction with three registers.
    fn vex(&mut self, vex: Vex, wide: bool, reg: Reg, vvvv: Reg, rm: Reg) {
        let Vex { map, prefix, opcode } = vex;
        let second = u64::from(!(reg >> 3) & 1) << 7 | 1 << 6 | u64::from(!(rm >> 3) & 1) << 5;
        let third = u64::from(wide) << 7 | u64::from(!vvvv & 15) << 3 | u64::from(prefix);
        let modrm = 0xc0 | u64::from(reg & 7) << 3 | u64::from(rm & 7);
        let bytes = 0xc4
            | (second | u64::from(map)) << 8
            | third << 16
            | u64::from(opcode) << 24
            | modrm << 32;
        self.put(bytes, 5);
    }

    fn push(&mut self, reg: Reg) {
        if reg > 7 {
            self.put(u64::from(0x50 | reg & 7) << 8 | 0x41, 2)
        } else {
            self.put(u64::from(0x50 | reg), 1)
        }
    }

    fn pop(&mut self, reg: Reg) {
        if reg > 7 {
            self.put(u64::from(0x58 | reg & 7) << 8 | 0x41, 2)
        } else {
            self.put(u64::from(0x58 | reg), 1)
        }
    }
}

impl Asm for Emission {
    #[inline(always)]
    fn put(&mut self, bytes: u64, count: usize) {
        let end = self.bytes.len() + count;
        self.bytes.extend_from_slice(&bytes.to_le_bytes());
        self.bytes.truncate(end);
    }

    #[inline(always)]
    fn put32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }
}
