//! Random programs, of which the verifier accepts a good part: the generator keeps a rough idea
//! of what each register holds, and mostly (never always) uses it as one should. Bounds are
//! often right, often off by a little.

mod memory;

use alloc::vec::Vec;

use crate::insn::{
    AluOp, ByteOrder, Cond, Imm64, Insn, Operand, Reg, SignedSize, SwapWidth, Width,
};

/// What the generator believes of a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Unset,
    Number,
    /// A number from 0 to this.
    Bounded(u32),
    Context,
    /// The frame pointer's copy, with this offset.
    Stack(i16),
    /// A map's value of this size.
    Value(u16),
    /// Nobody knows.
    Muddle,
}

/// Sizes of the maps that programs refer to: array, hash, read-only array.
pub(super) const VALUE_SIZES: [u16; 3] = [48, 16, 24];
/// Bytes of context.
pub(super) const CONTEXT: usize = 96;

/// A random number generator (xorshift64*), so that every failure can be repeated.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

struct Generator<'r> {
    random: &'r mut Random,
    insns: Vec<Insn>,
    kinds: [Kind; 10],
    /// Slots that call the subprogram.
    calls: Vec<usize>,
}

/// A program of about `size` pieces.
pub(super) fn program(random: &mut Random, size: u64) -> Vec<Insn> {
    let mut kinds = [Kind::Unset; 10];
    kinds[1] = Kind::Context;
    let mut generator = Generator { random, insns: Vec::new(), kinds, calls: Vec::new() };
    generator.body(size);
    generator.result();
    if !generator.calls.is_empty() {
        let start = generator.insns.len();
        for call in core::mem::take(&mut generator.calls) {
            let offset = (start - call - 1) as i32;
            generator.insns[call] = Insn::CallLocal { offset };
        }
        generator.kinds = [Kind::Unset; 10];
        for argument in 1..6 {
            generator.kinds[argument] = Kind::Number;
        }
        let size = 1 + generator.random.below(6);
        generator.pieces(size, 1);
        generator.calls.clear();
        generator.result();
    }
    generator.insns
}

impl Generator<'_> {
    fn body(&mut self, size: u64) {
        if !self.random.one_in(4) {
            let keep = Reg::R9;
            self.mov(keep, Reg::R1);
        }
        // Some numbers that nobody knows.
        for _ in 0..1 + self.random.below(3) {
            self.context_load();
        }
        self.pieces(size, 0);
    }

    fn result(&mut self) {
        match self.find(|kind| matches!(kind, Kind::Number | Kind::Bounded(_))) {
            Some(register) if !self.random.one_in(8) => self.mov(Reg::R0, register),
            _ => self.mov_imm(Reg::R0, 1),
        }
        self.insns.push(Insn::Exit);
    }

    fn pieces(&mut self, count: u64, depth: u64) {
        for _ in 0..count {
            self.piece(depth);
        }
    }

    fn piece(&mut self, depth: u64) {
        match self.random.below(34) {
            0..6 => self.arithmetic(),
            6 | 7 => self.context_load(),
            8 | 9 => self.bound(),
            10..13 => self.stack_access(),
            13..16 => self.lookup(depth),
            16..20 => self.value_access(),
            20..22 => self.pointer_arithmetic(),
            22..25 if depth < 3 => self.branch(depth),
            25 if depth < 2 => self.counted_loop(depth),
            26 => self.update(),
            27 if depth == 0 => self.call_local(),
            28 => self.unary(),
            29 => self.choice(),
            30 => self.wide_constant(),
            31 if depth < 2 => self.shared_tail(depth),
            32 => self.half(),
            _ => {
                let register = self.any();
                let imm = self.immediate();
                self.mov_imm(register, imm);
            }
        }
    }

    fn any(&mut self) -> Reg {
        Reg::ALL[self.random.below(10) as usize]
    }

    fn find(&mut self, wanted: impl Fn(Kind) -> bool) -> Option<Reg> {
        let start = self.random.below(10) as usize;
        (0..10).map(|i| (start + i) % 10).find(|&i| wanted(self.kinds[i])).map(|i| Reg::ALL[i])
    }

    fn number(&mut self) -> Option<Reg> {
        if self.random.one_in(200) {
            return Some(self.any());
        }
        self.find(|kind| matches!(kind, Kind::Number | Kind::Bounded(_)))
    }

    fn set(&mut self, register: Reg, kind: Kind) {
        if let Some(slot) = self.kinds.get_mut(register.index()) {
            *slot = kind;
        }
    }

    fn mov(&mut self, dst: Reg, src: Reg) {
        self.insns.push(Insn::Mov { width: Width::W64, dst, src: Operand::Reg(src) });
        let kind = self.kinds.get(src.index()).copied().unwrap_or(Kind::Stack(0));
        self.set(dst, kind);
    }

    fn mov_imm(&mut self, dst: Reg, imm: i32) {
        self.insns.push(Insn::Mov { width: Width::W64, dst, src: Operand::Imm(imm) });
        self.set(dst, u32::try_from(imm).map_or(Kind::Number, Kind::Bounded));
    }

    fn alu(&mut self, op: AluOp, dst: Reg, imm: i32) {
        self.insns.push(Insn::Alu { width: Width::W64, op, dst, src: Operand::Imm(imm) });
    }

    fn immediate(&mut self) -> i32 {
        match self.random.below(4) {
            0 => self.random.below(9) as i32,
            1 => self.random.pick(&[-1, 63, 64, 0x7fff_ffff, i32::MIN, 0xff, 0xffff, -8]),
            2 => 1 << self.random.below(31),
            _ => self.random.next() as i32,
        }
    }

    fn width(&mut self) -> Width {
        if self.random.one_in(3) { Width::W32 } else { Width::W64 }
    }

    fn arithmetic(&mut self) {
        let Some(dst) = self.number() else { return };
        let (op, width) = (self.random.pick(&AluOp::ALL), self.width());
        let src = match self.number() {
            Some(src) if self.random.one_in(2) => Operand::Reg(src),
            _ => {
                let bits = if width == Width::W32 { 32 } else { 64 };
                Operand::Imm(match op {
                    AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => self.random.below(bits) as i32,
                    AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod => self.immediate() | 1,
                    _ => self.immediate(),
                })
            }
        };
        self.insns.push(Insn::Alu { width, op, dst, src });
        self.set(dst, Kind::Number);
    }

    fn unary(&mut self) {
        let Some(dst) = self.number() else { return };
        let width = self.width();
        self.insns.push(match self.random.below(4) {
            0 => Insn::Neg { width, dst },
            1 => Insn::ByteOrder {
                kind: self.random.pick(&[ByteOrder::ToLittle, ByteOrder::ToBig, ByteOrder::Swap]),
                dst,
                bits: self.random.pick(&[SwapWidth::B16, SwapWidth::B32, SwapWidth::B64]),
            },
            2 => Insn::MovSx { width, dst, src: dst, from: SignedSize::B },
            _ => Insn::Mov { width: Width::W32, dst, src: Operand::Reg(dst) },
        });
        self.set(dst, Kind::Number);
    }

    /// Makes a number small, by a mask, a remainder, a shift, or a test that ends the program.
    fn bound(&mut self) {
        let Some(dst) = self.number() else { return };
        let limit = self.random.pick(&[3, 7, 8, 15, 16, 31, 40, 47, 63, 255]);
        match self.random.below(5) {
            0 => self.alu(AluOp::And, dst, limit),
            1 => self.alu(AluOp::Mod, dst, limit + 1),
            2 => self.alu(AluOp::Rsh, dst, 58),
            3 => {
                // A remainder that may be negative, then made positive.
                self.alu(AluOp::SMod, dst, limit + 1);
                self.alu(AluOp::Add, dst, limit);
            }
            _ => {
                let cond = self.random.pick(&[Cond::Le, Cond::Lt, Cond::Sle, Cond::Slt]);
                let width = self.width();
                let src = Operand::Imm(limit);
                self.insns.push(Insn::Branch { width, cond, dst, src, offset: 2 });
                self.insns.push(Insn::Mov {
                    width: Width::W64,
                    dst: Reg::R0,
                    src: Operand::Imm(0),
                });
                self.insns.push(Insn::Exit);
                if matches!(cond, Cond::Sle | Cond::Slt) && !self.random.one_in(4) {
                    self.insns.push(Insn::Branch {
                        width,
                        cond: Cond::Sge,
                        dst,
                        src: Operand::Imm(0),
                        offset: 2,
                    });
                    self.insns.push(Insn::Mov {
                        width: Width::W64,
                        dst: Reg::R0,
                        src: Operand::Imm(0),
                    });
                    self.insns.push(Insn::Exit);
                }
            }
        }
        self.set(dst, Kind::Bounded(limit as u32));
    }

    fn clobber(&mut self) {
        for register in 1..6 {
            self.kinds[register] = Kind::Unset;
        }
    }

    /// Fills in the branch at `at`, over everything since.
    fn close(&mut self, at: usize, cond: Cond, dst: Reg, src: Operand, width: Width) {
        let offset = (self.insns.len() - at - 1) as i16;
        self.insns[at] = Insn::Branch { width, cond, dst, src, offset };
    }

    fn join(&mut self, other: [Kind; 10]) {
        for (kind, other) in self.kinds.iter_mut().zip(other) {
            *kind = match (*kind, other) {
                (a, b) if a == b => a,
                (Kind::Unset, _) | (_, Kind::Unset) => Kind::Unset,
                (Kind::Number | Kind::Bounded(_), Kind::Number | Kind::Bounded(_)) => Kind::Number,
                _ => Kind::Muddle,
            };
        }
    }

    fn branch(&mut self, depth: u64) {
        let Some(dst) = self.number() else { return };
        let src = match self.number() {
            Some(src) if self.random.one_in(3) => Operand::Reg(src),
            _ => Operand::Imm(self.immediate()),
        };
        let (cond, width) = (self.random.pick(&Cond::ALL), self.width());
        let at = self.insns.len();
        self.insns.push(Insn::Exit);
        let before = self.kinds;
        let count = 1 + self.random.below(4);
        self.pieces(count, depth + 1);
        if self.random.one_in(2) {
            // With an else.
            let over = self.insns.len();
            self.insns.push(Insn::Exit);
            self.close(at, cond, dst, src, width);
            let then = core::mem::replace(&mut self.kinds, before);
            let count = 1 + self.random.below(3);
            self.pieces(count, depth + 1);
            let offset = (self.insns.len() - over - 1) as i32;
            self.insns[over] = Insn::Jump { offset, long: self.random.one_in(4) };
            self.join(then);
        } else {
            self.close(at, cond, dst, src, width);
            self.join(before);
        }
    }

    /// A branch over one move, as compilers choose between two values, perhaps with a jump behind.
    fn choice(&mut self) {
        let (Some(left), Some(dst)) = (self.number(), self.number()) else { return };
        let (width, cond) = (self.width(), self.random.pick(&Cond::ALL));
        let operand = |generator: &mut Self| match generator.number() {
            Some(register) if generator.random.one_in(2) => Operand::Reg(register),
            _ => Operand::Imm(generator.immediate()),
        };
        let (right, value) = (operand(self), operand(self));
        let jumps = self.random.one_in(2);
        let offset = if jumps { 3 } else { 1 };
        self.insns.push(Insn::Branch { width, cond, dst: left, src: right, offset });
        let moved = self.width();
        self.insns.push(Insn::Mov { width: moved, dst, src: value });
        if jumps {
            self.insns.push(Insn::Jump { offset: 1, long: false });
            self.insns.push(Insn::Mov { width: Width::W64, dst, src: Operand::Imm(1) });
        }
        self.set(dst, Kind::Number);
    }

    fn wide_constant(&mut self) {
        let dst = self.any();
        let value = self.random.next() >> self.random.below(40);
        self.insns.push(Insn::LoadImm64 { dst, value: Imm64::Value(value) });
        self.insns.push(Insn::WideTail);
        self.set(dst, Kind::Number);
    }

    fn counted_loop(&mut self, depth: u64) {
        // The counter lives where calls keep it; the body may spoil it, which is the fun.
        let counter = self.random.pick(&[Reg::R6, Reg::R7, Reg::R8]);
        let rounds = 1 + self.random.below(12) as i32;
        self.mov_imm(counter, 0);
        let start = self.insns.len();
        let before = self.kinds;
        let count = 1 + self.random.below(3);
        self.pieces(count, depth + 1);
        self.join(before);
        self.alu(AluOp::Add, counter, 1);
        self.set(counter, Kind::Bounded(rounds as u32));
        let offset = start as i64 - self.insns.len() as i64 - 1;
        let (width, cond) = (self.width(), self.random.pick(&[Cond::Lt, Cond::Ne, Cond::Slt]));
        self.insns.push(Insn::Branch {
            width,
            cond,
            dst: counter,
            src: Operand::Imm(rounds),
            offset: offset as i16,
        });
    }

    /// A loop whose ways round lead to one tail, by jumps back: what it does, and the branch that
    /// goes on to the next round.
    fn shared_tail(&mut self, depth: u64) {
        let counter = self.random.pick(&[Reg::R6, Reg::R7, Reg::R8]);
        let rounds = 1 + self.random.below(9) as i32;
        self.mov_imm(counter, 0);
        let before = self.kinds;
        let entry = self.hole();
        let tail = self.insns.len();
        for _ in 0..self.random.below(4) {
            self.arithmetic();
        }
        self.alu(AluOp::Add, counter, 1);
        let (next, out) = (self.hole(), self.hole());
        self.jump_here(entry);
        let (width, cond) = (self.width(), self.random.pick(&[Cond::Lt, Cond::Ne, Cond::Slt]));
        let src = Operand::Imm(rounds);
        self.close(next, cond, counter, src, width);
        for _ in 0..self.random.below(4) {
            let Some(dst) = self.number() else { continue };
            let (width, cond) = (self.width(), self.random.pick(&[Cond::Gt, Cond::Eq, Cond::Sle]));
            let (src, test) = (Operand::Imm(self.immediate()), self.hole());
            let kinds = self.kinds;
            self.pieces(1, depth + 1);
            self.back_to(tail);
            self.kinds = kinds;
            self.close(test, cond, dst, src, width);
        }
        self.pieces(1, depth + 1);
        self.back_to(tail);
        self.jump_here(out);
        self.join(before);
        self.set(counter, Kind::Number);
    }

    /// A slot for an instruction that is still to be made.
    fn hole(&mut self) -> usize {
        self.insns.push(Insn::Exit);
        self.insns.len() - 1
    }

    /// Makes the instruction at a slot a jump to here.
    fn jump_here(&mut self, at: usize) {
        let offset = (self.insns.len() - at - 1) as i32;
        self.insns[at] = Insn::Jump { offset, long: false };
    }

    fn back_to(&mut self, start: usize) {
        let offset = start as i32 - self.insns.len() as i32 - 1;
        self.insns.push(Insn::Jump { offset, long: false });
    }

    /// A number out of half of whatever a register holds, or of the frame pointer.
    fn half(&mut self) {
        let src = if self.random.one_in(2) { Reg::R10 } else { self.any() };
        let dst = self.any();
        self.insns.push(Insn::Mov { width: Width::W32, dst, src: Operand::Reg(src) });
        self.set(dst, Kind::Number);
    }

    fn call_local(&mut self) {
        for argument in 1..6 {
            if self.kinds[argument] == Kind::Unset {
                self.mov_imm(Reg::ALL[argument], argument as i32);
            }
            if !matches!(self.kinds[argument], Kind::Number | Kind::Bounded(_)) {
                self.mov_imm(Reg::ALL[argument], 5);
            }
        }
        self.calls.push(self.insns.len());
        self.insns.push(Insn::Exit);
        self.clobber();
        self.set(Reg::R0, Kind::Number);
    }
}
