//! The interpreter: runs what the verifier has accepted.
//!
//! [`Interpreter::new`] pre-decodes a verified program once (`lower`, `fuse`, `code`) into
//! memory of the profile; [`Interpreter::run`] runs it (`execute`) without allocating, with a
//! stack of its own on the caller's stack, so that hooks may nest, in interrupts too. A program
//! can run on any number of CPUs at once.
//!
//! While a program runs, and afterwards for as long as anybody keeps pointers that it got
//! from a map, the CPU must not pass a quiescent state ([`crate::map::Epoch`]).

mod code;
mod dispatch;
mod divide;
mod execute;
mod fuse;
mod lower;
pub(crate) mod memory;
mod operations;
mod run;
mod select;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::marker::PhantomData;
use core::ptr;

use crate::context::ContextSize;
pub use crate::context::PacketContext;
use crate::helper::{Environment, KernelServices};
use crate::map::{ArrayLookup, Engine, Executable, Map, Needs, ProgramKind, TailEntry};
use crate::memory::Region;
use crate::profile::PhysicalProfile;
use crate::program::Program;
pub use crate::resolve::LoadError;
use crate::resolve::check_runnable;
use crate::trusted::Trust;
use crate::verifier::Verified;

use code::{Code, Op};
use lower::{Lowered, lower};

/// A program that is ready to run.
pub struct Interpreter<P: PhysicalProfile> {
    code: Region,
    /// For each op, the slot of its instruction.
    slots: Box<[u32]>,
    context: ContextSize,
    maps: Box<[Arc<Map>]>,
    /// For program arrays.
    kind: ProgramKind,
    needs: Needs,
    /// Words of stack that a run may access.
    stack_words: usize,
    /// Instructions that tail calls may add to a run.
    tail_budget: u64,
    /// What the code's inlined lookups point to.
    _arrays: Box<[ArrayLookup]>,
    profile: PhantomData<P>,
}

impl<P: PhysicalProfile> Interpreter<P> {
    /// Prepares a verified program. It keeps the program's maps.
    ///
    /// # Errors
    /// A helper that is not implemented, an instruction that needs what this engine lacks, or
    /// no memory.
    pub fn new(program: &Verified<Program<Arc<Map>>>) -> Result<Self, LoadError> {
        let proof = program.proof();
        check_runnable(program)?;
        if proof.stack_depth as usize > run::STACK_BYTES
            || proof.stack_depth as usize > P::STACK_BYTES
            || proof.call_depth as usize > run::MAX_FRAMES
        {
            return Err(LoadError::TooLarge);
        }
        let lowered = lower(program.get(), Some(proof), &Trust::default())?;
        let mut prepared =
            Self::from_lowered(lowered, program.get(), ContextSize::of(program), Needs::of(proof))?;
        // What it tail-calls may use as much as there is.
        if !proof.tail_calls {
            prepared.stack_words = (proof.stack_depth as usize).div_ceil(8);
        }
        Ok(prepared)
    }

    /// Prepares a program that nobody verified, for tests of single instructions.
    ///
    /// # Safety
    /// Running the program must do nothing that the verifier would have refused: every
    /// function keeps to the stack that `trust` gives it, calls nest at most eight deep, and
    /// every access is to memory that the caller provides.
    ///
    /// # Errors
    /// As [`Interpreter::new`].
    #[cfg(any(test, feature = "trusted-programs"))]
    pub unsafe fn new_trusted(
        program: &Program<Arc<Map>>,
        trust: &Trust,
    ) -> Result<Self, LoadError> {
        let lowered = lower(program, None, trust)?;
        Self::from_lowered(lowered, program, ContextSize::Unknown, Needs::UNKNOWN)
    }

    fn from_lowered(
        lowered: Lowered,
        program: &Program<Arc<Map>>,
        context: ContextSize,
        needs: Needs,
    ) -> Result<Self, LoadError> {
        let Lowered { ops, slots, arrays } = lowered;
        if ops.is_empty() || ops.len() > P::MAX_INSTRUCTIONS {
            return Err(LoadError::TooLarge);
        }
        let kind = ProgramKind {
            prog_type: program.prog_type,
            expected_attach_type: program.expected_attach_type,
            engine: Engine::Interpreter,
        };
        for map in &program.maps {
            map.claim(kind).map_err(|_| LoadError::OtherPrograms)?;
        }
        let words = ops.len().checked_mul(size_of::<Op>() / 8).ok_or(LoadError::TooLarge)?;
        let code = Region::new(P::memory(), words, 64).ok_or(LoadError::OutOfMemory)?;
        let base = ptr::with_exposed_provenance_mut::<Op>(code.address());
        for (index, op) in ops.iter().enumerate() {
            // SAFETY: the region has room for all ops, nobody else sees it yet, and it is
            // aligned well enough for them.
            unsafe { base.add(index).write(*op) };
        }
        Ok(Self {
            code,
            slots: slots.into_boxed_slice(),
            context,
            maps: program.maps.as_slice().into(),
            kind,
            needs,
            stack_words: run::STACK_WORDS,
            tail_budget: P::MAX_WORST_CASE.saturating_sub(needs.worst_case),
            _arrays: arrays,
            profile: PhantomData,
        })
    }

    /// Bounds a run with all its tail calls to `budget` instructions in the worst case: a tail
    /// call that would go beyond is not made.
    #[must_use]
    pub fn within(mut self, budget: u64) -> Self {
        self.tail_budget = budget.saturating_sub(self.needs.worst_case);
        self
    }

    /// Runs the program with `context` as what r1 points to, and returns r0; `None` if the
    /// context is smaller than what the program was proved to access, or has pointers
    /// ([`Interpreter::run_packet`]).
    #[inline]
    pub fn run(&self, context: &mut [u8], services: &dyn KernelServices) -> Option<u64> {
        if !self.context.allows(context) {
            return None;
        }
        // SAFETY: the context has every byte that the program was proved to access.
        Some(unsafe { self.run_at(context.as_mut_ptr(), context.len(), services) })
    }

    /// Runs a program whose context has pointers; `None` if this is not the context of its type.
    #[inline]
    pub fn run_packet(
        &self,
        context: &mut PacketContext<'_>,
        services: &dyn KernelServices,
    ) -> Option<u64> {
        if !self.context.takes(context) {
            return None;
        }
        // SAFETY: the context is the whole structure that the program expects, and its pointers
        // are those of the packet that it borrows.
        Some(unsafe { self.run_at(context.as_mut_ptr(), usize::MAX, services) })
    }

    /// Runs the program with `context` in r1, and returns r0. Programs that are reached by tail
    /// calls may use `bytes` of the context.
    ///
    /// # Safety
    /// `context` is what the program's type says: memory that holds `bytes` bytes, which are at
    /// least `Proof::max_ctx_offset`; for a type whose context has pointers a [`PacketContext`], of
    /// whatever number of bytes.
    #[inline]
    pub unsafe fn run_at(
        &self,
        context: *mut u8,
        bytes: usize,
        services: &dyn KernelServices,
    ) -> u64 {
        let start = ptr::with_exposed_provenance::<Op>(self.code.address());
        // A program whose first op ends it needs no stack and no registers.
        // SAFETY: there is no program without an op.
        let first = unsafe { &*start };
        if first.code == Code::ExitImm {
            return first.imm;
        }
        // SAFETY: the code was lowered from a verified program (or the caller of
        // `new_trusted` vouches for it), whose stack was checked to fit; the context is the
        // caller's promise; `self` keeps maps and tables alive.
        unsafe {
            let env = Environment::new(services, bytes, self.tail_budget);
            run::execute(start, context.expose_provenance() as u64, self.stack_words, env)
        }
    }

    /// Number of pre-decoded operations, fused pairs counted once.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.slots.len()
    }

    /// Where the pre-decoded operations lie.
    #[must_use]
    pub fn address(&self) -> usize {
        self.code.address()
    }

    /// The slot of the instruction whose pre-decoded operation an address is in (of a fused
    /// pair, the one that accesses memory, or else the first): for the report of a kernel that
    /// failed while the program ran.
    #[must_use]
    pub fn slot_at(&self, address: usize) -> Option<usize> {
        let operation = address.checked_sub(self.code.address())? / size_of::<Op>();
        self.slots.get(operation).map(|&slot| slot as usize)
    }

    /// Bytes of memory that the prepared program takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.code.size() + size_of_val(&*self.slots)
    }

    /// The maps that the program uses.
    #[must_use]
    pub fn maps(&self) -> &[Arc<Map>] {
        &self.maps
    }
}

impl<P: PhysicalProfile> Executable for Interpreter<P> {
    fn kind(&self) -> ProgramKind {
        self.kind
    }

    fn tail_entry(&self) -> TailEntry {
        TailEntry {
            code: self.code.address(),
            needs: self.needs,
            // A packet's context is always whole.
            context_bytes: self.context.least(),
        }
    }
}
