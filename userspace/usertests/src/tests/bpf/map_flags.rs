//! Which flags each kind of map takes, with which error it refuses others, one by one and in
//! batches.

use super::map_kinds::{
    ARRAY_OF_MAPS, BLOOM_FILTER, HASH_OF_MAPS, LPM_TRIE, LRU_HASH, NO_PREALLOC, PROGRAM_ARRAY,
    QUEUE, STACK_TRACE,
};
use super::{
    ARRAY, HASH, PER_CPU_ARRAY, PERF_EVENT_ARRAY, RING, available, create, new_map, number, raw,
};
use crate::check::{Outcome, equal, ok};
use ::bpf::attributes::Attributes;
use ::bpf::calls as commands;
use ::bpf::calls::{Map, NewMap};
use alloc::vec;
use alloc::vec::Vec;
use kernel_abi::bpf::{command, map_batch, map_elem};
use lemma_rt::rustix::fd::{AsFd, AsRawFd};

/// `BPF_F_LOCK`.
const LOCK: u64 = 4;

const NOENT: i32 = 2;
const BADF: i32 = 9;
const EXIST: i32 = 17;
const INVAL: i32 = 22;
const OPNOTSUPP: i32 = 95;
const NOTSUPP: i32 = 524;

/// A map and what commands on it return, one after the other: lookups with the flags 0, 1, 2, 4, 8;
/// updates with 3, 8, 4, 2, 1, 0, 1; taking out with 4, 1, 0, 0; deletion of the key and of one that
/// is not there; the next key after the key and the first one.
type Row = ((u32, u32, u32), [i32; 5], [i32; 7], [i32; 4], [i32; 2], [i32; 2]);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ((HASH, 4, 8), [NOENT, INVAL, INVAL, INVAL, INVAL], [INVAL, INVAL, INVAL, NOENT, 0, 0, EXIST], [INVAL, INVAL, 0, NOENT], [NOENT; 2], [NOENT; 2]),
    ((LRU_HASH, 4, 8), [NOENT, INVAL, INVAL, INVAL, INVAL], [INVAL, INVAL, INVAL, NOENT, 0, 0, EXIST], [INVAL, INVAL, 0, NOENT], [NOENT; 2], [NOENT; 2]),
    ((ARRAY, 4, 8), [0, INVAL, INVAL, INVAL, INVAL], [INVAL, INVAL, INVAL, 0, EXIST, 0, EXIST], [INVAL, INVAL, NOTSUPP, NOTSUPP], [INVAL; 2], [0; 2]),
    ((PER_CPU_ARRAY, 4, 8), [0, INVAL, INVAL, INVAL, INVAL], [INVAL, INVAL, INVAL, 0, EXIST, 0, EXIST], [INVAL, INVAL, NOTSUPP, NOTSUPP], [INVAL; 2], [0; 2]),
    ((LPM_TRIE, 8, 8), [NOENT, INVAL, INVAL, INVAL, INVAL], [INVAL, INVAL, INVAL, NOENT, 0, 0, EXIST], [INVAL, INVAL, NOTSUPP, NOTSUPP], [0, INVAL], [NOENT; 2]),
    ((ARRAY_OF_MAPS, 4, 4), [NOENT, INVAL, INVAL, INVAL, INVAL], [INVAL, INVAL, INVAL, INVAL, INVAL, 0, INVAL], [INVAL, INVAL, NOTSUPP, NOTSUPP], [0, 7], [0; 2]),
    ((HASH_OF_MAPS, 4, 4), [NOENT, INVAL, INVAL, INVAL, INVAL], [INVAL, INVAL, INVAL, NOENT, 0, 0, EXIST], [INVAL, INVAL, NOTSUPP, NOTSUPP], [0, NOENT], [NOENT; 2]),
    ((PROGRAM_ARRAY, 4, 4), [NOENT, INVAL, INVAL, INVAL, INVAL], [INVAL; 7], [INVAL, INVAL, NOTSUPP, NOTSUPP], [NOENT, 7], [0; 2]),
    ((PERF_EVENT_ARRAY, 4, 4), [NOTSUPP, INVAL, INVAL, INVAL, INVAL], [INVAL, INVAL, INVAL, INVAL, INVAL, BADF, INVAL], [INVAL, INVAL, NOTSUPP, NOTSUPP], [NOENT, 7], [0; 2]),
    ((STACK_TRACE, 4, 8), [NOENT, INVAL, INVAL, INVAL, INVAL], [INVAL; 7], [INVAL, INVAL, NOENT, NOENT], [NOENT, 7], [NOENT; 2]),
    ((QUEUE, 0, 8), [NOENT, INVAL, INVAL, INVAL, INVAL], [INVAL, INVAL, INVAL, 0, INVAL, 0, INVAL], [INVAL, INVAL, 0, 0], [INVAL; 2], [INVAL; 2]),
    ((BLOOM_FILTER, 0, 8), [NOENT, INVAL, INVAL, INVAL, INVAL], [INVAL, INVAL, INVAL, INVAL, INVAL, 0, INVAL], [INVAL, INVAL, NOTSUPP, NOTSUPP], [OPNOTSUPP; 2], [OPNOTSUPP; 2]),
    ((RING, 0, 0), [NOTSUPP, INVAL, INVAL, INVAL, INVAL], [NOTSUPP, NOTSUPP, INVAL, NOTSUPP, NOTSUPP, NOTSUPP, NOTSUPP], [INVAL, INVAL, NOTSUPP, NOTSUPP], [NOTSUPP; 2], [NOTSUPP; 2]),
];

/// The error number of a command, or 0.
fn outcome(number: u32, map: &Map, key: Option<&[u8]>, value: &mut [u8], flags: u64) -> i32 {
    let mut attributes = Attributes::new()
        .with_fd(map_elem::MAP_FD, map.fd.as_raw_fd())
        .with_pointer(map_elem::KEY, key.map_or(core::ptr::null(), <[u8]>::as_ptr))
        .with_pointer(map_elem::VALUE, value.as_mut_ptr())
        .with64(map_elem::FLAGS, flags);
    let length = match number {
        command::MAP_DELETE_ELEM => map_elem::DELETE_END,
        command::MAP_GET_NEXT_KEY => map_elem::NEXT_KEY_END,
        _ => map_elem::END,
    };
    let result = raw(number, attributes.bytes_mut(length));
    result.map_or_else(lemma_rt::Errno::raw_os_error, |_| 0)
}

pub(super) fn map_flags() -> Outcome {
    available()?;
    let inner = ok!(create(ARRAY, 4, 4, 1));
    for (shape @ (kind, key_size, value_size), lookups, updates, takes, deletions, next) in ROWS {
        let nests = matches!(*kind, ARRAY_OF_MAPS | HASH_OF_MAPS);
        let entries = if *kind == RING { 4096 } else { 4 };
        let fd = ok!(commands::create_map(&NewMap {
            flags: if *kind == LPM_TRIE { NO_PREALLOC } else { 0 },
            inner: nests.then(|| inner.fd.as_raw_fd()),
            ..new_map(*kind, *key_size, *value_size, entries)
        }));
        let map = Map { fd, key_size: *key_size as usize, value_size: *value_size as usize };
        let (present, absent) = ([1, 0, 0, 0, 0, 0, 0, 0], [0xff; 8]);
        let key = (*key_size != 0).then_some(&present[..]);
        let other = (*key_size != 0).then_some(&absent[..]);
        // Of a map that holds maps or programs, a descriptor; that of the map itself is wrong.
        let held = if nests { &inner } else { &map };
        let mut value = held.fd.as_raw_fd().to_ne_bytes().to_vec();
        value.resize(1024, 0);
        let mut room = vec![0; 1024];
        let mut run = |number, key, flags| {
            room.copy_from_slice(&value);
            outcome(number, &map, key, &mut room, flags)
        };
        let found = [0, 1, 2, 4, 8].map(|flags| run(command::MAP_LOOKUP_ELEM, key, flags));
        equal!((shape, "lookup", &found), (shape, "lookup", lookups));
        let found = [3, 8, 4, 2, 1, 0, 1].map(|flags| run(command::MAP_UPDATE_ELEM, key, flags));
        equal!((shape, "update", &found), (shape, "update", updates));
        let take = command::MAP_LOOKUP_AND_DELETE_ELEM;
        let found = [4, 1, 0, 0].map(|flags| run(take, key, flags));
        equal!((shape, "take out", &found), (shape, "take out", takes));
        let found = [key, other].map(|key| run(command::MAP_DELETE_ELEM, key, 0));
        equal!((shape, "delete", &found), (shape, "delete", deletions));
        let found = [key, None].map(|key| run(command::MAP_GET_NEXT_KEY, key, 0));
        equal!((shape, "next key", &found), (shape, "next key", next));
    }
    Ok(())
}

/// A batch command with flags: its error number or 0, the count that the kernel left, the keys and
/// the values.
fn batch(
    number: u32,
    map: &Map,
    (keys, values): (&[u32], &[u8]),
    count: u32,
    (element_flags, flags): (u64, u64),
) -> (i32, u32, Vec<u32>, Vec<u8>) {
    let (mut place, mut keys, mut values) = (0u64, keys.to_vec(), values.to_vec());
    keys.resize(8, 0);
    values.resize(8 * map.value_size, 0);
    let mut attributes = Attributes::new()
        .with_pointer(map_batch::OUT_BATCH, &raw mut place)
        .with_pointer(map_batch::KEYS, keys.as_mut_ptr())
        .with_pointer(map_batch::VALUES, values.as_mut_ptr())
        .with(map_batch::COUNT, count)
        .with_fd(map_batch::MAP_FD, map.fd.as_raw_fd())
        .with64(map_batch::ELEM_FLAGS, element_flags)
        .with64(map_batch::FLAGS, flags);
    let result = raw(number, attributes.bytes_mut(map_batch::END));
    let result = result.map_or_else(lemma_rt::Errno::raw_os_error, |_| 0);
    (result, attributes.get(map_batch::COUNT), keys, values)
}

/// `struct { int x; struct bpf_spin_lock lock; int y; }`, and its number.
fn locked_value() -> (Vec<u8>, u32) {
    let strings = b"\0int\0bpf_spin_lock\0val\0v\0x\0lock\0y\0";
    let types: Vec<u8> = [
        // int
        [1, 1 << 24, 4, 1 << 24 | 32].as_slice(),
        // bpf_spin_lock { int val }
        &[5, 4 << 24 | 1, 4, 19, 1, 0],
        // v
        &[23, 4 << 24 | 3, 12, 25, 1, 0, 27, 2, 32, 32, 1, 64],
    ]
    .concat()
    .iter()
    .flat_map(|word: &u32| word.to_ne_bytes())
    .collect();
    let header = [0x0001_eb9f, 24, 0, types.len(), types.len(), strings.len()];
    let mut bytes: Vec<u8> = header.iter().flat_map(|&word| (word as u32).to_ne_bytes()).collect();
    bytes.extend(types);
    bytes.extend(strings);
    (bytes, 3)
}

pub(super) fn batch_flags() -> Outcome {
    available()?;
    const LOOKUP: u32 = command::MAP_LOOKUP_BATCH;
    const TAKE: u32 = command::MAP_LOOKUP_AND_DELETE_BATCH;
    const UPDATE: u32 = command::MAP_UPDATE_BATCH;
    const DELETE: u32 = command::MAP_DELETE_BATCH;
    let (types, value_type) = locked_value();
    let types = ok!(commands::load_types(&types));
    let values: Vec<u8> =
        (0..4u32).flat_map(|value| [value, 0xff, value]).flat_map(u32::to_ne_bytes).collect();
    let some = (&[0, 1, 2, 3][..], &values[..]);
    for kind in [HASH, ARRAY] {
        let types = Some((types.as_raw_fd(), 1, value_type));
        let fd = ok!(commands::create_map(&NewMap { types, ..new_map(kind, 4, 12, 4) }));
        let map = Map { fd, key_size: 4, value_size: 12 };
        let result = |number, flags| {
            let (error, count, ..) = batch(number, &map, some, 4, flags);
            (error, count)
        };
        let end = if kind == HASH { NOENT } else { 0 };
        equal!(result(UPDATE, (LOCK, 0)), (0, 4));
        equal!(result(UPDATE, (1, 0)), (INVAL, 4));
        equal!(result(UPDATE, (8, 0)), (INVAL, 4));
        equal!(result(UPDATE, (0, 1)), (0, 4));
        equal!(result(LOOKUP, (0, 1)), if kind == HASH { (INVAL, 4) } else { (0, 4) });
        equal!(result(LOOKUP, (2, 0)), (INVAL, 4));
        for flags in [0, LOCK] {
            let (error, count, keys, values) = batch(LOOKUP, &map, (&[], &[]), 4, (flags, 0));
            equal!((error, count), (end, 4));
            for (key, value) in keys.iter().zip(values.chunks(12)).take(4) {
                let expected = [*key, 0, *key].map(u32::to_ne_bytes).concat();
                equal!(value, expected);
            }
        }
        equal!(batch(LOOKUP, &map, some, 0, (8, 0)).0, INVAL);
        if kind == ARRAY {
            equal!(result(DELETE, (8, 0)), (NOTSUPP, 4));
            equal!(result(TAKE, (8, 0)), (NOTSUPP, 4));
            continue;
        }
        equal!(result(DELETE, (1, 0)), (INVAL, 4));
        equal!(batch(DELETE, &map, some, 2, (LOCK, 0)).0, 0);
        equal!(result(TAKE, (LOCK, 0)), (NOENT, 2));
    }
    // No lock, no flag for one.
    let map = ok!(create(HASH, 4, 12, 4));
    for number in [LOOKUP, TAKE, UPDATE, DELETE] {
        equal!(batch(number, &map, some, 4, (LOCK, 0)).0, INVAL);
    }
    nested_batches()
}

/// What is put into maps of maps are descriptors, what is got are numbers.
fn nested_batches() -> Outcome {
    let inner = ok!(create(HASH, 4, 8, 5));
    let id = ok!(::bpf::info::MapInfo::of(inner.fd.as_fd())).id;
    for kind in [HASH_OF_MAPS, ARRAY_OF_MAPS] {
        let inner_fd = inner.fd.as_raw_fd();
        let new = NewMap { inner: Some(inner_fd), ..new_map(kind, 4, 4, 4) };
        let map = Map { fd: ok!(commands::create_map(&new)), key_size: 4, value_size: 4 };
        let values = [inner_fd; 3].map(i32::to_ne_bytes).concat();
        let update = command::MAP_UPDATE_BATCH;
        equal!(batch(update, &map, (&[0, 1, 2], &values), 3, (0, 0)).0, 0);
        let look = |number| batch(number, &map, (&[], &[]), 8, (0, 0));
        let (error, count, mut keys, values) = look(command::MAP_LOOKUP_BATCH);
        equal!((error, count), (NOENT, 3));
        keys.truncate(3);
        keys.sort_unstable();
        equal!(keys, [0, 1, 2]);
        equal!(values[..12], [id; 3].map(u32::to_ne_bytes).concat());
        let take = look(command::MAP_LOOKUP_AND_DELETE_BATCH);
        if kind == ARRAY_OF_MAPS {
            equal!(take.0, NOTSUPP);
            continue;
        }
        equal!((take.0, take.1), (NOENT, 3));
        equal!(number(&[&take.3[8..12], &[0; 4]].concat()), u64::from(id));
        equal!(look(command::MAP_LOOKUP_BATCH).1, 0);
    }
    Ok(())
}
