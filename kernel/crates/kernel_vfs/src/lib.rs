//! The virtual file system: what is common to all file systems, and nothing of any hardware.
//!
//! | module | holds |
//! |---|---|
//! | [`inode`] | the traits a file system implements: [`FileSystem`], [`Inode`] |
//! | [`file`] | [`File`], an object behind a descriptor |
//! | [`io`] | [`Sink`] and [`Source`]: where data goes and comes from |
//! | [`block`] | [`BlockDevice`], what disks offer |
//! | [`dentry`], `cache`, [`mount`] | the tree of names, its cache, what is mounted where |
//! | [`claim`], [`writers`], [`set_id`] | who may write, run and make read-only meanwhile; whose rights a program keeps |
//! | [`advisory`] | the locks on a file that processes set for each other |
//! | [`walk`](mod@walk), [`operations`], `rename` | path resolution, and what is done with its result |
//! | [`open_file`], [`fd_table`], [`context`] | what a process has: descriptions, descriptors, directories |
//! | [`memory`] | a file system in memory: tmpfs, and the tree under devfs and bpffs |
//! | [`byte_queue`], [`special`] | what a pipe holds; pipes with names |
//! | [`page`] | file data that is read without a lock |
//! | [`mapped`] | file data that shared mappings have in common |
//! | [`terminal`] | line editing, echo and signals of a terminal |
//! | [`types`], [`error`], [`clock`] | plain data |
//!
//! Paths and names are bytes, as in Linux. Nothing here panics, whatever users or disks say.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::expect_used, clippy::indexing_slicing)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod advisory;
pub mod block;
pub mod byte_queue;
mod cache;
pub mod claim;
pub mod clock;
pub mod context;
pub mod dentry;
pub mod error;
pub mod fd_table;
pub mod file;
pub mod inode;
pub mod io;
pub mod mapped;
pub mod memory;
pub mod mount;
pub mod open_file;
pub mod operations;
pub mod page;
mod rename;
pub mod set_id;
pub mod special;
pub mod terminal;
pub mod types;
pub mod walk;
pub mod writers;

pub use block::{BlockDevice, MemoryDisk};
pub use byte_queue::ByteQueue;
pub use clock::{install_clock, now};
pub use context::FsContext;
pub use dentry::{Dentry, Name};
pub use error::FsError;
pub use fd_table::{DESCRIPTOR_LIMIT, FdTable};
pub use file::{DirectoryEntry, DirectorySink, File, SharedFrame};
pub use inode::{FileSystem, Inode, LinkTarget};
pub use io::{Sink, SliceSink, SliceSource, Source};
pub use mapped::{Mappable, Mapping};
pub use memory::{DeviceNode, MemoryFs, MemoryInode, MemoryOptions, NodeAttributes};
pub use mount::{Mount, MountFlags, MountRow, Vfs};
pub use open_file::{Holds, OpenFile, Whence};
pub use types::{
    FileSystemStatistics, FileType, Identity, Metadata, NAME_MAX, NewNode, OFFSET_MAX, OpenFlags,
    Ownership, PATH_MAX, Permissions, Readiness, SYMLINK_LIMIT, SetAttributes, Time,
};
pub use walk::{Last, Parent, Walk};
