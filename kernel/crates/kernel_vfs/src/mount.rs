//! [`Vfs`]: the mount table, and the dentry cache under the same lock.
//!
//! The kernel has one `RwLock<Vfs>`. Tasks wait for it by spinning, so no file system is called and
//! nothing is dropped while it is held: only look-ups in memory. Nobody takes it twice.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use kernel_sync::RwLock;

use crate::cache::DentryCache;
use crate::dentry::Dentry;
use crate::error::FsError;
use crate::inode::FileSystem;
use crate::types::FileType;
use crate::writers::Writers;

bitflags::bitflags! {
    /// Flags of a mount; the values of `mount(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MountFlags: u32 {
        const READ_ONLY = 1;
        const NO_SET_ID = 2;
        const NO_DEVICES = 4;
        const NO_EXECUTE = 8;
        const NO_ATIME = 1024;
    }
}

/// A file system in the tree.
pub struct Mount {
    file_system: Arc<dyn FileSystem>,
    /// What was mounted: a device's path, or the type's name.
    source: Box<[u8]>,
    /// `st_dev` of its files.
    device: u32,
    flags: AtomicU32,
    writers: Writers,
}

impl Mount {
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.file_system
    }

    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// The number that `st_dev` shows.
    #[inline]
    pub fn device(&self) -> u32 {
        self.device
    }

    #[inline]
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_truncate(self.flags.load(Ordering::Relaxed))
    }

    /// Writing is refused, by the mount or by the file system.
    #[inline]
    pub fn read_only(&self) -> bool {
        self.flags().contains(MountFlags::READ_ONLY)
    }

    pub(crate) fn writers(&self) -> &Writers {
        &self.writers
    }

    fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }
}

/// One row of the mount table.
struct MountEntry {
    mount: Arc<Mount>,
    root: Arc<Dentry>,
    /// The directory it covers; `None` for the root of the tree.
    point: Option<Arc<Dentry>>,
}

/// What [`list`] tells of a mount.
pub struct MountRow {
    pub mount: Arc<Mount>,
    /// Its root directory; the path is that of the directory it covers.
    pub root: Arc<Dentry>,
    /// The number of the mount that has this directory; 0 for the root of the tree.
    pub parent: u32,
}

/// The name space: what is mounted where, and the names that are known.
pub struct Vfs {
    /// Indexed by what a covered directory remembers; emptied rows are used again.
    mounts: Vec<Option<MountEntry>>,
    pub(crate) cache: DentryCache,
    next_device: u32,
}

impl Vfs {
    /// An empty name space, which remembers no names yet.
    pub const fn new() -> Self {
        Self { mounts: Vec::new(), cache: DentryCache::new(), next_device: 1 }
    }

    /// Sets how many names are remembered at most; `seed` keeps users from choosing names that
    /// collide in the table. To be called before the first mount.
    pub fn set_cache(&mut self, names: usize, seed: u64) {
        self.cache = DentryCache::with_capacity(names, seed);
    }

    /// The root of the tree, once something is mounted there.
    #[inline]
    pub fn root(&self) -> Option<&Arc<Dentry>> {
        let mut root = &self.mounts.first()?.as_ref()?.root;
        while let Some(top) = self.covering(root) {
            root = top;
        }
        Some(root)
    }

    /// The root of the mount that covers `dentry`, if one does.
    #[inline]
    pub(crate) fn covering(&self, dentry: &Dentry) -> Option<&Arc<Dentry>> {
        let index = dentry.covering_mount()?;
        Some(&self.mounts.get(index)?.as_ref()?.root)
    }

    /// The directory that the mount with this root covers.
    pub(crate) fn covered(&self, root: &Arc<Dentry>) -> Option<&Arc<Dentry>> {
        self.mounts.iter().flatten().find(|entry| Arc::ptr_eq(&entry.root, root))?.point.as_ref()
    }

    /// How many names the cache holds.
    pub fn cached_names(&self) -> usize {
        self.cache.len()
    }
}

impl Default for Vfs {
    fn default() -> Self {
        Self::new()
    }
}

/// What `each` makes of every mount, oldest row first. Room is made without the lock.
fn collect<T>(vfs: &RwLock<Vfs>, each: impl Fn(&MountEntry) -> T) -> Vec<T> {
    let mut out = Vec::new();
    loop {
        let count = {
            let vfs = vfs.read();
            let count = vfs.mounts.iter().flatten().count();
            if count <= out.capacity() {
                out.extend(vfs.mounts.iter().flatten().map(&each));
                return out;
            }
            count
        };
        out.reserve(count);
    }
}

/// All mounts, oldest row first.
pub fn list(vfs: &RwLock<Vfs>) -> Vec<MountRow> {
    collect(vfs, |entry| MountRow {
        mount: Arc::clone(&entry.mount),
        root: Arc::clone(&entry.root),
        parent: entry.point.as_ref().map_or(0, |point| point.mount().device()),
    })
}

/// The mounts without their roots, which would keep them busy.
pub fn mounts(vfs: &RwLock<Vfs>) -> Vec<Arc<Mount>> {
    collect(vfs, |entry| Arc::clone(&entry.mount))
}

/// Mounts `file_system` on the directory `point`, or as the root of the tree if `point` is `None`.
pub fn mount(
    vfs: &RwLock<Vfs>,
    point: Option<&Arc<Dentry>>,
    file_system: Arc<dyn FileSystem>,
    source: &[u8],
    flags: MountFlags,
) -> Result<(), FsError> {
    if point.is_some_and(|point| point.file_type() != FileType::Directory) {
        return Err(FsError::NotDirectory);
    }
    let flags = if file_system.read_only() { flags | MountFlags::READ_ONLY } else { flags };
    let root_inode = file_system.root();
    let source: Box<[u8]> = source.into();
    let mut vfs = vfs.write();
    if point.is_none() && vfs.mounts.first().is_some_and(Option::is_some) {
        return Err(FsError::Busy);
    }
    if point.is_some_and(|point| point.covering_mount().is_some()) {
        return Err(FsError::Busy);
    }
    let device = vfs.next_device;
    vfs.next_device += 1;
    let writers = Writers::new(!flags.contains(MountFlags::READ_ONLY));
    let flags = AtomicU32::new(flags.bits());
    let mount = Arc::new(Mount { file_system, source, device, flags, writers });
    let root = Dentry::new_root(root_inode, Arc::clone(&mount));
    let entry = MountEntry { mount, root, point: point.cloned() };
    // Row 0 is the root's.
    let vacant = vfs.mounts.iter().position(Option::is_none);
    let index = match vacant {
        Some(index) => index,
        None => {
            vfs.mounts.push(None);
            vfs.mounts.len() - 1
        }
    };
    if let Some(row) = vfs.mounts.get_mut(index) {
        *row = Some(entry);
    }
    if let Some(point) = point {
        point.set_covering_mount(Some(index));
    }
    Ok(())
}

/// Changes the flags of the mount whose root is `root`. To read-only: `Busy` while a file is open to
/// be written.
pub fn remount(root: &Arc<Dentry>, flags: MountFlags) -> Result<(), FsError> {
    let mount = root.mount();
    if root.parent().is_some() {
        return Err(FsError::InvalidArgument);
    }
    let lock = mount.writers.lock();
    match (mount.read_only(), flags.contains(MountFlags::READ_ONLY)) {
        (false, true) => {
            mount.writers.forbid(&lock)?;
            if let Err(error) = mount.file_system().remount(true) {
                mount.writers.allow(&lock);
                return Err(error);
            }
            mount.set_flags(flags);
        }
        (true, false) => {
            mount.file_system().remount(false)?;
            if mount.file_system().read_only() {
                return Err(FsError::ReadOnly);
            }
            mount.set_flags(flags);
            mount.writers.allow(&lock);
        }
        _ => mount.set_flags(flags),
    }
    Ok(())
}

/// Takes the mount whose root is `root` out of the tree, and closes its file system. Fails with
/// `Busy` while anything in it is in use, or something is mounted on it.
pub fn unmount(vfs: &RwLock<Vfs>, root: Arc<Dentry>) -> Result<(), FsError> {
    let mount = Arc::clone(root.mount());
    // Cached names hold their parents: drop generation after generation.
    loop {
        let purged = vfs.write().cache.purge(|dentry| Arc::ptr_eq(dentry.mount(), &mount));
        if purged.is_empty() {
            break;
        }
    }
    let entry = {
        let mut vfs = vfs.write();
        let index = vfs
            .mounts
            .iter()
            .position(|row| row.as_ref().is_some_and(|row| Arc::ptr_eq(&row.root, &root)))
            .ok_or(FsError::InvalidArgument)?;
        let row = vfs.mounts.get_mut(index).ok_or(FsError::InvalidArgument)?;
        // The row's and the caller's.
        let in_use = Arc::strong_count(&root) > 2 || root.covering_mount().is_some();
        if in_use {
            return Err(FsError::Busy);
        }
        let entry = row.take().ok_or(FsError::InvalidArgument)?;
        if let Some(point) = &entry.point {
            point.set_covering_mount(None);
        }
        entry
    };
    drop(root);
    drop(entry);
    mount.file_system().unmount()
}

/// Writes back every mounted file system. The first error is reported, after all were tried.
pub fn sync_all(vfs: &RwLock<Vfs>) -> Result<(), FsError> {
    let mounts = mounts(vfs);
    let mut result = Ok(());
    for mount in mounts {
        result = result.and(mount.file_system().sync());
    }
    result
}
