//! [`FsContext`]: from where a process sees the tree: root, working directory, umask.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU16, Ordering};

use kernel_sync::TaskLock;

use crate::dentry::Dentry;
use crate::error::FsError;
use crate::types::FileType;

/// Root, working directory and umask of a process. Threads share one; `fork` copies it.
pub struct FsContext {
    root: Arc<Dentry>,
    working: TaskLock<Arc<Dentry>>,
    umask: AtomicU16,
}

impl FsContext {
    /// Root and working directory at `root`, umask 022.
    pub fn new(root: Arc<Dentry>) -> Self {
        let working = TaskLock::new(Arc::clone(&root));
        Self { root, working, umask: AtomicU16::new(0o022) }
    }

    /// The process's root: `..` stays here, and absolute paths start here.
    #[inline]
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }

    /// The working directory: relative paths start here.
    #[inline]
    pub fn working_directory(&self) -> Arc<Dentry> {
        Arc::clone(&self.working.lock())
    }

    pub fn set_working_directory(&self, directory: Arc<Dentry>) -> Result<(), FsError> {
        if directory.file_type() != FileType::Directory {
            return Err(FsError::NotDirectory);
        }
        // The old one is dropped without the lock.
        let old = core::mem::replace(&mut *self.working.lock(), directory);
        drop(old);
        Ok(())
    }

    /// The mode bits that new files do not get.
    #[inline]
    pub fn umask(&self) -> u16 {
        self.umask.load(Ordering::Relaxed)
    }

    /// Sets the umask (nine bits) and returns the old one.
    pub fn set_umask(&self, mask: u16) -> u16 {
        self.umask.swap(mask & 0o777, Ordering::Relaxed)
    }

    /// A copy for `fork`.
    pub fn fork(&self) -> Self {
        Self {
            root: Arc::clone(&self.root),
            working: TaskLock::new(self.working_directory()),
            umask: AtomicU16::new(self.umask()),
        }
    }
}
