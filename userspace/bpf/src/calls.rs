//! The commands of `bpf(2)`, typed. Descriptors are owned and close themselves.

use crate::attributes::Attributes;
use alloc::vec::Vec;
use core::ffi::CStr;
use kernel_abi::bpf::{
    F_REPLACE, btf_load, command, get_id, info, map_create, map_elem, obj, prog_attach, prog_load,
    test_run,
};
use lemma_rt::rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use lemma_rt::{Result, sys};

/// Makes a command with the whole union.
///
/// # Safety
/// Pointers in the attributes are valid for what the command does with them.
unsafe fn call(command: u32, attributes: &mut Attributes, length: usize) -> Result<usize> {
    // SAFETY: the caller's promise.
    unsafe { sys::bpf(command, attributes.bytes_mut(length)) }
}

fn owned(number: usize) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(number as i32) }
}

/// What a map is to be.
#[derive(Clone, Debug, Default)]
pub struct NewMap<'a> {
    pub kind: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub flags: u32,
    pub name: &'a str,
    /// Descriptor of the types, with the numbers of the key's and the value's.
    pub types: Option<(i32, u32, u32)>,
    /// Descriptor of a map like those that a map of maps is to hold.
    pub inner: Option<i32>,
    /// The number of hash functions of a bloom filter.
    pub extra: u64,
}

/// `MAP_CREATE`.
pub fn create_map(new: &NewMap<'_>) -> Result<OwnedFd> {
    let (btf, key, value) = new.types.unwrap_or_default();
    let mut attributes = Attributes::new()
        .with(map_create::MAP_TYPE, new.kind)
        .with(map_create::KEY_SIZE, new.key_size)
        .with(map_create::VALUE_SIZE, new.value_size)
        .with(map_create::MAX_ENTRIES, new.max_entries)
        .with(map_create::MAP_FLAGS, new.flags)
        .with_fd(map_create::INNER_MAP_FD, new.inner.unwrap_or_default())
        .with64(map_create::MAP_EXTRA, new.extra)
        .with_name(map_create::MAP_NAME, new.name)
        .with_fd(map_create::BTF_FD, btf)
        .with(map_create::BTF_KEY_TYPE_ID, key)
        .with(map_create::BTF_VALUE_TYPE_ID, value);
    // SAFETY: no pointers.
    unsafe { call(command::MAP_CREATE, &mut attributes, map_create::END) }.map(owned)
}

/// `MAP_UPDATE_ELEM`, of a map whose keys and values have the sizes of these.
///
/// # Errors
/// The kernel's.
pub fn update(map: BorrowedFd<'_>, key: &[u8; 4], value: &[u8; 4], flags: u64) -> Result<()> {
    let mut attributes = Attributes::new()
        .with_fd(map_elem::MAP_FD, map.as_raw_fd())
        .with_pointer(map_elem::KEY, key.as_ptr())
        .with_pointer(map_elem::VALUE, value.as_ptr())
        .with64(map_elem::FLAGS, flags);
    // SAFETY: maps of descriptors have keys and values of four bytes each.
    unsafe { call(command::MAP_UPDATE_ELEM, &mut attributes, map_elem::END) }.map(drop)
}

/// A map with the sizes of its keys and values, as the kernel reads and writes them.
#[derive(Debug)]
pub struct Map {
    pub fd: OwnedFd,
    pub key_size: usize,
    /// For per-CPU maps, all values: the size rounded up to 8, for each possible CPU.
    pub value_size: usize,
}

impl Map {
    fn element(&self, key: Option<&[u8]>, value: *const u8) -> Attributes {
        // Of a map without keys the kernel wants no pointer to one.
        let key = key.filter(|key| !key.is_empty());
        Attributes::new()
            .with_fd(map_elem::MAP_FD, self.fd.as_raw_fd())
            .with_pointer(map_elem::KEY, key.map_or(core::ptr::null(), <[u8]>::as_ptr))
            .with_pointer(map_elem::VALUE, value)
    }

    /// A key of the right size, whatever was given.
    fn fitted(key: &[u8], size: usize) -> Vec<u8> {
        let mut key = key.to_vec();
        key.resize(size, 0);
        key
    }

    /// `MAP_LOOKUP_ELEM`.
    pub fn lookup(&self, key: &[u8]) -> Result<Vec<u8>> {
        let key = Self::fitted(key, self.key_size);
        let mut value = alloc::vec![0; self.value_size];
        let mut attributes = self.element(Some(&key), value.as_mut_ptr());
        // SAFETY: key and value have the map's sizes.
        unsafe { call(command::MAP_LOOKUP_ELEM, &mut attributes, map_elem::END) }?;
        Ok(value)
    }

    /// `MAP_UPDATE_ELEM`.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        let key = Self::fitted(key, self.key_size);
        let value = Self::fitted(value, self.value_size);
        let mut attributes =
            self.element(Some(&key), value.as_ptr()).with64(map_elem::FLAGS, flags);
        // SAFETY: key and value have the map's sizes.
        unsafe { call(command::MAP_UPDATE_ELEM, &mut attributes, map_elem::END) }.map(drop)
    }

    /// `MAP_LOOKUP_AND_DELETE_ELEM`.
    pub fn lookup_and_delete(&self, key: &[u8]) -> Result<Vec<u8>> {
        let key = Self::fitted(key, self.key_size);
        let mut value = alloc::vec![0; self.value_size];
        let mut attributes = self.element(Some(&key), value.as_mut_ptr());
        // SAFETY: key and value have the map's sizes.
        unsafe { call(command::MAP_LOOKUP_AND_DELETE_ELEM, &mut attributes, map_elem::END) }?;
        Ok(value)
    }

    /// `MAP_DELETE_ELEM`.
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        let key = Self::fitted(key, self.key_size);
        let mut attributes = self.element(Some(&key), core::ptr::null());
        // SAFETY: the key has the map's size.
        unsafe { call(command::MAP_DELETE_ELEM, &mut attributes, map_elem::DELETE_END) }.map(drop)
    }

    /// `MAP_GET_NEXT_KEY`: the key after this one, or the first.
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>> {
        let key = key.map(|key| Self::fitted(key, self.key_size));
        let mut next = alloc::vec![0; self.key_size];
        let mut attributes = self.element(key.as_deref(), next.as_mut_ptr());
        // SAFETY: both keys have the map's size.
        unsafe { call(command::MAP_GET_NEXT_KEY, &mut attributes, map_elem::NEXT_KEY_END) }?;
        Ok(next)
    }

    /// `MAP_FREEZE`: user space may no longer write.
    pub fn freeze(&self) -> Result<()> {
        let mut attributes = self.element(None, core::ptr::null());
        // SAFETY: no pointers.
        unsafe { call(command::MAP_FREEZE, &mut attributes, map_elem::FREEZE_END) }.map(drop)
    }
}

/// `BTF_LOAD`.
pub fn load_types(bytes: &[u8]) -> Result<OwnedFd> {
    let mut attributes = Attributes::new()
        .with_pointer(btf_load::BTF, bytes.as_ptr())
        .with(btf_load::SIZE, bytes.len() as u32);
    // SAFETY: the kernel reads the slice.
    unsafe { call(command::BTF_LOAD, &mut attributes, btf_load::LOG_TRUE_SIZE) }.map(owned)
}

/// What a program is to be.
#[derive(Clone, Debug, Default)]
pub struct NewProgram<'a> {
    pub kind: u32,
    pub expected_attach_type: u32,
    pub name: &'a str,
    pub instructions: &'a [u8],
    pub license: &'a CStr,
    /// Descriptor of the types, and the records of functions and lines.
    pub types: Option<i32>,
    pub functions: &'a [[u32; 2]],
    pub lines: &'a [[u32; 4]],
}

/// `PROG_LOAD`. The verifier's log goes to `log` (empty: none is asked for).
pub fn load_program(new: &NewProgram<'_>, log: &mut [u8]) -> Result<OwnedFd> {
    let mut attributes = Attributes::new()
        .with(prog_load::PROG_TYPE, new.kind)
        .with(prog_load::INSN_CNT, (new.instructions.len() / 8) as u32)
        .with_pointer(prog_load::INSNS, new.instructions.as_ptr())
        .with_pointer(prog_load::LICENSE, new.license.as_ptr())
        .with_name(prog_load::PROG_NAME, new.name)
        .with(prog_load::EXPECTED_ATTACH_TYPE, new.expected_attach_type);
    if !log.is_empty() {
        attributes = attributes
            .with(prog_load::LOG_LEVEL, 1)
            .with(prog_load::LOG_SIZE, log.len() as u32)
            .with_pointer(prog_load::LOG_BUF, log.as_mut_ptr());
    }
    if let Some(types) = new.types {
        attributes = attributes.with_fd(prog_load::PROG_BTF_FD, types);
        if !new.functions.is_empty() {
            attributes = attributes
                .with(prog_load::FUNC_INFO_REC_SIZE, 8)
                .with_pointer(prog_load::FUNC_INFO, new.functions.as_ptr())
                .with(prog_load::FUNC_INFO_CNT, new.functions.len() as u32);
        }
        if !new.lines.is_empty() {
            attributes = attributes
                .with(prog_load::LINE_INFO_REC_SIZE, 16)
                .with_pointer(prog_load::LINE_INFO, new.lines.as_ptr())
                .with(prog_load::LINE_INFO_CNT, new.lines.len() as u32);
        }
    }
    // SAFETY: each pointer goes with the length of its slice; the licence ends with NUL.
    unsafe { call(command::PROG_LOAD, &mut attributes, prog_load::FD_ARRAY) }.map(owned)
}

/// `OBJ_PIN`.
pub fn pin(path: &CStr, fd: BorrowedFd<'_>) -> Result<()> {
    let mut attributes = Attributes::new()
        .with_pointer(obj::PATHNAME, path.as_ptr())
        .with_fd(obj::BPF_FD, fd.as_raw_fd());
    // SAFETY: the path ends with NUL.
    unsafe { call(command::OBJ_PIN, &mut attributes, obj::FILE_FLAGS + 4) }.map(drop)
}

/// `OBJ_GET`: what is pinned at a path.
pub fn pinned(path: &CStr) -> Result<OwnedFd> {
    let mut attributes = Attributes::new().with_pointer(obj::PATHNAME, path.as_ptr());
    // SAFETY: the path ends with NUL.
    unsafe { call(command::OBJ_GET, &mut attributes, obj::FILE_FLAGS + 4) }.map(owned)
}

/// `PROG_ATTACH` to a hook; in the place of `replace` if that is given, in one step.
pub fn attach(
    program: BorrowedFd<'_>,
    attach_type: u32,
    replace: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let mut attributes = Attributes::new()
        .with_fd(prog_attach::ATTACH_BPF_FD, program.as_raw_fd())
        .with(prog_attach::ATTACH_TYPE, attach_type);
    if let Some(old) = replace {
        attributes = attributes
            .with(prog_attach::ATTACH_FLAGS, F_REPLACE)
            .with_fd(prog_attach::REPLACE_BPF_FD, old.as_raw_fd());
    }
    // SAFETY: no pointers.
    unsafe { call(command::PROG_ATTACH, &mut attributes, prog_attach::END) }.map(drop)
}

/// `PROG_DETACH` from a hook.
pub fn detach(program: BorrowedFd<'_>, attach_type: u32) -> Result<()> {
    let mut attributes = Attributes::new()
        .with_fd(prog_attach::ATTACH_BPF_FD, program.as_raw_fd())
        .with(prog_attach::ATTACH_TYPE, attach_type);
    // SAFETY: no pointers.
    unsafe { call(command::PROG_DETACH, &mut attributes, prog_attach::END) }.map(drop)
}

/// What `PROG_TEST_RUN` tells.
#[derive(Clone, Debug, Default)]
pub struct TestRun {
    /// What the program returned.
    pub result: u32,
    /// Nanoseconds for one run.
    pub duration: u32,
    /// The data as the program left it.
    pub data: Vec<u8>,
}

/// `PROG_TEST_RUN` with packet data, or with a context for programs without packets.
pub fn test(program: BorrowedFd<'_>, data: &[u8], context: &[u8], repeat: u32) -> Result<TestRun> {
    let mut out = alloc::vec![0; data.len()];
    let mut attributes = Attributes::new()
        .with_fd(test_run::PROG_FD, program.as_raw_fd())
        .with(test_run::REPEAT, repeat);
    if !data.is_empty() {
        attributes = attributes
            .with(test_run::DATA_SIZE_IN, data.len() as u32)
            .with_pointer(test_run::DATA_IN, data.as_ptr())
            .with(test_run::DATA_SIZE_OUT, out.len() as u32)
            .with_pointer(test_run::DATA_OUT, out.as_mut_ptr());
    }
    if !context.is_empty() {
        attributes = attributes
            .with(test_run::CTX_SIZE_IN, context.len() as u32)
            .with_pointer(test_run::CTX_IN, context.as_ptr());
    }
    // SAFETY: each pointer goes with the length of its slice.
    unsafe { call(command::PROG_TEST_RUN, &mut attributes, test_run::END) }?;
    out.truncate(attributes.get(test_run::DATA_SIZE_OUT) as usize);
    Ok(TestRun {
        result: attributes.get(test_run::RETVAL),
        duration: attributes.get(test_run::DURATION),
        data: out,
    })
}

/// What is counted by the kernel in numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Program,
    Map,
    Types,
}

impl Kind {
    const fn commands(self) -> (u32, u32) {
        match self {
            Self::Program => (command::PROG_GET_NEXT_ID, command::PROG_GET_FD_BY_ID),
            Self::Map => (command::MAP_GET_NEXT_ID, command::MAP_GET_FD_BY_ID),
            Self::Types => (command::BTF_GET_NEXT_ID, command::BTF_GET_FD_BY_ID),
        }
    }
}

/// `*_GET_NEXT_ID`: the first number above `id`; an error (`ENOENT`) after the last.
pub fn next_id(kind: Kind, id: u32) -> Result<u32> {
    let mut attributes = Attributes::new().with(get_id::ID, id);
    // SAFETY: no pointers.
    unsafe { call(kind.commands().0, &mut attributes, get_id::END) }?;
    Ok(attributes.get(get_id::NEXT_ID))
}

/// All numbers in use, ascending.
pub fn ids(kind: Kind) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    loop {
        match next_id(kind, ids.last().copied().unwrap_or(0)) {
            Ok(id) => ids.push(id),
            Err(lemma_rt::Errno::NOENT) => return Ok(ids),
            Err(error) => return Err(error),
        }
    }
}

/// `*_GET_FD_BY_ID`.
pub fn by_id(kind: Kind, id: u32) -> Result<OwnedFd> {
    let mut attributes = Attributes::new().with(get_id::ID, id);
    // SAFETY: no pointers.
    unsafe { call(kind.commands().1, &mut attributes, get_id::END) }.map(owned)
}

/// `OBJ_GET_INFO_BY_FD`: fills `room`, which may hold pointers at places that the structure has
/// for them; how much of it is filled.
///
/// # Safety
/// Pointers in `room` are valid for the lengths that go with them.
pub unsafe fn information(fd: BorrowedFd<'_>, room: &mut [u8]) -> Result<usize> {
    let mut attributes = Attributes::new()
        .with_fd(info::BPF_FD, fd.as_raw_fd())
        .with(info::INFO_LEN, room.len() as u32)
        .with_pointer(info::INFO, room.as_mut_ptr());
    // SAFETY: the room is as long as said; the rest is the caller's promise.
    unsafe { call(command::OBJ_GET_INFO_BY_FD, &mut attributes, info::END) }?;
    Ok((attributes.get(info::INFO_LEN) as usize).min(room.len()))
}
