//! A disk as a file: `/dev/vda`.
//!
//! Reads and writes go past the caches of a file system that may be mounted from it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_abi::file::ioctl::{BLKFLSBUF, BLKGETSIZE, BLKGETSIZE64, BLKSSZGET};
use kernel_vfs::{
    BlockDevice, Dentry, File, FileType, FsError, OpenFlags, Readiness, Sink, Source,
};

use crate::mem::memapi::may_allocate;
use crate::mem::user::write_user;

/// A buffer for whole blocks.
fn buffer(length: usize) -> Result<Vec<u8>, FsError> {
    may_allocate(length).map_err(|_| FsError::OutOfMemory)?;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(length).map_err(|_| FsError::OutOfMemory)?;
    buffer.resize(length, 0);
    Ok(buffer)
}

/// Bytes that are moved at a time.
const PIECE: usize = 32 * 1024;

/// A disk that can be opened.
pub(super) struct DiskFile {
    device: Arc<dyn BlockDevice>,
    name: String,
}

impl DiskFile {
    pub(super) fn new(device: Arc<dyn BlockDevice>, name: &str) -> Self {
        Self { device, name: name.into() }
    }

    fn length(&self) -> u64 {
        self.device.block_count().saturating_mul(self.device.block_size() as u64)
    }

    /// The blocks that hold `length` bytes at `offset`: the first, how many, and where in the
    /// first the bytes begin.
    fn span(&self, offset: u64, length: usize) -> (u64, usize, usize) {
        let block = self.device.block_size() as u64;
        let within = (offset % block) as usize;
        (offset / block, (within + length).div_ceil(block as usize), within)
    }
}

/// The disk that a device node names, and its name.
pub(super) fn of(dentry: &Dentry) -> Result<(Arc<dyn BlockDevice>, String), FsError> {
    if dentry.file_type() != FileType::BlockDevice {
        return Err(FsError::NotBlockDevice);
    }
    let file = Arc::clone(dentry.inode()).open(OpenFlags::empty())?;
    let disk = file.downcast_ref::<DiskFile>().ok_or(FsError::NoSuchDevice)?;
    Ok((Arc::clone(&disk.device), disk.name.clone()))
}

impl File for DiskFile {
    fn read(
        &self,
        offset: &mut u64,
        sink: &mut dyn Sink,
        _flags: OpenFlags,
    ) -> Result<usize, FsError> {
        let mut done = 0;
        loop {
            let left = self.length().saturating_sub(*offset);
            let length = sink.remaining().min(PIECE);
            let length = (length as u64).min(left) as usize;
            if length == 0 {
                return Ok(done);
            }
            let (first, count, within) = self.span(*offset, length);
            let mut buffer = buffer(count * self.device.block_size())?;
            if let Err(error) = self.device.read(first, &mut buffer) {
                return if done > 0 { Ok(done) } else { Err(error) };
            }
            let copied = sink.put(buffer.get(within..within + length).unwrap_or(&[]));
            *offset += copied as u64;
            done += copied;
            if copied < length {
                return if done > 0 { Ok(done) } else { Err(FsError::Fault) };
            }
        }
    }

    fn write(
        &self,
        offset: &mut u64,
        source: &mut dyn Source,
        _flags: OpenFlags,
    ) -> Result<usize, FsError> {
        if self.device.read_only() {
            return Err(FsError::NotPermitted);
        }
        let mut done = 0;
        loop {
            let left = self.length().saturating_sub(*offset);
            let length = source.remaining().min(PIECE);
            if length == 0 {
                return Ok(done);
            }
            let length = (length as u64).min(left) as usize;
            if length == 0 {
                return if done > 0 { Ok(done) } else { Err(FsError::NoSpace) };
            }
            let (first, count, within) = self.span(*offset, length);
            let mut buffer = buffer(count * self.device.block_size())?;
            let result = if within != 0 || length < buffer.len() {
                self.device.read(first, &mut buffer)
            } else {
                Ok(())
            };
            let place = buffer.get_mut(within..within + length).unwrap_or(&mut []);
            let copied = source.take(place);
            if copied < length {
                return if done > 0 { Ok(done) } else { Err(FsError::Fault) };
            }
            if let Err(error) = result.and_then(|()| self.device.write(first, &buffer)) {
                return if done > 0 { Ok(done) } else { Err(error) };
            }
            *offset += copied as u64;
            done += copied;
        }
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Result<u64, FsError> {
        Ok(self.length())
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, FsError> {
        let stored = match command {
            BLKGETSIZE64 => write_user(argument, self.length()),
            BLKGETSIZE => write_user(argument, self.length() / 512),
            BLKSSZGET => write_user(argument, self.device.block_size() as u32),
            BLKFLSBUF => return self.device.flush().map(|()| 0),
            _ => return Err(FsError::NotTerminal),
        };
        stored.map(|()| 0).map_err(|_| FsError::Fault)
    }

    fn sync(&self, _data_only: bool) -> Result<(), FsError> {
        self.device.flush()
    }

    fn readiness(&self) -> Readiness {
        Readiness::READ | Readiness::WRITE
    }
}
