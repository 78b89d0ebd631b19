//! What a file system implements: [`FileSystem`] and its [`Inode`]s.
//!
//! The VFS serialises the operations on one directory (`lookup`, `create`, `link`, `unlink`,
//! `rename`): it holds the directory's lock around them, so a file system never sees two at
//! once in one directory. It checks names (1 to 255 bytes, no `/`, not `.` or `..`), permissions
//! and read-only mounts first. All operations may sleep.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use crate::claim::Claims;
use crate::dentry::Dentry;
use crate::error::FsError;
use crate::file::File;
use crate::types::{
    FileSystemStatistics, FileType, Metadata, NewNode, OpenFlags, Ownership, Permissions,
    SetAttributes,
};

/// Where a symbolic link leads.
pub enum LinkTarget {
    /// A path, to be resolved from the link's directory.
    Path(Vec<u8>),
    /// A place in the tree, whatever its path (`/proc/PID/cwd`).
    Place(Arc<Dentry>),
    /// An inode that has no name (`/proc/PID/fd/N` of a pipe).
    Object(Arc<dyn Inode>),
}

/// A mounted file system.
pub trait FileSystem: Send + Sync {
    /// The type's name: `ext2`, `tmpfs`.
    fn name(&self) -> &'static str;
    /// The root directory.
    fn root(&self) -> Arc<dyn Inode>;
    fn statistics(&self) -> Result<FileSystemStatistics, FsError>;
    /// Writes everything that is dirty to the device and waits for it.
    fn sync(&self) -> Result<(), FsError> {
        Ok(())
    }
    /// Called from time to time: writes what has been dirty, if anything has. Returns whether.
    fn write_back(&self) -> Result<bool, FsError> {
        Ok(false)
    }
    /// Bytes of memory that hold its data now.
    fn memory_use(&self) -> u64 {
        0
    }
    /// Called once, when nothing uses the file system any more, or when the machine stops whoever
    /// uses it. Waits for changes that are under way and refuses new ones; after it the device is
    /// consistent and marked clean.
    fn unmount(&self) -> Result<(), FsError> {
        self.sync()
    }
    /// Cannot be written whatever the mount flags say.
    fn read_only(&self) -> bool {
        false
    }
    /// Changes between read-only and read-write (`MS_REMOUNT`). To read-only as
    /// [`unmount`](Self::unmount), or `Busy` if something in use would have to be written later.
    fn remount(&self, _read_only: bool) -> Result<(), FsError> {
        Ok(())
    }
}

/// A file, directory, symbolic link or device node, whatever its names.
///
/// Whoever holds the `Arc` keeps the object: a file system frees an inode without links when
/// the last `Arc` is dropped. `drop` may happen anywhere and so must not sleep.
pub trait Inode: Any + Send + Sync {
    fn file_type(&self) -> FileType;
    /// Cheap: path resolution asks each directory that it passes.
    fn permissions(&self) -> Permissions;
    fn metadata(&self) -> Result<Metadata, FsError>;
    fn set_attributes(&self, _change: &SetAttributes) -> Result<(), FsError> {
        Err(FsError::NotPermitted)
    }

    /// The entry called `name` in this directory.
    fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Inode>, FsError> {
        Err(FsError::NotDirectory)
    }
    /// Whether names looked up here may be remembered, found or not. False where entries come
    /// and go without the VFS (procfs).
    fn cacheable(&self) -> bool {
        true
    }
    /// Makes a new inode called `name`, which does not exist.
    fn create(
        &self,
        _name: &[u8],
        _node: NewNode<'_>,
        _owner: Ownership,
    ) -> Result<Arc<dyn Inode>, FsError> {
        Err(FsError::NotPermitted)
    }
    /// Gives `target`, of the same file system and not a directory, a further name.
    fn link(&self, _name: &[u8], _target: &Arc<dyn Inode>) -> Result<(), FsError> {
        Err(FsError::NotPermitted)
    }
    /// Puts an inode made elsewhere in the kernel into this directory under `name`, which does
    /// not exist (a pinned BPF object, a device node).
    fn attach(&self, _name: &[u8], _node: Arc<dyn Inode>) -> Result<(), FsError> {
        Err(FsError::NotPermitted)
    }
    /// Removes `name`, which is `target` and not a directory.
    fn unlink(&self, _name: &[u8], _target: &dyn Inode) -> Result<(), FsError> {
        Err(FsError::NotPermitted)
    }
    /// Removes the directory `name`, which is `target`, if it is empty.
    fn rmdir(&self, _name: &[u8], _target: &dyn Inode) -> Result<(), FsError> {
        Err(FsError::NotPermitted)
    }
    /// Moves `name`, which is `moved`, to `new_name` in `new_directory` of the same file system,
    /// taking the place of `replaced` if there is one. Types are compatible, and `moved` is not
    /// an ancestor of `new_directory`; a replaced directory that is not empty is refused here.
    fn rename(
        &self,
        _name: &[u8],
        _moved: &dyn Inode,
        _new_directory: &dyn Inode,
        _new_name: &[u8],
        _replaced: Option<&dyn Inode>,
    ) -> Result<(), FsError> {
        Err(FsError::NotPermitted)
    }

    /// Lets the entry `one` (name and inode) here and `two` in `directory`, of the same file system,
    /// change places. Neither is an ancestor of the other's directory. `InvalidArgument` where that
    /// is not to be had.
    fn exchange(
        &self,
        _one: (&[u8], &dyn Inode),
        _directory: &dyn Inode,
        _two: (&[u8], &dyn Inode),
    ) -> Result<(), FsError> {
        Err(FsError::InvalidArgument)
    }

    /// The target of a symbolic link.
    fn read_link(&self) -> Result<Vec<u8>, FsError> {
        Err(FsError::InvalidArgument)
    }
    /// Where resolution goes on at a symbolic link: usually at the path that is its target.
    fn follow_link(&self) -> Result<LinkTarget, FsError> {
        self.read_link().map(LinkTarget::Path)
    }
    /// Sets the size of a regular file; what is added reads as zeros.
    fn truncate(&self, _size: u64) -> Result<(), FsError> {
        Err(FsError::InvalidArgument)
    }
    /// Who writes and who executes it; `None` for what is no program.
    fn claims(&self) -> Option<&Claims> {
        None
    }
    /// The object to read and write through. `flags` have been checked against the permissions;
    /// creation and truncation are done by the VFS.
    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn File>, FsError>;
}

impl dyn Inode {
    /// This inode as the concrete type `T`, if it is one.
    #[inline]
    pub fn downcast_ref<T: Inode>(&self) -> Option<&T> {
        let any: &dyn Any = self;
        any.downcast_ref()
    }
}
