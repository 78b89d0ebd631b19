//! Commands that bring programs in and put them to work: load, attach, links, BTF.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use kernel_abi::Errno;
use kernel_abi::bpf::{
    F_REPLACE, btf_load as btf_attr, link_create as create_attr, link_update as update_attr,
    prog_attach, prog_load, raw_tracepoint,
};
use kernel_bpf::btf::Btf;
use kernel_bpf::hook;
use kernel_bpf::interpreter::LoadError as NotRunnable;
use kernel_bpf::map::Map;
use kernel_bpf::profile::{ActiveProfile, PhysicalProfile};
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{VerifyOptions, load_flags};

use super::debug_info::{self, DebugInfo};
use super::log::Log;
use super::{Handle, Request, SyscallResult, install};
use crate::bpf::events;
use crate::bpf::files::{Access, Object};
use crate::bpf::hooks::Hook;
use crate::bpf::map::LoadedMap;
use crate::bpf::program::{LoadError, LoadRequest};
use crate::mcore;
use crate::mem::memapi::Pledge;
use crate::mem::user::copy_from_user;
use crate::syscall::errno::{OrErrno, ToErrno};
use crate::syscall::path::string_from_user;

/// Flags that change nothing here: any alignment, and what Linux's own tests use.
const TOLERATED: u32 = 1 << 1 | 1 << 2 | 1 << 7;
/// Longest licence text (Linux).
const LICENSE_MAX: usize = 128;

/// `BPF_PROG_LOAD`: decode, verify, prepare; a descriptor or one cause in the log.
pub(super) fn load(request: &Request) -> SyscallResult {
    request.ends_at(prog_load::END)?;
    let mut log =
        Log::open(request, prog_load::LOG_LEVEL, prog_load::LOG_BUF, prog_load::LOG_SIZE)?;
    let result = load_with_log(request, &mut log);
    // A log that did not fit is an error of its own, but not a reason to keep the program.
    let log_result = log.finish(request, prog_load::LOG_TRUE_SIZE);
    let loaded = result?;
    log_result?;
    install(loaded, Access::FULL)
}

fn load_with_log(request: &Request, log: &mut Log) -> Result<Object, Errno> {
    let flags = request.u32(prog_load::PROG_FLAGS);
    let count = request.u32(prog_load::INSN_CNT) as usize;
    // Devices, targets in other programs or in the kernel's types, and relocations by the
    // kernel are not here.
    let unused = [
        prog_load::PROG_IFINDEX,
        prog_load::ATTACH_BTF_ID,
        prog_load::ATTACH_PROG_FD,
        prog_load::CORE_RELO_CNT,
        prog_load::PROG_TOKEN_FD,
    ];
    if flags & !(load_flags::STRICT_ALIGNMENT | load_flags::TEST_STATE_FREQ | TOLERATED) != 0
        || unused.iter().any(|&offset| request.u32(offset) != 0)
    {
        return Err(Errno::EINVAL);
    }
    let prog_type =
        ProgType::from_number(request.u32(prog_load::PROG_TYPE)).ok_or(Errno::EINVAL)?;
    let name = request.name(prog_load::PROG_NAME)?;
    if count == 0 || count > ActiveProfile::MAX_INSTRUCTIONS {
        return Err(Errno::E2BIG);
    }
    let license = string_from_user(request.pointer(prog_load::LICENSE), LICENSE_MAX)?;
    // The verifier keeps a few words for each instruction, the interpreter two.
    crate::mem::memapi::may_allocate(count.saturating_mul(128))?;
    let bytes = super::read_bytes(request.pointer(prog_load::INSNS), count * 8)?;

    let btf = match request.u32(prog_load::PROG_BTF_FD) {
        0 => None,
        fd => Some(Arc::clone(Handle::from_descriptor(fd)?.btf()?)),
    };
    let debug_info: DebugInfo = debug_info::read(request, btf.as_deref(), count)?;

    let maps = RefCell::new(ReferencedMaps::default());
    let fd_array = request.pointer(prog_load::FD_ARRAY);
    let mut program = Program::from_bytes(
        &bytes,
        prog_type,
        |fd| maps.borrow_mut().add(u32::try_from(fd).ok()?),
        |index| maps.borrow_mut().add(nth_descriptor(fd_array, index)?),
        |a: &Arc<Map>, b: &Arc<Map>| Arc::ptr_eq(a, b),
    )
    .map_err(|error| {
        log.line(format_args!("{error}"));
        maps.borrow().refused.unwrap_or(Errno::EINVAL)
    })?;
    let maps = maps.into_inner().listed(&program.maps);
    program.name =
        alloc::string::String::from_utf8_lossy(name.split(|&byte| byte == 0).next().unwrap_or(&[]))
            .into_owned();
    program.expected_attach_type = request.u32(prog_load::EXPECTED_ATTACH_TYPE);
    program.gpl_compatible = gpl_compatible(&license);
    program.line_info = debug_info.lines;
    program.func_info = debug_info.functions;
    // The verifier reads it again, for the prototypes of functions.
    let pledge = match &btf {
        Some(btf) if !program.func_info.is_empty() => {
            program.btf = Some(Arc::clone(&btf.bytes));
            Some(Pledge::of(BTF_FACTOR * btf.bytes.len())?)
        }
        _ => None,
    };

    let options = VerifyOptions {
        helper_available: Some(kernel_bpf::helper::is_implemented),
        log_level: log.level(),
        ..default_options().with_load_flags(flags)
    };
    let uid = mcore::current().process().credentials().euid;
    let load = LoadRequest { program, maps, name, btf, options, bytes, uid };
    let loaded = request.manager.load_raw_program(load, log.text());
    drop(pledge);
    match loaded {
        Ok(program) => {
            log.statistics(program.code.bounds());
            Ok(Object::Program(program))
        }
        Err(LoadError::Rejected(rejection)) => {
            log.refusal(&rejection);
            Err(rejection.cause.to_errno())
        }
        Err(LoadError::NotRunnable(error)) => {
            log.line(format_args!("accepted, but not runnable here: {error}"));
            Err(match error {
                // Linux: `bpf_prog_map_compatible`.
                NotRunnable::OtherPrograms => Errno::EINVAL,
                _ => Errno::EOPNOTSUPP,
            })
        }
        Err(LoadError::OutOfMemory) => Err(Errno::ENOMEM),
    }
}

/// The descriptor at `index` of the caller's `fd_array`, whose length is not passed.
fn nth_descriptor(fd_array: usize, index: u32) -> Option<u32> {
    let mut fd = [0; 4];
    let address = fd_array.checked_add(usize::try_from(index).ok()?.checked_mul(4)?)?;
    if fd_array == 0 {
        return None;
    }
    copy_from_user(&mut fd, address).ok()?;
    Some(u32::from_ne_bytes(fd))
}

/// The maps that a program's instructions name.
#[derive(Default)]
struct ReferencedMaps {
    maps: Vec<Arc<LoadedMap>>,
    /// Why a descriptor names no map.
    refused: Option<Errno>,
}

impl ReferencedMaps {
    /// The map behind a descriptor, remembered once.
    fn add(&mut self, fd: u32) -> Option<Arc<Map>> {
        let refuse = |errno| self.refused = Some(errno);
        let handle = Handle::from_descriptor(fd).map_err(refuse).ok()?;
        let refuse = |errno| self.refused = Some(errno);
        let map = handle.map().map_err(refuse).ok()?;
        if !self.maps.iter().any(|known| Arc::ptr_eq(known, map)) {
            self.maps.try_reserve(1).ok()?;
            self.maps.push(Arc::clone(map));
        }
        Some(Arc::clone(&map.map))
    }

    /// The maps in the order of the program's own list.
    fn listed(self, maps: &[Arc<Map>]) -> Vec<Arc<LoadedMap>> {
        maps.iter()
            .filter_map(|map| self.maps.iter().find(|loaded| Arc::ptr_eq(&loaded.map, map)))
            .cloned()
            .collect()
    }
}

/// The verifier's limits in this kernel's profile, and what this machine hands to programs.
fn default_options() -> VerifyOptions {
    let limits = if cfg!(feature = "profile-embedded") {
        VerifyOptions::embedded()
    } else {
        VerifyOptions::cloud()
    };
    VerifyOptions { perf_event: events::PERF_EVENT, ..limits }
}

/// The licences that Linux takes as compatible with the GPL (`license_is_gpl_compatible`).
fn gpl_compatible(license: &[u8]) -> bool {
    let compatible: [&[u8]; 6] = [
        b"GPL",
        b"GPL v2",
        b"GPL and additional rights",
        b"Dual BSD/GPL",
        b"Dual MIT/GPL",
        b"Dual MPL/GPL",
    ];
    compatible.contains(&license)
}

/// The hook with the attach type in a field.
fn hook_of(request: &Request, offset: usize) -> Result<&'static Hook, Errno> {
    Hook::by_attach_type(request.u32(offset)).ok_or(Errno::EINVAL)
}

/// `BPF_PROG_ATTACH`, with `BPF_F_REPLACE` for an atomic replacement. Hooks have no target
/// descriptor.
pub(super) fn attach(request: &Request) -> SyscallResult {
    request.ends_at(prog_attach::END)?;
    let flags = request.u32(prog_attach::ATTACH_FLAGS);
    if request.u32(prog_attach::TARGET_FD) != 0 || flags & !F_REPLACE != 0 {
        return Err(Errno::EINVAL);
    }
    let hook = hook_of(request, prog_attach::ATTACH_TYPE)?;
    let handle = request.object(prog_attach::ATTACH_BPF_FD)?;
    let program = handle.program()?;
    if flags & F_REPLACE != 0 {
        let old = request.object(prog_attach::REPLACE_BPF_FD)?;
        old.program()?.replace_with(program, hook).or_errno()?;
    } else {
        if request.u32(prog_attach::REPLACE_BPF_FD) != 0 {
            return Err(Errno::EINVAL);
        }
        request.manager.attach(hook.declaration().attach_type, program.id).or_errno()?;
    }
    Ok(0)
}

/// `BPF_PROG_DETACH`.
pub(super) fn detach(request: &Request) -> SyscallResult {
    request.ends_at(prog_attach::END)?;
    let unused = [prog_attach::TARGET_FD, prog_attach::ATTACH_FLAGS, prog_attach::REPLACE_BPF_FD];
    if unused.iter().any(|&offset| request.u32(offset) != 0) {
        return Err(Errno::EINVAL);
    }
    let hook = hook_of(request, prog_attach::ATTACH_TYPE)?;
    request.object(prog_attach::ATTACH_BPF_FD)?.program()?.detach(hook).or_errno()?;
    Ok(0)
}

/// `BPF_RAW_TRACEPOINT_OPEN`: a link to `sys_enter` or `sys_exit`.
pub(super) fn raw_tracepoint_open(request: &Request) -> SyscallResult {
    request.ends_at(raw_tracepoint::END)?;
    // Programs have no helper to ask for a cookie.
    if request.u64(raw_tracepoint::COOKIE) != 0 {
        return Err(Errno::EINVAL);
    }
    let handle = request.object(raw_tracepoint::PROG_FD)?;
    let program = handle.program()?;
    if program.code.prog_type() != ProgType::RawTracepoint {
        return Err(Errno::EINVAL);
    }
    let name = string_from_user(request.pointer(raw_tracepoint::NAME), LICENSE_MAX)?;
    let name = core::str::from_utf8(&name).map_err(|_| Errno::ENOENT)?;
    let hook = Hook::by_name(name).ok_or(Errno::ENOENT)?;
    if hook.declaration().attach_type == hook::TIMER {
        return Err(Errno::ENOENT);
    }
    let link = request.manager.link(hook, Arc::clone(program), true).or_errno()?;
    install(Object::Link(link), Access::FULL)
}

/// `BPF_LINK_CREATE`.
pub(super) fn link_create(request: &Request) -> SyscallResult {
    request.ends_at(create_attr::END)?;
    if request.u32(create_attr::TARGET_FD) != 0 || request.u32(create_attr::FLAGS) != 0 {
        return Err(Errno::EINVAL);
    }
    let hook = hook_of(request, create_attr::ATTACH_TYPE)?;
    let handle = request.object(create_attr::PROG_FD)?;
    let link = request.manager.link(hook, Arc::clone(handle.program()?), false).or_errno()?;
    install(Object::Link(link), Access::FULL)
}

/// `BPF_LINK_UPDATE`: another program of the same type for a link, in one step.
pub(super) fn link_update(request: &Request) -> SyscallResult {
    request.ends_at(update_attr::END)?;
    let flags = request.u32(update_attr::FLAGS);
    if flags & !F_REPLACE != 0 {
        return Err(Errno::EINVAL);
    }
    let handle = request.object(update_attr::LINK_FD)?;
    let link = handle.link()?;
    let new = request.object(update_attr::NEW_PROG_FD)?;
    let new = new.program()?;
    if flags & F_REPLACE != 0 {
        let old = request.object(update_attr::OLD_PROG_FD)?;
        link.update(Arc::clone(new), Some(old.program()?)).or_errno()?;
    } else {
        if request.u32(update_attr::OLD_PROG_FD) != 0 {
            return Err(Errno::EINVAL);
        }
        link.update(Arc::clone(new), None).or_errno()?;
    }
    Ok(0)
}

/// `BPF_LINK_DETACH`: the link stays, its program no longer runs for it.
pub(super) fn link_detach(request: &Request) -> SyscallResult {
    request.ends_at(update_attr::DETACH_END)?;
    request.object(update_attr::LINK_FD)?.link()?.detach().or_errno()?;
    Ok(0)
}

/// Largest BTF (Linux `BTF_MAX_SIZE`).
const BTF_MAX: usize = 16 << 20;
/// How much longer BTF is when it has been read, at most: a type of 12 bytes in a list that has
/// just been doubled, and the list before it.
const BTF_FACTOR: usize = 12;

/// `BPF_BTF_LOAD`.
pub(super) fn btf_load(request: &Request) -> SyscallResult {
    request.ends_at(btf_attr::END)?;
    if request.u32(btf_attr::FLAGS) != 0 || request.u32(btf_attr::TOKEN_FD) != 0 {
        return Err(Errno::EINVAL);
    }
    let size = request.u32(btf_attr::SIZE) as usize;
    if size > BTF_MAX {
        return Err(Errno::E2BIG);
    }
    let mut log = Log::open(request, btf_attr::LOG_LEVEL, btf_attr::LOG_BUF, btf_attr::LOG_SIZE)?;
    let bytes = super::read_bytes(request.pointer(btf_attr::BTF), size)?;
    let pledge = Pledge::of(BTF_FACTOR * size)?;
    let parsed = Btf::parse(&bytes);
    drop(pledge);
    if let Err(error) = &parsed {
        log.line(format_args!("BTF refused: {error}"));
    }
    log.finish(request, btf_attr::LOG_TRUE_SIZE)?;
    let types = parsed.map_err(|error| {
        if error.is_for_want_of_memory() { Errno::ENOMEM } else { Errno::EINVAL }
    })?;
    crate::mem::memapi::may_allocate(size)?;
    let btf = request.manager.add_btf(bytes.into(), types).ok_or(Errno::ENOMEM)?;
    install(Object::Btf(btf), Access::FULL)
}
