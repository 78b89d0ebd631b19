//! Branches, calls, and which jumps are short.

use super::super::emitter::{Context, Emission, Jump, Outside, Target};
use super::super::far;
use super::super::ir::{Node, Op, Place, Source};
use super::super::run::Run;
use super::asm::{Address, Asm, D, R8, R9, R10, RAX, RCX, RDI, RDX, RSI, RSP, SAVED, W, home, op};
use super::{X86_64, ZeroFlag};
use crate::insn::{Cond, Width};

/// The kinds of [`Jump`]: a condition code, or one of these.
const ALWAYS: u16 = 16;
const CALL: u16 = 17;
/// Added to the kind of a jump in its short form, whose distance has one byte.
const SHORT: u16 = 32;
/// The address of a function.
const LEA: u16 = 64;

/// Bytes of the short form.
const SHORT_BYTES: u32 = 2;

/// Bytes of the form that is emitted.
pub(super) const fn length(kind: u16) -> u32 {
    match kind {
        ..ALWAYS => 6,
        LEA.. => 7,
        SHORT.. => SHORT_BYTES,
        _ => 5,
    }
}

/// The condition code of a comparison.
pub(super) const fn code(cond: Cond) -> u8 {
    match cond {
        Cond::Eq => 4,
        Cond::Ne | Cond::Set => 5,
        Cond::Gt => 7,
        Cond::Ge => 3,
        Cond::Lt => 2,
        Cond::Le => 6,
        Cond::Sgt => 15,
        Cond::Sge => 13,
        Cond::Slt => 12,
        Cond::Sle => 14,
    }
}

impl X86_64 {
    /// A jump, short if it goes backwards by little, or forwards by what is mostly little.
    pub(super) fn jump(&self, kind: u16, to: Target, out: &mut Emission) {
        let at = out.here();
        let short = match to {
            Target::Slot(slot) if (slot as usize) < out.begun => {
                let distance = i64::from(out.position(to)) - i64::from(at + SHORT_BYTES);
                i8::try_from(distance).is_ok()
            }
            Target::Slot(slot) => is_near(slot as usize, out),
            _ => false,
        };
        if short {
            let opcode = if kind == ALWAYS { 0xeb } else { 0x70 | u64::from(kind) };
            out.put(opcode, 2);
            out.jumps.push(Jump { at, to, kind: kind | SHORT });
            return;
        }
        let (opcode, count) = long_form(kind);
        out.put(opcode, count);
        out.put32(0);
        out.jumps.push(Jump { at, to, kind });
    }

    /// A jump as one that was emitted before.
    pub(super) fn jump_like(&self, jump: &Jump, out: &mut Emission) {
        self.jump(jump.kind & !SHORT, jump.to, out);
    }

    pub(super) fn jump_to(&self, target: u32, out: &mut Emission) {
        self.jump(ALWAYS, Target::Slot(target), out);
    }

    pub(super) fn branch_if(&self, code: u8, target: u32, out: &mut Emission) {
        self.jump(u16::from(code), Target::Slot(target), out);
    }

    #[inline(always)]
    pub(super) fn branch(
        &self,
        flags: ZeroFlag,
        (width, cond, a, b, target): (Width, Cond, Place, Source, u32),
        out: &mut Emission,
    ) {
        Self::compare(flags, (width, cond, a, b), out);
        self.branch_if(code(cond), target, out);
    }

    /// `dst = value` unless the condition holds.
    pub(super) fn select(
        &self,
        flags: ZeroFlag,
        comparison: (Width, Cond, Place, Source),
        (dst, moved, value): (Place, Width, Source),
        out: &mut Emission,
    ) {
        let wide = moved == Width::W64;
        let from = match value {
            Source::Place(place) => home(place),
            Source::Imm(imm) => {
                let value = if wide { i64::from(imm) as u64 } else { u64::from(imm as u32) };
                out.constant(RCX, value, false);
                RCX
            }
        };
        Self::compare(flags, comparison, out);
        // The opposite condition has the opposite lowest bit.
        let (_, cond, ..) = comparison;
        out.rr(op::CMOV | u32::from(code(cond) ^ 1) << 8, wide, home(dst), from);
    }

    /// Compares, or relies on the flags as the last operation left them.
    #[inline]
    fn compare(
        flags: ZeroFlag,
        (width, cond, a, b): (Width, Cond, Place, Source),
        out: &mut Emission,
    ) {
        let wide = width == Width::W64;
        let reg = home(a);
        match b {
            Source::Imm(0) if cond != Cond::Set => {
                let equality = matches!(cond, Cond::Eq | Cond::Ne);
                if !(equality && flags == ZeroFlag::of(a, width)) {
                    out.rr(op::TEST, wide, reg, reg);
                }
            }
            Source::Imm(imm) if cond == Cond::Set => {
                if imm > 0 && imm < 0x80 {
                    if reg == RAX {
                        out.put(0xa8, 1);
                    } else {
                        out.rr_rex(0xf6, D, 0, reg, true);
                    }
                    out.put(imm as u64, 1);
                } else {
                    out.rr(0xf7, wide && imm < 0, 0, reg);
                    out.put32(imm);
                }
            }
            Source::Imm(imm) => out.ri(7, wide, reg, imm),
            Source::Place(b) if cond == Cond::Set => out.rr(op::TEST, wide, home(b), reg),
            Source::Place(b) => out.rr(op::CMP, wide, home(b), reg),
        }
    }

    /// A function's beginning.
    pub(super) fn begin(&mut self, context: &Context<'_>, index: u32, out: &mut Emission) {
        let function = context.functions.get(index as usize).copied().unwrap_or_default();
        self.saved = 0;
        self.main = index == 0;
        if context.needs_run && !self.main {
            // mov rax, [rsp + 8]: what the caller keeps at its stack pointer.
            out.rm(op::MOV_LOAD, W, RAX, Address::at(RSP, 8));
        }
        for (bit, (place, reg)) in SAVED.into_iter().enumerate() {
            if function.places & place.bit() != 0 {
                self.saved |= 1 << bit;
                out.push(reg);
            }
        }
        let run = if context.needs_run { 8 } else { 0 };
        self.frame = function.stack as i32 + run;
        self.room = self.frame;
        // The stack is aligned to 16 bytes at calls, and was so before ours.
        let pushed = 8 + 8 * self.saved.count_ones() as i32;
        if function.calls && (pushed + self.room) % 16 != 0 {
            self.room += 8;
        }
        match self.room {
            0 => {}
            8 if !context.needs_run => out.push(RAX),
            room => out.ri(5, W, RSP, room),
        }
        if context.needs_run {
            let run = if self.main { RSI } else { RAX };
            out.rm(op::MOV, W, run, Address::at(RSP, 0));
        }
        self.flags = ZeroFlag::NOTHING;
    }

    /// Returns from the function.
    pub(super) fn leave(&self, out: &mut Emission) {
        self.undo_frame(out);
        out.put(0xc3, 1);
    }

    fn undo_frame(&self, out: &mut Emission) {
        if self.room != 0 {
            out.ri(0, W, RSP, self.room);
        }
        for (bit, (_, reg)) in SAVED.into_iter().enumerate().rev() {
            if self.saved & 1 << bit != 0 {
                out.pop(reg);
            }
        }
    }

    /// Goes to another program's main function, if the decision is to.
    pub(super) fn tail_call(&self, context: &Context<'_>, function: usize, out: &mut Emission) {
        self.call(context, function, 3, out);
        out.rr(op::TEST, W, RAX, RAX);
        let at = out.bytes.len();
        out.put(0x74, 2);
        out.rm(op::MOV_LOAD, W, RSI, Address::at(RSP, 0));
        self.undo_frame(out);
        out.rm(op::MOV_LOAD, W, RDI, Address::at(RSI, Run::CONTEXT));
        // jmp rax
        out.put(0xe0ff, 2);
        let distance = out.bytes.len() - at - 2;
        if let Some(byte) = out.bytes.get_mut(at + 1) {
            *byte = distance as u8;
        }
    }

    /// Stores a place in a word of the run.
    pub(super) fn note(&self, index: u8, src: Place, out: &mut Emission) {
        out.rm(op::MOV_LOAD, W, RCX, Address::at(RSP, 0));
        out.rm(op::MOV, W, home(src), Address::at(RCX, Run::NOTES + 8 * i32::from(index)));
    }

    pub(super) fn function_address(&self, dst: Place, function: u32, out: &mut Emission) {
        // lea dst, [rip + distance]
        let (at, dst) = (out.here(), home(dst));
        let rex = 0x48 | u64::from(dst >> 3) << 2;
        out.put(rex | 0x8d << 8 | (5 | u64::from(dst & 7) << 3) << 16, 3);
        out.put32(0);
        out.jumps.push(Jump { at, to: Target::Function(function), kind: LEA });
    }

    /// Calls a helper. Its arguments are where the machine's convention has them, except r3, r4
    /// and the run.
    pub(super) fn call(
        &self,
        context: &Context<'_>,
        function: usize,
        arguments: u8,
        out: &mut Emission,
    ) {
        if arguments >= 3 {
            out.mov(W, RDX, R10);
        }
        if arguments >= 4 {
            out.mov(W, RCX, R9);
        }
        out.rm(op::MOV_LOAD, W, R9, Address::at(RSP, 0));
        // A call reaches 2 GiB both ways.
        let reach = |from: usize| (function as i64).wrapping_sub(from as i64);
        let near = |from: usize| i32::try_from(reach(from)).is_ok();
        if near(context.window.start) && near(context.window.end) {
            out.put(0xe8, 1);
            out.outside.push(Outside { at: out.here(), address: function });
            out.put32(0);
        } else {
            out.constant(RAX, function as u64, true);
            out.put(0xd0ff, 2);
        }
    }

    pub(super) fn call_local(&self, function: u32, out: &mut Emission) {
        self.jump(CALL, Target::Function(function), out);
    }

    /// Counts a round of the run, and jumps when there are no more.
    pub(super) fn may_goto(&self, target: u32, out: &mut Emission) {
        out.rm(op::MOV_LOAD, W, RCX, Address::at(RSP, 0));
        out.rm(0x83, D, 5, Address::at(RCX, Run::ROUNDS));
        out.put(1, 1);
        self.branch_if(8, target, out);
    }

    /// Ends the program with 0 if r0 is negative.
    pub(super) fn leave_if_negative(&self, out: &mut Emission) {
        out.rr(op::TEST, W, RAX, RAX);
        let at = out.bytes.len();
        out.put(0x79, 2);
        out.rr(op::XOR, D, RAX, RAX);
        self.leave(out);
        let distance = out.bytes.len() - at - 2;
        if let Some(byte) = out.bytes.get_mut(at + 1) {
            *byte = distance as u8;
        }
    }

    /// `mov reg32, gs:[offset]`
    pub(super) fn cpu_id(&self, offset: i32, reg: u8, out: &mut Emission) {
        out.put(0x65, 1);
        out.put(0x8b | u64::from(reg & 7) << 11 | 0x04 << 8 | 0x25 << 16, 3);
        out.put32(offset);
    }

    /// The time by the time-stamp counter. Its halves come in eax and edx.
    pub(super) fn clock(&self, factor: u64, out: &mut Emission) {
        out.put(0x310f, 2);
        out.shift(4, W, RDX, 32);
        out.rr(op::OR, W, RDX, RAX);
        out.constant(RCX, factor, true);
        // `mul rcx`, of which the middle of the product's 128 bits counts: `shrd rax, rdx, 32`.
        out.rr(0xf7, W, 4, RCX);
        out.rr_imm8(op::SHRD, W, RDX, RAX, 32);
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
        out.rm(op::MOV_LOAD, D, RCX, Address::at(RSI, 0));
        out.rr(op::XOR, D, RAX, RAX);
        out.ri(7, D, RCX, i32::from_ne_bytes(array.entries.to_ne_bytes()));
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
        let mut beyond = None;
        match test {
            Some(target) => self.branch_if(3, target, out),
            None => {
                beyond = Some(out.bytes.len());
                out.put(0x73, 2);
            }
        }
        let stride = i32::try_from(array.stride).ok()?;
        let scale = match stride {
            1 => 0,
            2 => 1,
            4 => 2,
            8 => 3,
            _ if stride.count_ones() == 1 => {
                out.shift(4, W, RCX, stride.trailing_zeros() as u8);
                0
            }
            _ => {
                multiply(RCX, RCX, stride, out);
                0
            }
        };
        out.constant(RAX, array.base as u64, true);
        out.rm(op::LEA, W, RAX, Address::sum(RAX, RCX, scale));
        if array.cpu_stride != 0 {
            self.cpu_id(context.intrinsics.cpu_id?, RCX, out);
            if let Ok(stride) = i32::try_from(array.cpu_stride) {
                multiply(RCX, RCX, stride, out);
            } else {
                out.constant(RDX, array.cpu_stride as u64, true);
                out.rr(op::IMUL, W, RCX, RDX);
            }
            out.rr(op::ADD, W, RCX, RAX);
        }
        if let Some(at) = beyond {
            let distance = out.bytes.len() - at - 2;
            *out.bytes.get_mut(at + 1)? = u8::try_from(distance).ok().filter(|&far| far < 128)?;
        }
        Some(if test.is_some() { 2 } else { 1 })
    }

    /// Writes the distances of jumps. Those that do not reach in their short form get their long
    /// one.
    pub(super) fn finish_jumps(out: &mut Emission) -> Result<(), &'static str> {
        if write_distances(out)? {
            return Ok(());
        }
        let more = |kind: u16, distance: i64| {
            let fine = !is_short(kind) || i8::try_from(distance - i64::from(SHORT_BYTES)).is_ok();
            if fine { 0 } else { (length(kind & !SHORT) - SHORT_BYTES) as u8 }
        };
        let longer = far::widen(out, SHORT_BYTES, more);
        for (jump, _) in out.jumps.iter_mut().zip(longer).filter(|(_, more)| *more != 0) {
            jump.kind &= !SHORT;
            let (opcode, count) = long_form(jump.kind);
            let begin = out.bytes.get_mut(jump.at as usize..).ok_or(OUTSIDE)?;
            let begin = begin.get_mut(..count).ok_or(OUTSIDE)?;
            begin.copy_from_slice(opcode.to_le_bytes().get(..count).unwrap_or_default());
        }
        let all_reach = write_distances(out)?;
        if all_reach { Ok(()) } else { Err("a jump this far") }
    }
}

/// Writes the distances of jumps, up to the first that its form has no room for: says whether
/// there is none.
fn write_distances(out: &mut Emission) -> Result<bool, &'static str> {
    for index in 0..out.jumps.len() {
        let Some(&Jump { at, to, kind }) = out.jumps.get(index) else { break };
        let end = at + length(kind);
        let distance = i64::from(out.position(to)) - i64::from(end);
        let code = out.bytes.get_mut(..end as usize).ok_or(OUTSIDE)?;
        if is_short(kind) {
            let (Ok(distance), Some(byte)) = (i8::try_from(distance), code.last_mut()) else {
                return Ok(false);
            };
            *byte = distance as u8;
        } else {
            let distance = i32::try_from(distance).map_err(|_| "a jump this far")?;
            *code.last_chunk_mut().ok_or(OUTSIDE)? = distance.to_le_bytes();
        }
    }
    Ok(true)
}

/// Whether a slot that is still to come is probably near enough for a short jump: if the code goes
/// on as it has been so far, or as most does. Jumps that turn out longer are made so in the end.
fn is_near(slot: usize, out: &Emission) -> bool {
    /// Bytes for a slot, and to the target: well below the 127 of a short jump, because copies of
    /// tails come between, and a wrong guess costs another pass over all jumps.
    const DENSITY: usize = 4;
    const REACH: usize = 50;
    let (slots, bytes) = (out.begun, out.bytes.len());
    (slot - slots) * bytes.max(slots * DENSITY) < slots * REACH
}

/// Where a jump begins that `finish_jumps` does not find.
const OUTSIDE: &str = "a jump outside of the code";

const fn is_short(kind: u16) -> bool {
    kind & SHORT != 0 && kind < LEA
}

/// The opcode of a jump in its long form, before the distance of four bytes, and its bytes.
const fn long_form(kind: u16) -> (u64, usize) {
    match kind {
        ALWAYS => (0xe9, 1),
        CALL => (0xe8, 1),
        _ => (0x0f | (0x80 | kind as u64) << 8, 2),
    }
}

/// Enters a callback: the values of r1 to r5 in rdi, the run in rsi, the function in rdx.
pub(super) fn trampoline(out: &mut Emission) {
    // Where the function looks for it: at its caller's stack pointer.
    out.push(RSI);
    for (offset, reg) in [(32, R8), (24, R9), (16, R10), (8, RSI), (0, RDI)] {
        out.rm(op::MOV_LOAD, W, reg, Address::at(RDI, offset));
    }
    // call rdx
    out.put(0xd2ff, 2);
    out.pop(RCX);
    out.put(0xc3, 1);
}

pub(super) fn multiply(dst: u8, src: u8, imm: i32, out: &mut Emission) {
    if let Ok(short) = i8::try_from(imm) {
        out.rr_imm8(0x6b, W, dst, src, short as u8);
    } else {
        out.rr(0x69, W, dst, src);
        out.put32(imm);
    }
}
