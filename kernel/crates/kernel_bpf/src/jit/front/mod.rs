//! The front end: from verified instructions to operations on places.
//!
//! `lower` goes over the program once (`scan` and `promote` have looked at it before), puts
//! every instruction into [`Op`]s, and simplifies as it goes with what is `known` in the basic
//! block; `live` then finds what each operation leaves to be read. What the proof shows never to
//! run is left out.

#![forbid(unsafe_code)]

mod blind;
mod insns;
mod known;
mod live;
mod promote;
mod scan;
mod simplify;
mod wide;

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Intrinsics;
use super::emitter::Emitter;
use super::ir::{Node, Op, Place};
use crate::insn::{Insn, Reg};
use crate::map::ArrayLookup;
use crate::resolve::{LoadError, MapTracker, Resolver};
use crate::verifier::BranchFact;
use blind::Keys;
use known::Known;
use promote::Promoted;
use scan::Scan;

/// A function of the program, as emitters see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Function {
    /// First slot.
    pub start: u32,
    /// Bytes of its stack that it accesses, a multiple of 8; 0 if it does not.
    pub stack: u32,
    /// The set of places that it reads or writes.
    pub places: u32,
    /// It calls helpers or functions.
    pub calls: bool,
}

/// A program as operations.
#[derive(Debug)]
pub struct Lowered {
    pub nodes: Vec<Node>,
    /// The main function is the first.
    pub functions: Vec<Function>,
    /// What [`Op::Lookup`]s refer to.
    pub arrays: Box<[ArrayLookup]>,
    /// Slots of the program.
    pub slots: usize,
    /// Some operation needs the address of the [`super::run::Run`].
    pub needs_run: bool,
    /// Callbacks may be entered in its runs.
    pub needs_trampoline: bool,
}

struct Front<'a, E> {
    resolver: &'a Resolver<'a>,
    intrinsics: &'a Intrinsics,
    scan: Scan,
    nodes: Vec<Node>,
    known: Known,
    maps: MapTracker,
    promoted: Promoted,
    functions: Vec<Function>,
    /// Where constants are to be blinded.
    blind: Option<Keys>,
    /// The slot whose instruction is being lowered.
    slot: usize,
    emitter: core::marker::PhantomData<E>,
}

/// Lowers a program for the machine of the emitter `E`.
pub(super) fn lower<E: Emitter>(
    resolver: &Resolver<'_>,
    intrinsics: &Intrinsics,
    blind: Option<u64>,
) -> Result<Lowered, LoadError> {
    let slots = resolver.program.insns.len();
    let scan = scan::scan(resolver)?;
    let mut nodes = Vec::new();
    nodes.try_reserve(slots + slots / 8 + 8).map_err(|_| LoadError::OutOfMemory)?;
    let mut front = Front::<E> {
        resolver,
        intrinsics,
        scan,
        nodes,
        known: Known::new(),
        maps: MapTracker::default(),
        promoted: Promoted::default(),
        functions: Vec::new(),
        blind: blind.map(Keys::new),
        slot: 0,
        emitter: core::marker::PhantomData,
    };
    front.program()?;
    let Front { mut nodes, mut functions, .. } = front;
    live::analyse(&mut nodes, slots);
    if E::WANTS_WIDE {
        wide::analyse(&mut nodes, slots);
    }
    let needs = measure(&nodes, &mut functions);
    Ok(Lowered {
        nodes,
        functions,
        arrays: resolver.arrays.clone(),
        slots,
        needs_run: needs.run,
        needs_trampoline: needs.trampoline,
    })
}

/// What a program's code must have.
#[derive(Default)]
struct Needs {
    run: bool,
    trampoline: bool,
}

/// Finds out what each function uses, now that it is known which operations are left.
fn measure(nodes: &[Node], functions: &mut [Function]) -> Needs {
    let mut needs = Needs::default();
    let (mut index, mut current) = (None, Function::default());
    let mut finish = |index: Option<u32>, found: Function| {
        if let Some(function) = index.and_then(|index| functions.get_mut(index as usize)) {
            function.places = found.places;
            function.calls = found.calls;
            if found.places & Place::FRAME.bit() == 0 {
                function.stack = 0;
            }
        }
    };
    for node in nodes {
        match node.op {
            Op::Enter { function } => {
                finish(index.replace(function), current);
                current = Function::default();
            }
            Op::Call { .. } => {
                needs.run = true;
                current.calls = true;
            }
            Op::TailCall { .. } => {
                needs = Needs { run: true, trampoline: true };
                current.calls = true;
            }
            Op::FunctionAddress { .. } => needs.trampoline = true,
            Op::MayGoto { .. } => needs.run = true,
            Op::CallLocal { .. } => current.calls = true,
            _ => {}
        }
        current.places |= node.reads | node.writes;
    }
    finish(index, current);
    needs
}

impl<E: Emitter> Front<'_, E> {
    fn program(&mut self) -> Result<(), LoadError> {
        for index in 0..self.scan.spans.len() {
            let Some(span) = self.scan.spans.get(index).copied() else { break };
            let main = index == 0;
            let (_, stack) = self.resolver.function(span.start);
            // Without a proof the main function has all of the stack.
            let stack = if main && self.resolver.proof.is_none() { 512 } else { stack };
            self.functions.push(Function {
                start: span.start as u32,
                stack: stack.next_multiple_of(8),
                ..Function::default()
            });
            if !self.resolver.facts(span.start).is_none_or(|facts| facts.reached) {
                continue;
            }
            self.promoted = if span.stack {
                let free = free_places::<E>(&span);
                promote::choose(&self.resolver.program.insns, &span, &self.scan.depth, &free)
            } else {
                Promoted::default()
            };
            self.known.forget();
            self.maps.forget();
            self.slot = span.start;
            self.append(Op::Enter { function: index as u32 });
            self.function(span)?;
        }
        Ok(())
    }

    fn function(&mut self, span: scan::Span) -> Result<(), LoadError> {
        let insns = self.resolver.program.insns.get(span.start..span.end).unwrap_or_default();
        for (slot, insn) in (span.start..).zip(insns) {
            self.slot = slot;
            if self.scan.targets.get(slot).copied().unwrap_or(false) {
                self.known.forget();
                self.maps.forget();
                self.append(Op::Label);
            }
            let facts = self.resolver.facts(slot);
            if matches!(insn, Insn::WideTail) || facts.is_some_and(|facts| !facts.reached) {
                continue;
            }
            match (insn, facts.map(|facts| facts.branch)) {
                (Insn::Branch { .. }, Some(BranchFact::Never)) => continue,
                (Insn::Branch { offset, .. }, Some(BranchFact::Always)) => {
                    self.jump(i64::from(*offset))?;
                }
                _ => self.insn(insn, span.start == 0)?,
            }
            self.maps.follow(insn);
        }
        Ok(())
    }

    /// Appends an operation as it is.
    #[inline(always)]
    fn append(&mut self, op: Op) {
        self.nodes.push(Node::new(op, self.slot as u32));
    }

    /// Appends an operation, and learns from it. Inlined, so that what is asked of the operation
    /// is known where it is made.
    #[inline(always)]
    fn push(&mut self, op: Op) {
        let node = Node::new(op, self.slot as u32);
        self.known.follow(&op, (node.reads, node.writes));
        self.nodes.push(node);
    }

    /// The last operation, if it is of this basic block.
    #[inline]
    fn last(&self) -> Option<&Op> {
        self.nodes.last().map(|node| &node.op)
    }

    fn unsupported(&self, what: &'static str) -> LoadError {
        LoadError::Unsupported { slot: self.slot, what }
    }

    fn target(&self, offset: i64) -> Result<u32, LoadError> {
        let target = self.resolver.target(self.slot, offset)?;
        u32::try_from(target).map_err(|_| LoadError::TooLarge)
    }

    /// The function that a call goes to, by its index.
    fn callee(&self, offset: i32) -> Result<u32, LoadError> {
        let start = self.resolver.target(self.slot, i64::from(offset))?;
        let index = self.scan.spans.binary_search_by_key(&start, |span| span.start);
        index.map(|index| index as u32).map_err(|_| LoadError::BadJump { slot: self.slot })
    }
}

/// The places that a function has no other use for, the cheapest first.
fn free_places<E: Emitter>(span: &scan::Span) -> Vec<Place> {
    let unnamed = |register: &Reg| span.named & (1 << *register as u8) == 0;
    let mut free = Vec::new();
    if !span.calls {
        free.extend(Reg::ALL[1..6].iter().filter(|reg| unnamed(reg)).map(|&reg| Place::of(reg)));
        let (first, count) = (E::EXTRAS_KEPT, E::EXTRAS_SCRATCH);
        free.extend((first..first + count).map(Place::extra));
    }
    free.extend((0..E::EXTRAS_KEPT).map(Place::extra));
    free.extend(Reg::ALL[6..10].iter().filter(|reg| unnamed(reg)).map(|&reg| Place::of(reg)));
    free
}
