//! The emitter for x86_64.
//!
//! r0 is in rax, r1, r2 and r5 where the System V convention has the first, second and fifth
//! argument; r3 and r4 are moved at calls, so that rcx and rdx, which shifts, multiplications and
//! divisions want, are free. The frame pointer needs no register: the stack is addressed from rsp.
//! `asm` has the encodings; `alu`, `divide`, `access` and `flow` the operations.
//!
//! A frame, from its top: what the caller was to return to, the saved registers, the function's
//! BPF stack, and at rsp the address of the [`super::run::Run`] where the program needs it.

#![forbid(unsafe_code)]

mod access;
mod alu;
mod asm;
mod divide;
mod flow;

use super::emitter::{Context, Emission, Emitter, Jump, Outside};
use super::ir::{Mem, Node, Op, Place, Source};
use super::repeat;
use crate::insn::{AluOp, Cond, Size, Width};
use asm::Asm;

/// The emitter for x86_64.
#[derive(Debug)]
pub struct X86_64 {
    bmi2: bool,
    /// Bytes from the stack pointer to where the frame pointer points.
    frame: i32,
    /// Bytes of the stack pointer's way down.
    room: i32,
    /// Which of `asm::SAVED` are saved, one bit each.
    saved: u8,
    /// In the main function.
    main: bool,
    flags: ZeroFlag,
}

impl Emitter for X86_64 {
    const EXTRAS_KEPT: u8 = 2;
    const EXTRAS_SCRATCH: u8 = 0;
    const SELECTS: bool = true;

    #[inline]
    fn addresses(mem: &Mem, _: Size) -> bool {
        // The frame pointer is the stack pointer, which cannot be an index.
        mem.index != Some(Place::FRAME)
    }

    fn new(context: &Context<'_>) -> Self {
        Self {
            bmi2: context.machine.bmi2,
            frame: 0,
            room: 0,
            saved: 0,
            main: true,
            flags: ZeroFlag::NOTHING,
        }
    }

    fn enter(&mut self, context: &Context<'_>, index: u32, out: &mut Emission) {
        self.begin(context, index, out);
    }

    // It is called in one place.
    #[inline(always)]
    fn emit(
        &mut self,
        context: &Context<'_>,
        nodes: &[Node],
        out: &mut Emission,
    ) -> Result<usize, &'static str> {
        let Some(node) = nodes.first() else { return Ok(0) };
        // What leaves the zero flag as its result says sets this again.
        let before = core::mem::replace(&mut self.flags, ZeroFlag::NOTHING);
        match node.op {
            Op::Nop | Op::Label | Op::Enter { .. } => self.flags = before,
            Op::Move { width, dst, src } => {
                self.copy(width, dst, src, out);
                self.flags = before.without(dst);
            }
            Op::Constant { dst, value } => {
                out.constant(asm::home(dst), value, true);
                // The short way to zero changes them.
                if value != 0 {
                    self.flags = before.without(dst);
                }
            }
            Op::Alu { width, op, dst, a, b, nonzero } => match op {
                AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod => {
                    let rax_live = node.live & Place::R0.bit() != 0 && dst != Place::R0;
                    self.divide((width, op, dst, a, b), nonzero, rax_live, out);
                }
                _ => self.alu(width, op, dst, a, b, out),
            },
            Op::Negate { width, dst, src } => self.negate(width, dst, src, out),
            Op::SignExtend { width, dst, src, from } => {
                self.sign_extend(width, dst, src, from, out);
                self.flags = before.without(dst);
            }
            Op::Truncate { dst, src, size } => {
                self.truncate(dst, src, size, out);
                self.flags = before.without(dst);
            }
            Op::Swap { dst, src, bits } => self.swap(dst, src, bits, out),
            Op::Rotate { width, dst, src, left } => self.rotate(width, dst, src, left, out),
            Op::Load { size, signed, dst, mem, .. } => {
                if let Some(count) = self.with_memory(nodes, out) {
                    return Ok(count);
                }
                self.load(size, signed, dst, &mem, out);
                self.flags = before.without(dst);
            }
            Op::Store { size, mem, src, .. } => {
                self.store(size, &mem, src, out);
                self.flags = before;
            }
            Op::Atomic { op, width, mem, src } => {
                let rax_live = node.live & Place::R0.bit() != 0;
                self.atomic((op, width, mem, src), rax_live, out);
            }
            Op::Jump { target, tail } => repeat::goto(self, target, tail, out),
            Op::Rounds { start, more } => {
                repeat::rounds(start, more, out);
                self.flags = before;
            }
            Op::Branch { width, cond, a, b, target } => {
                self.branch(before, (width, cond, a, b, target), out);
                if compared_with_zero(cond, b) {
                    self.flags = ZeroFlag::of(a, width);
                }
            }
            Op::Select { width, cond, a, b, dst, moved, value } => {
                self.select(before, (width, cond, a, b), (dst, moved, value), out);
                if compared_with_zero(cond, b) {
                    self.flags = ZeroFlag::of(a, width).without(dst);
                }
            }
            Op::MayGoto { target } => self.may_goto(target, out),
            Op::Call { function, arguments } => self.call(context, function, arguments, out),
            Op::Note { index, src } => self.note(index, src, out),
            Op::FunctionAddress { dst, function } => self.function_address(dst, function, out),
            Op::TailCall { function } => self.tail_call(context, function, out),
            Op::CallLocal { function } => self.call_local(function, out),
            Op::Lookup { array } => {
                return self.lookup(context, nodes, array, out).ok_or("an array of this size");
            }
            Op::CpuId => {
                let offset = context.intrinsics.cpu_id.ok_or("the number of the CPU")?;
                self.cpu_id(offset, asm::RAX, out);
            }
            Op::Clock { factor } => self.clock(factor, out),
            Op::LeaveIfNegative => self.leave_if_negative(out),
            Op::Exit => self.leave(out),
        }
        Ok(1)
    }

    fn trampoline(&mut self, out: &mut Emission) {
        flow::trampoline(out);
    }

    fn label(&mut self, _: &Node) {
        self.flags = ZeroFlag::NOTHING;
    }

    fn goto(&mut self, target: u32, out: &mut Emission) {
        self.jump_to(target, out);
    }

    fn jump_bytes(kind: u16) -> u32 {
        flow::length(kind)
    }

    fn jump_again(&mut self, jump: &Jump, out: &mut Emission) {
        self.jump_like(jump, out);
    }

    fn finish(&mut self, out: &mut Emission) -> Result<(), &'static str> {
        Self::finish_jumps(out)
    }

    fn place(code: &mut [u8], address: usize, outside: &[Outside]) {
        for &Outside { at, address: target } in outside {
            let next = address.wrapping_add(at as usize + 4);
            // `call` chose the short form only if every address of the window is near enough.
            let distance = (target as i64).wrapping_sub(next as i64) as i32;
            if let Some(field) = code.get_mut(at as usize..at as usize + 4) {
                field.copy_from_slice(&distance.to_le_bytes());
            }
        }
    }
}

/// What the zero flag tells of: that a place, in some width, is zero; or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ZeroFlag(u8);

impl ZeroFlag {
    const NOTHING: ZeroFlag = ZeroFlag(0);

    #[inline]
    const fn of(place: Place, width: Width) -> ZeroFlag {
        let wide = if matches!(width, Width::W64) { 0x40 } else { 0 };
        ZeroFlag(0x80 | wide | place.index() as u8)
    }

    /// The same, when the place is written without a change of the flag.
    #[inline]
    const fn without(self, written: Place) -> ZeroFlag {
        if self.0 & 0x1f == written.index() as u8 { ZeroFlag::NOTHING } else { self }
    }
}

/// Whether the zero flag tells after a comparison whether its first operand is zero. After
/// `if r & 0` it does not: that was compared with nothing.
fn compared_with_zero(cond: Cond, b: Source) -> bool {
    cond != Cond::Set && b == Source::Imm(0)
}
