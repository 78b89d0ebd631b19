//! [`DeviceNode`]: a name in devfs for an object of the kernel.

use alloc::sync::Arc;

use super::NodeAttributes;
use crate::error::FsError;
use crate::file::File;
use crate::inode::Inode;
use crate::types::{FileType, Metadata, OpenFlags, Ownership, Permissions, SetAttributes};

/// A character or block device; opening it gives the same object each time, unless the object
/// makes one for each opening ([`File::opened`]).
pub struct DeviceNode {
    attributes: NodeAttributes,
    file_type: FileType,
    device: u32,
    file: Arc<dyn File>,
}

impl DeviceNode {
    /// The node `number` for `file`; `device` is major << 8 | minor.
    pub fn new(
        number: u64,
        file_type: FileType,
        device: u32,
        mode: u16,
        file: Arc<dyn File>,
    ) -> Self {
        let attributes = NodeAttributes::new(number, Ownership { mode, uid: 0, gid: 0 }, 1);
        Self { attributes, file_type, device, file }
    }
}

impl Inode for DeviceNode {
    fn file_type(&self) -> FileType {
        self.file_type
    }

    fn permissions(&self) -> Permissions {
        self.attributes.permissions()
    }

    fn metadata(&self) -> Result<Metadata, FsError> {
        Ok(Metadata { device: self.device, ..self.attributes.metadata(self.file_type) })
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<(), FsError> {
        self.attributes.set(change);
        Ok(())
    }

    /// Devices have no size of their own to set; Linux accepts `O_TRUNC` and ignores it.
    fn truncate(&self, _size: u64) -> Result<(), FsError> {
        Err(FsError::InvalidArgument)
    }

    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Arc<dyn File>, FsError> {
        Ok(self.file.opened().unwrap_or_else(|| Arc::clone(&self.file)))
    }
}
