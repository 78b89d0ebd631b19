//! What holds memory can be let go of when there is none.

#![allow(clippy::unwrap_used, reason = "failing is loud")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kernel_bpf::asm::assemble;
use kernel_bpf::interpreter::Interpreter;
use kernel_bpf::map::{
    Epoch, EventSink, Map, MapDef, MapEnvironment, MapError, MapExtras, MapType, TailTarget,
};
use kernel_bpf::memory::HeapMemory;
use kernel_bpf::profile::CloudProfile;
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Verified, VerifyOptions, verify};

/// Whether the heap gives nothing to maps.
static SHORT: AtomicBool = AtomicBool::new(false);

fn def(map_type: MapType, max_entries: u32) -> MapDef {
    MapDef { map_type, key_size: 4, value_size: 4, max_entries, flags: 0 }
}

struct Sink;

impl EventSink for Sink {
    fn record(&self, _: usize, _: &[u8]) -> Result<(), MapError> {
        Ok(())
    }

    fn origin(&self) -> usize {
        1
    }
}

fn program() -> Verified<Program<Arc<Map>>> {
    let insns = assemble("r0 = 0\nexit").unwrap();
    let program = Program::new(insns, ProgType::RawTracepoint, Vec::new());
    verify(program, &VerifyOptions::cloud()).unwrap()
}

/// The only test of this file: the heap is everybody's.
#[test]
fn what_holds_objects_is_emptied() {
    HeapMemory::limit(|_| !SHORT.load(Ordering::Relaxed));
    let epoch: &'static Epoch = Box::leak(Box::new(Epoch::new()));
    epoch.online(0);
    let environment = MapEnvironment { cpus: 1, seed: 7, epoch };
    maps_of_maps(epoch, &environment);
    programs(epoch, &environment);
    events(epoch, &environment);
}

/// Runs with a heap that gives nothing; what was taken out goes then.
fn without_memory(epoch: &Epoch, map: &Map, empty: impl FnOnce()) {
    SHORT.store(true, Ordering::Relaxed);
    empty();
    epoch.quiesce(0);
    map.let_go();
    SHORT.store(false, Ordering::Relaxed);
    assert!(!map.keeps_retired());
}

fn maps_of_maps(epoch: &Epoch, environment: &MapEnvironment) {
    for kind in [MapType::ArrayOfMaps, MapType::HashOfMaps] {
        let new = || {
            let inner = Map::create::<CloudProfile>(def(MapType::Array, 1), environment);
            Arc::new(inner.unwrap())
        };
        let inner: Vec<Arc<Map>> = (0..100).map(|_| new()).collect();
        let extras = MapExtras { inner: Some(new()), ..Default::default() };
        let map = Map::create_with::<CloudProfile>(def(kind, 200), &extras, environment).unwrap();
        for (index, inner) in (0u32..).zip(&inner) {
            // Replaced once, so that some wait for their readers already.
            map.set_map(&index.to_ne_bytes(), new(), 0).unwrap();
            map.set_map(&index.to_ne_bytes(), Arc::clone(inner), 0).unwrap();
        }
        without_memory(epoch, &map, || {
            for index in 0u32..100 {
                map.delete(&index.to_ne_bytes()).unwrap();
            }
        });
        assert!(inner.iter().all(|inner| Arc::strong_count(inner) == 1), "{kind:?}");
    }
}

fn programs(epoch: &Epoch, environment: &MapEnvironment) {
    let verified = program();
    let program = Arc::new(Interpreter::<CloudProfile>::new(&verified).unwrap());
    let map = Map::create::<CloudProfile>(def(MapType::ProgArray, 100), environment).unwrap();
    for index in 0u32..100 {
        let target = Arc::new(TailTarget::new(Arc::clone(&program), |program| program, 1));
        map.set_program(&index.to_ne_bytes(), target, 0).unwrap();
    }
    without_memory(epoch, &map, || assert!(map.clear_programs()));
    assert_eq!(Arc::strong_count(&program), 1);
}

fn events(epoch: &Epoch, environment: &MapEnvironment) {
    let sink = Arc::new(Sink);
    let map = Map::create::<CloudProfile>(def(MapType::PerfEventArray, 100), environment).unwrap();
    for index in 0u32..100 {
        let sink = Arc::clone(&sink) as Arc<dyn EventSink>;
        map.set_event(&index.to_ne_bytes(), sink, 0).unwrap();
    }
    without_memory(epoch, &map, || map.remove_events_of(1));
    assert_eq!(Arc::strong_count(&sink), 1);
}
