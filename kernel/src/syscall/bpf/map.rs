//! Commands on maps: create, those on one element, freeze. [`super::batch`] has those on many.
//!
//! What a program array, a map of maps or a perf event array holds is set by a descriptor.

use alloc::sync::Arc;

use kernel_abi::Errno;
use kernel_abi::bpf::{map_create, map_elem};
use kernel_bpf::map::def::flags;
use kernel_bpf::map::{F_LOCK, Map, MapDef, MapExtras, MapType, TailTarget, ValueFields};

use super::{Handle, Request, SyscallResult, install};
use crate::bpf::files::{Access, Object};
use crate::bpf::map::{LoadedMap, MapTypes, UserMap};
use crate::bpf::perf::Held;
use crate::mcore;
use crate::mem::memapi::may_allocate;
use crate::mem::user::{copy_from_user, copy_to_user};
use crate::syscall::errno::OrErrno;
use crate::syscall::path::Caller;

/// `BPF_MAP_CREATE`.
pub(super) fn create(request: &Request) -> SyscallResult {
    request.ends_at(map_create::END)?;
    let map_type = MapType::from_number(request.u32(map_create::MAP_TYPE)).ok_or(Errno::EINVAL)?;
    let flags = request.u32(map_create::MAP_FLAGS);
    let name = request.name(map_create::MAP_NAME)?;
    // No devices and no module types here; `map_extra` is for bloom filters.
    let unused = [
        map_create::MAP_IFINDEX,
        map_create::BTF_VMLINUX_VALUE_TYPE_ID,
        map_create::MAP_EXTRA + 8,
        map_create::MAP_EXTRA + 12,
    ];
    if unused.iter().any(|&offset| request.u32(offset) != 0) {
        return Err(Errno::EINVAL);
    }
    if flags & flags::NUMA_NODE == 0 && request.u32(map_create::NUMA_NODE) != 0 {
        return Err(Errno::EINVAL);
    }
    let access = access_of(flags)?;
    let def = MapDef {
        map_type,
        key_size: request.u32(map_create::KEY_SIZE),
        value_size: request.u32(map_create::VALUE_SIZE),
        max_entries: request.u32(map_create::MAX_ENTRIES),
        flags,
    };
    let types = types(request, &def)?;
    let extras = MapExtras {
        map_extra: request.u64(map_create::MAP_EXTRA),
        inner: inner(request, map_type)?,
        fields: match &types {
            Some(types) => {
                let fields = types.btf.types.value_fields(types.value_type_id);
                fields.map_err(|_| Errno::EINVAL)?
            }
            None => ValueFields::default(),
        },
        typed: types.as_ref().is_some_and(|types| types.key_type_id != 0),
    };
    let map = request.manager.create_map(def, &extras, name, types).or_errno()?;
    install(Object::Map(UserMap::new(map)), access)
}

/// What the maps inside a map of maps look like.
fn inner(request: &Request, map_type: MapType) -> Result<Option<Arc<Map>>, Errno> {
    if !matches!(map_type, MapType::ArrayOfMaps | MapType::HashOfMaps) {
        return Ok(None);
    }
    let handle = request.object(map_create::INNER_MAP_FD)?;
    Ok(Some(Arc::clone(&handle.map()?.map)))
}

/// What a descriptor allows, by `BPF_F_RDONLY` and `BPF_F_WRONLY`.
pub(super) fn access_of(map_flags: u32) -> Result<Access, Errno> {
    match (map_flags & flags::RDONLY != 0, map_flags & flags::WRONLY != 0) {
        (true, true) => Err(Errno::EINVAL),
        (read_only, write_only) => Ok(Access { read: !write_only, write: !read_only }),
    }
}

/// The types of keys and values, if the caller names them; they must be those of the map.
fn types(request: &Request, def: &MapDef) -> Result<Option<MapTypes>, Errno> {
    let key_type_id = request.u32(map_create::BTF_KEY_TYPE_ID);
    let value_type_id = request.u32(map_create::BTF_VALUE_TYPE_ID);
    if key_type_id == 0 && value_type_id == 0 {
        return Ok(None);
    }
    let btf = Arc::clone(request.object(map_create::BTF_FD)?.btf()?);
    if !btf.types.describes(def, key_type_id, value_type_id) {
        return Err(Errno::EINVAL);
    }
    Ok(Some(MapTypes { btf, key_type_id, value_type_id }))
}

/// Keys and values up to this size are copied by way of the stack.
const INLINE: usize = 64;

/// Runs `then` with `length` zeroed bytes of kernel memory: for a key or a value of any size.
#[inline(always)]
pub(super) fn with_bytes<T>(
    length: usize,
    then: impl FnOnce(&mut [u8]) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let mut inline = [0; INLINE];
    match inline.get_mut(..length) {
        Some(bytes) => then(bytes),
        None => then(&mut super::buffer(length)?),
    }
}

/// Runs `then` with the key that the request names.
#[inline(always)]
fn with_key<T>(
    request: &Request,
    map: &LoadedMap,
    then: impl FnOnce(&[u8]) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let (size, address) = (map.map.def().key_size as usize, request.pointer(map_elem::KEY));
    // Queues, stacks and bloom filters have no keys.
    if size == 0 && address != 0 {
        return Err(Errno::EINVAL);
    }
    with_bytes(size, |key| {
        copy_from_user(key, address)?;
        keyed_by_process(map)?;
        then(key)
    })
}

/// The map of a command, if its descriptor allows what the command does.
#[inline]
pub(super) fn open(handle: &Handle, read: bool, write: bool) -> Result<&LoadedMap, Errno> {
    let map = handle.map()?;
    let access = handle.object_file()?.access();
    if read && !access.read || write && !access.write {
        return Err(Errno::EPERM);
    }
    Ok(map)
}

/// Keys of task storage are descriptors of processes (`pidfd_open(2)`), of which there are none
/// in this kernel: whatever descriptor it is, it is not one.
fn keyed_by_process(map: &LoadedMap) -> Result<(), Errno> {
    if map.map.def().map_type == MapType::TaskStorage { Err(Errno::EBADF) } else { Ok(()) }
}

/// `BPF_MAP_LOOKUP_ELEM`.
pub(super) fn lookup(request: &Request) -> SyscallResult {
    request.ends_at(map_elem::END)?;
    let handle = request.object(map_elem::MAP_FD)?;
    let map = open(&handle, true, false)?;
    with_key(request, map, |key| {
        with_bytes(map.map.user_value_size(), |value| {
            let address = request.pointer(map_elem::VALUE);
            // A bloom filter is asked for a value.
            if map.map.def().map_type == MapType::BloomFilter {
                copy_from_user(value, address)?;
            }
            let flags = request.u64(map_elem::FLAGS);
            map.with(|map| map.lookup_with(key, value, flags)).or_errno()?;
            copy_to_user(address, value)?;
            Ok(0)
        })
    })
}

/// `BPF_MAP_UPDATE_ELEM`.
pub(super) fn update(request: &Request) -> SyscallResult {
    request.ends_at(map_elem::END)?;
    let handle = request.object(map_elem::MAP_FD)?;
    let map = open(&handle, false, true)?;
    with_key(request, map, |key| {
        with_bytes(map.map.user_value_size(), |value| {
            copy_from_user(value, request.pointer(map_elem::VALUE))?;
            let flags = request.u64(map_elem::FLAGS);
            match map.map.def().map_type {
                MapType::PerfEventArray => set_event(&handle, map, key, value, flags)?,
                _ => set(map, key, value, flags)?,
            }
            Ok(0)
        })
    })
}

/// Bytes of what a slot holds for a descriptor.
const SLOT_BYTES: usize = 256;

/// The descriptor that stands for an element.
fn descriptor(value: &[u8]) -> Result<u32, Errno> {
    let fd = value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    fd.ok_or(Errno::EINVAL)
}

/// Puts the perf event behind the descriptor in `value` into an array, until the descriptor of the
/// array that this was done by is closed.
fn set_event(
    array: &Handle,
    map: &LoadedMap,
    key: &[u8],
    value: &[u8],
    flags: u64,
) -> Result<(), Errno> {
    map.map.check_lock(flags & F_LOCK != 0).or_errno()?;
    map.map.check_slot(key, flags).or_errno()?;
    let file = Caller::new().file(descriptor(value)? as usize)?;
    let event = Held::new(file, array.object_file()?.origin()).ok_or(Errno::EBADF)?;
    may_allocate(SLOT_BYTES)?;
    let result = map.with(|map| map.set_event(key, Arc::new(event), flags));
    map.let_go();
    result.or_errno()
}

/// Sets an element: a value, or the program or map behind the descriptor in `value`, which keep
/// their numbers for as long as they are in there. Perf events have [`set_event`].
#[inline]
pub(super) fn set(map: &LoadedMap, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
    let object = || Handle::from_descriptor(descriptor(value)?);
    map.map.check_lock(flags & F_LOCK != 0).or_errno()?;
    let map_type = map.map.def().map_type;
    if matches!(map_type, MapType::ProgArray | MapType::ArrayOfMaps) {
        map.map.check_slot(key, flags).or_errno()?;
    }
    match map_type {
        MapType::ProgArray => {
            let handle = object()?;
            let program = Arc::clone(handle.program()?);
            may_allocate(SLOT_BYTES)?;
            let id = program.id;
            let target = TailTarget::new(program, |program| program.code.ready(), id);
            let result = map.with(|map| map.set_program(key, Arc::new(target), flags));
            map.let_go();
            result.or_errno()
        }
        MapType::ArrayOfMaps | MapType::HashOfMaps => {
            let handle = object()?;
            let owner = Arc::clone(handle.map()?);
            may_allocate(SLOT_BYTES)?;
            let inner = Arc::clone(&owner.map);
            let result = map.with(|map| map.set_map_of(key, inner, owner, flags));
            map.let_go();
            result.or_errno()
        }
        _ => map.with(|map| map.update(key, value, flags)).or_errno(),
    }
}

/// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
pub(super) fn lookup_and_delete(request: &Request) -> SyscallResult {
    request.ends_at(map_elem::END)?;
    let handle = request.object(map_elem::MAP_FD)?;
    let map = open(&handle, true, true)?;
    let flags = request.u64(map_elem::FLAGS);
    with_key(request, map, |key| {
        with_bytes(map.map.user_value_size(), |value| {
            map.with(|map| map.lookup_and_delete_with(key, value, flags)).or_errno()?;
            copy_to_user(request.pointer(map_elem::VALUE), value)?;
            Ok(0)
        })
    })
}

/// Removes an element, and lets go of what it was.
pub(super) fn remove(map: &LoadedMap, key: &[u8]) -> Result<(), Errno> {
    map.with(|map| map.delete(key)).or_errno()?;
    map.let_go();
    Ok(())
}

/// `BPF_MAP_DELETE_ELEM`.
pub(super) fn delete(request: &Request) -> SyscallResult {
    request.ends_at(map_elem::DELETE_END)?;
    let handle = request.object(map_elem::MAP_FD)?;
    let map = open(&handle, false, true)?;
    with_key(request, map, |key| {
        remove(map, key)?;
        Ok(0)
    })
}

/// `BPF_MAP_GET_NEXT_KEY`: the first key when the caller gives none.
pub(super) fn next_key(request: &Request) -> SyscallResult {
    request.ends_at(map_elem::NEXT_KEY_END)?;
    let handle = request.object(map_elem::MAP_FD)?;
    let map = open(&handle, true, false)?;
    let next_after = |key: Option<&[u8]>| {
        with_bytes(map.map.def().key_size as usize, |next| {
            map.with(|map| map.next_key(key, next)).or_errno()?;
            copy_to_user(request.pointer(map_elem::VALUE), next)?;
            Ok(0)
        })
    };
    match request.pointer(map_elem::KEY) {
        0 => next_after(None),
        _ => with_key(request, map, |key| next_after(Some(key))),
    }
}

/// `BPF_MAP_FREEZE`; `EBUSY` while the map can be written through a mapping.
pub(super) fn freeze(request: &Request) -> SyscallResult {
    request.ends_at(map_elem::FREEZE_END)?;
    let handle = request.object(map_elem::MAP_FD)?;
    let map = &open(&handle, false, true)?.map;
    // Linux: frozen, its descriptors may no longer be written through, freezing included.
    if map.is_frozen() {
        return Err(Errno::EPERM);
    }
    map.freeze().or_errno()?;
    // Changes are made by readers (`LoadedMap::with`).
    mcore::synchronize();
    map.settle();
    Ok(0)
}
