//! A file system in memory: tmpfs, and the tree under devfs and bpffs.
//!
//! [`MemoryFs`] makes the whole; what distinguishes its uses is in [`MemoryOptions`]. Inodes made
//! elsewhere ([`DeviceNode`], a pinned BPF object) take part by [`Inode::attach`] or
//! [`MemoryFs::add_device`]; [`NodeAttributes`] gives them owner, mode and times.

mod attributes;
mod data;
mod device;
mod entries;
mod inode;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::error::FsError;
use crate::inode::{FileSystem, Inode};
use crate::page::PagePool;
use crate::types::{FileSystemStatistics, NAME_MAX, NewNode, Ownership};

pub use attributes::NodeAttributes;
pub use device::DeviceNode;
pub use inode::MemoryInode;

/// Bytes in a page of file data.
pub const PAGE: usize = 4096;

/// What makes one memory file system different from another.
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    /// The type's name.
    pub name: &'static str,
    /// `f_type` of `statfs(2)`.
    pub magic: u32,
    /// Pages of data that all files together may have.
    pub page_limit: u64,
    /// Inodes that may exist.
    pub inode_limit: u64,
    /// Whether the machine has this many more bytes; asked before each page and inode.
    pub may_grow: fn(usize) -> bool,
    /// Users may create regular files and symbolic links.
    pub files: bool,
    /// Inodes made elsewhere may be attached by path.
    pub attach: bool,
    /// Owner and mode of the root directory.
    pub root: Ownership,
}

/// What the inodes of one file system share.
struct Shared {
    options: MemoryOptions,
    next_number: AtomicU64,
    inodes: AtomicU64,
    pages: AtomicU64,
    pool: PagePool,
}

impl Shared {
    /// Counts one more page of data, if the limit allows it.
    fn reserve_page(&self) -> Result<(), FsError> {
        self.check_memory(PAGE)?;
        reserve(&self.pages, self.options.page_limit)
    }

    fn check_memory(&self, bytes: usize) -> Result<(), FsError> {
        if (self.options.may_grow)(bytes) { Ok(()) } else { Err(FsError::NoSpace) }
    }

    fn release_pages(&self, count: u64) {
        self.pages.fetch_sub(count, Ordering::Relaxed);
    }

    /// Counts one more inode, and returns its number.
    fn reserve_inode(&self) -> Result<u64, FsError> {
        self.check_memory(PAGE)?;
        reserve(&self.inodes, self.options.inode_limit)?;
        Ok(self.next_number.fetch_add(1, Ordering::Relaxed))
    }
}

fn reserve(used: &AtomicU64, limit: u64) -> Result<(), FsError> {
    if used.fetch_add(1, Ordering::Relaxed) < limit {
        return Ok(());
    }
    used.fetch_sub(1, Ordering::Relaxed);
    Err(FsError::NoSpace)
}

/// A file system whose files are in memory only.
pub struct MemoryFs {
    shared: Arc<Shared>,
    root: Arc<MemoryInode>,
}

impl MemoryFs {
    /// An empty one.
    pub fn new(options: MemoryOptions) -> Self {
        let shared = Arc::new(Shared {
            options,
            next_number: AtomicU64::new(2),
            inodes: AtomicU64::new(1),
            pages: AtomicU64::new(0),
            pool: PagePool::new(PAGE),
        });
        let root = Arc::new(MemoryInode::new_root(Arc::clone(&shared), options.root));
        Self { shared, root }
    }

    /// Puts a device node or another inode made elsewhere into the root directory.
    pub fn add(&self, name: &[u8], node: Arc<dyn Inode>) -> Result<(), FsError> {
        self.root.insert(name, node)
    }

    /// Makes a directory or a link in the root directory, for the kernel's own set-up.
    pub fn make(&self, name: &[u8], node: NewNode<'_>, mode: u16) -> Result<(), FsError> {
        self.root.create(name, node, Ownership { mode, uid: 0, gid: 0 }).map(drop)
    }

    /// A number for an inode that is going to be added.
    pub fn next_inode_number(&self) -> u64 {
        self.shared.next_number.fetch_add(1, Ordering::Relaxed)
    }
}

impl FileSystem for MemoryFs {
    fn name(&self) -> &'static str {
        self.shared.options.name
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::clone(&self.root) as Arc<dyn Inode>
    }

    fn memory_use(&self) -> u64 {
        self.shared.pages.load(Ordering::Relaxed) * PAGE as u64
    }

    fn statistics(&self) -> Result<FileSystemStatistics, FsError> {
        let options = &self.shared.options;
        let pages = self.shared.pages.load(Ordering::Relaxed);
        let inodes = self.shared.inodes.load(Ordering::Relaxed);
        let free = options.page_limit.saturating_sub(pages);
        Ok(FileSystemStatistics {
            magic: options.magic,
            block_size: PAGE as u32,
            blocks: options.page_limit,
            blocks_free: free,
            blocks_available: free,
            inodes: options.inode_limit,
            inodes_free: options.inode_limit.saturating_sub(inodes),
            name_max: NAME_MAX as u32,
        })
    }
}
