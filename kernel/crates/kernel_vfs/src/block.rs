//! [`BlockDevice`]: what a disk driver offers to file systems, and a disk in memory for tests.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use kernel_sync::TaskLock;

use crate::error::FsError;

/// A device of equal blocks. All operations may sleep; none is called with a spin lock held.
pub trait BlockDevice: Send + Sync {
    /// Bytes in a block: a power of two, 512 to 4096.
    fn block_size(&self) -> usize;
    fn block_count(&self) -> u64;
    /// Reads whole blocks from `first` on; `buffer` is a multiple of the block size.
    fn read(&self, first: u64, buffer: &mut [u8]) -> Result<(), FsError>;
    /// Writes whole blocks from `first` on.
    fn write(&self, first: u64, buffer: &[u8]) -> Result<(), FsError>;
    /// Returns when everything written before is on stable storage.
    fn flush(&self) -> Result<(), FsError>;
    /// Refuses writes.
    fn read_only(&self) -> bool {
        false
    }
}

impl<T: BlockDevice + ?Sized> BlockDevice for Arc<T> {
    fn block_size(&self) -> usize {
        (**self).block_size()
    }

    fn block_count(&self) -> u64 {
        (**self).block_count()
    }

    fn read(&self, first: u64, buffer: &mut [u8]) -> Result<(), FsError> {
        (**self).read(first, buffer)
    }

    fn write(&self, first: u64, buffer: &[u8]) -> Result<(), FsError> {
        (**self).write(first, buffer)
    }

    fn flush(&self) -> Result<(), FsError> {
        (**self).flush()
    }

    fn read_only(&self) -> bool {
        (**self).read_only()
    }
}

/// A disk in memory, for tests on the host.
pub struct MemoryDisk {
    block_size: usize,
    bytes: TaskLock<Vec<u8>>,
}

impl MemoryDisk {
    /// A disk that holds `bytes`, cut to whole blocks.
    pub fn new(block_size: usize, mut bytes: Vec<u8>) -> Self {
        bytes.truncate(bytes.len() / block_size * block_size);
        Self { block_size, bytes: TaskLock::new(bytes) }
    }

    /// An empty disk.
    pub fn zeroed(block_size: usize, blocks: usize) -> Self {
        Self::new(block_size, vec![0; block_size * blocks])
    }

    /// A copy of what the disk holds.
    pub fn snapshot(&self) -> Vec<u8> {
        self.bytes.lock().clone()
    }

    fn range(&self, first: u64, length: usize) -> Option<core::ops::Range<usize>> {
        let start = usize::try_from(first).ok()?.checked_mul(self.block_size)?;
        (length.is_multiple_of(self.block_size)).then_some(start..start.checked_add(length)?)
    }
}

impl BlockDevice for MemoryDisk {
    fn block_size(&self) -> usize {
        self.block_size
    }

    fn block_count(&self) -> u64 {
        (self.bytes.lock().len() / self.block_size) as u64
    }

    fn read(&self, first: u64, buffer: &mut [u8]) -> Result<(), FsError> {
        let range = self.range(first, buffer.len()).ok_or(FsError::Io)?;
        buffer.copy_from_slice(self.bytes.lock().get(range).ok_or(FsError::Io)?);
        Ok(())
    }

    fn write(&self, first: u64, buffer: &[u8]) -> Result<(), FsError> {
        let range = self.range(first, buffer.len()).ok_or(FsError::Io)?;
        self.bytes.lock().get_mut(range).ok_or(FsError::Io)?.copy_from_slice(buffer);
        Ok(())
    }

    fn flush(&self) -> Result<(), FsError> {
        Ok(())
    }
}
