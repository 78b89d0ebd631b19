//! Branches, calls, and the beginning and end of functions.

use super::super::emitter::{Context, Emission, Jump, Outside, Target};
use super::super::far;
use super::super::ir::{Node, Op, Place, Source};
use super::super::run::Run;
use super::Aarch64;
use super::alu::{bits, fits_logic, shift_left, top};
use super::asm::{
    Access, Asm, B, BL, D, Field, ISB, LINK, Logic, R0, RET, RUN, Reg, SAVED, SP, Select, Shift,
    Sum, T0, T1, W, X0, X1, X5, ZERO, access, add_extended, adr, b_cond, blr, br, cbz, cc, counter,
    extr, home, load_pair, logic, madd, mov, pop, pop_pair, push, push_pair, select, sum, sum_imm,
    tbz, thread_pointer, umulh,
};
use super::constant::Constants;
use crate::insn::{Cond, Width};

/// The kinds of [`Jump`].
const FAR: u16 = 0;
const MIDDLE: u16 = 1;
const NEAR: u16 = 2;
/// The address of a function: two instructions.
const ADDRESS: u16 = 3;

const fn field(kind: u16) -> Field {
    match kind {
        MIDDLE => Field::Imm19,
        NEAR => Field::Imm14,
        _ => Field::Imm26,
    }
}

/// The condition of a comparison.
const fn code(cond: Cond) -> u8 {
    match cond {
        Cond::Eq => cc::EQ,
        Cond::Ne | Cond::Set => cc::NE,
        Cond::Gt => cc::HI,
        Cond::Ge => cc::HS,
        Cond::Lt => cc::LO,
        Cond::Le => cc::LS,
        Cond::Sgt => cc::GT,
        Cond::Sge => cc::GE,
        Cond::Slt => cc::LT,
        Cond::Sle => cc::LE,
    }
}

/// The only bit of a number, if it has but one.
fn only_bit(value: u64) -> Option<u8> {
    value.is_power_of_two().then(|| value.trailing_zeros() as u8)
}

impl Aarch64 {
    fn jump(word: u32, kind: u16, to: Target, out: &mut Emission) {
        let at = out.here();
        out.jumps.push(Jump { at, to, kind });
        out.word(word);
    }

    pub(super) fn jump_to(&self, target: u32, out: &mut Emission) {
        Self::jump(B, FAR, Target::Slot(target), out);
    }

    fn branch_if(cond: u8, target: u32, out: &mut Emission) {
        Self::jump(b_cond(cond), MIDDLE, Target::Slot(target), out);
    }

    pub(super) fn branch(
        &self,
        (width, cond, a, b, target): (Width, Cond, Place, Source, u32),
        out: &mut Emission,
    ) {
        let wide = width == Width::W64;
        let n = home(a);
        let to = Target::Slot(target);
        match (cond, b) {
            (Cond::Eq | Cond::Le, Source::Imm(0)) => {
                return Self::jump(cbz(wide, false, n), MIDDLE, to, out);
            }
            (Cond::Ne | Cond::Gt, Source::Imm(0)) => {
                return Self::jump(cbz(wide, true, n), MIDDLE, to, out);
            }
            // The sign.
            (Cond::Slt, Source::Imm(0)) | (Cond::Sle, Source::Imm(-1)) => {
                return Self::jump(tbz(true, n, top(wide)), NEAR, to, out);
            }
            (Cond::Sge, Source::Imm(0)) | (Cond::Sgt, Source::Imm(-1)) => {
                return Self::jump(tbz(false, n, top(wide)), NEAR, to, out);
            }
            (Cond::Set, Source::Imm(imm)) => {
                return self.branch_bits(wide, n, bits(imm, wide), (true, target), out);
            }
            _ => {}
        }
        Self::compare((width, cond, a, b), out);
        Self::branch_if(code(cond), target, out);
    }

    /// Sets the flags that a condition looks at.
    fn compare((width, cond, a, b): (Width, Cond, Place, Source), out: &mut Emission) {
        let (wide, n) = (width == Width::W64, home(a));
        let none = (Shift::Left, 0);
        match (cond, b) {
            (Cond::Set, Source::Imm(imm)) => {
                out.logic_constant(Logic::Ands, wide, ZERO, n, bits(imm, wide));
            }
            (Cond::Set, Source::Place(b)) => {
                out.word(logic(Logic::Ands, wide, ZERO, n, home(b), none));
            }
            (_, Source::Imm(imm)) => out.compare(wide, n, i64::from(imm)),
            (_, Source::Place(b)) => out.word(sum(Sum::Subs, wide, ZERO, n, home(b), none)),
        }
    }

    /// `dst = value` unless the condition holds.
    pub(super) fn select(
        &self,
        comparison: (Width, Cond, Place, Source),
        (dst, moved, value): (Place, Width, Source),
        out: &mut Emission,
    ) {
        let (wide, d, (_, cond, ..)) = (moved == Width::W64, home(dst), comparison);
        Self::compare(comparison, out);
        let word = match value {
            Source::Place(m) => select(Select::Other, wide, d, d, home(m), code(cond)),
            // What the other forms make of the zero register.
            Source::Imm(0) => select(Select::Other, wide, d, d, ZERO, code(cond)),
            Source::Imm(1) => select(Select::Increment, wide, d, d, ZERO, code(cond)),
            Source::Imm(-1) => select(Select::Invert, wide, d, d, ZERO, code(cond)),
            Source::Imm(imm) => {
                let value = i64::from(imm) as u64;
                out.constant(T1, if wide { value } else { value & 0xffff_ffff });
                select(Select::Other, wide, d, d, T1, code(cond))
            }
        };
        out.word(word);
    }

    /// Goes to `target` if some bit of `mask` is set, or if none is.
    fn branch_bits(
        &self,
        wide: bool,
        n: Reg,
        mask: u64,
        (set, target): (bool, u32),
        out: &mut Emission,
    ) {
        if let Some(bit) = only_bit(mask) {
            return Self::jump(tbz(set, n, bit), NEAR, Target::Slot(target), out);
        }
        out.logic_constant(Logic::Ands, wide, ZERO, n, mask);
        Self::branch_if(if set { cc::NE } else { cc::EQ }, target, out);
    }

    /// `a & constant`, compared with 0 and not needed otherwise. Returns whether it is done.
    pub(super) fn test_bits(
        &self,
        (width, a, imm): (Width, Place, i32),
        (cond, target): (Cond, u32),
        out: &mut Emission,
    ) -> bool {
        let wide = width == Width::W64;
        let mask = bits(imm, wide);
        if only_bit(mask).is_none() && !fits_logic(imm, wide) {
            return false;
        }
        let set = match cond {
            Cond::Eq => false,
            Cond::Ne => true,
            _ => return false,
        };
        self.branch_bits(wide, home(a), mask, (set, target), out);
        true
    }

    /// The registers that the function saves, from the first that is pushed.
    fn saved(&self) -> impl DoubleEndedIterator<Item = (Reg, Option<Reg>)> {
        let mut list = [ZERO; 12];
        let mut count = 0;
        for reg in (0..31).filter(|reg| self.saved & 1 << reg != 0) {
            if let Some(place) = list.get_mut(count) {
                *place = reg;
                count += 1;
            }
        }
        let pairs = count / 2;
        let get = move |index: usize| list.get(index).copied().unwrap_or(ZERO);
        (0..count.div_ceil(2))
            .map(move |index| (get(2 * index), (index < pairs).then(|| get(2 * index + 1))))
    }

    /// A function's beginning.
    pub(super) fn begin(&mut self, context: &Context<'_>, index: u32, out: &mut Emission) {
        let function = context.functions.get(index as usize).copied().unwrap_or_default();
        self.main = index == 0;
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
        // The stack pointer is always a multiple of 16.
        self.frame = function.stack.next_multiple_of(16) as i32;
        for (one, two) in self.saved() {
            out.word(match two {
                Some(two) => push_pair(one, two),
                None => push(one),
            });
        }
        if self.frame != 0 {
            out.add(W, SP, SP, -i64::from(self.frame));
        }
        if self.main && context.needs_run {
            out.word(mov(W, RUN, X1));
        }
    }

    /// Returns, with r0 where the main function's caller wants it.
    pub(super) fn leave(&self, out: &mut Emission) {
        if self.main {
            out.word(mov(W, X0, R0));
        }
        self.undo_frame(out);
        out.word(RET);
    }

    fn undo_frame(&self, out: &mut Emission) {
        if self.frame != 0 {
            out.add(W, SP, SP, i64::from(self.frame));
        }
        for (one, two) in self.saved().rev() {
            out.word(match two {
                Some(two) => pop_pair(one, two),
                None => pop(one),
            });
        }
    }

    /// `r0 = value` and the end of the main function.
    pub(super) fn leave_with(&self, value: u64, out: &mut Emission) -> bool {
        if !self.main {
            return false;
        }
        out.constant(X0, value);
        self.undo_frame(out);
        out.word(RET);
        true
    }

    pub(super) fn call(&self, context: &Context<'_>, function: usize, out: &mut Emission) {
        out.word(mov(W, X5, RUN));
        let reach = |from: usize| (function as i64).wrapping_sub(from as i64);
        let near = |from: usize| Field::Imm26.reaches(reach(from)) && function.is_multiple_of(4);
        if near(context.window.start) && near(context.window.end) {
            out.outside.push(Outside { at: out.here(), address: function });
            out.word(BL);
        } else {
            out.constant(T0, function as u64);
            out.word(blr(T0));
        }
        out.word(mov(W, R0, X0));
    }

    /// Goes to another program's main function, if the decision is to.
    pub(super) fn tail_call(&self, context: &Context<'_>, function: usize, out: &mut Emission) {
        self.call(context, function, out);
        let at = out.bytes.len();
        out.word(B);
        let context = Run::CONTEXT as u32 / 8;
        if self.main {
            out.word(mov(W, X1, RUN));
            self.undo_frame(out);
            out.word(access(Access::Load, 3, X0, X1, context));
            out.word(br(R0));
        } else {
            // A main function returns in x0, and this one's caller wants x7.
            out.word(access(Access::Load, 3, X0, RUN, context));
            out.word(mov(W, X1, RUN));
            out.word(blr(R0));
            out.word(mov(W, R0, X0));
            self.leave(out);
        }
        let distance = (out.bytes.len() - at) as i64;
        let skip = Field::Imm19.with(cbz(W, false, R0), distance);
        if let Some(word) = out.bytes.get_mut(at..at + 4) {
            word.copy_from_slice(&skip.to_le_bytes());
        }
    }

    /// Stores a place in a word of the run.
    pub(super) fn note(&self, index: u8, src: Place, out: &mut Emission) {
        let word = Run::NOTES as u32 / 8 + u32::from(index);
        out.word(access(Access::Store, 3, home(src), RUN, word));
    }

    pub(super) fn function_address(&self, dst: Place, function: u32, out: &mut Emission) {
        let d = home(dst);
        Self::jump(adr(d, 0), ADDRESS, Target::Function(function), out);
        out.word(sum_imm(Sum::Add, W, d, d, 0, true));
    }

    /// The code that enters callbacks, see [`super::super::emitter::Emitter::trampoline`].
    pub(super) fn enter_callback(&self, out: &mut Emission) {
        const X2: Reg = 2;
        out.word(push_pair(RUN, LINK));
        out.word(mov(W, RUN, X1));
        out.word(mov(W, T0, X2));
        out.word(mov(W, T1, X0));
        out.word(load_pair(X0, X1, T1, 0));
        out.word(load_pair(X2, X2 + 1, T1, 16));
        out.word(access(Access::Load, 3, X2 + 2, T1, 4));
        out.word(blr(T0));
        out.word(mov(W, X0, R0));
        out.word(pop_pair(RUN, LINK));
        out.word(RET);
    }

    pub(super) fn call_local(&self, function: u32, out: &mut Emission) {
        Self::jump(BL, FAR, Target::Function(function), out);
    }

    /// Counts a round of the run, and jumps when there are no more.
    pub(super) fn may_goto(&self, target: u32, out: &mut Emission) {
        let rounds = Run::ROUNDS as u32 / 4;
        out.word(access(Access::Load, 2, T0, RUN, rounds));
        out.word(sum_imm(Sum::Subs, D, T0, T0, 1, false));
        out.word(access(Access::Store, 2, T0, RUN, rounds));
        Self::branch_if(cc::MI, target, out);
    }

    /// Ends the program with 0 if r0 is negative.
    pub(super) fn leave_if_negative(&self, out: &mut Emission) {
        let at = out.bytes.len();
        out.word(B);
        self.leave_with(0, out);
        let distance = (out.bytes.len() - at) as i64;
        let skip = Field::Imm14.with(tbz(false, R0, 63), distance);
        if let Some(word) = out.bytes.get_mut(at..at + 4) {
            word.copy_from_slice(&skip.to_le_bytes());
        }
    }

    /// The number of the CPU.
    pub(super) fn cpu_id(&self, offset: i32, d: Reg, out: &mut Emission) {
        out.word(thread_pointer(T1));
        if (0..4096 * 4).contains(&offset) && offset % 4 == 0 {
            out.word(access(Access::Load, 2, d, T1, offset as u32 / 4));
        } else {
            out.add(W, T1, T1, i64::from(offset));
            out.word(access(Access::Load, 2, d, T1, 0));
        }
    }

    /// The time by the virtual counter, which must not be read before what stands before.
    pub(super) fn clock(&self, factor: u64, out: &mut Emission) {
        out.word(ISB);
        out.word(counter(T1));
        out.constant(T0, factor);
        // Of the product's 128 bits the middle counts.
        out.word(madd(W, R0, T1, T0, ZERO));
        out.word(umulh(T1, T1, T0));
        out.word(extr(W, R0, T1, R0, 32));
    }

    /// An array lookup, with the test of its result if that follows.
    pub(super) fn lookup(
        &self,
        context: &Context<'_>,
        nodes: &[Node],
        array: u32,
        out: &mut Emission,
    ) -> Option<usize> {
        let array = context.arrays.get(array as usize)?;
        let index = home(Place::R2);
        // The place of r1 is free: a lookup writes it.
        let free = home(Place::R1);
        out.word(access(Access::Load, 2, free, index, 0));
        out.constant(R0, 0);
        let entries = i64::from(array.entries);
        out.compare(D, free, entries as i32 as i64);
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
            Some(target) => Self::branch_if(cc::HS, target, out),
            None => {
                beyond = Some(out.bytes.len());
                out.word(B);
            }
        }
        out.constant(R0, array.base as u64);
        if array.stride.is_power_of_two() {
            let by = array.stride.trailing_zeros() as u8;
            if by <= 4 {
                out.word(add_extended(R0, R0, free, W, by));
            } else {
                out.word(shift_left(W, free, free, by));
                out.word(sum(Sum::Add, W, R0, R0, free, (Shift::Left, 0)));
            }
        } else {
            out.constant(T0, array.stride as u64);
            out.word(madd(W, R0, free, T0, R0));
        }
        if array.cpu_stride != 0 {
            self.cpu_id(context.intrinsics.cpu_id?, free, out);
            out.constant(T0, array.cpu_stride as u64);
            out.word(madd(W, R0, free, T0, R0));
        }
        if let Some(at) = beyond {
            let distance = (out.bytes.len() - at) as i64;
            let skip = Field::Imm19.with(b_cond(cc::HS), distance);
            out.bytes.get_mut(at..at + 4)?.copy_from_slice(&skip.to_le_bytes());
        }
        Some(if test.is_some() { 2 } else { 1 })
    }

    /// Writes the distances of jumps. A branch that does not reach becomes the opposite branch
    /// over a jump.
    pub(super) fn finish_jumps(out: &mut Emission) -> Result<(), &'static str> {
        let more = |kind: u16, distance| {
            let fine = kind == ADDRESS || field(kind).reaches(distance);
            if fine { 0 } else { 4 }
        };
        let longer = far::widen(out, 4, more);
        for index in 0..out.jumps.len() {
            let Some(&Jump { mut at, to, mut kind }) = out.jumps.get(index) else { break };
            let target = i64::from(out.position(to));
            let word = |at: u32| at as usize..at as usize + 4;
            let mut old = [0; 4];
            old.copy_from_slice(out.bytes.get(word(at)).ok_or("a jump outside of the code")?);
            let mut bytes = u32::from_le_bytes(old);
            if kind == ADDRESS {
                if (target - i64::from(at)).unsigned_abs() >= 1 << 24 {
                    return Err("a function this far");
                }
                let code = out.bytes.get_mut(at as usize..at as usize + 8).ok_or("an address")?;
                write_address(code, (bytes & 31) as Reg, target - i64::from(at));
                continue;
            }
            if longer.get(index).is_some_and(|&more| more != 0) {
                if kind == FAR {
                    return Err("a jump this far");
                }
                let opposite = if bytes >> 24 == 0x54 { bytes ^ 1 } else { bytes ^ 1 << 24 };
                let skip = field(kind).with(opposite, 8).to_le_bytes();
                out.bytes.get_mut(word(at)).ok_or("a jump")?.copy_from_slice(&skip);
                (at, bytes, kind) = (at + 4, B, FAR);
            }
            let distance = target - i64::from(at);
            if !field(kind).reaches(distance) {
                return Err("a jump this far");
            }
            let word_bytes = field(kind).with(bytes, distance).to_le_bytes();
            out.bytes.get_mut(word(at)).ok_or("a jump")?.copy_from_slice(&word_bytes);
        }
        Ok(())
    }

    /// Writes the distances of calls of helpers.
    pub(super) fn place_calls(code: &mut [u8], address: usize, outside: &[Outside]) {
        for &Outside { at, address: target } in outside {
            let from = address.wrapping_add(at as usize);
            let distance = (target as i64).wrapping_sub(from as i64);
            if let Some(field) = code.get_mut(at as usize..at as usize + 4) {
                field.copy_from_slice(&Field::Imm26.with(BL, distance).to_le_bytes());
            }
        }
    }
}

/// `adr` and an addition, which reach 16 MiB both ways.
fn write_address(code: &mut [u8], d: Reg, distance: i64) {
    let amount = distance.unsigned_abs() as u32;
    let (op, low) = if distance < 0 {
        (Sum::Sub, -((amount & 0xfff) as i32))
    } else {
        (Sum::Add, (amount & 0xfff) as i32)
    };
    let words = [adr(d, low), sum_imm(op, W, d, d, amount >> 12 & 0xfff, true)];
    for (to, word) in code.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
}
