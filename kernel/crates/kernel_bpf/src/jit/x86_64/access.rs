//! Loads, stores and atomics; arithmetic and comparisons that take an operand from memory.

use super::super::emitter::Emission;
use super::super::ir::{Mem, Node, Op, Place, Source};
use super::asm::{Address, Asm, D, RAX, RCX, RDX, Reg, W, home, op};
use super::flow::code;
use super::{X86_64, ZeroFlag};
use crate::insn::{AluOp, AtomicOp, Cond, Size, Width};

impl X86_64 {
    // It is called in one place.
    #[inline(always)]
    pub(super) fn load(&self, size: Size, signed: bool, dst: Place, mem: &Mem, out: &mut Emission) {
        let (opcode, wide) = match (size, signed) {
            (Size::B, false) => (op::MOVZX8, D),
            (Size::H, false) => (op::MOVZX16, D),
            (Size::W, false) => (op::MOV_LOAD, D),
            (Size::B, true) => (op::MOVSX8, W),
            (Size::H, true) => (op::MOVSX16, W),
            (Size::W, true) => (op::MOVSXD, W),
            (Size::DW, _) => (op::MOV_LOAD, W),
        };
        out.rm(opcode, wide, home(dst), Address::of(mem, self.frame));
    }

    // It is called in one place.
    #[inline(always)]
    pub(super) fn store(&self, size: Size, mem: &Mem, src: Source, out: &mut Emission) {
        let at = Address::of(mem, self.frame);
        if size == Size::H {
            out.put(0x66, 1);
        }
        match (src, size) {
            (Source::Place(src), Size::B) => {
                let src = home(src);
                out.rm_rex(op::MOV_STORE8, D, src, at, src > 3);
            }
            (Source::Place(src), _) => out.rm(op::MOV, size == Size::DW, home(src), at),
            (Source::Imm(imm), Size::B) => {
                out.rm(0xc6, D, 0, at);
                out.put(u64::from(imm as u8), 1);
            }
            (Source::Imm(imm), Size::H) => {
                out.rm(0xc7, D, 0, at);
                out.put(u64::from(imm as u16), 2);
            }
            (Source::Imm(imm), _) => {
                out.rm(0xc7, size == Size::DW, 0, at);
                out.put32(imm);
            }
        }
    }

    /// `rax_live`: r0 is read later. Plain loads and stores are ordered as acquire and release
    /// ask for on this machine.
    pub(super) fn atomic(
        &self,
        (operation, width, mem, src): (AtomicOp, Width, Mem, Place),
        rax_live: bool,
        out: &mut Emission,
    ) {
        let wide = width == Width::W64;
        let at = Address::of(&mem, self.frame);
        let reg = home(src);
        let based_on_rax = mem.base == Place::R0;
        let lock = |out: &mut Emission| out.put(0xf0, 1);
        let opcode = match operation {
            AtomicOp::Add { fetch: true } => {
                lock(out);
                out.rm(op::XADD, wide, reg, at);
                return;
            }
            AtomicOp::Xchg => {
                out.rm(op::XCHG, wide, reg, at);
                return;
            }
            AtomicOp::CmpXchg => {
                lock(out);
                out.rm(op::CMPXCHG, wide, reg, at);
                if !wide {
                    // When it stores, it does not write eax.
                    out.mov(D, RAX, RAX);
                }
                return;
            }
            AtomicOp::Add { .. } => op::ADD,
            AtomicOp::Or { .. } => op::OR,
            AtomicOp::And { .. } => op::AND,
            AtomicOp::Xor { .. } => op::XOR,
        };
        let fetch = matches!(
            operation,
            AtomicOp::Or { fetch: true }
                | AtomicOp::And { fetch: true }
                | AtomicOp::Xor { fetch: true }
        );
        if !fetch {
            lock(out);
            out.rm(opcode, wide, reg, at);
            return;
        }
        // A loop around cmpxchg, which wants rax.
        let uses_rax = reg == RAX || based_on_rax;
        if uses_rax || rax_live {
            out.mov(W, RCX, RAX);
        }
        let moved = |reg: Reg| if reg == RAX { RCX } else { reg };
        let at = if based_on_rax { Address::at(RCX, mem.offset) } else { at };
        out.rm(op::MOV_LOAD, wide, RAX, at);
        let again = out.bytes.len();
        out.mov(wide, RDX, RAX);
        out.rr(opcode, wide, moved(reg), RDX);
        lock(out);
        out.rm(op::CMPXCHG, wide, RDX, at);
        let distance = again as i64 - out.bytes.len() as i64 - 2;
        out.put(0x75 | u64::from(distance as u8) << 8, 2);
        // In 32 bits this clears the upper half, which cmpxchg may have left.
        out.mov(wide, reg, RAX);
        if reg != RAX && rax_live {
            out.mov(W, RAX, RCX);
        }
    }

    /// A load whose value only the next operation reads, as an operand of that operation.
    /// Returns how many nodes are done.
    #[inline]
    pub(super) fn with_memory(&mut self, nodes: &[Node], out: &mut Emission) -> Option<usize> {
        let [Node { op: Op::Load { size, signed: false, dst: loaded, mem, .. }, .. }, next, ..] =
            nodes
        else {
            return None;
        };
        let gone = next.live & loaded.bit() == 0;
        match next.op {
            Op::Alu { width, op, dst, a, b: Source::Place(b), .. }
                if matches!((size, width), (Size::DW, Width::W64) | (Size::W, Width::W32))
                    && (gone || dst == *loaded) =>
            {
                self.alu_memory((width, op, dst), (a, b), (*loaded, mem), out)
            }
            Op::Branch { width, cond, a, b, target } if gone => {
                let code = self.compare_memory((*size, *loaded, mem), (width, cond, a, b), out)?;
                self.branch_if(code, target, out);
                Some(2)
            }
            _ => None,
        }
    }

    fn alu_memory(
        &mut self,
        (width, operation, dst): (Width, AluOp, Place),
        (a, b): (Place, Place),
        (loaded, mem): (Place, &Mem),
        out: &mut Emission,
    ) -> Option<usize> {
        // The opcodes that take their second operand from memory.
        let opcode = match operation {
            AluOp::Add => 0x03,
            AluOp::Sub => 0x2b,
            AluOp::And => 0x23,
            AluOp::Or => 0x0b,
            AluOp::Xor => 0x33,
            AluOp::Mul => op::IMUL,
            _ => return None,
        };
        let other = if b == loaded && a != loaded {
            a
        } else if a == loaded && b != loaded && operation != AluOp::Sub {
            b
        } else {
            return None;
        };
        if dst != other && mem.reads() & dst.bit() != 0 {
            return None;
        }
        let wide = width == Width::W64;
        out.mov_if(wide, home(dst), home(other));
        out.rm(opcode, wide, home(dst), Address::of(mem, self.frame));
        if operation != AluOp::Mul {
            self.flags = ZeroFlag::of(dst, width);
        }
        Some(2)
    }

    /// Compares memory; returns the condition code to jump with.
    fn compare_memory(
        &self,
        (size, loaded, mem): (Size, Place, &Mem),
        (width, cond, a, b): (Width, Cond, Place, Source),
        out: &mut Emission,
    ) -> Option<u8> {
        if a != loaded || cond == Cond::Set {
            return None;
        }
        let at = Address::of(mem, self.frame);
        let full = matches!((size, width), (Size::DW, Width::W64) | (Size::W, Width::W32));
        let unsigned =
            matches!(cond, Cond::Eq | Cond::Ne | Cond::Gt | Cond::Ge | Cond::Lt | Cond::Le);
        match b {
            Source::Place(b) if full && b != loaded => {
                out.rm(op::CMP, size == Size::DW, home(b), at);
            }
            Source::Imm(imm) if full || size == Size::W && unsigned && imm >= 0 => {
                let wide = size == Size::DW;
                match i8::try_from(imm) {
                    Ok(short) => {
                        out.rm(0x83, wide, 7, at);
                        out.put(u64::from(short as u8), 1);
                    }
                    Err(_) => {
                        out.rm(0x81, wide, 7, at);
                        out.put32(imm);
                    }
                }
            }
            Source::Imm(imm) if size == Size::B && unsigned && (0..256).contains(&imm) => {
                out.rm(0x80, D, 7, at);
                out.put(imm as u64, 1);
            }
            _ => return None,
        }
        Some(code(cond))
    }
}
