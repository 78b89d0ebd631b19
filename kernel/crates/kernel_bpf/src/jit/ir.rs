//! The form between BPF and machine code: [`Op`], three-operand operations on [`Place`]s.
//!
//! `front` makes it, emitters read it. A place is a BPF register, the frame pointer, or one of
//! the machine registers that BPF has no name for, where stack slots live that a function uses
//! much. Everything that is the same on all machines is decided before: which moves are needless,
//! which address is a sum, which shifts are a rotation, what is dead.

#![forbid(unsafe_code)]

use core::fmt;

use crate::insn::{AluOp, AtomicOp, Cond, Reg, SignedSize, Size, SwapWidth, Width};

/// Where a value lives while the program runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Place(u8);

/// Most places that a machine may have.
pub const PLACES: usize = 32;

impl Place {
    pub const R0: Place = Place(0);
    pub const R1: Place = Place(1);
    pub const R2: Place = Place(2);
    pub const R3: Place = Place(3);
    pub const R6: Place = Place(6);
    pub const R7: Place = Place(7);
    pub const R8: Place = Place(8);
    pub const R9: Place = Place(9);
    /// The frame pointer. It occurs as the base of memory, and as the first operand of a move or
    /// of an addition of a constant, nowhere else.
    pub const FRAME: Place = Place(10);
    /// What the front end needs for itself, within one instruction: emitters may use its register
    /// where the operation at hand does not.
    pub const TEMPORARY: Place = Place(11);
    /// The first of the machine's further registers.
    pub const FIRST_EXTRA: u8 = 12;

    /// The place of a BPF register.
    #[inline]
    #[must_use]
    pub const fn of(register: Reg) -> Place {
        Place(register as u8)
    }

    /// The `n`th of the machine's further registers.
    #[inline]
    #[must_use]
    pub const fn extra(n: u8) -> Place {
        Place(Self::FIRST_EXTRA + n)
    }

    /// The first place of a set that is not empty.
    #[inline]
    #[must_use]
    pub const fn first_of(set: u32) -> Place {
        Place(set.trailing_zeros() as u8)
    }

    /// Its number, below [`PLACES`].
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize % PLACES
    }

    /// Its bit in a set of places.
    #[inline]
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << (self.0 % PLACES as u8)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Place::FRAME => f.write_str("fp"),
            Place::TEMPORARY => f.write_str("t"),
            Place(number) if number < 10 => write!(f, "r{number}"),
            Place(number) => write!(f, "x{}", number - Self::FIRST_EXTRA),
        }
    }
}

/// A second operand. Constants are sign-extended where the operation is 64 bits wide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Place(Place),
    Imm(i32),
}

impl Source {
    /// The set of the places that it reads.
    #[inline]
    #[must_use]
    pub const fn reads(self) -> u32 {
        match self {
            Source::Place(place) => place.bit(),
            Source::Imm(_) => 0,
        }
    }
}

/// Memory at `base + (index << shift) + offset`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mem {
    pub base: Place,
    /// Only where [`super::emitter::Emitter::addresses`] said that the machine can.
    pub index: Option<Place>,
    /// 0 to 3.
    pub shift: u8,
    pub offset: i32,
}

impl Mem {
    /// Memory at `base + offset`.
    #[inline]
    #[must_use]
    pub const fn at(base: Place, offset: i32) -> Mem {
        Mem { base, index: None, shift: 0, offset }
    }

    /// The set of the places that its address reads.
    #[inline]
    #[must_use]
    pub const fn reads(self) -> u32 {
        match self.index {
            Some(index) => self.base.bit() | index.bit(),
            None => self.base.bit(),
        }
    }
}

/// An operation. 32-bit results clear the upper half of their place.
///
/// Its tag is a byte of its own, so that every pass finds it without arithmetic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Op {
    /// Nothing: an operation whose result nobody reads.
    Nop,
    /// Something jumps to this slot: what is known of the operations before does not hold.
    Label,
    /// The beginning of a function; an index into [`super::front::Lowered::functions`].
    Enter { function: u32 },
    /// `dst = src`
    Move { width: Width, dst: Place, src: Place },
    /// `dst = value`
    Constant { dst: Place, value: u64 },
    /// `dst = a op b`. Shift amounts that are constants are below the width. `nonzero`: it is
    /// proved that a divisor in a place is not zero.
    Alu { width: Width, op: AluOp, dst: Place, a: Place, b: Source, nonzero: bool },
    /// `dst = -src`
    Negate { width: Width, dst: Place, src: Place },
    /// `dst = src`, from its low bits, extended with their sign to `width`.
    SignExtend { width: Width, dst: Place, src: Place, from: SignedSize },
    /// `dst = src & 0xff` or `& 0xffff`
    Truncate { dst: Place, src: Place, size: SignedSize },
    /// `dst = src` with its low bytes in reverse order, the others zero.
    Swap { dst: Place, src: Place, bits: SwapWidth },
    /// `dst = src` rotated to the left by 1 to 31 (63) bits.
    Rotate { width: Width, dst: Place, src: Place, left: u8 },
    /// `dst = memory`, extended to 64 bits with zeros or the sign. With `acquire` in the order
    /// that RFC 9669's additions give to load-acquire.
    Load { size: Size, signed: bool, acquire: bool, dst: Place, mem: Mem },
    /// `memory = src`. With `release` in the order of store-release.
    Store { size: Size, release: bool, mem: Mem, src: Source },
    /// Atomic read-modify-write.
    Atomic { op: AtomicOp, width: Width, mem: Mem, src: Place },
    /// Goes to a slot. If nothing but plain operations stand between it and the branch of the slot
    /// `tail`, behind it, then a copy of both does as well (`repeat`).
    Jump { target: u32, tail: Option<u32> },
    /// Does what has been done since the label of a slot, in the basic block that it begins, so
    /// many times more (`repeat`).
    Rounds { start: u32, more: u32 },
    /// Goes to a slot if `a cond b`.
    Branch { width: Width, cond: Cond, a: Place, b: Source, target: u32 },
    /// `dst = value` unless `a cond b`; only where [`super::emitter::Emitter::SELECTS`]. `moved` is
    /// the width of the move: with 32 bits the upper half of the result is zero either way.
    Select {
        width: Width,
        cond: Cond,
        a: Place,
        b: Source,
        dst: Place,
        moved: Width,
        value: Source,
    },
    /// Goes to a slot when the rounds of the run are used up (see [`super::run::Run::ROUNDS`]).
    MayGoto { target: u32 },
    /// Calls a helper's function: the first `arguments` of r1 to r5, then the address of the
    /// [`super::run::Run`]; the result is in r0.
    Call { function: usize, arguments: u8 },
    /// Stores a place in a word of the run ([`super::run::Run::NOTES`], 8 bytes each).
    Note { index: u8, src: Place },
    /// `dst = ` the address of a function of the program, for [`Emitter::trampoline`].
    ///
    /// [`Emitter::trampoline`]: super::emitter::Emitter::trampoline
    FunctionAddress { dst: Place, function: u32 },
    /// Calls the function, as [`Op::Call`] does, with r1 to r3. If the result is not 0, undoes the
    /// frame as [`Op::Exit`] does, and goes to that address with the run's context in r1 and the
    /// address of the run where the main function expects it.
    TailCall { function: usize },
    /// Calls a function of the program, an index into [`super::front::Lowered::functions`].
    CallLocal { function: u32 },
    /// `r0 = ` the address of the value whose index r2 points to, or 0; the number is an index
    /// into [`super::front::Lowered::arrays`]. Writes r0 to r5.
    Lookup { array: u32 },
    /// `r0 = ` the number of this CPU, as [`super::Intrinsics::cpu_id`] says.
    CpuId,
    /// `r0 = ` the time, by the counter of [`super::Clock::Counter`].
    Clock { factor: u64 },
    /// Ends the program with 0 if r0, as a signed number, is negative. Only in the main function.
    LeaveIfNegative,
    /// Returns from the function.
    Exit,
}

/// r0 to r5 and the temporary place, which calls write.
const CALL_WRITES: u32 = 0x3f | Place::TEMPORARY.bit();
/// r1 to r5.
const ARGUMENTS: u32 = 0x3e;

impl Op {
    /// The places that the operation reads, and those that it writes.
    #[inline(always)]
    #[must_use]
    pub fn effects(&self) -> (u32, u32) {
        match *self {
            Op::Nop
            | Op::Label
            | Op::Enter { .. }
            | Op::Jump { .. }
            | Op::Rounds { .. }
            | Op::MayGoto { .. } => (0, 0),
            Op::Move { dst, src, .. }
            | Op::Negate { dst, src, .. }
            | Op::SignExtend { dst, src, .. }
            | Op::Truncate { dst, src, .. }
            | Op::Swap { dst, src, .. }
            | Op::Rotate { dst, src, .. } => (src.bit(), dst.bit()),
            Op::Constant { dst, .. } => (0, dst.bit()),
            Op::Alu { dst, a, b, .. } => (a.bit() | b.reads(), dst.bit()),
            Op::Load { dst, mem, .. } => (mem.reads(), dst.bit()),
            Op::Store { mem, src, .. } => (mem.reads() | src.reads(), 0),
            Op::Atomic { op, mem, src, .. } => {
                let compare = if op == AtomicOp::CmpXchg { Place::R0.bit() } else { 0 };
                let fetched = match op {
                    AtomicOp::Add { fetch }
                    | AtomicOp::Or { fetch }
                    | AtomicOp::And { fetch }
                    | AtomicOp::Xor { fetch } => fetch,
                    AtomicOp::Xchg => true,
                    AtomicOp::CmpXchg => false,
                };
                let written = if fetched { src.bit() } else { compare };
                (mem.reads() | src.bit() | compare, written)
            }
            Op::Branch { a, b, .. } => (a.bit() | b.reads(), 0),
            Op::Select { a, b, dst, value, .. } => {
                (a.bit() | b.reads() | dst.bit() | value.reads(), dst.bit())
            }
            Op::Note { src, .. } => (src.bit(), 0),
            Op::FunctionAddress { dst, .. } => (0, dst.bit()),
            Op::TailCall { .. } => (0b1110, CALL_WRITES),
            Op::Call { arguments, .. } => (((1 << arguments) - 1) << 1, CALL_WRITES),
            Op::CallLocal { .. } => (ARGUMENTS, CALL_WRITES),
            Op::Lookup { .. } => (Place::R2.bit(), CALL_WRITES),
            Op::CpuId | Op::Clock { .. } => (0, CALL_WRITES),
            Op::LeaveIfNegative | Op::Exit => (Place::R0.bit(), 0),
        }
    }

    /// The place that the operation writes, if it is of a kind that writes one and nothing else.
    #[inline(always)]
    #[must_use]
    pub const fn destination(&self) -> Option<Place> {
        match *self {
            Op::Move { dst, .. }
            | Op::Negate { dst, .. }
            | Op::SignExtend { dst, .. }
            | Op::Truncate { dst, .. }
            | Op::Swap { dst, .. }
            | Op::Rotate { dst, .. }
            | Op::Constant { dst, .. }
            | Op::Alu { dst, .. }
            | Op::Load { dst, .. }
            | Op::Select { dst, .. } => Some(dst),
            _ => None,
        }
    }

    /// Whether a path through the program begins, ends, branches or joins another here. Besides
    /// the results of [`Op::Exit`] and [`Op::Branch`] such operations read and write nothing.
    #[inline(always)]
    #[must_use]
    pub const fn is_flow(&self) -> bool {
        matches!(
            self,
            Op::Label
                | Op::Enter { .. }
                | Op::Jump { .. }
                | Op::Branch { .. }
                | Op::MayGoto { .. }
                | Op::Exit
        )
    }

    /// Whether the operation does nothing but write its place.
    #[inline(always)]
    #[must_use]
    pub const fn is_pure(&self) -> bool {
        matches!(
            self,
            Op::Move { .. }
                | Op::Constant { .. }
                | Op::Alu { .. }
                | Op::Negate { .. }
                | Op::SignExtend { .. }
                | Op::Truncate { .. }
                | Op::Swap { .. }
                | Op::Rotate { .. }
                | Op::Select { .. }
                | Op::Load { acquire: false, .. }
        )
    }
}

/// An operation in its place in the program.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub op: Op,
    /// The instruction that it is (the last part of).
    pub slot: u32,
    /// The places that are read after it.
    pub live: u32,
    /// The places that it reads.
    pub reads: u32,
    /// The places that it writes.
    pub writes: u32,
    /// [`Op::is_pure`], and [`Op::is_flow`]: passes ask it of every operation.
    pub pure: bool,
    pub flow: bool,
    /// The places whose upper halves are read after it, where
    /// [`super::emitter::Emitter::WANTS_WIDE`]; otherwise all. Without the place of a 32-bit result
    /// that is known to be below 2^31. At a label it is a claim: those whose upper halves are zero
    /// whatever way led there, none where that is not known.
    pub wide: u32,
}

impl Node {
    /// An operation of the instruction at a slot.
    #[inline(always)]
    #[must_use]
    pub fn new(op: Op, slot: u32) -> Node {
        let (reads, writes) = op.effects();
        let (pure, flow) = (op.is_pure(), op.is_flow());
        Node { op, slot, live: 0, reads, writes, pure, flow, wide: u32::MAX }
    }
}
