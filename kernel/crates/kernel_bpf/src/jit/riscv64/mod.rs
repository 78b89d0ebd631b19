//! The emitter for RISC-V with 64 bits: RV64IMA, with Zba and Zbb where the CPU has them.
//!
//! r1 to r5 are where the calling convention has the first five arguments, r0 in a5, where
//! helpers take their sixth; s11 keeps the address of the [`super::run::Run`]; t1 to t3 and a7
//! are the emitter's own. `asm` has the encodings, `constant` what immediates can be; `alu`,
//! `access`, `jump` and `flow` the operations; `fuse` what two operations do at once.
//!
//! The machine's operations of 32 bits extend their results with the sign, where BPF wants zeros.
//! That is mended only in places whose upper halves are read later, as [`Node::wide`] says; and
//! which upper halves are known is remembered within a basic block.
//!
//! A frame, from its top: the saved registers, and the function's BPF stack.

#![forbid(unsafe_code)]

mod access;
mod alu;
mod asm;
mod constant;
mod flow;
mod fuse;
mod jump;
#[cfg(test)]
#[cfg(feature = "host-jit")]
mod tests;

use super::emitter::{Context, Emission, Emitter, Outside};
use super::ir::{Mem, Node, Op, Place};
use super::repeat;
use crate::insn::Size;
use alu::Upper;
use asm::{R0, fits};

/// The emitter for RISC-V.
#[derive(Debug)]
pub struct Riscv64 {
    zba: bool,
    zbb: bool,
    /// Bytes from the stack pointer to where the frame pointer points.
    frame: i32,
    /// Bytes of the stack pointer's way down.
    room: i32,
    /// The registers that the function saves, one bit each.
    saved: u32,
    /// In the main function.
    main: bool,
    /// Places whose upper halves are read after the operation.
    wide: u32,
    /// Places whose upper halves are zero.
    zeros: u32,
    /// Places whose upper halves repeat the sign of the lower ones.
    signs: u32,
}

impl Riscv64 {
    fn forget(&mut self) {
        self.zeros = 0;
        self.signs = 0;
    }
}

impl Emitter for Riscv64 {
    const EXTRAS_KEPT: u8 = asm::KEPT;
    const EXTRAS_SCRATCH: u8 = asm::SCRATCH;
    const WANTS_WIDE: bool = true;
    const COMPARES_PLACES: bool = true;

    #[inline]
    fn addresses(mem: &Mem, _: Size) -> bool {
        // A frame takes less than a kilobyte.
        let frame = if mem.base == Place::FRAME { 1024 } else { 0 };
        mem.index.is_none() && fits(i64::from(mem.offset) + frame)
    }

    fn new(context: &Context<'_>) -> Self {
        Self {
            zba: context.machine.zba,
            zbb: context.machine.zbb,
            frame: 0,
            room: 0,
            saved: 0,
            main: true,
            wide: 0,
            zeros: 0,
            signs: 0,
        }
    }

    fn enter(&mut self, context: &Context<'_>, index: u32, out: &mut Emission) {
        self.begin(context, index, out);
    }

    fn emit(
        &mut self,
        context: &Context<'_>,
        nodes: &[Node],
        out: &mut Emission,
    ) -> Result<usize, &'static str> {
        let Some(node) = nodes.first() else { return Ok(0) };
        if let Some(count) = self.fused(nodes, out) {
            return Ok(count);
        }
        self.wide = node.wide;
        match node.op {
            Op::Nop | Op::Label | Op::Enter { .. } => {}
            Op::Move { width, dst, src } => self.copy(width, dst, src, out),
            Op::Constant { dst, value } => self.load_constant(dst, value, out),
            Op::Alu { width, op, dst, a, b, nonzero } => {
                self.alu((width, op, nonzero), dst, a, b, out);
            }
            Op::Negate { width, dst, src } => self.negate(width, dst, src, out),
            Op::SignExtend { width, dst, src, from } => {
                self.sign_extend(width, dst, src, from, out);
            }
            Op::Truncate { dst, src, size } => self.truncate(dst, src, size, out),
            Op::Swap { dst, src, bits } => self.swap(dst, src, bits, out),
            Op::Rotate { width, dst, src, left } => self.rotate(width, dst, src, left, out),
            Op::Load { size, signed, acquire, dst, mem } => {
                self.load(size, (signed, acquire), dst, &mem, out);
            }
            Op::Store { size, release, mem, src } => self.store(size, release, &mem, src, out),
            Op::Atomic { op, width, mem, src } => self.atomic((op, width, mem, src), out),
            Op::Jump { target, tail } => repeat::goto(self, target, tail, out),
            Op::Rounds { start, more } => repeat::rounds(start, more, out),
            Op::Branch { width, cond, a, b, target } => {
                self.branch((width, cond, a, b, target), out);
            }
            Op::Select { .. } => return Err("a move under a condition"),
            Op::MayGoto { target } => self.may_goto(target, out),
            Op::Call { function, .. } => self.call(context, function, out),
            Op::TailCall { function } => self.tail_call(context, function, out),
            Op::Note { index, src } => self.note(index, src, out),
            Op::FunctionAddress { dst, function } => self.function_address(dst, function, out),
            Op::CallLocal { function } => self.call_local(function, out),
            Op::Lookup { array } => {
                return self.lookup(context, nodes, array, out).ok_or("an array of this size");
            }
            Op::CpuId => {
                let offset = context.intrinsics.cpu_id.ok_or("the number of the CPU")?;
                self.cpu_id(offset, R0, out);
                self.done(Place::R0, Upper::Both, out);
            }
            Op::Clock { factor } => self.clock(factor, out),
            Op::LeaveIfNegative => self.leave_if_negative(out),
            Op::Exit => self.leave(out),
        }
        Ok(1)
    }

    fn trampoline(&mut self, out: &mut Emission) {
        self.enter_callback(out);
    }

    fn label(&mut self, node: &Node) {
        self.forget();
        // What is read later has been made right on every way.
        self.zeros = node.wide;
    }

    fn goto(&mut self, target: u32, out: &mut Emission) {
        self.jump_to(target, out);
    }

    fn finish(&mut self, out: &mut Emission) -> Result<(), &'static str> {
        Self::finish_jumps(out)
    }

    fn place(code: &mut [u8], address: usize, outside: &[Outside]) {
        Self::place_calls(code, address, outside);
    }
}
