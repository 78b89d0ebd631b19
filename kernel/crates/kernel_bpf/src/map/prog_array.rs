//! Program arrays and what a tail call needs of a program.
//!
//! A [`TailTarget`] is a program that is ready to run, as a slot holds it: where to go on
//! ([`TailEntry`]), and the object that keeps it there. An array holds programs of one
//! [`ProgramKind`]: the first program that uses the array, or is put into it, fixes which
//! (Linux: `bpf_prog_map_compatible`). Lemma compares the hook as well, since programs at
//! different hooks get different contexts.

use alloc::sync::Arc;
use core::any::Any;

use kernel_sync::SpinLock;

use super::epoch::Epoch;
use super::error::MapError;
use super::slots::Slots;
use crate::memory::Memory;
use crate::prog_type::ProgType;
use crate::verifier::Proof;

/// Most tail calls in one run (Linux: `MAX_TAIL_CALL_CNT`).
pub const MAX_TAIL_CALLS: u32 = 33;

/// What runs a program: tail calls stay within one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    Interpreter,
    Compiled,
}

/// What the programs of one array have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProgramKind {
    pub prog_type: ProgType,
    pub expected_attach_type: u32,
    pub engine: Engine,
}

/// Where a tail call goes on. Compiled code reads it by the offsets of its fields.
#[derive(Debug)]
#[repr(C)]
pub struct TailEntry {
    /// The interpreter's first op, or the main function of compiled code.
    pub(crate) code: usize,
    /// What entering it takes.
    pub(crate) needs: Needs,
    /// Bytes of context that it was proved to access.
    pub(crate) context_bytes: usize,
}

/// What entering a program takes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Needs {
    /// Greatest number of instructions that it executes, what it calls counted.
    pub(crate) worst_case: u64,
    /// Bytes of stack that it needs over all its call chains.
    pub(crate) stack_depth: u32,
    /// Frames at once, its first one included.
    pub(crate) call_depth: u32,
}

impl Needs {
    /// The most that any program needs: for one without a proof.
    #[cfg(any(test, feature = "trusted-programs"))]
    pub(crate) const UNKNOWN: Self = Self { worst_case: u64::MAX, stack_depth: 512, call_depth: 8 };

    /// What a program was proved to need.
    pub(crate) fn of(proof: &Proof) -> Self {
        Self {
            worst_case: proof.worst_case,
            stack_depth: proof.stack_depth,
            call_depth: proof.call_depth.max(1),
        }
    }
}

/// A program in a form that an engine of this crate runs; sealed by its private entry.
pub(crate) trait Executable {
    fn kind(&self) -> ProgramKind;
    /// Stays true for as long as the program exists, wherever it is moved.
    fn tail_entry(&self) -> TailEntry;
}

/// A program that is ready to run, as a program array holds it.
#[repr(C)]
pub struct TailTarget {
    /// First, so that a slot's word is the entry's address.
    entry: TailEntry,
    kind: ProgramKind,
    id: u32,
    /// What owns the code.
    _owner: Arc<dyn Any + Send + Sync>,
}

impl TailTarget {
    /// The program that `part` finds in `owner`. `id` is what user space reads from the slot.
    #[expect(private_bounds, reason = "only this crate's engines make code that may be entered")]
    pub fn new<O: Any + Send + Sync, E: Executable>(
        owner: Arc<O>,
        part: impl for<'a> FnOnce(&'a O) -> &'a E,
        id: u32,
    ) -> Self {
        let program = part(&owner);
        let (entry, kind) = (program.tail_entry(), program.kind());
        Self { entry, kind, id, _owner: owner }
    }

    /// What kind of program it is.
    #[must_use]
    pub fn kind(&self) -> ProgramKind {
        self.kind
    }

    /// The number by which user space knows the program.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }
}

/// The slots of a program array, and whose programs it takes.
pub(super) struct ProgArray {
    slots: Slots<TailTarget>,
    kind: SpinLock<Option<ProgramKind>>,
}

impl ProgArray {
    pub(super) fn new(
        memory: &'static dyn Memory,
        entries: u32,
        epoch: &'static Epoch,
    ) -> Result<Self, MapError> {
        Ok(Self { slots: Slots::new(memory, entries, epoch)?, kind: SpinLock::new(None) })
    }

    /// Fixes the kind of programs, or compares it with what was fixed.
    pub(super) fn claim(&self, kind: ProgramKind) -> Result<(), MapError> {
        let mut known = self.kind.lock();
        if *known.get_or_insert(kind) == kind { Ok(()) } else { Err(MapError::Invalid) }
    }

    /// Puts a program into a slot.
    pub(super) fn set(&self, index: u32, program: Arc<TailTarget>) -> Result<(), MapError> {
        self.claim(program.kind)?;
        self.slots.set(index, Some(program)).map(|_| ())
    }

    pub(super) fn slots(&self) -> &Slots<TailTarget> {
        &self.slots
    }
}
