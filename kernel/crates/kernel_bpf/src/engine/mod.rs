//! [`Prepared`]: a program that is ready to run, by whichever engine was chosen for it.

#[cfg(test)]
pub(crate) mod tests;

use alloc::sync::Arc;

use crate::helper::KernelServices;
use crate::interpreter::{Interpreter, PacketContext};
use crate::jit::Compiled;
use crate::map::{Engine, Executable, Map, ProgramKind, TailEntry};
use crate::profile::PhysicalProfile;

/// A program that is ready to run.
pub enum Prepared<P: PhysicalProfile> {
    Interpreter(Interpreter<P>),
    Compiled(Compiled),
}

impl<P: PhysicalProfile> Prepared<P> {
    /// What runs it.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self {
            Self::Interpreter(_) => Engine::Interpreter,
            Self::Compiled(_) => Engine::Compiled,
        }
    }

    /// Bounds a run with all its tail calls to `budget` instructions in the worst case: a tail
    /// call that would go beyond is not made.
    #[must_use]
    pub fn within(self, budget: u64) -> Self {
        match self {
            Self::Interpreter(ready) => Self::Interpreter(ready.within(budget)),
            Self::Compiled(ready) => Self::Compiled(ready.within(budget)),
        }
    }

    /// Runs the program with `context` as what r1 points to, and returns r0; `None` if the
    /// context is smaller than what the program was proved to access, or has pointers
    /// ([`Prepared::run_packet`]).
    #[inline]
    pub fn run(&self, context: &mut [u8], services: &dyn KernelServices) -> Option<u64> {
        match self {
            Self::Interpreter(ready) => interpret(ready, context, services),
            Self::Compiled(ready) => ready.run(context, services),
        }
    }

    /// Runs a program whose context has pointers; `None` if this is not the context of its type.
    #[inline]
    pub fn run_packet(
        &self,
        context: &mut PacketContext<'_>,
        services: &dyn KernelServices,
    ) -> Option<u64> {
        match self {
            Self::Interpreter(ready) => ready.run_packet(context, services),
            Self::Compiled(ready) => ready.run_packet(context, services),
        }
    }

    /// Runs the program with `context` in r1, and returns r0.
    ///
    /// # Safety
    /// As [`Interpreter::run_at`].
    #[inline]
    pub unsafe fn run_at(
        &self,
        context: *mut u8,
        bytes: usize,
        services: &dyn KernelServices,
    ) -> u64 {
        // SAFETY: the caller's promise is that of either engine.
        unsafe {
            match self {
                Self::Interpreter(ready) => ready.run_at(context, bytes, services),
                Self::Compiled(ready) => ready.run_at(context, bytes, services),
            }
        }
    }

    /// Where the prepared program begins in memory.
    #[must_use]
    pub fn address(&self) -> usize {
        match self {
            Self::Interpreter(ready) => ready.address(),
            Self::Compiled(ready) => ready.address(),
        }
    }

    /// The slot of the instruction that an address of the prepared program belongs to: for the
    /// report of a kernel that failed while the program ran.
    #[must_use]
    pub fn slot_at(&self, address: usize) -> Option<usize> {
        match self {
            Self::Interpreter(ready) => ready.slot_at(address),
            Self::Compiled(ready) => ready.slot_at(address),
        }
    }

    /// As [`Prepared::slot_at`], of a word found on the stack: compiled code leaves there where a
    /// call returns to, and that may be where the next instruction begins.
    #[must_use]
    pub fn slot_of_caller(&self, word: usize) -> Option<usize> {
        match self {
            Self::Interpreter(ready) => ready.slot_at(word),
            Self::Compiled(ready) => ready.slot_at(word.checked_sub(1)?),
        }
    }

    /// Bytes of machine code; 0 where the interpreter runs the program.
    #[must_use]
    pub fn machine_code_bytes(&self) -> usize {
        match self {
            Self::Interpreter(_) => 0,
            Self::Compiled(ready) => ready.code_bytes(),
        }
    }

    /// The maps that the program uses.
    #[must_use]
    pub fn maps(&self) -> &[Arc<Map>] {
        match self {
            Self::Interpreter(ready) => ready.maps(),
            Self::Compiled(ready) => ready.maps(),
        }
    }
}

/// Apart, so that the room that the interpreter takes on the stack costs compiled programs nothing.
#[inline(never)]
fn interpret<P: PhysicalProfile>(
    ready: &Interpreter<P>,
    context: &mut [u8],
    services: &dyn KernelServices,
) -> Option<u64> {
    ready.run(context, services)
}

impl<P: PhysicalProfile> Executable for Prepared<P> {
    fn kind(&self) -> ProgramKind {
        match self {
            Self::Interpreter(ready) => ready.kind(),
            Self::Compiled(ready) => ready.kind(),
        }
    }

    fn tail_entry(&self) -> TailEntry {
        match self {
            Self::Interpreter(ready) => ready.tail_entry(),
            Self::Compiled(ready) => ready.tail_entry(),
        }
    }
}
