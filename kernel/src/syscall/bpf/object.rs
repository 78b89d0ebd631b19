//! Commands on objects of any kind: numbers, descriptors by number, information, pins.

use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_abi::Errno;
use kernel_abi::bpf::{btf_info, get_id, info, link_info, map_info, obj, prog_info};

use super::{Request, SyscallResult, install};
use crate::bpf::btf::LoadedBtf;
use crate::bpf::files::{Access, Object};
use crate::bpf::link::Link;
use crate::bpf::map::{LoadedMap, UserMap};
use crate::bpf::program::LoadedProgram;
use crate::file::bpffs;
use crate::mem::user::copy_to_user;
use crate::syscall::errno::OrErrno;
use crate::syscall::path::path_from_user;

/// Writes the number that follows `start_id`, or fails with `ENOENT` at the end.
fn next_id(request: &Request, next: Option<u32>) -> SyscallResult {
    let next = next.ok_or(Errno::ENOENT)?;
    request.write_u32(get_id::NEXT_ID, next)?;
    Ok(0)
}

/// The number after which to look.
fn start_id(request: &Request) -> Result<u32, Errno> {
    request.ends_at(get_id::NEXT_END)?;
    let start = request.u32(get_id::ID);
    if start >= i32::MAX as u32 { Err(Errno::EINVAL) } else { Ok(start) }
}

/// `BPF_PROG_GET_NEXT_ID`.
pub(super) fn next_program(request: &Request) -> SyscallResult {
    let start = start_id(request)?;
    next_id(request, request.manager.next_program(start))
}

/// `BPF_MAP_GET_NEXT_ID`.
pub(super) fn next_map(request: &Request) -> SyscallResult {
    let start = start_id(request)?;
    next_id(request, request.manager.next_map(start))
}

/// `BPF_BTF_GET_NEXT_ID`.
pub(super) fn next_btf(request: &Request) -> SyscallResult {
    let start = start_id(request)?;
    next_id(request, request.manager.next_btf(start))
}

/// `BPF_LINK_GET_NEXT_ID`.
pub(super) fn next_link(request: &Request) -> SyscallResult {
    let start = start_id(request)?;
    next_id(request, request.manager.next_link(start))
}

/// The number to open. `next_id` and, except for maps, `open_flags` must be zero.
fn wanted_id(request: &Request, end: usize) -> Result<u32, Errno> {
    request.ends_at(end)?;
    if request.u32(get_id::NEXT_ID) != 0 && end <= get_id::OPEN_FLAGS {
        return Err(Errno::EINVAL);
    }
    Ok(request.u32(get_id::ID))
}

/// `BPF_PROG_GET_FD_BY_ID`.
pub(super) fn program_by_id(request: &Request) -> SyscallResult {
    let id = wanted_id(request, get_id::NEXT_ID)?;
    let program = request.manager.program(id).ok_or(Errno::ENOENT)?;
    install(Object::Program(program), Access::FULL)
}

/// `BPF_MAP_GET_FD_BY_ID`, with `BPF_F_RDONLY` or `BPF_F_WRONLY`.
pub(super) fn map_by_id(request: &Request) -> SyscallResult {
    let id = wanted_id(request, get_id::END)?;
    let flags = request.u32(get_id::OPEN_FLAGS);
    let known = kernel_bpf::map::def::flags::RDONLY | kernel_bpf::map::def::flags::WRONLY;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let access = super::map::access_of(flags)?;
    let map = request.manager.map(id).ok_or(Errno::ENOENT)?;
    install(Object::Map(UserMap::new(map)), access)
}

/// `BPF_BTF_GET_FD_BY_ID`.
pub(super) fn btf_by_id(request: &Request) -> SyscallResult {
    let id = wanted_id(request, get_id::NEXT_ID)?;
    let btf = request.manager.btf(id).ok_or(Errno::ENOENT)?;
    install(Object::Btf(btf), Access::FULL)
}

/// `BPF_LINK_GET_FD_BY_ID`.
pub(super) fn link_by_id(request: &Request) -> SyscallResult {
    let id = wanted_id(request, get_id::NEXT_ID)?;
    let link = request.manager.find_link(id).ok_or(Errno::ENOENT)?;
    install(Object::Link(link), Access::FULL)
}

/// `BPF_OBJ_PIN`: gives an object a name in the BPF file system.
pub(super) fn pin(request: &Request) -> SyscallResult {
    request.ends_at(obj::END)?;
    // No flags, and no path relative to a descriptor: neither is asked for by libbpf's calls.
    if request.u32(obj::FILE_FLAGS) != 0 || request.u32(obj::PATH_FD) != 0 {
        return Err(Errno::EINVAL);
    }
    let handle = request.object(obj::BPF_FD)?;
    let object = handle.object()?.clone();
    if matches!(object, Object::Btf(_)) {
        return Err(Errno::EINVAL);
    }
    let path = path_from_user(request.pointer(obj::PATHNAME))?;
    bpffs::pin(&path, Arc::new(object)).or_errno()?;
    Ok(0)
}

/// `BPF_OBJ_GET`: a descriptor for a pinned object.
pub(super) fn get(request: &Request) -> SyscallResult {
    request.ends_at(obj::END)?;
    let flags = request.u32(obj::FILE_FLAGS);
    let known = kernel_bpf::map::def::flags::RDONLY | kernel_bpf::map::def::flags::WRONLY;
    if request.u32(obj::BPF_FD) != 0 || request.u32(obj::PATH_FD) != 0 || flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let access = super::map::access_of(flags)?;
    let path = path_from_user(request.pointer(obj::PATHNAME))?;
    let object = bpffs::get(&path).or_errno()?.downcast::<Object>().map_err(|_| Errno::EINVAL)?;
    let access = match &*object {
        Object::Map(_) => access,
        Object::Link(_) if flags != 0 => return Err(Errno::EINVAL),
        _ => Access::FULL,
    };
    install((*object).clone(), access)
}

/// `BPF_OBJ_GET_INFO_BY_FD`: as much of the information as the caller has room for. The caller
/// may know a longer structure, if what it passes beyond ours is zero.
pub(super) fn info(request: &Request) -> SyscallResult {
    request.ends_at(info::END)?;
    let handle = request.object(info::BPF_FD)?;
    let asked = Asked::read(request)?;
    let block = match handle.object()? {
        Object::Program(program) => describe_program(program, &asked)?,
        Object::Map(map) => describe_map(map),
        Object::Link(link) => describe_link(link, &asked)?,
        Object::Btf(btf) => describe_btf(btf, &asked)?,
    };
    let length = asked.length.min(block.bytes.len());
    copy_to_user(asked.address, block.bytes.get(..length).unwrap_or(&[]))?;
    request.write_u32(info::INFO_LEN, length as u32)?;
    Ok(0)
}

/// Longest information structure of all.
const INFO_MAX: usize = prog_info::SIZE;

/// What the caller passed as information: some fields say where lists shall go.
struct Asked {
    address: usize,
    length: usize,
    bytes: [u8; INFO_MAX],
}

impl Asked {
    fn read(request: &Request) -> Result<Self, Errno> {
        let address = request.pointer(info::INFO);
        let length = request.u32(info::INFO_LEN) as usize;
        if length > crate::arch::PAGE_SIZE {
            return Err(Errno::E2BIG);
        }
        let all: Vec<u8> = super::read_bytes(address, length)?;
        let mut bytes = [0; INFO_MAX];
        let known = length.min(INFO_MAX);
        if all.iter().skip(INFO_MAX).any(|&byte| byte != 0) {
            return Err(Errno::E2BIG);
        }
        for (to, from) in bytes.iter_mut().zip(all.iter().take(known)) {
            *to = *from;
        }
        Ok(Self { address, length, bytes })
    }

    fn u32(&self, offset: usize) -> u32 {
        let bytes = self.bytes.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    }

    fn pointer(&self, offset: usize) -> usize {
        let bytes = self.bytes.get(offset..offset + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_ne_bytes) as usize
    }
}

/// An information structure being filled.
struct Block {
    bytes: Vec<u8>,
}

impl Block {
    fn new(size: usize) -> Self {
        Self { bytes: alloc::vec![0; size] }
    }

    fn put(&mut self, offset: usize, value: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(offset).zip(value) {
            *to = *from;
        }
    }

    fn u32(&mut self, offset: usize, value: u32) {
        self.put(offset, &value.to_ne_bytes());
    }

    fn u64(&mut self, offset: usize, value: u64) {
        self.put(offset, &value.to_ne_bytes());
    }
}

fn describe_program(program: &LoadedProgram, asked: &Asked) -> Result<Block, Errno> {
    let mut block = Block::new(prog_info::SIZE);
    let code = &program.code;
    block.u32(prog_info::TYPE, code.prog_type().number());
    block.u32(prog_info::ID, program.id);
    block.put(prog_info::TAG, &program.tag());
    block.u64(prog_info::LOAD_TIME, program.load_time_ns);
    block.u32(prog_info::CREATED_BY_UID, program.uid);
    block.put(prog_info::NAME, &program.name);
    block.u32(prog_info::GPL_COMPATIBLE, u32::from(program.gpl_compatible));
    // The machine code itself stays in the kernel: it shows where things are.
    block.u32(prog_info::JITED_PROG_LEN, code.ready().machine_code_bytes() as u32);
    block.u32(prog_info::BTF_ID, program.btf.as_ref().map_or(0, |btf| btf.id));
    block.u64(prog_info::RUN_TIME_NS, code.run_time_ns());
    block.u64(prog_info::RUN_CNT, code.run_count());
    block.u32(prog_info::VERIFIED_INSNS, code.bounds().processed as u32);

    // Lists go where the caller says, as far as it has room; the count is the whole one.
    let ids: Vec<u8> = program.maps.iter().flat_map(|map| map.id.to_ne_bytes()).collect();
    let room = asked.u32(prog_info::NR_MAP_IDS) as usize * 4;
    copy_to_user(asked.pointer(prog_info::MAP_IDS), ids.get(..room.min(ids.len())).unwrap_or(&[]))?;
    block.u32(prog_info::NR_MAP_IDS, program.maps.len() as u32);
    block.u64(prog_info::MAP_IDS, asked.pointer(prog_info::MAP_IDS) as u64);

    let room = asked.u32(prog_info::XLATED_PROG_LEN) as usize;
    let bytes = program.bytes.get(..room.min(program.bytes.len())).unwrap_or(&[]);
    copy_to_user(asked.pointer(prog_info::XLATED_PROG_INSNS), bytes)?;
    block.u32(prog_info::XLATED_PROG_LEN, program.bytes.len() as u32);
    block.u64(prog_info::XLATED_PROG_INSNS, asked.pointer(prog_info::XLATED_PROG_INSNS) as u64);
    Ok(block)
}

fn describe_map(map: &LoadedMap) -> Block {
    let mut block = Block::new(map_info::SIZE);
    let def = map.map.def();
    block.u32(map_info::TYPE, def.map_type.number());
    block.u32(map_info::ID, map.id);
    block.u32(map_info::KEY_SIZE, def.key_size);
    block.u32(map_info::VALUE_SIZE, def.value_size);
    block.u32(map_info::MAX_ENTRIES, def.max_entries);
    block.u32(map_info::MAP_FLAGS, def.flags);
    block.put(map_info::NAME, &map.name);
    block.u64(map_info::MAP_EXTRA, map.map.map_extra());
    if let Some(types) = &map.types {
        block.u32(map_info::BTF_ID, types.btf.id);
        block.u32(map_info::BTF_KEY_TYPE_ID, types.key_type_id);
        block.u32(map_info::BTF_VALUE_TYPE_ID, types.value_type_id);
    }
    block
}

fn describe_link(link: &Link, asked: &Asked) -> Result<Block, Errno> {
    let mut block = Block::new(link_info::SIZE);
    block.u32(link_info::ID, link.id);
    block.u32(link_info::PROG_ID, link.program().map_or(0, |program| program.id));
    let hook = link.hook.declaration();
    if link.raw_tracepoint {
        block.u32(link_info::TYPE, link_info::TYPE_RAW_TRACEPOINT);
        let mut name: Vec<u8> = hook.name.bytes().collect();
        name.push(0);
        let room = asked.u32(link_info::TP_NAME_LEN) as usize;
        let address = asked.pointer(link_info::TP_NAME);
        if room > 0 {
            let part = name.get(..room.min(name.len())).unwrap_or(&[]);
            copy_to_user(address, part)?;
            if room < name.len() {
                return Err(Errno::ENOSPC);
            }
        }
        block.u64(link_info::TP_NAME, address as u64);
        block.u32(link_info::TP_NAME_LEN, name.len() as u32);
    } else {
        block.u32(link_info::TYPE, link_info::TYPE_TRACING);
        block.u32(link_info::ATTACH_TYPE, hook.attach_type);
    }
    Ok(block)
}

fn describe_btf(btf: &LoadedBtf, asked: &Asked) -> Result<Block, Errno> {
    let mut block = Block::new(btf_info::SIZE);
    let address = asked.pointer(btf_info::BTF);
    let room = asked.u32(btf_info::BTF_SIZE) as usize;
    copy_to_user(address, btf.bytes.get(..room.min(btf.bytes.len())).unwrap_or(&[]))?;
    block.u64(btf_info::BTF, address as u64);
    block.u32(btf_info::BTF_SIZE, btf.bytes.len() as u32);
    block.u32(btf_info::ID, btf.id);
    if !btf.name.is_empty() {
        // The room is for the name with its end; what does not fit is cut, and ended.
        let (place, room) = (asked.pointer(btf_info::NAME), asked.u32(btf_info::NAME_LEN));
        if let Some(most) = (room as usize).checked_sub(1)
            && place != 0
        {
            let name = btf.name.as_bytes();
            let name = name.get(..most).unwrap_or(name);
            copy_to_user(place, name)?;
            copy_to_user(place + name.len(), &[0])?;
        }
        block.u64(btf_info::NAME, place as u64);
        block.u32(btf_info::NAME_LEN, btf.name.len() as u32);
        block.u32(btf_info::KERNEL_BTF, 1);
    }
    Ok(block)
}
