//! Maps that hold maps and event sinks: what was taken out lives until nobody can see it.

use super::{ANY, EXIST, NOEXIST, create, def, environment};
use crate::map::{EventSink, Map, MapEnvironment, MapError, MapExtras, MapRef as _, MapType, Rows};
use crate::map::{def::flags, events::CURRENT_CPU};
use crate::profile::CloudProfile;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::Mutex;

fn outer(kind: MapType, inner: &Arc<Map>, environment: &MapEnvironment) -> Map {
    let extras = MapExtras { inner: Some(Arc::clone(inner)), ..Default::default() };
    Map::create_with::<CloudProfile>(def(kind, 4, 4, 4, 0), &extras, environment).unwrap()
}

#[test]
fn a_program_finds_the_inner_map_itself() {
    let environment = environment(1);
    for kind in [MapType::ArrayOfMaps, MapType::HashOfMaps] {
        let inner = Arc::new(create(def(MapType::Hash, 4, 8, 7, 0)).unwrap());
        inner.set_id(41);
        let map = outer(kind, &inner, &environment);
        assert_eq!(map.inner_def(), Some(inner.def()));
        let key = 2u32.to_ne_bytes();
        assert_eq!(map.value_address(&key, 0), 0);
        map.set_map(&key, Arc::clone(&inner), ANY).unwrap();
        assert_eq!(map.value_address(&key, 0), Arc::as_ptr(&inner) as usize);
        let mut id = [0; 4];
        map.lookup(&key, &mut id).unwrap();
        assert_eq!(u32::from_ne_bytes(id), 41);
        assert_eq!(map.lookup(&[3, 0, 0, 0], &mut id), Err(MapError::NotFound));
        assert_eq!(map.update(&key, &[0; 4], ANY), Err(MapError::NotSupported));

        // Taken out, it lives as long as a program may hold it.
        let weak = Arc::downgrade(&inner);
        drop(inner);
        map.delete(&key).unwrap();
        assert_eq!(map.value_address(&key, 0), 0);
        assert_eq!(map.delete(&key), Err(MapError::NotFound));
        let other = Arc::new(create(def(MapType::Hash, 4, 8, 9, 0)).unwrap());
        map.set_map(&key, Arc::clone(&other), ANY).unwrap();
        assert!(weak.upgrade().is_some());
        assert!(map.keeps_retired());
        environment.epoch.quiesce(0);
        map.let_go();
        assert!(weak.upgrade().is_none(), "{kind:?}");
        assert!(!map.keeps_retired());
        // What owns an inner map stays as long as that is inside.
        let owner = Arc::new(7);
        let flags = EXIST * u64::from(kind == MapType::HashOfMaps);
        let third = Arc::new(create(def(MapType::Hash, 4, 8, 9, 0)).unwrap());
        map.set_map_of(&key, third, owner.clone(), flags).unwrap();
        assert_eq!(Arc::strong_count(&owner), 2);
        map.set_map(&key, Arc::clone(&other), flags).unwrap();
        environment.epoch.quiesce(0);
        map.let_go();
        assert_eq!(Arc::strong_count(&owner), 1, "{kind:?}");
        drop(map);
        assert_eq!(Arc::strong_count(&other), 1);
    }
}

#[test]
fn buckets_of_maps_are_their_numbers() {
    let environment = environment(1);
    let inner = Arc::new(create(def(MapType::Hash, 4, 8, 7, 0)).unwrap());
    inner.set_id(41);
    let map = outer(MapType::HashOfMaps, &inner, &environment);
    for number in 0..4u32 {
        map.set_map(&number.to_ne_bytes(), Arc::clone(&inner), ANY).unwrap();
    }
    let take = |bucket, remove| {
        let (mut keys, mut values) = ([0; 16], [0; 16]);
        let (key_bytes, value_bytes) = (4, map.user_value_size());
        let mut rows = Rows {
            room: 4,
            keys: &mut keys,
            values: &mut values,
            key_bytes,
            value_bytes,
            remove,
            lock: false,
        };
        let count = map.bucket(bucket, &mut rows).unwrap() as usize;
        let (ids, rest) = values.split_at(count * 4);
        assert!(ids.chunks(4).all(|id| *id == 41u32.to_ne_bytes()));
        assert!(rest.iter().all(|byte| *byte == 0));
        count
    };
    let buckets = 0..map.buckets().unwrap();
    assert_eq!(buckets.clone().map(|bucket| take(bucket, false)).sum::<usize>(), 4);
    assert_eq!(Arc::strong_count(&inner), 2, "held once");
    assert_eq!(buckets.map(|bucket| take(bucket, true)).sum::<usize>(), 4);
    assert_eq!(map.entries(), 0);
    environment.epoch.quiesce(0);
    map.let_go();
    assert_eq!(Arc::strong_count(&inner), 1);
}

#[test]
fn inner_maps_have_the_shape_that_was_promised() {
    let environment = environment(1);
    let new = |definition| Arc::new(create(definition).unwrap());
    let inner = new(def(MapType::Array, 4, 8, 7, 0));
    let map = outer(MapType::ArrayOfMaps, &inner, &environment);
    let key = [0; 4];
    for (definition, result) in [
        (def(MapType::Array, 4, 8, 7, 0), Ok(())),
        (def(MapType::Array, 4, 8, 8, 0), Err(MapError::Invalid)),
        (def(MapType::Array, 4, 16, 7, 0), Err(MapError::Invalid)),
        (def(MapType::Hash, 4, 8, 7, 0), Err(MapError::Invalid)),
        (def(MapType::Array, 4, 8, 7, flags::RDONLY_PROG), Err(MapError::Invalid)),
    ] {
        assert_eq!(map.set_map(&key, new(definition), ANY), result, "{definition:?}");
    }
    assert_eq!(map.set_map(&key, Arc::clone(&inner), NOEXIST), Err(MapError::Invalid));
    assert_eq!(map.set_map(&[4, 0, 0, 0], Arc::clone(&inner), ANY), Err(MapError::Full));
    // Arrays of any length, and hash maps of any number of entries.
    let any = outer(
        MapType::ArrayOfMaps,
        &new(def(MapType::Array, 4, 8, 7, flags::INNER_MAP)),
        &environment,
    );
    any.set_map(&key, new(def(MapType::Array, 4, 8, 9, flags::INNER_MAP)), ANY).unwrap();
    let hashes = outer(MapType::HashOfMaps, &new(def(MapType::Hash, 4, 8, 7, 0)), &environment);
    hashes.set_map(&key, new(def(MapType::Hash, 4, 8, 99, 0)), NOEXIST).unwrap();
    assert_eq!(
        hashes.set_map(&key, new(def(MapType::Hash, 4, 8, 99, 0)), NOEXIST),
        Err(MapError::Exists)
    );
}

#[derive(Default)]
struct Sink(Mutex<Vec<(usize, Vec<u8>)>>, usize);

impl EventSink for Sink {
    fn record(&self, cpu: usize, data: &[u8]) -> Result<(), MapError> {
        self.0.lock().unwrap().push((cpu, data.to_vec()));
        Ok(())
    }

    fn origin(&self) -> usize {
        self.1
    }
}

#[test]
fn records_go_to_the_event_that_the_flags_select() {
    let map = create(def(MapType::PerfEventArray, 4, 4, 2, 0)).unwrap();
    let sinks = [Arc::new(Sink::default()), Arc::new(Sink::default())];
    assert_eq!(map.output(CURRENT_CPU, 1, b"lost"), Err(MapError::NotFound));
    assert_eq!(map.check_slot(&[0; 4], NOEXIST), Err(MapError::Invalid));
    assert_eq!(map.check_slot(&2u32.to_ne_bytes(), ANY), Err(MapError::Full));
    assert_eq!(map.check_slot(&1u32.to_ne_bytes(), ANY), Ok(()));
    for (index, sink) in (0u32..).zip(&sinks) {
        map.set_event(&index.to_ne_bytes(), Arc::clone(sink) as Arc<dyn EventSink>, ANY).unwrap();
    }
    map.output(CURRENT_CPU, 1, b"one").unwrap();
    map.output(0, 1, b"two").unwrap();
    assert_eq!(map.output(2, 1, b"lost"), Err(MapError::Full));
    assert_eq!(map.output(1 << 32, 1, b"lost"), Err(MapError::Invalid));
    assert_eq!(*sinks[1].0.lock().unwrap(), [(1, b"one".to_vec())]);
    assert_eq!(*sinks[0].0.lock().unwrap(), [(1, b"two".to_vec())]);
    map.delete(&[0; 4]).unwrap();
    assert_eq!(map.output(0, 0, b"lost"), Err(MapError::NotFound));
    assert_eq!(map.lookup(&[0; 4], &mut [0; 4]), Err(MapError::NotSupported));
}

#[test]
fn events_go_with_the_opening_that_they_came_by() {
    for (flags, left) in [(0, Err(MapError::NotFound)), (flags::PRESERVE_ELEMS, Ok(()))] {
        let map = create(def(MapType::PerfEventArray, 4, 4, 2, flags)).unwrap();
        for index in 0..2u32 {
            let sink: Arc<dyn EventSink> = Arc::new(Sink(Mutex::default(), index as usize));
            map.set_event(&index.to_ne_bytes(), sink, ANY).unwrap();
        }
        map.remove_events_of(1);
        assert_eq!((map.output(0, 0, b"stays"), map.output(1, 0, b"goes")), (Ok(()), left));
    }
}
