//! The kinds of map beyond arrays and hashes, batches of elements, and tail calls.

use super::{
    ARRAY, EXIT, HASH, PERF_EVENT_ARRAY, RAW_TRACEPOINT, SOCKET_FILTER, available, create,
    hooks_available, instruction, load, new_map, not_supported, number, raw, set,
};
use crate::calls;
use crate::check::{Outcome, check, equal, fails, ok};
use ::bpf::attributes::Attributes;
use ::bpf::calls as commands;
use ::bpf::calls::{Kind, Map, NewMap};
use ::bpf::info::{MapInfo, ProgramInfo};
use alloc::vec;
use alloc::vec::Vec;
use kernel_abi::bpf::{command, map_batch};
use lemma_rt::Errno;
use lemma_rt::rustix::fd::{AsFd, AsRawFd};

pub(super) const PROGRAM_ARRAY: u32 = 3;
pub(super) const STACK_TRACE: u32 = 7;
pub(super) const LRU_HASH: u32 = 9;
pub(super) const LPM_TRIE: u32 = 11;
pub(super) const ARRAY_OF_MAPS: u32 = 12;
pub(super) const HASH_OF_MAPS: u32 = 13;
pub(super) const QUEUE: u32 = 22;
const STACK: u32 = 23;
pub(super) const BLOOM_FILTER: u32 = 30;
pub(super) const NO_PREALLOC: u32 = 1;

fn with_flags(kind: u32, key: u32, value: u32, entries: u32, flags: u32) -> lemma_rt::Result<Map> {
    let fd = commands::create_map(&NewMap { flags, ..new_map(kind, key, value, entries) })?;
    Ok(Map { fd, key_size: key as usize, value_size: value as usize })
}

/// The map's number, by its information.
fn id_of(map: &Map) -> lemma_rt::Result<u32> {
    Ok(::bpf::info::MapInfo::of(map.fd.as_fd())?.id)
}

pub(super) fn lru_hash() -> Outcome {
    available()?;
    equal!(with_flags(LRU_HASH, 4, 8, 10, NO_PREALLOC).err(), Some(not_supported()));
    fails!(with_flags(HASH, 4, 8, 10, 2), INVAL);
    // Enough for the shares that Linux keeps for each CPU.
    let map = ok!(create(LRU_HASH, 4, 8, 1024));
    for key in 0..5000u32 {
        ok!(map.update(&key.to_ne_bytes(), &u64::from(key).to_ne_bytes(), 1));
        equal!(number(&ok!(map.lookup(&key.to_ne_bytes()))), u64::from(key));
    }
    let mut kept = 0;
    for key in 0..5000u32 {
        kept += usize::from(map.lookup(&key.to_ne_bytes()).is_ok());
    }
    check!((64..=1024).contains(&kept), " {kept} of 1024 kept");
    fails!(map.update(&4999u32.to_ne_bytes(), &[0; 8], 1), EXIST);
    ok!(map.delete(&4999u32.to_ne_bytes()));
    fails!(map.delete(&4999u32.to_ne_bytes()), NOENT);
    Ok(())
}

pub(super) fn lpm_trie() -> Outcome {
    available()?;
    fails!(create(LPM_TRIE, 8, 4, 10), INVAL);
    fails!(with_flags(LPM_TRIE, 4, 4, 10, NO_PREALLOC), INVAL);
    let map = ok!(with_flags(LPM_TRIE, 8, 4, 3, NO_PREALLOC));
    let key = |length: u8, address: [u8; 4]| {
        let [a, b, c, d] = address;
        [length, 0, 0, 0, a, b, c, d]
    };
    ok!(map.update(&key(8, [10, 0, 0, 0]), &[8; 4], 0));
    ok!(map.update(&key(24, [10, 1, 2, 0]), &[24; 4], 1));
    ok!(map.update(&key(16, [10, 1, 0, 0]), &[16; 4], 1));
    equal!(ok!(map.lookup(&key(32, [10, 1, 2, 3]))), [24; 4]);
    equal!(ok!(map.lookup(&key(32, [10, 1, 9, 3]))), [16; 4]);
    equal!(ok!(map.lookup(&key(32, [10, 9, 9, 3]))), [8; 4]);
    fails!(map.lookup(&key(32, [11, 9, 9, 3])), NOENT);
    fails!(map.update(&key(16, [10, 1, 0, 0]), &[16; 4], 1), EXIST);
    fails!(map.update(&key(33, [10, 1, 0, 0]), &[16; 4], 0), INVAL);
    fails!(map.update(&key(20, [10, 1, 0, 0]), &[16; 4], 0), NOSPC);
    let mut lengths = Vec::new();
    let mut last: Option<Vec<u8>> = None;
    while let Ok(next) = map.next_key(last.as_deref()) {
        lengths.push(next[0]);
        last = Some(next);
    }
    equal!(lengths, [24, 16, 8]);
    ok!(map.delete(&key(24, [10, 1, 2, 0])));
    fails!(map.delete(&key(24, [10, 1, 2, 0])), NOENT);
    equal!(ok!(map.lookup(&key(32, [10, 1, 2, 3]))), [16; 4]);
    Ok(())
}

pub(super) fn queue_and_stack() -> Outcome {
    available()?;
    for (kind, order) in [(QUEUE, [1, 2, 3]), (STACK, [3, 2, 1])] {
        fails!(create(kind, 4, 4, 3), INVAL);
        fails!(create(kind, 0, 0, 3), INVAL);
        let map = ok!(create(kind, 0, 4, 3));
        fails!(map.lookup(&[]), NOENT);
        fails!(map.lookup_and_delete(&[]), NOENT);
        for value in 1..=3 {
            ok!(map.update(&[], &[value; 4], 0));
        }
        fails!(map.update(&[], &[4; 4], 0), TOOBIG);
        fails!(map.update(&[], &[4; 4], 1), INVAL);
        for value in order {
            equal!(ok!(map.lookup(&[])), [value; 4]);
            equal!(ok!(map.lookup_and_delete(&[])), [value; 4]);
        }
        for value in 1..=4 {
            ok!(map.update(&[], &[value; 4], 2));
        }
        let first = if kind == QUEUE { 2 } else { 4 };
        equal!(ok!(map.lookup_and_delete(&[])), [first; 4]);
    }
    Ok(())
}

pub(super) fn bloom_filter() -> Outcome {
    available()?;
    let Ok(map) = create(BLOOM_FILTER, 0, 4, 100) else {
        crate::check::skip!("this kernel has no bloom filters");
    };
    for value in 0..100u32 {
        ok!(map.update(&[], &value.to_ne_bytes(), 0));
    }
    fails!(map.update(&[], &[0; 4], 1), INVAL);
    // The value asked for stands where other maps put theirs.
    let has = |value: u32| {
        let mut value = value.to_ne_bytes();
        let mut attributes = Attributes::new()
            .with_fd(kernel_abi::bpf::map_elem::MAP_FD, map.fd.as_raw_fd())
            .with_pointer(kernel_abi::bpf::map_elem::VALUE, value.as_mut_ptr());
        raw(command::MAP_LOOKUP_ELEM, attributes.bytes_mut(32)).map(drop)
    };
    for value in 0..100 {
        ok!(has(value));
    }
    let wrong = (100..1100).filter(|value| has(*value).is_ok()).count();
    check!(wrong < 200, " {wrong} of 1000");
    Ok(())
}

/// What maps without keys, or without values to copy, do not have.
pub(super) fn keyless_errors() -> Outcome {
    available()?;
    let queue = ok!(create(QUEUE, 0, 4, 3));
    fails!(queue.next_key(None), INVAL);
    // A key where there is none.
    let wrong = Map { key_size: 4, ..queue };
    fails!(wrong.lookup(&[0; 4]), INVAL);
    fails!(wrong.update(&[0; 4], &[0; 4], 0), INVAL);
    let array = ok!(create(ARRAY, 4, 8, 1));
    equal!(array.lookup_and_delete(&[0; 4]), Err(not_supported()));
    Ok(())
}

pub(super) fn stack_traces() -> Outcome {
    available()?;
    fails!(create(STACK_TRACE, 4, 4, 1), INVAL);
    fails!(create(STACK_TRACE, 8, 8, 1), INVAL);
    fails!(create(STACK_TRACE, 4, 128 * 8, 1), INVAL);
    let map = ok!(create(STACK_TRACE, 4, 8 * 8, 16));
    fails!(map.lookup(&[0; 4]), NOENT);
    fails!(map.update(&[0; 4], &[0; 64], 0), INVAL);
    fails!(map.delete(&3u32.to_ne_bytes()), NOENT);
    fails!(map.delete(&16u32.to_ne_bytes()), TOOBIG);
    fails!(map.next_key(None), NOENT);
    Ok(())
}

pub(super) fn take_out() -> Outcome {
    available()?;
    let map = ok!(create(HASH, 4, 8, 10));
    ok!(map.update(&[1; 4], &[7; 8], 0));
    match map.lookup_and_delete(&[1; 4]) {
        // Linux before 5.14.
        Err(error) if error == not_supported() => {
            crate::check::skip!("this kernel takes nothing out of hash maps")
        }
        taken => equal!(taken, Ok(vec![7; 8])),
    }
    fails!(map.lookup_and_delete(&[1; 4]), NOENT);
    fails!(map.lookup(&[1; 4]), NOENT);
    Ok(())
}

/// A batch command on `map`; returns its result and the count that the kernel left.
fn batch(
    number: u32,
    map: &Map,
    (from, to): (*const u32, *mut u32),
    (keys, values): (*mut u32, *mut u64),
    count: u32,
) -> (lemma_rt::Result<()>, u32) {
    let mut attributes = Attributes::new()
        .with_pointer(map_batch::IN_BATCH, from)
        .with_pointer(map_batch::OUT_BATCH, to)
        .with_pointer(map_batch::KEYS, keys)
        .with_pointer(map_batch::VALUES, values)
        .with(map_batch::COUNT, count)
        .with_fd(map_batch::MAP_FD, map.fd.as_raw_fd());
    let result = raw(number, attributes.bytes_mut(map_batch::END)).map(drop);
    (result, attributes.get(map_batch::COUNT))
}

pub(super) fn batches() -> Outcome {
    available()?;
    let none = (core::ptr::null(), core::ptr::null_mut());
    for kind in [HASH, ARRAY] {
        let map = ok!(create(kind, 4, 8, 100));
        let mut keys: Vec<u32> = (0..100).collect();
        let mut values: Vec<u64> = keys.iter().map(|key| u64::from(*key) * 3).collect();
        let all = (keys.as_mut_ptr(), values.as_mut_ptr());
        equal!(batch(command::MAP_UPDATE_BATCH, &map, none, all, 100), (Ok(()), 100));
        equal!(number(&ok!(map.lookup(&99u32.to_ne_bytes()))), 297);
        // Forty at a time, until there is no more.
        let mut found = [false; 100];
        let (mut place, mut begun) = (0u32, false);
        for _ in 0..20 {
            let (mut keys, mut values) = ([0u32; 40], [0u64; 40]);
            let from = if begun { &raw const place } else { core::ptr::null() };
            let into = (keys.as_mut_ptr(), values.as_mut_ptr());
            let places = (from, &raw mut place);
            let (result, count) = batch(command::MAP_LOOKUP_BATCH, &map, places, into, 40);
            check!(count <= 40);
            for (key, value) in keys.iter().zip(values).take(count as usize) {
                equal!(value, u64::from(*key) * 3);
                check!(!core::mem::replace(&mut found[*key as usize], true), " {key} twice");
            }
            begun = true;
            if result.is_err() {
                equal!(result, Err(Errno::NOENT));
                break;
            }
        }
        check!(found.iter().all(|found| *found));
        if kind == ARRAY {
            continue;
        }
        let first = (keys.as_mut_ptr(), core::ptr::null_mut());
        equal!(batch(command::MAP_DELETE_BATCH, &map, none, first, 10), (Ok(()), 10));
        fails!(map.lookup(&9u32.to_ne_bytes()), NOENT);
        // The first of them is gone now.
        equal!(batch(command::MAP_DELETE_BATCH, &map, none, first, 10), (Err(Errno::NOENT), 0));
        let mut place = 0u32;
        let places = (core::ptr::null(), &raw mut place);
        let taken = batch(command::MAP_LOOKUP_AND_DELETE_BATCH, &map, places, all, 100);
        equal!(taken, (Err(Errno::NOENT), 90));
        fails!(map.next_key(None), NOENT);
    }
    let queue = ok!(create(QUEUE, 0, 8, 3));
    let (mut key, mut value) = (0, 0);
    let one = (&raw mut key, &raw mut value);
    equal!(batch(command::MAP_LOOKUP_BATCH, &queue, none, one, 1).0, Err(not_supported()));
    Ok(())
}

/// A map of maps that holds maps like `inner`.
fn outer(kind: u32, inner: &Map) -> lemma_rt::Result<Map> {
    let inner = Some(inner.fd.as_raw_fd());
    let fd = commands::create_map(&NewMap { inner, ..new_map(kind, 4, 4, 4) })?;
    Ok(Map { fd, key_size: 4, value_size: 4 })
}

fn nesting(kind: u32) -> Outcome {
    available()?;
    let inner = ok!(create(HASH, 4, 8, 5));
    let map = ok!(outer(kind, &inner));
    let key = 2u32.to_ne_bytes();
    let put = |inner: &Map| map.update(&key, &inner.fd.as_raw_fd().to_ne_bytes(), 0);
    fails!(map.lookup(&key), NOENT);
    ok!(put(&inner));
    equal!(ok!(map.lookup(&key)), ok!(id_of(&inner)).to_ne_bytes());
    fails!(put(&ok!(create(HASH, 8, 8, 5))), INVAL);
    fails!(put(&ok!(create(ARRAY, 4, 8, 5))), INVAL);
    fails!(map.update(&key, &99i32.to_ne_bytes(), 0), BADF);
    // Maps of maps hold no maps of maps.
    fails!(outer(kind, &map), INVAL);
    // A program counts in the map that it finds.
    let bytes = |value: i32| instruction(0x62, 10, -4, value);
    let program = [
        bytes(2),
        instruction(0xbf, 0xa2, 0, 0),
        instruction(0x07, 2, 0, -4),
        instruction(0x18, 0x11, 0, map.fd.as_raw_fd()),
        0,
        instruction(0x85, 0, 0, 1),
        instruction(0x55, 0, 2, 0),
        set(0, 1),
        EXIT,
        bytes(7),
        instruction(0xbf, 0x01, 0, 0),
        instruction(0xbf, 0xa2, 0, 0),
        instruction(0x07, 2, 0, -4),
        instruction(0x85, 0, 0, 1),
        instruction(0x55, 0, 2, 0),
        set(0, 2),
        EXIT,
        instruction(0x79, 0x00, 0, 0),
        EXIT,
    ];
    let program = ok!(load(RAW_TRACEPOINT, &program));
    let run = || commands::test(program.as_fd(), &[], &[0; 16], 0).map(|run| run.result);
    equal!(ok!(run()), 2);
    ok!(inner.update(&7u32.to_ne_bytes(), &77u64.to_ne_bytes(), 0));
    equal!(ok!(run()), 77);
    let other = ok!(create(HASH, 4, 8, 5));
    ok!(other.update(&7u32.to_ne_bytes(), &78u64.to_ne_bytes(), 0));
    ok!(put(&other));
    // The map inside is there under its number, though nobody has it open.
    let id = ok!(id_of(&other));
    drop(other);
    equal!(ok!(run()), 78);
    equal!(number(&[ok!(map.lookup(&key)), vec![0; 4]].concat()), u64::from(id));
    drop(ok!(commands::by_id(Kind::Map, id)));
    ok!(map.delete(&key));
    equal!(ok!(run()), 1);
    if hooks_available().is_ok() {
        // Here what is taken out has gone when the call returns; on Linux some time after.
        fails!(commands::by_id(Kind::Map, id), NOENT);
    }
    fails!(map.delete(&key), NOENT);
    Ok(())
}

pub(super) fn map_of_maps() -> Outcome {
    nesting(ARRAY_OF_MAPS)
}

pub(super) fn hash_of_maps() -> Outcome {
    nesting(HASH_OF_MAPS)
}

pub(super) fn program_array() -> Outcome {
    available()?;
    fails!(create(PROGRAM_ARRAY, 4, 8, 4), INVAL);
    let map = ok!(create(PROGRAM_ARRAY, 4, 4, 4));
    let jump = |index: i32, otherwise: i32| {
        [
            instruction(0x18, 0x12, 0, map.fd.as_raw_fd()),
            0,
            set(3, index),
            instruction(0x85, 0, 0, 12),
            set(0, otherwise),
            EXIT,
        ]
    };
    let first = ok!(load(RAW_TRACEPOINT, &jump(1, 10)));
    let second = ok!(load(RAW_TRACEPOINT, &jump(2, 20)));
    let last = ok!(load(RAW_TRACEPOINT, &[instruction(0x79, 0x10, 8, 0), EXIT]));
    let key = |index: u32| index.to_ne_bytes();
    let put = |index: u32, fd: i32| map.update(&key(index), &fd.to_ne_bytes(), 0);
    let run = || {
        let mut context = [0; 16];
        context[8] = 99;
        commands::test(first.as_fd(), &[], &context, 0).map(|run| run.result)
    };
    equal!(ok!(run()), 10);
    ok!(put(1, second.as_raw_fd()));
    equal!(ok!(run()), 20);
    ok!(put(2, last.as_raw_fd()));
    equal!(ok!(run()), 99);
    let id = ok!(map.lookup(&key(1)));
    check!(id.iter().any(|byte| *byte != 0));
    fails!(map.lookup(&key(0)), NOENT);
    // Programs of another type, and what is no program.
    let other = ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT]));
    fails!(put(0, other.as_raw_fd()), INVAL);
    fails!(load(SOCKET_FILTER, &jump(0, 0)), INVAL);
    fails!(put(0, map.fd.as_raw_fd()), INVAL);
    fails!(put(0, 99), BADF);
    fails!(put(4, last.as_raw_fd()), TOOBIG);
    fails!(map.update(&key(0), &last.as_raw_fd().to_ne_bytes(), 1), INVAL);
    // A program that goes to itself does so 33 times.
    ok!(put(2, first.as_raw_fd()));
    equal!(ok!(run()), 20);
    ok!(map.delete(&key(1)));
    fails!(map.delete(&key(1)), NOENT);
    equal!(ok!(run()), 10);
    Ok(())
}

/// A program in an array is there, with its number; an array that nobody has a descriptor or a pin
/// of is empty, though a program uses it.
pub(super) fn program_array_holds() -> Outcome {
    available()?;
    let map = ok!(create(PROGRAM_ARRAY, 4, 4, 4));
    let number = ok!(MapInfo::of(map.fd.as_fd())).id;
    let jump = [
        instruction(0x18, 0x12, 0, map.fd.as_raw_fd()),
        0,
        set(3, 0),
        instruction(0x85, 0, 0, 12),
        set(0, 10),
        EXIT,
    ];
    let first = ok!(load(RAW_TRACEPOINT, &jump));
    let run = || commands::test(first.as_fd(), &[], &[0; 16], 0).map(|run| run.result);
    // Puts a program that uses the array itself, and closes it; its number.
    let put_one = |map: &Map| {
        let uses = [&jump[..4], &[set(0, 20), EXIT]].concat();
        let program = load(RAW_TRACEPOINT, &uses)?;
        map.update(&[0; 4], &program.as_raw_fd().to_ne_bytes(), 0)?;
        ProgramInfo::of(program.as_fd()).map(|info| info.id)
    };
    let id = ok!(put_one(&map));
    equal!(run(), Ok(20));
    check!(ok!(commands::ids(Kind::Program)).contains(&id));
    let again = ok!(commands::by_id(Kind::Program, id));
    equal!(ok!(ProgramInfo::of(again.as_fd())).id, id);
    equal!(ok!(map.lookup(&[0; 4])), id.to_ne_bytes());
    drop(again);
    ok!(map.delete(&[0; 4]));
    fails!(commands::by_id(Kind::Program, id), NOENT);
    equal!(run(), Ok(10));
    let id = ok!(put_one(&map));
    let copy = ok!(commands::by_id(Kind::Map, number));
    drop(map);
    equal!(run(), Ok(20));
    drop(copy);
    // Linux does that a little later.
    for _ in 0..500 {
        if run() == Ok(10) && commands::by_id(Kind::Program, id).is_err() {
            break;
        }
        calls::pause_for(10);
    }
    equal!(run(), Ok(10));
    fails!(commands::by_id(Kind::Program, id), NOENT);
    // The array is there, as the first program uses it, and can be filled anew.
    let fd = ok!(commands::by_id(Kind::Map, number));
    let map = Map { fd, key_size: 4, value_size: 4 };
    fails!(map.lookup(&[0; 4]), NOENT);
    ok!(put_one(&map));
    equal!(run(), Ok(20));
    Ok(())
}

/// A record for an event that is not there is lost, and the program learns why.
pub(super) fn perf_events() -> Outcome {
    available()?;
    let map = ok!(create(PERF_EVENT_ARRAY, 4, 4, 4));
    let output = |flags: u64| {
        let (low, high) = (flags as i32, (flags >> 32) as i32);
        let program = [
            instruction(0x7a, 10, -8, 0),
            instruction(0x18, 0x12, 0, map.fd.as_raw_fd()),
            0,
            instruction(0x18, 3, 0, low),
            instruction(0, 0, 0, high),
            instruction(0xbf, 0xa4, 0, 0),
            instruction(0x07, 4, 0, -8),
            set(5, 8),
            instruction(0x85, 0, 0, 25),
            EXIT,
        ];
        let program = load(RAW_TRACEPOINT, &program)?;
        commands::test(program.as_fd(), &[], &[0; 16], 0).map(|run| run.result as i32)
    };
    const CURRENT_CPU: u64 = 0xffff_ffff;
    const NOENT: i32 = -2;
    for (flags, result) in [(0, NOENT), (3, NOENT), (CURRENT_CPU, NOENT), (4, -7), (1 << 32, -22)] {
        equal!((flags, output(flags)), (flags, Ok(result)));
    }
    Ok(())
}
