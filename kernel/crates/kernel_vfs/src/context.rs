//! [`FsContext`]: from where a process sees the tree: root, working directory, umask.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use kernel_sync::TaskLock;

use crate::dentry::Dentry;
use crate::error::FsError;
use crate::types::FileType;

/// Root, working directory and umask of a process. Threads share one; `fork` copies it.
pub struct FsContext {
    root: Arc<Dentry>,
    /// The root is the other one.
    moved: AtomicBool,
    other_root: TaskLock<Option<Arc<Dentry>>>,
    working: TaskLock<Arc<Dentry>>,
    umask: AtomicU16,
}

impl FsContext {
    /// Root and working directory at `root`, umask 022.
    pub fn new(root: Arc<Dentry>) -> Self {
        let working = TaskLock::new(Arc::clone(&root));
        Self {
            root,
            moved: AtomicBool::new(false),
            other_root: TaskLock::new(None),
            working,
            umask: AtomicU16::new(0o022),
        }
    }

    /// The process's root: `..` stays here, and absolute paths start here.
    pub fn root(&self) -> Arc<Dentry> {
        let other = self.other_root.lock().clone();
        other.unwrap_or_else(|| Arc::clone(&self.root))
    }

    /// The same, if it is still the one that the process began with.
    #[inline]
    pub fn first_root(&self) -> Option<&Arc<Dentry>> {
        (!self.moved.load(Ordering::Acquire)).then_some(&self.root)
    }

    pub fn set_root(&self, directory: Arc<Dentry>) -> Result<(), FsError> {
        if directory.file_type() != FileType::Directory {
            return Err(FsError::NotDirectory);
        }
        // The old one is dropped without the lock.
        let old = self.other_root.lock().replace(directory);
        self.moved.store(true, Ordering::Release);
        drop(old);
        Ok(())
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
            root: self.root(),
            moved: AtomicBool::new(false),
            other_root: TaskLock::new(None),
            working: TaskLock::new(self.working_directory()),
            umask: AtomicU16::new(self.umask()),
        }
    }
}
