//! [`Ext2Inode`]: an inode in memory, and how the VFS sees it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_sync::{Mutex, MutexGuard, TaskLock};
use kernel_vfs::claim::Claims;
use kernel_vfs::mapped::{Mappable, Mapped, SharedPages};
use kernel_vfs::page::Page;
use kernel_vfs::special::Meeting;
use kernel_vfs::{
    BlockDevice, DirectorySink, File, FileType, FsError, Inode, Metadata, NewNode, OpenFlags,
    Ownership, PATH_MAX, Permissions, SetAttributes, Sink, Source, now,
};

use crate::filesystem::Volume;
use crate::layout::{Meta, Pointers, from_disk_time, to_disk_time};
use crate::map::largest_file;

/// The block pointers, and where the file's next block should be.
pub(crate) struct Body {
    pub(crate) pointers: Pointers,
    pub(crate) goal: u32,
    /// The indirect block that was used last, and the file's block that its first pointer is for.
    pub(crate) leaf: Option<(u64, Page)>,
    /// Pages that are mapped shared.
    pub(crate) shared: SharedPages,
}

/// An inode of an ext2 file system.
pub struct Ext2Inode<D: BlockDevice + 'static> {
    pub(crate) volume: Arc<Volume<D>>,
    number: u32,
    file_type: FileType,
    /// Held by whoever writes data or sets the size.
    pub(crate) writer: Mutex<()>,
    body: Mutex<Body>,
    meta: TaskLock<Meta>,
    claims: Claims,
    pub(crate) mapped: Mapped,
    /// Of a named pipe.
    meeting: Meeting,
}

impl<D: BlockDevice + 'static> Ext2Inode<D> {
    /// The inode that the disk describes so; checked.
    pub(crate) fn load(
        volume: Arc<Volume<D>>,
        number: u32,
        meta: Meta,
        pointers: Pointers,
    ) -> Result<Self, FsError> {
        let geometry = &volume.geometry;
        let block_size = geometry.block_size;
        let Some(file_type) = meta.file_type() else { return Err(volume.corrupted()) };
        let size_sane = match file_type {
            // A directory has no holes, so it is no larger than the disk.
            FileType::Directory => {
                meta.size.is_multiple_of(block_size as u64)
                    && meta.size / block_size as u64 <= geometry.blocks.into()
            }
            FileType::Symlink => (1..=PATH_MAX as u64).contains(&meta.size),
            _ => meta.size <= largest_file(block_size),
        };
        let blocks_sane = !meta.has_blocks(block_size)
            || pointers.iter().all(|&block| block == 0 || volume.is_data_block(block));
        if meta.links == 0 || !size_sane || !blocks_sane {
            return Err(volume.corrupted());
        }
        Ok(Self::assemble(volume, number, file_type, meta, pointers))
    }

    /// An inode object that needs no checks.
    pub(crate) fn assemble(
        volume: Arc<Volume<D>>,
        number: u32,
        file_type: FileType,
        meta: Meta,
        pointers: Pointers,
    ) -> Self {
        let group = volume.geometry.locate_inode(number).map_or(0, |(group, _)| group);
        let last = pointers.iter().take(12).rev().find(|&&block| block != 0);
        let goal = last.map_or(volume.geometry.group_start(group), |block| block.wrapping_add(1));
        Self {
            volume,
            number,
            file_type,
            writer: Mutex::new(()),
            body: Mutex::new(Body { pointers, goal, leaf: None, shared: SharedPages::default() }),
            meta: TaskLock::new(meta),
            claims: Claims::new(),
            mapped: Mapped::default(),
            meeting: Meeting::default(),
        }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    #[inline]
    pub(crate) fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock()
    }

    /// The attributes now.
    #[inline]
    pub(crate) fn meta(&self) -> Meta {
        *self.meta.lock()
    }

    /// The size, and whether a reading has to be noted: as Linux's `relatime`, if none was since
    /// the last change.
    #[inline]
    pub(crate) fn size_and_stale(&self) -> (u64, bool) {
        let meta = self.meta.lock();
        (meta.size, meta.accessed < meta.modified || meta.accessed < meta.changed)
    }

    /// Changes the attributes in memory.
    #[inline]
    pub(crate) fn change_meta<R>(&self, change: impl FnOnce(&mut Meta) -> R) -> R {
        change(&mut self.meta.lock())
    }

    /// Stores the inode in its table (in memory; written back with the rest).
    pub(crate) fn store(&self, body: &Body) -> Result<(), FsError> {
        let meta = self.meta();
        self.volume.write_inode(self.number, &meta, &body.pointers, false)
    }

    /// Fails if `blocks` more would overflow the count of sectors.
    pub(crate) fn check_sectors(&self, blocks: usize) -> Result<(), FsError> {
        let more = (blocks * (self.volume.geometry.block_size / 512)) as u32;
        let sum = self.meta.lock().sectors.checked_add(more);
        sum.map(|_| ()).ok_or(FsError::FileTooLarge)
    }

    pub(crate) fn add_sectors(&self, blocks: i64) {
        let sectors = blocks * (self.volume.geometry.block_size / 512) as i64;
        self.change_meta(|meta| {
            let sum = i64::from(meta.sectors) + sectors;
            meta.sectors = sum.clamp(0, u32::MAX.into()) as u32;
        });
    }

    /// Changes the link count and the change time, and stores the inode; without links it becomes
    /// an orphan, freed when nobody holds it any more.
    pub(crate) fn add_links(&self, by: i16) -> Result<(), FsError> {
        let body = self.body();
        let orphaned = self.change_meta(|meta| {
            let before = meta.links;
            meta.links = meta.links.saturating_add_signed(by);
            meta.changed = to_disk_time(now());
            before > 0 && meta.links == 0
        });
        self.store(&body)?;
        drop(body);
        if orphaned { self.volume.add_orphan(self.number) } else { Ok(()) }
    }
}

impl<D: BlockDevice + 'static> Drop for Ext2Inode<D> {
    fn drop(&mut self) {
        let free = self.meta.get_mut().links == 0;
        let volume = Arc::clone(&self.volume);
        volume.leave(self, free);
    }
}

impl<D: BlockDevice + 'static> Inode for Ext2Inode<D> {
    fn file_type(&self) -> FileType {
        self.file_type
    }

    fn permissions(&self) -> Permissions {
        let meta = self.meta.lock();
        Permissions { mode: meta.mode & 0o7777, uid: meta.uid, gid: meta.gid }
    }

    fn metadata(&self) -> Result<Metadata, FsError> {
        let meta = self.meta();
        let device = match self.file_type {
            FileType::CharacterDevice | FileType::BlockDevice => {
                // The old encoding in the first pointer, or the new one in the second.
                match self.body().pointers {
                    [0, new, ..] => new,
                    [old, ..] => old & 0xffff,
                }
            }
            _ => 0,
        };
        Ok(Metadata {
            inode: self.number.into(),
            file_type: self.file_type,
            mode: meta.mode & 0o7777,
            links: meta.links.into(),
            uid: meta.uid,
            gid: meta.gid,
            device,
            size: meta.size,
            block_size: self.volume.geometry.block_size as u32,
            blocks: meta.sectors.into(),
            accessed: from_disk_time(meta.accessed),
            modified: from_disk_time(meta.modified),
            changed: from_disk_time(meta.changed),
        })
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<(), FsError> {
        let _pass = self.volume.begin_change()?;
        let body = self.body();
        self.change_meta(|meta| {
            let mode = change.mode.unwrap_or(meta.mode) & !change.without;
            meta.mode = meta.mode & !0o7777 | mode & 0o7777;
            meta.uid = change.uid.unwrap_or(meta.uid);
            meta.gid = change.gid.unwrap_or(meta.gid);
            meta.accessed = change.accessed.map_or(meta.accessed, to_disk_time);
            meta.modified = change.modified.map_or(meta.modified, to_disk_time);
            meta.changed = to_disk_time(now());
        });
        self.store(&body)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, FsError> {
        let found = self.find_entry(name)?.ok_or(FsError::NotFound)?;
        Ok(self.volume.inode(found.inode)?)
    }

    fn create(
        &self,
        name: &[u8],
        node: NewNode<'_>,
        owner: Ownership,
    ) -> Result<Arc<dyn Inode>, FsError> {
        Ok(self.create_entry(name, node, owner)?)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<(), FsError> {
        self.link_entry(name, target.downcast_ref::<Self>().ok_or(FsError::CrossDevice)?)
    }

    fn unlink(&self, name: &[u8], target: &dyn Inode) -> Result<(), FsError> {
        self.unlink_entry(name, target.downcast_ref::<Self>().ok_or(FsError::CrossDevice)?)
    }

    fn rmdir(&self, name: &[u8], target: &dyn Inode) -> Result<(), FsError> {
        self.rmdir_entry(name, target.downcast_ref::<Self>().ok_or(FsError::CrossDevice)?)
    }

    fn rename(
        &self,
        name: &[u8],
        moved: &dyn Inode,
        new_directory: &dyn Inode,
        new_name: &[u8],
        replaced: Option<&dyn Inode>,
    ) -> Result<(), FsError> {
        let moved = moved.downcast_ref::<Self>().ok_or(FsError::CrossDevice)?;
        let new_directory = new_directory.downcast_ref::<Self>().ok_or(FsError::CrossDevice)?;
        let replaced = match replaced {
            Some(inode) => Some(inode.downcast_ref::<Self>().ok_or(FsError::CrossDevice)?),
            None => None,
        };
        self.rename_entry(name, moved, new_directory, new_name, replaced)
    }

    fn exchange(
        &self,
        (one_name, one): (&[u8], &dyn Inode),
        directory: &dyn Inode,
        (two_name, two): (&[u8], &dyn Inode),
    ) -> Result<(), FsError> {
        let of_ours = |inode| <dyn Inode>::downcast_ref::<Self>(inode).ok_or(FsError::CrossDevice);
        let (one, two) = (of_ours(one)?, of_ours(two)?);
        self.exchange_entries((one_name, one), of_ours(directory)?, (two_name, two))
    }

    fn read_link(&self) -> Result<Vec<u8>, FsError> {
        self.link_target()
    }

    fn truncate(&self, size: u64) -> Result<(), FsError> {
        if self.file_type != FileType::Regular {
            return Err(FsError::InvalidArgument);
        }
        self.set_size(size)
    }

    fn claims(&self) -> Option<&Claims> {
        (self.file_type == FileType::Regular).then_some(&self.claims)
    }

    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn File>, FsError> {
        match self.file_type {
            FileType::Regular | FileType::Directory => Ok(self),
            FileType::Fifo => self.meeting.open(flags),
            // Devices are reached through devfs; sockets with names have nobody behind them.
            _ => Err(FsError::NoSuchDevice),
        }
    }
}

impl<D: BlockDevice + 'static> File for Ext2Inode<D> {
    fn read(
        &self,
        offset: &mut u64,
        sink: &mut dyn Sink,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        if self.file_type != FileType::Regular {
            return Err(FsError::IsDirectory);
        }
        self.read_data(offset, sink, flags.contains(OpenFlags::NO_ATIME))
    }

    fn write(
        &self,
        offset: &mut u64,
        source: &mut dyn Source,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        if self.file_type != FileType::Regular {
            return Err(FsError::IsDirectory);
        }
        let count = self.write_data(offset, source, flags.contains(OpenFlags::APPEND))?;
        if count > 0 && flags.intersects(OpenFlags::SYNC | OpenFlags::DSYNC) {
            self.volume.sync()?;
        }
        Ok(count)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Result<u64, FsError> {
        Ok(self.meta().size)
    }

    fn read_directory(
        &self,
        offset: &mut u64,
        sink: &mut dyn DirectorySink,
    ) -> Result<(), FsError> {
        self.list_entries(offset, sink)
    }

    fn sync(&self, _data_only: bool) -> Result<(), FsError> {
        self.volume.sync()
    }

    fn mappable(&self) -> Option<&dyn Mappable> {
        (self.file_type == FileType::Regular).then_some(self)
    }
}
