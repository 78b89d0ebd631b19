//! A reader beside a writer, each as a CPU of its own.
//!
//! What a reader may see does not depend on which of them the host lets run, and for how long:
//! the writer never takes more elements than are spare before it has waited for the reader, so
//! every update comes with a new element, and none may be seen half done.

use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{ANY, create, def, environment, get};
use crate::map::{Epoch, Map, MapType};
use crate::profile::CloudProfile;

const WRITER: usize = 0;
const READER: usize = 1;
/// Keys from 0; those below [`REMOVED`] are removed now and then.
const KEYS: u64 = 8;
const REMOVED: u64 = 5;
const ROUNDS: u64 = 5_000;
/// 8-byte words of a value.
const WORDS: usize = 4;

/// A value names its key and the round in each word.
fn value(key: u64, round: u64) -> Vec<u8> {
    (key << 32 | round).to_ne_bytes().repeat(WORDS)
}

/// One round of updates. Every update and every removal takes one element out of the map:
/// fewer than the 32 that are spare.
fn write(map: &Map, round: u64) {
    for key in 0..KEYS {
        map.update(&key.to_ne_bytes(), &value(key, round), ANY).unwrap();
        if key < REMOVED && (key + round).is_multiple_of(3) {
            map.delete(&key.to_ne_bytes()).unwrap();
        }
    }
}

/// Waits until the reader holds nothing that was taken out before.
fn wait_for_reader(epoch: &Epoch) {
    let tag = epoch.now();
    epoch.quiesce(WRITER);
    while !epoch.is_safe(tag) {
        thread::yield_now();
    }
}

/// Reads every key once, as a program would, and returns how many there were. `rounds` has the
/// last round that was seen of each.
fn read(map: &Map, rounds: &mut [u64; KEYS as usize]) -> u64 {
    let mut found = 0;
    for (key, last) in (0..KEYS).zip(rounds) {
        let mut bytes = [0; WORDS * 8];
        if map.lookup(&key.to_ne_bytes(), &mut bytes).is_err() {
            assert!(key < REMOVED, "key {key}, which is only replaced, is missing");
            continue;
        }
        let first = u64::from_ne_bytes(*bytes.first_chunk().unwrap());
        let (owner, round) = (first >> 32, first & 0xffff_ffff);
        assert_eq!(owner, key, "the value of another key");
        assert_eq!(bytes.to_vec(), value(key, round), "half of one update, half of another");
        assert!(round >= *last, "round {round} after round {last}");
        *last = round;
        found += 1;
    }
    found
}

#[test]
fn readers_never_see_half_an_update_nor_a_stranger() {
    let environment = environment(1);
    let epoch = environment.epoch;
    epoch.online(READER);
    let map = Map::create::<CloudProfile>(def(MapType::Hash, 8, 32, 16, 0), &environment).unwrap();
    let map = Arc::new(map);
    write(&map, 0);
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (map, done) = (Arc::clone(&map), Arc::clone(&done));
        thread::spawn(move || {
            for round in 1..=ROUNDS {
                write(&map, round);
                wait_for_reader(epoch);
            }
            done.store(true, Ordering::Release);
        })
    };
    let mut rounds = [0; KEYS as usize];
    let (mut looks, mut found) = (0, 0);
    while !done.load(Ordering::Acquire) && !writer.is_finished() {
        found += read(&map, &mut rounds);
        looks += 1;
        epoch.quiesce(READER);
        thread::yield_now();
    }
    writer.join().unwrap();
    // The writer waited for a look in every round.
    assert!(looks >= ROUNDS, "{looks}");
    assert!(found >= looks * (KEYS - REMOVED), "{found} in {looks}");
    read(&map, &mut rounds);
    assert!(rounds.iter().skip(REMOVED as usize).all(|&round| round == ROUNDS), "{rounds:?}");
}

/// When all spare elements wait for readers an update is made in place: the one case in which a
/// reader that copies at that moment may see half of it.
#[test]
fn an_update_in_place_comes_only_when_no_element_is_spare() {
    let map = create(def(MapType::Hash, 8, 32, 1, 0)).unwrap();
    let key = 0u64.to_ne_bytes();
    map.update(&key, &value(0, 0), ANY).unwrap();
    let mut addresses = alloc::vec![map.value_address(&key, 0)];
    // Nobody is quiet meanwhile.
    for round in 1..=40 {
        map.update(&key, &value(0, round), ANY).unwrap();
        assert_eq!(get(&map, &key).unwrap(), value(0, round));
        addresses.push(map.value_address(&key, 0));
    }
    let moved = addresses.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!(moved, 32, "as many as are spare");
    addresses.dedup();
    let places = addresses.len();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), places, "none was used twice");
}
