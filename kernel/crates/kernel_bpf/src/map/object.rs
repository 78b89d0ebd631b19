//! [`Map`]: one object for programs and for system calls, whatever its type.
//!
//! The two sides differ: a system call copies values out and in, sees every CPU's value of a
//! per-CPU map, and is refused by a frozen map; a program gets the address of a value, of its
//! own CPU. Here is the side of system calls; `program_side` has the other, `create` makes
//! maps. Operations that a type does not have are refused with Linux's error.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

use super::array::Array;
use super::bloom::Bloom;
use super::changes::Changes;
use super::create::{Meta, is_per_cpu};
use super::def::{MapDef, MapRef, ValueFields, flags};
use super::epoch::Epoch;
use super::error::{F_LOCK, MapError, UpdateMode};
use super::events::EventSink;
use super::hash::{Hash, Rows};
use super::lpm_trie::LpmTrie;
use super::nested::{Inner, MapHash, same_shape};
use super::prog_array::{ProgArray, ProgramKind, TailTarget};
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
    def: MapDef,
    pub(super) storage: Storage,
    fields: ValueFields,
    map_extra: u64,
    /// Bytes of a value as system calls pass it.
    value_bytes: usize,
    inner: Option<Meta>,
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
        if self.is_per_cpu() {
            self.value_bytes / (self.def.value_size as usize).next_multiple_of(8)
        } else {
            1
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
    fn writable(&self) -> Result<(), MapError> {
        if self.is_frozen() { Err(MapError::Forbidden) } else { Ok(()) }
    }

    /// Mode and lock of an update; a lock only where values have one.
    #[inline]
    pub(super) fn mode(&self, flags: u64) -> Result<(UpdateMode, bool), MapError> {
        let lock = flags & F_LOCK != 0;
        if lock && self.fields.spin_lock.is_none() {
            return Err(MapError::Invalid);
        }
        Ok((UpdateMode::from_flags(flags & !F_LOCK)?, lock))
    }

    /// Copies the value of `key` to `out`, which has `user_value_size` bytes
    /// (`BPF_MAP_LOOKUP_ELEM`). Of a queue or stack the next value, with an empty key; of a
    /// bloom filter whether the value in `out` was put in; of maps of programs and maps the
    /// number of what is there.
    ///
    /// # Errors
    /// No such key; a type without values.
    #[inline]
    pub fn lookup(&self, key: &[u8], out: &mut [u8]) -> Result<(), MapError> {
        self.lookup_with(key, out, 0)
    }

    /// As [`Map::lookup`], with flags: [`F_LOCK`] copies while the value's lock is held.
    ///
    /// # Errors
    /// As [`Map::lookup`]; [`MapError::Invalid`] for other flags, or without a lock.
    pub fn lookup_with(&self, key: &[u8], out: &mut [u8], flags: u64) -> Result<(), MapError> {
        let lock = flags == F_LOCK;
        if out.len() < self.value_bytes
            || flags & !F_LOCK != 0
            || lock && self.fields.spin_lock.is_none()
        {
            return Err(MapError::Invalid);
        }
        match &self.storage {
            Storage::Array(array) => array.read(index(key)?, out, lock)?,
            Storage::Hash(hash) => hash.read(key, out, lock)?,
            Storage::Trie(trie) => trie.read(key, out)?,
            Storage::Queue(queue) => queue.next(out, false)?,
            Storage::Bloom(bloom) => bloom.peek(out)?,
            Storage::Stacks(stacks) => stacks.read(index(key)?, out, false)?,
            Storage::Programs(programs) => {
                let id = programs.slots().get(index(key)?).map(|program| program.id());
                copy_id(id, out)?;
            }
            Storage::Maps(maps) => {
                copy_id(maps.get(index(key)?).map(|inner| inner.map.id()), out)?;
            }
            Storage::MapHash(maps) => copy_id(maps.get(key).map(|map| map.id()), out)?,
            Storage::Ring(_) | Storage::Events(_) | Storage::Tasks(_) => {
                return Err(MapError::NotSupported);
            }
        }
        // On a machine with one CPU its value is copied alone: the rounding up is left.
        if self.value_bytes > self.def.value_size as usize
            && self.value_bytes - (self.def.value_size as usize) < 8
            && let Some(padding) = out.get_mut(self.def.value_size as usize..self.value_bytes)
        {
            padding.fill(0);
        }
        Ok(())
    }

    /// Sets the value of `key` (`BPF_MAP_UPDATE_ELEM`); puts a value into a queue, stack or
    /// bloom filter, with an empty key. What maps of programs, maps and events hold is set by
    /// [`Map::set_program`], [`Map::set_map`] and [`Map::set_event`].
    ///
    /// # Errors
    /// Flags that forbid it, a full map, a frozen map, a type without values.
    #[inline]
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), MapError> {
        self.writable()?;
        if value.len() < self.value_bytes {
            return Err(MapError::Invalid);
        }
        match &self.storage {
            Storage::Array(array) => {
                let (mode, lock) = self.mode(flags)?;
                array.write(index(key)?, value, mode, lock)
            }
            Storage::Hash(hash) => {
                let (mode, lock) = self.mode(flags)?;
                hash.write(key, value, mode, lock, None)
            }
            Storage::Trie(trie) => trie.write(key, value, UpdateMode::from_flags(flags)?),
            Storage::Queue(queue) => queue.push(value, flags),
            Storage::Bloom(bloom) => bloom.push(value, flags),
            Storage::Stacks(_) => Err(MapError::Invalid),
            Storage::Ring(_)
            | Storage::Events(_)
            | Storage::Programs(_)
            | Storage::Maps(_)
            | Storage::MapHash(_)
            | Storage::Tasks(_) => Err(MapError::NotSupported),
        }
    }

    /// Removes `key` (`BPF_MAP_DELETE_ELEM`).
    ///
    /// # Errors
    /// No such key; a frozen map; arrays, whose keys always exist.
    #[inline]
    pub fn delete(&self, key: &[u8]) -> Result<(), MapError> {
        self.writable()?;
        self.remove(key)
    }

    /// Copies the value of `key` to `out` and removes the key; takes the next value out of a
    /// queue or stack (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`).
    ///
    /// # Errors
    /// As for lookup and delete.
    pub fn lookup_and_delete(&self, key: &[u8], out: &mut [u8]) -> Result<(), MapError> {
        self.lookup_and_delete_with(key, out, 0)
    }

    /// The same with flags: [`F_LOCK`] for values with a lock.
    ///
    /// # Errors
    /// As for lookup and delete.
    pub fn lookup_and_delete_with(
        &self,
        key: &[u8],
        out: &mut [u8],
        flags: u64,
    ) -> Result<(), MapError> {
        self.writable()?;
        let lock = flags & F_LOCK != 0;
        if out.len() < self.value_bytes
            || flags & !F_LOCK != 0
            || lock && self.fields.spin_lock.is_none()
        {
            return Err(MapError::Invalid);
        }
        match &self.storage {
            Storage::Hash(hash) => hash.take_out(key, out, lock),
            Storage::Queue(queue) => queue.next(out, true),
            Storage::Stacks(stacks) => stacks.read(index(key)?, out, true),
            _ => Err(MapError::NotSupported),
        }
    }

    /// Copies the key that follows `key` to `out`; the first one for `None` and for a key
    /// that is not in the map (`BPF_MAP_GET_NEXT_KEY`).
    ///
    /// # Errors
    /// [`MapError::NotFound`] after the last key; a type without keys.
    pub fn next_key(&self, key: Option<&[u8]>, out: &mut [u8]) -> Result<(), MapError> {
        let number = || key.map(index).transpose();
        let next = match &self.storage {
            Storage::Array(_) | Storage::Programs(_) | Storage::Events(_) | Storage::Maps(_) => {
                self.next_index(number()?)?
            }
            Storage::Stacks(stacks) => stacks.next(number()?)?,
            Storage::Hash(hash) => return hash.next(key, out),
            Storage::MapHash(maps) => return maps.hash().next(key, out),
            Storage::Trie(trie) => return trie.next(key, out),
            Storage::Queue(_) => return Err(MapError::Invalid),
            Storage::Bloom(_) => return Err(MapError::Impossible),
            Storage::Ring(_) | Storage::Tasks(_) => return Err(MapError::NotSupported),
        };
        *out.first_chunk_mut().ok_or(MapError::Invalid)? = next.to_ne_bytes();
        Ok(())
    }

    /// The index after `index`; the first for none or one that is out of range.
    fn next_index(&self, index: Option<u32>) -> Result<u32, MapError> {
        match index {
            Some(index) if index < self.def.max_entries => {
                let next = index + 1;
                if next < self.def.max_entries { Ok(next) } else { Err(MapError::NotFound) }
            }
            _ => Ok(0),
        }
    }

    /// Removes a key, whoever asks.
    #[inline]
    pub(super) fn remove(&self, key: &[u8]) -> Result<(), MapError> {
        match &self.storage {
            Storage::Array(_) | Storage::Queue(_) => Err(MapError::Invalid),
            Storage::Hash(hash) => hash.remove(key),
            Storage::Trie(trie) => trie.remove(key),
            Storage::Stacks(stacks) => stacks.remove(index(key)?),
            Storage::Programs(programs) => emptied(programs.slots().set(index(key)?, None)),
            Storage::Events(events) => emptied(events.set(index(key)?, None)),
            Storage::Maps(maps) => emptied(maps.set(index(key)?, None)),
            Storage::MapHash(maps) => maps.remove(key),
            Storage::Bloom(_) => Err(MapError::Impossible),
            Storage::Ring(_) | Storage::Tasks(_) => Err(MapError::NotSupported),
        }
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
            Storage::Array(array) if self.def.flags & flags::MMAPABLE != 0 => {
                let offset = index.checked_mul(PAGE_SIZE)?;
                (offset < array.region().size()).then(|| UserPage {
                    address: array.region().address() + offset,
                    writable: !self.is_frozen() && self.def.program_may_write(),
                })
            }
            _ => None,
        }
    }

    // --- Whole buckets, for batch operations on hash maps ---

    /// How many buckets a hash map has; `None` for other types.
    #[must_use]
    pub fn buckets(&self) -> Option<u32> {
        match &self.storage {
            Storage::Hash(hash) => Some(hash.buckets()),
            Storage::MapHash(maps) => Some(maps.hash().buckets()),
            _ => None,
        }
    }

    /// Copies a bucket's keys and values out, and removes them if `into` says so
    /// (`BPF_MAP_LOOKUP_BATCH`). Returns how many there were. The values of a map of maps are its
    /// maps' numbers.
    ///
    /// # Errors
    /// [`MapError::NoSpace`], and nothing is done, if there are more than there is room for; a
    /// frozen map, if anything is to be removed; a lock where values have none; a map that is no
    /// hash map.
    pub fn bucket(&self, bucket: u32, into: &mut Rows<'_>) -> Result<u32, MapError> {
        if into.remove {
            self.writable()?;
        }
        let lock = into.lock;
        self.check_lock(lock)?;
        match &self.storage {
            Storage::Hash(hash) => hash.bucket(bucket, into.remove, into, |words, value| {
                hash.copy_locked(words, value, lock)
            }),
            Storage::MapHash(maps) => maps.bucket(bucket, into),
            _ => Err(MapError::NotSupported),
        }
    }

    /// Whether values have a lock, if one is to be held.
    ///
    /// # Errors
    /// [`MapError::Invalid`] if they have none.
    pub fn check_lock(&self, lock: bool) -> Result<(), MapError> {
        if lock && self.fields.spin_lock.is_none() { Err(MapError::Invalid) } else { Ok(()) }
    }

    // --- Maps that hold programs, maps and events ---

    /// Puts a program into a program array.
    ///
    /// # Errors
    /// [`MapError::Invalid`] for flags or a program of another kind than the array's,
    /// [`MapError::Full`] beyond the end, a frozen map, another type of map.
    pub fn set_program(
        &self,
        key: &[u8],
        program: Arc<TailTarget>,
        flags: u64,
    ) -> Result<(), MapError> {
        self.writable()?;
        let Storage::Programs(programs) = &self.storage else {
            return Err(MapError::NotSupported);
        };
        no_flags(flags)?;
        programs.set(index(key)?, program)
    }

    /// A program of this kind uses the map: program arrays take programs of one kind only, and
    /// other maps do not care.
    ///
    /// # Errors
    /// [`MapError::Invalid`] for a program array of another kind.
    pub fn claim(&self, kind: ProgramKind) -> Result<(), MapError> {
        match &self.storage {
            Storage::Programs(programs) => programs.claim(kind),
            _ => Ok(()),
        }
    }

    /// Empties a program array and lets go of what no program can see any more. Returns whether
    /// programs are left that somebody may see: to be called again when every CPU was quiet.
    ///
    /// To be called when user space has lost the array: programs that hold each other by way of
    /// their arrays would live forever.
    pub fn clear_programs(&self) -> bool {
        match &self.storage {
            Storage::Programs(programs) => programs.slots().clear(),
            _ => false,
        }
    }

    /// Puts a map into a map of maps.
    ///
    /// # Errors
    /// [`MapError::Invalid`] for a map of another shape; else as [`Map::update`].
    pub fn set_map(&self, key: &[u8], map: Arc<Map>, flags: u64) -> Result<(), MapError> {
        self.set_inner(key, Inner::new(map, None), flags)
    }

    /// The same; `owner` lives as long as the map is inside.
    ///
    /// # Errors
    /// As [`Map::set_map`].
    pub fn set_map_of(
        &self,
        key: &[u8],
        map: Arc<Map>,
        owner: Arc<dyn Any + Send + Sync>,
        flags: u64,
    ) -> Result<(), MapError> {
        self.set_inner(key, Inner::new(map, Some(owner)), flags)
    }

    fn set_inner(&self, key: &[u8], inner: Inner, flags: u64) -> Result<(), MapError> {
        self.writable()?;
        let map = &inner.map;
        let meta = self.inner.ok_or(MapError::NotSupported)?;
        if !same_shape(&meta.def, &map.def) || meta.fields != map.fields {
            return Err(MapError::Invalid);
        }
        match &self.storage {
            Storage::Maps(maps) => {
                no_flags(flags)?;
                let address = inner.address();
                maps.set_shown(index(key)?, Some(Arc::new(inner)), address).map(|_| ())
            }
            Storage::MapHash(maps) => {
                maps.set(key, Arc::new(inner), UpdateMode::from_flags(flags)?)
            }
            _ => Err(MapError::NotSupported),
        }
    }

    /// Whether the map keeps programs, maps or events that were taken out of it or replaced,
    /// until somebody lets go of them.
    #[must_use]
    pub fn keeps_retired(&self) -> bool {
        match &self.storage {
            Storage::Programs(programs) => programs.slots().keeps_retired(),
            Storage::Events(events) => events.keeps_retired(),
            Storage::Maps(maps) => maps.keeps_retired(),
            Storage::MapHash(maps) => maps.keeps_retired(),
            _ => false,
        }
    }

    /// Lets go of what was taken out and no program can see any more. To be called after changes,
    /// when every CPU was quiet, where what goes may wait in its end.
    pub fn let_go(&self) {
        match &self.storage {
            Storage::Programs(programs) => programs.slots().let_go(),
            Storage::Events(events) => events.let_go(),
            Storage::Maps(maps) => maps.let_go(),
            Storage::MapHash(maps) => maps.let_go(),
            _ => {}
        }
    }

    /// Puts a sink into a perf event array.
    ///
    /// # Errors
    /// As [`Map::set_program`].
    pub fn set_event(
        &self,
        key: &[u8],
        sink: Arc<dyn EventSink>,
        flags: u64,
    ) -> Result<(), MapError> {
        self.writable()?;
        let Storage::Events(events) = &self.storage else { return Err(MapError::NotSupported) };
        no_flags(flags)?;
        events.set(index(key)?, Some(sink)).map(|_| ())
    }

    // --- Task local storage ---

    /// Copies a task's value out.
    ///
    /// # Errors
    /// No value; another type of map.
    pub fn lookup_task(&self, task: u64, out: &mut [u8]) -> Result<(), MapError> {
        let Storage::Tasks(hash) = &self.storage else { return Err(MapError::NotSupported) };
        hash.read(&task.to_ne_bytes(), out, false)
    }

    /// Sets a task's value.
    ///
    /// # Errors
    /// As [`Map::update`].
    pub fn update_task(&self, task: u64, value: &[u8], flags: u64) -> Result<(), MapError> {
        self.writable()?;
        let Storage::Tasks(hash) = &self.storage else { return Err(MapError::NotSupported) };
        let (mode, lock) = self.mode(flags)?;
        if value.len() < self.value_bytes {
            return Err(MapError::Invalid);
        }
        hash.write(&task.to_ne_bytes(), value, mode, lock, None)
    }

    /// Removes a task's value: by request, or because the task is gone.
    ///
    /// # Errors
    /// No value; another type of map.
    pub fn forget_task(&self, task: u64) -> Result<(), MapError> {
        let Storage::Tasks(hash) = &self.storage else { return Err(MapError::NotSupported) };
        hash.remove(&task.to_ne_bytes())
    }

    /// Every key, for listings and tests. Not a snapshot: keys may come and go meanwhile.
    #[must_use]
    pub fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut next = alloc::vec![0; self.def.key_size as usize];
        while keys.len() <= self.def.max_entries as usize
            && self.next_key(keys.last().map(Vec::as_slice), &mut next).is_ok()
        {
            keys.push(next.clone());
        }
        keys
    }
}

/// A key that is an index.
#[inline]
pub(super) fn index(key: &[u8]) -> Result<u32, MapError> {
    key.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(MapError::Invalid)
}

/// Arrays of descriptors take `BPF_ANY` alone.
fn no_flags(flags: u64) -> Result<(), MapError> {
    if flags == 0 { Ok(()) } else { Err(MapError::Invalid) }
}

/// Whether a slot that was emptied had something in it.
fn emptied(existed: Result<bool, MapError>) -> Result<(), MapError> {
    if existed? { Ok(()) } else { Err(MapError::NotFound) }
}

pub(super) fn copy_id(id: Option<u32>, out: &mut [u8]) -> Result<(), MapError> {
    let id = id.ok_or(MapError::NotFound)?;
    *out.first_chunk_mut().ok_or(MapError::Invalid)? = id.to_ne_bytes();
    Ok(())
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
