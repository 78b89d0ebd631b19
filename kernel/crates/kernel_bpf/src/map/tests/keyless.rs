//! Queues, stacks, bloom filters and stack traces: values without keys of their own.

use super::{ANY, EXIST, NOEXIST, create, def, environment, get};
use crate::map::{Map, MapError, MapExtras, MapType};
use crate::profile::CloudProfile;

#[test]
fn a_queue_gives_the_oldest_and_a_stack_the_youngest() {
    for (kind, expected) in [(MapType::Queue, [1, 2, 3]), (MapType::Stack, [3, 2, 1])] {
        let map = create(def(kind, 0, 5, 3, 0)).unwrap();
        let mut out = [9; 5];
        assert_eq!(map.pop(&mut out), Err(MapError::NotFound));
        assert_eq!(out, [0; 5], "an empty map leaves zeros");
        for turn in 0..5 {
            for value in 1..=3 {
                map.update(&[], &[value; 5], ANY).unwrap();
            }
            assert_eq!(map.push(&[4; 5], ANY), Err(MapError::Full), "turn {turn}");
            assert_eq!(map.push(&[4; 5], NOEXIST), Err(MapError::Invalid));
            for value in expected {
                assert_eq!(get(&map, &[]).unwrap(), [value; 5]);
                map.peek(&mut out).unwrap();
                assert_eq!(out, [value; 5]);
                map.lookup_and_delete(&[], &mut out).unwrap();
                assert_eq!(out, [value; 5]);
            }
            // The ring's start moves on.
            map.push(&[8; 5], ANY).unwrap();
            map.pop(&mut out).unwrap();
        }
        assert_eq!(map.delete(&[]), Err(MapError::Invalid));
        assert_eq!(map.next_key(None, &mut []), Err(MapError::Invalid));
        assert_eq!(map.value_address(&[], 0), 0);
    }
}

#[test]
fn a_full_queue_can_lose_its_oldest() {
    let map = create(def(MapType::Queue, 0, 1, 3, 0)).unwrap();
    for value in 1..=5 {
        map.push(&[value], EXIST).unwrap();
    }
    let mut out = [0];
    for value in 3..=5 {
        map.pop(&mut out).unwrap();
        assert_eq!(out, [value]);
    }
    assert_eq!(map.entries(), 0);
}

#[test]
fn a_bloom_filter_knows_what_was_put_in() {
    let extras = MapExtras { map_extra: 3, ..Default::default() };
    let definition = def(MapType::BloomFilter, 0, 8, 1000, 0);
    let map = Map::create_with::<CloudProfile>(definition, &extras, &environment(1)).unwrap();
    assert_eq!(map.map_extra(), 3);
    for value in 0..1000u64 {
        map.update(&[], &value.to_ne_bytes(), ANY).unwrap();
    }
    let has = |value: u64| map.peek(&mut value.to_ne_bytes()).is_ok();
    assert!((0..1000).all(has));
    let wrong = (1000..11_000).filter(|value| has(*value)).count();
    assert!(wrong < 2_000, "{wrong} of 10000 wrong answers");
    assert_eq!(map.push(&[0; 8], EXIST), Err(MapError::Invalid));
    assert_eq!(map.pop(&mut [0; 8]), Err(MapError::Impossible));
    assert_eq!(map.delete(&[]), Err(MapError::Impossible));
    assert_eq!(map.next_key(None, &mut []), Err(MapError::Impossible));
}

#[test]
fn a_stack_is_kept_once() {
    const REUSE: u64 = 1 << 10;
    let map = create(def(MapType::StackTrace, 4, 4 * 8, 16, 0)).unwrap();
    assert_eq!(map.stack_depth(), Some(4));
    let id = map.keep_stack(&[1, 2, 3], 0).unwrap();
    assert_eq!(map.keep_stack(&[1, 2, 3], 0), Ok(id));
    let words = |id: u32| -> [u64; 4] {
        let bytes = get(&map, &id.to_ne_bytes()).unwrap();
        core::array::from_fn(|at| u64::from_ne_bytes(bytes[at * 8..at * 8 + 8].try_into().unwrap()))
    };
    assert_eq!(words(id), [1, 2, 3, 0]);
    // Of two stacks with one number, the first stays unless it is to be replaced.
    let other = (4..1000).find(|&n| map.keep_stack(&[n], 0) == Err(MapError::Exists)).unwrap();
    assert_eq!(map.keep_stack(&[other], REUSE).map(|new| words(new)[0]), Ok(other));
    assert_eq!(map.keep_stack(&[1], 1 << 20), Err(MapError::Invalid));
    let long = map.keep_stack(&[9; 10], REUSE).unwrap();
    assert_eq!(words(long), [9; 4]);
    assert_eq!(map.keys().len() as u32, map.entries());
    for key in map.keys() {
        map.delete(&key).unwrap();
        assert_eq!(map.delete(&key), Err(MapError::NotFound));
    }
    assert_eq!(map.delete(&16u32.to_ne_bytes()), Err(MapError::Full));
    assert_eq!(get(&map, &16u32.to_ne_bytes()), Err(MapError::NotFound));
    assert_eq!(map.update(&[0; 4], &[0; 32], ANY), Err(MapError::Invalid));
}
