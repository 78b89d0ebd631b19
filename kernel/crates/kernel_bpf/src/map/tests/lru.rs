//! LRU hash maps: a full map makes room, and keeps what is used.

use super::{ANY, EXIST, NOEXIST, create, def, environment, get};
use crate::map::{Map, MapError, MapType};
use core::sync::atomic::{AtomicBool, Ordering};

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

/// What was evicted stays readable as long as there are other elements, and until its reader is
/// quiet, as many keys as come.
fn evicted_values_stay<P: PhysicalProfile>() {
    let environment = environment(1);
    let map = Map::create::<P>(def(MapType::LruHash, 4, 8, 4, 0), &environment).unwrap();
    map.update(&key(0), &[7; 8], ANY).unwrap();
    let seen = map.value_address(&key(0), 0);
    let mut first_again = None;
    for number in 1..200 {
        map.update(&key(number), &[1; 8], ANY).unwrap();
        assert_eq!(map.entries(), 4.min(number + 1));
        let value = map.value_address(&key(number), 0);
        if value == seen && first_again.is_none() {
            first_again = Some(number);
        }
        for kept in number.saturating_sub(3)..=number {
            assert_ne!(map.value_address(&key(kept), 0), 0, "{kept} of {number}");
        }
    }
    // Four in the map, and 32 to spare.
    assert_eq!(first_again, Some(36));
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

/// A program that deletes all that it inserts, in one run.
#[test]
fn deleted_elements_come_back_in_one_run() {
    for kind in [MapType::LruHash, MapType::LruPercpuHash] {
        let map = Map::create::<CloudProfile>(def(kind, 4, 8, 4, 0), &environment(1)).unwrap();
        for number in 0..1000 {
            map.update_on(&key(number), &[3; 8], NOEXIST, 0).unwrap();
            map.delete_from_program(&key(number)).unwrap();
        }
        assert_eq!(map.entries(), 0);
    }
}

/// Keys that are in the map all the time are found whatever else is moved under the search.
#[test]
fn searches_survive_elements_that_are_taken_from_under_them() {
    let environment = environment(1);
    let map =
        Map::create::<CloudProfile>(def(MapType::LruHash, 4, 8, 64, 0), &environment).unwrap();
    for kept in 0..8 {
        map.update(&key(kept), &[kept as u8; 8], ANY).unwrap();
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 100..60_000 {
                for kept in 0..8 {
                    assert_ne!(map.value_address(&key(kept), 0), 0);
                }
                map.update(&key(number), &[0xff; 8], ANY).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for kept in 0..8 {
                    assert_eq!(get(&map, &key(kept)).as_deref(), Ok(&[kept as u8; 8][..]));
                }
            }
        });
    });
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
