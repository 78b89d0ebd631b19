//! Creating maps: which attributes each type takes (Linux: the `map_alloc_check` of each type),
//! how much memory that needs, and the storage itself.

use alloc::sync::Arc;

use super::array::Array;
use super::bloom::{self, Bloom};
use super::def::{MapDef, MapType, ValueFields, flags};
use super::error::MapError;
use super::hash::{Hash, Shape};
use super::lpm_trie::{self, LpmTrie};
use super::nested::{self, ADDRESS_BYTES, MapHash};
use super::object::{Map, MapEnvironment, Storage};
use super::prog_array::ProgArray;
use super::queue::{Order, Queue};
use super::ringbuf::RingBuffer;
use super::slots::Slots;
use super::stack_trace::{self, StackTraces};
use super::task_storage;
use crate::memory::PAGE_SIZE;
use crate::profile::PhysicalProfile;

/// Most bytes of one CPU's value (Linux: `PCPU_MIN_UNIT_SIZE`).
const MAX_PERCPU_VALUE: usize = 32 << 10;
/// Most bytes of a key and a value together (Linux: `KMALLOC_MAX_SIZE`).
const MAX_ELEMENT: usize = 4 << 20;
/// Bytes of a frame with build id (`struct bpf_stack_build_id`).
const BUILD_ID_FRAME: usize = 32;

/// What only some types of map are created with.
#[derive(Clone, Default)]
pub struct MapExtras {
    /// `map_extra`: the number of hash functions of a bloom filter.
    pub map_extra: u64,
    /// What the maps inside look like, for maps of maps. Only its shape counts.
    pub inner: Option<Arc<Map>>,
    /// Locks and timers in the values, from the BTF of the value's type.
    pub fields: ValueFields,
    /// Whether the creator gave the types of keys and values.
    pub typed: bool,
}

/// The shape of inner maps, which outlives the map that it was taken from.
#[derive(Clone, Copy)]
pub(super) struct Meta {
    pub(super) def: MapDef,
    pub(super) fields: ValueFields,
}

/// A definition that was checked, and the memory it needs.
struct Plan {
    bytes: usize,
    cpus: usize,
    inner: Option<Meta>,
}

const ACCESS: u32 = flags::RDONLY | flags::WRONLY | flags::RDONLY_PROG | flags::WRONLY_PROG;

/// The flags that a type takes.
fn allowed_flags(map_type: MapType) -> Result<u32, MapError> {
    let hash = ACCESS | flags::NO_PREALLOC | flags::ZERO_SEED;
    let fds = flags::RDONLY | flags::WRONLY | flags::NUMA_NODE;
    Ok(match map_type {
        MapType::Array => ACCESS | flags::MMAPABLE | flags::NUMA_NODE | flags::INNER_MAP,
        MapType::PercpuArray => ACCESS,
        MapType::Hash | MapType::HashOfMaps => hash | flags::NUMA_NODE,
        MapType::PercpuHash => hash,
        MapType::LruHash => ACCESS | flags::ZERO_SEED | flags::NO_COMMON_LRU | flags::NUMA_NODE,
        MapType::LruPercpuHash => ACCESS | flags::ZERO_SEED | flags::NO_COMMON_LRU,
        MapType::LpmTrie => ACCESS | flags::NO_PREALLOC | flags::NUMA_NODE,
        MapType::Queue | MapType::Stack => ACCESS | flags::NUMA_NODE,
        MapType::BloomFilter => ACCESS | flags::NUMA_NODE | flags::ZERO_SEED,
        MapType::ProgArray | MapType::ArrayOfMaps => fds,
        MapType::PerfEventArray => fds | flags::PRESERVE_ELEMS,
        MapType::StackTrace => {
            flags::RDONLY | flags::WRONLY | flags::NUMA_NODE | flags::STACK_BUILD_ID
        }
        MapType::TaskStorage => flags::NO_PREALLOC | flags::CLONE,
        MapType::Ringbuf => flags::NUMA_NODE,
        _ => return Err(MapError::NotSupported),
    })
}

fn check_flags(def: &MapDef) -> Result<(), MapError> {
    let lru = matches!(def.map_type, MapType::LruHash | MapType::LruPercpuHash);
    if lru && def.flags & flags::NO_PREALLOC != 0 {
        return Err(MapError::NotSupported);
    }
    let has = |wanted: u32| def.flags & wanted == wanted;
    if def.flags & !allowed_flags(def.map_type)? != 0
        || has(flags::RDONLY | flags::WRONLY)
        || has(flags::RDONLY_PROG | flags::WRONLY_PROG)
        || lru && has(flags::NO_COMMON_LRU | flags::NUMA_NODE)
    {
        return Err(MapError::Invalid);
    }
    Ok(())
}

/// What every map of a hash kind asks of its sizes.
fn check_hash(def: &MapDef, percpu: bool) -> Result<(), MapError> {
    let (key, value) = (def.key_size as usize, def.value_size as usize);
    if key == 0 || value == 0 {
        return Err(MapError::Invalid);
    }
    if key.saturating_add(value) >= MAX_ELEMENT
        || percpu && value.next_multiple_of(8) > MAX_PERCPU_VALUE
    {
        return Err(MapError::Full);
    }
    Ok(())
}

fn plan(def: &MapDef, extras: &MapExtras, cpus: usize) -> Result<Plan, MapError> {
    check_flags(def)?;
    let tasks = def.map_type == MapType::TaskStorage;
    let bloom = def.map_type == MapType::BloomFilter;
    if (def.max_entries == 0) != tasks || cpus == 0 || extras.map_extra != 0 && !bloom {
        return Err(MapError::Invalid);
    }
    let inner = inner(def, extras)?;
    if !extras.fields.is_empty() && !has_fields(def.map_type) {
        return Err(MapError::NotSupported);
    }
    if !extras.fields.fit(def.value_size) {
        return Err(MapError::Invalid);
    }
    let (key, value) = (def.key_size as usize, def.value_size as usize);
    let percpu = is_per_cpu(def.map_type);
    let cpus = if percpu { cpus } else { 1 };
    let bytes = |words: Option<usize>| words.and_then(|words| words.checked_mul(8));
    let invalid_unless = |holds: bool| if holds { Ok(()) } else { Err(MapError::Invalid) };
    let bytes = match def.map_type {
        MapType::Array | MapType::PercpuArray => {
            invalid_unless(key == 4 && value != 0)?;
            if value > i32::MAX as usize || percpu && value.next_multiple_of(8) > MAX_PERCPU_VALUE {
                return Err(MapError::Full);
            }
            bytes(Array::words(def.max_entries, value, cpus))
        }
        MapType::ProgArray | MapType::PerfEventArray | MapType::ArrayOfMaps => {
            invalid_unless(key == 4 && value == 4)?;
            // A word for programs, an owner, which is two at most, and three to take that out, for
            // which twice the room is made.
            bytes(Slots::<nested::Inner>::words(def.max_entries).checked_mul(9))
        }
        MapType::Ringbuf => {
            let size = def.max_entries as usize;
            let pages = size.is_power_of_two() && size.is_multiple_of(PAGE_SIZE);
            invalid_unless(key == 0 && value == 0 && pages)?;
            bytes(RingBuffer::words(size))
        }
        MapType::LpmTrie => {
            let growing = def.flags & flags::NO_PREALLOC != 0;
            invalid_unless(growing && lpm_trie::KEY_BYTES.contains(&key) && value != 0)?;
            if value >= MAX_ELEMENT {
                return Err(MapError::Invalid);
            }
            let shape = lpm_trie::Shape::new(def.max_entries, key, value).ok_or(MapError::Full)?;
            shape.growing_bytes()
        }
        MapType::Queue | MapType::Stack => {
            invalid_unless(key == 0 && value != 0)?;
            if value > MAX_ELEMENT {
                return Err(MapError::Full);
            }
            bytes(Queue::words(def.max_entries, value))
        }
        MapType::BloomFilter => {
            invalid_unless(key == 0 && value != 0)?;
            if value > MAX_ELEMENT {
                return Err(MapError::Full);
            }
            bytes(Bloom::words(def.max_entries, bloom::functions(extras.map_extra)?))
        }
        MapType::StackTrace => {
            let build_ids = def.flags & flags::STACK_BUILD_ID != 0;
            let frame = if build_ids { BUILD_ID_FRAME } else { 8 };
            let frames = value / frame;
            let sized = value >= 8 && value.is_multiple_of(frame);
            invalid_unless(key == 4 && sized && frames <= stack_trace::MAX_FRAMES)?;
            if build_ids {
                // No executable file here has a build id that the kernel knows.
                return Err(MapError::NotSupported);
            }
            bytes(StackTraces::words(def.max_entries, value))
        }
        MapType::TaskStorage => {
            let growing = def.flags & flags::NO_PREALLOC != 0;
            invalid_unless(growing && key == 4 && value != 0 && extras.typed)?;
            if value >= task_storage::MAX_VALUE {
                return Err(MapError::Full);
            }
            task_storage::shape(value, extras.fields, true).and_then(|shape| shape.growing_bytes())
        }
        MapType::HashOfMaps => {
            invalid_unless(value == 4)?;
            check_hash(def, false)?;
            hash_bytes(def, &hash_shape(def, ADDRESS_BYTES, 1, extras.fields)?)
        }
        _ => {
            check_hash(def, percpu)?;
            hash_bytes(def, &hash_shape(def, value, cpus, extras.fields)?)
        }
    };
    Ok(Plan { bytes: bytes.ok_or(MapError::OutOfMemory)?, cpus, inner })
}

/// The shape of the maps inside: needed by maps of maps, and by no others.
fn inner(def: &MapDef, extras: &MapExtras) -> Result<Option<Meta>, MapError> {
    let nests = matches!(def.map_type, MapType::ArrayOfMaps | MapType::HashOfMaps);
    match &extras.inner {
        Some(inner) if nests => {
            nested::may_be_inner(inner.def().map_type)?;
            Ok(Some(inner.meta()))
        }
        None if !nests => Ok(None),
        _ => Err(MapError::Invalid),
    }
}

fn hash_shape(
    def: &MapDef,
    value: usize,
    cpus: usize,
    fields: ValueFields,
) -> Result<Shape, MapError> {
    let lru = matches!(def.map_type, MapType::LruHash | MapType::LruPercpuHash);
    Shape::new(def.max_entries, def.key_size as usize, value, cpus, lru, fields)
        .ok_or(MapError::Full)
}

fn hash_bytes(def: &MapDef, shape: &Shape) -> Option<usize> {
    if def.flags & flags::NO_PREALLOC != 0 { shape.growing_bytes() } else { shape.bytes() }
}

/// Whether a type has a value for each CPU.
pub(super) const fn is_per_cpu(map_type: MapType) -> bool {
    matches!(map_type, MapType::PercpuArray | MapType::PercpuHash | MapType::LruPercpuHash)
}

/// Whether values of a type may have locks and timers inside.
const fn has_fields(map_type: MapType) -> bool {
    matches!(map_type, MapType::Array | MapType::Hash | MapType::LruHash | MapType::TaskStorage)
}

impl Map {
    /// Checks a definition as `BPF_MAP_CREATE` does, and tells how many bytes creating the map
    /// takes at once.
    ///
    /// # Errors
    /// Sizes, flags or a type that are not supported.
    pub fn memory_needed(def: &MapDef, extras: &MapExtras, cpus: usize) -> Result<usize, MapError> {
        plan(def, extras, cpus).map(|plan| plan.bytes)
    }

    /// Creates a map with the profile's memory, without extras.
    ///
    /// # Errors
    /// As [`Map::create_with`].
    pub fn create<P: PhysicalProfile>(
        def: MapDef,
        environment: &MapEnvironment,
    ) -> Result<Self, MapError> {
        Self::create_with::<P>(def, &MapExtras::default(), environment)
    }

    /// Creates a map with the profile's memory. Everything is allocated here, except the
    /// elements of maps with `BPF_F_NO_PREALLOC` where the profile lets maps grow.
    ///
    /// # Errors
    /// As [`Map::memory_needed`]; no memory, or more than the profile allows.
    pub fn create_with<P: PhysicalProfile>(
        def: MapDef,
        extras: &MapExtras,
        environment: &MapEnvironment,
    ) -> Result<Self, MapError> {
        let plan = plan(&def, extras, environment.cpus)?;
        if plan.bytes > P::MAX_MAP_BYTES {
            return Err(MapError::OutOfMemory);
        }
        let storage = storage::<P>(&def, extras, plan.cpus, environment)?;
        let own = (extras.fields, extras.map_extra);
        Ok(Self::assemble(def, own, storage, plan.inner, plan.bytes, environment.cpus))
    }

    /// Stands for a map of things that there are none of without a kernel that has them
    /// (sockets, devices, control groups): always empty. Of control-group storage there is one
    /// value. For tools that run programs outside of a kernel.
    ///
    /// # Errors
    /// [`MapError::NotSupported`] for a type that holds anything else, or no memory.
    pub fn stand_in<P: PhysicalProfile>(
        def: MapDef,
        environment: &MapEnvironment,
    ) -> Result<Self, MapError> {
        let storage = match def.map_type {
            MapType::CgroupStorage | MapType::PercpuCgroupStorage => {
                let words = Array::words(1, def.value_size as usize, 1);
                if words.is_none_or(|words| words.saturating_mul(8) > P::MAX_MAP_BYTES) {
                    return Err(MapError::OutOfMemory);
                }
                let (value, fields) = (def.value_size as usize, ValueFields::default());
                Storage::Array(Array::new(P::memory(), 1, value, 1, false, fields)?)
            }
            MapType::CgroupArray
            | MapType::Devmap
            | MapType::DevmapHash
            | MapType::Cpumap
            | MapType::Xskmap
            | MapType::Sockmap
            | MapType::Sockhash
            | MapType::ReuseportSockarray
            | MapType::SkStorage
            | MapType::InodeStorage
            | MapType::CgrpStorage => {
                Storage::Events(Slots::new(P::memory(), 1, environment.epoch)?)
            }
            _ => return Err(MapError::NotSupported),
        };
        let own = (ValueFields::default(), 0);
        Ok(Self::assemble(def, own, storage, None, 0, environment.cpus))
    }
}

fn storage<P: PhysicalProfile>(
    def: &MapDef,
    extras: &MapExtras,
    cpus: usize,
    environment: &MapEnvironment,
) -> Result<Storage, MapError> {
    let (memory, entries, epoch) = (P::memory(), def.max_entries, environment.epoch);
    let (key, value) = (def.key_size as usize, def.value_size as usize);
    // The embedded profile allocates nothing later.
    let preallocate = def.flags & flags::NO_PREALLOC == 0 || !P::GROWS;
    let seed = if def.flags & flags::ZERO_SEED != 0 { 0 } else { environment.seed };
    let fits = |bytes: Option<usize>| {
        if preallocate && bytes.is_none_or(|bytes| bytes > P::MAX_MAP_BYTES) {
            return Err(MapError::OutOfMemory);
        }
        Ok(())
    };
    Ok(match def.map_type {
        MapType::Array | MapType::PercpuArray => {
            let mapped = def.flags & flags::MMAPABLE != 0;
            Storage::Array(Array::new(memory, entries, value, cpus, mapped, extras.fields)?)
        }
        MapType::ProgArray => Storage::Programs(ProgArray::new(memory, entries, epoch)?),
        MapType::PerfEventArray => Storage::Events(Slots::new(memory, entries, epoch)?),
        MapType::ArrayOfMaps => Storage::Maps(Slots::new(memory, entries, epoch)?),
        MapType::Ringbuf => Storage::Ring(RingBuffer::new(memory, entries as usize)?),
        MapType::LpmTrie => {
            let shape = lpm_trie::Shape::new(entries, key, value).ok_or(MapError::Full)?;
            fits(shape.bytes())?;
            Storage::Trie(LpmTrie::new(memory, shape, preallocate, epoch)?)
        }
        MapType::Queue => Storage::Queue(Queue::new(memory, entries, value, Order::FirstIn)?),
        MapType::Stack => Storage::Queue(Queue::new(memory, entries, value, Order::LastIn)?),
        MapType::BloomFilter => {
            let functions = bloom::functions(extras.map_extra)?;
            Storage::Bloom(Bloom::new(memory, entries, value, functions, seed)?)
        }
        MapType::StackTrace => Storage::Stacks(StackTraces::new(memory, entries, value, seed)?),
        MapType::TaskStorage => {
            let shape =
                task_storage::shape(value, extras.fields, P::GROWS).ok_or(MapError::Full)?;
            fits(shape.bytes())?;
            Storage::Tasks(Hash::new(memory, shape, preallocate, seed, epoch)?)
        }
        MapType::HashOfMaps => {
            let shape = hash_shape(def, ADDRESS_BYTES, 1, extras.fields)?;
            fits(shape.bytes())?;
            Storage::MapHash(MapHash::new(
                Hash::new(memory, shape, preallocate, seed, epoch)?,
                epoch,
            ))
        }
        _ => {
            let shape = hash_shape(def, value, cpus, extras.fields)?;
            fits(shape.bytes())?;
            Storage::Hash(Hash::new(memory, shape, preallocate, seed, epoch)?)
        }
    })
}
