//! Values of CPUs, where the embedder says the number of one that has none. On every engine.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::{ENGINES, load};
use crate::helper::mock::Mock;
use crate::map::{Epoch, Map, MapDef, MapEnvironment, MapType};
use crate::profile::CloudProfile;

/// A map in which the value of key 1 is a hundred and the number of the CPU.
pub(crate) fn hundreds(map_type: MapType, cpus: usize) -> Arc<Map> {
    let epoch: &'static Epoch = Box::leak(Box::new(Epoch::new()));
    let environment = MapEnvironment { cpus, seed: 1, epoch };
    let def = MapDef { map_type, key_size: 4, value_size: 8, max_entries: 2, flags: 0 };
    let map = Map::create::<CloudProfile>(def, &environment).unwrap();
    for cpu in 0..cpus {
        let value = 100 + cpu as u64;
        map.update_on(&1u32.to_ne_bytes(), &value.to_ne_bytes(), 0, cpu).unwrap();
    }
    Arc::new(map)
}

#[test]
fn a_cpu_that_is_not_there_is_taken_for_the_first() {
    let key = "r1 = map[0] ll\n r2 = r10\n r2 += -8\n *(u32 *)(r10 - 8) = 1\n";
    let value = "*(u64 *)(r10 - 16) = 7\n r3 = r10\n r3 += -16\n r4 = 0\n";
    for map_type in [MapType::PercpuArray, MapType::PercpuHash, MapType::LruPercpuHash] {
        // A constant index of an array needs no question whether there is a value.
        let asked = if map_type == MapType::PercpuArray { "" } else { "if r0 == 0 goto +2\n" };
        let read = format!("{key} call 1\n {asked} r0 = *(u64 *)(r0 + 0)\n exit");
        let read = if asked.is_empty() { read } else { format!("{read}\n r0 = 0\n exit") };
        let write = format!("{key} {value} call 2\n {read}");
        for &engine in ENGINES {
            let map = hundreds(map_type, 2);
            let run = |text: &str, cpu: usize| {
                let services = Mock::default();
                services.cpu.store(cpu, Ordering::Relaxed);
                let ready = load(text, core::slice::from_ref(&map), engine).unwrap();
                ready.run(&mut [0; 16], &services)
            };
            for (cpu, expected) in [(0, 100), (1, 101), (2, 100), (5000, 100), (usize::MAX, 100)] {
                assert_eq!(run(&read, cpu), Some(expected), "{map_type:?}, {engine:?}, {cpu}");
            }
            assert_eq!(run(&write, 5000), Some(7), "{map_type:?}, {engine:?}");
            assert_eq!((run(&read, 0), run(&read, 1)), (Some(7), Some(101)));
        }
    }
}
