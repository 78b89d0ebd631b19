//! Entries in the blocks of a directory ("Directory Structure: Linked List"): number, length of
//! the record, length of the name, type, name. A record with number 0 is free; the records of a
//! block fill it exactly.
//!
//! The VFS holds the directory's lock around every change, so that a place found stays valid.

use kernel_vfs::page::{self, Page};
use kernel_vfs::{BlockDevice, DirectoryEntry, DirectorySink, FileType, FsError, NAME_MAX, now};

use crate::inode::{Body, Ext2Inode};
use crate::layout::{
    FLAG_INDEX, entry_type, from_entry_type, get16, get32, put, put16, put32, to_disk_time,
};

/// Bytes before the name.
const HEADER: usize = 8;

/// Bytes that a record with a name of this length needs.
const fn record_length(name: usize) -> usize {
    (HEADER + name).next_multiple_of(4)
}

/// A record in a block, checked.
#[derive(Clone, Copy)]
struct Record<'a> {
    offset: usize,
    length: usize,
    inode: u32,
    kind: u8,
    name: &'a [u8],
}

impl Record<'_> {
    fn end(&self) -> usize {
        self.offset + self.length
    }

    /// Bytes of it that are in use.
    fn used(&self) -> usize {
        if self.inode == 0 { 0 } else { record_length(self.name.len()) }
    }
}

/// Where an entry is, and what it says.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    block: u32,
    offset: usize,
    /// The record before it in its block, if there is one.
    before: Option<usize>,
    length: usize,
    pub(crate) inode: u32,
}

/// The record at `offset`; `None` if it cannot be one.
#[inline]
fn record(bytes: &[u8], offset: usize, file_types: bool, inodes: u32) -> Option<Record<'_>> {
    let header = bytes.get(offset..offset + HEADER)?;
    let inode = get32(header, 0);
    let length = usize::from(get16(header, 4));
    // Without the feature, the name's length has 16 bits and there is no type.
    let (name_length, kind) = match header {
        &[.., length, kind] if file_types => (usize::from(length), kind),
        _ => (usize::from(get16(header, 6)), 0),
    };
    let sane = length.is_multiple_of(4)
        && name_length <= NAME_MAX
        && length >= record_length(name_length.max(1))
        && offset + length <= bytes.len()
        && inode <= inodes
        && (inode == 0 || name_length > 0);
    let name = bytes.get(offset + HEADER..offset + HEADER + name_length)?;
    sane.then_some(Record { offset, length, inode, kind, name })
}

impl<D: BlockDevice + 'static> Ext2Inode<D> {
    fn record<'b>(&self, bytes: &'b [u8], offset: usize) -> Result<Record<'b>, FsError> {
        let geometry = &self.volume.geometry;
        record(bytes, offset, geometry.file_types, geometry.inodes)
            .ok_or_else(|| self.volume.corrupted())
    }

    fn directory_blocks(&self) -> u64 {
        self.meta().size / self.volume.geometry.block_size as u64
    }

    /// The block `index` of this directory. A directory has no holes.
    fn directory_block(&self, body: &mut Body, index: u64) -> Result<(u32, Page), FsError> {
        match self.find_block(body, index)? {
            0 => Err(self.volume.corrupted()),
            block => Ok((block, self.volume.cache.get(block)?)),
        }
    }

    /// Where `name` is.
    pub(crate) fn find_entry(&self, name: &[u8]) -> Result<Option<Place>, FsError> {
        if self.meta().file_type() != Some(FileType::Directory) {
            return Err(FsError::NotDirectory);
        }
        let mut body = self.body();
        for index in 0..self.directory_blocks() {
            let (block, page) = self.directory_block(&mut body, index)?;
            let mut offset = 0;
            let mut before = None;
            while offset < page.len() {
                let record = self.record(&page, offset)?;
                if record.inode != 0 && record.name == name {
                    let (length, inode) = (record.length, record.inode);
                    return Ok(Some(Place { block, offset, before, length, inode }));
                }
                before = Some(offset);
                offset = record.end();
            }
        }
        Ok(None)
    }

    /// Adds an entry, whose name is not there.
    pub(crate) fn insert_entry(
        &self,
        name: &[u8],
        inode: u32,
        file_type: FileType,
    ) -> Result<(), FsError> {
        let need = record_length(name.len());
        let mut body = self.body();
        let blocks = self.directory_blocks();
        for index in 0..blocks {
            let (block, page) = self.directory_block(&mut body, index)?;
            let mut offset = 0;
            while offset < page.len() {
                let record = self.record(&page, offset)?;
                let used = record.used();
                if record.length - used >= need {
                    let length = record.length;
                    drop(page);
                    self.volume.cache.modify(block, |bytes| {
                        if used > 0 {
                            put16(bytes, offset + 4, used as u16);
                        }
                        self.put_record(
                            bytes,
                            offset + used,
                            length - used,
                            inode,
                            file_type,
                            name,
                        );
                    })?;
                    return self.note_change(&body);
                }
                offset = record.end();
            }
        }
        // A new block, the whole of it one record.
        let block_size = self.volume.geometry.block_size;
        let mut page = self.volume.cache.pool().take();
        let bytes = page::make_mut(&mut page);
        bytes.fill(0);
        self.put_record(bytes, 0, block_size, inode, file_type, name);
        self.place(&mut body, blocks, page)?;
        self.change_meta(|meta| meta.size += block_size as u64);
        self.note_change(&body)
    }

    fn put_record(
        &self,
        bytes: &mut [u8],
        offset: usize,
        length: usize,
        inode: u32,
        file_type: FileType,
        name: &[u8],
    ) {
        put32(bytes, offset, inode);
        put16(bytes, offset + 4, length as u16);
        put16(bytes, offset + 6, name.len() as u16);
        if self.volume.geometry.file_types {
            put(bytes, offset + 7, &[entry_type(file_type)]);
        }
        put(bytes, offset + HEADER, name);
    }

    /// The first block of a new directory: `.` and `..`.
    pub(crate) fn first_block(&self, number: u32, parent: u32) -> Page {
        let block_size = self.volume.geometry.block_size;
        let mut page = self.volume.cache.pool().take();
        let bytes = page::make_mut(&mut page);
        bytes.fill(0);
        let dot = record_length(1);
        self.put_record(bytes, 0, dot, number, FileType::Directory, b".");
        self.put_record(bytes, dot, block_size - dot, parent, FileType::Directory, b"..");
        page
    }

    /// Takes out the entry at `place`: its room goes to the record before it.
    pub(crate) fn remove_entry(&self, place: &Place) -> Result<(), FsError> {
        let body = self.body();
        self.volume.cache.modify(place.block, |bytes| match place.before {
            Some(before) => {
                let length = place.offset + place.length - before;
                put16(bytes, before + 4, length as u16);
            }
            None => put32(bytes, place.offset, 0),
        })?;
        self.note_change(&body)
    }

    /// Makes the entry at `place` lead to another inode.
    pub(crate) fn redirect_entry(
        &self,
        place: &Place,
        inode: u32,
        file_type: FileType,
    ) -> Result<(), FsError> {
        let body = self.body();
        self.volume.cache.modify(place.block, |bytes| {
            put32(bytes, place.offset, inode);
            if self.volume.geometry.file_types {
                put(bytes, place.offset + 7, &[entry_type(file_type)]);
            }
        })?;
        self.note_change(&body)
    }

    /// Notes that the entries changed; a hash index, which we do not keep up, is given up.
    fn note_change(&self, body: &Body) -> Result<(), FsError> {
        let time = to_disk_time(now());
        self.change_meta(|meta| {
            (meta.modified, meta.changed) = (time, time);
            meta.flags &= !FLAG_INDEX;
        });
        self.store(body)
    }

    /// Whether nothing but `.` and `..` is in it.
    pub(crate) fn is_empty_directory(&self) -> Result<bool, FsError> {
        let mut body = self.body();
        for index in 0..self.directory_blocks() {
            let (_, page) = self.directory_block(&mut body, index)?;
            let mut offset = 0;
            while offset < page.len() {
                let record = self.record(&page, offset)?;
                if record.inode != 0 && !matches!(record.name, b"." | b"..") {
                    return Ok(false);
                }
                offset = record.end();
            }
        }
        Ok(true)
    }

    /// Reports the entries from `offset` on, a byte offset into the directory. One that has become
    /// stale by changes continues at the next record of its block.
    pub(crate) fn list_entries(
        &self,
        offset: &mut u64,
        sink: &mut dyn DirectorySink,
    ) -> Result<(), FsError> {
        if self.meta().file_type() != Some(FileType::Directory) {
            return Err(FsError::NotDirectory);
        }
        let block_size = self.volume.geometry.block_size as u64;
        loop {
            let index = *offset / block_size;
            let (page, blocks) = {
                let mut body = self.body();
                let blocks = self.directory_blocks();
                if index >= blocks {
                    return Ok(());
                }
                (self.directory_block(&mut body, index)?.1, blocks)
            };
            debug_assert!(index < blocks);
            let wanted = (*offset % block_size) as usize;
            let mut at = 0;
            while at < page.len() {
                let record = self.record(&page, at)?;
                let next = index * block_size + record.end() as u64;
                if at >= wanted && record.inode != 0 {
                    let entry = DirectoryEntry {
                        inode: record.inode.into(),
                        file_type: self.entry_file_type(&record),
                        name: record.name,
                        next,
                    };
                    if !sink.entry(entry) {
                        return Ok(());
                    }
                }
                if at >= wanted {
                    *offset = next;
                }
                at = record.end();
            }
            // Past the block, also from a stale offset behind its last record.
            *offset = (index + 1) * block_size;
        }
    }

    /// The type that a record names; file systems without the feature have to ask the inode.
    fn entry_file_type(&self, record: &Record<'_>) -> FileType {
        from_entry_type(record.kind)
            .or_else(|| self.volume.read_inode(record.inode).ok()?.0.file_type())
            .unwrap_or(FileType::Regular)
    }
}
