//! ext2 on a disk of this machine.

use alloc::sync::Arc;

use kernel_ext2::{Ext2, MountOptions};
use kernel_vfs::{BlockDevice, FileSystem, FsError, Mount};

use super::memory_share;

/// Bytes of a block at least; what the bound on the cache is reckoned with.
const BLOCK: usize = 1024;
/// Most memory for the blocks of one file system.
const CACHE_MAX: usize = 16 << 20;

/// Mounts the file system on `device`, whose name is for the log.
///
/// # Errors
/// `InvalidArgument` if there is no ext2, `NotSupported` if it has features that we do not know,
/// `Corrupted` if it cannot be true.
pub(super) fn open(
    device: Arc<dyn BlockDevice>,
    name: &str,
    read_only: bool,
) -> Result<Arc<dyn FileSystem>, FsError> {
    let cached_blocks = memory_share(16).min(CACHE_MAX) / BLOCK / 2;
    let file_system = Ext2::mount(device, MountOptions { read_only, cached_blocks })?;
    if !file_system.was_clean() {
        log::warn!("{name}: was not unmounted; e2fsck should look at it");
    }
    if file_system.has_errors() {
        log::warn!("{name}: has errors; e2fsck should look at it");
    }
    Ok(Arc::new(file_system))
}

/// Whether `mount` is of the disk with this name.
pub(super) fn is_on(mount: &Mount, name: &str) -> bool {
    mount.source().strip_prefix(b"/dev/") == Some(name.as_bytes())
}
