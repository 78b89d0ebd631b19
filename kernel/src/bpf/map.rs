//! [`LoadedMap`]: a map with its number and name, as `bpf(2)` knows it.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use kernel_abi::bpf::OBJ_NAME_LEN;
use kernel_bpf::map::{Map, MapType};

use super::BpfManager;
use super::btf::LoadedBtf;
use crate::mcore;

/// A map that user space has created. Programs share its [`Map`]; descriptors and pins hold
/// this object.
pub struct LoadedMap {
    pub id: u32,
    pub name: [u8; OBJ_NAME_LEN],
    pub map: Arc<Map>,
    /// What keys and values are, if the loader said.
    pub types: Option<MapTypes>,
}

/// Types of a map's keys and values in a loaded BTF.
#[derive(Clone)]
pub struct MapTypes {
    pub btf: Arc<LoadedBtf>,
    pub key_type_id: u32,
    pub value_type_id: u32,
}

/// How many maps keep something for tasks: without any, the end of a task looks for none.
static TASK_MAPS: AtomicUsize = AtomicUsize::new(0);

impl LoadedMap {
    /// Does something with the elements of the map, which stay what they are for a reader
    /// meanwhile. `act` does not wait.
    #[inline]
    pub fn with<R>(&self, act: impl FnOnce(&Map) -> R) -> R {
        let _reading = mcore::reading();
        act(&self.map)
    }

    /// Lets go of what a change took out of the map, when no program can see it any more. The
    /// caller reads nothing.
    pub fn let_go(&self) {
        if self.map.keeps_retired() {
            mcore::synchronize();
            self.map.let_go();
        }
    }

    /// Counts a new map among those that keep something for tasks, if it is one.
    pub(super) fn count(&self) {
        if self.map.def().map_type == MapType::TaskStorage {
            TASK_MAPS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Removes what maps keep for a task that ends.
pub(super) fn forget_task(identity: u64) {
    if TASK_MAPS.load(Ordering::Relaxed) == 0 {
        return;
    }
    let Some(manager) = BpfManager::get() else { return };
    let mut id = 0;
    while let Some((next, map)) = manager.maps.next_after(id) {
        // Most maps are of other types, or have nothing for it.
        let _ = map.with(|map| map.forget_task(identity));
        id = next;
    }
}

impl Drop for LoadedMap {
    fn drop(&mut self) {
        if self.map.def().map_type == MapType::TaskStorage {
            TASK_MAPS.fetch_sub(1, Ordering::Relaxed);
        }
        // The programs in an array may use the array: nobody else would let them go. They go
        // when no CPU can be on its way into one.
        if self.map.clear_programs() {
            mcore::synchronize();
            self.map.clear_programs();
        }
        if let Some(manager) = BpfManager::get() {
            manager.maps.remove(self.id);
        }
    }
}
