//! Pieces of random programs that access memory: the context, the stack, maps and their values.

use super::{CONTEXT, Generator, Kind, VALUE_SIZES};
use crate::helper::proto::id;
use crate::insn::{AluOp, AtomicOp, Cond, Imm64, Insn, Operand, Reg, SignedSize, Size, Width};

const MEMORY_SIZES: [Size; 4] = [Size::B, Size::H, Size::W, Size::DW];

impl Generator<'_> {
    pub(super) fn context_load(&mut self) {
        let Some(base) = self.find(|kind| kind == Kind::Context) else { return };
        let dst = self.any();
        let size = self.random.pick(&MEMORY_SIZES);
        let step = u64::from(size.bytes());
        let slack = u64::from(self.random.one_in(60));
        let offset = self.random.below(CONTEXT as u64 / step + slack) * step;
        self.insns.push(Insn::Load { size, dst, base, offset: offset as i16 });
        self.set(dst, Kind::Number);
    }

    pub(super) fn stack_access(&mut self) {
        let size = self.random.pick(&MEMORY_SIZES);
        let step = i64::from(size.bytes());
        let slots = 40 / step;
        let offset = -(step * (1 + self.random.below(slots as u64) as i64)) as i16;
        if self.random.one_in(2) {
            let any = self.find(|kind| kind != Kind::Unset);
            let src = match any {
                Some(src) if !self.random.one_in(4) => Operand::Reg(src),
                _ => Operand::Imm(self.immediate()),
            };
            self.insns.push(Insn::Store { size, base: Reg::FP, offset, src });
        } else {
            let dst = self.any();
            self.insns.push(Insn::Load { size, dst, base: Reg::FP, offset });
            self.set(dst, if size == Size::DW { Kind::Muddle } else { Kind::Number });
        }
    }

    /// Puts a key on the stack and r1, r2 in place for a call about a map.
    pub(super) fn prepare_key(&mut self, map: u32) {
        let key = match self.number() {
            Some(register) if !self.random.one_in(3) => Operand::Reg(register),
            _ => Operand::Imm(self.random.below(5) as i32),
        };
        self.insns.push(Insn::Store { size: Size::W, base: Reg::FP, offset: -4, src: key });
        self.mov(Reg::R2, Reg::FP);
        self.alu(AluOp::Add, Reg::R2, -4);
        self.insns.push(Insn::LoadImm64 { dst: Reg::R1, value: Imm64::MapIndex(map) });
        self.insns.push(Insn::WideTail);
    }

    pub(super) fn lookup(&mut self, depth: u64) {
        let map = self.random.below(3) as u32;
        self.prepare_key(map);
        self.insns.push(Insn::CallHelper { id: id::MAP_LOOKUP_ELEM });
        self.clobber();
        let size = VALUE_SIZES[map as usize];
        if self.random.one_in(12) {
            self.set(Reg::R0, Kind::Value(size));
            return;
        }
        // if r0 != 0 { pieces } or: if r0 == 0 exit
        if self.random.one_in(2) && depth < 3 {
            let at = self.insns.len();
            self.insns.push(Insn::Exit);
            let before = self.kinds;
            self.set(Reg::R0, Kind::Value(size));
            let keep = self.random.pick(&[Reg::R6, Reg::R7, Reg::R8]);
            self.mov(keep, Reg::R0);
            let count = 1 + self.random.below(4);
            self.pieces(count, depth + 1);
            self.close(at, Cond::Eq, Reg::R0, Operand::Imm(0), Width::W64);
            self.join(before);
        } else {
            let src = Operand::Imm(0);
            self.insns.push(Insn::Branch {
                width: Width::W64,
                cond: Cond::Ne,
                dst: Reg::R0,
                src,
                offset: 1,
            });
            // r0 is 0 here, which is an answer.
            self.insns.push(Insn::Exit);
            self.set(Reg::R0, Kind::Value(size));
            let keep = self.random.pick(&[Reg::R6, Reg::R7, Reg::R8]);
            self.mov(keep, Reg::R0);
        }
    }

    pub(super) fn value_access(&mut self) {
        let Some(base) = self.find(|kind| matches!(kind, Kind::Value(_))) else { return };
        let Kind::Value(limit) = self.kinds[base.index()] else { return };
        let size = self.random.pick(&MEMORY_SIZES);
        let step = u64::from(size.bytes());
        let slack = u64::from(self.random.one_in(60));
        let offset = (self.random.below(u64::from(limit) / step + slack) * step) as i16;
        let number = self.number();
        match self.random.below(6) {
            0 => {
                if let Some(src) = number {
                    let width = self.random.pick(&[Width::W32, Width::W64]);
                    let offset = offset & !7;
                    let op = self.random.pick(&[
                        AtomicOp::Add { fetch: false },
                        AtomicOp::Add { fetch: true },
                        AtomicOp::Xor { fetch: true },
                        AtomicOp::Xchg,
                    ]);
                    self.insns.push(Insn::Atomic { op, width, base, offset, src });
                    self.set(src, Kind::Number);
                }
            }
            1 | 2 => {
                let src = number.map_or(Operand::Imm(7), Operand::Reg);
                self.insns.push(Insn::Store { size, base, offset, src });
            }
            3 => {
                let dst = self.any();
                let size = self.random.pick(&[SignedSize::B, SignedSize::H, SignedSize::W]);
                let offset = offset & !3;
                self.insns.push(Insn::LoadSx { size, dst, base, offset });
                self.set(dst, Kind::Number);
            }
            _ => {
                let dst = self.any();
                self.insns.push(Insn::Load { size, dst, base, offset });
                self.set(dst, Kind::Number);
            }
        }
    }

    /// Adds a bounded number to a pointer and uses the sum at once.
    pub(super) fn pointer_arithmetic(&mut self) {
        let value = self.find(|kind| matches!(kind, Kind::Value(_)));
        let index = self.find(|kind| matches!(kind, Kind::Bounded(_)));
        let (Some(base), Some(index)) = (value, index) else { return };
        let (Kind::Value(limit), Kind::Bounded(most)) =
            (self.kinds[base.index()], self.kinds[index.index()])
        else {
            return;
        };
        let dst = self.random.pick(&[Reg::R2, Reg::R3, Reg::R4, Reg::R5]);
        if dst == index {
            return;
        }
        self.mov(dst, base);
        let op = if self.random.one_in(10) { AluOp::Sub } else { AluOp::Add };
        self.insns.push(Insn::Alu { width: Width::W64, op, dst, src: Operand::Reg(index) });
        self.set(dst, Kind::Muddle);
        let room = i64::from(limit) - i64::from(most);
        let size = self.random.pick(&MEMORY_SIZES);
        let fits = room - i64::from(size.bytes());
        let slack = i64::from(self.random.one_in(10));
        if fits + slack < 0 {
            return;
        }
        let offset = self.random.below((fits + slack + 1) as u64) as i16;
        if self.random.one_in(2) {
            self.insns.push(Insn::Store { size, base: dst, offset, src: Operand::Imm(3) });
        } else {
            let to = self.any();
            self.insns.push(Insn::Load { size, dst: to, base: dst, offset });
            self.set(to, Kind::Number);
        }
    }

    pub(super) fn update(&mut self) {
        let map = self.random.below(2) as u32;
        for offset in [-16, -24, -32, -40, -48, -56] {
            let src = match self.number() {
                Some(register) if self.random.one_in(2) => Operand::Reg(register),
                _ => Operand::Imm(self.immediate()),
            };
            self.insns.push(Insn::Store { size: Size::DW, base: Reg::FP, offset, src });
        }
        self.prepare_key(map);
        self.mov(Reg::R3, Reg::FP);
        self.alu(AluOp::Add, Reg::R3, -56);
        let flags = self.random.below(3) as i32;
        self.mov_imm(Reg::R4, flags);
        let delete = self.random.one_in(4);
        let id = if delete { id::MAP_DELETE_ELEM } else { id::MAP_UPDATE_ELEM };
        self.insns.push(Insn::CallHelper { id });
        self.clobber();
        self.set(Reg::R0, Kind::Number);
    }
}
