//! [`Map`]: one object for programs and for system calls, whatever its type.
//!
//! Here is what every map has: its definition, its number, its memory, and whether it may still be
//! changed. The two sides differ: a system call copies values out and in, sees every CPU's value
//! of a per-CPU map, and is refused by a frozen map (`user_side`); a program gets the address of a
//! value, of its own CPU (`program_side`). `contents` is about maps that hold programs, maps and
//! events, `create` makes maps.

use core::sync::atomic::{AtomicU32, Ordering};

use super::array::Array;
use super::bloom::Bloom;
use super::changes::Changes;
use super::create::{Meta, is_per_cpu};
use super::def::{MapDef, MapRef, ValueFields, flags};
use super::epoch::Epoch;
use super::error::MapError;
use super::events::EventSink;
use super::hash::Hash;
use super::lpm_trie::LpmTrie;
use super::nested::{Inner, MapHash};
use super::prog_array::ProgArray;
use super::queue::Queue;
use super::ringbuf::{RingBuffer, UserPage};
use super::slots::Slots;
use super::stack_trace::StackTraces;
use crate::memory::PAGE_SIZE;

/// What a map takes from the machine it is created on.
#[derive(Clone, Copy)]
pub struct MapEnvironment {
    /// CPUs that may ever run programs: a per-CPU map has that many values for each key.
    pub cpus: usize,
    /// A random number that keys a hash map's hash.
    pub seed: u64,
    /// Tells when no program can see what was removed.
    pub epoch: &'static Epoch,
}

/// A map.
pub struct Map {
    pub(super) def: MapDef,
    pub(super) storage: Storage,
    pub(super) fields: ValueFields,
    map_extra: u64,
    /// Bytes of a value as system calls pass it.
    pub(super) value_bytes: usize,
    pub(super) inner: Option<Meta>,
    changes: Changes,
    id: AtomicU32,
    bytes: usize,
}

/// What is behind a map.
pub(super) enum Storage {
    Array(Array),
    Hash(Hash),
    Ring(RingBuffer),
    Programs(ProgArray),
    Events(Slots<dyn EventSink>),
    Maps(Slots<Inner>),
    MapHash(MapHash),
    Trie(LpmTrie),
    Queue(Queue),
    Bloom(Bloom),
    Stacks(StackTraces),
    Tasks(Hash),
}

impl Map {
    /// A map of parts that fit together (`create`).
    pub(super) fn assemble(
        def: MapDef,
        (fields, map_extra): (ValueFields, u64),
        storage: Storage,
        inner: Option<Meta>,
        bytes: usize,
        cpus: usize,
    ) -> Self {
        let value = def.value_size as usize;
        let value_bytes =
            if is_per_cpu(def.map_type) { value.next_multiple_of(8) * cpus } else { value };
        let (changes, id) = (Changes::open(), AtomicU32::new(0));
        Self { def, storage, fields, map_extra, value_bytes, inner, changes, id, bytes }
    }

    /// The definition that the map was created with.
    #[must_use]
    pub fn def(&self) -> &MapDef {
        &self.def
    }

    /// `map_extra`, as the creator gave it.
    #[must_use]
    pub fn map_extra(&self) -> u64 {
        self.map_extra
    }

    pub(super) fn meta(&self) -> Meta {
        Meta { def: self.def, fields: self.fields }
    }

    /// The number by which user space knows the map; 0 before the embedder gives it one.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id.load(Ordering::Relaxed)
    }

    /// Gives the map its number.
    pub fn set_id(&self, id: u32) {
        self.id.store(id, Ordering::Relaxed);
    }

    /// Whether the map has a value for each CPU.
    #[inline]
    #[must_use]
    pub fn is_per_cpu(&self) -> bool {
        is_per_cpu(self.def.map_type)
    }

    /// Bytes of a value as system calls pass it: for per-CPU maps every CPU's value, each
    /// rounded up to 8 bytes.
    #[inline]
    #[must_use]
    pub fn user_value_size(&self) -> usize {
        self.value_bytes
    }

    /// How many values each key has: one for each CPU of per-CPU maps.
    #[must_use]
    pub fn cpus(&self) -> usize {
        match &self.storage {
            Storage::Array(array) => array.cpus(),
            Storage::Hash(hash) => hash.cpus(),
            _ => 1,
        }
    }

    /// Bytes of memory that the map took when it was created (`memlock`).
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// From now on system calls cannot begin to change the map (`BPF_MAP_FREEZE`). Those that are
    /// at it may go on: what the map holds is not taken for constant before [`Map::settle`].
    ///
    /// # Errors
    /// [`MapError::Busy`] when it is frozen already or has a [`Writer`](super::Writer);
    /// [`MapError::NotSupported`] for values with locks or timers.
    pub fn freeze(&self) -> Result<(), MapError> {
        if !self.fields.is_empty() {
            return Err(MapError::NotSupported);
        }
        self.changes.freeze()
    }

    /// Tells that every change that was under way when the map was frozen has ended. If programs
    /// cannot write it either, the verifier may from now on rely on what it holds.
    pub fn settle(&self) {
        self.changes.settle();
    }

    /// Whether system calls can no longer change the map.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.changes.are_over()
    }

    pub(super) fn changes(&self) -> &Changes {
        &self.changes
    }

    #[inline]
    pub(super) fn writable(&self) -> Result<(), MapError> {
        if self.is_frozen() { Err(MapError::Forbidden) } else { Ok(()) }
    }

    /// How many keys or values the map has; an array's length; 0 for a ring buffer.
    #[must_use]
    pub fn entries(&self) -> u32 {
        match &self.storage {
            Storage::Hash(hash) | Storage::Tasks(hash) => hash.live(),
            Storage::MapHash(maps) => maps.hash().live(),
            Storage::Trie(trie) => trie.live(),
            Storage::Queue(queue) => queue.len(),
            Storage::Stacks(stacks) => stacks.len(),
            Storage::Ring(_) | Storage::Bloom(_) => 0,
            Storage::Array(_) | Storage::Programs(_) | Storage::Events(_) | Storage::Maps(_) => {
                self.def.max_entries
            }
        }
    }

    /// Page `index` of what `mmap` of the map shows, if the map can be mapped: a ring
    /// buffer's pages, or the values of an array created with `BPF_F_MMAPABLE`. The pages stay
    /// until the map is dropped.
    #[must_use]
    pub fn user_page(&self, index: usize) -> Option<UserPage> {
        match &self.storage {
            Storage::Ring(ring) => ring.user_page(index),
            // A lock that processes could write to would hang whoever takes it.
            Storage::Array(array)
                if self.def.flags & flags::MMAPABLE != 0 && self.fields.is_empty() =>
            {
                let offset = index.checked_mul(PAGE_SIZE)?;
                (offset < array.region().size()).then(|| UserPage {
                    address: array.region().address() + offset,
                    writable: !self.is_frozen() && self.def.program_may_write(),
                })
            }
            _ => None,
        }
    }
}

/// A key that is an index.
#[inline]
pub(super) fn index(key: &[u8]) -> Result<u32, MapError> {
    key.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(MapError::Invalid)
}

impl MapRef for Map {
    fn def(&self) -> MapDef {
        self.def
    }

    fn read_frozen(&self, offset: u32, into: &mut [u8]) -> bool {
        let Storage::Array(array) = &self.storage else { return false };
        !self.def.program_may_write()
            && self.changes.are_settled()
            && array.read_at(offset as usize, into)
    }

    fn inner_def(&self) -> Option<MapDef> {
        self.inner.map(|meta| meta.def)
    }

    fn value_fields(&self) -> ValueFields {
        self.fields
    }

    fn inner_fields(&self) -> ValueFields {
        self.inner.map(|meta| meta.fields).unwrap_or_default()
    }
}
