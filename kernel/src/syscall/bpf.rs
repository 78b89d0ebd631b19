//! `bpf(2)`: [`sys_bpf`] and the rules that all its commands share.
//!
//! `bpf(command, attr, size)`: `attr` points to `size` bytes of `union bpf_attr`. What the
//! caller gives less counts as zero; what it gives beyond the union must be zero, or `E2BIG`;
//! what a command does not use must be zero, or `EINVAL`. Only the superuser may call it, as on
//! a Linux with `kernel.unprivileged_bpf_disabled`. A command that Lemma does not have returns
//! `EINVAL`.
//!
//! The commands stand in [`map`], [`batch`], [`program`], [`object`] and [`test_run`].

mod batch;
mod debug_info;
mod log;
mod map;
mod object;
mod program;
mod test_run;

use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_abi::Errno;
use kernel_abi::bpf::{ATTR_SIZE, ATTR_SIZE_MAX, Attr, OBJ_NAME_LEN, command};
use kernel_vfs::{OpenFile, OpenFlags};

use super::SyscallResult;
use super::errno::OrErrno;
use crate::bpf::BpfManager;
use crate::bpf::files::{Access, Object, ObjectFile};
use crate::mcore;
use crate::mem::user::{copy_from_user, copy_to_user};

/// What a command gets: the attributes, and where the caller keeps them.
struct Request {
    attr: Attr,
    /// The caller's `union bpf_attr`, for the commands that write into it.
    address: usize,
    /// The caller's idea of its size.
    size: usize,
    manager: &'static BpfManager,
}

/// The system call.
pub fn sys_bpf(args: [usize; 6]) -> SyscallResult {
    let [number, address, size, ..] = args;
    let run: fn(&Request) -> SyscallResult = match number as u32 {
        command::MAP_CREATE => map::create,
        command::MAP_LOOKUP_ELEM => map::lookup,
        command::MAP_UPDATE_ELEM => map::update,
        command::MAP_DELETE_ELEM => map::delete,
        command::MAP_GET_NEXT_KEY => map::next_key,
        command::MAP_LOOKUP_AND_DELETE_ELEM => map::lookup_and_delete,
        command::MAP_FREEZE => map::freeze,
        command::MAP_LOOKUP_BATCH => batch::lookup,
        command::MAP_LOOKUP_AND_DELETE_BATCH => batch::lookup_and_delete,
        command::MAP_UPDATE_BATCH => batch::update,
        command::MAP_DELETE_BATCH => batch::delete,
        command::PROG_LOAD => program::load,
        command::PROG_ATTACH => program::attach,
        command::PROG_DETACH => program::detach,
        command::RAW_TRACEPOINT_OPEN => program::raw_tracepoint_open,
        command::LINK_CREATE => program::link_create,
        command::LINK_UPDATE => program::link_update,
        command::LINK_DETACH => program::link_detach,
        command::BTF_LOAD => program::btf_load,
        command::PROG_TEST_RUN => test_run::test_run,
        command::OBJ_PIN => object::pin,
        command::OBJ_GET => object::get,
        command::OBJ_GET_INFO_BY_FD => object::info,
        command::PROG_GET_NEXT_ID => object::next_program,
        command::MAP_GET_NEXT_ID => object::next_map,
        command::BTF_GET_NEXT_ID => object::next_btf,
        command::LINK_GET_NEXT_ID => object::next_link,
        command::PROG_GET_FD_BY_ID => object::program_by_id,
        command::MAP_GET_FD_BY_ID => object::map_by_id,
        command::BTF_GET_FD_BY_ID => object::btf_by_id,
        command::LINK_GET_FD_BY_ID => object::link_by_id,
        _ => unknown,
    };
    if !mcore::current().process().credentials().is_privileged() {
        return Err(Errno::EPERM);
    }
    let manager = BpfManager::get().ok_or(Errno::ENOSYS)?;
    let size = size as u32 as usize;
    let mut request = Request { attr: Attr::zeroed(), address, size, manager };
    read_attr(&mut request.attr, address, size)?;
    run(&request)
}

fn unknown(_: &Request) -> SyscallResult {
    Err(Errno::EINVAL)
}

/// Copies the caller's attributes into `attr`, which is zero, by the size rules of `bpf(2)`.
#[inline]
fn read_attr(attr: &mut Attr, address: usize, size: usize) -> Result<(), Errno> {
    if size > ATTR_SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    let mut rest = size.saturating_sub(ATTR_SIZE);
    let mut at = address.saturating_add(ATTR_SIZE);
    while rest > 0 {
        let mut chunk = [0; 64];
        let count = rest.min(chunk.len());
        let part = chunk.get_mut(..count).ok_or(Errno::EINVAL)?;
        copy_from_user(part, at)?;
        if part.iter().any(|&byte| byte != 0) {
            return Err(Errno::E2BIG);
        }
        rest -= count;
        at = at.saturating_add(count);
    }
    let known = attr.bytes_mut().get_mut(..size.min(ATTR_SIZE)).ok_or(Errno::EINVAL)?;
    copy_from_user(known, address)?;
    Ok(())
}

impl Request {
    /// What lies behind the last field that the command uses must be zero.
    #[inline]
    fn ends_at(&self, offset: usize) -> Result<(), Errno> {
        if self.attr.zero_from(offset) { Ok(()) } else { Err(Errno::EINVAL) }
    }

    #[inline]
    fn u32(&self, offset: usize) -> u32 {
        self.attr.u32(offset)
    }

    #[inline]
    fn u64(&self, offset: usize) -> u64 {
        self.attr.u64(offset)
    }

    /// A user pointer.
    #[inline]
    fn pointer(&self, offset: usize) -> usize {
        self.attr.u64(offset) as usize
    }

    /// Writes a result into the caller's attributes.
    fn write_u32(&self, offset: usize, value: u32) -> Result<(), Errno> {
        Ok(copy_to_user(self.address.wrapping_add(offset), &value.to_ne_bytes())?)
    }

    /// A name: letters, digits, `_` and `.`, ended by a NUL.
    fn name(&self, offset: usize) -> Result<[u8; OBJ_NAME_LEN], Errno> {
        let bytes = self.attr.slice(offset, OBJ_NAME_LEN);
        let length = bytes.iter().position(|&byte| byte == 0).ok_or(Errno::EINVAL)?;
        let (text, rest) = bytes.split_at(length);
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
        if !text.iter().all(legal) || rest.iter().any(|&byte| byte != 0) {
            return Err(Errno::EINVAL);
        }
        bytes.try_into().map_err(|_| Errno::EINVAL)
    }

    /// The BPF object behind the descriptor in a field; `EINVAL` if it is another kind of file.
    #[inline]
    fn object(&self, offset: usize) -> Result<Handle, Errno> {
        Handle::from_descriptor(self.u32(offset))
    }
}

/// An open descriptor that is known to be a BPF object's.
struct Handle {
    file: Arc<OpenFile>,
}

impl Handle {
    fn from_descriptor(fd: u32) -> Result<Self, Errno> {
        let file = super::path::Caller::new().file(fd as usize)?;
        if file.file().downcast_ref::<ObjectFile>().is_none() {
            return Err(Errno::EINVAL);
        }
        Ok(Self { file })
    }

    fn object_file(&self) -> Result<&ObjectFile, Errno> {
        self.file.file().downcast_ref::<ObjectFile>().ok_or(Errno::EINVAL)
    }

    fn object(&self) -> Result<&Object, Errno> {
        self.object_file().map(ObjectFile::object)
    }

    fn map(&self) -> Result<&Arc<crate::bpf::map::LoadedMap>, Errno> {
        if let Object::Map(map) = self.object()? { Ok(map) } else { Err(Errno::EINVAL) }
    }

    fn program(&self) -> Result<&Arc<crate::bpf::program::LoadedProgram>, Errno> {
        if let Object::Program(program) = self.object()? { Ok(program) } else { Err(Errno::EINVAL) }
    }

    fn link(&self) -> Result<&Arc<crate::bpf::link::Link>, Errno> {
        if let Object::Link(link) = self.object()? { Ok(link) } else { Err(Errno::EINVAL) }
    }

    fn btf(&self) -> Result<&Arc<crate::bpf::btf::LoadedBtf>, Errno> {
        if let Object::Btf(btf) = self.object()? { Ok(btf) } else { Err(Errno::EINVAL) }
    }
}

/// Gives the caller a descriptor, close-on-exec as all of Linux's BPF descriptors are.
fn install(object: Object, access: Access) -> SyscallResult {
    let flags = match access {
        Access { read: true, write: false } => OpenFlags::empty(),
        Access { read: false, write: true } => OpenFlags::WRITE_ONLY,
        _ => OpenFlags::READ_WRITE,
    };
    let file = OpenFile::new(ObjectFile::new(object, access), None, flags);
    let task = mcore::current();
    let files = task.files().ok_or(Errno::EBADF)?;
    Ok(files.install(file, true).or_errno()? as usize)
}

/// A zeroed buffer, or `ENOMEM`.
fn buffer(bytes: usize) -> Result<Vec<u8>, Errno> {
    crate::mem::memapi::may_allocate(bytes)?;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).map_err(|_| Errno::ENOMEM)?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}

/// `bytes` bytes from the caller, or `ENOMEM`, or `EFAULT`.
fn read_bytes(address: usize, bytes: usize) -> Result<Vec<u8>, Errno> {
    let mut copy = buffer(bytes)?;
    copy_from_user(&mut copy, address)?;
    Ok(copy)
}
