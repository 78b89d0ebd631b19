//! [`Emitter`]: what a machine must offer; [`Emission`]: what all of them write into; `assemble`,
//! which drives an emitter over a program.

#![forbid(unsafe_code)]

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::front::{Function, Lowered};
use super::ir::{Mem, Node, Op};
use super::{Intrinsics, Machine};
use crate::insn::Size;
use crate::map::ArrayLookup;
use crate::resolve::LoadError;

/// Machine code as it is written.
#[derive(Debug, Default)]
pub struct Emission {
    pub bytes: Vec<u8>,
    /// For each slot, where its code begins; of no meaning for those that have not begun.
    pub positions: Vec<u32>,
    /// The slots before this one have begun.
    pub begun: usize,
    /// What stands several times, sorted by position.
    pub copies: Vec<Copied>,
    /// For each function, where it begins; then where the trampoline does, if there is one. Nothing
    /// for a main function alone.
    pub entries: Vec<u32>,
    /// Instructions whose distance to a slot or a function is still to be written.
    pub jumps: Vec<Jump>,
    /// Instructions whose distance to an address outside depends on where the code will lie.
    pub outside: Vec<Outside>,
}

/// Code that stands once more (`repeat`), so many times one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct Copied {
    /// Where it begins, and where it ends.
    pub at: u32,
    pub end: u32,
    pub times: u32,
    /// The slots whose code it is, from the first to the last.
    pub first: u32,
    pub last: u32,
}

/// A jump or call within the program.
#[derive(Clone, Copy, Debug)]
pub struct Jump {
    /// Where its instruction begins.
    pub at: u32,
    pub to: Target,
    /// Which instruction it is; the emitter's own.
    pub kind: u16,
}

/// Where a jump or call leads.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    Slot(u32),
    Function(u32),
}

/// A reference to an address outside of the program.
#[derive(Clone, Copy, Debug)]
pub struct Outside {
    /// Where its instruction begins, or its operand: as the emitter likes.
    pub at: u32,
    pub address: usize,
}

impl Emission {
    /// The number of bytes written so far.
    #[inline]
    #[must_use]
    pub fn here(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// The code of a slot begins here, and that of those before it that have none; unless it has
    /// begun.
    #[inline(always)]
    fn begin(&mut self, slot: usize) {
        let Some(left_out) = slot.checked_sub(self.begun) else { return };
        let here = self.here();
        // Mostly none or a few are left out. Those that are still to come write theirs again.
        let next = self.positions.get_mut(self.begun..).and_then(|next| next.first_chunk_mut());
        match next {
            Some(next) if left_out < next.len() => *next = [here; 4],
            _ => self.begin_all(slot, here),
        }
        self.begun = slot + 1;
    }

    /// The code of the slots up to this one that have not begun begins here.
    #[inline(never)]
    fn begin_all(&mut self, slot: usize, here: u32) {
        self.positions.get_mut(self.begun..=slot).unwrap_or_default().fill(here);
    }

    /// Where a jump leads, once everything is written.
    #[inline]
    #[must_use]
    pub fn position(&self, target: Target) -> u32 {
        let known = match target {
            Target::Slot(slot) => self.positions.get(slot as usize),
            Target::Function(function) => self.entries.get(function as usize),
        };
        known.copied().unwrap_or(0)
    }
}

/// What emitters may ask about the program.
pub struct Context<'a> {
    pub machine: &'a Machine,
    pub intrinsics: &'a Intrinsics,
    pub functions: &'a [Function],
    pub arrays: &'a [ArrayLookup],
    /// Whether each function keeps the address of the [`super::run::Run`] in its frame.
    pub needs_run: bool,
    /// Addresses that the code may get.
    pub window: Range<usize>,
}

/// A machine that BPF is compiled for.
pub trait Emitter: Sized {
    /// Registers beyond those of BPF whose values survive calls of helpers and functions, because
    /// each function that uses them saves them.
    const EXTRAS_KEPT: u8;
    /// Further registers, which calls may change; numbered after the ones that are kept.
    const EXTRAS_SCRATCH: u8;
    /// Whether clearing the upper half of a 32-bit result costs something, so that it is good to
    /// know where nobody reads it ([`Node::wide`]).
    const WANTS_WIDE: bool = false;

    /// Whether a comparison takes no constant but zero, so that it is good to have those of loops
    /// in registers.
    const COMPARES_PLACES: bool = false;

    /// Whether the machine moves under a condition without a jump ([`Op::Select`]).
    const SELECTS: bool = false;

    /// Whether one load or store of this size can do this address.
    fn addresses(mem: &Mem, size: Size) -> bool;

    /// An emitter for one program.
    fn new(context: &Context<'_>) -> Self;

    /// Emits a function's beginning: what it must save, its stack.
    fn enter(&mut self, context: &Context<'_>, index: u32, out: &mut Emission);

    /// Emits the first of `nodes`, which is neither [`Op::Enter`], [`Op::Nop`] nor [`Op::Label`],
    /// and as many of those that follow as it can do in one go. Returns how many.
    ///
    /// # Errors
    /// What the machine cannot do.
    fn emit(
        &mut self,
        context: &Context<'_>,
        nodes: &[Node],
        out: &mut Emission,
    ) -> Result<usize, &'static str>;

    /// Emits a jump to a slot.
    fn goto(&mut self, target: u32, out: &mut Emission);

    /// The bytes of a jump or branch to a slot as it was emitted.
    #[must_use]
    fn jump_bytes(_kind: u16) -> u32 {
        4
    }

    /// Emits a jump or branch to a slot once more, here.
    fn jump_again(&mut self, jump: &Jump, out: &mut Emission) {
        let (at, from) = (out.here(), jump.at as usize);
        out.bytes.extend_from_within(from..from + Self::jump_bytes(jump.kind) as usize);
        out.jumps.push(Jump { at, ..*jump });
    }

    /// Emits the code that enters callbacks: a function that takes, as the machine's convention
    /// has it, the address of the values of r1 to r5, that of the run, and that of a function of
    /// the program other than the main one. It calls the function, which finds the run's address
    /// as if in the frame of its caller, and returns its r0.
    fn trampoline(&mut self, out: &mut Emission);

    /// Something jumps here: nothing that the emitter remembers of the state is so any more. `node`
    /// is the label.
    fn label(&mut self, node: &Node);

    /// Writes the distances of `out.jumps`, and may make the code longer.
    ///
    /// # Errors
    /// A distance that the machine cannot jump.
    fn finish(&mut self, out: &mut Emission) -> Result<(), &'static str>;

    /// Writes the distances of `outside` into code that will lie at `address`.
    fn place(code: &mut [u8], address: usize, outside: &[Outside]);
}

/// Emits a whole program. `table` is [`Lowered::table`].
pub(super) fn assemble<E: Emitter>(
    lowered: &Lowered<'_>,
    table: Vec<u32>,
    context: &Context<'_>,
) -> Result<Emission, LoadError> {
    // The main function begins where the code does.
    let alone = lowered.functions.len() == 1 && !lowered.needs_trampoline;
    let entries = if alone { 0 } else { lowered.functions.len() + 1 };
    let mut out = Emission {
        bytes: Vec::new(),
        positions: table,
        begun: 0,
        copies: Vec::new(),
        entries: vec![0; entries],
        jumps: Vec::with_capacity(lowered.jumps),
        outside: Vec::new(),
    };
    let room = lowered.nodes.len().saturating_mul(6).saturating_add(64);
    out.bytes.try_reserve(room).map_err(|_| LoadError::OutOfMemory)?;
    let mut emitter = E::new(context);
    let mut nodes = lowered.nodes.as_slice();
    while let Some((node, rest)) = nodes.split_first() {
        let behind = nodes;
        nodes = rest;
        match node.op {
            Op::Nop => continue,
            Op::Enter { function } => {
                if let Some(entry) = out.entries.get_mut(function as usize) {
                    *entry = out.bytes.len() as u32;
                }
                emitter.enter(context, function, &mut out);
                continue;
            }
            _ => {}
        }
        let slot = node.slot as usize;
        out.begin(slot);
        if matches!(node.op, Op::Label) {
            emitter.label(node);
            continue;
        }
        let emitted = emitter.emit(context, behind, &mut out);
        let count = emitted.map_err(|what| LoadError::Unsupported { slot, what })?;
        if count != 1 {
            nodes = behind.get(count..).unwrap_or_default();
        }
    }
    let end = out.bytes.len() as u32;
    if let Some(rest) = out.positions.get_mut(out.begun..) {
        rest.fill(end);
    }
    if lowered.needs_trampoline {
        if let Some(entry) = out.entries.last_mut() {
            *entry = end;
        }
        emitter.trampoline(&mut out);
    }
    let finished = emitter.finish(&mut out);
    finished.map_err(|what| LoadError::Unsupported { slot: 0, what })?;
    if u32::try_from(out.bytes.len()).is_err() {
        return Err(LoadError::TooLarge);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_without_code_begin_where_the_next_one_does() {
        for left_out in 0..9usize {
            for behind in 0..6 {
                let slot = 2 + left_out;
                let mut out =
                    Emission { positions: vec![77; slot + behind + 1], ..Emission::default() };
                out.begin(0);
                out.bytes.extend([0; 3]);
                out.begin(1);
                out.bytes.extend([0; 5]);
                out.begin(slot);
                out.bytes.push(0);
                // It has begun, and so has the one before.
                out.begin(slot);
                out.begin(1);
                assert_eq!(out.begun, slot + 1);
                let (before, those) = out.positions.split_at(2);
                assert_eq!(before, [0, 3]);
                assert!(those.iter().take(left_out + 1).all(|&position| position == 8));
            }
        }
    }
}
