//! Helpers that call back into the program: `bpf_loop` and `bpf_for_each_map_elem`.
//!
//! How a callback is entered is the engine's business: it passes `call`, which runs the
//! callback that the program named with the given registers r1 to r5 and returns its r0. The
//! callback runs on the program's own stack, below the frame that called the helper.

use super::call::{Environment, error, map};
use super::maps::cpu_of;
use super::proto::id;
use crate::map::MapError;

/// Runs the callback with these registers.
pub type Call<'a> = &'a mut dyn FnMut([u64; 5]) -> u64;

/// The function of a helper that takes a callback, in r2.
///
/// # Safety
/// The arguments satisfy the helper's declaration, and `call` enters the callback in r2.
pub type CallbackHelper = unsafe fn(&Environment<'_>, [u64; 5], Call<'_>) -> u64;

/// Most rounds of one `bpf_loop` (Linux: `BPF_MAX_LOOPS`).
pub const MAX_LOOPS: u32 = 8 * 1024 * 1024;

/// The helper with Linux's number, if it is one that takes a callback.
#[must_use]
pub fn implementation(number: i32) -> Option<CallbackHelper> {
    Some(match number {
        id::LOOP => bpf_loop,
        id::FOR_EACH_MAP_ELEM => for_each_map_elem,
        _ => return None,
    })
}

/// Calls `callback(index, context)` until it returns something else than 0; returns how often.
unsafe fn bpf_loop(_: &Environment<'_>, [r1, _, r3, r4, _]: [u64; 5], call: Call<'_>) -> u64 {
    let rounds = r1 as u32;
    if r4 != 0 {
        return error(MapError::Invalid);
    }
    if rounds > MAX_LOOPS {
        return error(MapError::Full);
    }
    for round in 0..rounds {
        if call([u64::from(round), r3, 0, 0, 0]) != 0 {
            return u64::from(round) + 1;
        }
    }
    u64::from(rounds)
}

/// Calls `callback(map, key, value, context)` for every element until it returns something else
/// than 0; returns how often.
unsafe fn for_each_map_elem(
    env: &Environment<'_>,
    [r1, _, r3, r4, _]: [u64; 5],
    call: Call<'_>,
) -> u64 {
    if r4 != 0 {
        return error(MapError::Invalid);
    }
    // SAFETY: the verifier proved r1 a map.
    let map = unsafe { map(r1) };
    let visited =
        map.each(cpu_of(env, map), |key, value| call([r1, key as u64, value as u64, r3, 0]) == 0);
    visited.unwrap_or_else(error)
}
