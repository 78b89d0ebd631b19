//! [`Refusal`]: the bare cause of a refusal inside the verifier, before it is dressed
//! up as a [`super::Rejection`] with disassembly, source line and path.

use alloc::string::String;
use alloc::vec::Vec;

use super::rejection::{Cause, PathStep};
use crate::insn::Reg;

/// What the message needs of the state that was refused.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) register_state: Option<String>,
    /// The last branches, and whether there were more.
    pub(super) steps: (Vec<PathStep>, bool),
}

#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) cause: Cause,
    pub(super) insn: Option<usize>,
    pub(super) register: Option<Reg>,
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
    /// `None` while the state is the verifier's present one.
    pub(super) seen: Option<Seen>,
}

/// A list of `count` equal elements.
///
/// # Errors
/// No memory for it.
pub(super) fn filled<T: Clone>(element: T, count: usize) -> Result<Vec<T>, Refusal> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| Refusal::out_of_memory())?;
    list.resize(count, element);
    Ok(list)
}

/// Makes sure that one more element fits into a list.
///
/// # Errors
/// No memory for it.
#[inline]
pub(super) fn room<T>(list: &mut Vec<T>) -> Result<(), Refusal> {
    if list.len() < list.capacity() {
        return Ok(());
    }
    list.try_reserve(1).map_err(|_| Refusal::out_of_memory())
}

impl Refusal {
    /// Not the program's fault.
    pub(super) fn out_of_memory() -> Refusal {
        Self::program(Cause::OutOfMemory, "out of memory".into())
    }

    /// About an instruction.
    pub(super) fn at(slot: usize, cause: Cause, message: String) -> Refusal {
        Refusal { insn: Some(slot), ..Self::program(cause, message) }
    }

    /// About the program as a whole.
    pub(super) fn program(cause: Cause, message: String) -> Refusal {
        Refusal { cause, insn: None, register: None, message, hint: None, seen: None }
    }

    pub(super) fn register(mut self, register: Reg) -> Refusal {
        self.register = Some(register);
        self
    }

    pub(super) fn hint(mut self, hint: &'static str) -> Refusal {
        self.hint = Some(hint);
        self
    }
}
