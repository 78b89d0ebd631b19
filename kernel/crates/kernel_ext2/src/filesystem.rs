//! [`Ext2`]: a mounted file system. Its [`Volume`] is what its inodes share.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::{Arc, Weak};
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kernel_sync::{Mutex, TaskLock};
use kernel_vfs::{
    BlockDevice, FileSystem, FileSystemStatistics, FileType, FsError, Inode, NAME_MAX, now,
};

use crate::allocate::Allocator;
use crate::cache::BlockCache;
use crate::inode::Ext2Inode;
use crate::layout::{
    DELETION_TIME_OFFSET, DESCRIPTOR_SIZE, Geometry, Group, INODE_SIZE, Meta, Pointers,
    RO_COMPAT_LARGE_FILE, ROOT_INODE, STATE_ERROR, STATE_VALID, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE,
    get16, get32, put32, to_disk_time,
};
use crate::writing::{End, Writing};

/// How to mount.
#[derive(Clone, Copy, Debug)]
pub struct MountOptions {
    pub read_only: bool,
    /// Blocks to keep in memory.
    pub cached_blocks: usize,
}

/// A mounted ext2 file system.
pub struct Ext2<D: BlockDevice + 'static> {
    volume: Arc<Volume<D>>,
    root: Arc<Ext2Inode<D>>,
}

/// How often pages that no mapping shows any more are tried to be written. What cannot be written
/// then is lost, so that it does not fail every `sync` of other files for ever.
const MOST_FAILURES: u32 = 8;

/// An inode with pages that mappings have changed.
struct Dirty<D: BlockDevice + 'static> {
    /// The inode, if they could not be written.
    kept: Option<Arc<Ext2Inode<D>>>,
    /// How often that was tried.
    failures: u32,
}

impl<D: BlockDevice + 'static> Default for Dirty<D> {
    fn default() -> Self {
        Self { kept: None, failures: 0 }
    }
}

/// What the inodes of a file system share.
pub(crate) struct Volume<D: BlockDevice + 'static> {
    pub(crate) cache: BlockCache<D>,
    pub(crate) geometry: Geometry,
    pub(crate) groups: Vec<Group>,
    pub(crate) allocator: Mutex<Allocator>,
    /// The inodes in memory.
    inodes: TaskLock<BTreeMap<u32, Weak<Ext2Inode<D>>>>,
    /// Inodes without names that nobody holds any more, to be freed; and how many. They are put
    /// here by `drop`, which may not sleep, and freed by the next operation that may.
    doomed: TaskLock<Vec<u32>>,
    doomed_count: AtomicUsize,
    /// Inodes with pages that mappings have changed. Those that could not be written are kept, for
    /// nobody else may hold the inode.
    dirty: TaskLock<BTreeMap<u32, Dirty<D>>>,
    /// Held while they are written back, so that who finds none knows them written.
    writing_back: Mutex<()>,
    /// When the disk may be changed; see `writing`.
    pub(crate) writing: Writing,
    /// Something on the disk was not true.
    pub(crate) errors: AtomicBool,
    /// `s_state` said, when it was mounted, that it had been unmounted.
    pub(crate) was_clean: bool,
    pub(crate) large_files: AtomicBool,
}

impl<D: BlockDevice + 'static> Ext2<D> {
    /// Mounts the file system on `device`. `InvalidArgument`: there is none.
    pub fn mount(device: D, options: MountOptions) -> Result<Self, FsError> {
        let device_block = device.block_size();
        if !device_block.is_power_of_two() || !(512..=4096).contains(&device_block) {
            return Err(FsError::InvalidArgument);
        }
        let device_bytes = device.block_count().saturating_mul(device_block as u64);
        if device_bytes < SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE as u64 {
            return Err(FsError::InvalidArgument);
        }
        // The superblock, before the block size is known: whole device blocks around it.
        let first = SUPERBLOCK_OFFSET / device_block as u64;
        let mut buffer = vec![0; SUPERBLOCK_SIZE.max(device_block)];
        device.read(first, &mut buffer)?;
        let skip = (SUPERBLOCK_OFFSET - first * device_block as u64) as usize;
        let superblock = buffer.get(skip..).unwrap_or(&[]);
        let geometry = Geometry::decode(superblock, device_bytes)?;
        if device_block > geometry.block_size {
            return Err(FsError::NotSupported);
        }
        let state = get16(superblock, 58);
        let orphan = get32(superblock, 232);
        let large = get32(superblock, 100) & RO_COMPAT_LARGE_FILE != 0;
        let read_only = options.read_only || geometry.read_only || device.read_only();

        let cache = BlockCache::new(device, geometry.block_size, options.cached_blocks);
        let mut groups = Vec::new();
        let mut counters = Vec::new();
        let per_block = (geometry.block_size / DESCRIPTOR_SIZE) as u32;
        for number in 0..geometry.groups {
            let page = cache.get(geometry.first_block + 1 + number / per_block)?;
            let offset = (number % per_block) as usize * DESCRIPTOR_SIZE;
            let bytes = page.get(offset..offset + DESCRIPTOR_SIZE).unwrap_or(&[]);
            let (group, counts) = Group::decode(bytes, &geometry, number)?;
            groups.push(group);
            counters.push(counts);
        }
        let volume = Arc::new(Volume {
            cache,
            geometry,
            groups,
            allocator: Mutex::new(Allocator::new(counters)),
            inodes: TaskLock::default(),
            doomed: TaskLock::default(),
            doomed_count: AtomicUsize::new(0),
            dirty: TaskLock::default(),
            writing_back: Mutex::new(()),
            writing: Writing::new(orphan),
            errors: AtomicBool::new(state & STATE_ERROR != 0),
            was_clean: state & STATE_VALID != 0,
            large_files: AtomicBool::new(large),
        });
        let root = volume.inode(ROOT_INODE)?;
        if root.file_type() != FileType::Directory {
            return Err(FsError::Corrupted);
        }
        if !read_only {
            volume.begin_writing()?;
        }
        Ok(Self { volume, root })
    }

    /// Whether it had been unmounted in order before this mount.
    pub fn was_clean(&self) -> bool {
        self.volume.was_clean
    }

    /// Whether something on the disk was found to be untrue.
    pub fn has_errors(&self) -> bool {
        self.volume.errors.load(Ordering::Relaxed)
    }

    /// Blocks in memory, and how many of them wait to be written.
    pub fn cache_usage(&self) -> (usize, usize) {
        self.volume.cache.usage()
    }

    /// The device.
    pub fn device(&self) -> &D {
        self.volume.cache.device()
    }
}

impl<D: BlockDevice + 'static> FileSystem for Ext2<D> {
    fn name(&self) -> &'static str {
        "ext2"
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::clone(&self.root) as Arc<dyn Inode>
    }

    fn statistics(&self) -> Result<FileSystemStatistics, FsError> {
        let volume = &self.volume;
        // What waits to be freed counts as free.
        if let Some(_pass) = volume.try_change() {
            volume.settle();
        }
        let geometry = &volume.geometry;
        let overhead: u64 = volume.groups.iter().map(|group| u64::from(group.overhead())).sum();
        let (free, inodes_free) = volume.allocator.lock().free();
        Ok(FileSystemStatistics {
            magic: 0xef53,
            block_size: geometry.block_size as u32,
            blocks: u64::from(geometry.blocks - geometry.first_block).saturating_sub(overhead),
            blocks_free: free,
            blocks_available: free.saturating_sub(geometry.reserved_blocks.into()),
            inodes: geometry.inodes.into(),
            inodes_free,
            name_max: NAME_MAX as u32,
        })
    }

    fn sync(&self) -> Result<(), FsError> {
        self.volume.sync()
    }

    fn write_back(&self) -> Result<bool, FsError> {
        let volume = &self.volume;
        let waiting =
            volume.has_doomed() || volume.cache.usage().1 > 0 || !volume.dirty.lock().is_empty();
        if waiting {
            volume.sync()?;
        }
        Ok(waiting)
    }

    fn memory_use(&self) -> u64 {
        let (blocks, _) = self.cache_usage();
        (blocks * self.volume.geometry.block_size) as u64
    }

    fn unmount(&self) -> Result<(), FsError> {
        let ended = self.volume.end_writing(End::ForGood);
        // What cannot be written even now is lost: an inode that is kept keeps the volume.
        let kept = core::mem::take(&mut *self.volume.dirty.lock());
        drop(kept);
        ended
    }

    fn read_only(&self) -> bool {
        self.volume.is_read_only()
    }

    fn remount(&self, read_only: bool) -> Result<(), FsError> {
        if read_only {
            return self.volume.end_writing(End::Remount);
        }
        self.volume.begin_writing()
    }
}

impl<D: BlockDevice + 'static> Volume<D> {
    /// Notes that the disk holds what cannot be true.
    #[cold]
    pub(crate) fn corrupted(&self) -> FsError {
        self.errors.store(true, Ordering::Relaxed);
        FsError::Corrupted
    }

    /// Whether `block` may belong to a file: on the disk, and not one of a group's own.
    #[inline]
    pub(crate) fn is_data_block(&self, block: u32) -> bool {
        match self.geometry.locate_block(block) {
            Some((group, _)) => {
                self.groups.get(group as usize).is_some_and(|group| group.is_data(block))
            }
            None => false,
        }
    }

    /// Block and byte offset of an inode in its table.
    pub(crate) fn inode_place(&self, number: u32) -> Result<(u32, usize), FsError> {
        let (group, index) = self.geometry.locate_inode(number).ok_or_else(|| self.corrupted())?;
        let group = self.groups.get(group as usize).ok_or_else(|| self.corrupted())?;
        let byte = u64::from(index) * self.geometry.inode_size as u64;
        let block_size = self.geometry.block_size as u64;
        Ok((group.inode_table + (byte / block_size) as u32, (byte % block_size) as usize))
    }

    /// Reads an inode from its table.
    pub(crate) fn read_inode(&self, number: u32) -> Result<(Meta, Pointers), FsError> {
        let (block, offset) = self.inode_place(number)?;
        let page = self.cache.get(block)?;
        Ok(Meta::decode(page.get(offset..).unwrap_or(&[])))
    }

    /// Writes an inode to its table; `fresh`: it is a new one, of which nothing old may stay.
    pub(crate) fn write_inode(
        &self,
        number: u32,
        meta: &Meta,
        pointers: &Pointers,
        fresh: bool,
    ) -> Result<(), FsError> {
        let (block, offset) = self.inode_place(number)?;
        let length = self.geometry.inode_size;
        self.cache.modify(block, |bytes| {
            let Some(bytes) = bytes.get_mut(offset..offset + length) else { return };
            if fresh {
                bytes.fill(0);
            }
            meta.encode(pointers, bytes);
        })
    }

    /// The inode `number`, which a directory names.
    pub(crate) fn inode(self: &Arc<Self>, number: u32) -> Result<Arc<Ext2Inode<D>>, FsError> {
        // A handle is never dropped under this lock: its end takes it too.
        let known = self.inodes.lock().get(&number).and_then(Weak::upgrade);
        if let Some(inode) = known {
            return Ok(inode);
        }
        if number != ROOT_INODE && number < self.geometry.first_inode {
            return Err(self.corrupted());
        }
        let (meta, pointers) = self.read_inode(number)?;
        let inode = Ext2Inode::load(Arc::clone(self), number, meta, pointers)?;
        Ok(self.enter(inode))
    }

    /// Puts a new inode object into the table, or finds the one that came first.
    pub(crate) fn enter(self: &Arc<Self>, inode: Ext2Inode<D>) -> Arc<Ext2Inode<D>> {
        let number = inode.number();
        let new = Arc::new(inode);
        let known = {
            let mut inodes = self.inodes.lock();
            let known = inodes.get(&number).and_then(Weak::upgrade);
            if known.is_none() {
                inodes.insert(number, Arc::downgrade(&new));
            }
            known
        };
        known.unwrap_or(new)
    }

    /// Called when an inode object ends. `free`: it has no names either.
    pub(crate) fn leave(&self, inode: &Ext2Inode<D>, free: bool) {
        let number = inode.number();
        {
            let mut inodes = self.inodes.lock();
            let same = |known: &Weak<Ext2Inode<D>>| core::ptr::eq(known.as_ptr(), inode);
            if !inodes.get(&number).is_some_and(same) {
                // Another object for the inode has taken its place, and will decide.
                return;
            }
            inodes.remove(&number);
        }
        if free {
            self.doomed.lock().push(number);
            self.doomed_count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that an inode has pages that a mapping may have changed.
    pub(crate) fn note_dirty(&self, number: u32) {
        self.dirty.lock().entry(number).or_default();
    }

    /// Notes that an inode has such pages, which could not be written `failures` times, and keeps it
    /// until they are: unless it has no name, and nobody could read them.
    pub(crate) fn keep_dirty(&self, inode: Arc<Ext2Inode<D>>, failures: u32) {
        let number = inode.number();
        let kept = (inode.meta().links > 0).then_some(inode);
        let before = self.dirty.lock().insert(number, Dirty { kept, failures });
        // Not under the lock: an inode may end here.
        drop(before);
    }

    /// The object of an inode, if there is one.
    pub(crate) fn known(&self, number: u32) -> Option<Arc<Ext2Inode<D>>> {
        self.inodes.lock().get(&number).and_then(Weak::upgrade)
    }

    /// Writes all such pages back to their blocks. The caller may change the disk.
    ///
    /// # Errors
    /// The first, after all were tried; what could not be written is tried again the next time,
    /// [`MOST_FAILURES`] times once no mapping shows it.
    pub(crate) fn write_dirty_pages(&self) -> Result<(), FsError> {
        let _one = self.writing_back.lock();
        let dirty = core::mem::take(&mut *self.dirty.lock());
        let mut result = Ok(());
        for (number, Dirty { kept, failures }) in dirty {
            let Some(inode) = kept.or_else(|| self.known(number)) else { continue };
            let written = inode.write_dirty_pages();
            if written.is_err() {
                let failures = failures + 1;
                if failures >= MOST_FAILURES && inode.lose_dirty_pages() {
                    // The disk is not what it should be; e2fsck is to look at it.
                    self.errors.store(true, Ordering::Relaxed);
                } else {
                    self.keep_dirty(inode, failures);
                }
            }
            result = result.and(written);
        }
        result
    }

    /// Whether inodes wait to be freed.
    #[inline]
    pub(crate) fn has_doomed(&self) -> bool {
        self.doomed_count.load(Ordering::Relaxed) > 0
    }

    /// Frees the inodes that wait for it; the caller may change the disk. Returns whether there was
    /// any.
    pub(crate) fn settle(&self) -> bool {
        let mut any = false;
        loop {
            let Some(number) = self.doomed.lock().pop() else { return any };
            self.doomed_count.fetch_sub(1, Ordering::Relaxed);
            any = true;
            if self.delete_inode(number).is_err() {
                // Its blocks stay in use; e2fsck finds them.
                self.errors.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Frees an inode that has no names, and all its blocks.
    fn delete_inode(&self, number: u32) -> Result<(), FsError> {
        let (mut meta, mut pointers) = self.read_inode(number)?;
        let directory = meta.file_type() == Some(FileType::Directory);
        if meta.has_blocks(self.geometry.block_size) {
            self.release_all(&mut pointers)?;
        }
        if meta.attribute_block != 0 {
            self.release_attributes(meta.attribute_block)?;
            meta.attribute_block = 0;
        }
        self.remove_orphan(number)?;
        (meta.size, meta.sectors, meta.links) = (0, 0, 0);
        self.write_inode(number, &meta, &[0; 15], false)?;
        // A smaller number would be taken for a link of the orphan list.
        let time = to_disk_time(now()).max(self.geometry.inodes.saturating_add(1));
        self.write_deletion_time(number, time)?;
        self.free_inode(number, directory)
    }

    fn write_deletion_time(&self, number: u32, value: u32) -> Result<(), FsError> {
        let (block, offset) = self.inode_place(number)?;
        self.cache.modify(block, |bytes| put32(bytes, offset + DELETION_TIME_OFFSET, value))
    }

    /// Notes on the disk that an inode without names is still in use, so that after a crash the
    /// next mount (or e2fsck) frees it: a list through the deletion times, as in ext3.
    pub(crate) fn add_orphan(&self, number: u32) -> Result<(), FsError> {
        let next = self.allocator.lock().push_orphan(number);
        self.write_deletion_time(number, next)
    }

    fn remove_orphan(&self, number: u32) -> Result<(), FsError> {
        let relink = self.allocator.lock().remove_orphan(number);
        match relink {
            Some((before, next)) => self.write_deletion_time(before, next),
            None => Ok(()),
        }
    }

    /// Frees the orphans that a crash has left.
    pub(crate) fn free_old_orphans(&self, head: u32) {
        let mut list = Vec::new();
        let mut seen = BTreeSet::new();
        let mut number = head;
        while number != 0 {
            let valid = number >= self.geometry.first_inode && seen.insert(number);
            let place = if valid { self.inode_place(number).ok() } else { None };
            let page =
                place.and_then(|(block, offset)| Some((self.cache.get(block).ok()?, offset)));
            let Some((page, offset)) = page else {
                self.errors.store(true, Ordering::Relaxed);
                break;
            };
            let inode = page.get(offset..offset + INODE_SIZE).unwrap_or(&[]);
            let unused = Meta::decode(inode).0.links == 0;
            list.push((number, unused));
            number = get32(inode, DELETION_TIME_OFFSET);
        }
        for (number, unused) in list {
            let done = if unused {
                self.delete_inode(number)
            } else {
                // It has names: only the list was left behind.
                self.write_deletion_time(number, 0)
            };
            if done.is_err() {
                self.errors.store(true, Ordering::Relaxed);
            }
        }
    }
}
