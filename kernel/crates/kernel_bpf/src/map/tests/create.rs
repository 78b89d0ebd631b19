//! Which attributes each type of map takes.

use super::{create, def, environment};
use crate::map::{Map, MapError, MapExtras, MapType, ValueFields, def::flags};
use crate::profile::{CloudProfile, EmbeddedProfile};
use alloc::sync::Arc;

#[test]
fn every_type_is_created_as_linux_wants_it() {
    use MapType::{
        Array, BloomFilter, Hash, LpmTrie, LruHash, LruPercpuHash, PerfEventArray, ProgArray,
        Queue, Ringbuf, Stack, StackTrace,
    };
    for definition in [
        def(Array, 4, 1, 1, flags::INNER_MAP),
        def(Hash, 8, 48, 1, flags::NO_PREALLOC),
        def(LruHash, 4, 4, 10, 0),
        def(LruHash, 4, 4, 10, flags::NO_COMMON_LRU),
        def(LruPercpuHash, 4, 4, 10, 0),
        def(LpmTrie, 8, 4, 10, flags::NO_PREALLOC),
        def(LpmTrie, 260, 4, 10, flags::NO_PREALLOC),
        def(Queue, 0, 7, 3, 0),
        def(Stack, 0, 7, 3, 0),
        def(BloomFilter, 0, 4, 3, 0),
        def(PerfEventArray, 4, 4, 1, flags::PRESERVE_ELEMS),
        def(ProgArray, 4, 4, 4, 0),
        def(StackTrace, 4, 8, 1, 0),
        def(StackTrace, 4, 127 * 8, 1, 0),
        def(Ringbuf, 0, 0, 4096, 0),
    ] {
        for map in [create(definition), Map::create::<EmbeddedProfile>(definition, &environment(2))]
        {
            assert!(map.is_ok(), "{definition:?}: {:?}", map.err());
        }
    }
}

#[test]
fn every_type_refuses_what_linux_refuses() {
    use MapError::{Full, Invalid, NotSupported};
    use MapType::{
        ArrayOfMaps, BloomFilter, Hash, HashOfMaps, LpmTrie, LruHash, LruPercpuHash, PercpuArray,
        PercpuHash, PerfEventArray, ProgArray, Queue, StackTrace, TaskStorage,
    };
    let prealloc = flags::NO_PREALLOC;
    for (definition, error) in [
        (def(PercpuArray, 4, 8, 1, flags::NUMA_NODE), Invalid),
        (def(PercpuHash, 4, 8, 1, flags::NUMA_NODE), Invalid),
        (def(Hash, 4, 8, 1, flags::NO_COMMON_LRU), Invalid),
        (def(Hash, 4, 8, 1, flags::INNER_MAP), Invalid),
        (def(LruHash, 4, 8, 1, prealloc), NotSupported),
        (def(LruHash, 4, 8, 1, flags::NO_COMMON_LRU | flags::NUMA_NODE), Invalid),
        (def(LruPercpuHash, 4, 40_000, 1, 0), Full),
        (def(LpmTrie, 8, 4, 10, 0), Invalid),
        (def(LpmTrie, 4, 4, 10, prealloc), Invalid),
        (def(LpmTrie, 261, 4, 10, prealloc), Invalid),
        (def(LpmTrie, 8, 0, 10, prealloc), Invalid),
        (def(LpmTrie, 8, 4, 0, prealloc), Invalid),
        (def(Queue, 4, 4, 1, 0), Invalid),
        (def(Queue, 0, 0, 1, 0), Invalid),
        (def(Queue, 0, 4, 1, prealloc), Invalid),
        (def(Queue, 0, 5 << 20, 1, 0), Full),
        (def(BloomFilter, 4, 4, 1, 0), Invalid),
        (def(BloomFilter, 0, 0, 1, 0), Invalid),
        (def(ProgArray, 4, 8, 1, 0), Invalid),
        (def(ProgArray, 8, 4, 1, 0), Invalid),
        (def(ProgArray, 4, 4, 1, flags::RDONLY_PROG), Invalid),
        (def(ProgArray, 4, 4, 1, flags::PRESERVE_ELEMS), Invalid),
        (def(PerfEventArray, 4, 4, 1, flags::MMAPABLE), Invalid),
        (def(StackTrace, 4, 4, 1, 0), Invalid),
        (def(StackTrace, 4, 12, 1, 0), Invalid),
        (def(StackTrace, 8, 8, 1, 0), Invalid),
        (def(StackTrace, 4, 128 * 8, 1, 0), Invalid),
        (def(StackTrace, 4, 32, 1, flags::STACK_BUILD_ID), NotSupported),
        (def(StackTrace, 4, 8, 1, flags::STACK_BUILD_ID), Invalid),
        (def(TaskStorage, 4, 8, 0, prealloc), Invalid),
        (def(TaskStorage, 4, 8, 1, prealloc), Invalid),
        // Without an inner map.
        (def(ArrayOfMaps, 4, 4, 1, 0), Invalid),
        (def(HashOfMaps, 4, 4, 1, 0), Invalid),
    ] {
        assert_eq!(create(definition).err(), Some(error), "{definition:?}");
    }
}

#[test]
fn extras_go_to_the_types_that_take_them() {
    let environment = environment(1);
    let new = |definition, extras: &MapExtras| {
        Map::create_with::<CloudProfile>(definition, extras, &environment).map(|_| ())
    };
    let plain = def(MapType::Hash, 4, 8, 1, 0);
    let inner = Arc::new(create(plain).unwrap());
    let with =
        |inner: &Arc<Map>| MapExtras { inner: Some(Arc::clone(inner)), ..Default::default() };
    assert_eq!(new(plain, &with(&inner)), Err(MapError::Invalid));
    let outer = def(MapType::HashOfMaps, 4, 4, 1, 0);
    assert_eq!(new(outer, &with(&inner)), Ok(()));
    assert_eq!(new(def(MapType::HashOfMaps, 4, 8, 1, 0), &with(&inner)), Err(MapError::Invalid));
    // Linux nests one level deep, and no program arrays.
    let nested = Map::create_with::<CloudProfile>(outer, &with(&inner), &environment).unwrap();
    assert_eq!(new(outer, &with(&Arc::new(nested))), Err(MapError::Invalid));
    let programs = Arc::new(create(def(MapType::ProgArray, 4, 4, 1, 0)).unwrap());
    assert_eq!(new(outer, &with(&programs)), Err(MapError::NotSupported));
    // Hash functions of a bloom filter.
    let functions = |map_extra| MapExtras { map_extra, ..Default::default() };
    let bloom = def(MapType::BloomFilter, 0, 4, 8, 0);
    assert_eq!(new(bloom, &functions(15)), Ok(()));
    assert_eq!(new(bloom, &functions(16)), Err(MapError::Invalid));
    assert_eq!(new(plain, &functions(1)), Err(MapError::Invalid));
    // Task storage needs types; locks are not for every map.
    let tasks = def(MapType::TaskStorage, 4, 8, 0, flags::NO_PREALLOC);
    assert_eq!(new(tasks, &MapExtras { typed: true, ..Default::default() }), Ok(()));
    let lock = ValueFields { spin_lock: Some(0), timer: None };
    let locked = MapExtras { fields: lock, ..Default::default() };
    assert_eq!(new(plain, &locked), Ok(()));
    // A lock or timer must lie within the value, aligned, and not in the other.
    let wide = def(MapType::Array, 4, 64, 1, 0);
    for (spin_lock, timer, good) in [
        (Some(4), Some(8), true),
        (Some(24), Some(8), true),
        (Some(60), Some(40), true),
        (Some(2), None, false),
        (None, Some(4), false),
        (Some(8), Some(8), false),
        (Some(20), Some(8), false),
    ] {
        let extras = MapExtras { fields: ValueFields { spin_lock, timer }, ..Default::default() };
        let expected = if good { Ok(()) } else { Err(MapError::Invalid) };
        assert_eq!(new(wide, &extras), expected, "{:?}", extras.fields);
    }
    let value = plain.value_size;
    for fields in [
        ValueFields { spin_lock: Some(value - 3), timer: None },
        ValueFields { spin_lock: Some(u32::MAX - 3), timer: None },
        ValueFields { spin_lock: None, timer: Some(value.saturating_sub(15)) },
    ] {
        let outside = MapExtras { fields, ..Default::default() };
        assert_eq!(new(plain, &outside), Err(MapError::Invalid), "{fields:?}");
    }
    let percpu = def(MapType::PercpuArray, 4, 8, 1, 0);
    assert_eq!(new(percpu, &locked), Err(MapError::NotSupported));
}

#[test]
fn what_a_growing_map_takes_at_once_is_told() {
    use MapType::{Hash, LpmTrie};
    let prealloc = flags::NO_PREALLOC;
    for definition in [def(Hash, 8, 8, 1 << 24, prealloc), def(LpmTrie, 8, 8, 1 << 24, prealloc)] {
        let extras = MapExtras::default();
        let needed = Map::memory_needed(&definition, &extras, 1).unwrap();
        let heads = if definition.map_type == Hash { 4 << 24 } else { 0 };
        // A list of blocks of 16 KiB, each of some hundred elements.
        assert!(needed > heads + (1 << 20), "{definition:?}: {needed}");
    }
}
