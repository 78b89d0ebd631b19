//! Commands on maps: create, the four on elements, freeze.

use kernel_abi::Errno;
use kernel_abi::bpf::{map_create, map_elem};
use kernel_bpf::map::def::flags;
use kernel_bpf::map::{MapDef, MapExtras, MapType};

use super::{Handle, Request, SyscallResult, install};
use crate::bpf::files::{Access, Object};
use crate::bpf::map::{LoadedMap, MapTypes};
use crate::mem::user::{copy_from_user, copy_to_user};
use crate::syscall::errno::OrErrno;

/// `BPF_MAP_CREATE`.
pub(super) fn create(request: &Request) -> SyscallResult {
    request.ends_at(map_create::END)?;
    let map_type = MapType::from_number(request.u32(map_create::MAP_TYPE)).ok_or(Errno::EINVAL)?;
    let flags = request.u32(map_create::MAP_FLAGS);
    let name = request.name(map_create::MAP_NAME)?;
    // No maps of maps, devices, module types or map-specific extras here.
    let unused = [
        map_create::INNER_MAP_FD,
        map_create::MAP_IFINDEX,
        map_create::BTF_VMLINUX_VALUE_TYPE_ID,
        map_create::MAP_EXTRA,
        map_create::MAP_EXTRA + 4,
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
    let types = types(request)?;
    let map = request.manager.create_map(def, &MapExtras::default(), name, types).or_errno()?;
    install(Object::Map(map), access)
}

/// What a descriptor allows, by `BPF_F_RDONLY` and `BPF_F_WRONLY`.
pub(super) fn access_of(map_flags: u32) -> Result<Access, Errno> {
    match (map_flags & flags::RDONLY != 0, map_flags & flags::WRONLY != 0) {
        (true, true) => Err(Errno::EINVAL),
        (read_only, write_only) => Ok(Access { read: !write_only, write: !read_only }),
    }
}

/// The types of keys and values, if the caller names them.
fn types(request: &Request) -> Result<Option<MapTypes>, Errno> {
    let key_type_id = request.u32(map_create::BTF_KEY_TYPE_ID);
    let value_type_id = request.u32(map_create::BTF_VALUE_TYPE_ID);
    if key_type_id == 0 && value_type_id == 0 {
        return Ok(None);
    }
    let btf = alloc::sync::Arc::clone(request.object(map_create::BTF_FD)?.btf()?);
    let known = |id: u32| id == 0 || btf.types.get(id).is_some();
    if value_type_id == 0 || !known(key_type_id) || !known(value_type_id) {
        return Err(Errno::EINVAL);
    }
    Ok(Some(MapTypes { btf, key_type_id, value_type_id }))
}

/// Keys and values up to this size are copied by way of the stack.
const INLINE: usize = 64;

/// Runs `then` with `length` zeroed bytes of kernel memory: for a key or a value of any size.
#[inline(always)]
fn with_bytes<T>(
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
    with_bytes(map.map.def().key_size as usize, |key| {
        copy_from_user(key, request.pointer(map_elem::KEY))?;
        then(key)
    })
}

/// The map of a command, if its descriptor allows what the command does.
#[inline]
fn open(handle: &Handle, read: bool, write: bool) -> Result<&LoadedMap, Errno> {
    let map = handle.map()?;
    let access = handle.object_file()?.access();
    if read && !access.read || write && !access.write {
        return Err(Errno::EPERM);
    }
    Ok(map)
}

/// `BPF_MAP_LOOKUP_ELEM`.
pub(super) fn lookup(request: &Request) -> SyscallResult {
    request.ends_at(map_elem::END)?;
    // BPF_F_LOCK, the only flag, needs a lock in the value, which no map has.
    if request.u64(map_elem::FLAGS) != 0 {
        return Err(Errno::EINVAL);
    }
    let handle = request.object(map_elem::MAP_FD)?;
    let map = open(&handle, true, false)?;
    with_key(request, map, |key| {
        with_bytes(map.map.user_value_size(), |value| {
            map.map.lookup(key, value).or_errno()?;
            copy_to_user(request.pointer(map_elem::VALUE), value)?;
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
            map.map.update(key, value, request.u64(map_elem::FLAGS)).or_errno()?;
            Ok(0)
        })
    })
}

/// `BPF_MAP_DELETE_ELEM`.
pub(super) fn delete(request: &Request) -> SyscallResult {
    request.ends_at(map_elem::DELETE_END)?;
    let handle = request.object(map_elem::MAP_FD)?;
    let map = open(&handle, false, true)?;
    with_key(request, map, |key| {
        map.map.delete(key).or_errno()?;
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
            map.map.next_key(key, next).or_errno()?;
            copy_to_user(request.pointer(map_elem::VALUE), next)?;
            Ok(0)
        })
    };
    match request.pointer(map_elem::KEY) {
        0 => next_after(None),
        _ => with_key(request, map, |key| next_after(Some(key))),
    }
}

/// `BPF_MAP_FREEZE`.
pub(super) fn freeze(request: &Request) -> SyscallResult {
    request.ends_at(map_elem::FREEZE_END)?;
    let handle = request.object(map_elem::MAP_FD)?;
    let map = &open(&handle, false, true)?.map;
    // Linux: frozen, its descriptors may no longer be written through, freezing included.
    if map.is_frozen() {
        return Err(Errno::EPERM);
    }
    map.freeze().or_errno()?;
    Ok(0)
}
