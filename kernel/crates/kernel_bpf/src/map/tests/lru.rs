//! LRU hash maps: a full map makes room, and keeps what is used.

use super::{ANY, EXIST, NOEXIST, create, def, environment, get};
use crate::map::{Map, MapError, MapType};
use crate::profile::{CloudProfile, EmbeddedProfile, PhysicalProfile};

fn key(number: u32) -> [u8; 4] {
    number.to_ne_bytes()
}

#[test]
fn a_full_map_takes_more_and_keeps_what_programs_use() {
    for kind in [MapType::LruHash, MapType::LruPercpuHash] {
        let environment = environment(2);
        let map = Map::create::<CloudProfile>(def(kind, 4, 8, 64, 0), &environment).unwrap();
        let value = alloc::vec![1; map.user_value_size()];
        for number in 0..64 {
            map.update(&key(number), &value, NOEXIST).unwrap();
        }
        for number in 64..4096 {
            // A program uses the first eight all the time; a listing uses none.
            for used in 0..8 {
                assert_ne!(map.value_address(&key(used), 0), 0, "{used} was lost at {number}");
            }
            for listed in map.keys() {
                get(&map, &listed).unwrap();
            }
            map.update(&key(number), &value, NOEXIST).unwrap();
            environment.epoch.quiesce(0);
            assert_eq!(map.entries(), 64);
            assert!(get(&map, &key(number)).is_ok());
        }
        assert_eq!(map.update(&key(0), &value, NOEXIST), Err(MapError::Exists));
        assert_eq!(map.update(&key(100), &value, EXIST), Err(MapError::NotFound));
        map.delete(&key(0)).unwrap();
        assert_eq!(map.entries(), 63);
    }
}

/// What was evicted stays readable until its reader is quiet, and the map says when it has no
/// element left for that reason.
fn evicted_values_stay<P: PhysicalProfile>() {
    let environment = environment(1);
    let map = Map::create::<P>(def(MapType::LruHash, 4, 8, 4, 0), &environment).unwrap();
    map.update(&key(0), &[7; 8], ANY).unwrap();
    let seen = map.value_address(&key(0), 0);
    let mut inserted = 0;
    for number in 1..200 {
        match map.update(&key(number), &[1; 8], ANY) {
            Ok(()) => {
                inserted += 1;
                assert_ne!(map.value_address(&key(number), 0), seen);
            }
            // What does not come costs nobody its place.
            Err(error) => assert_eq!((error, map.entries()), (MapError::OutOfMemory, 4)),
        }
    }
    assert!((4..100).contains(&inserted), "{inserted}");
    environment.epoch.quiesce(0);
    for number in 1000..1030 {
        map.update(&key(number), &[2; 8], ANY).unwrap();
    }
}

#[test]
fn what_was_evicted_stays_until_its_reader_is_quiet() {
    evicted_values_stay::<CloudProfile>();
    evicted_values_stay::<EmbeddedProfile>();
}

#[test]
fn unused_keys_go_in_the_order_they_came() {
    let map = create(def(MapType::LruHash, 4, 4, 8, 0)).unwrap();
    for number in 0..12 {
        map.update(&key(number), &[0; 4], ANY).unwrap();
    }
    for number in 0..12 {
        assert_eq!(get(&map, &key(number)).is_ok(), number >= 4, "{number}");
    }
}
