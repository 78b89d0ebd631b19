//! Processes: `fork vfork clone execve exit exit_group wait4 waitid`, process groups and sessions,
//! and what a thread tells the kernel of itself. Who a process is, is in `identity.rs`; its limits
//! are in `limits.rs`.

use alloc::vec::Vec;

use kernel_abi::Errno;
use kernel_elf::Arguments;
use kernel_elf::stack::MAX_STRING_BYTES;
use kernel_vfs::PATH_MAX;

use super::errno::ToErrno;
use super::{Frame, SyscallResult};
use crate::arch::{Arch, Architecture, abi};
use crate::mcore::mtask::exec::{ExecRequest, execute, open_program};
use crate::mcore::mtask::exit;
use crate::mcore::mtask::family::{self, WaitRequest, Which};
use crate::mcore::mtask::fork::{CloneFlags, CloneRequest, clone as clone_task};
use crate::mcore::mtask::signal::{SIGCHLD, SignalInfo};
use crate::mcore::mtask::{delivery, task};
use crate::mcore::{Process, current};
use crate::mem::memapi::may_allocate;
use crate::mem::user::{copy_to_user, read_user, strncpy_from_user, write_user};

/// `fork(2)`.
pub fn fork(frame: &mut Frame, _: [usize; 6]) -> SyscallResult {
    Ok(clone_task(frame, &CloneRequest::FORK)? as usize)
}

/// `vfork(2)`.
pub fn vfork(frame: &mut Frame, _: [usize; 6]) -> SyscallResult {
    let flags = CloneFlags::VM | CloneFlags::VFORK;
    Ok(clone_task(frame, &CloneRequest { flags, ..CloneRequest::FORK })? as usize)
}

/// `clone(2)`.
pub fn clone(frame: &mut Frame, arguments: [usize; 6]) -> SyscallResult {
    let [flags, stack, parent_tid, child_tid, thread_pointer, _] = abi::clone_arguments(arguments);
    const SIGNAL: u64 = 0xff;
    let flags = flags as u64;
    let request = CloneRequest {
        // What is not known is not ignored: namespaces, tracing, file descriptors.
        flags: CloneFlags::from_bits(flags & !SIGNAL).ok_or(Errno::EINVAL)?,
        exit_signal: (flags & SIGNAL) as u32,
        stack,
        thread_pointer,
        parent_tid,
        child_tid,
    };
    Ok(clone_task(frame, &request)? as usize)
}

fn push(strings: &mut Arguments, string: &[u8]) -> Result<(), Errno> {
    may_allocate(2 * strings.as_bytes().len() + string.len())?;
    strings.push(string).map_err(ToErrno::to_errno)
}

/// Reads a list of strings: `argv` or `envp`. A null list is empty, as in Linux.
fn strings_from_user(list: usize) -> Result<Arguments, Errno> {
    const SHORT: usize = 256;
    let mut strings = Arguments::new();
    if list == 0 {
        return Ok(strings);
    }
    let mut long = Vec::new();
    let mut at = list;
    loop {
        let address = read_user::<usize>(at)?;
        if address == 0 {
            return Ok(strings);
        }
        let mut short = [0; SHORT];
        match strncpy_from_user(&mut short, address)? {
            Some(length) => push(&mut strings, short.get(..length).unwrap_or_default())?,
            None => {
                if long.is_empty() {
                    may_allocate(MAX_STRING_BYTES)?;
                    long.try_reserve_exact(MAX_STRING_BYTES).map_err(|_| Errno::ENOMEM)?;
                    long.resize(MAX_STRING_BYTES, 0);
                }
                let length = strncpy_from_user(&mut long, address)?.ok_or(Errno::E2BIG)?;
                push(&mut strings, long.get(..length).unwrap_or_default())?;
            }
        }
        at = at.wrapping_add(size_of::<usize>());
    }
}

fn path_from_user(address: usize) -> Result<Vec<u8>, Errno> {
    let mut path = Vec::new();
    path.try_reserve_exact(PATH_MAX + 1).map_err(|_| Errno::ENOMEM)?;
    path.resize(PATH_MAX + 1, 0);
    let length = strncpy_from_user(&mut path, address)?.ok_or(Errno::ENAMETOOLONG)?;
    path.truncate(length);
    Ok(path)
}

/// `execve(2)`.
pub fn execve(frame: &mut Frame, [path, arguments, environment, ..]: [usize; 6]) -> SyscallResult {
    let path = path_from_user(path)?;
    let mut arguments = strings_from_user(arguments)?;
    let environment = strings_from_user(environment)?;
    if arguments.is_empty() {
        // As Linux does since 5.18: a program always has a name.
        push(&mut arguments, b"")?;
    }
    let file = open_program(&path).map_err(ToErrno::to_errno)?;
    execute(frame, ExecRequest { file, path: &path, arguments, environment })?;
    Ok(0)
}

/// `_exit(2)`: the end of a thread.
pub fn exit([code, ..]: [usize; 6]) -> SyscallResult {
    exit::exit(code as u32)
}

/// `exit_group(2)`.
pub fn exit_group([code, ..]: [usize; 6]) -> SyscallResult {
    exit::exit_group(code as u32)
}

const WNOHANG: usize = 1;
const WUNTRACED: usize = 2;
const WEXITED: usize = 4;
const WCONTINUED: usize = 8;
const WNOWAIT: usize = 0x0100_0000;
const WNOTHREAD: usize = 0x2000_0000;
const WALL: usize = 0x4000_0000;
const WCLONE: usize = 0x8000_0000;

/// Bytes of `struct rusage`.
const RUSAGE_BYTES: usize = 144;

/// `struct rusage` for this much time on a CPU. What is not counted is zero.
pub fn usage_bytes(ns: u64) -> [u8; RUSAGE_BYTES] {
    let mut bytes = [0; RUSAGE_BYTES];
    let words = [ns / 1_000_000_000, ns % 1_000_000_000 / 1000];
    for (to, from) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&from.to_ne_bytes());
    }
    bytes
}

/// `wait4(2)`.
pub fn wait4([pid, status, options, usage, ..]: [usize; 6]) -> SyscallResult {
    let options = options as u32 as usize;
    if options & !(WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WALL | WCLONE) != 0 {
        return Err(Errno::EINVAL);
    }
    let which = match pid as i32 {
        -1 => Which::Any,
        0 => Which::Group(current().process().group()),
        pid if pid > 0 => Which::One(pid as u32),
        i32::MIN => return Err(Errno::ESRCH),
        group => Which::Group(group.unsigned_abs()),
    };
    let request = WaitRequest {
        which,
        ended: true,
        stopped: options & WUNTRACED != 0,
        continued: options & WCONTINUED != 0,
        no_hang: options & WNOHANG != 0,
        keep: false,
        all: options & (WALL | WCLONE) != 0,
    };
    let Some((child, change)) = exit::wait(&request)? else { return Ok(0) };
    if status != 0 {
        write_user(status, change)?;
    }
    if usage != 0 {
        copy_to_user(usage, &usage_bytes(child.run_ns() + child.children_ns()))?;
    }
    Ok(child.pid() as usize)
}

/// `waitid(2)`.
pub fn waitid([kind, id, info, options, usage, _]: [usize; 6]) -> SyscallResult {
    let known = WNOHANG | WUNTRACED | WEXITED | WCONTINUED | WNOWAIT | WNOTHREAD | WALL | WCLONE;
    if options & !known != 0 || options & (WEXITED | WUNTRACED | WCONTINUED) == 0 {
        return Err(Errno::EINVAL);
    }
    let positive = || u32::try_from(id as i32).ok().filter(|&id| id > 0).ok_or(Errno::EINVAL);
    let which = match kind {
        0 => Which::Any,
        1 => Which::One(positive()?),
        2 if id == 0 => Which::Group(current().process().group()),
        2 => Which::Group(positive()?),
        _ => return Err(Errno::EINVAL),
    };
    let request = WaitRequest {
        which,
        ended: options & WEXITED != 0,
        stopped: options & WUNTRACED != 0,
        continued: options & WCONTINUED != 0,
        no_hang: options & WNOHANG != 0,
        keep: options & WNOWAIT != 0,
        all: options & (WALL | WCLONE) != 0,
    };
    let changed = exit::wait(&request)?;
    if info != 0 {
        let words = changed.as_ref().map_or([0; 16], |(child, status)| {
            delivery::info_words(SIGCHLD, &SignalInfo::of_status(child, *status))
        });
        write_user(info, words)?;
    }
    if let Some((child, _)) = changed.filter(|_| usage != 0) {
        copy_to_user(usage, &usage_bytes(child.run_ns() + child.children_ns()))?;
    }
    Ok(0)
}

/// `getpid(2)`.
pub fn getpid(_: [usize; 6]) -> SyscallResult {
    Ok(current().pid() as usize)
}

/// `getppid(2)`.
#[inline]
pub fn getppid(_: [usize; 6]) -> SyscallResult {
    Ok(current().process().parent() as usize)
}

/// `gettid(2)`.
pub fn gettid(_: [usize; 6]) -> SyscallResult {
    Ok(current().tid() as usize)
}

pub(super) fn process_or_self(pid: usize) -> Result<alloc::sync::Arc<Process>, Errno> {
    if pid as u32 == 0 {
        return Ok(current().process().clone());
    }
    family::process(pid as u32).ok_or(Errno::ESRCH)
}

/// `getpgid(2)`.
pub fn getpgid([pid, ..]: [usize; 6]) -> SyscallResult {
    Ok(process_or_self(pid)?.group() as usize)
}

/// `getpgrp(2)`.
pub fn getpgrp(_: [usize; 6]) -> SyscallResult {
    Ok(current().process().group() as usize)
}

/// `getsid(2)`.
pub fn getsid([pid, ..]: [usize; 6]) -> SyscallResult {
    Ok(process_or_self(pid)?.session() as usize)
}

/// `setpgid(2)`.
pub fn setpgid([pid, group, ..]: [usize; 6]) -> SyscallResult {
    if (group as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let own = current().process().clone();
    let pid = if pid as u32 == 0 { own.pid() } else { pid as u32 };
    let group = if group as u32 == 0 { pid } else { group as u32 };
    family::set_group(&own, pid, group)?;
    Ok(0)
}

/// `setsid(2)`.
pub fn setsid(_: [usize; 6]) -> SyscallResult {
    Ok(family::new_session(current().process())? as usize)
}

/// `set_tid_address(2)`.
pub fn set_tid_address([address, ..]: [usize; 6]) -> SyscallResult {
    let task = current();
    task.set_clear_child_tid(address);
    Ok(task.tid() as usize)
}

/// `set_robust_list(2)`: the futexes that are given up for the thread when it ends.
pub fn set_robust_list([head, length, ..]: [usize; 6]) -> SyscallResult {
    const LENGTH: usize = 24;
    if length != LENGTH {
        return Err(Errno::EINVAL);
    }
    current().set_robust_list(head, length);
    Ok(0)
}

/// `get_robust_list(2)`, of the calling thread.
pub fn get_robust_list([tid, head, length, ..]: [usize; 6]) -> SyscallResult {
    let task = current();
    if tid as u32 != 0 && tid as u32 != task.tid() {
        family::thread(tid as u32).ok_or(Errno::ESRCH)?;
        return Err(Errno::EPERM);
    }
    let (list, bytes) = task.robust_list();
    write_user(length, bytes)?;
    write_user(head, list)?;
    Ok(0)
}

/// `arch_prctl(2)`: the thread pointers; the second only where users can set it themselves, too.
pub fn arch_prctl([code, address, ..]: [usize; 6]) -> SyscallResult {
    const SET_GS: usize = 0x1001;
    const SET_FS: usize = 0x1002;
    const GET_FS: usize = 0x1003;
    const GET_GS: usize = 0x1004;
    match code {
        SET_GS | GET_GS if Arch::other_thread_pointer().is_none() => Err(Errno::EINVAL),
        SET_GS if address >= Arch::user_end() => Err(Errno::EPERM),
        SET_GS => {
            Arch::set_other_thread_pointer(address);
            Ok(0)
        }
        GET_GS => {
            write_user(address, Arch::other_thread_pointer().unwrap_or(0))?;
            Ok(0)
        }
        SET_FS if address >= Arch::user_end() => Err(Errno::EPERM),
        SET_FS => {
            Arch::set_thread_pointer(address);
            Ok(0)
        }
        GET_FS => {
            write_user(address, Arch::thread_pointer())?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `prctl(2)`: the thread's name.
pub fn prctl([option, address, ..]: [usize; 6]) -> SyscallResult {
    const GET_DUMPABLE: usize = 3;
    const SET_DUMPABLE: usize = 4;
    const SET_NAME: usize = 15;
    const GET_NAME: usize = 16;
    let task = current();
    match option {
        GET_DUMPABLE => Ok(usize::from(task.process().is_dumpable())),
        // 2, "for root only", is not to be set (`prctl(2)`).
        SET_DUMPABLE if address <= 1 => {
            task.process().set_dumpable(address == 1);
            Ok(0)
        }
        SET_NAME => {
            let mut name = [0; task::NAME_BYTES];
            let length = strncpy_from_user(&mut name, address)?.unwrap_or(name.len());
            task.set_name(name.get(..length).unwrap_or_default());
            Ok(0)
        }
        GET_NAME => {
            copy_to_user(address, &task.name_bytes())?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `getrusage(2)`.
pub fn getrusage([who, to, ..]: [usize; 6]) -> SyscallResult {
    let ns = match who as i32 {
        0 => super::time::process_ns(),
        1 => super::time::thread_ns(),
        -1 => current().process().children_ns(),
        _ => return Err(Errno::EINVAL),
    };
    copy_to_user(to, &usage_bytes(ns))?;
    Ok(0)
}
