//! Loads, stores and atomics.

use super::super::emitter::Emission;
use super::super::ir::{Mem, Place, Source};
use super::Aarch64;
use super::asm::{
    Access, Asm, B, D, DMB, Field, Logic, Lse, R0, Reg, Shift, Sum, T0, T1, T2, T3, W, ZERO,
    access, access_index, access_near, add_extended, b_cond, casal, cbz, cc, home, ldar, ldxr,
    logic, lse, mov, not, stlr, stxr, sum,
};
use super::constant::Constants;
use crate::insn::{AtomicOp, Size, Width};

/// The logarithm of a size in bytes.
pub(super) const fn log(size: Size) -> u8 {
    match size {
        Size::B => 0,
        Size::H => 1,
        Size::W => 2,
        Size::DW => 3,
    }
}

/// Whether one instruction reaches `offset`: 9 bits with a sign, or 12 in units of the size.
pub(super) const fn reaches(offset: i64, size: Size) -> bool {
    let log = log(size);
    -256 <= offset && offset < 256
        || 0 <= offset && offset < 4096 << log && offset & ((1 << log) - 1) == 0
}

impl Aarch64 {
    /// The base register of a memory operand with the stack pointer's way to the frame pointer in
    /// the offset.
    fn resolve(&self, mem: &Mem) -> (Reg, i64) {
        let frame = if mem.base == Place::FRAME { self.frame } else { 0 };
        (home(mem.base), i64::from(mem.offset) + i64::from(frame))
    }

    /// The memory as a register that points there.
    fn pointer(&self, mem: &Mem, out: &mut Emission) -> Reg {
        let (mut base, offset) = self.resolve(mem);
        if let Some(index) = mem.index {
            out.word(add_extended(T1, base, home(index), W, mem.shift));
            base = T1;
        }
        if offset == 0 && mem.base != Place::FRAME {
            return base;
        }
        out.add(W, T1, base, offset);
        T1
    }

    /// A load or store with whatever address.
    fn transfer(&self, what: Access, size: Size, t: Reg, mem: &Mem, out: &mut Emission) {
        let log = log(size);
        let (mut base, offset) = self.resolve(mem);
        if let Some(index) = mem.index {
            if offset == 0 && (mem.shift == 0 || mem.shift == log) && mem.base != Place::FRAME {
                out.word(access_index(what, log, t, base, home(index), mem.shift != 0));
                return;
            }
            out.word(add_extended(T1, base, home(index), W, mem.shift));
            base = T1;
        }
        let units = offset >> log;
        if (0..4096).contains(&units) && units << log == offset {
            out.word(access(what, log, t, base, units as u32));
        } else if (-256..256).contains(&offset) {
            out.word(access_near(what, log, t, base, offset as i32));
        } else {
            out.add(W, T1, base, offset);
            out.word(access(what, log, t, T1, 0));
        }
    }

    pub(super) fn load(
        &self,
        size: Size,
        (signed, acquire): (bool, bool),
        dst: Place,
        mem: &Mem,
        out: &mut Emission,
    ) {
        let t = home(dst);
        if acquire {
            let at = self.pointer(mem, out);
            out.word(ldar(log(size), t, at));
            return;
        }
        let what = if signed && size != Size::DW { Access::LoadSigned } else { Access::Load };
        self.transfer(what, size, t, mem, out);
    }

    pub(super) fn store(
        &self,
        size: Size,
        release: bool,
        mem: &Mem,
        src: Source,
        out: &mut Emission,
    ) {
        let value = match src {
            Source::Place(src) => home(src),
            Source::Imm(0) => ZERO,
            Source::Imm(imm) => {
                // Only the bits that are stored matter.
                let bits = match size {
                    Size::B => u64::from(imm as u8),
                    Size::H => u64::from(imm as u16),
                    Size::W => u64::from(imm as u32),
                    Size::DW => i64::from(imm) as u64,
                };
                out.constant(T2, bits);
                T2
            }
        };
        if release {
            let at = self.pointer(mem, out);
            out.word(stlr(log(size), value, at));
        } else {
            self.transfer(Access::Store, size, value, mem, out);
        }
    }

    /// Operations that fetch are sequentially consistent, the others not ordered (RFC 9669,
    /// section 5.3, and Linux's memory model for `atomic_add` and `atomic_fetch_add`).
    pub(super) fn atomic(
        &self,
        (operation, width, mem, src): (AtomicOp, Width, Mem, Place),
        out: &mut Emission,
    ) {
        let wide = width == Width::W64;
        let (at, s) = (self.pointer(&mem, out), home(src));
        if self.lse {
            atomic_lse(operation, wide, s, at, out);
        } else {
            atomic_loop(operation, wide, s, at, out);
        }
    }
}

/// Whether the old value is fetched.
const fn fetches(operation: AtomicOp) -> bool {
    match operation {
        AtomicOp::Add { fetch }
        | AtomicOp::Or { fetch }
        | AtomicOp::And { fetch }
        | AtomicOp::Xor { fetch } => fetch,
        AtomicOp::Xchg | AtomicOp::CmpXchg => true,
    }
}

fn atomic_lse(operation: AtomicOp, wide: bool, s: Reg, at: Reg, out: &mut Emission) {
    let fetch = fetches(operation);
    let to = if fetch { s } else { ZERO };
    let mut operand = s;
    let op = match operation {
        AtomicOp::Add { .. } => Lse::Add,
        AtomicOp::Or { .. } => Lse::Set,
        AtomicOp::Xor { .. } => Lse::Xor,
        AtomicOp::And { .. } => {
            out.word(not(wide, T0, s));
            operand = T0;
            Lse::Clear
        }
        AtomicOp::Xchg => Lse::Swap,
        AtomicOp::CmpXchg => return out.word(casal(wide, R0, s, at)),
    };
    out.word(lse(op, wide, fetch, operand, to, at));
}

/// A loop of exclusive loads and stores; where it fetches, the store releases and a barrier
/// follows, which together order as the Linux kernel does.
fn atomic_loop(operation: AtomicOp, wide: bool, s: Reg, at: Reg, out: &mut Emission) {
    const OLD: Reg = T0;
    const NEW: Reg = T2;
    const FAILED: Reg = T3;
    let fetch = fetches(operation);
    let again = out.bytes.len();
    out.word(ldxr(wide, OLD, at));
    let none = (Shift::Left, 0);
    let mut new = NEW;
    let mut different = None;
    match operation {
        AtomicOp::Add { .. } => out.word(sum(Sum::Add, wide, NEW, OLD, s, none)),
        AtomicOp::Or { .. } => out.word(logic(Logic::Or, wide, NEW, OLD, s, none)),
        AtomicOp::And { .. } => out.word(logic(Logic::And, wide, NEW, OLD, s, none)),
        AtomicOp::Xor { .. } => out.word(logic(Logic::Xor, wide, NEW, OLD, s, none)),
        AtomicOp::Xchg => new = s,
        AtomicOp::CmpXchg => {
            out.word(sum(Sum::Subs, wide, ZERO, OLD, R0, none));
            different = Some(out.bytes.len());
            out.word(B);
            new = s;
        }
    }
    out.word(stxr(wide, fetch, FAILED, new, at));
    let back = again as i64 - out.bytes.len() as i64;
    out.word(Field::Imm19.with(cbz(D, true, FAILED), back));
    if let Some(at) = different {
        let distance = (out.bytes.len() - at) as i64;
        let branch = Field::Imm19.with(b_cond(cc::NE), distance);
        if let Some(word) = out.bytes.get_mut(at..at + 4) {
            word.copy_from_slice(&branch.to_le_bytes());
        }
    }
    if fetch {
        out.word(DMB);
        // What is 32 bits wide clears the upper half.
        out.word(mov(wide, if operation == AtomicOp::CmpXchg { R0 } else { s }, OLD));
    }
}
