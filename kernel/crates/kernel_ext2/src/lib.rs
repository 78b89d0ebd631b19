//! The second extended file system (ext2), read and write, over any [`BlockDevice`].
//!
//! Format: D. Poirier, "The Second Extended File System", and the headers of e2fsprogs; section
//! names in comments are those of the former. Supported are revisions 0 and 1, blocks of 1, 2 and
//! 4 KiB, the features `filetype`, `sparse_super` and `large_file`; hashed directories
//! (`dir_index`) are used as the linear ones that they also are; extended attributes are kept.
//!
//! | module | holds |
//! |---|---|
//! | `layout` | the structures on the disk, decoded and checked |
//! | `cache` | blocks in memory, written back later |
//! | `filesystem` | [`Ext2`]: mounting, inodes in memory, the orphan list |
//! | `writing` | when the disk may be changed; the superblock, syncing |
//! | `allocate` | bitmaps: which blocks and inodes are free |
//! | `inode` | an inode in memory, its attributes and its place in the VFS |
//! | `map`, `data` | which block holds which part of a file; reading, writing, truncating |
//! | `mapped` | pages that mappings share |
//! | `directory`, `names` | entries in directory blocks; create, link, unlink, rename |
//!
//! **Locks**, in order: the lock and then the gate of `writing`, an inode's `writer`, those of
//! address spaces (which [`kernel_vfs::mapped::revoke`] takes), an inode's `body` (never two
//! inodes' at once), the allocator, the block cache's `io` (all of these sleep), the cache's table
//! and an inode's `meta` (these spin). A fault that only reads takes nothing above `body`: a write
//! may be copying from what it is for. The VFS holds a directory's own lock around every change of its entries.
//!
//! **Trust.** Every value read from a disk is an allegation. Numbers are checked before they are
//! used as block, inode or offset; what cannot be true is [`FsError::Corrupted`], marks the file
//! system as having errors, and changes nothing.
//!
//! [`BlockDevice`]: kernel_vfs::BlockDevice
//! [`FsError::Corrupted`]: kernel_vfs::FsError::Corrupted
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::expect_used, clippy::indexing_slicing)]

extern crate alloc;

mod allocate;
mod cache;
mod data;
mod directory;
mod filesystem;
mod inode;
mod layout;
mod map;
mod mapped;
mod names;
mod writing;

pub use filesystem::{Ext2, MountOptions};
pub use inode::Ext2Inode;
