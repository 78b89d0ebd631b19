//! Scheduling: `sched_yield sched_getaffinity sched_setaffinity getcpu`, nice values: `getpriority
//! setpriority`, and what says that there is one policy: `sched_getscheduler sched_setscheduler
//! sched_getparam sched_get_priority_max sched_get_priority_min`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_abi::Errno;
use kernel_sched::nice;

use super::SyscallResult;
use crate::mcore::context::cpus;
use crate::mcore::mtask::balance::set_affinity;
use crate::mcore::mtask::family;
use crate::mcore::{Process, Task, current, this_cpu, yield_now};
use crate::mem::user::{copy_from_user, read_user, write_user};

/// `sched_yield(2)`.
pub fn sched_yield(_: [usize; 6]) -> SyscallResult {
    yield_now();
    Ok(0)
}

/// The CPUs that there are, a bit for each.
fn online() -> u64 {
    cpus().fold(0, |mask, cpu| mask | 1 << cpu.number())
}

/// The task with this number; the running one for 0.
fn task(tid: usize) -> Result<Arc<Task>, Errno> {
    if tid as i32 == 0 || tid as u32 == current().tid() {
        return Ok(current().to_arc());
    }
    family::thread(tid as u32).ok_or(Errno::ESRCH)
}

/// `sched_getaffinity(2)`: the CPUs that a thread may run on.
pub fn sched_getaffinity([tid, length, to, ..]: [usize; 6]) -> SyscallResult {
    const WORD: usize = size_of::<u64>();
    if length < WORD || !length.is_multiple_of(WORD) {
        return Err(Errno::EINVAL);
    }
    write_user(to, task(tid)?.affinity() & online())?;
    Ok(WORD)
}

/// `sched_setaffinity(2)`: has a thread run on these CPUs only. Those that there are not do not
/// count.
pub fn sched_setaffinity([tid, length, from, ..]: [usize; 6]) -> SyscallResult {
    let mut bytes = [0; size_of::<u64>()];
    let length = length.min(bytes.len());
    copy_from_user(bytes.get_mut(..length).unwrap_or_default(), from)?;
    let task = task(tid)?;
    let (own, other) = (current().process().credentials(), task.process().credentials());
    if !own.is_privileged() && own.euid != other.euid && own.euid != other.uid {
        return Err(Errno::EPERM);
    }
    let mask = u64::from_le_bytes(bytes) & online();
    if mask == 0 {
        return Err(Errno::EINVAL);
    }
    set_affinity(&task, mask);
    Ok(0)
}

/// `getcpu(2)`.
pub fn getcpu([cpu, node, ..]: [usize; 6]) -> SyscallResult {
    if cpu != 0 {
        write_user(cpu, this_cpu().number() as u32)?;
    }
    if node != 0 {
        write_user(node, 0u32)?;
    }
    Ok(0)
}

/// `SCHED_OTHER`, the one policy by which tasks are scheduled here; those that real time has.
const OTHER: usize = 0;
const REAL_TIME: [usize; 2] = [1, 2];

fn check_thread(tid: usize) -> Result<(), Errno> {
    if (tid as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    if tid as u32 != 0 {
        family::thread(tid as u32).ok_or(Errno::ESRCH)?;
    }
    Ok(())
}

/// The threads that `getpriority` and `setpriority` mean: one, or those of a group of processes or
/// of a user; with 0, the caller's.
fn threads(which: usize, who: usize) -> Result<Vec<Arc<Task>>, Errno> {
    const PROCESS: usize = 0;
    const GROUP: usize = 1;
    const USER: usize = 2;
    let of = |wanted: &dyn Fn(&Process) -> bool| {
        let processes = family::list().into_iter().filter(|process| wanted(process));
        processes.flat_map(|process| process.threads()).collect()
    };
    let (own, who) = (current(), who as u32);
    Ok(match which {
        PROCESS => task(who as usize).into_iter().collect(),
        GROUP => {
            let group = if who == 0 { own.process().group() } else { who };
            of(&|process| process.group() == group)
        }
        USER => {
            let user = if who == 0 { own.process().credentials().uid } else { who };
            of(&|process| process.credentials().uid == user)
        }
        _ => return Err(Errno::EINVAL),
    })
}

/// `getpriority(2)`, as the kernel has it: 20 less the nice value, the least of several.
pub fn getpriority([which, who, ..]: [usize; 6]) -> SyscallResult {
    let nice = threads(which, who)?.iter().map(|task| i32::from(task.nice())).min();
    Ok((20 - nice.ok_or(Errno::ESRCH)?) as usize)
}

/// `setpriority(2)`. Who is not the superuser can only become nicer (`RLIMIT_NICE` is 0).
pub fn setpriority([which, who, value, ..]: [usize; 6]) -> SyscallResult {
    let value = (value as i32).clamp(nice::LEAST, nice::MOST) as i8;
    let own = current().process().credentials();
    let mut result = Err(Errno::ESRCH);
    for task in threads(which, who)? {
        let of = task.process().credentials();
        if !own.is_privileged() && of.uid != own.euid && of.euid != own.euid {
            result = Err(Errno::EPERM);
        } else if !own.is_privileged() && value < task.nice() {
            result = Err(Errno::EACCES);
        } else {
            task.set_nice(value);
            if result == Err(Errno::ESRCH) {
                result = Ok(0);
            }
        }
    }
    result
}

/// `sched_getscheduler(2)`.
pub fn sched_getscheduler([tid, ..]: [usize; 6]) -> SyscallResult {
    check_thread(tid)?;
    Ok(OTHER)
}

/// `sched_setscheduler(2)`: to what it is.
pub fn sched_setscheduler([tid, policy, parameters, ..]: [usize; 6]) -> SyscallResult {
    check_thread(tid)?;
    let priority: u32 = read_user(parameters)?;
    match policy {
        OTHER if priority == 0 => Ok(0),
        OTHER => Err(Errno::EINVAL),
        policy if REAL_TIME.contains(&policy) => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// `sched_getparam(2)`.
pub fn sched_getparam([tid, to, ..]: [usize; 6]) -> SyscallResult {
    check_thread(tid)?;
    write_user(to, 0u32)?;
    Ok(0)
}

/// `sched_get_priority_max(2)`.
pub fn sched_get_priority_max([policy, ..]: [usize; 6]) -> SyscallResult {
    priority_bound(policy, 99)
}

/// `sched_get_priority_min(2)`.
pub fn sched_get_priority_min([policy, ..]: [usize; 6]) -> SyscallResult {
    priority_bound(policy, 1)
}

/// The bound for `policy`: of real time, or 0.
fn priority_bound(policy: usize, real_time: usize) -> SyscallResult {
    match policy {
        OTHER | 3 | 5 => Ok(0),
        policy if REAL_TIME.contains(&policy) => Ok(real_time),
        _ => Err(Errno::EINVAL),
    }
}
