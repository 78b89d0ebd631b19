//! Programs, maps, links and BTF as descriptors: one `File` type each, whose `fdinfo` tells
//! what Linux's tells and what Lemma knows besides (`worst_case_insns` and its like).

use alloc::sync::Arc;
use core::any::Any;
use core::fmt;

use kernel_bpf::map::{MapType, RingBuffer, Writer};
use kernel_vfs::{File, FsError, Readiness, SharedFrame};

use super::btf::LoadedBtf;
use super::link::Link;
use super::map::{LoadedMap, UserMap};
use super::program::LoadedProgram;
use crate::arch::{Arch, Architecture, PAGE_SIZE};

/// A BPF object that a descriptor or a pin holds.
#[derive(Clone)]
pub enum Object {
    Program(Arc<LoadedProgram>),
    Map(UserMap),
    Link(Arc<Link>),
    Btf(Arc<LoadedBtf>),
}

/// A descriptor's [`Object`].
pub struct ObjectFile {
    object: Object,
    /// For maps: what the descriptor allows (`BPF_F_RDONLY`, `BPF_F_WRONLY`).
    access: Access,
}

/// What system calls may do to a map through a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub read: bool,
    pub write: bool,
}

impl Access {
    /// Both.
    pub const FULL: Self = Self { read: true, write: true };
}

impl ObjectFile {
    pub fn new(object: Object, access: Access) -> Arc<Self> {
        Arc::new(Self { object, access })
    }

    pub fn object(&self) -> &Object {
        &self.object
    }

    pub fn access(&self) -> Access {
        self.access
    }

    /// What a perf event array knows this opening by.
    pub fn origin(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

impl Drop for ObjectFile {
    /// The events that were put into a map by this descriptor go with it.
    fn drop(&mut self) {
        if let Object::Map(map) = &self.object
            && map.map.def().map_type == MapType::PerfEventArray
        {
            map.map.remove_events_of(self.origin());
            map.let_go();
        }
    }
}

impl File for ObjectFile {
    fn label(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str(match &self.object {
            Object::Program(_) => "anon_inode:bpf-prog",
            Object::Map(_) => "anon_inode:bpf-map",
            Object::Link(_) => "anon_inode:bpf_link",
            Object::Btf(_) => "anon_inode:btf",
        })
    }

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        match &self.object {
            Object::Program(program) => describe_program(program, out),
            Object::Map(map) => describe_map(map, out),
            Object::Link(link) => {
                writeln!(out, "link_type:\t{}", link_type(link))?;
                writeln!(out, "link_id:\t{}", link.id)?;
                writeln!(out, "prog_id:\t{}", link.program().map_or(0, |program| program.id))?;
                writeln!(out, "attached_hook:\t{}", link.hook.declaration().name)
            }
            Object::Btf(btf) => writeln!(out, "btf_id:\t{}", btf.id),
        }
    }

    /// A ring buffer is readable when it has a record that user space has not consumed. At another
    /// map there is nothing to wait for, which Linux calls an error; the rest is always ready.
    fn readiness(&self) -> Readiness {
        match &self.object {
            Object::Map(map) => match map.map.ring() {
                Some(ring) if ring.readable() => Readiness::READ,
                Some(_) => Readiness::empty(),
                None => Readiness::ERROR,
            },
            _ => Readiness::READ | Readiness::WRITE,
        }
    }

    fn activity(&self, _what: Readiness) -> Option<u64> {
        match &self.object {
            Object::Map(map) => Some(map.map.ring().map_or(0, RingBuffer::wakeups)),
            _ => None,
        }
    }

    /// A map that can be written through a mapping cannot be frozen.
    fn mapped(
        &self,
        _offset: u64,
        _length: usize,
        writable: bool,
    ) -> Result<Option<Arc<dyn Any + Send + Sync>>, FsError> {
        let Object::Map(map) = &self.object else { return Ok(None) };
        if !writable {
            return Ok(None);
        }
        let writer = Writer::of(&map.map).map_err(|_| FsError::NotPermitted)?;
        if !map.map.def().program_may_write() {
            return Err(FsError::PermissionDenied);
        }
        Ok(Some(Arc::new(writer)))
    }

    /// The pages of a ring buffer, and of an array created with `BPF_F_MMAPABLE`.
    fn shared_frame(&self, offset: u64, writable: bool) -> Result<SharedFrame, FsError> {
        let Object::Map(map) = &self.object else { return Err(FsError::NoDevice) };
        let index =
            usize::try_from(offset / PAGE_SIZE as u64).map_err(|_| FsError::InvalidArgument)?;
        let page = map.map.user_page(index).ok_or(FsError::InvalidArgument)?;
        if writable && !(page.writable && self.access.write) {
            return Err(FsError::NotPermitted);
        }
        let frame = Arch::dma_address(page.address).ok_or(FsError::NoDevice)?;
        Ok(SharedFrame::new(frame.0))
    }
}

/// The name of a link's type, as Linux's `fdinfo` has it.
pub fn link_type(link: &Link) -> &'static str {
    if link.raw_tracepoint { "raw_tracepoint" } else { "tracing" }
}

fn describe_program(program: &LoadedProgram, out: &mut dyn fmt::Write) -> fmt::Result {
    let code = &program.code;
    let bounds = code.bounds();
    writeln!(out, "prog_type:\t{}", code.prog_type().number())?;
    writeln!(out, "prog_jited:\t{}", u8::from(code.is_compiled()))?;
    write!(out, "prog_tag:\t")?;
    for byte in program.tag() {
        write!(out, "{byte:02x}")?;
    }
    writeln!(out)?;
    writeln!(out, "memlock:\t{}", program.bytes.len())?;
    writeln!(out, "prog_id:\t{}", program.id)?;
    writeln!(out, "run_time_ns:\t{}", code.run_time_ns())?;
    writeln!(out, "run_cnt:\t{}", code.run_count())?;
    writeln!(out, "recursion_misses:\t0")?;
    writeln!(out, "verified_insns:\t{}", bounds.processed)?;
    writeln!(out, "worst_case_insns:\t{}", bounds.worst_case)?;
    writeln!(out, "verify_time_ns:\t{}", program.verify_time_ns)?;
    writeln!(out, "stack_depth:\t{}", bounds.stack_depth)?;
    for hook in super::hooks::Hook::all() {
        if hook.programs().iter().any(|attached| attached.id == program.id) {
            writeln!(out, "attached_hook:\t{}", hook.declaration().name)?;
        }
    }
    Ok(())
}

fn describe_map(map: &LoadedMap, out: &mut dyn fmt::Write) -> fmt::Result {
    let def = map.map.def();
    writeln!(out, "map_type:\t{}", def.map_type.number())?;
    writeln!(out, "key_size:\t{}", def.key_size)?;
    writeln!(out, "value_size:\t{}", def.value_size)?;
    writeln!(out, "max_entries:\t{}", def.max_entries)?;
    writeln!(out, "map_flags:\t{:#x}", def.flags)?;
    writeln!(out, "map_extra:\t{:#x}", map.map.map_extra())?;
    writeln!(out, "memlock:\t{}", map.map.memory())?;
    writeln!(out, "map_id:\t{}", map.id)?;
    writeln!(out, "frozen:\t{}", u32::from(map.map.is_frozen()))?;
    if def.map_type != MapType::Ringbuf {
        writeln!(out, "entries:\t{}", map.map.entries())?;
    }
    Ok(())
}
