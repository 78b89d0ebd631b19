//! [`MemoryInode`]: a file, directory, symbolic link or special file in memory.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use kernel_sync::TaskLock;

use super::data::Data;
use super::entries::{Entries, Entry};
use super::{NodeAttributes, PAGE, Shared};
use crate::claim::Claims;
use crate::dentry::Name;
use crate::error::FsError;
use crate::file::{DirectoryEntry, DirectorySink, File};
use crate::inode::Inode;
use crate::io::{Sink, Source};
use crate::mapped::{Located, Mappable, Mapped};
use crate::special::Meeting;
use crate::types::{FileType, Metadata, NewNode, OpenFlags, Ownership, Permissions, SetAttributes};

enum Body {
    Regular(Data),
    Directory { entries: TaskLock<Entries>, parent: AtomicU64 },
    Symlink(Box<[u8]>),
    Special { file_type: FileType, device: u32, meeting: Meeting },
}

/// An inode of a [`MemoryFs`](super::MemoryFs).
pub struct MemoryInode {
    shared: Arc<Shared>,
    attributes: NodeAttributes,
    mapped: Mapped,
    body: Body,
}

impl MemoryInode {
    pub(super) fn new_root(shared: Arc<Shared>, owner: Ownership) -> Self {
        let body = Body::Directory { entries: TaskLock::default(), parent: AtomicU64::new(1) };
        let attributes = NodeAttributes::new(1, owner, 2);
        Self { shared, attributes, mapped: Mapped::default(), body }
    }

    fn entries(&self) -> Result<&TaskLock<Entries>, FsError> {
        match &self.body {
            Body::Directory { entries, .. } => Ok(entries),
            _ => Err(FsError::NotDirectory),
        }
    }

    fn data(&self) -> Result<&Data, FsError> {
        match &self.body {
            Body::Regular(data) => Ok(data),
            Body::Directory { .. } => Err(FsError::IsDirectory),
            Body::Symlink(_) | Body::Special { .. } => Err(FsError::InvalidArgument),
        }
    }

    fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory { .. })
    }

    /// Adds an entry for `node`, unless the name exists.
    pub(super) fn insert(&self, name: &[u8], node: Arc<dyn Inode>) -> Result<(), FsError> {
        let number = node.metadata()?.inode;
        let entry = Entry { name: Name::from_slice(name), inode: node, number };
        {
            let mut entries = self.entries()?.lock();
            if entries.dead {
                return Err(FsError::NotFound);
            }
            if entries.get(name).is_some() {
                return Err(FsError::Exists);
            }
            entries.insert(entry);
        }
        self.attributes.touch_modified();
        Ok(())
    }

    /// Takes the entry out.
    fn remove(&self, name: &[u8]) -> Result<Entry, FsError> {
        let entry = self.entries()?.lock().remove(name).ok_or(FsError::NotFound)?;
        self.attributes.touch_modified();
        Ok(entry)
    }

    /// Ends an empty directory: nothing is added to it any more.
    fn bury(&self) -> Result<(), FsError> {
        let mut entries = self.entries()?.lock();
        if !entries.is_empty() {
            return Err(FsError::NotEmpty);
        }
        entries.dead = true;
        Ok(())
    }
}

impl Drop for MemoryInode {
    fn drop(&mut self) {
        self.shared.inodes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inode for MemoryInode {
    fn claims(&self) -> Option<&Claims> {
        match &self.body {
            Body::Regular(data) => Some(&data.claims),
            _ => None,
        }
    }

    fn file_type(&self) -> FileType {
        match self.body {
            Body::Regular(_) => FileType::Regular,
            Body::Directory { .. } => FileType::Directory,
            Body::Symlink(_) => FileType::Symlink,
            Body::Special { file_type, .. } => file_type,
        }
    }

    fn permissions(&self) -> Permissions {
        self.attributes.permissions()
    }

    fn metadata(&self) -> Result<Metadata, FsError> {
        let mut metadata = self.attributes.metadata(self.file_type());
        match &self.body {
            Body::Regular(data) => {
                let (size, pages) = data.extent();
                metadata.size = size;
                metadata.blocks = pages * (PAGE as u64 / 512);
            }
            Body::Symlink(target) => metadata.size = target.len() as u64,
            Body::Special { device, .. } => metadata.device = *device,
            Body::Directory { .. } => {}
        }
        Ok(metadata)
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<(), FsError> {
        self.attributes.set(change);
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, FsError> {
        let entries = self.entries()?.lock();
        entries.get(name).map(|entry| Arc::clone(&entry.inode)).ok_or(FsError::NotFound)
    }

    fn create(
        &self,
        name: &[u8],
        node: NewNode<'_>,
        owner: Ownership,
    ) -> Result<Arc<dyn Inode>, FsError> {
        if !self.shared.options.files && node != NewNode::Directory {
            return Err(FsError::NotPermitted);
        }
        let shared = Arc::clone(&self.shared);
        let (body, links) = match node {
            NewNode::Regular => (Body::Regular(Data::new(Arc::clone(&shared))), 1),
            NewNode::Directory => {
                let parent = AtomicU64::new(self.attributes.number());
                (Body::Directory { entries: TaskLock::default(), parent }, 2)
            }
            NewNode::Symlink(target) => (Body::Symlink(target.into()), 1),
            NewNode::Special { file_type, device } => {
                (Body::Special { file_type, device, meeting: Meeting::default() }, 1)
            }
        };
        let number = shared.reserve_inode()?;
        let attributes = NodeAttributes::new(number, owner, links);
        let mapped = Mapped::default();
        let inode: Arc<dyn Inode> = Arc::new(Self { shared, attributes, mapped, body });
        self.insert(name, Arc::clone(&inode))?;
        if node == NewNode::Directory {
            self.attributes.add_links(1);
        }
        Ok(inode)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<(), FsError> {
        let node = target.downcast_ref::<Self>().ok_or(FsError::NotPermitted)?;
        self.insert(name, Arc::clone(target))?;
        node.attributes.add_links(1);
        Ok(())
    }

    fn attach(&self, name: &[u8], node: Arc<dyn Inode>) -> Result<(), FsError> {
        if !self.shared.options.attach {
            return Err(FsError::NotPermitted);
        }
        self.insert(name, node)
    }

    fn unlink(&self, name: &[u8], target: &dyn Inode) -> Result<(), FsError> {
        let entry = self.remove(name)?;
        if let Some(target) = target.downcast_ref::<Self>() {
            target.attributes.add_links(-1);
        }
        drop(entry);
        Ok(())
    }

    fn rmdir(&self, name: &[u8], target: &dyn Inode) -> Result<(), FsError> {
        let target = target.downcast_ref::<Self>().ok_or(FsError::NotDirectory)?;
        target.bury()?;
        let entry = self.remove(name)?;
        target.attributes.add_links(-2);
        self.attributes.add_links(-1);
        drop(entry);
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        moved: &dyn Inode,
        new_directory: &dyn Inode,
        new_name: &[u8],
        replaced: Option<&dyn Inode>,
    ) -> Result<(), FsError> {
        let new_directory = new_directory.downcast_ref::<Self>().ok_or(FsError::CrossDevice)?;
        if let Some(replaced) = replaced {
            let gone = replaced.downcast_ref::<Self>();
            if let Some(gone) = gone.filter(|gone| gone.is_directory()) {
                gone.bury()?;
                gone.attributes.add_links(-2);
                new_directory.attributes.add_links(-1);
            } else if let Some(gone) = gone {
                gone.attributes.add_links(-1);
            }
            drop(new_directory.remove(new_name)?);
        }
        let entry = self.remove(name)?;
        new_directory.insert(new_name, entry.inode)?;
        if let Some(moved) = moved.downcast_ref::<Self>() {
            moved.attributes.add_links(0);
            if let Body::Directory { parent, .. } = &moved.body {
                parent.store(new_directory.attributes.number(), Ordering::Relaxed);
                self.attributes.add_links(-1);
                new_directory.attributes.add_links(1);
            }
        }
        Ok(())
    }

    fn exchange(
        &self,
        (one_name, one): (&[u8], &dyn Inode),
        directory: &dyn Inode,
        (two_name, two): (&[u8], &dyn Inode),
    ) -> Result<(), FsError> {
        let directory = directory.downcast_ref::<Self>().ok_or(FsError::CrossDevice)?;
        let find = |place: &Self, name: &[u8]| {
            let entries = place.entries()?.lock();
            let entry = entries.get(name).ok_or(FsError::NotFound)?;
            Ok::<_, FsError>((Arc::clone(&entry.inode), entry.number))
        };
        let (first, second) = (find(self, one_name)?, find(directory, two_name)?);
        self.entries()?.lock().redirect(one_name, Arc::clone(&second.0), second.1);
        directory.entries()?.lock().redirect(two_name, Arc::clone(&first.0), first.1);
        for (inode, from, to) in [(one, self, directory), (two, directory, self)] {
            from.attributes.touch_modified();
            let Some(inode) = inode.downcast_ref::<Self>() else { continue };
            inode.attributes.add_links(0);
            if let Body::Directory { parent, .. } = &inode.body {
                parent.store(to.attributes.number(), Ordering::Relaxed);
                from.attributes.add_links(-1);
                to.attributes.add_links(1);
            }
        }
        Ok(())
    }

    fn read_link(&self) -> Result<Vec<u8>, FsError> {
        match &self.body {
            Body::Symlink(target) => Ok(target.to_vec()),
            _ => Err(FsError::InvalidArgument),
        }
    }

    fn truncate(&self, size: u64) -> Result<(), FsError> {
        self.data()?.truncate(size, &self.mapped)?;
        self.attributes.touch_modified();
        Ok(())
    }

    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn File>, FsError> {
        match &self.body {
            Body::Special { file_type: FileType::Fifo, meeting, .. } => meeting.open(flags),
            Body::Special { .. } => Err(FsError::NoSuchDevice),
            _ => Ok(self),
        }
    }
}

impl File for MemoryInode {
    fn read(
        &self,
        offset: &mut u64,
        sink: &mut dyn Sink,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        let count = self.data()?.read(offset, sink)?;
        if count > 0 && !flags.contains(OpenFlags::NO_ATIME) {
            self.attributes.touch_accessed();
        }
        Ok(count)
    }

    fn write(
        &self,
        offset: &mut u64,
        source: &mut dyn Source,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        let count = self.data()?.write(offset, source, flags.contains(OpenFlags::APPEND))?;
        if count > 0 {
            self.attributes.touch_modified();
        }
        Ok(count)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Result<u64, FsError> {
        match &self.body {
            Body::Regular(data) => Ok(data.size()),
            _ => Ok(0),
        }
    }

    fn read_directory(
        &self,
        offset: &mut u64,
        sink: &mut dyn DirectorySink,
    ) -> Result<(), FsError> {
        let Body::Directory { entries, parent } = &self.body else {
            return Err(FsError::NotDirectory);
        };
        let entries = entries.lock();
        loop {
            let entry = match *offset {
                0 => DirectoryEntry {
                    inode: self.attributes.number(),
                    file_type: FileType::Directory,
                    name: b".",
                    next: 1,
                },
                1 => DirectoryEntry {
                    inode: parent.load(Ordering::Relaxed),
                    file_type: FileType::Directory,
                    name: b"..",
                    next: 2,
                },
                offset => {
                    let Some((slot, entry)) = entries.next(offset - 2) else { return Ok(()) };
                    DirectoryEntry {
                        inode: entry.number,
                        file_type: entry.inode.file_type(),
                        name: &entry.name,
                        next: slot + 3,
                    }
                }
            };
            if !sink.entry(entry) {
                return Ok(());
            }
            *offset = entry.next;
        }
    }

    fn sync(&self, _data_only: bool) -> Result<(), FsError> {
        Ok(())
    }

    fn mappable(&self) -> Option<&dyn Mappable> {
        self.data().ok()?;
        Some(self)
    }
}

impl Mappable for MemoryInode {
    fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    fn page(&self, index: u64, write: bool) -> Result<Located, FsError> {
        let located = self.data()?.share(index, &self.mapped)?;
        if write {
            self.attributes.touch_modified();
        }
        Ok(located)
    }

    fn unmapped(&self) {
        if let Ok(data) = self.data() {
            data.unshare(&self.mapped);
        }
    }
}
