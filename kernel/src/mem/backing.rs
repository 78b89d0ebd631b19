//! What the pages of a region come from, and the memory behind shared anonymous mappings.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::any::Any;

use kernel_mem::{Backing as Continues, Rights};
use kernel_sync::SpinLock;
use kernel_vfs::{Mapping, OpenFile};

use super::memapi::OutOfMemory;
use super::phys;
use super::shared_file::SharedFile;
use crate::arch::PhysAddr;

/// What fills a page of a region when it is first touched.
#[derive(Clone)]
pub enum Backing {
    /// Zeros, private.
    Anonymous,
    /// The same, not promised even where it can be written (`MAP_NORESERVE`).
    Unreserved,
    /// A private copy of a file's page.
    File(FileBacking),
    /// A page that several address spaces share, from byte `offset` of `pages` on.
    Shared { pages: Arc<SharedPages>, offset: usize },
    /// A page of a file, shared with everybody who reads, writes or maps it so.
    SharedFile(SharedFile),
    /// A page that an open object owns and offers, such as a ring buffer's.
    Object { file: Arc<OpenFile>, offset: u64, mapped: Mapped },
}

/// How an object is mapped.
#[derive(Clone)]
pub struct Mapped {
    /// What was mapped to be read only cannot be made writable later.
    pub writable: bool,
    /// What the object wants to be held meanwhile.
    pub _held: Option<Arc<dyn Any + Send + Sync>>,
}

/// A part of a file, mapped privately.
#[derive(Clone)]
pub struct FileBacking {
    pub file: Arc<OpenFile>,
    /// Where in the file the region starts; a multiple of the page size.
    pub offset: u64,
    /// How many bytes of the region come from the file, the rest being zero; `None` if all do,
    /// and pages beyond the end of the file cannot be used (`mmap`).
    pub valid: Option<usize>,
}

impl Backing {
    /// Whether pages belong to this address space alone, shared at most copy-on-write.
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Anonymous | Self::Unreserved | Self::File(_))
    }

    /// Whether what is mapped can never be made writable.
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::SharedFile(shared) => !shared.mapping.file().flags().writable(),
            Self::Object { mapped, .. } => !mapped.writable,
            Self::Anonymous | Self::Unreserved | Self::File(_) | Self::Shared { .. } => false,
        }
    }

    /// Whether with these rights it is memory that somebody counts on: not what is only reserved,
    /// or only read, or has its place in a file.
    pub fn is_promised(&self, rights: Rights) -> bool {
        match self {
            Self::Anonymous | Self::File(_) => rights.contains(Rights::WRITE),
            Self::Shared { .. } => true,
            Self::Unreserved | Self::SharedFile(_) | Self::Object { .. } => false,
        }
    }
}

impl Continues for Backing {
    fn advance(&self, bytes: usize) -> Self {
        match self {
            Self::Anonymous => Self::Anonymous,
            Self::Unreserved => Self::Unreserved,
            Self::File(backing) => Self::File(FileBacking {
                file: Arc::clone(&backing.file),
                offset: backing.offset + bytes as u64,
                valid: backing.valid.map(|valid| valid.saturating_sub(bytes)),
            }),
            Self::SharedFile(shared) => Self::SharedFile(SharedFile {
                mapping: Arc::clone(&shared.mapping),
                offset: shared.offset + bytes as u64,
            }),
            Self::Shared { pages, offset } => {
                Self::Shared { pages: Arc::clone(pages), offset: offset + bytes }
            }
            Self::Object { file, offset, mapped } => Self::Object {
                file: Arc::clone(file),
                offset: offset + bytes as u64,
                mapped: mapped.clone(),
            },
        }
    }

    fn continues(&self, bytes: usize, next: &Self) -> bool {
        match (self, next) {
            (Self::Anonymous, Self::Anonymous) | (Self::Unreserved, Self::Unreserved) => true,
            (Self::File(one), Self::File(two)) => {
                Arc::ptr_eq(&one.file, &two.file)
                    && one.offset + bytes as u64 == two.offset
                    && one.valid.map(|valid| valid.saturating_sub(bytes)) == two.valid
            }
            (Self::SharedFile(one), Self::SharedFile(two)) => {
                Arc::ptr_eq(one.mapping.file(), two.mapping.file())
                    && one.offset + bytes as u64 == two.offset
            }
            (Self::Shared { pages, offset }, Self::Shared { pages: next, offset: at }) => {
                Arc::ptr_eq(pages, next) && offset + bytes == *at
            }
            (
                Self::Object { file, offset, mapped },
                Self::Object { file: next, offset: at, mapped: also },
            ) => {
                Arc::ptr_eq(file, next)
                    && offset + bytes as u64 == *at
                    && mapped.writable == also.writable
            }
            _ => false,
        }
    }
}

/// What several address spaces share: a reference to it, which keeps its identity from being
/// another's.
#[derive(Clone)]
pub enum SharedMemory {
    Pages(Arc<SharedPages>),
    File(Arc<Mapping>),
    Object(Arc<OpenFile>),
}

impl SharedMemory {
    /// A number that no other such memory has while there is this reference.
    pub fn identity(&self) -> usize {
        match self {
            Self::Pages(pages) => Arc::as_ptr(pages) as usize,
            Self::File(mapping) => mapping.identity(),
            Self::Object(file) => Arc::as_ptr(file) as usize,
        }
    }
}

/// The pages of one shared anonymous mapping. They live as long as a region names them; the
/// mappings themselves own nothing.
pub struct SharedPages {
    frames: SpinLock<BTreeMap<usize, PhysAddr>>,
}

impl SharedPages {
    /// No page yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { frames: SpinLock::new(BTreeMap::new()) })
    }

    /// The frame of the page at `offset`, made now if nobody has touched it.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn frame(&self, offset: usize) -> Result<PhysAddr, OutOfMemory> {
        if let Some(&frame) = self.frames.lock().get(&offset) {
            return Ok(frame);
        }
        let new = phys::alloc_user_frame().ok_or(OutOfMemory)?;
        phys::zero(new);
        let mut frames = self.frames.lock();
        // Another thread may have been faster.
        let frame = *frames.entry(offset).or_insert(new);
        drop(frames);
        if frame != new {
            phys::release(new);
        }
        Ok(frame)
    }
}

impl Drop for SharedPages {
    fn drop(&mut self) {
        for &frame in self.frames.get_mut().values() {
            phys::release(frame);
        }
    }
}
