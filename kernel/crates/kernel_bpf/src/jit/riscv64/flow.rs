//! Calls, and the beginning and end of functions.

use super::super::emitter::{Context, Emission, Outside, Target};
use super::super::ir::{Node, Op, Place, Source};
use super::super::run::Run;
use super::Riscv64;
use super::alu::Upper;
use super::asm::{
    A0, A1, Asm, LINK, R0, RET, RUN, Reg, SAVED, SP, T0, T1, T2, TP, ZERO, auipc, b, branch, fits,
    home, i, imm, op, r, rdtime, s, split, store,
};
use super::constant::Constants;
use super::jump::{ADDRESS, BRANCH, CALL};
use crate::insn::{Cond, Width};

impl Riscv64 {
    /// The registers that the function saves, with their place above the stack pointer.
    fn saved_at(&self) -> impl Iterator<Item = (Reg, i32)> {
        let (saved, stack) = (self.saved, self.frame);
        let registers = (0..32u8).filter(move |reg| saved & 1 << reg != 0);
        registers.zip((0..).map(move |index| stack + 8 * index))
    }

    /// A function's beginning.
    pub(super) fn begin(&mut self, context: &Context<'_>, index: u32, out: &mut Emission) {
        let function = context.functions.get(index as usize).copied().unwrap_or_default();
        self.main = index == 0;
        self.forget();
        self.saved = 0;
        for place in SAVED {
            if function.places & place.bit() != 0 {
                self.saved |= 1 << home(place);
            }
        }
        if function.calls {
            self.saved |= 1 << LINK;
        }
        if self.main && context.needs_run {
            self.saved |= 1 << RUN;
        }
        self.frame = function.stack as i32;
        // The stack pointer is always a multiple of 16.
        let saved = 8 * self.saved.count_ones() as i32;
        self.room = (self.frame + saved + 15) & !15;
        if self.room != 0 {
            out.word(i(imm::ADDI, SP, SP, -self.room));
        }
        for (reg, at) in self.saved_at() {
            out.word(s(store::SD, reg, SP, at));
        }
        if self.main && context.needs_run {
            out.mv(RUN, A1);
        }
    }

    /// Returns, with r0 where the main function's caller wants it.
    pub(super) fn leave(&self, out: &mut Emission) {
        if self.main {
            out.mv(A0, R0);
        }
        self.undo_frame(out);
        out.word(RET);
    }

    fn undo_frame(&self, out: &mut Emission) {
        for (reg, at) in self.saved_at() {
            out.word(i(imm::LD, reg, SP, at));
        }
        if self.room != 0 {
            out.word(i(imm::ADDI, SP, SP, self.room));
        }
    }

    /// `r0 = value` and the end of the main function.
    pub(super) fn leave_with(&self, value: u64, out: &mut Emission) -> bool {
        if !self.main {
            return false;
        }
        out.constant(A0, value);
        self.undo_frame(out);
        out.word(RET);
        true
    }

    /// Calls change r0 to r5 and the temporary place, and the further extras.
    fn called(&mut self) {
        let kept: u32 = SAVED.into_iter().map(Place::bit).sum();
        self.zeros &= kept;
        self.signs &= kept;
    }

    pub(super) fn call(&mut self, context: &Context<'_>, function: usize, out: &mut Emission) {
        out.mv(R0, RUN);
        let reach = |from: usize| (function as i64).wrapping_sub(from as i64);
        // The lower part goes 2 KiB beyond.
        let near = |from: usize| i32::try_from(reach(from).saturating_add(4096)).is_ok();
        if near(context.window.start) && near(context.window.end) {
            out.outside.push(Outside { at: out.here(), address: function });
            out.word(auipc(LINK, 0));
            out.word(i(imm::JALR, LINK, LINK, 0));
        } else {
            out.constant(T0, function as u64);
            out.word(i(imm::JALR, LINK, T0, 0));
        }
        out.mv(R0, A0);
        self.called();
    }

    /// Goes to another program's main function, if the decision is to.
    pub(super) fn tail_call(&mut self, context: &Context<'_>, function: usize, out: &mut Emission) {
        self.call(context, function, out);
        let at = out.bytes.len();
        out.word(0);
        if self.main {
            out.mv(A1, RUN);
            self.undo_frame(out);
            out.word(i(imm::LD, A0, A1, Run::CONTEXT));
            out.word(i(imm::JALR, ZERO, R0, 0));
        } else {
            // A main function returns in a0, and this one's caller wants a5.
            out.word(i(imm::LD, A0, RUN, Run::CONTEXT));
            out.mv(A1, RUN);
            out.word(i(imm::JALR, LINK, R0, 0));
            out.mv(R0, A0);
            self.leave(out);
        }
        skip(at, branch::BEQ, (R0, ZERO), out);
    }

    /// Stores a place in a word of the run.
    pub(super) fn note(&self, index: u8, src: Place, out: &mut Emission) {
        out.word(s(store::SD, home(src), RUN, Run::NOTES + 8 * i32::from(index)));
    }

    pub(super) fn function_address(&mut self, dst: Place, function: u32, out: &mut Emission) {
        let d = home(dst);
        Self::jump(auipc(d, 0), ADDRESS, Target::Function(function), out);
        out.word(i(imm::ADDI, d, d, 0));
        self.zeros &= !dst.bit();
        self.signs &= !dst.bit();
    }

    /// The code that enters callbacks, see [`super::super::emitter::Emitter::trampoline`].
    pub(super) fn enter_callback(&self, out: &mut Emission) {
        const A2: Reg = 12;
        out.word(i(imm::ADDI, SP, SP, -16));
        out.word(s(store::SD, LINK, SP, 0));
        out.word(s(store::SD, RUN, SP, 8));
        out.mv(RUN, A1);
        out.mv(T0, A2);
        out.mv(T1, A0);
        for (reg, at) in (A0..).zip([0, 8, 16, 24, 32]) {
            out.word(i(imm::LD, reg, T1, at));
        }
        out.word(i(imm::JALR, LINK, T0, 0));
        out.mv(A0, R0);
        out.word(i(imm::LD, LINK, SP, 0));
        out.word(i(imm::LD, RUN, SP, 8));
        out.word(i(imm::ADDI, SP, SP, 16));
        out.word(RET);
    }

    pub(super) fn call_local(&mut self, function: u32, out: &mut Emission) {
        Self::jump(super::asm::jal(LINK, 0), CALL, Target::Function(function), out);
        self.called();
    }

    /// Counts a round of the run, and jumps when there are no more.
    pub(super) fn may_goto(&self, target: u32, out: &mut Emission) {
        out.word(i(imm::LW, T0, RUN, Run::ROUNDS));
        out.word(i(imm::ADDIW, T0, T0, -1));
        out.word(s(store::SW, T0, RUN, Run::ROUNDS));
        Self::jump(b(branch::BLT, T0, ZERO, 0), BRANCH, Target::Slot(target), out);
    }

    /// Ends the program with 0 if r0 is negative.
    pub(super) fn leave_if_negative(&self, out: &mut Emission) {
        let at = out.bytes.len();
        out.word(0);
        self.leave_with(0, out);
        skip(at, branch::BGE, (R0, ZERO), out);
    }

    /// The number of the CPU.
    pub(super) fn cpu_id(&self, offset: i32, d: Reg, out: &mut Emission) {
        if fits(i64::from(offset)) {
            out.word(i(imm::LWU, d, TP, offset));
        } else {
            out.add(true, T1, TP, i64::from(offset));
            out.word(i(imm::LWU, d, T1, 0));
        }
    }

    /// The time by the time register.
    pub(super) fn clock(&mut self, factor: u64, out: &mut Emission) {
        out.word(rdtime(T1));
        out.constant(T0, factor);
        // Of the product's 128 bits the middle counts.
        out.word(r(op::MUL, R0, T1, T0));
        out.word(r(op::MULHU, T1, T1, T0));
        out.word(i(imm::SRLI, R0, R0, 32));
        out.word(i(imm::SLLI, T1, T1, 32));
        out.word(r(op::OR, R0, R0, T1));
        self.done(Place::R0, Upper::Right, out);
    }

    /// An array lookup, with the test of its result if that follows.
    pub(super) fn lookup(
        &mut self,
        context: &Context<'_>,
        nodes: &[Node],
        array: u32,
        out: &mut Emission,
    ) -> Option<usize> {
        let array = context.arrays.get(array as usize)?;
        self.called();
        out.word(i(imm::LWU, T1, home(Place::R2), 0));
        out.constant(T2, u64::from(array.entries));
        out.mv(R0, ZERO);
        // Beyond the array r0 is 0.
        let test = match nodes.get(1).map(|node| node.op) {
            Some(Op::Branch {
                width: Width::W64,
                cond: Cond::Eq,
                a: Place::R0,
                b: Source::Imm(0),
                target,
            }) => Some(target),
            _ => None,
        };
        let beyond = out.bytes.len();
        match test {
            Some(target) => {
                let branch = b(branch::BGEU, T1, T2, 0);
                Self::jump(branch, BRANCH, Target::Slot(target), out);
            }
            None => out.word(0),
        }
        out.constant(R0, array.base as u64);
        if array.stride.is_power_of_two() {
            let by = array.stride.trailing_zeros() as i32;
            if by != 0 {
                out.word(i(imm::SLLI, T1, T1, by));
            }
        } else {
            out.constant(T0, array.stride as u64);
            out.word(r(op::MUL, T1, T1, T0));
        }
        out.word(r(op::ADD, R0, R0, T1));
        if array.cpu_stride != 0 {
            self.cpu_id(context.intrinsics.cpu_id?, T1, out);
            out.constant(T0, array.cpu_stride as u64);
            out.word(r(op::MUL, T1, T1, T0));
            out.word(r(op::ADD, R0, R0, T1));
        }
        if test.is_none() {
            skip(beyond, branch::BGEU, (T1, T2), out);
        }
        Some(if test.is_some() { 2 } else { 1 })
    }

    /// Writes the distances of calls of helpers.
    pub(super) fn place_calls(code: &mut [u8], address: usize, outside: &[Outside]) {
        for &Outside { at, address: target } in outside {
            let from = address.wrapping_add(at as usize);
            // `call` chose this form only if every address of the window is near enough.
            let (high, low) = split((target as i64).wrapping_sub(from as i64) as i32);
            let words = [auipc(LINK, high), i(imm::JALR, LINK, LINK, low)];
            let field = code.get_mut(at as usize..at as usize + 8).unwrap_or_default();
            for (to, word) in field.chunks_exact_mut(4).zip(words) {
                to.copy_from_slice(&word.to_le_bytes());
            }
        }
    }
}

/// Writes a branch at `at` that goes here.
fn skip(at: usize, instruction: u32, (n, m): (Reg, Reg), out: &mut Emission) {
    let distance = (out.bytes.len() - at) as i32;
    if let Some(word) = out.bytes.get_mut(at..at + 4) {
        word.copy_from_slice(&b(instruction, n, m, distance).to_le_bytes());
    }
}
