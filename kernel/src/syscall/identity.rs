//! Who a process is: `getuid` and its kin, `setuid setgid setreuid setregid setresuid setresgid
//! setgroups`.

use kernel_abi::Errno;

use super::SyscallResult;
use crate::mcore::{Credentials, current};
use crate::mem::user::write_user;

/// `getuid(2)`.
pub fn getuid(_: [usize; 6]) -> SyscallResult {
    Ok(current().process().credentials().uid as usize)
}

/// `geteuid(2)`.
pub fn geteuid(_: [usize; 6]) -> SyscallResult {
    Ok(current().process().credentials().euid as usize)
}

/// `getgid(2)`.
pub fn getgid(_: [usize; 6]) -> SyscallResult {
    Ok(current().process().credentials().gid as usize)
}

/// `getegid(2)`.
pub fn getegid(_: [usize; 6]) -> SyscallResult {
    Ok(current().process().credentials().egid as usize)
}

fn change(with: impl FnOnce(Credentials) -> Option<Credentials>) -> SyscallResult {
    if current().process().change_credentials(with) { Ok(0) } else { Err(Errno::EPERM) }
}

/// `setuid(2)`.
pub fn setuid([uid, ..]: [usize; 6]) -> SyscallResult {
    let uid = valid_id(uid)?;
    change(|credentials| credentials.with_uid(uid))
}

/// `setgid(2)`.
pub fn setgid([gid, ..]: [usize; 6]) -> SyscallResult {
    let gid = valid_id(gid)?;
    change(|credentials| credentials.with_gid(gid))
}

/// -1 names nobody.
fn valid_id(id: usize) -> Result<u32, Errno> {
    if id as u32 == u32::MAX { Err(Errno::EINVAL) } else { Ok(id as u32) }
}

/// -1 leaves an identifier as it is.
fn wanted_id(id: usize) -> Option<u32> {
    (id as u32 != u32::MAX).then_some(id as u32)
}

/// `setresuid(2)`.
pub fn setresuid([real, effective, saved, ..]: [usize; 6]) -> SyscallResult {
    let wanted = [real, effective, saved].map(wanted_id);
    change(|credentials| credentials.with_uids(wanted))
}

/// `setresgid(2)`.
pub fn setresgid([real, effective, saved, ..]: [usize; 6]) -> SyscallResult {
    let wanted = [real, effective, saved].map(wanted_id);
    change(|credentials| credentials.with_gids(wanted))
}

/// `setreuid(2)`: the saved identifier follows the effective one, unless only that is changed, to
/// the real one.
pub fn setreuid([real, effective, ..]: [usize; 6]) -> SyscallResult {
    let [real, effective] = [real, effective].map(wanted_id);
    change(|credentials| {
        let from = [credentials.uid, credentials.euid];
        if !credentials.is_privileged() && real.is_some_and(|id| !from.contains(&id)) {
            return None;
        }
        let follows = real.is_some() || effective.is_some_and(|id| id != credentials.uid);
        let saved = follows.then_some(effective.unwrap_or(credentials.euid));
        // The saved one may always become what the effective one becomes.
        let changed = credentials.with_uids([real, effective, None])?;
        Some(Credentials { suid: saved.unwrap_or(changed.suid), ..changed })
    })
}

/// `setregid(2)`, likewise.
pub fn setregid([real, effective, ..]: [usize; 6]) -> SyscallResult {
    let [real, effective] = [real, effective].map(wanted_id);
    change(|credentials| {
        let from = [credentials.gid, credentials.egid];
        if !credentials.is_privileged() && real.is_some_and(|id| !from.contains(&id)) {
            return None;
        }
        let follows = real.is_some() || effective.is_some_and(|id| id != credentials.gid);
        let saved = follows.then_some(effective.unwrap_or(credentials.egid));
        let changed = credentials.with_gids([real, effective, None])?;
        Some(Credentials { sgid: saved.unwrap_or(changed.sgid), ..changed })
    })
}

/// `setgroups(2)`: there are no supplementary groups; only none can be set.
pub fn setgroups([size, ..]: [usize; 6]) -> SyscallResult {
    if !current().process().credentials().is_privileged() {
        return Err(Errno::EPERM);
    }
    if size == 0 { Ok(0) } else { Err(Errno::EINVAL) }
}

/// `getresuid(2)`.
pub fn getresuid([real, effective, saved, ..]: [usize; 6]) -> SyscallResult {
    let credentials = current().process().credentials();
    write_user(real, credentials.uid)?;
    write_user(effective, credentials.euid)?;
    write_user(saved, credentials.suid)?;
    Ok(0)
}

/// `getresgid(2)`.
pub fn getresgid([real, effective, saved, ..]: [usize; 6]) -> SyscallResult {
    let credentials = current().process().credentials();
    write_user(real, credentials.gid)?;
    write_user(effective, credentials.egid)?;
    write_user(saved, credentials.sgid)?;
    Ok(0)
}

/// `getgroups(2)`: there are no supplementary groups.
pub fn getgroups([size, ..]: [usize; 6]) -> SyscallResult {
    if (size as i32) < 0 { Err(Errno::EINVAL) } else { Ok(0) }
}
