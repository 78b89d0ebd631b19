//! What is known of each place within a basic block: copies, sums and shifts of other places,
//! and which upper halves are zero.
//!
//! With it, moves disappear into the operations that use them, and additions into addresses.

use crate::insn::{AluOp, Width};
use crate::jit::ir::{Mem, Op, PLACES, Place, Source};

/// What a place holds, in terms of places that have not changed since.
#[derive(Clone, Copy, Debug)]
struct Fact {
    kind: Kind,
    a: Place,
    /// The same as `a` where the fact is about one place.
    b: Place,
    shift: u8,
    offset: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// All 64 bits of `a`.
    Copy,
    /// The lower 32 bits of `a`; the upper are zero.
    Copy32,
    /// `a`, which may be the frame pointer, and `offset`.
    Offset,
    /// `a + (b << shift)`
    Sum,
    /// `a << shift`, by 1 to 3 bits.
    Shifted,
}

impl Fact {
    /// About one place.
    const fn of(kind: Kind, a: Place) -> Fact {
        Fact { kind, a, b: a, shift: 0, offset: 0 }
    }

    const fn sum(a: Place, b: Place, shift: u8) -> Fact {
        Fact { kind: Kind::Sum, a, b, shift, offset: 0 }
    }
}

/// The facts of a basic block.
pub(super) struct Known {
    /// Of places that have none it is something else.
    facts: [Fact; PLACES],
    /// For each place, those whose facts may mention it.
    mentioned: [u32; PLACES],
    /// Places that have a fact.
    any: u32,
    /// Places whose upper half is zero.
    narrow: u32,
}

impl Known {
    pub(super) const fn new() -> Self {
        let facts = [Fact::of(Kind::Copy, Place::R0); PLACES];
        Self { facts, mentioned: [0; PLACES], any: 0, narrow: 0 }
    }

    /// A new block begins: nothing is known.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.narrow = 0;
        self.any = 0;
    }

    #[inline]
    fn fact(&self, place: Place) -> Option<Fact> {
        (self.any & place.bit() != 0).then(|| self.facts[place.index()])
    }

    /// Whether the upper half of a place is zero.
    #[inline]
    pub(super) const fn is_narrow(&self, place: Place) -> bool {
        self.narrow & place.bit() != 0
    }

    /// The oldest place that holds the same 64 bits.
    #[inline]
    pub(super) fn wide(&self, place: Place) -> Place {
        match self.fact(place) {
            Some(Fact { kind: Kind::Copy, a, .. }) => a,
            _ => place,
        }
    }

    /// The oldest place that holds the same lower 32 bits.
    #[inline]
    pub(super) fn low(&self, place: Place) -> Place {
        match self.fact(place) {
            Some(Fact { kind: Kind::Copy | Kind::Copy32, a, .. }) => a,
            _ => place,
        }
    }

    /// As [`Known::wide`] or [`Known::low`].
    #[inline]
    pub(super) fn operand(&self, place: Place, width: Width) -> Place {
        match width {
            Width::W64 => self.wide(place),
            Width::W32 => self.low(place),
        }
    }

    /// The place and the constant whose sum a place holds: of a copy of the frame pointer too.
    #[inline]
    pub(super) fn offset(&self, place: Place) -> (Place, i32) {
        match self.fact(place) {
            Some(Fact { kind: Kind::Offset | Kind::Copy, a, offset, .. }) => (a, offset),
            _ => (place, 0),
        }
    }

    /// The same memory, with less to compute before; `addresses` says what the machine can.
    #[inline]
    pub(super) fn memory(&self, mem: Mem, addresses: impl Fn(&Mem) -> bool) -> Mem {
        let mut mem = mem;
        if self.any & mem.base.bit() == 0 {
            return mem;
        }
        // An offset of a sum of an offset is as far as one can go.
        for _ in 0..3 {
            let Some(Fact { kind, a, b, shift, offset }) = self.fact(mem.base) else { break };
            let next = match kind {
                Kind::Copy | Kind::Offset => match mem.offset.checked_add(offset) {
                    Some(offset) => Mem { base: a, offset, ..mem },
                    None => break,
                },
                Kind::Sum if mem.index.is_none() => Mem { base: a, index: Some(b), shift, ..mem },
                _ => break,
            };
            if !addresses(&next) {
                break;
            }
            mem = next;
        }
        mem
    }

    /// A place is written: what was known of it, or by it, is not so any more.
    #[inline(always)]
    fn written(&mut self, place: usize) {
        self.any &= !(self.mentioned[place] | 1 << place);
        self.mentioned[place] = 0;
    }

    fn learn(&mut self, dst: Place, fact: Fact) {
        self.mentioned[fact.a.index()] |= dst.bit();
        self.mentioned[fact.b.index()] |= dst.bit();
        self.facts[dst.index()] = fact;
        self.any |= dst.bit();
    }

    /// The effect of an operation with these places read and written.
    #[inline(always)]
    pub(super) fn follow(&mut self, op: &Op, (read, written): (u32, u32)) {
        let narrow = self.makes_narrow(op);
        match op.destination() {
            Some(dst) => self.written(dst.index()),
            None => {
                let mut left = written;
                while left != 0 {
                    self.written(left.trailing_zeros() as usize % PLACES);
                    left &= left - 1;
                }
            }
        }
        self.narrow = if narrow { self.narrow | written } else { self.narrow & !written };
        // What was known in terms of what has just been overwritten is gone by now, and no fact is
        // in terms of it. Nor of the temporary place, which holds what it does within one
        // instruction only.
        if read & (written | Place::TEMPORARY.bit()) == 0
            && let Some((dst, fact)) = self.fact_of(op)
        {
            self.learn(dst, fact);
        }
    }

    #[inline(always)]
    fn makes_narrow(&self, op: &Op) -> bool {
        match *op {
            Op::Move { width, src, .. } => width == Width::W32 || self.is_narrow(src),
            Op::Alu { width: Width::W32, .. }
            | Op::Negate { width: Width::W32, .. }
            | Op::SignExtend { width: Width::W32, .. }
            | Op::Rotate { width: Width::W32, .. }
            | Op::Truncate { .. } => true,
            Op::Alu { op: AluOp::And, a, b, .. } => match b {
                Source::Imm(imm) => imm >= 0 || self.is_narrow(a),
                Source::Place(b) => self.is_narrow(a) || self.is_narrow(b),
            },
            Op::Alu { op: AluOp::Rsh | AluOp::Div | AluOp::Mod, a, .. } => self.is_narrow(a),
            Op::Alu { op: AluOp::Or | AluOp::Xor, a, b: Source::Place(b), .. } => {
                self.is_narrow(a) && self.is_narrow(b)
            }
            Op::Constant { value, .. } => value >> 32 == 0,
            Op::Select { moved: Width::W32, .. } => true,
            Op::Select { dst, value, .. } => {
                self.is_narrow(dst)
                    && match value {
                        Source::Imm(imm) => imm >= 0,
                        Source::Place(place) => self.is_narrow(place),
                    }
            }
            Op::Load { size, signed: false, .. } => size != crate::insn::Size::DW,
            Op::Atomic { width: Width::W32, .. } => true,
            _ => false,
        }
    }

    #[inline(always)]
    fn fact_of(&self, op: &Op) -> Option<(Place, Fact)> {
        Some(match *op {
            Op::Move { width, dst, src } => {
                let kind = match width {
                    Width::W64 if src == Place::FRAME => Kind::Offset,
                    Width::W64 => Kind::Copy,
                    Width::W32 => Kind::Copy32,
                };
                (dst, Fact::of(kind, src))
            }
            Op::Alu { width: Width::W64, op, dst, a, b, .. } => match (op, b) {
                (AluOp::Add, Source::Imm(offset)) => {
                    (dst, Fact { offset, ..Fact::of(Kind::Offset, a) })
                }
                (AluOp::Add, Source::Place(b)) => {
                    let shifted = |fact: &Fact| fact.kind == Kind::Shifted;
                    let index = |place: Place| self.fact(place).filter(shifted);
                    let fact = match (index(a), index(b)) {
                        (_, Some(index)) => Fact::sum(a, index.a, index.shift),
                        (Some(index), None) => Fact::sum(b, index.a, index.shift),
                        (None, None) => Fact::sum(a, b, 0),
                    };
                    (dst, fact)
                }
                (AluOp::Lsh, Source::Imm(shift @ 1..=3)) => {
                    (dst, Fact { shift: shift as u8, ..Fact::of(Kind::Shifted, a) })
                }
                _ => return None,
            },
            _ => return None,
        })
    }
}
