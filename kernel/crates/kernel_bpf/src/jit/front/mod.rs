//! The front end: from verified instructions to operations on places.
//!
//! `lower` goes over the program once, puts every instruction into [`Op`]s, and simplifies as it
//! goes with what is `known` in the basic block; `live` then finds what each operation leaves to be
//! read. Where jumps lead, and what functions do with their stacks, is known before
//! (`verifier::shape`). What the proof shows never to run is left out.

#![forbid(unsafe_code)]

mod blind;
mod free;
mod insns;
mod known;
mod live;
mod promote;
mod range;
mod rotate;
mod select;
mod simplify;
mod tails;
mod unroll;
mod wide;

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

use super::Intrinsics;
use super::emitter::Emitter;
use super::ir::{Node, Op, Place};
use crate::insn::Reg;
use crate::map::ArrayLookup;
use crate::resolve::{LoadError, MapTracker, Resolver};
use crate::verifier::{Form, Mark, Outline, RegSet, Shape};
use blind::Keys;
use known::Known;
use promote::Promoted;

/// In place of a set of places that an operation writes: no operation.
const NONE: u32 = u32::MAX;

/// A function of the program, as emitters see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Function {
    /// First slot.
    pub start: u32,
    /// One past its last slot.
    pub end: u32,
    /// Bytes of its stack that it accesses, a multiple of 8; 0 if it does not.
    pub stack: u32,
    /// The set of places that it reads or writes.
    pub places: u32,
    /// It calls helpers or functions.
    pub calls: bool,
    /// The registers of BPF that its instructions name.
    registers: u16,
}

impl Function {
    /// A function of which nothing is lowered yet.
    fn new(outline: &Outline) -> Function {
        let Outline { start, end, registers, calls, .. } = *outline;
        Function { start, end, registers, calls, ..Function::default() }
    }
}

/// A program as operations.
#[derive(Debug)]
pub struct Lowered<'a> {
    pub nodes: Vec<Node>,
    /// The main function is the first.
    pub functions: Vec<Function>,
    /// What [`Op::Lookup`]s refer to.
    pub arrays: &'a [ArrayLookup],
    /// A number for each slot of the program and one more, of no meaning any more: the table of
    /// where each slot's code begins takes their room.
    pub table: Vec<u32>,
    /// Jumps and branches of the program.
    pub jumps: usize,
    /// Some operation needs the address of the [`super::run::Run`].
    pub needs_run: bool,
    /// Callbacks may be entered in its runs.
    pub needs_trampoline: bool,
}

struct Front<'a, E> {
    resolver: &'a Resolver<'a>,
    intrinsics: &'a Intrinsics,
    shape: &'a Shape,
    /// For each slot that is still to come, how many of the jumps that lead there are no more. Then
    /// the places that may be read from there on, among them the frame pointer in any case, if a
    /// jump which is lowered leads back there; otherwise 0.
    entries: Vec<u32>,
    functions: Vec<Function>,
    /// How many jumps lead to the last label; [`Mark::MOST`] stands for more.
    jumps_here: u32,
    nodes: Vec<Node>,
    /// The set of the place that the last operation has copied to or given a constant; [`NONE`] if
    /// it was no such operation. What is taken away from the end of `nodes` never is one.
    copied: u32,
    /// The source of a move that is left to the next instruction, which is arithmetic on the copy.
    moved: Option<Reg>,
    known: Known,
    maps: MapTracker,
    promoted: Promoted,
    /// Where constants are to be blinded.
    blind: Option<Keys>,
    /// The slot whose instruction is being lowered.
    slot: usize,
    /// For each slot, the registers that may be read from there on.
    live: Cow<'a, [RegSet]>,
    /// Operations and instructions that may still be repeated (`unroll`, `tails`).
    repeats: usize,
    emitter: core::marker::PhantomData<E>,
}

/// Lowers a program for the machine of the emitter `E`.
pub(super) fn lower<'a, E: Emitter>(
    resolver: &'a Resolver<'_>,
    intrinsics: &Intrinsics,
    blind: Option<u64>,
) -> Result<Lowered<'a>, LoadError> {
    let slots = resolver.program.insns.len();
    let shape = resolver.shape().ok_or(LoadError::OutOfMemory)?;
    let mut nodes = Vec::new();
    let room = slots + slots / 8 + 8;
    nodes.try_reserve_exact(room).map_err(|_| LoadError::OutOfMemory)?;
    let mut front = Front::<E> {
        resolver,
        intrinsics,
        shape: &shape,
        entries: vec![0; slots + 1],
        functions: shape.functions.iter().map(Function::new).collect(),
        jumps_here: 0,
        nodes,
        copied: NONE,
        moved: None,
        known: Known::new(),
        maps: MapTracker::default(),
        promoted: Promoted::default(),
        blind: blind.map(Keys::new),
        slot: 0,
        live: resolver.live(),
        repeats: unroll::room(slots),
        emitter: core::marker::PhantomData,
    };
    front.program()?;
    let Front { mut nodes, mut functions, entries: mut table, .. } = front;
    let needs = live::analyse::<E>(&mut nodes, &mut functions, &mut table);
    if E::WANTS_WIDE {
        range::analyse(&mut nodes, slots);
        wide::analyse(&mut nodes, slots);
    }
    Ok(Lowered {
        nodes,
        functions,
        arrays: &resolver.arrays,
        table,
        jumps: shape.jumps,
        needs_run: needs.run,
        needs_trampoline: needs.trampoline,
    })
}

impl<E: Emitter> Front<'_, E> {
    fn program(&mut self) -> Result<(), LoadError> {
        for index in 0..self.functions.len() {
            let Some(function) = self.functions.get_mut(index) else { break };
            let start = function.start as usize;
            let stack = match self.resolver.proof {
                Some(proof) => proof.subprograms.get(index).map_or(0, |own| own.stack),
                // Without a proof the main function has all of the stack.
                None if index == 0 => 512,
                None => self.resolver.trust.frame,
            };
            function.stack = stack.next_multiple_of(8);
            if !self.resolver.facts(start).is_none_or(|facts| facts.reached) {
                continue;
            }
            let function = *function;
            let used = self.shape.of_function(index);
            self.promoted.choose::<E>(self.resolver, &function, used);
            self.known.forget();
            self.maps.forget();
            self.slot = start;
            self.append(Op::Enter { function: index as u32 });
            let mut number = 0;
            while let Some((value, place)) = self.promoted.constant(number) {
                self.constant(place, value);
                number += 1;
            }
            self.function(&function)?;
        }
        Ok(())
    }

    fn function(&mut self, function: &Function) -> Result<(), LoadError> {
        let (start, end) = (function.start as usize, function.end as usize);
        let insns = self.resolver.program.insns.get(..end).unwrap_or_default();
        let marks = &self.shape.marks;
        let mut slot = start;
        while let (Some(insn), Some(mark)) = (insns.get(slot), marks.get(slot)) {
            self.slot = slot;
            if mark.targets != 0 {
                self.label(mark.targets);
            }
            if mark.form != Form::Unreached {
                self.insn(insn, mark.form, start == 0)?;
                if self.maps.any() {
                    self.maps.follow(insn);
                }
            }
            // It may have been lowered with some that follow.
            slot = self.slot + 1;
        }
        Ok(())
    }

    /// So many jumps lead to the slot that is to be lowered next; unless they are no more.
    fn label(&mut self, jumps: u8) {
        let gone = self.entries.get_mut(self.slot).map_or(0, core::mem::take);
        let left = u32::from(jumps).saturating_sub(gone);
        if left != 0 {
            self.known.forget();
            self.maps.forget();
            self.append(Op::Label);
            self.jumps_here = left;
        }
    }

    /// Appends an operation as it is.
    #[inline(always)]
    fn append(&mut self, op: Op) {
        self.copied = NONE;
        self.nodes.push(Node::new(op, self.slot as u32));
    }

    /// Appends an operation, and learns from it. Inlined, so that what is asked of the operation
    /// is known where it is made.
    #[inline(always)]
    fn push(&mut self, op: Op) {
        let node = Node::new(op, self.slot as u32);
        self.known.follow(&op, (node.reads, node.writes));
        // What nobody has read and is overwritten is nothing: mostly a copy whose reader reads
        // what was copied.
        if self.copied == node.writes
            && node.writes & node.reads == 0
            && let Some(last) = self.nodes.last_mut()
        {
            *last = node;
        } else {
            self.nodes.push(node);
        }
        let copies = matches!(op, Op::Move { .. } | Op::Constant { .. });
        self.copied = if copies { node.writes } else { NONE };
    }

    /// The last operation, if it is of this basic block.
    #[inline]
    fn last(&self) -> Option<&Op> {
        self.nodes.last().map(|node| &node.op)
    }

    /// Whether something jumps to a slot that has not been lowered.
    #[inline]
    fn is_target(&self, slot: usize) -> bool {
        let jumps = self.shape.marks.get(slot).map_or(0, |mark| mark.targets);
        jumps != 0 && self.entries.get(slot).is_none_or(|&gone| u32::from(jumps) > gone)
    }

    /// A jump that led to a slot which has not been lowered is no more. Beyond those that can be
    /// counted this is not known.
    fn leads_no_more(&mut self, target: usize) {
        if self.shape.marks.get(target).is_some_and(|mark| mark.targets < Mark::MOST)
            && let Some(gone) = self.entries.get_mut(target)
        {
            *gone += 1;
        }
    }

    /// The instructions up to a slot are lowered with the one at hand.
    #[inline]
    fn takes(&mut self, last: usize) {
        if self.maps.any() {
            let taken = self.resolver.program.insns.get(self.slot + 1..=last);
            for insn in taken.unwrap_or_default() {
                self.maps.follow(insn);
            }
        }
        self.slot = last;
    }

    fn unsupported(&self, what: &'static str) -> LoadError {
        LoadError::Unsupported { slot: self.slot, what }
    }

    /// The slot that a jump goes to.
    fn target(&mut self, offset: i64) -> Result<u32, LoadError> {
        let target = self.resolver.target(self.slot, offset)?;
        if target <= self.slot {
            self.leads_back(target);
        }
        u32::try_from(target).map_err(|_| LoadError::TooLarge)
    }

    /// A jump leads to a slot that has been lowered: `live` comes by the jump before it knows what
    /// is read there.
    fn leads_back(&mut self, target: usize) {
        if let Some(entry) = self.entries.get_mut(target) {
            let registers = self.live.get(target).map_or(u32::MAX, |&live| u32::from(live));
            *entry = registers | self.promoted.places() | Place::FRAME.bit();
        }
    }

    /// The function that a call goes to, by its index.
    fn callee(&self, offset: i32) -> Result<u32, LoadError> {
        let start = self.resolver.target(self.slot, i64::from(offset))?;
        let start = u32::try_from(start).map_err(|_| LoadError::TooLarge)?;
        let index = self.functions.binary_search_by_key(&start, |function| function.start);
        index.map(|index| index as u32).map_err(|_| LoadError::BadJump { slot: self.slot })
    }
}
