//! [`Map`]: one object for programs and for system calls, whatever its type.
//!
//! The two sides differ: a system call copies values out and in, sees every CPU's value of a
//! per-CPU map, and is refused by a frozen map; a program gets the address of a value, of its
//! own CPU. Operations that a type does not have are refused with Linux's error.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use super::array::{Array, ArrayLookup};
use super::def::{MapDef, MapRef, MapType, flags};
use super::epoch::Epoch;
use super::error::{MapError, UpdateMode};
use super::hash::{Hash, Shape};
use super::ringbuf::{RingBuffer, UserPage};
use crate::memory::PAGE_SIZE;
use crate::profile::PhysicalProfile;

/// Most bytes of one CPU's value (Linux: `PCPU_MIN_UNIT_SIZE`).
const MAX_PERCPU_VALUE: usize = 32 << 10;
/// Most bytes of a key and a value together (Linux: `KMALLOC_MAX_SIZE`).
const MAX_ELEMENT: usize = 4 << 20;

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
    storage: Storage,
    /// Bytes of a value as system calls pass it.
    value_bytes: usize,
    frozen: AtomicBool,
    bytes: usize,
}

enum Storage {
    Array(Array),
    Hash(Hash),
    Ring(RingBuffer),
}

/// A definition that was checked, and the memory it needs.
struct Plan {
    bytes: usize,
    cpus: usize,
}

fn plan(def: &MapDef, cpus: usize) -> Result<Plan, MapError> {
    let (key, value) = (def.key_size as usize, def.value_size as usize);
    let access = flags::RDONLY | flags::WRONLY | flags::RDONLY_PROG | flags::WRONLY_PROG;
    let allowed = match def.map_type {
        MapType::Array => access | flags::MMAPABLE | flags::NUMA_NODE,
        MapType::PercpuArray => access | flags::NUMA_NODE,
        MapType::Hash => access | flags::NO_PREALLOC | flags::ZERO_SEED | flags::NUMA_NODE,
        MapType::PercpuHash => access | flags::NO_PREALLOC | flags::ZERO_SEED | flags::NUMA_NODE,
        MapType::Ringbuf => flags::NUMA_NODE,
        _ => return Err(MapError::NotSupported),
    };
    let both = |a, b| def.flags & (a | b) == a | b;
    if def.flags & !allowed != 0
        || both(flags::RDONLY, flags::WRONLY)
        || both(flags::RDONLY_PROG, flags::WRONLY_PROG)
        || def.max_entries == 0
        || cpus == 0
    {
        return Err(MapError::Invalid);
    }
    let percpu = matches!(def.map_type, MapType::PercpuArray | MapType::PercpuHash);
    if percpu && value.next_multiple_of(8) > MAX_PERCPU_VALUE {
        return Err(MapError::Full);
    }
    let cpus = if percpu { cpus } else { 1 };
    let bytes = match def.map_type {
        MapType::Array | MapType::PercpuArray => {
            if key != 4 || value == 0 {
                return Err(MapError::Invalid);
            }
            if value > i32::MAX as usize {
                return Err(MapError::Full);
            }
            Array::words(def.max_entries, value, cpus).and_then(|words| words.checked_mul(8))
        }
        MapType::Ringbuf => {
            let size = def.max_entries as usize;
            if key != 0 || value != 0 || !size.is_power_of_two() || !size.is_multiple_of(PAGE_SIZE)
            {
                return Err(MapError::Invalid);
            }
            RingBuffer::words(size).and_then(|words| words.checked_mul(8))
        }
        _ => {
            if key == 0 || value == 0 {
                return Err(MapError::Invalid);
            }
            if key + value >= MAX_ELEMENT {
                return Err(MapError::Full);
            }
            let shape = Shape::new(def.max_entries, key, value, cpus).ok_or(MapError::Full)?;
            if def.flags & flags::NO_PREALLOC != 0 {
                // Only the heads are taken at once.
                (def.max_entries as usize).checked_next_power_of_two().map(|heads| heads * 4)
            } else {
                shape.bytes()
            }
        }
    };
    Ok(Plan { bytes: bytes.ok_or(MapError::OutOfMemory)?, cpus })
}

impl Map {
    /// Checks a definition as `BPF_MAP_CREATE` does, and tells how many bytes creating the map
    /// takes at once.
    ///
    /// # Errors
    /// Sizes, flags or a type that are not supported.
    pub fn memory_needed(def: &MapDef, cpus: usize) -> Result<usize, MapError> {
        plan(def, cpus).map(|plan| plan.bytes)
    }

    /// Creates a map with the profile's memory. Everything is allocated here, except the
    /// elements of a hash map with `BPF_F_NO_PREALLOC`.
    ///
    /// # Errors
    /// As [`Map::memory_needed`]; no memory, or more than the profile allows.
    pub fn create<P: PhysicalProfile>(
        def: MapDef,
        environment: &MapEnvironment,
    ) -> Result<Self, MapError> {
        let Plan { bytes, cpus } = plan(&def, environment.cpus)?;
        if bytes > P::MAX_MAP_BYTES {
            return Err(MapError::OutOfMemory);
        }
        let memory = P::memory();
        let (key, value) = (def.key_size as usize, def.value_size as usize);
        let storage = match def.map_type {
            MapType::Array | MapType::PercpuArray => {
                let mapped = def.flags & flags::MMAPABLE != 0;
                Storage::Array(Array::new(memory, def.max_entries, value, cpus, mapped)?)
            }
            MapType::Ringbuf => Storage::Ring(RingBuffer::new(memory, def.max_entries as usize)?),
            _ => {
                let shape = Shape::new(def.max_entries, key, value, cpus).ok_or(MapError::Full)?;
                // The embedded profile allocates nothing later.
                let preallocate = def.flags & flags::NO_PREALLOC == 0 || !P::GROWS;
                let seed = if def.flags & flags::ZERO_SEED != 0 { 0 } else { environment.seed };
                Storage::Hash(Hash::new(memory, shape, preallocate, seed, environment.epoch)?)
            }
        };
        let value_bytes = match def.map_type {
            MapType::PercpuArray | MapType::PercpuHash => {
                value.next_multiple_of(8) * environment.cpus
            }
            _ => value,
        };
        Ok(Self { def, storage, value_bytes, frozen: AtomicBool::new(false), bytes })
    }

    /// The definition that the map was created with.
    #[must_use]
    pub fn def(&self) -> &MapDef {
        &self.def
    }

    /// Whether the map has a value for each CPU.
    #[inline]
    #[must_use]
    pub fn is_per_cpu(&self) -> bool {
        matches!(self.def.map_type, MapType::PercpuArray | MapType::PercpuHash)
    }

    /// Bytes of a value as system calls pass it: for per-CPU maps every CPU's value, each
    /// rounded up to 8 bytes.
    #[inline]
    #[must_use]
    pub fn user_value_size(&self) -> usize {
        self.value_bytes
    }

    /// Bytes of memory that the map took when it was created (`memlock`).
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// From now on system calls cannot change the map (`BPF_MAP_FREEZE`).
    ///
    /// # Errors
    /// [`MapError::Busy`] when it is frozen already.
    pub fn freeze(&self) -> Result<(), MapError> {
        if self.frozen.swap(true, Ordering::AcqRel) { Err(MapError::Busy) } else { Ok(()) }
    }

    /// Whether system calls can no longer change the map.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire)
    }

    // --- For system calls ---

    /// Copies the value of `key` to `out`, which has `user_value_size` bytes
    /// (`BPF_MAP_LOOKUP_ELEM`).
    ///
    /// # Errors
    /// No such key; a type without values.
    #[inline]
    pub fn lookup(&self, key: &[u8], out: &mut [u8]) -> Result<(), MapError> {
        if out.len() < self.value_bytes {
            return Err(MapError::Invalid);
        }
        match &self.storage {
            Storage::Array(array) => array.read(index(key)?, out)?,
            Storage::Hash(hash) => hash.read(key, out)?,
            Storage::Ring(_) => return Err(MapError::NotSupported),
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

    /// Sets the value of `key` (`BPF_MAP_UPDATE_ELEM`).
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
                let mode = UpdateMode::from_flags(flags)?;
                array.write(index(key)?, value, mode)
            }
            Storage::Hash(hash) => hash.write(key, value, UpdateMode::from_flags(flags)?, None),
            Storage::Ring(_) => Err(MapError::NotSupported),
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

    /// Copies the value of `key` to `out` and removes the key
    /// (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`).
    ///
    /// # Errors
    /// As for lookup and delete.
    pub fn lookup_and_delete(&self, key: &[u8], out: &mut [u8]) -> Result<(), MapError> {
        self.writable()?;
        if out.len() < self.value_bytes {
            return Err(MapError::Invalid);
        }
        match &self.storage {
            Storage::Hash(hash) => hash.take_out(key, out),
            _ => Err(MapError::NotSupported),
        }
    }

    /// Copies the key that follows `key` to `out`; the first one for `None` and for a key
    /// that is not in the map (`BPF_MAP_GET_NEXT_KEY`).
    ///
    /// # Errors
    /// [`MapError::NotFound`] after the last key; a type without keys.
    pub fn next_key(&self, key: Option<&[u8]>, out: &mut [u8]) -> Result<(), MapError> {
        match &self.storage {
            Storage::Array(array) => {
                let next = array.next(key.map(index).transpose()?)?;
                *out.first_chunk_mut().ok_or(MapError::Invalid)? = next.to_ne_bytes();
                Ok(())
            }
            Storage::Hash(hash) => hash.next(key, out),
            Storage::Ring(_) => Err(MapError::NotSupported),
        }
    }

    /// How many keys a hash map has; an array's length; 0 for a ring buffer.
    #[must_use]
    pub fn entries(&self) -> u32 {
        match &self.storage {
            Storage::Array(_) => self.def.max_entries,
            Storage::Hash(hash) => hash.live(),
            Storage::Ring(_) => 0,
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
                    writable: !self.is_frozen() && self.def.flags & flags::RDONLY == 0,
                })
            }
            _ => None,
        }
    }

    #[inline]
    fn writable(&self) -> Result<(), MapError> {
        if self.is_frozen() { Err(MapError::Forbidden) } else { Ok(()) }
    }

    #[inline]
    fn remove(&self, key: &[u8]) -> Result<(), MapError> {
        match &self.storage {
            Storage::Array(_) => Err(MapError::Invalid),
            Storage::Hash(hash) => hash.remove(key),
            Storage::Ring(_) => Err(MapError::NotSupported),
        }
    }

    // --- For programs ---

    /// The address of a value, valid until this CPU is quiet; 0 for none
    /// (`bpf_map_lookup_elem`).
    #[inline]
    #[must_use]
    pub fn value_address(&self, key: &[u8], cpu: usize) -> usize {
        let address = match &self.storage {
            Storage::Array(array) => index(key).ok().and_then(|index| array.address(index, cpu)),
            Storage::Hash(hash) => hash.address(key, cpu),
            Storage::Ring(_) => None,
        };
        address.unwrap_or(0)
    }

    /// Sets a value; of a per-CPU map, this CPU's (`bpf_map_update_elem`).
    ///
    /// # Errors
    /// As [`Map::update`], frozen maps excepted.
    pub fn update_on(
        &self,
        key: &[u8],
        value: &[u8],
        flags: u64,
        cpu: usize,
    ) -> Result<(), MapError> {
        let mode = UpdateMode::from_flags(flags)?;
        match &self.storage {
            Storage::Array(array) => array.write_on(index(key)?, value, mode, cpu),
            Storage::Hash(hash) => hash.write(key, value, mode, Some(cpu)),
            Storage::Ring(_) => Err(MapError::NotSupported),
        }
    }

    /// Removes a key (`bpf_map_delete_elem`).
    ///
    /// # Errors
    /// As [`Map::delete`], frozen maps excepted.
    pub fn delete_from_program(&self, key: &[u8]) -> Result<(), MapError> {
        self.remove(key)
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

#[inline]
fn index(key: &[u8]) -> Result<u32, MapError> {
    key.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(MapError::Invalid)
}

impl MapRef for Map {
    fn def(&self) -> MapDef {
        self.def
    }

    fn read_frozen(&self, offset: u32, into: &mut [u8]) -> bool {
        let Storage::Array(array) = &self.storage else { return false };
        // What user space can map, it may have mapped writable before it froze the map.
        let mappable = self.def.flags & flags::MMAPABLE != 0;
        !mappable
            && !self.def.program_may_write()
            && self.is_frozen()
            && array.read_at(offset as usize, into)
    }
}
