//! The disks, by name: `vda`, `vdb`, … in the order in which they were found, and `ram0`, the disk
//! that the boot loader loaded.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_sync::SpinLock;
use kernel_vfs::BlockDevice;

/// What drives a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskKind {
    Virtio,
    Memory,
}

/// A disk, its name, and its number among those of its kind.
#[derive(Clone)]
pub struct Disk {
    pub name: String,
    pub kind: DiskKind,
    pub index: u32,
    pub device: Arc<dyn BlockDevice>,
}

static DISKS: SpinLock<Vec<Disk>> = SpinLock::new(Vec::new());

/// The most disks that one-letter names reach.
const LIMIT: u32 = 26;

/// Adds a disk under the next free name, and returns the name; `None` if there are too many.
pub fn register(kind: DiskKind, device: Arc<dyn BlockDevice>) -> Option<String> {
    let mut disks = DISKS.lock();
    let index = disks.iter().filter(|disk| disk.kind == kind).count() as u32;
    if index >= LIMIT {
        return None;
    }
    let name = match kind {
        DiskKind::Virtio => format!("vd{}", char::from(b'a' + index as u8)),
        DiskKind::Memory => format!("ram{index}"),
    };
    disks.push(Disk { name: name.clone(), kind, index, device });
    Some(name)
}

/// The disk of a name.
pub fn by_name(name: &str) -> Option<Arc<dyn BlockDevice>> {
    let disks = DISKS.lock();
    disks.iter().find(|disk| disk.name == name).map(|disk| Arc::clone(&disk.device))
}

/// All disks, in the order in which they were found.
pub fn all() -> Vec<Disk> {
    DISKS.lock().clone()
}
