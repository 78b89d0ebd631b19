//! [`Run`]: what one run of compiled code carries with it.

#![forbid(unsafe_code)]

use crate::helper::Environment;

/// Most rounds of all `may_goto`s of a run together (Linux: `BPF_MAX_LOOPS`).
const MAY_GOTO_ROUNDS: i32 = 8 * 1024 * 1024;

/// What compiled code gets the address of. Helpers get the same address: the environment comes
/// first.
#[repr(C)]
pub struct Run<'a> {
    environment: Environment<'a>,
    /// Rounds of `may_goto`s that are left.
    rounds: i32,
}

impl<'a> Run<'a> {
    /// Where [`super::ir::Op::MayGoto`] counts down: it jumps when the number gets negative.
    pub const ROUNDS: i32 = core::mem::offset_of!(Run<'static>, rounds) as i32;

    #[inline]
    pub(super) fn new(environment: Environment<'a>) -> Self {
        Self { environment, rounds: MAY_GOTO_ROUNDS }
    }
}
