//! What holds memory can be let go of when there is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kernel_bpf::map::{Epoch, Map, MapDef, MapEnvironment, MapExtras, MapType};
use kernel_bpf::memory::HeapMemory;
use kernel_bpf::profile::CloudProfile;

/// Whether the heap gives nothing to maps.
static SHORT: AtomicBool = AtomicBool::new(false);

fn def(map_type: MapType, max_entries: u32) -> MapDef {
    MapDef { map_type, key_size: 4, value_size: 4, max_entries, flags: 0 }
}

/// The only test of this file: the heap is everybody's.
#[test]
fn maps_of_maps_are_emptied() {
    HeapMemory::limit(|_| !SHORT.load(Ordering::Relaxed));
    let epoch: &'static Epoch = Box::leak(Box::new(Epoch::new()));
    epoch.online(0);
    let environment = MapEnvironment { cpus: 1, seed: 7, epoch };
    for kind in [MapType::ArrayOfMaps, MapType::HashOfMaps] {
        let new = || {
            let inner = Map::create::<CloudProfile>(def(MapType::Array, 1), &environment);
            Arc::new(inner.unwrap())
        };
        let inner: Vec<Arc<Map>> = (0..100).map(|_| new()).collect();
        let extras = MapExtras { inner: Some(new()), ..Default::default() };
        let map = Map::create_with::<CloudProfile>(def(kind, 200), &extras, &environment).unwrap();
        for (index, inner) in (0u32..).zip(&inner) {
            // Replaced once, so that some wait for their readers already.
            map.set_map(&index.to_ne_bytes(), new(), 0).unwrap();
            map.set_map(&index.to_ne_bytes(), Arc::clone(inner), 0).unwrap();
        }
        SHORT.store(true, Ordering::Relaxed);
        for index in 0u32..100 {
            map.delete(&index.to_ne_bytes()).unwrap();
        }
        epoch.quiesce(0);
        map.let_go();
        SHORT.store(false, Ordering::Relaxed);
        assert!(!map.keeps_retired());
        assert!(inner.iter().all(|inner| Arc::strong_count(inner) == 1), "{kind:?}");
    }
}
