//! [`LoadedMap`]: a map with its number and name, as `bpf(2)` knows it.

use alloc::sync::Arc;

use kernel_abi::bpf::OBJ_NAME_LEN;
use kernel_bpf::map::Map;

use super::BpfManager;
use super::btf::LoadedBtf;

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

impl Drop for LoadedMap {
    fn drop(&mut self) {
        // The programs in an array may use the array: nobody else would let them go. They go
        // when no CPU can be on its way into one.
        if self.map.clear_programs() {
            super::synchronize();
            self.map.clear_programs();
        }
        if let Some(manager) = BpfManager::get() {
            manager.maps.remove(self.id);
        }
    }
}
