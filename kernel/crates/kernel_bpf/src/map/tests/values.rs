//! Locks in values, batches, task storage, and walks under change.

use super::{ANY, EXIST, NOEXIST, create, def, environment, get};
use crate::map::{F_LOCK, Map, MapError, MapExtras, MapType, Rows, ValueFields, def::flags};
use crate::profile::{CloudProfile, EmbeddedProfile};
use alloc::sync::Arc;
use alloc::vec;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

#[test]
fn a_lock_in_a_value_is_not_copied() {
    let fields = ValueFields { spin_lock: Some(4), timer: Some(8) };
    let extras = MapExtras { fields, ..Default::default() };
    for kind in [MapType::Array, MapType::Hash] {
        let definition = def(kind, 4, 28, 1, 0);
        let map = Map::create_with::<CloudProfile>(definition, &extras, &environment(1)).unwrap();
        map.update(&[0; 4], &[7; 28], ANY).unwrap();
        let mut expected = [7; 28];
        expected[4..24].fill(0);
        assert_eq!(get(&map, &[0; 4]).unwrap(), expected, "{kind:?}");
        map.update(&[0; 4], &[8; 28], EXIST | F_LOCK).unwrap();
        let mut out = [1; 28];
        map.lookup_with(&[0; 4], &mut out, F_LOCK).unwrap();
        assert_eq!((out[0], out[4], out[27]), (8, 0, 8));
        // What a program has in these bytes stays.
        let address = map.value_address(&[0; 4], 0);
        assert_ne!(address, 0);
        map.update_on(&[0; 4], &[9; 28], F_LOCK, 0).unwrap();
        assert_eq!(get(&map, &[0; 4]).unwrap()[24..], [9; 4]);
    }
    let hash = def(MapType::Hash, 4, 28, 1, 0);
    let hash = Map::create_with::<CloudProfile>(hash, &extras, &environment(1)).unwrap();
    hash.update(&[0; 4], &[7; 28], ANY).unwrap();
    // Linux freezes no map whose values have a lock or a timer.
    assert_eq!(hash.freeze(), Err(MapError::NotSupported));
    let mut out = [1; 28];
    assert_eq!(hash.lookup_and_delete_with(&[0; 4], &mut out, 1), Err(MapError::Invalid));
    hash.lookup_and_delete_with(&[0; 4], &mut out, F_LOCK).unwrap();
    assert_eq!((out[0], out[4], out[27], hash.entries()), (7, 0, 7, 0));
    let plain = create(def(MapType::Hash, 4, 8, 1, 0)).unwrap();
    let mut out = [0; 8];
    assert_eq!(plain.lookup_and_delete_with(&[0; 4], &mut out, F_LOCK), Err(MapError::Invalid));
    let plain = create(def(MapType::Array, 4, 8, 1, 0)).unwrap();
    assert_eq!(plain.update(&[0; 4], &[0; 8], F_LOCK), Err(MapError::Invalid));
    assert_eq!(plain.lookup_with(&[0; 4], &mut [0; 8], F_LOCK), Err(MapError::Invalid));
}

/// What a system call was told is stored is what another one takes out.
#[test]
fn no_update_is_lost_to_who_takes_the_value_out() {
    const ROUNDS: u64 = 3000;
    let environment = environment(1);
    let map = Map::create::<CloudProfile>(def(MapType::Hash, 4, 8, 4, 0), &environment).unwrap();
    let taken = AtomicU64::new(u64::MAX);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                let mut out = [0; 8];
                while map.lookup_and_delete(&[0; 4], &mut out).is_err() {
                    std::hint::spin_loop();
                }
                taken.store(u64::from_ne_bytes(out), Ordering::SeqCst);
                while taken.load(Ordering::SeqCst) != u64::MAX {
                    thread::yield_now();
                }
            }
        });
        for _ in 0..ROUNDS {
            let mut last = 0u64;
            environment.epoch.quiesce(0);
            map.update(&[0; 4], &last.to_ne_bytes(), NOEXIST).unwrap();
            while map.update(&[0; 4], &(last + 1).to_ne_bytes(), EXIST).is_ok() {
                last += 1;
            }
            let found = loop {
                match taken.load(Ordering::SeqCst) {
                    u64::MAX => thread::yield_now(),
                    found => break found,
                }
            };
            assert_eq!(found, last);
            taken.store(u64::MAX, Ordering::SeqCst);
        }
    });
}

#[test]
fn values_under_a_lock_are_whole() {
    let fields = ValueFields { spin_lock: Some(0), timer: None };
    let extras = MapExtras { fields, ..Default::default() };
    let definition = def(MapType::Array, 4, 72, 1, 0);
    let map = Map::create_with::<CloudProfile>(definition, &extras, &environment(1)).unwrap();
    let map = Arc::new(map);
    let writer = {
        let map = Arc::clone(&map);
        thread::spawn(move || {
            for round in 0..20_000u32 {
                map.update(&[0; 4], &[round as u8; 72], F_LOCK).unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let mut out = [0; 72];
        map.lookup_with(&[0; 4], &mut out, F_LOCK).unwrap();
        assert!(out[4..].iter().all(|byte| *byte == out[71]), "{out:?}");
    }
    writer.join().unwrap();
}

/// A whole bucket of a map with keys of 4 bytes.
fn bucket(
    map: &Map,
    bucket: u32,
    room: u32,
    keys: &mut [u8],
    values: &mut [u8],
    remove: bool,
) -> Result<u32, MapError> {
    let value_bytes = map.user_value_size();
    let lock = map.check_lock(true).is_ok();
    map.bucket(bucket, &mut Rows { room, keys, values, key_bytes: 4, value_bytes, remove, lock })
}

#[test]
fn buckets_come_whole_or_not_at_all() {
    let environment = environment(1);
    let map = Map::create::<CloudProfile>(def(MapType::Hash, 4, 8, 64, 0), &environment).unwrap();
    for number in 0..64u32 {
        map.update(&number.to_ne_bytes(), &u64::from(number).to_ne_bytes(), ANY).unwrap();
    }
    let (mut keys, mut values) = (vec![0; 64 * 4], vec![0; 64 * 8]);
    let mut seen = [false; 64];
    for number in 0..map.buckets().unwrap() {
        let count = bucket(&map, number, 64, &mut keys, &mut values, true).unwrap();
        if count > 0 {
            // It is empty now.
            assert_eq!(bucket(&map, number, 0, &mut [], &mut [], true), Ok(0));
        }
        for at in 0..count as usize {
            let key = u32::from_ne_bytes(keys[at * 4..at * 4 + 4].try_into().unwrap());
            let value = u64::from_ne_bytes(values[at * 8..at * 8 + 8].try_into().unwrap());
            assert_eq!(u64::from(key), value);
            assert!(!core::mem::replace(&mut seen[key as usize], true));
        }
    }
    assert!(seen.iter().all(|seen| *seen) && map.entries() == 0);
    environment.epoch.quiesce(0);
    map.update(&[1; 4], &[1; 8], ANY).unwrap();
    let full = (0..64).find(|&b| bucket(&map, b, 0, &mut [], &mut [], false).is_err()).unwrap();
    assert_eq!(bucket(&map, full, 0, &mut keys, &mut values, true), Err(MapError::NoSpace));
    assert_eq!(map.entries(), 1);
    map.freeze().unwrap();
    assert_eq!(bucket(&map, full, 64, &mut keys, &mut values, true), Err(MapError::Forbidden));
    assert_eq!(bucket(&map, full, 64, &mut keys, &mut values, false), Ok(1));
}

#[test]
fn a_walk_survives_what_it_removes() {
    let map = create(def(MapType::Hash, 4, 8, 256, flags::NO_PREALLOC)).unwrap();
    for number in 0..256u32 {
        map.update(&number.to_ne_bytes(), &[number as u8; 8], ANY).unwrap();
    }
    let mut keys = vec::Vec::new();
    let visited = map.each(0, |key, value| {
        keys.push((key, value));
        true
    });
    assert_eq!(visited, Ok(256));
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 256);
    let mut left = 256u32;
    let visited = map.each(0, |_, _| {
        // Whatever is removed, the walk goes on to the end.
        left -= 1;
        map.delete(&left.to_ne_bytes()).unwrap();
        left > 0
    });
    assert!(visited.unwrap() <= 256);
    let array = create(def(MapType::PercpuArray, 4, 8, 5, 0)).unwrap();
    let mut indices = vec::Vec::new();
    assert_eq!(
        array.each(1, |_, value| indices.len() < 2 && {
            indices.push(value);
            true
        }),
        Ok(3)
    );
    assert_eq!(indices, [0, 1].map(|i: u32| array.value_address(&i.to_ne_bytes(), 1)));
    let queue = create(def(MapType::Queue, 0, 8, 5, 0)).unwrap();
    assert_eq!(queue.each(0, |_, _| true), Err(MapError::Invalid));
}

/// What a callback puts in behind itself could keep a walk going: the verifier counted with as
/// many calls as the map has room for.
#[test]
fn a_walk_meets_no_more_than_the_map_has_room_for() {
    let flags = flags::ZERO_SEED | flags::NO_PREALLOC;
    let environment = environment(1);
    let definition = def(MapType::Hash, 4, 8, 5, flags);
    let map = Map::create::<CloudProfile>(definition, &environment).unwrap();
    let buckets = map.buckets().unwrap();
    assert_eq!(buckets, 8);
    // A key of each bucket.
    let mut keys = (0..buckets).map(|number| {
        let mut keys = (0..10_000u32).map(u32::to_ne_bytes);
        keys.find(|key| {
            map.update(key, &[1; 8], ANY).unwrap();
            let is_here = bucket(&map, number, 0, &mut [], &mut [], false).is_err();
            map.delete(key).unwrap();
            environment.epoch.quiesce(0);
            is_here
        })
    });
    let keys: vec::Vec<[u8; 4]> = keys.by_ref().map(Option::unwrap).collect();
    let mut there = 0;
    map.update(&keys[0], &[1; 8], ANY).unwrap();
    let visited = map.each(0, |_, _| {
        map.delete(&keys[there]).unwrap();
        there += 1;
        keys.get(there).is_some_and(|next| map.update(next, &[1; 8], ANY).is_ok())
    });
    assert_eq!((visited, there), (Ok(5), 5));
}

#[test]
fn a_task_has_one_value_until_it_is_gone() {
    const CREATE: u64 = 1;
    let definition = def(MapType::TaskStorage, 4, 12, 0, flags::NO_PREALLOC);
    let extras = MapExtras { typed: true, ..Default::default() };
    let cloud = Map::create_with::<CloudProfile>(definition, &extras, &environment(1)).unwrap();
    let embedded =
        Map::create_with::<EmbeddedProfile>(definition, &extras, &environment(1)).unwrap();
    for map in [cloud, embedded] {
        assert_eq!(map.task_value(7, None, 0), 0);
        assert_eq!(map.task_value(7, None, 2), 0);
        let address = map.task_value(7, Some(&[5; 12]), CREATE);
        assert_ne!(address, 0);
        assert_eq!(map.task_value(7, None, CREATE), address);
        let mut out = [0; 12];
        map.lookup_task(7, &mut out).unwrap();
        assert_eq!(out, [5; 12]);
        assert_ne!(map.task_value(8, None, CREATE), address);
        map.lookup_task(8, &mut out).unwrap();
        assert_eq!(out, [0; 12]);
        map.update_task(8, &[3; 12], EXIST).unwrap();
        map.forget_task(7).unwrap();
        assert_eq!(map.forget_task(7), Err(MapError::NotFound));
        assert_eq!(map.lookup_task(7, &mut out), Err(MapError::NotFound));
        assert_eq!(map.entries(), 1);
        assert_eq!(map.lookup(&[0; 4], &mut out), Err(MapError::NotSupported));
    }
}

/// A batch of locked values is copied under their locks; a lock that is not there is an error.
#[test]
fn buckets_are_copied_under_the_locks_of_their_values() {
    let fields = ValueFields { spin_lock: Some(0), ..Default::default() };
    let extras = MapExtras { fields, ..Default::default() };
    let environment = environment(1);
    let locked = def(MapType::Hash, 4, 72, 1, 0);
    let map = Map::create_with::<CloudProfile>(locked, &extras, &environment).unwrap();
    let map = Arc::new(map);
    map.update(&[0; 4], &[1; 72], ANY).unwrap();
    let writer = {
        let map = Arc::clone(&map);
        thread::spawn(move || {
            for round in 0..20_000u32 {
                map.update(&[0; 4], &[round as u8; 72], F_LOCK).unwrap();
            }
        })
    };
    let (mut key, mut out) = ([0; 4], [0; 72]);
    while !writer.is_finished() {
        assert_eq!(bucket(&map, 0, 1, &mut key, &mut out, false), Ok(1));
        assert!(out[4..].iter().all(|byte| *byte == out[71]), "{out:?}");
    }
    writer.join().unwrap();
    let plain = create(def(MapType::Hash, 4, 8, 1, 0)).unwrap();
    let mut rows = Rows {
        room: 1,
        keys: &mut key,
        values: &mut out,
        key_bytes: 4,
        value_bytes: 8,
        remove: false,
        lock: true,
    };
    assert_eq!(plain.bucket(0, &mut rows), Err(MapError::Invalid));
}

/// A process that could write to a lock would hang whoever takes it.
#[test]
fn values_with_a_lock_are_mapped_nowhere() {
    let mappable = def(MapType::Array, 4, 8, 4, flags::MMAPABLE);
    for (spin_lock, mapped) in [(None, true), (Some(0), false)] {
        let fields = ValueFields { spin_lock, ..Default::default() };
        let extras = MapExtras { fields, ..Default::default() };
        let map = Map::create_with::<CloudProfile>(mappable, &extras, &environment(1)).unwrap();
        assert_eq!(map.user_page(0).is_some(), mapped);
    }
}
