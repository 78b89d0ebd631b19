//! Maps of maps (`BPF_MAP_TYPE_ARRAY_OF_MAPS`, `BPF_MAP_TYPE_HASH_OF_MAPS`).
//!
//! A program that looks up a key gets the inner map itself. Every inner map has the shape that
//! the outer one was created with ([`same_shape`]), so that the verifier can check what a
//! program does with whichever it gets. Only system calls change the outer map; an inner map
//! that was taken out lives on until no program can hold it ([`Map::let_go`]).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering, fence};

use kernel_sync::SpinLock;

use super::def::{MapDef, MapType, flags};
use super::epoch::Epoch;
use super::error::{MapError, UpdateMode};
use super::hash::{Hash, Rows};
use super::object::Map;
use super::slots::Retired;
use super::user_side::copy_id;
use crate::memory::make_room;

/// Bytes of what a hash of maps keeps for each key: the inner map's address.
pub(super) const ADDRESS_BYTES: usize = 8;

/// Whether a map may stand where one like `meta` is expected (Linux: `bpf_map_meta_equal`).
pub(super) fn same_shape(meta: &MapDef, map: &MapDef) -> bool {
    let any_length = meta.flags & flags::INNER_MAP != 0;
    meta.map_type == map.map_type
        && meta.key_size == map.key_size
        && meta.value_size == map.value_size
        && meta.flags == map.flags
        && (any_length
            || !matches!(meta.map_type, MapType::Array | MapType::PercpuArray)
            || meta.max_entries == map.max_entries)
}

/// Whether maps of a type can be inner maps.
pub(super) fn may_be_inner(map_type: MapType) -> Result<(), MapError> {
    match map_type {
        MapType::ArrayOfMaps | MapType::HashOfMaps => Err(MapError::Invalid),
        MapType::ProgArray => Err(MapError::NotSupported),
        _ => Ok(()),
    }
}

/// A map inside, with what the embedder wants to live as long as it is there.
pub(super) struct Inner {
    pub(super) map: Arc<Map>,
    _owner: Option<Arc<dyn Any + Send + Sync>>,
}

impl Inner {
    pub(super) fn new(map: Arc<Map>, owner: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        Self { map, _owner: owner }
    }

    /// What programs find.
    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.map).expose_provenance()
    }
}

/// A hash map whose values are maps.
pub(super) struct MapHash {
    /// Keys, and the addresses of the maps, for programs.
    hash: Hash,
    /// The maps, sorted by address, with how often each occurs. Held while `hash` changes.
    held: SpinLock<Held>,
    epoch: &'static Epoch,
}

struct Held {
    maps: Vec<(usize, u32, Arc<Inner>)>,
    /// Has room for all of `maps`.
    retired: Retired<Inner>,
}

impl MapHash {
    pub(super) fn new(hash: Hash, epoch: &'static Epoch) -> Self {
        let held = SpinLock::new(Held { maps: Vec::new(), retired: Retired::new() });
        Self { hash, held, epoch }
    }

    /// Keys and addresses.
    pub(super) fn hash(&self) -> &Hash {
        &self.hash
    }

    /// The address of the inner map for a program.
    #[inline]
    pub(super) fn address(&self, key: &[u8]) -> usize {
        let mut address = [0; ADDRESS_BYTES];
        match self.hash.read(key, &mut address, false) {
            Ok(()) => {
                // With `set`'s: what is behind the address has been made.
                fence(Ordering::Acquire);
                u64::from_ne_bytes(address) as usize
            }
            Err(_) => 0,
        }
    }

    /// The inner map of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<Arc<Map>> {
        let held = self.held.lock();
        let address = self.address(key);
        held.inner(address).map(|inner| Arc::clone(&inner.map))
    }

    /// Sets the inner map of a key.
    pub(super) fn set(
        &self,
        key: &[u8],
        inner: Arc<Inner>,
        mode: UpdateMode,
    ) -> Result<(), MapError> {
        let address = inner.address();
        let mut held = self.held.lock();
        let places = held.maps.len() + 1;
        held.retired.reserve(places)?;
        if !make_room(&mut held.maps, 1) {
            return Err(MapError::OutOfMemory);
        }
        let old = self.address(key);
        // Where the key is there already, its value is replaced by a plain store.
        fence(Ordering::Release);
        self.hash.write(key, &(address as u64).to_ne_bytes(), mode, false, None)?;
        match held.maps.binary_search_by_key(&address, |(address, ..)| *address) {
            Ok(at) => {
                if let Some((_, count, _)) = held.maps.get_mut(at) {
                    *count += 1;
                }
            }
            Err(at) => held.maps.insert(at, (address, 1, inner)),
        }
        held.forget(old, self.epoch);
        Ok(())
    }

    /// Copies a bucket's keys and the numbers of their maps, and removes them if `remove`, as
    /// [`Hash::bucket`].
    pub(super) fn bucket(&self, bucket: u32, into: &mut Rows<'_>) -> Result<u32, MapError> {
        let mut held = self.held.lock();
        let number_of = |words: &[AtomicU64], out: &mut [u8]| {
            let mut address = [0; ADDRESS_BYTES];
            self.hash.copy_value(words, &mut address)?;
            let inner = held.inner(u64::from_ne_bytes(address) as usize);
            copy_id(inner.map(|inner| inner.map.id()), out)
        };
        let count = self.hash.bucket(bucket, false, into, number_of)?;
        if !into.remove {
            return Ok(count);
        }
        for key in into.keys.chunks_exact(into.key_bytes).take(count as usize) {
            let old = self.address(key);
            self.hash.remove(key)?;
            held.forget(old, self.epoch);
        }
        Ok(count)
    }

    /// Whether any map that was taken out is still kept.
    pub(super) fn keeps_retired(&self) -> bool {
        !self.held.lock().retired.is_empty()
    }

    /// Drops the maps that were taken out and nobody can see.
    pub(super) fn let_go(&self) {
        while self.take_unseen().is_some() {}
    }

    fn take_unseen(&self) -> Option<Arc<Inner>> {
        self.held.lock().retired.take_unseen(self.epoch)
    }

    /// Removes a key.
    pub(super) fn remove(&self, key: &[u8]) -> Result<(), MapError> {
        let mut held = self.held.lock();
        let old = self.address(key);
        self.hash.remove(key)?;
        held.forget(old, self.epoch);
        Ok(())
    }
}

impl Held {
    fn inner(&self, address: usize) -> Option<&Inner> {
        let at = self.maps.binary_search_by_key(&address, |(address, ..)| *address).ok()?;
        self.maps.get(at).map(|(.., inner)| &**inner)
    }

    /// One occurrence less; the last one is retired.
    fn forget(&mut self, address: usize, epoch: &Epoch) {
        let Ok(at) = self.maps.binary_search_by_key(&address, |(address, ..)| *address) else {
            return;
        };
        let Some((_, count, _)) = self.maps.get_mut(at) else { return };
        *count -= 1;
        if *count == 0 {
            let (.., map) = self.maps.remove(at);
            self.retired.keep(map, epoch);
        }
    }
}
