//! The device file system, mounted at `/dev`: a tree in memory, filled with the devices there are.

use alloc::sync::Arc;

use kernel_vfs::{
    DeviceNode, File, FileType, FsError, MemoryFs, MemoryOptions, NewNode, Ownership,
};

use super::devices::{Full, KernelMessages, Null, Random, Zero};
use super::disk::DiskFile;
use super::framebuffer::Framebuffer;
use super::tty;
use crate::driver::block::{self, DiskKind};
use crate::driver::display;

/// `TMPFS_MAGIC`: devtmpfs is one, too.
const MAGIC: u32 = 0x0102_1994;

/// Major numbers (Linux, `admin-guide/devices.txt`).
const MEMORY: u32 = 1;
const TERMINAL: u32 = 5;
const MEMORY_DISK: u32 = 1;
const FRAMEBUFFER: u32 = 29;
const VIRTIO_BLOCK: u32 = 254;

/// A new one, with nodes for every device.
pub fn new() -> Result<Arc<MemoryFs>, FsError> {
    let tree = MemoryFs::new(MemoryOptions {
        name: "devtmpfs",
        magic: MAGIC,
        page_limit: 256,
        inode_limit: 4096,
        may_grow: super::may_grow,
        files: true,
        attach: false,
        root: Ownership { mode: 0o755, uid: 0, gid: 0 },
    });
    let add = |name: &str, kind, device, mode, file: Arc<dyn File>| {
        let number = tree.next_inode_number();
        let node = Arc::new(DeviceNode::new(number, kind, device, mode, file));
        tree.add(name.as_bytes(), node)
    };
    let character = FileType::CharacterDevice;
    let device = |major: u32, minor: u32| major << 8 | minor;
    add("null", character, device(MEMORY, 3), 0o666, Arc::new(Null))?;
    add("zero", character, device(MEMORY, 5), 0o666, Arc::new(Zero))?;
    add("full", character, device(MEMORY, 7), 0o666, Arc::new(Full))?;
    add("random", character, device(MEMORY, 8), 0o666, Arc::new(Random))?;
    add("urandom", character, device(MEMORY, 9), 0o666, Arc::new(Random))?;
    add("kmsg", character, device(MEMORY, 11), 0o644, Arc::new(KernelMessages))?;
    add("tty", character, device(TERMINAL, 0), 0o666, tty::file())?;
    add("console", character, device(TERMINAL, 1), 0o600, tty::file())?;
    if let Some(display) = display::display() {
        let file = Arc::new(Framebuffer::new(display));
        add("fb0", character, device(FRAMEBUFFER, 0), 0o660, file)?;
    }
    for disk in block::all() {
        let file = Arc::new(DiskFile::new(disk.device, &disk.name));
        let number = match disk.kind {
            DiskKind::Virtio => device(VIRTIO_BLOCK, disk.index * 16),
            DiskKind::Memory => device(MEMORY_DISK, disk.index),
        };
        add(&disk.name, FileType::BlockDevice, number, 0o660, file)?;
    }
    tree.make(b"fd", NewNode::Symlink(b"/proc/self/fd"), 0o777)?;
    tree.make(b"stdin", NewNode::Symlink(b"/proc/self/fd/0"), 0o777)?;
    tree.make(b"stdout", NewNode::Symlink(b"/proc/self/fd/1"), 0o777)?;
    tree.make(b"stderr", NewNode::Symlink(b"/proc/self/fd/2"), 0o777)?;
    Ok(Arc::new(tree))
}
