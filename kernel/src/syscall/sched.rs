//! Scheduling: `sched_yield sched_getaffinity getcpu`.

use kernel_abi::Errno;

use super::SyscallResult;
use crate::mcore::context::cpus;
use crate::mcore::mtask::family;
use crate::mcore::{current, this_cpu, yield_now};
use crate::mem::user::write_user;

/// `sched_yield(2)`.
pub fn sched_yield(_: [usize; 6]) -> SyscallResult {
    yield_now();
    Ok(0)
}

/// `sched_getaffinity(2)`: every task may run on every CPU that the kernel uses.
pub fn sched_getaffinity([pid, length, to, ..]: [usize; 6]) -> SyscallResult {
    const WORD: usize = size_of::<u64>();
    if length < WORD || !length.is_multiple_of(WORD) {
        return Err(Errno::EINVAL);
    }
    if pid as i32 != 0 && pid as u32 != current().tid() {
        family::thread(pid as u32).ok_or(Errno::ESRCH)?;
    }
    let mask = cpus().fold(0u64, |mask, cpu| mask | 1 << (cpu.number() & 63));
    write_user(to, mask)?;
    Ok(WORD)
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
