//! [`LoadedMap`]: a map with its number and name, as `bpf(2)` knows it.

use alloc::sync::Arc;
use core::ops::Deref;
use core::sync::atomic::{AtomicUsize, Ordering};

use kernel_abi::bpf::OBJ_NAME_LEN;
use kernel_bpf::map::{Map, MapType};

use super::BpfManager;
use super::btf::LoadedBtf;
use crate::mcore;

/// A map that user space has created. Programs share its [`Map`], and hold this object; so do
/// descriptors and pins, as [`UserMap`].
pub struct LoadedMap {
    pub id: u32,
    pub name: [u8; OBJ_NAME_LEN],
    pub map: Arc<Map>,
    /// What keys and values are, if the loader said.
    pub types: Option<MapTypes>,
    /// Descriptors and pins.
    pub(super) users: AtomicUsize,
}

/// A map as descriptors and pins hold it: when the last of them is gone, a program array is emptied
/// (Linux: `bpf_map_put_with_uref`). The programs in it may use it themselves, and would hold it and
/// each other for good.
pub struct UserMap(Arc<LoadedMap>);

impl UserMap {
    pub fn new(map: Arc<LoadedMap>) -> Self {
        map.users.fetch_add(1, Ordering::Relaxed);
        Self(map)
    }
}

impl Clone for UserMap {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl Deref for UserMap {
    type Target = Arc<LoadedMap>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for UserMap {
    fn drop(&mut self) {
        // The programs go when no CPU can be on its way into one.
        if self.0.users.fetch_sub(1, Ordering::AcqRel) == 1 && self.0.map.clear_programs() {
            mcore::synchronize();
            self.0.map.clear_programs();
        }
    }
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
        if let Some(manager) = BpfManager::get() {
            manager.maps.remove(self.id);
        }
    }
}
