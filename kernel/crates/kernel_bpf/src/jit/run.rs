//! [`Run`]: what one run of compiled code carries with it.

#![forbid(unsafe_code)]

use core::cell::Cell;
use core::mem::offset_of;

use crate::helper::Environment;

/// Most rounds of all `may_goto`s of a run together (Linux: `BPF_MAX_LOOPS`).
const MAY_GOTO_ROUNDS: i32 = 8 * 1024 * 1024;
/// Bytes of the machine's stack that a run may take before tail calls are refused.
const STACK_BYTES: usize = 4096;

/// What compiled code gets the address of. Helpers get the same address: the environment comes
/// first.
#[repr(C)]
pub struct Run<'a> {
    pub(super) environment: Environment<'a>,
    /// Words for the function that is called next, besides its arguments.
    pub(super) notes: [Cell<u64>; 2],
    /// The context of the program that a tail call goes to.
    pub(super) context: Cell<u64>,
    /// The code that enters callbacks.
    pub(super) trampoline: usize,
    /// The lowest address that the run's stack should get to.
    pub(super) stack_end: usize,
    /// Rounds of `may_goto`s that are left.
    rounds: i32,
}

impl<'a> Run<'a> {
    /// Where [`super::ir::Op::MayGoto`] counts down: it jumps when the number gets negative.
    pub const ROUNDS: i32 = offset_of!(Run<'static>, rounds) as i32;
    /// Where [`super::ir::Op::Note`] stores.
    pub const NOTES: i32 = offset_of!(Run<'static>, notes) as i32;
    /// Where [`super::ir::Op::TailCall`] finds the context for the target's r1.
    pub const CONTEXT: i32 = offset_of!(Run<'static>, context) as i32;

    #[inline]
    pub(super) fn new(environment: Environment<'a>, trampoline: usize) -> Self {
        // What is called from here lies below. Not by the address of the result, which would
        // then be made here and copied to where it is used.
        let here = 0u8;
        Self {
            environment,
            notes: [const { Cell::new(0) }; 2],
            context: Cell::new(0),
            trampoline,
            stack_end: core::ptr::from_ref(&here).addr().saturating_sub(STACK_BYTES),
            rounds: MAY_GOTO_ROUNDS,
        }
    }
}
