//! File systems by the names that `mount(2)` and `/proc/filesystems` use.

use alloc::sync::Arc;

use kernel_sync::Mutex;
use kernel_vfs::{
    Dentry, FileSystem, FsError, MemoryFs, MemoryOptions, MountFlags, Ownership, Walk, mount,
};

use super::{VFS, devfs, disk, ext2, memory_share, procfs};
use crate::arch::PAGE_SIZE;

/// A kind of file system.
struct Kind {
    name: &'static str,
    /// It lies on a disk.
    needs_device: bool,
}

/// What can be mounted.
const KINDS: &[Kind] = &[
    Kind { name: "tmpfs", needs_device: false },
    Kind { name: "devtmpfs", needs_device: false },
    Kind { name: "proc", needs_device: false },
    Kind { name: "bpf", needs_device: false },
    Kind { name: "ext2", needs_device: true },
];

/// `TMPFS_MAGIC`.
const TMPFS_MAGIC: u32 = 0x0102_1994;

/// The names, and whether each lies on a disk.
pub fn kinds() -> impl Iterator<Item = (&'static str, bool)> {
    KINDS.iter().map(|kind| (kind.name, kind.needs_device))
}

/// A new tmpfs: up to half of the memory that is free now, unless `data` says `size=` (bytes, with
/// `k`, `m`, `g` or `%`) or `mode=` (octal).
fn tmpfs(data: &[u8]) -> Result<Arc<dyn FileSystem>, FsError> {
    let memory = memory_share(1);
    let mut bytes = memory / 2;
    let mut mode = 0o1777;
    for option in data.split(|&byte| byte == b',').filter(|option| !option.is_empty()) {
        let option = core::str::from_utf8(option).map_err(|_| FsError::InvalidArgument)?;
        let (name, value) = option.split_once('=').ok_or(FsError::InvalidArgument)?;
        match name {
            "size" => bytes = size(value, memory).ok_or(FsError::InvalidArgument)?,
            "mode" => {
                let parsed = u16::from_str_radix(value, 8).ok();
                mode = parsed.filter(|mode| *mode <= 0o7777).ok_or(FsError::InvalidArgument)?;
            }
            _ => return Err(FsError::InvalidArgument),
        }
    }
    let pages = bytes.div_ceil(PAGE_SIZE) as u64;
    Ok(Arc::new(MemoryFs::new(MemoryOptions {
        name: "tmpfs",
        magic: TMPFS_MAGIC,
        page_limit: pages,
        inode_limit: (memory / 2 / 1024) as u64,
        may_grow: super::may_grow,
        files: true,
        attach: false,
        root: Ownership { mode, uid: 0, gid: 0 },
    })))
}

/// A number of bytes, with a unit.
fn size(text: &str, memory: usize) -> Option<usize> {
    if let Some(percent) = text.strip_suffix('%') {
        return percent.parse::<usize>().ok()?.min(100).checked_mul(memory / 100);
    }
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (text.split_at_checked(text.len() - 1)?.0, 1 << 10),
        b'm' | b'M' => (text.split_at_checked(text.len() - 1)?.0, 1 << 20),
        b'g' | b'G' => (text.split_at_checked(text.len() - 1)?.0, 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

/// Mounts a file system of the kind `name` on the directory `point`.
///
/// # Errors
/// `NoDevice`: there is no such kind. `NotBlockDevice`: `source` is not a disk. Otherwise those of
/// the file system.
pub fn mount_by_name(
    walk: &Walk<'_>,
    start: &Arc<Dentry>,
    source: &[u8],
    point: &Arc<Dentry>,
    name: &[u8],
    flags: MountFlags,
    data: &[u8],
) -> Result<(), FsError> {
    if name == b"ext2" {
        return mount_disk(walk, start, source, point, flags);
    }
    let file_system: Arc<dyn FileSystem> = match name {
        b"tmpfs" => tmpfs(data)?,
        b"devtmpfs" | b"devfs" => devfs::new()?,
        b"proc" => procfs::new(),
        b"bpf" => super::bpffs::new(),
        _ => return Err(FsError::NoDevice),
    };
    mount::mount(&VFS, Some(point), file_system, source, flags)
}

/// Mounts the ext2 on the disk that `source` leads to, by whatever path. A disk is mounted once: two
/// file systems on it would write over each other.
fn mount_disk(
    walk: &Walk<'_>,
    start: &Arc<Dentry>,
    source: &[u8],
    point: &Arc<Dentry>,
    flags: MountFlags,
) -> Result<(), FsError> {
    /// From the look for another mount of the disk until this one can be seen.
    static MOUNTING: Mutex<()> = Mutex::new(());

    let dentry = walk.resolve(start, source, true)?;
    let (device, disk_name) = disk::of(&dentry)?;
    let _mounting = MOUNTING.lock();
    let mounts = mount::mounts(&VFS);
    if mounts
        .iter()
        .any(|mount| mount.file_system().name() == "ext2" && ext2::is_on(mount, &disk_name))
    {
        return Err(FsError::Busy);
    }
    drop(mounts);
    let file_system = ext2::open(device, &disk_name, flags.contains(MountFlags::READ_ONLY))?;
    // By the disk's own name, which is what a later mount is compared with.
    let source = alloc::format!("/dev/{disk_name}");
    mount::mount(&VFS, Some(point), file_system, source.as_bytes(), flags)
}
