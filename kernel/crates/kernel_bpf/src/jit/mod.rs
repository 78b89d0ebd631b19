//! The compilers: verified programs as machine code.
//!
//! One front end, and one emitter for each machine:
//!
//! `Verified<Program> → front → ir::Node… → Emitter → Emission → CodeMemory → Compiled`
//!
//! `front` makes three-operand operations ([`ir::Op`]) of the instructions, without what the
//! proof shows to be dead or needless: it removes copies, adds up offsets, recognises rotations
//! and extensions, puts stack slots and the constants of loops into spare registers, makes moves
//! under a condition of branches over moves, marks short loops and the tails that the ways round
//! a loop share, whose code is then repeated (`repeat`), and says for each operation which places
//! are read later. [`Compiled`] is the result, with the position of each instruction, so that an
//! address in the code leads back to an instruction and its source line.
//!
//! # How an emitter is written
//!
//! Implement [`emitter::Emitter`] in a module of its own; `x86_64` is the model.
//!
//! * Give each [`ir::Place`] a register: r0 where the machine returns results, r1 to r5 where it
//!   takes its first five arguments if that is good (otherwise move them in [`ir::Op::Call`]), r6
//!   to r9 and the kept extras in registers that callees save; the temporary place and the scratch
//!   extras in others. Keep one or two registers for yourself. [`ir::Place::FRAME`] needs no
//!   register if the stack can be addressed from the stack pointer: it occurs as the base of
//!   memory, as the source of a 64-bit move, and as the first operand of a 64-bit addition of a
//!   constant; it is the address just above the function's stack.
//! * `enter` saves the registers that callees save and the function uses
//!   ([`front::Function::places`]), makes room for its stack, and, if `Context::needs_run`, stores
//!   the address of the [`run::Run`] in its frame: the main function (index 0) gets it as its
//!   second argument (its first is the context, r1), any other finds it in the frame of its
//!   caller. [`ir::Op::Exit`] undoes this and returns.
//! * `emit` gets the operation to be emitted first and all that follow: it may do several at
//!   once, up to the next [`ir::Op::Label`] or [`ir::Op::Rounds`], when `Node::live` says that what
//!   lies between is not read later. 32-bit results clear the upper half of a place, so on a
//!   machine whose 32-bit operations extend the sign the emitter must clear it.
//! * [`ir::Op::Rounds`] and [`ir::Op::Jump`] are for `repeat::rounds` and `repeat::goto`, which
//!   copy code: that of plain operations must not depend on where it lies, nor need an entry in `jumps`
//!   or `outside`; a branch ends with its only jump; and what the emitter remembers at the end of a
//!   body of a loop must hold behind a copy of it.
//! * Jumps go into `Emission::jumps` and get their distances in `finish`; references to addresses
//!   outside go into `Emission::outside` and get theirs in `place`, when the code's own address is
//!   known. `Context::window` tells beforehand whether the short form will reach.
//! * The semantics are those of RFC 9669: divisions by zero give 0 and remainders by zero the
//!   dividend (`nonzero` and constants make the test needless), `MIN / -1` wraps, shift amounts in
//!   places are taken modulo the width, fetched 32-bit values are extended with zeros.
//!
//! `unsafe` is in `memory` (whose contract it is that code is never writable and executable at
//! once), `host` (which maps such memory for tools and tests), `calls`, and here, where compiled
//! code is called.

pub mod aarch64;
mod calls;
pub mod emitter;
mod far;
pub mod front;
#[cfg(feature = "host-jit")]
pub mod host;
pub mod ir;
pub mod magic;
pub mod memory;
pub mod positions;
mod repeat;
pub mod riscv64;
pub mod run;
#[cfg(test)]
#[cfg(feature = "host-jit")]
pub(crate) mod tests;
pub mod x86_64;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::{mem, ptr};

use crate::context::{ContextSize, PacketContext};
use crate::helper::{Environment, KernelServices};
use crate::map::{ArrayLookup, Engine, Executable, Map, Needs, ProgramKind, TailEntry};
use crate::profile::PhysicalProfile;
use crate::program::Program;
use crate::resolve::{LoadError, Resolver, check_runnable};
use crate::trusted::Trust;
use crate::verifier::Verified;
use emitter::{Context, Emission, Emitter, assemble};
use memory::{CodeMemory, InstalledCode};
use positions::Positions;
use run::Run;

/// The machine that code is compiled for: what emitters may use of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// x86_64: shifts and rotations of three operands, and multiplications that leave the flags.
    pub bmi2: bool,
    /// AArch64: atomic instructions (FEAT_LSE) instead of loops of exclusive ones.
    pub lse: bool,
    /// RISC-V: additions of shifted and of zero-extended numbers.
    pub zba: bool,
    /// RISC-V: rotations, extensions and swaps.
    pub zbb: bool,
}

/// What the embedder offers so that a helper needs no call, or a shorter one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Intrinsics {
    /// Where the CPU's number lies, 4 bytes: relative to the base of `gs` (x86_64), to the thread
    /// pointer of the kernel (AArch64: `TPIDR_EL1`, RISC-V: `tp`). It is below the number of CPUs
    /// that the program's maps have values for.
    pub cpu_id: Option<i32>,
    /// The clock of [`KernelServices::ktime_ns`].
    pub ktime: Option<Clock>,
}

/// How compiled code reads a clock.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// What is called.
    Function(extern "C" fn() -> u64),
    /// The machine's own counter, which is read in place (x86_64: the time-stamp counter,
    /// AArch64: `CNTVCT_EL0`, RISC-V: `time`).
    Counter {
        /// Nanoseconds in one of its ticks, times 2^32.
        factor: u64,
    },
}

/// How to compile.
#[derive(Clone, Copy)]
pub struct Options {
    pub machine: Machine,
    pub intrinsics: Intrinsics,
    /// Where the code goes.
    pub memory: &'static dyn CodeMemory,
    /// For programs of unprivileged loaders: constants are blinded with numbers that are made
    /// from this one, so that a program cannot place instructions of its choice in executable
    /// memory.
    pub blind: Option<u64>,
}

/// A program that is compiled and ready to run.
pub struct Compiled {
    code: InstalledCode,
    /// Where the code that enters callbacks lies.
    trampoline: usize,
    /// Whether the code looks at the [`Run`] that it is passed.
    needs_run: bool,
    context: ContextSize,
    maps: Box<[Arc<Map>]>,
    /// For program arrays.
    kind: ProgramKind,
    needs: Needs,
    /// Instructions that tail calls may add to a run.
    tail_budget: u64,
    positions: Positions,
    /// What the code's inlined lookups were made from.
    _arrays: Box<[ArrayLookup]>,
}

impl Compiled {
    /// Compiles a verified program with the emitter `E`. It keeps the program's maps.
    ///
    /// # Safety
    /// `E`, `options.machine` and `options.intrinsics` are of the machine that the code will run
    /// on.
    ///
    /// # Errors
    /// A helper that is not implemented, an instruction that needs what this engine lacks, or
    /// no memory.
    pub unsafe fn new<P: PhysicalProfile, E: Emitter>(
        program: &Verified<Program<Arc<Map>>>,
        options: &Options,
    ) -> Result<Self, LoadError> {
        let proof = program.proof();
        check_runnable(program)?;
        if proof.stack_depth as usize > P::STACK_BYTES {
            return Err(LoadError::TooLarge);
        }
        let trust = Trust::default();
        let resolver = Resolver::new(program.get(), Some(proof), &trust);
        let budget = P::MAX_WORST_CASE;
        let context = ContextSize::of(program);
        Ok(Self::compile::<E>(resolver, options, context, Needs::of(proof))?.within(budget))
    }

    /// Compiles a program that nobody verified, for tests of single instructions.
    ///
    /// # Safety
    /// As [`Compiled::new`] and [`crate::interpreter::Interpreter::new_trusted`].
    ///
    /// # Errors
    /// As [`Compiled::new`].
    #[cfg(any(test, feature = "trusted-programs"))]
    pub unsafe fn new_trusted<E: Emitter>(
        program: &Program<Arc<Map>>,
        trust: &Trust,
        options: &Options,
    ) -> Result<Self, LoadError> {
        let resolver = Resolver::new(program, None, trust);
        Self::compile::<E>(resolver, options, ContextSize::Unknown, Needs::UNKNOWN)
    }

    fn compile<E: Emitter>(
        resolver: Resolver<'_>,
        options: &Options,
        context: ContextSize,
        needs: Needs,
    ) -> Result<Self, LoadError> {
        let Emitted { emission, needs_run } = emit::<E>(&resolver, options)?;
        let code = InstalledCode::new(options.memory, emission.bytes.len(), &mut |to, address| {
            to.copy_from_slice(&emission.bytes);
            E::place(to, address, &emission.outside);
        });
        let code = code.ok_or(LoadError::OutOfMemory)?;
        let kind = ProgramKind {
            prog_type: resolver.program.prog_type,
            expected_attach_type: resolver.program.expected_attach_type,
            engine: Engine::Compiled,
        };
        for map in &resolver.program.maps {
            map.claim(kind).map_err(|_| LoadError::OtherPrograms)?;
        }
        let trampoline = emission.entries.last().copied().unwrap_or(0);
        Ok(Self {
            trampoline: code.address() + trampoline as usize,
            needs_run,
            code,
            context,
            maps: resolver.program.maps.as_slice().into(),
            kind,
            needs,
            tail_budget: 0,
            positions: Positions::new(emission),
            _arrays: resolver.arrays,
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
    /// ([`Compiled::run_packet`]).
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
        if !self.needs_run {
            // SAFETY: the caller's promise; the code does not look at the run.
            return unsafe { self.enter(context, ptr::null_mut()) };
        }
        // SAFETY: the caller's promise.
        unsafe { self.run_with_state(context, bytes, services) }
    }

    /// Apart, so that its room on the stack costs nothing where there is no need of it.
    ///
    /// # Safety
    /// As [`Compiled::run_at`].
    #[inline(never)]
    unsafe fn run_with_state(
        &self,
        context: *mut u8,
        bytes: usize,
        services: &dyn KernelServices,
    ) -> u64 {
        let environment = Environment::new(services, bytes, self.tail_budget);
        let mut run = Run::new(environment, self.trampoline);
        // SAFETY: the caller's promise.
        unsafe { self.enter(context, &raw mut run) }
    }

    /// Enters the code.
    ///
    /// # Safety
    /// As [`Compiled::run_at`]; `run` may be null if the code does not look at it.
    #[inline]
    unsafe fn enter(&self, context: *mut u8, run: *mut Run<'_>) -> u64 {
        let entry = ptr::with_exposed_provenance::<()>(self.code.address());
        // SAFETY: the code begins with the main function, which takes these arguments and follows
        // the machine's convention.
        let entry = unsafe {
            mem::transmute::<*const (), extern "C" fn(*mut u8, *mut Run<'_>) -> u64>(entry)
        };
        context.expose_provenance();
        // The code does what the verified program says, with memory that it was proved to access
        // in this context; `self` keeps maps alive.
        entry(context, run)
    }

    /// The slot of the instruction that an address belongs to: for the report of a kernel that
    /// failed while the program ran.
    #[must_use]
    pub fn slot_at(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.code.address())?;
        let offset = u32::try_from(offset).ok().filter(|_| offset < self.code.size())?;
        Some(self.positions.slot_at(offset))
    }

    /// Bytes of machine code.
    #[must_use]
    pub fn code_bytes(&self) -> usize {
        self.code.size()
    }

    /// Where the machine code lies.
    #[must_use]
    pub fn address(&self) -> usize {
        self.code.address()
    }

    /// Where the code of each instruction lies, from [`Compiled::address`] on.
    #[must_use]
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The maps that the program uses.
    #[must_use]
    pub fn maps(&self) -> &[Arc<Map>] {
        &self.maps
    }
}

impl Executable for Compiled {
    fn kind(&self) -> ProgramKind {
        self.kind
    }

    fn tail_entry(&self) -> TailEntry {
        TailEntry {
            code: self.code.address(),
            needs: self.needs,
            context_bytes: self.context.least(),
        }
    }
}

/// The machine code of a verified program, as it would be before its address is known: for tools
/// and tests that look at it.
///
/// # Errors
/// As [`Compiled::new`].
pub fn emit_verified<E: Emitter>(
    program: &Verified<Program<Arc<Map>>>,
    options: &Options,
) -> Result<Emission, LoadError> {
    let trust = Trust::default();
    let resolver = Resolver::new(program.get(), Some(program.proof()), &trust);
    emit::<E>(&resolver, options).map(|emitted| emitted.emission)
}

/// The machine code of a program that nobody verified: to look at, not to run.
///
/// # Errors
/// As [`Compiled::new`].
#[cfg(any(test, feature = "trusted-programs"))]
pub fn emit_trusted<E: Emitter>(
    program: &Program<Arc<Map>>,
    trust: &Trust,
    options: &Options,
) -> Result<Emission, LoadError> {
    emit::<E>(&Resolver::new(program, None, trust), options).map(|emitted| emitted.emission)
}

/// A program as code, and what goes with it.
struct Emitted {
    emission: Emission,
    needs_run: bool,
}

fn emit<E: Emitter>(resolver: &Resolver<'_>, options: &Options) -> Result<Emitted, LoadError> {
    let mut lowered = front::lower::<E>(resolver, &options.intrinsics, options.blind)?;
    let table = mem::take(&mut lowered.table);
    let context = Context {
        machine: &options.machine,
        intrinsics: &options.intrinsics,
        functions: &lowered.functions,
        arrays: lowered.arrays,
        needs_run: lowered.needs_run,
        window: options.memory.window(),
    };
    let emission = assemble::<E>(&lowered, table, &context)?;
    Ok(Emitted { emission, needs_run: lowered.needs_run })
}
