//! Attributes of files: reading them (`stat lstat fstat newfstatat statx statfs fstatfs access
//! faccessat faccessat2`) and changing them (`chmod chown utimensat truncate` and their kin,
//! `umask`).

use alloc::sync::Arc;

use kernel_abi::Errno;
use kernel_abi::file::{
    AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_STATX_SYNC_TYPE, AT_SYMLINK_NOFOLLOW,
    Stat, StatFs, UTIME_NOW, UTIME_OMIT,
};
use kernel_vfs::claim::{Claim, Use};
use kernel_vfs::{
    Dentry, FileType, Metadata, OpenFile, OpenFlags, SetAttributes, Time, now, set_id,
};

use super::SyscallResult;
use super::errno::OrErrno;
use super::path::{Caller, PathBuffer};
use crate::arch::abi;
use crate::mem::user::{read_user, write_user};

/// `AT_FDCWD` as it comes in a register.
const HERE: usize = AT_FDCWD as usize;

fn time(time: Time) -> (i64, u32) {
    (time.seconds, time.nanoseconds)
}

/// What `stat` shows of `metadata`, on the file system with the number `device`.
#[inline]
fn stat_of(metadata: &Metadata, device: u32) -> Stat {
    Stat {
        device: device.into(),
        inode: metadata.inode,
        links: metadata.links.into(),
        mode: metadata.full_mode().into(),
        uid: metadata.uid,
        gid: metadata.gid,
        node_device: metadata.device.into(),
        size: metadata.size,
        block_size: metadata.block_size,
        blocks: metadata.blocks,
        times: [time(metadata.accessed), time(metadata.modified), time(metadata.changed)],
    }
}

#[inline]
fn store(address: usize, metadata: &Metadata, device: u32) -> SyscallResult {
    write_user(address, abi::stat(&stat_of(metadata, device)))?;
    Ok(0)
}

fn device_of(file: &OpenFile) -> u32 {
    file.dentry().map_or(0, |dentry| dentry.mount().device())
}

/// `stat(2)`.
pub fn stat([path, out, ..]: [usize; 6]) -> SyscallResult {
    newfstatat([HERE, path, out, 0, 0, 0])
}

/// `lstat(2)`.
pub fn lstat([path, out, ..]: [usize; 6]) -> SyscallResult {
    newfstatat([HERE, path, out, AT_SYMLINK_NOFOLLOW as usize, 0, 0])
}

/// `fstat(2)`.
pub fn fstat([fd, out, ..]: [usize; 6]) -> SyscallResult {
    let file = Caller::new().file(fd)?;
    store(out, &file.metadata().or_errno()?, device_of(&file))
}

/// `newfstatat(2)`.
pub fn newfstatat([directory, path, out, flags, ..]: [usize; 6]) -> SyscallResult {
    let flags = flags as u32;
    let known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let caller = Caller::new();
    if path.is_empty() && flags & AT_EMPTY_PATH != 0 && directory as i32 != AT_FDCWD {
        return fstat([directory, out, 0, 0, 0, 0]);
    }
    let dentry = at(&caller, directory, path, flags)?;
    store(out, &dentry.inode().metadata().or_errno()?, dentry.mount().device())
}

/// What a path names, `AT_SYMLINK_NOFOLLOW` and `AT_EMPTY_PATH` heeded.
#[inline]
fn at(caller: &Caller, directory: usize, path: &[u8], flags: u32) -> Result<Arc<Dentry>, Errno> {
    let start = caller.start(directory, path)?;
    if path.is_empty() && flags & AT_EMPTY_PATH != 0 {
        return Ok(Arc::clone(&start));
    }
    caller.walk()?.resolve(&start, path, flags & AT_SYMLINK_NOFOLLOW == 0).or_errno()
}

/// `statx(2)`: the basic attributes.
pub fn statx([directory, path, flags, mask, out, _]: [usize; 6]) -> SyscallResult {
    const BASIC: u64 = 0x7ff;
    const RESERVED: u32 = 0x8000_0000;
    let flags = flags as u32;
    let known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
    if flags & !known != 0
        || flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE
        || mask as u32 & RESERVED != 0
    {
        return Err(Errno::EINVAL);
    }
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let caller = Caller::new();
    let (metadata, device) =
        if path.is_empty() && flags & AT_EMPTY_PATH != 0 && directory as i32 != AT_FDCWD {
            let file = caller.file(directory)?;
            (file.metadata().or_errno()?, device_of(&file))
        } else {
            let dentry = at(&caller, directory, path, flags)?;
            (dentry.inode().metadata().or_errno()?, dentry.mount().device())
        };
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let mut words = [0u64; 32];
    let times = [metadata.accessed, metadata.changed, metadata.modified];
    let values = [
        BASIC | u64::from(metadata.block_size) << 32,
        0,
        pair(metadata.links, metadata.uid),
        pair(metadata.gid, metadata.full_mode().into()),
        metadata.inode,
        metadata.size,
        metadata.blocks,
        0,
        times[0].seconds as u64,
        times[0].nanoseconds.into(),
        0,
        0,
        times[1].seconds as u64,
        times[1].nanoseconds.into(),
        times[2].seconds as u64,
        times[2].nanoseconds.into(),
        pair(metadata.device >> 8, metadata.device & 0xff),
        pair(device >> 8, device & 0xff),
    ];
    for (word, value) in words.iter_mut().zip(values) {
        *word = value;
    }
    write_user(out, words)?;
    Ok(0)
}

fn store_statfs(out: usize, dentry: &Dentry) -> SyscallResult {
    let mount = dentry.mount();
    let statistics = mount.file_system().statistics().or_errno()?;
    let statfs = StatFs {
        magic: statistics.magic.into(),
        block_size: statistics.block_size.into(),
        blocks: statistics.blocks,
        blocks_free: statistics.blocks_free,
        blocks_available: statistics.blocks_available,
        inodes: statistics.inodes,
        inodes_free: statistics.inodes_free,
        id: mount.device().into(),
        name_max: statistics.name_max.into(),
        flags: (mount.flags().bits() & 0xf).into(),
    };
    write_user(out, statfs.words())?;
    Ok(0)
}

/// `statfs(2)`.
pub fn statfs([path, out, ..]: [usize; 6]) -> SyscallResult {
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let dentry = at(&Caller::new(), HERE, path, 0)?;
    store_statfs(out, &dentry)
}

/// `fstatfs(2)`. What has no name is on no file system that could be told of.
pub fn fstatfs([fd, out, ..]: [usize; 6]) -> SyscallResult {
    let file = Caller::new().file(fd)?;
    store_statfs(out, file.dentry().ok_or(Errno::ENOSYS)?)
}

/// `access(2)`.
pub fn access([path, mode, ..]: [usize; 6]) -> SyscallResult {
    faccessat2([HERE, path, mode, 0, 0, 0])
}

/// `faccessat(2)`.
pub fn faccessat([directory, path, mode, ..]: [usize; 6]) -> SyscallResult {
    faccessat2([directory, path, mode, 0, 0, 0])
}

/// `faccessat2(2)`.
pub fn faccessat2([directory, path, mode, flags, ..]: [usize; 6]) -> SyscallResult {
    let (mode, flags) = (mode as u32, flags as u32);
    if mode & !7 != 0 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let caller = Caller::new();
    let start = caller.start(directory, path)?;
    let walk = if flags & AT_EACCESS != 0 { caller.walk()? } else { caller.real_walk()? };
    let dentry = if path.is_empty() && flags & AT_EMPTY_PATH != 0 {
        Arc::clone(&start)
    } else {
        walk.resolve(&start, path, flags & AT_SYMLINK_NOFOLLOW == 0).or_errno()?
    };
    walk.check_access(&dentry, mode as u16).or_errno().map(|()| 0)
}

/// Whether the caller may change the attributes of `dentry`: its owner, and on a file system that
/// can be written.
fn check_change(caller: &Caller, dentry: &Dentry) -> Result<(), Errno> {
    if dentry.mount().read_only() {
        return Err(Errno::EROFS);
    }
    if !caller.identity().owns(&dentry.inode().permissions()) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

fn change_mode(caller: &Caller, dentry: &Dentry, mode: usize) -> SyscallResult {
    check_change(caller, dentry)?;
    let mut mode = mode as u16 & 0o7777;
    if !caller.identity().has_group(dentry.inode().permissions().gid) {
        mode &= !set_id::SET_GROUP;
    }
    let change = SetAttributes { mode: Some(mode), ..SetAttributes::default() };
    dentry.inode().set_attributes(&change).or_errno().map(|()| 0)
}

/// `chmod(2)`.
pub fn chmod([path, mode, ..]: [usize; 6]) -> SyscallResult {
    fchmodat([HERE, path, mode, 0, 0, 0])
}

/// `fchmodat(2)`.
pub fn fchmodat([directory, path, mode, ..]: [usize; 6]) -> SyscallResult {
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let caller = Caller::new();
    let dentry = at(&caller, directory, path, 0)?;
    change_mode(&caller, &dentry, mode)
}

/// The dentry behind a descriptor whose attributes are to change.
fn named(file: &OpenFile) -> Result<&Arc<Dentry>, Errno> {
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    file.dentry().ok_or(Errno::EPERM)
}

/// `fchmod(2)`.
pub fn fchmod([fd, mode, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let file = caller.file(fd)?;
    change_mode(&caller, named(&file)?, mode)
}

/// Changes owner and group; all ones leaves one as it is.
fn change_owner(caller: &Caller, dentry: &Dentry, uid: usize, gid: usize) -> SyscallResult {
    let given = |id: usize| (id as u32 != u32::MAX).then_some(id as u32);
    let (uid, gid) = (given(uid), given(gid));
    if dentry.mount().read_only() {
        return Err(Errno::EROFS);
    }
    let permissions = dentry.inode().permissions();
    let who = caller.identity();
    if who.uid != 0 {
        let keeps_owner = uid.is_none_or(|uid| uid == permissions.uid);
        let may_group = gid.is_none_or(|gid| gid == permissions.gid || who.has_group(gid));
        if !who.owns(&permissions) || !keeps_owner || !may_group {
            return Err(Errno::EPERM);
        }
    }
    let mode = match dentry.file_type() {
        FileType::Directory => permissions.mode,
        _ => set_id::left_by_owner(&permissions, &who),
    };
    let mode = (mode != permissions.mode).then_some(mode);
    let change = SetAttributes { mode, uid, gid, ..SetAttributes::default() };
    dentry.inode().set_attributes(&change).or_errno().map(|()| 0)
}

/// `chown(2)`.
pub fn chown([path, uid, gid, ..]: [usize; 6]) -> SyscallResult {
    fchownat([HERE, path, uid, gid, 0, 0])
}

/// `lchown(2)`.
pub fn lchown([path, uid, gid, ..]: [usize; 6]) -> SyscallResult {
    fchownat([HERE, path, uid, gid, AT_SYMLINK_NOFOLLOW as usize, 0])
}

/// `fchownat(2)`.
pub fn fchownat([directory, path, uid, gid, flags, _]: [usize; 6]) -> SyscallResult {
    let flags = flags as u32;
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let caller = Caller::new();
    let dentry = at(&caller, directory, path, flags)?;
    change_owner(&caller, &dentry, uid, gid)
}

/// `fchown(2)`.
pub fn fchown([fd, uid, gid, ..]: [usize; 6]) -> SyscallResult {
    let caller = Caller::new();
    let file = caller.file(fd)?;
    change_owner(&caller, named(&file)?, uid, gid)
}

/// A time as `utimensat` passes it: `None` leaves the old one.
fn wanted_time([seconds, nanoseconds]: [i64; 2], now: Time) -> Result<Option<Time>, Errno> {
    match nanoseconds {
        UTIME_NOW => Ok(Some(now)),
        UTIME_OMIT => Ok(None),
        0..1_000_000_000 => Ok(Some(Time { seconds, nanoseconds: nanoseconds as u32 })),
        _ => Err(Errno::EINVAL),
    }
}

/// `utimensat(2)`. A null path means the descriptor itself.
pub fn utimensat([directory, path, times, flags, ..]: [usize; 6]) -> SyscallResult {
    let flags = flags as u32;
    let now = now();
    let times: [[i64; 2]; 2] = if times == 0 { [[0, UTIME_NOW]; 2] } else { read_user(times)? };
    let (accessed, modified) = (wanted_time(times[0], now)?, wanted_time(times[1], now)?);
    if accessed.is_none() && modified.is_none() {
        return Ok(0);
    }
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let caller = Caller::new();
    let mut buffer = PathBuffer::new();
    let dentry = if path == 0 && directory as i32 != AT_FDCWD {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        Arc::clone(named(&*caller.file(directory)?)?)
    } else {
        at(&caller, directory, buffer.read(path)?, flags)?
    };
    let both_now = times[0][1] == UTIME_NOW && times[1][1] == UTIME_NOW;
    match check_change(&caller, &dentry) {
        // Whoever may write may say that it was used now.
        Err(Errno::EPERM) if both_now => caller.walk()?.check_access(&dentry, 2).or_errno()?,
        result => result?,
    }
    let change = SetAttributes { accessed, modified, ..SetAttributes::default() };
    dentry.inode().set_attributes(&change).or_errno().map(|()| 0)
}

/// `truncate(2)`.
pub fn truncate([path, size, ..]: [usize; 6]) -> SyscallResult {
    let size = u64::try_from(size as i64).map_err(|_| Errno::EINVAL)?;
    let mut buffer = PathBuffer::new();
    let path = buffer.read(path)?;
    let caller = Caller::new();
    let dentry = at(&caller, HERE, path, 0)?;
    match dentry.file_type() {
        FileType::Regular => {}
        FileType::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::EINVAL),
    }
    caller.walk()?.check_access(&dentry, 2).or_errno()?;
    let _claim = Claim::new(dentry.inode(), Use::Write).or_errno()?;
    set_id::before_change(&caller.identity(), &dentry).or_errno()?;
    dentry.inode().truncate(size).or_errno().map(|()| 0)
}

/// `ftruncate(2)`.
pub fn ftruncate([fd, size, ..]: [usize; 6]) -> SyscallResult {
    let size = u64::try_from(size as i64).map_err(|_| Errno::EINVAL)?;
    let caller = Caller::new();
    caller.file(fd)?.truncate(size, &caller.identity()).or_errno().map(|()| 0)
}

/// `umask(2)`.
pub fn umask([mask, ..]: [usize; 6]) -> SyscallResult {
    Ok(Caller::new().context()?.set_umask(mask as u16).into())
}
