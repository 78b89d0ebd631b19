//! Helpers about maps' elements, and the locks in them; and those that send to perf events and keep
//! stacks, which are maps to programs.
//!
//! One of the crate's few modules with `unsafe`: what the verifier proved of the arguments is said at
//! each helper.

use core::ptr;
use core::sync::atomic::AtomicU32;

use kernel_sync::irq;

use super::call::{EFAULT, EINVAL, Environment, done, error, map, memory, memory_mut};
use crate::map::{Map, stack_trace, value, within};

pub(super) unsafe fn map_lookup_elem(env: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a map and r2 a key of its size.
    let (map, key) = unsafe { (map(r1), memory(r2, map(r1).def().key_size as usize)) };
    map.value_address(key, cpu_of(env, map)) as u64
}

pub(super) unsafe fn map_lookup_percpu_elem(
    _: &Environment<'_>,
    [r1, r2, r3, ..]: [u64; 5],
) -> u64 {
    // SAFETY: as in `map_lookup_elem`.
    let (map, key) = unsafe { (map(r1), memory(r2, map(r1).def().key_size as usize)) };
    // Any number may come here, and a map has values for the CPUs that there are.
    let cpu = r3 as u32 as usize;
    if cpu < map.cpus() { map.value_address(key, cpu) as u64 } else { 0 }
}

pub(super) unsafe fn map_update_elem(env: &Environment<'_>, [r1, r2, r3, r4, _]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a map, r2 a key and r3 a value of its sizes.
    let (map, key, value) = unsafe {
        let map = map(r1);
        (map, memory(r2, map.def().key_size as usize), memory(r3, map.def().value_size as usize))
    };
    done(map.update_on(key, value, r4, cpu_of(env, map)))
}

pub(super) unsafe fn map_delete_elem(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: as in `map_lookup_elem`.
    let (map, key) = unsafe { (map(r1), memory(r2, map(r1).def().key_size as usize)) };
    done(map.delete_from_program(key))
}

pub(super) unsafe fn map_push_elem(_: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a map and r2 a value of its size.
    let (map, value) = unsafe { (map(r1), memory(r2, map(r1).def().value_size as usize)) };
    done(map.push(value, r3))
}

pub(super) unsafe fn map_pop_elem(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a map and that r2 has room for a value.
    let (map, out) = unsafe { (map(r1), memory_mut(r2, map(r1).def().value_size as usize)) };
    done(map.pop(out))
}

pub(super) unsafe fn map_peek_elem(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: as in `map_pop_elem`; for a bloom filter the value is initialised.
    let (map, out) = unsafe { (map(r1), memory_mut(r2, map(r1).def().value_size as usize)) };
    done(map.peek(out))
}

/// The lock at an address.
///
/// # Safety
/// `address` is that of a `struct bpf_spin_lock` in a map's value.
unsafe fn lock_at<'a>(address: u64) -> &'a AtomicU32 {
    // SAFETY: as the caller promises; it is aligned, and accessed as an atomic by everybody.
    unsafe { &*ptr::with_exposed_provenance::<AtomicU32>(address as usize) }
}

/// Interrupts stay off until the lock is given back: a program in an interrupt may want it.
pub(super) unsafe fn spin_lock(env: &Environment<'_>, [r1, ..]: [u64; 5]) -> u64 {
    let state = irq::save();
    // SAFETY: the verifier proved r1 a lock, and that the program holds no other.
    value::acquire(unsafe { lock_at(r1) });
    env.irq.set(Some(state));
    0
}

pub(super) unsafe fn spin_unlock(env: &Environment<'_>, [r1, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 the lock that the program holds.
    value::release(unsafe { lock_at(r1) });
    if let Some(state) = env.irq.take() {
        irq::restore(state);
    }
    0
}

pub(super) unsafe fn perf_event_output(
    env: &Environment<'_>,
    [_, r2, r3, r4, r5]: [u64; 5],
) -> u64 {
    // SAFETY: the verifier proved r2 a map and that r4 points to r5 readable bytes.
    let (map, data) = unsafe { (map(r2), memory(r4, r5 as usize)) };
    done(map.output(r3, env.services.cpu_id(), data))
}

pub(super) unsafe fn get_stackid(env: &Environment<'_>, [_, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r2 a map.
    let map = unsafe { map(r2) };
    let Some(depth) = map.stack_depth() else { return EINVAL };
    let mut frames = [0; stack_trace::MAX_FRAMES];
    let Some(frames) = frames.get_mut(..depth) else { return EINVAL };
    let (skip, user) = (r3 & stack_trace::SKIP_MASK, r3 & stack_trace::USER_STACK != 0);
    let Some(found) = env.services.stack_trace(user, skip as usize, frames) else {
        return EFAULT;
    };
    let frames = frames.get(..found.min(frames.len())).unwrap_or_default();
    map.keep_stack(frames, r3).map_or_else(error, u64::from)
}

/// The CPU whose values a program uses.
#[inline]
pub(super) fn cpu_of(env: &Environment<'_>, map: &Map) -> usize {
    match map.cpus() {
        1 => 0,
        cpus => within(env.services.cpu_id(), cpus),
    }
}
