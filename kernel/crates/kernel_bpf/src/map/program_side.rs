//! What programs do with maps, by way of helpers and inlined code.
//!
//! Addresses that are handed out stay valid until the CPU passes a quiescent state
//! (`epoch`). A frozen map binds system calls only; programs are bound by what the verifier
//! checked.

use super::UpdateMode;
use super::array::ArrayLookup;
use super::error::MapError;
use super::events;
use super::object::{Map, Storage, index};
use super::ringbuf::RingBuffer;
use super::task_storage::CREATE;

/// The parts of an inlined look into a program array or an array of maps.
#[derive(Clone, Copy, Debug)]
pub struct SlotLookup {
    /// Address of the first word; a word is an address, or 0.
    pub base: usize,
    /// Number of words.
    pub entries: u32,
}

/// The number of a CPU, or that of the first, which there always is, where an embedder has said a
/// number that no CPU has: what the verifier has proved of lookups holds all the same.
#[inline(always)]
pub(crate) fn within(cpu: usize, cpus: usize) -> usize {
    if cpu < cpus { cpu } else { 0 }
}

impl Map {
    /// The address of a value, valid until this CPU is quiet; 0 for none
    /// (`bpf_map_lookup_elem`). Of a map of maps the address of the inner [`Map`].
    #[inline]
    #[must_use]
    pub fn value_address(&self, key: &[u8], cpu: usize) -> usize {
        let address = match &self.storage {
            Storage::Hash(hash) => hash.address(key, cpu),
            Storage::Array(array) => index(key).ok().and_then(|index| array.address(index, cpu)),
            Storage::Trie(trie) => trie.address(key),
            Storage::Maps(maps) => index(key).ok().map(|index| maps.address(index)),
            Storage::MapHash(maps) => Some(maps.address(key)),
            _ => None,
        };
        address.unwrap_or(0)
    }

    /// Whether [`Map::word_address`] answers for this map: a hash map with keys of 4 or 8 bytes,
    /// whose elements were allocated when it was created.
    #[must_use]
    pub fn has_word_lookup(&self) -> bool {
        matches!(&self.storage, Storage::Hash(hash) if hash.has_word_lookup())
            && matches!(self.def().key_size, 4 | 8)
    }

    /// The address of a value by its key, zero-extended to a word, if
    /// [`Map::has_word_lookup`]; 0 for none.
    #[inline(always)]
    #[must_use]
    pub fn word_address(&self, key: u64) -> usize {
        if let Storage::Hash(hash) = &self.storage { hash.word_address(key) } else { 0 }
    }

    /// Sets a value; of a per-CPU map, this CPU's (`bpf_map_update_elem`).
    ///
    /// # Errors
    /// As [`Map::update`], frozen maps excepted.
    pub(crate) fn update_on(
        &self,
        key: &[u8],
        value: &[u8],
        flags: u64,
        cpu: usize,
    ) -> Result<(), MapError> {
        match &self.storage {
            Storage::Array(array) => {
                let (mode, lock) = self.mode(flags)?;
                array.write_on(index(key)?, value, mode, lock, cpu)
            }
            Storage::Hash(hash) => {
                let (mode, lock) = self.mode(flags)?;
                hash.write(key, value, mode, lock, Some(cpu))
            }
            Storage::Trie(trie) => trie.write(key, value, UpdateMode::from_flags(flags)?),
            _ => Err(MapError::NotSupported),
        }
    }

    /// Removes a key (`bpf_map_delete_elem`).
    ///
    /// # Errors
    /// As [`Map::delete`], frozen maps excepted.
    pub(crate) fn delete_from_program(&self, key: &[u8]) -> Result<(), MapError> {
        self.remove(key)
    }

    /// Puts a value into a queue, a stack or a bloom filter (`bpf_map_push_elem`).
    ///
    /// # Errors
    /// A full map; flags that the type does not take.
    pub(crate) fn push(&self, value: &[u8], flags: u64) -> Result<(), MapError> {
        match &self.storage {
            Storage::Queue(queue) => queue.push(value, flags),
            Storage::Bloom(bloom) => bloom.push(value, flags),
            _ => Err(MapError::NotSupported),
        }
    }

    /// Takes the next value out of a queue or stack (`bpf_map_pop_elem`).
    ///
    /// # Errors
    /// [`MapError::NotFound`] when it is empty.
    pub(crate) fn pop(&self, out: &mut [u8]) -> Result<(), MapError> {
        match &self.storage {
            Storage::Queue(queue) => queue.next(out, true),
            Storage::Bloom(_) => Err(MapError::Impossible),
            _ => Err(MapError::NotSupported),
        }
    }

    /// Copies the next value of a queue or stack; asks a bloom filter for the value in `out`
    /// (`bpf_map_peek_elem`).
    ///
    /// # Errors
    /// [`MapError::NotFound`] when it is empty or the value is not in the filter.
    pub fn peek(&self, out: &mut [u8]) -> Result<(), MapError> {
        match &self.storage {
            Storage::Queue(queue) => queue.next(out, false),
            Storage::Bloom(bloom) => bloom.peek(out),
            _ => Err(MapError::NotSupported),
        }
    }

    /// Shows every element to `visit`: the addresses of key and value, of a per-CPU map the
    /// value of `cpu`; `visit` says whether to go on. Returns how many were visited
    /// (`bpf_for_each_map_elem`).
    ///
    /// # Errors
    /// A type whose elements cannot be visited.
    pub fn each(
        &self,
        cpu: usize,
        mut visit: impl FnMut(usize, usize) -> bool,
    ) -> Result<u64, MapError> {
        match &self.storage {
            // The verifier counted with this many calls of the callback.
            Storage::Hash(hash) => Ok(hash.each(cpu, u64::from(self.def().max_entries), visit)),
            Storage::Array(array) => Ok(array.each(cpu, |index, value| {
                let key = core::ptr::from_ref(&index).expose_provenance();
                visit(key, value)
            })),
            _ => Err(MapError::Invalid),
        }
    }

    /// Sends a record to a perf event (`bpf_perf_event_output`).
    ///
    /// # Errors
    /// [`MapError::Full`] beyond the array's end, [`MapError::NotFound`] for an empty slot,
    /// [`MapError::Invalid`] for flags that are no index; what the event itself says.
    pub fn output(&self, flags: u64, cpu: usize, data: &[u8]) -> Result<(), MapError> {
        let Storage::Events(sinks) = &self.storage else { return Err(MapError::NotSupported) };
        let index = events::index(flags, cpu)?;
        if index >= self.def().max_entries {
            return Err(MapError::Full);
        }
        sinks.get(index).ok_or(MapError::NotFound)?.record(cpu, data)
    }

    /// Frames that a stack trace map's values have room for; `None` for other maps.
    #[must_use]
    pub fn stack_depth(&self) -> Option<usize> {
        if let Storage::Stacks(stacks) = &self.storage { Some(stacks.depth()) } else { None }
    }

    /// Keeps a stack and returns its number (`bpf_get_stackid`).
    ///
    /// # Errors
    /// [`MapError::Exists`] if another stack has the same number and must not be replaced;
    /// unknown flags.
    pub fn keep_stack(&self, frames: &[u64], flags: u64) -> Result<u32, MapError> {
        match &self.storage {
            Storage::Stacks(stacks) => stacks.insert(frames, flags),
            _ => Err(MapError::NotSupported),
        }
    }

    /// The address of a task's value; with `BPF_LOCAL_STORAGE_GET_F_CREATE` it is made from
    /// `initial`, or zeros, if there is none. 0 if there is none then either
    /// (`bpf_task_storage_get`).
    #[must_use]
    pub fn task_value(&self, task: u64, initial: Option<&[u8]>, flags: u64) -> usize {
        let Storage::Tasks(hash) = &self.storage else { return 0 };
        if flags & !CREATE != 0 {
            return 0;
        }
        let key = task.to_ne_bytes();
        if flags & CREATE != 0 && hash.address(&key, 0).is_none() {
            // Somebody else may be faster, or the map be full: the lookup tells.
            let _ = hash.write(&key, initial.unwrap_or(&[]), UpdateMode::NoExist, false, None);
        }
        hash.address(&key, 0).unwrap_or(0)
    }

    /// The ring buffer, if that is what the map is.
    #[must_use]
    pub fn ring(&self) -> Option<&RingBuffer> {
        if let Storage::Ring(ring) = &self.storage { Some(ring) } else { None }
    }

    /// The parts of an inlined lookup, if the map is an array.
    #[must_use]
    pub fn array_lookup(&self) -> Option<ArrayLookup> {
        if let Storage::Array(array) = &self.storage { Some(array.lookup_parts()) } else { None }
    }

    /// The slots of a program array, each the address of a [`super::TailEntry`]; the slots of
    /// an array of maps, each the address of a [`Map`].
    #[must_use]
    pub fn slot_lookup(&self) -> Option<SlotLookup> {
        let base = match &self.storage {
            Storage::Programs(programs) => programs.slots().base(),
            Storage::Maps(maps) => maps.base(),
            _ => return None,
        };
        Some(SlotLookup { base, entries: self.def().max_entries })
    }

    /// The address of the [`super::TailEntry`] in a program array's slot; 0 for none.
    #[inline]
    pub(crate) fn tail_entry(&self, index: u32) -> usize {
        match &self.storage {
            Storage::Programs(programs) => programs.slots().address(index),
            _ => 0,
        }
    }
}
