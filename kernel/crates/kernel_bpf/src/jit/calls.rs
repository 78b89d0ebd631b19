//! What compiled code calls that is no helper: tail calls, helpers that call back, calls by
//! register, and the legacy packet loads. All take r1 to r5 and the [`Run`], as helpers do.

use core::{mem, ptr};

use super::run::Run;
use crate::helper::Helper;
use crate::helper::callback::CallbackHelper;
use crate::interpreter::memory;
use crate::map::TailEntry;

/// Bytes of the machine's stack that a function takes besides its BPF stack, at most: saved
/// registers, the address of the run, where to return to, alignment.
const FRAME_BYTES: usize = 112;

/// Decides a tail call: the address of the target's code, or 0. It remembers the context, for the
/// target.
///
/// # Safety
/// r1 is the context, r2 has the address of a program array that the running program holds, and
/// the caller goes to the target.
pub(super) unsafe extern "C" fn tail_call(
    context: u64,
    map: u64,
    index: u64,
    _: u64,
    _: u64,
    run: &Run<'_>,
) -> u64 {
    run.context.set(context);
    let here = ptr::from_ref(&context).addr();
    let fits = |entry: &TailEntry| {
        let frames = entry.needs.call_depth as usize * FRAME_BYTES;
        run.stack_end.saturating_add(entry.needs.stack_depth as usize + frames) <= here
    };
    // SAFETY: the caller's promise; entries of the array are compiled, since its kind is.
    let entry = unsafe { run.environment.tail_call(map, index, fits) };
    entry.map_or(0, |entry| entry.code as u64)
}

/// The code that enters a callback: registers r1 to r5, the run, and the function's address.
type Trampoline = unsafe extern "C" fn(&[u64; 5], &Run<'_>, u64) -> u64;

/// Calls the helper in the first note, which calls the function in r2 back.
///
/// # Safety
/// The note has such a helper's address, and the arguments are what it declares.
pub(super) unsafe extern "C" fn call_back(
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    r5: u64,
    run: &Run<'_>,
) -> u64 {
    let helper = ptr::with_exposed_provenance::<()>(run.notes[0].get() as usize);
    let enter = ptr::with_exposed_provenance::<()>(run.trampoline);
    // SAFETY: the front end put a helper's function into the note; a program with callbacks has a
    // trampoline.
    let (helper, enter) = unsafe {
        let enter = mem::transmute::<*const (), Trampoline>(enter);
        (mem::transmute::<*const (), CallbackHelper>(helper), enter)
    };
    // SAFETY: r2 has the address of a function of the program, as the verifier proved; it counted
    // the function's frames and stack with the caller's.
    let mut call = |arguments: [u64; 5]| unsafe { enter(&arguments, run, r2) };
    // SAFETY: the caller's promise.
    unsafe { helper(&run.environment, [r1, r2, r3, r4, r5], &mut call) }
}

/// Calls the helper whose number is in the second note, which the function in the first finds.
///
/// # Safety
/// Who trusted the program vouches for the arguments.
pub(super) unsafe extern "C" fn call_register(
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    r5: u64,
    run: &Run<'_>,
) -> u64 {
    let find = ptr::with_exposed_provenance::<()>(run.notes[0].get() as usize);
    // SAFETY: the front end put `Trust::helpers` into the note.
    let find = unsafe { mem::transmute::<*const (), fn(i32) -> Option<Helper>>(find) };
    // SAFETY: the caller's promise.
    let call = |helper: Helper| unsafe { helper(r1, r2, r3, r4, r5, &run.environment) };
    // EINVAL where there is no such helper.
    find(run.notes[1].get() as i32).map_or(-22i64 as u64, call)
}

/// Reads a number at `index` of the packet whose context is at `context`, in host order; -1
/// beyond the packet. `place` has the field of the context in its lower half, the size in bytes
/// in its upper half.
///
/// # Safety
/// `context` is that of a packet, with the packet's start and end at the field.
pub(super) unsafe extern "C" fn load_packet(
    context: u64,
    index: u64,
    place: u64,
    _: u64,
    _: u64,
    _: &Run<'_>,
) -> u64 {
    let (field, index) = (place as i32, index as u32);
    // SAFETY: the caller's promise.
    let value = unsafe {
        match place >> 32 {
            1 => memory::packet::<u8>(context, field, index).map(u64::from),
            2 => memory::packet(context, field, index).map(|n| u64::from(u16::from_be(n))),
            _ => memory::packet(context, field, index).map(|n| u64::from(u32::from_be(n))),
        }
    };
    value.unwrap_or(u64::MAX)
}
