//! The disks, by name: `vda`, `vdb`, … in the order in which they were found.

use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_sync::SpinLock;
use kernel_vfs::BlockDevice;

/// A disk and its name.
#[derive(Clone)]
pub struct Disk {
    pub name: [u8; 3],
    pub device: Arc<dyn BlockDevice>,
}

static DISKS: SpinLock<Vec<Disk>> = SpinLock::new(Vec::new());

/// The most disks that one-letter names reach.
const LIMIT: usize = 26;

/// Adds a disk under the next free name, and returns the name; `None` if there are too many.
pub fn register(device: Arc<dyn BlockDevice>) -> Option<[u8; 3]> {
    let mut disks = DISKS.lock();
    if disks.len() >= LIMIT {
        return None;
    }
    let name = [b'v', b'd', b'a' + disks.len() as u8];
    disks.push(Disk { name, device });
    Some(name)
}

/// The disk of a name.
pub fn by_name(name: &str) -> Option<Arc<dyn BlockDevice>> {
    let disks = DISKS.lock();
    disks.iter().find(|disk| disk.name == name.as_bytes()).map(|disk| Arc::clone(&disk.device))
}

/// All disks, in the order of their names.
pub fn all() -> Vec<Disk> {
    DISKS.lock().clone()
}
