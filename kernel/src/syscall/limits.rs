//! Limits on what a process uses: `getrlimit setrlimit prlimit64`. They are the same for all and do
//! not change.

use kernel_abi::Errno;

use super::SyscallResult;
use super::process::process_or_self;
use crate::mcore::mtask::{family, signal};
use crate::mem::user::{copy_from_user, read_user, write_user};

/// The limits of `prlimit64(2)`: soft and hard.
fn limit(resource: usize) -> Option<[u64; 2]> {
    const INFINITE: u64 = u64::MAX;
    Some(match resource {
        // CPU FSIZE DATA, RSS, AS LOCKS
        0..=2 | 5 | 9 | 10 => [INFINITE; 2],
        3 => [crate::mem::layout::STACK_LIMIT as u64; 2],
        // CORE: none are written.
        4 => [0; 2],
        6 => [family::TASK_LIMIT as u64; 2],
        7 => [u64::from(kernel_vfs::DESCRIPTOR_LIMIT); 2],
        // MEMLOCK SIGPENDING MSGQUEUE NICE RTPRIO RTTIME
        8 => [INFINITE; 2],
        11 => [signal::PENDING_LIMIT as u64; 2],
        12..=14 => [0; 2],
        15 => [INFINITE; 2],
        _ => return None,
    })
}

/// `prlimit64(2)`: limits are fixed; setting one to what it is succeeds.
pub fn prlimit64([pid, resource, new, old, ..]: [usize; 6]) -> SyscallResult {
    let limit = limit(resource).ok_or(Errno::EINVAL)?;
    process_or_self(pid)?;
    let wanted = if new == 0 { limit } else { read_user::<[u64; 2]>(new)? };
    if wanted[0] > wanted[1] {
        return Err(Errno::EINVAL);
    }
    if wanted != limit {
        return Err(Errno::EPERM);
    }
    if old != 0 {
        write_user(old, limit)?;
    }
    Ok(0)
}

/// `getrlimit(2)`.
pub fn getrlimit([resource, to, ..]: [usize; 6]) -> SyscallResult {
    prlimit64([0, resource, 0, to, 0, 0])
}

/// `setrlimit(2)`.
pub fn setrlimit([resource, from, ..]: [usize; 6]) -> SyscallResult {
    let mut probe = [0];
    copy_from_user(&mut probe, from)?;
    prlimit64([0, resource, from, 0, 0, 0])
}
