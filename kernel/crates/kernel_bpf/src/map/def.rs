//! What a map is declared to be: its type with Linux's number, and its sizes.

use alloc::sync::Arc;

use crate::memory::PAGE_SIZE;

/// Map types with Linux's numbers (`enum bpf_map_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u32)]
pub enum MapType {
    Hash = 1,
    Array = 2,
    ProgArray = 3,
    PerfEventArray = 4,
    PercpuHash = 5,
    PercpuArray = 6,
    StackTrace = 7,
    CgroupArray = 8,
    LruHash = 9,
    LruPercpuHash = 10,
    LpmTrie = 11,
    ArrayOfMaps = 12,
    HashOfMaps = 13,
    Devmap = 14,
    Sockmap = 15,
    Cpumap = 16,
    Xskmap = 17,
    Sockhash = 18,
    CgroupStorage = 19,
    ReuseportSockarray = 20,
    PercpuCgroupStorage = 21,
    Queue = 22,
    Stack = 23,
    SkStorage = 24,
    DevmapHash = 25,
    StructOps = 26,
    Ringbuf = 27,
    InodeStorage = 28,
    TaskStorage = 29,
    BloomFilter = 30,
    UserRingbuf = 31,
    CgrpStorage = 32,
    Arena = 33,
}

impl MapType {
    /// Every type, in the order of the numbers.
    pub const ALL: [MapType; 33] = [
        MapType::Hash,
        MapType::Array,
        MapType::ProgArray,
        MapType::PerfEventArray,
        MapType::PercpuHash,
        MapType::PercpuArray,
        MapType::StackTrace,
        MapType::CgroupArray,
        MapType::LruHash,
        MapType::LruPercpuHash,
        MapType::LpmTrie,
        MapType::ArrayOfMaps,
        MapType::HashOfMaps,
        MapType::Devmap,
        MapType::Sockmap,
        MapType::Cpumap,
        MapType::Xskmap,
        MapType::Sockhash,
        MapType::CgroupStorage,
        MapType::ReuseportSockarray,
        MapType::PercpuCgroupStorage,
        MapType::Queue,
        MapType::Stack,
        MapType::SkStorage,
        MapType::DevmapHash,
        MapType::StructOps,
        MapType::Ringbuf,
        MapType::InodeStorage,
        MapType::TaskStorage,
        MapType::BloomFilter,
        MapType::UserRingbuf,
        MapType::CgrpStorage,
        MapType::Arena,
    ];

    /// The type with Linux's number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<MapType> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        Self::ALL.get(index).copied()
    }

    /// Linux's number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The name as libbpf and bpftool print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            MapType::Hash => "hash",
            MapType::Array => "array",
            MapType::ProgArray => "prog_array",
            MapType::PerfEventArray => "perf_event_array",
            MapType::PercpuHash => "percpu_hash",
            MapType::PercpuArray => "percpu_array",
            MapType::StackTrace => "stack_trace",
            MapType::CgroupArray => "cgroup_array",
            MapType::LruHash => "lru_hash",
            MapType::LruPercpuHash => "lru_percpu_hash",
            MapType::LpmTrie => "lpm_trie",
            MapType::ArrayOfMaps => "array_of_maps",
            MapType::HashOfMaps => "hash_of_maps",
            MapType::Devmap => "devmap",
            MapType::Sockmap => "sockmap",
            MapType::Cpumap => "cpumap",
            MapType::Xskmap => "xskmap",
            MapType::Sockhash => "sockhash",
            MapType::CgroupStorage => "cgroup_storage",
            MapType::ReuseportSockarray => "reuseport_sockarray",
            MapType::PercpuCgroupStorage => "percpu_cgroup_storage",
            MapType::Queue => "queue",
            MapType::Stack => "stack",
            MapType::SkStorage => "sk_storage",
            MapType::DevmapHash => "devmap_hash",
            MapType::StructOps => "struct_ops",
            MapType::Ringbuf => "ringbuf",
            MapType::InodeStorage => "inode_storage",
            MapType::TaskStorage => "task_storage",
            MapType::BloomFilter => "bloom_filter",
            MapType::UserRingbuf => "user_ringbuf",
            MapType::CgrpStorage => "cgrp_storage",
            MapType::Arena => "arena",
        }
    }
}

/// `map_flags` of `BPF_MAP_CREATE`, as Linux numbers them.
pub mod flags {
    pub const NO_PREALLOC: u32 = 1 << 0;
    pub const NO_COMMON_LRU: u32 = 1 << 1;
    pub const NUMA_NODE: u32 = 1 << 2;
    /// User space may only read through the descriptor.
    pub const RDONLY: u32 = 1 << 3;
    /// User space may only write through the descriptor.
    pub const WRONLY: u32 = 1 << 4;
    pub const STACK_BUILD_ID: u32 = 1 << 5;
    pub const ZERO_SEED: u32 = 1 << 6;
    /// Programs may only read.
    pub const RDONLY_PROG: u32 = 1 << 7;
    /// Programs may only write.
    pub const WRONLY_PROG: u32 = 1 << 8;
    pub const CLONE: u32 = 1 << 9;
    pub const MMAPABLE: u32 = 1 << 10;
    pub const PRESERVE_ELEMS: u32 = 1 << 11;
    pub const INNER_MAP: u32 = 1 << 12;
}

/// A map's definition: what `BPF_MAP_CREATE` fixes for its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapDef {
    pub map_type: MapType,
    /// In bytes.
    pub key_size: u32,
    /// In bytes.
    pub value_size: u32,
    pub max_entries: u32,
    /// See [`flags`].
    pub flags: u32,
}

impl MapDef {
    /// The definition in an object as it is to be created on a machine with so many CPUs: as libbpf
    /// has it, a perf event array without a number of entries has one for each CPU, and a ring
    /// buffer's size is rounded up to a power of two pages.
    #[must_use]
    pub const fn completed(self, cpus: u32) -> Self {
        let max_entries = match (self.map_type, self.max_entries) {
            (MapType::PerfEventArray, 0) => cpus,
            (MapType::Ringbuf | MapType::UserRingbuf, size @ 1..=0x8000_0000) => {
                let size = size.next_power_of_two();
                if size < PAGE_SIZE as u32 { PAGE_SIZE as u32 } else { size }
            }
            (_, entries) => entries,
        };
        Self { max_entries, ..self }
    }

    /// Whether programs may read values.
    #[must_use]
    pub const fn program_may_read(&self) -> bool {
        self.flags & flags::WRONLY_PROG == 0
    }

    /// Whether programs may write values.
    #[must_use]
    pub const fn program_may_write(&self) -> bool {
        self.flags & flags::RDONLY_PROG == 0
    }
}

/// Size of `struct bpf_spin_lock`.
const SPIN_LOCK_BYTES: u32 = 4;
/// Size of `struct bpf_timer`.
const TIMER_BYTES: u32 = 16;

/// Parts of a value that have rules of their own, by their offsets in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ValueFields {
    /// `struct bpf_spin_lock`, 4 bytes.
    pub spin_lock: Option<u32>,
    /// `struct bpf_timer`, 16 bytes.
    pub timer: Option<u32>,
}

impl ValueFields {
    /// Whether the value has no such part.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.spin_lock.is_none() && self.timer.is_none()
    }

    /// Whether all parts lie within a value of this size, aligned, and none in another.
    pub(super) fn fit(&self, value_size: u32) -> bool {
        let fits = |part: Option<u32>, size: u32, align: u32| {
            part.is_none_or(|offset| {
                offset.checked_add(size).is_some_and(|end| end <= value_size)
                    && offset.is_multiple_of(align)
            })
        };
        let apart = match (self.spin_lock, self.timer) {
            (Some(lock), Some(timer)) => lock < timer || lock - timer >= TIMER_BYTES,
            _ => true,
        };
        fits(self.spin_lock, SPIN_LOCK_BYTES, 4) && fits(self.timer, TIMER_BYTES, 8) && apart
    }
}

/// A pointer to a kernel object in a value (a member tagged `__kptr`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelPointer {
    /// In bytes.
    pub offset: u32,
    /// The kernel's structure that it points to.
    pub target: Arc<str>,
    /// It holds a reference, so it changes by `bpf_kptr_xchg` only.
    pub referenced: bool,
}

/// What the verifier needs to know of a map that a program refers to.
pub trait MapRef {
    /// Its definition.
    fn def(&self) -> MapDef;

    /// Reads bytes of an array's value that can never change any more: the map is
    /// read-only for programs and frozen for user space. Returns false when the
    /// bytes may change or are out of range.
    fn read_frozen(&self, offset: u32, into: &mut [u8]) -> bool {
        let _ = (offset, into);
        false
    }

    /// The definition of the maps inside, for maps of maps.
    fn inner_def(&self) -> Option<MapDef> {
        None
    }

    /// Locks and timers in its values.
    fn value_fields(&self) -> ValueFields {
        ValueFields::default()
    }

    /// Locks and timers in the values of the maps inside.
    fn inner_fields(&self) -> ValueFields {
        ValueFields::default()
    }

    /// Pointers to kernel objects in its values.
    fn kernel_pointers(&self) -> &[KernelPointer] {
        &[]
    }
}

impl<T: MapRef + ?Sized> MapRef for alloc::sync::Arc<T> {
    fn def(&self) -> MapDef {
        (**self).def()
    }
    fn read_frozen(&self, offset: u32, into: &mut [u8]) -> bool {
        (**self).read_frozen(offset, into)
    }
    fn inner_def(&self) -> Option<MapDef> {
        (**self).inner_def()
    }
    fn value_fields(&self) -> ValueFields {
        (**self).value_fields()
    }
    fn inner_fields(&self) -> ValueFields {
        (**self).inner_fields()
    }
    fn kernel_pointers(&self) -> &[KernelPointer] {
        (**self).kernel_pointers()
    }
}

/// A definition alone stands for a map, for instance to verify without creating one.
impl MapRef for MapDef {
    fn def(&self) -> MapDef {
        *self
    }
}
