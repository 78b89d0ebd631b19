//! The BPF file system, mounted at `/sys/fs/bpf`: names that keep programs, maps and links
//! alive (`BPF_OBJ_PIN`, `BPF_OBJ_GET`).
//!
//! A tree in memory (`kernel_vfs::memory`) in which users make directories, but whose other
//! inodes are [`PinnedObject`]s, which only `bpf(2)` makes. Removing the name removes the pin.

use alloc::sync::Arc;
use core::any::Any;

use kernel_vfs::memory::{MemoryFs, MemoryOptions, NodeAttributes};
use kernel_vfs::{
    File, FileType, FsError, Inode, Metadata, OpenFlags, Ownership, Permissions, SetAttributes,
};

use crate::mcore;

/// `BPF_FS_MAGIC`.
const MAGIC: u32 = 0xcafe_4a11;

/// A new, empty BPF file system.
pub fn new() -> Arc<MemoryFs> {
    Arc::new(MemoryFs::new(MemoryOptions {
        name: "bpf",
        magic: MAGIC,
        page_limit: 0,
        inode_limit: 65_536,
        may_grow: super::may_grow,
        files: false,
        attach: true,
        root: Ownership { mode: 0o1777, uid: 0, gid: 0 },
    }))
}

/// What a name can keep alive. This layer does not look inside.
pub type Pinnable = Arc<dyn Any + Send + Sync>;

/// A name for a BPF object.
struct PinnedObject {
    attributes: NodeAttributes,
    object: Pinnable,
}

/// Numbers for pinned inodes, beyond those of the tree's directories.
fn next_number() -> u64 {
    use core::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1 << 32);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Inode for PinnedObject {
    fn file_type(&self) -> FileType {
        FileType::Regular
    }

    fn permissions(&self) -> Permissions {
        self.attributes.permissions()
    }

    fn metadata(&self) -> Result<Metadata, FsError> {
        Ok(self.attributes.metadata(FileType::Regular))
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<(), FsError> {
        self.attributes.set(change);
        Ok(())
    }

    /// Pinned objects are opened by `BPF_OBJ_GET`; `open(2)` fails, as on Linux.
    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Arc<dyn File>, FsError> {
        Err(FsError::Io)
    }
}

/// Gives `object` the name `path`, which must be new and in a BPF file system.
pub fn pin(path: &[u8], object: Pinnable) -> Result<(), FsError> {
    let task = mcore::current();
    let identity = super::identity();
    let mode = 0o600 & !task.fs().map_or(0, |fs| fs.umask());
    let owner = Ownership { mode, uid: identity.uid, gid: identity.gid };
    let attributes = NodeAttributes::new(next_number(), owner, 1);
    let node = Arc::new(PinnedObject { attributes, object });
    super::with_walk(|walk, start| walk.attach(start, path, node))
}

/// The object that `path` names; `PermissionDenied` if the caller may not read and write it,
/// `NotPermitted` if it is not a pinned object.
pub fn get(path: &[u8]) -> Result<Pinnable, FsError> {
    let dentry = super::with_walk(|walk, start| {
        let dentry = walk.resolve(start, path, true)?;
        walk.check_access(&dentry, 6)?;
        Ok(dentry)
    })?;
    match dentry.inode().downcast_ref::<PinnedObject>() {
        Some(pinned) => Ok(Arc::clone(&pinned.object)),
        None => Err(FsError::PermissionDenied),
    }
}
