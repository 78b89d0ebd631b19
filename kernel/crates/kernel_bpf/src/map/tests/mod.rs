//! Maps against a model, at their edges, and under concurrent change.

mod create;
mod holders;
mod keyless;
mod lru;
mod readers;
mod trie;
mod values;

use super::{Epoch, Map, MapDef, MapEnvironment, MapError, MapRef, MapType, Writer, def::flags};
use crate::memory::PAGE_SIZE;
use crate::profile::{CloudProfile, EmbeddedProfile, PhysicalProfile};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

const ANY: u64 = 0;
const NOEXIST: u64 = 1;
const EXIST: u64 = 2;

fn environment(cpus: usize) -> MapEnvironment {
    let epoch: &'static Epoch = Box::leak(Box::new(Epoch::new()));
    epoch.online(0);
    MapEnvironment { cpus, seed: 0x1234_5678_9abc_def0, epoch }
}

fn def(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32, flags: u32) -> MapDef {
    MapDef { map_type, key_size, value_size, max_entries, flags }
}

fn create(def: MapDef) -> Result<Map, MapError> {
    Map::create::<CloudProfile>(def, &environment(2))
}

fn get(map: &Map, key: &[u8]) -> Result<Vec<u8>, MapError> {
    let mut out = vec![0; map.user_value_size()];
    map.lookup(key, &mut out).map(|()| out)
}

#[test]
fn creation_is_refused_as_linux_refuses_it() {
    use MapError::{Full, Invalid, NotSupported, OutOfMemory};
    use MapType::{Array, Hash, LruHash, PercpuArray, PercpuHash, Ringbuf, Sockmap};
    for (definition, error) in [
        (def(Array, 8, 8, 1, 0), Invalid),
        (def(Array, 4, 0, 1, 0), Invalid),
        (def(Array, 4, 8, 0, 0), Invalid),
        (def(Array, 4, 8, 1, flags::NO_PREALLOC), Invalid),
        (def(Array, 4, 8, 1, 1 << 31), Invalid),
        (def(Array, 4, 8, 1, flags::RDONLY_PROG | flags::WRONLY_PROG), Invalid),
        (def(Array, 4, u32::MAX, 1, 0), Full),
        (def(Array, 4, i32::MAX as u32, u32::MAX, 0), OutOfMemory),
        (def(PercpuArray, 4, 32769, 1, 0), Full),
        (def(PercpuArray, 4, 8, 1, flags::MMAPABLE), Invalid),
        (def(Hash, 0, 8, 1, 0), Invalid),
        (def(Hash, 8, 0, 1, 0), Invalid),
        (def(Hash, 8, u32::MAX, 1, 0), Full),
        (def(Hash, 8, 8, u32::MAX, 0), Full),
        (def(PercpuHash, 8, 40000, 1, 0), Full),
        (def(Ringbuf, 0, 0, 4095, 0), Invalid),
        (def(Ringbuf, 0, 0, 12288, 0), Invalid),
        (def(Ringbuf, 4, 0, 4096, 0), Invalid),
        (def(LruHash, 4, 4, 1, flags::NO_PREALLOC), NotSupported),
        (def(Sockmap, 4, 4, 1, 0), NotSupported),
    ] {
        assert_eq!(create(definition).err(), Some(error), "{definition:?}");
    }
}

#[test]
fn a_huge_map_is_an_error_and_not_the_end() {
    let huge = def(MapType::Hash, 8, 1 << 20, 1 << 30, 0);
    assert_eq!(create(huge).err(), Some(MapError::OutOfMemory));
    let large = def(MapType::Array, 4, 4096, 1 << 20, 0);
    let refused = Map::create::<EmbeddedProfile>(large, &environment(1));
    assert_eq!(refused.err(), Some(MapError::OutOfMemory));
}

#[test]
fn an_array_has_all_its_keys_always() {
    let map = create(def(MapType::Array, 4, 12, 3, 0)).unwrap();
    let key = |index: u32| index.to_ne_bytes();
    assert_eq!(get(&map, &key(2)).unwrap(), [0; 12]);
    map.update(&key(2), &[7; 12], ANY).unwrap();
    map.update(&key(1), &[1; 12], EXIST).unwrap();
    assert_eq!(get(&map, &key(2)).unwrap(), [7; 12]);
    assert_eq!(get(&map, &key(3)), Err(MapError::NotFound));
    assert_eq!(map.update(&key(3), &[0; 12], ANY), Err(MapError::Full));
    assert_eq!(map.update(&key(0), &[0; 12], NOEXIST), Err(MapError::Exists));
    assert_eq!(map.update(&key(0), &[0; 12], 3), Err(MapError::Invalid));
    assert_eq!(map.update(&key(0), &[0; 11], ANY), Err(MapError::Invalid));
    assert_eq!(map.delete(&key(0)), Err(MapError::Invalid));
    assert_eq!(map.keys(), [key(0), key(1), key(2)]);
    let mut next = [0; 4];
    map.next_key(Some(&key(9)), &mut next).unwrap();
    assert_eq!(next, key(0));
    assert_eq!(map.value_address(&key(3), 0), 0);
    let parts = map.array_lookup().unwrap();
    assert_eq!(map.value_address(&key(2), 0), parts.base + 2 * parts.stride);
}

#[test]
fn per_cpu_maps_show_every_cpu_to_user_space_and_one_to_a_program() {
    for kind in [MapType::PercpuArray, MapType::PercpuHash] {
        let map = create(def(kind, 4, 4, 2, 0)).unwrap();
        let key = 1u32.to_ne_bytes();
        assert_eq!(map.user_value_size(), 16);
        map.update_on(&key, &[5, 6, 7, 8], ANY, 1).unwrap();
        assert_eq!(get(&map, &key).unwrap(), [0, 0, 0, 0, 0, 0, 0, 0, 5, 6, 7, 8, 0, 0, 0, 0]);
        let all: Vec<u8> = (0..16).collect();
        map.update(&key, &all, ANY).unwrap();
        assert_eq!(get(&map, &key).unwrap(), all);
        map.update_on(&key, &[9; 4], EXIST, 0).unwrap();
        assert_eq!(get(&map, &key).unwrap()[..4], [9; 4]);
        assert_eq!(get(&map, &key).unwrap()[8..], all[8..]);
        let distance = map.value_address(&key, 1) - map.value_address(&key, 0);
        assert_eq!(distance, if kind == MapType::PercpuArray { 16 } else { 8 });
        assert_eq!(map.value_address(&key, 2), 0);
    }
}

#[test]
fn a_per_cpu_value_of_one_cpu_is_rounded_up_with_zeros() {
    for kind in [MapType::PercpuArray, MapType::PercpuHash] {
        let map = Map::create::<CloudProfile>(def(kind, 4, 5, 2, 0), &environment(1)).unwrap();
        map.update(&[0; 4], &[7; 8], ANY).unwrap();
        let mut out = [0xaa; 8];
        map.lookup(&[0; 4], &mut out).unwrap();
        assert_eq!(out, [7, 7, 7, 7, 7, 0, 0, 0]);
    }
}

#[test]
fn a_frozen_map_refuses_system_calls_and_shows_its_bytes_to_the_verifier() {
    let map = create(def(MapType::Array, 4, 6, 1, flags::RDONLY_PROG)).unwrap();
    let mut bytes = [0; 3];
    map.update(&[0; 4], b"lemma!", ANY).unwrap();
    map.settle();
    assert!(!map.is_frozen() && !map.read_frozen(1, &mut bytes));
    map.freeze().unwrap();
    assert_eq!(map.freeze(), Err(MapError::Busy));
    // Somebody may still be writing what he was allowed to begin.
    assert!(!map.read_frozen(1, &mut bytes));
    map.settle();
    assert!(map.read_frozen(1, &mut bytes));
    assert_eq!(&bytes, b"emm");
    assert!(!map.read_frozen(6, &mut bytes) && !map.read_frozen(u32::MAX, &mut bytes));
    assert_eq!(map.update(&[0; 4], b"change", ANY), Err(MapError::Forbidden));
    assert_eq!(get(&map, &[0; 4]).unwrap(), b"lemma!");
}

/// Random operations on a hash map and on a model of it, with every answer compared.
fn model<P: PhysicalProfile>(kind_flags: u32, key_size: usize, value_size: usize) {
    let entries = 40;
    let definition =
        def(MapType::Hash, key_size as u32, value_size as u32, entries as u32, kind_flags);
    let environment = environment(1);
    let map = Map::create::<P>(definition, &environment).unwrap();
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut random = 0x9e37_79b9_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for step in 0..20_000u64 {
        let mut key = vec![0xa5; key_size];
        key[key_size - 1] = (next() % 64) as u8;
        let value: Vec<u8> = (0..value_size).map(|_| next() as u8).collect();
        match next() % 8 {
            0..4 => {
                let flags = next() % 3;
                let expected = match (model.contains_key(&key), flags) {
                    (true, NOEXIST) => Err(MapError::Exists),
                    (false, EXIST) => Err(MapError::NotFound),
                    (false, _) if model.len() == entries => Err(MapError::Full),
                    _ => Ok(()),
                };
                assert_eq!(map.update(&key, &value, flags), expected);
                if expected.is_ok() {
                    model.insert(key, value);
                }
            }
            4 | 5 => {
                let expected = model.remove(&key).map(|_| ()).ok_or(MapError::NotFound);
                assert_eq!(map.delete(&key), expected);
            }
            6 => assert_eq!(get(&map, &key).ok(), model.get(&key).cloned()),
            _ => {
                let mut out = vec![0; value_size];
                let taken = map.lookup_and_delete(&key, &mut out).ok().map(|()| out);
                assert_eq!(taken, model.remove(&key));
            }
        }
        // System calls run where no program does.
        environment.epoch.quiesce(0);
        if step % 512 == 0 {
            let mut keys = map.keys();
            keys.sort();
            assert!(keys.iter().eq(model.keys()));
            assert_eq!(map.entries() as usize, model.len());
        }
    }
}

#[test]
fn a_hash_map_does_what_its_model_does() {
    for (key, value) in [(4, 4), (8, 8), (1, 3), (13, 21), (32, 40)] {
        model::<CloudProfile>(0, key, value);
        model::<CloudProfile>(flags::NO_PREALLOC, key, value);
        model::<EmbeddedProfile>(flags::NO_PREALLOC, key, value);
    }
}

#[test]
fn what_a_program_saw_stays_until_it_is_quiet() {
    let environment = environment(1);
    let map = Map::create::<CloudProfile>(def(MapType::Hash, 4, 16, 2, 0), &environment).unwrap();
    map.update(&[1; 4], &[1; 16], ANY).unwrap();
    let seen = map.value_address(&[1; 4], 0);
    // No quiescent state from here on: everything that is removed stays as it was.
    map.update(&[1; 4], &[2; 16], ANY).unwrap();
    map.delete(&[1; 4]).unwrap();
    for key in 0..20u8 {
        map.update(&[key; 4], &[key; 16], ANY).unwrap();
        assert_ne!(map.value_address(&[key; 4], 0), seen);
        map.delete(&[key; 4]).unwrap();
    }
    // With every spare element waiting, an insertion is refused, and works again later.
    let mut refused = 0;
    for key in 0..40u8 {
        match map.update(&[key; 4], &[key; 16], ANY) {
            Ok(()) => map.delete(&[key; 4]).unwrap(),
            Err(error) => {
                assert_eq!(error, MapError::OutOfMemory);
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    environment.epoch.quiesce(0);
    map.update(&[9; 4], &[9; 16], ANY).unwrap();
    // An existing key can be updated any number of times, quiet or not.
    for value in 0..200 {
        map.update(&[9; 4], &[value; 16], ANY).unwrap();
    }
    assert_eq!(get(&map, &[9; 4]).unwrap(), [199; 16]);
}

#[test]
fn a_value_of_one_word_is_updated_where_it_is() {
    let map = create(def(MapType::Hash, 4, 5, 2, 0)).unwrap();
    map.update(&[1; 4], &[1; 5], ANY).unwrap();
    let seen = map.value_address(&[1; 4], 0);
    for value in 0..100u8 {
        map.update(&[1; 4], &[value; 5], if value % 2 == 0 { ANY } else { EXIST }).unwrap();
        assert_eq!(get(&map, &[1; 4]).unwrap(), [value; 5]);
    }
    assert_eq!(map.value_address(&[1; 4], 0), seen);
    assert_eq!(map.update(&[1; 4], &[0; 5], NOEXIST), Err(MapError::Exists));
    assert_eq!(map.update(&[2; 4], &[0; 5], EXIST), Err(MapError::NotFound));
}

#[test]
fn the_quick_lookup_finds_what_the_general_one_finds() {
    for (key_size, flags, quick) in
        [(8, 0, true), (4, 0, true), (8, flags::NO_PREALLOC, false), (5, 0, false), (12, 0, false)]
    {
        let map = create(def(MapType::Hash, key_size, 16, 64, flags)).unwrap();
        assert_eq!(map.has_word_lookup(), quick, "{key_size}");
        for number in 0..60u64 {
            let key = [number.to_ne_bytes(), [0; 8]].concat();
            let key = &key[..key_size as usize];
            assert_eq!(map.value_address(key, 0), 0);
            map.update(key, &[1; 16], ANY).unwrap();
            assert_ne!(map.value_address(key, 0), 0);
            if quick {
                assert_eq!(map.word_address(number), map.value_address(key, 0));
                assert_eq!(map.word_address(number + 100), 0);
            }
        }
    }
}

#[test]
fn a_map_with_a_writer_cannot_be_frozen() {
    let map = Arc::new(create(def(MapType::Array, 4, 8, 1, flags::MMAPABLE)).unwrap());
    let one = Writer::of(&map).unwrap();
    let two = Writer::of(&map).unwrap();
    drop(one);
    assert_eq!(map.freeze(), Err(MapError::Busy));
    assert!(!map.is_frozen() && map.user_page(0).unwrap().writable);
    map.update(&[0; 4], &[1; 8], ANY).unwrap();
    drop(two);
    map.freeze().unwrap();
    assert_eq!(Writer::of(&map).err(), Some(MapError::Forbidden));
    assert!(!map.user_page(0).unwrap().writable);
    map.settle();
    assert_eq!(Writer::of(&map).err(), Some(MapError::Forbidden));
}

#[test]
fn constants_that_can_be_mapped_are_constants_all_the_same() {
    let flags = flags::MMAPABLE | flags::RDONLY_PROG;
    let map = Arc::new(create(def(MapType::Array, 4, 8, 1, flags)).unwrap());
    assert!(!map.user_page(0).unwrap().writable);
    map.update(&[0; 4], &[7; 8], ANY).unwrap();
    map.freeze().unwrap();
    map.settle();
    let mut bytes = [0; 2];
    assert!(map.read_frozen(3, &mut bytes));
    assert_eq!(bytes, [7; 2]);
}

#[test]
fn a_ring_has_pages_and_no_keys() {
    let map = create(def(MapType::Ringbuf, 0, 0, 8192, 0)).unwrap();
    assert_eq!(map.lookup(&[], &mut []), Err(MapError::NotSupported));
    assert_eq!(map.update(&[], &[], ANY), Err(MapError::NotSupported));
    assert_eq!(map.next_key(None, &mut []), Err(MapError::NotSupported));
    assert!(map.user_page(0).unwrap().writable && map.user_page(6).is_none());
    let array = create(def(MapType::Array, 4, 8, 513, flags::MMAPABLE)).unwrap();
    assert_eq!(array.user_page(0).unwrap().address % PAGE_SIZE, 0);
    assert!(array.user_page(1).is_some() && array.user_page(2).is_none());
}
