//! The emitter for AArch64.
//!
//! r1 to r5 are where the procedure call standard has the first five arguments, r0 in a register
//! of its own (x7), moved where the standard wants results after calls of helpers and at the end
//! of the main function. x28 keeps the address of the [`super::run::Run`]; x14 to x17 are the
//! emitter's own. `asm` has the encodings, `constant` what immediates can be; `alu`, `access` and
//! `flow` the operations; `fuse` what two operations become one instruction.
//!
//! A frame, from its top: the saved registers in pairs, and the function's BPF stack.

#![forbid(unsafe_code)]

mod access;
mod alu;
mod asm;
mod constant;
mod flow;
mod fuse;
#[cfg(test)]
#[cfg(feature = "host-jit")]
mod tests;

use super::emitter::{Context, Emission, Emitter, Outside};
use super::ir::{Mem, Node, Op, Place};
use super::repeat;
use crate::insn::Size;
use asm::{R0, home};
use constant::Constants;

/// The emitter for AArch64.
#[derive(Debug)]
pub struct Aarch64 {
    /// The CPU has the atomic instructions of FEAT_LSE.
    lse: bool,
    /// Bytes from the stack pointer to where the frame pointer points.
    frame: i32,
    /// The registers that the function saves, one bit each.
    saved: u32,
    /// In the main function.
    main: bool,
}

impl Emitter for Aarch64 {
    const EXTRAS_KEPT: u8 = asm::KEPT;
    const EXTRAS_SCRATCH: u8 = asm::SCRATCH;
    const SELECTS: bool = true;

    #[inline]
    fn addresses(mem: &Mem, size: Size) -> bool {
        match mem.index {
            // A register that is not the stack pointer, shifted by nothing or the size.
            Some(index) => {
                let plain = mem.base != Place::FRAME && index != Place::FRAME;
                plain && mem.offset == 0 && (mem.shift == 0 || mem.shift == access::log(size))
            }
            None => mem.base == Place::FRAME || access::reaches(i64::from(mem.offset), size),
        }
    }

    fn new(context: &Context<'_>) -> Self {
        Self { lse: context.machine.lse, frame: 0, saved: 0, main: true }
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
        match node.op {
            Op::Nop | Op::Label | Op::Enter { .. } => {}
            Op::Move { width, dst, src } => self.copy(width, dst, src, out),
            Op::Constant { dst, value } => out.constant(home(dst), value),
            Op::Alu { width, op, dst, a, b, .. } => self.alu((width, op), dst, a, b, out),
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
            Op::Select { width, cond, a, b, dst, moved, value } => {
                self.select((width, cond, a, b), (dst, moved, value), out);
            }
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

    fn label(&mut self, _: &Node) {}

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
