//! [`Trust`]: how a program that nobody verified is to be prepared.
//!
//! Conformance suites test single instructions with programs that no verifier would accept:
//! they read what they never wrote, call by register, or have helpers of their own. A host
//! tool can run those with the feature `trusted-programs`, which adds
//! `Interpreter::new_trusted` and is refused at compile time for bare metal: a kernel has no
//! such door.

#![forbid(unsafe_code)]

use crate::helper::{self, Helper};

#[cfg(all(feature = "trusted-programs", target_os = "none"))]
compile_error!("the feature trusted-programs is for host tools: a kernel runs what is verified");

/// What stands in for a proof.
#[derive(Clone, Copy, Debug)]
pub struct Trust {
    /// Bytes of stack for each function, a multiple of 8; the main function of a program
    /// without calls of its own has all 512.
    pub frame: u32,
    /// The helpers by number: the engine's, or those of a test suite.
    pub helpers: fn(i32) -> Option<Helper>,
    /// Where a call by register goes, in machine code that will run in another address space:
    /// a function that finds the helper's number in the second of [`Run::NOTES`]. Without it, to
    /// the engine's own, which asks `helpers`.
    ///
    /// [`Run::NOTES`]: crate::jit::run::Run::NOTES
    pub call_register: Option<usize>,
}

impl Default for Trust {
    /// 64 bytes for each function, and the engine's helpers.
    fn default() -> Self {
        Self { frame: 64, helpers: helper::implementation, call_register: None }
    }
}
