//! [`Dentry`]: a name in the tree, and the inode it leads to.
//!
//! Dentries form the tree that paths walk: each knows its parent, so `..` and `getcwd` need no
//! file system. Whoever holds a dentry (an open file, a working directory) holds its ancestors
//! up to the root of its mount; that is also how a busy mount is recognised. Only inodes that
//! exist have dentries; names known not to exist are remembered by the [cache](crate::cache).
//!
//! Locks, in order: a directory's [`Dentry::lock_directory`] (sleeping), the `Vfs` lock
//! (spinning), a dentry's `location` (spinning).

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use kernel_sync::{Mutex, MutexGuard, TaskLock};
use smallvec::SmallVec;

use crate::inode::Inode;
use crate::mount::Mount;
use crate::types::FileType;

/// The name of one entry; short ones are stored in place.
pub type Name = SmallVec<[u8; 24]>;

/// Numbers for dentries; never used twice.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Where a dentry hangs.
struct Location {
    /// `None` for the root of a mount.
    parent: Option<Arc<Dentry>>,
    name: Name,
}

/// A name in the tree and what it names.
pub struct Dentry {
    id: u64,
    inode: Arc<dyn Inode>,
    file_type: FileType,
    mount: Arc<Mount>,
    location: TaskLock<Location>,
    /// Index of the mount on top of this directory, plus one; 0 if there is none.
    covered_by: AtomicU32,
    unlinked: AtomicBool,
    directory: Mutex<()>,
}

impl Dentry {
    /// The root of a mount.
    pub(crate) fn new_root(inode: Arc<dyn Inode>, mount: Arc<Mount>) -> Arc<Self> {
        Self::build(None, Name::new(), inode, mount)
    }

    /// The entry `name` of `parent`.
    pub(crate) fn new_child(parent: &Arc<Self>, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Self> {
        let mount = Arc::clone(&parent.mount);
        Self::build(Some(Arc::clone(parent)), Name::from_slice(name), inode, mount)
    }

    fn build(
        parent: Option<Arc<Self>>,
        name: Name,
        inode: Arc<dyn Inode>,
        mount: Arc<Mount>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            file_type: inode.file_type(),
            inode,
            mount,
            location: TaskLock::new(Location { parent, name }),
            covered_by: AtomicU32::new(0),
            unlinked: AtomicBool::new(false),
            directory: Mutex::new(()),
        })
    }

    /// A number that no other dentry has had or will have.
    #[inline]
    pub fn id(&self) -> u64 {
        self.id
    }

    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    #[inline]
    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// The mount it is on.
    #[inline]
    pub fn mount(&self) -> &Arc<Mount> {
        &self.mount
    }

    /// The name has been removed; the inode lives on while it is held.
    pub fn is_unlinked(&self) -> bool {
        self.unlinked.load(Ordering::Relaxed)
    }

    pub(crate) fn mark_unlinked(&self) {
        self.unlinked.store(true, Ordering::Relaxed);
    }

    /// Whether this is the root directory of a mount.
    pub fn is_mount_root(&self) -> bool {
        self.location.lock().parent.is_none()
    }

    /// The parent on the same mount; `None` for a mount's root.
    pub(crate) fn parent(&self) -> Option<Arc<Self>> {
        self.location.lock().parent.clone()
    }

    /// The name under the parent; empty for a mount's root.
    pub fn name(&self) -> Name {
        self.location.lock().name.clone()
    }

    /// Hangs the dentry elsewhere (`rename`). Returns what has to be dropped without locks.
    pub(crate) fn relocate(&self, parent: &Arc<Self>, name: &[u8]) -> Option<Arc<Self>> {
        let mut new = Location { parent: Some(Arc::clone(parent)), name: Name::from_slice(name) };
        core::mem::swap(&mut *self.location.lock(), &mut new);
        new.parent
    }

    /// The index of the mount that covers this directory.
    #[inline]
    pub(crate) fn covering_mount(&self) -> Option<usize> {
        match self.covered_by.load(Ordering::Relaxed) {
            0 => None,
            index => Some(index as usize - 1),
        }
    }

    pub(crate) fn set_covering_mount(&self, index: Option<usize>) {
        let value = index.map_or(0, |index| index as u32 + 1);
        self.covered_by.store(value, Ordering::Relaxed);
    }

    /// Serialises look-ups that miss the cache and all changes of this directory.
    pub(crate) fn lock_directory(&self) -> MutexGuard<'_, ()> {
        self.directory.lock()
    }

    /// Whether `self` is `other` or one of its ancestors on the same mount.
    pub(crate) fn is_ancestor_of(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut current = Some(Arc::clone(other));
        while let Some(dentry) = current {
            if Arc::ptr_eq(&dentry, self) {
                return true;
            }
            current = dentry.parent();
        }
        false
    }
}

impl Drop for Dentry {
    /// Drops a long chain of ancestors in a loop, for a kernel stack is small.
    fn drop(&mut self) {
        let mut parent = self.location.get_mut().parent.take();
        while let Some(dentry) = parent {
            parent = match Arc::into_inner(dentry) {
                Some(mut dentry) => dentry.location.get_mut().parent.take(),
                None => None,
            };
        }
    }
}
