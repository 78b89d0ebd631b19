//! Paths and directory descriptors as system calls pass them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::ops::Deref;

use kernel_abi::Errno;
use kernel_abi::file::AT_FDCWD;
use kernel_vfs::{Dentry, FileType, FsContext, Identity, OpenFile, PATH_MAX, Walk};

use super::errno::OrErrno;
use crate::arch::PAGE_SIZE;
use crate::file;
use crate::mcore::{self, context::Current};
use crate::mem::user::{copy_from_user, strncpy_from_user};

/// Bytes of a path that fit without an allocation, and how many are copied first.
const SHORT: usize = 64;
const FIRST: usize = 32;

/// Where a path from user memory is copied to.
pub(super) struct PathBuffer {
    short: [u8; SHORT],
    long: Vec<u8>,
}

impl PathBuffer {
    pub(super) const fn new() -> Self {
        Self { short: [0; SHORT], long: Vec::new() }
    }

    /// Copies the string at `address`; `ENAMETOOLONG` if it has more than 4095 bytes.
    #[inline]
    pub(super) fn read(&mut self, address: usize) -> Result<&[u8], Errno> {
        // Most paths are short, and a copy costs by its length.
        if address % PAGE_SIZE <= PAGE_SIZE - FIRST {
            let (first, _) = self.short.split_at_mut(FIRST);
            copy_from_user(first, address)?;
            if let Some(length) = self.short.iter().take(FIRST).position(|&byte| byte == 0) {
                return Ok(self.short.get(..length).unwrap_or(&[]));
            }
        }
        self.read_long(address)
    }

    fn read_long(&mut self, address: usize) -> Result<&[u8], Errno> {
        if let Some(length) = strncpy_from_user(&mut self.short, address)? {
            return Ok(self.short.get(..length).unwrap_or(&[]));
        }
        self.long.try_reserve_exact(PATH_MAX + 1).map_err(|_| Errno::ENOMEM)?;
        self.long.resize(PATH_MAX + 1, 0);
        let length = strncpy_from_user(&mut self.long, address)?.ok_or(Errno::ENAMETOOLONG)?;
        Ok(self.long.get(..length).unwrap_or(&[]))
    }
}

/// A dentry that is borrowed where that is possible.
pub(super) enum Start<'a> {
    Borrowed(&'a Arc<Dentry>),
    Owned(Arc<Dentry>),
}

impl Deref for Start<'_> {
    type Target = Arc<Dentry>;
    #[inline]
    fn deref(&self) -> &Arc<Dentry> {
        match self {
            Self::Borrowed(dentry) => dentry,
            Self::Owned(dentry) => dentry,
        }
    }
}

/// The caller of a system call, as the file system sees it.
pub(super) struct Caller {
    task: Current,
    /// The root, if it is not the one that the process began with.
    root: OnceCell<Arc<Dentry>>,
}

impl Caller {
    #[inline]
    pub(super) fn new() -> Self {
        Self { task: mcore::current(), root: OnceCell::new() }
    }

    /// Root, working directory and umask. A user's task always has them.
    #[inline]
    pub(super) fn context(&self) -> Result<&FsContext, Errno> {
        self.task.fs().map(|context| &**context).ok_or(Errno::ENOENT)
    }

    /// Where absolute paths start.
    #[inline]
    fn root(&self) -> Result<&Arc<Dentry>, Errno> {
        let context = self.context()?;
        Ok(context.first_root().unwrap_or_else(|| self.root.get_or_init(|| context.root())))
    }

    /// The view of the tree, with the effective identity.
    #[inline]
    pub(super) fn walk(&self) -> Result<Walk<'_>, Errno> {
        Ok(file::walk(self.root()?, self.identity()))
    }

    #[inline]
    pub(super) fn identity(&self) -> Identity<'static> {
        let credentials = self.task.process().credentials();
        Identity { uid: credentials.euid, gid: credentials.egid, groups: &[] }
    }

    /// The view with the real identity, for `access(2)`.
    pub(super) fn real_walk(&self) -> Result<Walk<'_>, Errno> {
        let credentials = self.task.process().credentials();
        let identity = Identity { uid: credentials.uid, gid: credentials.gid, groups: &[] };
        Ok(file::walk(self.root()?, identity))
    }

    /// The superuser's calls: `EPERM` for others.
    pub(super) fn require_privilege(&self) -> Result<(), Errno> {
        if self.task.process().credentials().is_privileged() { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// Where `path` starts: the root if it is absolute, else what `directory` names, which has to
    /// be a directory.
    #[inline]
    pub(super) fn start(&self, directory: usize, path: &[u8]) -> Result<Start<'_>, Errno> {
        if path.first() == Some(&b'/') {
            return Ok(Start::Borrowed(self.root()?));
        }
        if directory as i32 == AT_FDCWD {
            return Ok(Start::Owned(self.context()?.working_directory()));
        }
        let dentry = self.dentry(directory)?;
        // An empty path is refused for its own sake (or means the descriptor itself).
        if !path.is_empty() && dentry.file_type() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(Start::Owned(dentry))
    }

    /// The description behind a descriptor.
    #[inline]
    pub(super) fn file(&self, fd: usize) -> Result<Arc<OpenFile>, Errno> {
        self.task.files().ok_or(Errno::EBADF)?.get(fd as u32).or_errno()
    }

    /// The name that a descriptor was opened by; `ENOTDIR` if it has none.
    pub(super) fn dentry(&self, fd: usize) -> Result<Arc<Dentry>, Errno> {
        self.file(fd)?.dentry().cloned().ok_or(Errno::ENOTDIR)
    }

    pub(super) fn files(&self) -> Result<&Arc<kernel_vfs::FdTable>, Errno> {
        self.task.files().ok_or(Errno::EBADF)
    }
}

/// The path at `address`, of any legal length.
pub(super) fn path_from_user(address: usize) -> Result<Vec<u8>, Errno> {
    let mut buffer = PathBuffer::new();
    Ok(buffer.read(address)?.to_vec())
}

/// The string at `address`; what is longer than `most - 1` bytes is `EINVAL`.
pub(super) fn string_from_user(address: usize, most: usize) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    text.try_reserve_exact(most).map_err(|_| Errno::ENOMEM)?;
    text.resize(most, 0);
    let length = strncpy_from_user(&mut text, address)?.ok_or(Errno::EINVAL)?;
    text.truncate(length);
    Ok(text)
}
