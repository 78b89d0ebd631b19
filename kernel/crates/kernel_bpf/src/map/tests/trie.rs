//! LPM tries against a list of prefixes, searched from end to end.

use super::{ANY, EXIST, NOEXIST, create, def, environment, get};
use crate::map::{Map, MapError, MapType, def::flags};
use crate::profile::{CloudProfile, EmbeddedProfile, PhysicalProfile};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

fn trie(key_size: u32, entries: u32) -> Map {
    create(def(MapType::LpmTrie, key_size, 4, entries, flags::NO_PREALLOC)).unwrap()
}

fn key(length: u32, data: &[u8]) -> Vec<u8> {
    [&length.to_ne_bytes(), data].concat()
}

#[test]
fn the_longest_prefix_wins() {
    let map = trie(8, 10);
    for (length, address, value) in [
        (0, [0, 0, 0, 0], 0u32),
        (8, [10, 0, 0, 0], 1),
        (16, [10, 1, 0, 0], 2),
        (24, [10, 1, 2, 0], 3),
        (32, [10, 1, 2, 3], 4),
    ] {
        map.update(&key(length, &address), &value.to_ne_bytes(), NOEXIST).unwrap();
    }
    let look = |address: [u8; 4]| {
        get(&map, &key(32, &address)).map(|v| u32::from_ne_bytes(v.try_into().unwrap()))
    };
    assert_eq!(look([10, 1, 2, 3]), Ok(4));
    assert_eq!(look([10, 1, 2, 9]), Ok(3));
    assert_eq!(look([10, 1, 9, 9]), Ok(2));
    assert_eq!(look([10, 9, 9, 9]), Ok(1));
    assert_eq!(look([9, 9, 9, 9]), Ok(0));
    map.delete(&key(0, &[1, 2, 3, 4])).unwrap();
    assert_eq!(look([9, 9, 9, 9]), Err(MapError::NotFound));
    assert_eq!(map.delete(&key(0, &[0; 4])), Err(MapError::NotFound));
    assert_eq!(map.update(&key(33, &[0; 4]), &[0; 4], ANY), Err(MapError::Invalid));
    assert_eq!(map.delete(&key(33, &[0; 4])), Err(MapError::Invalid));
    assert_eq!(get(&map, &key(33, &[0; 4])), Err(MapError::NotFound));
    assert_eq!(map.update(&key(9, &[10; 4]), &[0; 4], EXIST), Err(MapError::NotFound));
    assert_eq!(map.update(&key(8, &[10; 4]), &[0; 4], NOEXIST), Err(MapError::Exists));
}

#[test]
fn longer_prefixes_are_listed_before_the_shorter_ones_that_hold_them() {
    let map = trie(5, 10);
    for (length, byte) in [(0, 0), (1, 0x80), (2, 0x80), (2, 0xc0), (8, 0x01), (8, 0x02)] {
        map.update(&key(length, &[byte]), &[0; 4], ANY).unwrap();
    }
    let listed: Vec<(u8, u8)> = map.keys().iter().map(|key| (key[0], key[4])).collect();
    assert_eq!(listed, [(8, 1), (8, 2), (2, 0x80), (2, 0xc0), (1, 0x80), (0, 0)]);
    let mut next = [0; 5];
    map.next_key(Some(&key(8, &[77])), &mut next).unwrap();
    assert_eq!(next[4], 1, "after an unknown key comes the first");
}

fn matches(prefix: &[u8], length: u32, data: &[u8]) -> bool {
    (0..length as usize).all(|bit| {
        let at = |bytes: &[u8]| bytes[bit / 8] >> (7 - bit % 8) & 1;
        at(prefix) == at(data)
    })
}

/// Random operations, every answer compared with a list of all prefixes.
fn model<P: PhysicalProfile>(data_size: usize) {
    let environment = environment(1);
    let entries = 24;
    let definition = def(MapType::LpmTrie, 4 + data_size as u32, 4, entries, flags::NO_PREALLOC);
    let map = Map::create::<P>(definition, &environment).unwrap();
    let mut model: BTreeMap<(u32, Vec<u8>), u32> = BTreeMap::new();
    let mut seed = 0x1234_5678_9abc_def1_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed >> 8
    };
    for round in 0..20_000u32 {
        // Few different bits, so that prefixes hold each other.
        let length = (random() % (data_size as u64 * 8 + 1)) as u32;
        let data: Vec<u8> = (0..data_size).map(|_| (random() % 4 * 0x41) as u8).collect();
        let mut masked = data.clone();
        for bit in length as usize..data_size * 8 {
            masked[bit / 8] &= !(0x80 >> (bit % 8));
        }
        let name = (length, masked);
        match random() % 4 {
            0 | 1 => {
                let mode = random() % 3;
                let expected = match (model.contains_key(&name), mode) {
                    (true, NOEXIST) => Err(MapError::Exists),
                    (false, EXIST) => Err(MapError::NotFound),
                    (false, _) if model.len() == entries as usize => Err(MapError::NoSpace),
                    _ => Ok(()),
                };
                let value = round.to_ne_bytes();
                assert_eq!(map.update(&key(length, &data), &value, mode), expected);
                if expected.is_ok() {
                    model.insert(name, round);
                }
            }
            2 => {
                let expected = model.remove(&name).map(|_| ()).ok_or(MapError::NotFound);
                assert_eq!(map.delete(&key(length, &data)), expected);
            }
            _ => {
                let best = model
                    .iter()
                    .filter(|((prefix, bits), _)| {
                        *prefix <= length && matches(bits, *prefix, &data)
                    })
                    .max_by_key(|((prefix, _), _)| *prefix)
                    .map(|(_, value)| value.to_ne_bytes().to_vec());
                assert_eq!(get(&map, &key(length, &data)).ok(), best);
            }
        }
        environment.epoch.quiesce(0);
        if round % 256 == 0 {
            let mut keys = map.keys();
            keys.sort();
            let mut expected: Vec<Vec<u8>> = model.keys().map(|(l, bits)| key(*l, bits)).collect();
            expected.sort();
            for listed in &mut keys {
                let length = u32::from_ne_bytes(listed[..4].try_into().unwrap()) as usize;
                for bit in length..data_size * 8 {
                    listed[4 + bit / 8] &= !(0x80 >> (bit % 8));
                }
            }
            keys.sort();
            assert_eq!(keys, expected);
            assert_eq!(map.entries() as usize, model.len());
        }
    }
}

#[test]
fn a_trie_does_what_its_model_does() {
    for data_size in [1, 4, 9, 16] {
        model::<CloudProfile>(data_size);
        model::<EmbeddedProfile>(data_size);
    }
}

#[test]
fn what_a_program_found_stays_until_it_is_quiet() {
    let environment = environment(1);
    let definition = def(MapType::LpmTrie, 8, 4, 4, flags::NO_PREALLOC);
    let map = Map::create::<CloudProfile>(definition, &environment).unwrap();
    let name = key(32, &[1, 2, 3, 4]);
    map.update(&name, &[1; 4], ANY).unwrap();
    let seen = map.value_address(&name, 0);
    assert_ne!(seen, 0);
    map.delete(&name).unwrap();
    for round in 0..10u8 {
        map.update(&name, &[round; 4], ANY).unwrap();
        assert_ne!(map.value_address(&name, 0), seen);
        map.delete(&name).unwrap();
    }
    // An existing prefix can be updated any number of times, quiet or not.
    map.update(&name, &[0; 4], ANY).unwrap();
    for round in 0..100u8 {
        map.update(&name, &[round; 4], EXIST).unwrap();
    }
    assert_eq!(get(&map, &name).unwrap(), [99; 4]);
}
