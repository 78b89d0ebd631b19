//! [`BlockDevice`]: what a disk driver offers to file systems, and [`MemoryDisk`], a disk in memory.

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

/// A disk in memory: what a boot loader loaded, or a test's.
pub struct MemoryDisk<S = Vec<u8>> {
    block_size: usize,
    blocks: usize,
    bytes: TaskLock<S>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn zeroed(block_size: usize, blocks: usize) -> Self {
        Self::new(block_size, vec![0; block_size * blocks])
    }

    /// A copy of what the disk holds.
    pub fn snapshot(&self) -> Vec<u8> {
        self.bytes.lock().clone()
    }
}

impl<S: AsRef<[u8]> + AsMut<[u8]>> MemoryDisk<S> {
    /// A disk that holds `bytes`, without what is beyond the last whole block.
    pub fn new(block_size: usize, bytes: S) -> Self {
        let blocks = bytes.as_ref().len() / block_size;
        Self { block_size, blocks, bytes: TaskLock::new(bytes) }
    }

    /// Where whole blocks from `first` on are.
    fn range(&self, first: u64, length: usize) -> Result<core::ops::Range<usize>, FsError> {
        let first = usize::try_from(first).map_err(|_| FsError::Io)?;
        let left = self.blocks.checked_sub(first).ok_or(FsError::Io)?;
        if !length.is_multiple_of(self.block_size) || length / self.block_size > left {
            return Err(FsError::Io);
        }
        let start = first * self.block_size;
        Ok(start..start + length)
    }
}

impl<S: AsRef<[u8]> + AsMut<[u8]> + Send> BlockDevice for MemoryDisk<S> {
    fn block_size(&self) -> usize {
        self.block_size
    }

    fn block_count(&self) -> u64 {
        self.blocks as u64
    }

    fn read(&self, first: u64, buffer: &mut [u8]) -> Result<(), FsError> {
        let range = self.range(first, buffer.len())?;
        let bytes = self.bytes.lock();
        buffer.copy_from_slice(bytes.as_ref().get(range).ok_or(FsError::Io)?);
        Ok(())
    }

    fn write(&self, first: u64, buffer: &[u8]) -> Result<(), FsError> {
        let range = self.range(first, buffer.len())?;
        let mut bytes = self.bytes.lock();
        bytes.as_mut().get_mut(range).ok_or(FsError::Io)?.copy_from_slice(buffer);
        Ok(())
    }

    fn flush(&self) -> Result<(), FsError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockDevice, FsError, MemoryDisk};

    #[test]
    fn what_is_written_is_read_and_nothing_beyond_the_end() {
        let mut bytes = [7_u8; 512 * 3 + 100];
        let disk = MemoryDisk::new(512, &mut bytes[..]);
        assert_eq!((disk.block_size(), disk.block_count()), (512, 3));
        disk.write(1, &[1; 1024]).unwrap();
        let mut all = [0; 1536];
        disk.read(0, &mut all).unwrap();
        assert!(all[..512] == [7; 512] && all[512..] == [1; 1024]);
        for (first, length) in [(3, 512), (2, 1024), (0, 100), (u64::MAX, 512), (1 << 60, 512)] {
            assert_eq!(disk.read(first, &mut all[..length]), Err(FsError::Io), "{first} {length}");
            assert_eq!(disk.write(first, &all[..length]), Err(FsError::Io), "{first} {length}");
        }
        assert_eq!(disk.read(3, &mut []), Ok(()));
        assert_eq!(bytes[1536..], [7; 100], "what is no whole block stays as it was");
    }
}
