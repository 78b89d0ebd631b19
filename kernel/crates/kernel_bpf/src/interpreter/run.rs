//! What surrounds the loop of `execute`: one run's stack, and the calls of helpers.

use core::cell::Cell;
use core::mem::{self, MaybeUninit};
use core::ptr;

use super::code::Op;
use super::execute::function;
use crate::helper::{Environment, Helper};

/// Most nested calls of subprograms, the main program's frame included (Linux:
/// `MAX_CALL_FRAMES`).
pub(super) const MAX_FRAMES: usize = 8;
/// Stack of a run: Linux's 512 bytes, for a program and all that it calls.
pub(super) const STACK_BYTES: usize = 512;
pub(super) const STACK_WORDS: usize = STACK_BYTES / 8;

/// What the functions of one run share.
pub(super) struct Run<'a> {
    pub(super) env: Environment<'a>,
    /// The lowest address of the stack.
    pub(super) stack: u64,
    /// Rounds of `may_goto` so far.
    pub(super) may_goto: Cell<u32>,
}

/// Runs from `start` until the program ends; returns r0.
///
/// # Safety
/// `start` is the first op of code that [`super::lower`] made from a verified program that
/// needs no more than [`STACK_BYTES`] of stack, and `context` what the program's type says that
/// r1 points to. The objects that the code refers to (maps, helpers) live, and no quiescent
/// state is passed meanwhile. `used` are the words of stack that the program may access, with all
/// that it calls and tail-calls.
#[inline]
pub(super) unsafe fn execute(
    start: *const Op,
    context: u64,
    used: usize,
    env: Environment<'_>,
) -> u64 {
    let mut stack = [const { MaybeUninit::<u64>::uninit() }; STACK_WORDS];
    // Most short programs use none, and a call for nothing costs as much as they do.
    if used != 0 {
        clear(&mut stack, used);
    }
    let range = stack.as_mut_ptr_range();
    let (low, high) = (range.start.expose_provenance() as u64, range.end.expose_provenance());
    let run = Run { env, stack: low, may_goto: Cell::new(0) };
    // SAFETY: the caller's promise; the stack is as large as the program needs.
    unsafe { function(start, [context, 0, 0, 0, 0], high as u64, 0, &run) }
}

/// Programs of privileged loaders may read what they never wrote: so many words at the upper end
/// are zero. Apart, because runs begin in many places.
#[inline(never)]
fn clear(stack: &mut [MaybeUninit<u64>; STACK_WORDS], used: usize) {
    if let Some(used) = stack.get_mut(STACK_WORDS.saturating_sub(used)..) {
        used.fill(MaybeUninit::new(0));
    }
}

/// Calls the helper whose function is at `address`.
///
/// # Safety
/// `lower` put the address into an op, and the arguments are what the helper declares.
#[inline(always)]
pub(super) unsafe fn call_helper(
    address: u64,
    [r1, r2, r3, r4, r5]: [u64; 5],
    env: &Environment<'_>,
) -> u64 {
    let helper = ptr::with_exposed_provenance::<()>(address as usize);
    // SAFETY: the caller's promise.
    unsafe { mem::transmute::<*const (), Helper>(helper)(r1, r2, r3, r4, r5, env) }
}

/// Calls the helper with this number, which the function at `find` finds.
///
/// # Safety
/// `find` is `Trust::helpers` of a program without a proof; who trusted the program vouches for
/// the arguments.
pub(super) unsafe fn call_register(
    find: u64,
    number: i32,
    [r1, r2, r3, r4, r5]: [u64; 5],
    env: &Environment<'_>,
) -> u64 {
    let find = ptr::with_exposed_provenance::<()>(find as usize);
    // SAFETY: the caller's promise.
    let find = unsafe { mem::transmute::<*const (), fn(i32) -> Option<Helper>>(find) };
    // SAFETY: the caller's promise.
    let result = find(number).map(|helper| unsafe { helper(r1, r2, r3, r4, r5, env) });
    // EINVAL where there is no such helper.
    result.unwrap_or(-22i64 as u64)
}
