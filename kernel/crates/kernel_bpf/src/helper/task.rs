//! Helpers about the running task: its identity, its stack, and what maps keep for it.

use super::call::{EFAULT, EINVAL, Environment, error, map, memory, memory_mut};
use crate::map::stack_trace;

/// Linux's flag that asks for build ids, which no file here has.
const USER_BUILD_ID: u64 = 1 << 11;

/// The task as a pointer: an identity here, as nothing can be read through it without the
/// kernel's BTF.
pub(super) unsafe fn get_current_task(env: &Environment<'_>, _: [u64; 5]) -> u64 {
    env.services.current_task()
}

pub(super) unsafe fn task_storage_get(_: &Environment<'_>, [r1, r2, r3, r4, _]: [u64; 5]) -> u64 {
    if r2 == 0 {
        return 0;
    }
    // SAFETY: the verifier proved r1 a map, and r3 a value of its size or null.
    let (map, initial) = unsafe {
        let map = map(r1);
        (map, (r3 != 0).then(|| memory(r3, map.def().value_size as usize)))
    };
    map.task_value(r2, initial, r4) as u64
}

pub(super) unsafe fn task_storage_delete(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    if r2 == 0 {
        return EINVAL;
    }
    // SAFETY: the verifier proved r1 a map.
    unsafe { map(r1) }.forget_task(r2).map_or_else(error, |()| 0)
}

/// Writes return addresses, innermost first; returns how many bytes.
pub(super) unsafe fn get_stack(env: &Environment<'_>, [_, r2, r3, r4, _]: [u64; 5]) -> u64 {
    let known = stack_trace::SKIP_MASK | stack_trace::USER_STACK | USER_BUILD_ID;
    // SAFETY: the verifier proved that r2 points to r3 writable bytes.
    let out = unsafe { memory_mut(r2, r3 as u32 as usize) };
    let mut frames = [0; stack_trace::MAX_FRAMES];
    let found = if r4 & !known != 0 || r4 & USER_BUILD_ID != 0 || out.len() % 8 != 0 {
        Err(EINVAL)
    } else {
        let (skip, user) = (r4 & stack_trace::SKIP_MASK, r4 & stack_trace::USER_STACK != 0);
        let most = frames.len().min(out.len() / 8);
        let room = frames.get_mut(..most).unwrap_or_default();
        let found = env.services.stack_trace(user, skip as usize, room).ok_or(EFAULT);
        // Programs count on what they are told.
        found.map(|found| found.min(most))
    };
    out.fill(0);
    match found {
        Ok(count) => {
            for (to, frame) in out.chunks_exact_mut(8).zip(frames.iter().take(count)) {
                to.copy_from_slice(&frame.to_ne_bytes());
            }
            count as u64 * 8
        }
        Err(error) => error,
    }
}
