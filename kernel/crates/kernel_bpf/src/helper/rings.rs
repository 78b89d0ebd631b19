//! Helpers about ring buffers.
//!
//! One of the crate's few modules with `unsafe`: who commits a record has nothing but its address
//! ([`RingBuffer::owner_address`]).

use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use super::call::{EINVAL, Environment, error, map, memory};
use crate::map::ringbuf::HEADER;
use crate::map::{Map, MapError, RingBuffer};

pub(super) unsafe fn ringbuf_output(env: &Environment<'_>, [r1, r2, r3, r4, _]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a map and that r2 points to r3 readable bytes.
    let (map, data) = unsafe { (map(r1), memory(r2, r3 as usize)) };
    if r4 & !3 != 0 {
        return EINVAL;
    }
    let Some(ring) = map.ring() else { return EINVAL };
    match ring.output(data, r4) {
        Ok(wake) => {
            if wake {
                env.services.ring_ready(map);
            }
            0
        }
        // Linux has one answer for every record that finds no room.
        Err(_) => {
            no_room(env, map, ring);
            error(MapError::WouldBlock)
        }
    }
}

/// Tells the consumer of a gap that must be passed before there is room.
#[cold]
fn no_room(env: &Environment<'_>, map: &Map, ring: &RingBuffer) {
    if ring.left_a_gap() {
        env.services.ring_ready(map);
    }
}

pub(super) unsafe fn ringbuf_reserve(env: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    if r3 != 0 {
        return 0;
    }
    // SAFETY: the verifier proved r1 a map.
    let map = unsafe { map(r1) };
    let Some(ring) = map.ring() else { return 0 };
    ring.set_owner(r1);
    match ring.reserve(r2) {
        Ok(record) => ring.address(record) as u64,
        Err(_) => {
            no_room(env, map, ring);
            0
        }
    }
}

pub(super) unsafe fn ringbuf_submit(env: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a record that was reserved and is not committed.
    unsafe { commit(env, r1, r2, false) }
}

pub(super) unsafe fn ringbuf_discard(env: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: as above.
    unsafe { commit(env, r1, r2, true) }
}

/// # Safety
/// `record` was reserved, in this run, and is not committed.
unsafe fn commit(env: &Environment<'_>, record: u64, flags: u64, discard: bool) -> u64 {
    let word = |address: usize| ptr::with_exposed_provenance::<AtomicU64>(address);
    // SAFETY: as the caller promises; neither programs nor users can write a record's header.
    let header = unsafe { &*word(record as usize - HEADER) }.load(Ordering::Relaxed);
    // SAFETY: so far before the record its ring begins.
    let owner = unsafe { &*word(RingBuffer::owner_address(record as usize, header)) };
    // SAFETY: `ringbuf_reserve` noted the map, which stays until this CPU is quiet.
    let map = unsafe { map(owner.load(Ordering::Relaxed)) };
    if let Some(ring) = map.ring()
        && let Some(record) = ring.record_at(record as usize)
        && ring.commit(record, discard, flags)
    {
        env.services.ring_ready(map);
    }
    0
}

pub(super) unsafe fn ringbuf_query(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a map.
    (unsafe { map(r1) }).ring().map_or(0, |ring| ring.query(r2))
}
