//! `mount` and `umount2`.

use alloc::vec::Vec;

use kernel_abi::Errno;
use kernel_abi::file::{
    AT_FDCWD, MNT_DETACH, MNT_EXPIRE, MNT_FORCE, MS_DIRSYNC, MS_LAZYTIME, MS_MGC_MSK, MS_MGC_VAL,
    MS_NODIRATIME, MS_RELATIME, MS_REMOUNT, MS_SILENT, MS_STRICTATIME, MS_SYNCHRONOUS,
    UMOUNT_NOFOLLOW,
};
use kernel_vfs::{FileType, MountFlags, mount as vfs_mount};

use super::SyscallResult;
use super::errno::OrErrno;
use super::path::{Caller, PathBuffer};
use crate::file::{VFS, mounting};
use crate::mem::user::strncpy_from_user;

/// Longest option string that is looked at.
const DATA_MAX: usize = 4096;

/// Flags that change nothing here.
const IGNORED: u32 = MS_SILENT
    | MS_RELATIME
    | MS_STRICTATIME
    | MS_LAZYTIME
    | MS_NODIRATIME
    | MS_SYNCHRONOUS
    | MS_DIRSYNC;

/// `mount(2)`: a new mount, or `MS_REMOUNT`. Binding, moving and propagation are not supported.
pub fn mount([source, target, kind, flags, data, _]: [usize; 6]) -> SyscallResult {
    let mut flags = flags as u32;
    if flags & MS_MGC_MSK == MS_MGC_VAL {
        flags &= !MS_MGC_MSK;
    }
    let (mut kind_buffer, mut source_buffer, mut buffer) =
        (PathBuffer::new(), PathBuffer::new(), PathBuffer::new());
    let kind = if kind == 0 { None } else { Some(kind_buffer.read(kind)?) };
    let source = if source == 0 { b"none".as_slice() } else { source_buffer.read(source)? };
    let mut options = Vec::new();
    if data != 0 {
        options.try_reserve_exact(DATA_MAX).map_err(|_| Errno::ENOMEM)?;
        options.resize(DATA_MAX, 0);
        let length = strncpy_from_user(&mut options, data)?.ok_or(Errno::EINVAL)?;
        options.truncate(length);
    }
    let path = buffer.read(target)?;
    let caller = Caller::new();
    let walk = caller.walk()?;
    let start = caller.start(AT_FDCWD as usize, path)?;
    let point = walk.resolve(&start, path, true).or_errno()?;
    caller.require_privilege()?;
    let remount = flags & MS_REMOUNT != 0;
    let flags = MountFlags::from_bits(flags & !(MS_REMOUNT | IGNORED)).ok_or(Errno::EINVAL)?;
    if remount {
        return vfs_mount::remount(&point, flags).or_errno().map(|()| 0);
    }
    let kind = kind.ok_or(Errno::EINVAL)?;
    if point.file_type() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    mounting::mount_by_name(&walk, &start, source, &point, kind, flags, &options)
        .or_errno()
        .map(|()| 0)
}

/// `umount2(2)`. The root of the tree is made read-only instead, as Linux does. There is no lazy
/// unmounting: `MNT_DETACH` is refused while the file system is in use.
pub fn umount2([target, flags, ..]: [usize; 6]) -> SyscallResult {
    let flags = flags as u32;
    if flags & !(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW) != 0
        || flags & MNT_EXPIRE != 0
    {
        return Err(Errno::EINVAL);
    }
    let mut buffer = PathBuffer::new();
    let path = buffer.read(target)?;
    let caller = Caller::new();
    caller.require_privilege()?;
    let root = {
        let start = caller.start(AT_FDCWD as usize, path)?;
        caller.walk()?.resolve(&start, path, flags & UMOUNT_NOFOLLOW == 0).or_errno()?
    };
    if !root.is_mount_root() {
        return Err(Errno::EINVAL);
    }
    let is_root = VFS.read().root().is_some_and(|top| alloc::sync::Arc::ptr_eq(top, &root));
    if is_root {
        let flags = root.mount().flags() | MountFlags::READ_ONLY;
        return vfs_mount::remount(&root, flags).or_errno().map(|()| 0);
    }
    vfs_mount::unmount(&VFS, root).or_errno().map(|()| 0)
}
