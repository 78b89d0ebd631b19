//! The structures on the disk: superblock, group descriptors, inodes, directory entries.
//! All numbers are little-endian.

use kernel_vfs::{FileType, FsError, Time};

/// Byte offset of the superblock.
pub(crate) const SUPERBLOCK_OFFSET: u64 = 1024;
pub(crate) const SUPERBLOCK_SIZE: usize = 1024;
/// Bytes in a group descriptor.
pub(crate) const DESCRIPTOR_SIZE: usize = 32;
/// Bytes of an inode that we know; larger ones have more behind them, which is kept.
pub(crate) const INODE_SIZE: usize = 128;
/// The root directory.
pub(crate) const ROOT_INODE: u32 = 2;
/// Most links to one inode (Linux `EXT2_LINK_MAX`).
pub(crate) const LINK_MAX: u16 = 32_000;

const MAGIC: u16 = 0xef53;
/// `s_state`: unmounted cleanly; errors were found.
pub(crate) const STATE_VALID: u16 = 1;
pub(crate) const STATE_ERROR: u16 = 2;

const INCOMPAT_FILETYPE: u32 = 0x2;
const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
pub(crate) const RO_COMPAT_LARGE_FILE: u32 = 0x2;
const RO_COMPAT_BTREE_DIR: u32 = 0x4;

/// `i_flags`: the directory has a hash index.
pub(crate) const FLAG_INDEX: u32 = 0x1000;

/// The 16-bit number at `offset`; 0 beyond the end.
#[inline]
pub(crate) fn get16(bytes: &[u8], offset: usize) -> u16 {
    match bytes.get(offset..) {
        Some(&[a, b, ..]) => u16::from_le_bytes([a, b]),
        _ => 0,
    }
}

/// The 32-bit number at `offset`; 0 beyond the end.
#[inline]
pub(crate) fn get32(bytes: &[u8], offset: usize) -> u32 {
    match bytes.get(offset..) {
        Some(&[a, b, c, d, ..]) => u32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// Stores `value` at `offset`, if it lies within `bytes`.
#[inline]
pub(crate) fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..offset + value.len()) {
        place.copy_from_slice(value);
    }
}

#[inline]
pub(crate) fn put16(bytes: &mut [u8], offset: usize, value: u16) {
    put(bytes, offset, &value.to_le_bytes());
}

#[inline]
pub(crate) fn put32(bytes: &mut [u8], offset: usize, value: u32) {
    put(bytes, offset, &value.to_le_bytes());
}

/// What the superblock says of the shape of the file system; checked, and never changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Bytes in a block: 1024, 2048 or 4096.
    pub(crate) block_size: usize,
    pub(crate) blocks: u32,
    pub(crate) reserved_blocks: u32,
    /// The block that holds the superblock: 1 with blocks of 1 KiB, else 0.
    pub(crate) first_block: u32,
    pub(crate) blocks_per_group: u32,
    pub(crate) inodes: u32,
    pub(crate) inodes_per_group: u32,
    /// Bytes from one inode to the next.
    pub(crate) inode_size: usize,
    /// The first inode that is not reserved.
    pub(crate) first_inode: u32,
    pub(crate) groups: u32,
    /// Directory entries hold the type of what they name.
    pub(crate) file_types: bool,
    pub(crate) sparse_super: bool,
    /// Blocks kept free behind the group descriptors, for growing.
    pub(crate) reserved_descriptor_blocks: u32,
    /// Revision 1: has features and may set `large_file`.
    pub(crate) dynamic: bool,
    /// Has read-only-compatible features that we do not know.
    pub(crate) read_only: bool,
}

impl Geometry {
    /// Decodes and checks a superblock, for a device of `device_bytes`.
    pub(crate) fn decode(bytes: &[u8], device_bytes: u64) -> Result<Self, FsError> {
        if get16(bytes, 56) != MAGIC {
            return Err(FsError::InvalidArgument);
        }
        let dynamic = match get32(bytes, 76) {
            0 => false,
            1 => true,
            _ => return Err(FsError::NotSupported),
        };
        let features = |offset| if dynamic { get32(bytes, offset) } else { 0 };
        let (incompatible, read_only_compatible) = (features(96), features(100));
        if incompatible & !INCOMPAT_FILETYPE != 0 {
            return Err(FsError::NotSupported);
        }
        let known = RO_COMPAT_SPARSE_SUPER | RO_COMPAT_LARGE_FILE | RO_COMPAT_BTREE_DIR;
        let log_block_size = get32(bytes, 24);
        if log_block_size > 2 {
            return Err(FsError::NotSupported);
        }
        let block_size = 1024usize << log_block_size;
        let (blocks, first_block) = (get32(bytes, 4), get32(bytes, 20));
        let (blocks_per_group, inodes_per_group) = (get32(bytes, 32), get32(bytes, 40));
        let inodes = get32(bytes, 0);
        let inode_size = if dynamic { usize::from(get16(bytes, 88)) } else { INODE_SIZE };
        let first_inode = if dynamic { get32(bytes, 84) } else { 11 };
        let bits = block_size as u32 * 8;
        let sane = first_block == u32::from(block_size == 1024)
            && blocks > first_block
            && u64::from(blocks) * block_size as u64 <= device_bytes
            && (8..=bits).contains(&blocks_per_group)
            && (1..=bits).contains(&inodes_per_group)
            && inode_size.is_power_of_two()
            && (INODE_SIZE..=block_size).contains(&inode_size)
            && first_inode >= 11
            && first_inode <= inodes;
        if !sane {
            return Err(FsError::Corrupted);
        }
        let groups = (blocks - first_block).div_ceil(blocks_per_group);
        if u64::from(groups) * u64::from(inodes_per_group) != u64::from(inodes) {
            return Err(FsError::Corrupted);
        }
        let geometry = Self {
            block_size,
            blocks,
            reserved_blocks: get32(bytes, 8).min(blocks),
            first_block,
            blocks_per_group,
            inodes,
            inodes_per_group,
            inode_size,
            first_inode,
            groups,
            file_types: incompatible & INCOMPAT_FILETYPE != 0,
            sparse_super: read_only_compatible & RO_COMPAT_SPARSE_SUPER != 0,
            reserved_descriptor_blocks: if dynamic { get16(bytes, 206).into() } else { 0 },
            dynamic,
            read_only: read_only_compatible & !known != 0,
        };
        // The superblock, all descriptors and the growing room fit in the first group.
        let head = u64::from(geometry.descriptor_blocks())
            + u64::from(geometry.reserved_descriptor_blocks)
            + 1;
        if head >= u64::from(blocks_per_group.min(blocks - first_block)) {
            return Err(FsError::Corrupted);
        }
        Ok(geometry)
    }

    /// Blocks that the group descriptors fill.
    pub(crate) fn descriptor_blocks(&self) -> u32 {
        self.groups.div_ceil((self.block_size / DESCRIPTOR_SIZE) as u32)
    }

    /// The first block of a group.
    pub(crate) fn group_start(&self, group: u32) -> u32 {
        self.first_block + group * self.blocks_per_group
    }

    /// Blocks in a group; the last may be shorter.
    pub(crate) fn group_length(&self, group: u32) -> u32 {
        (self.blocks - self.group_start(group)).min(self.blocks_per_group)
    }

    /// Group and index within it of a block, if there is such a block.
    #[inline]
    pub(crate) fn locate_block(&self, block: u32) -> Option<(u32, u32)> {
        if block < self.first_block || block >= self.blocks {
            return None;
        }
        let index = block - self.first_block;
        Some((index / self.blocks_per_group, index % self.blocks_per_group))
    }

    /// Group and index within it of an inode, if there is such an inode.
    #[inline]
    pub(crate) fn locate_inode(&self, inode: u32) -> Option<(u32, u32)> {
        if inode == 0 || inode > self.inodes {
            return None;
        }
        Some(((inode - 1) / self.inodes_per_group, (inode - 1) % self.inodes_per_group))
    }

    /// Blocks of one group's inode table.
    pub(crate) fn table_blocks(&self) -> u32 {
        let bytes = u64::from(self.inodes_per_group) * self.inode_size as u64;
        bytes.div_ceil(self.block_size as u64) as u32
    }

    /// Whether the group begins with a copy of the superblock and the descriptors: all do, or
    /// with `sparse_super` the groups 0, 1 and the powers of 3, 5 and 7.
    pub(crate) fn has_superblock(&self, group: u32) -> bool {
        let power_of = |base: u32| {
            let mut rest = group;
            while rest.is_multiple_of(base) {
                rest /= base;
            }
            rest == 1
        };
        !self.sparse_super || group <= 1 || power_of(3) || power_of(5) || power_of(7)
    }

    /// Blocks at the start of a group that hold copies of the superblock and the descriptors.
    pub(crate) fn head_blocks(&self, group: u32) -> u32 {
        if self.has_superblock(group) {
            1 + self.descriptor_blocks() + self.reserved_descriptor_blocks
        } else {
            0
        }
    }
}

/// Where the parts of a group are; checked, and never changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) start: u32,
    pub(crate) length: u32,
    /// Blocks of superblock and descriptor copies at its start.
    head: u32,
    pub(crate) block_bitmap: u32,
    pub(crate) inode_bitmap: u32,
    pub(crate) inode_table: u32,
    table_blocks: u32,
}

/// The counters of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    pub(crate) free_blocks: u16,
    pub(crate) free_inodes: u16,
    pub(crate) directories: u16,
}

impl Group {
    /// Decodes and checks the descriptor of group `number`: bitmaps and inode table lie in the
    /// group, behind its head and apart from each other.
    pub(crate) fn decode(
        bytes: &[u8],
        geometry: &Geometry,
        number: u32,
    ) -> Result<(Self, Counters), FsError> {
        let group = Self {
            start: geometry.group_start(number),
            length: geometry.group_length(number),
            head: geometry.head_blocks(number),
            block_bitmap: get32(bytes, 0),
            inode_bitmap: get32(bytes, 4),
            inode_table: get32(bytes, 8),
            table_blocks: geometry.table_blocks(),
        };
        let end = group.start + group.length;
        let inside = |block: u32, count: u32| {
            block >= group.start.saturating_add(group.head) && block < end && count <= end - block
        };
        let sane = inside(group.block_bitmap, 1)
            && inside(group.inode_bitmap, 1)
            && inside(group.inode_table, group.table_blocks)
            && group.block_bitmap != group.inode_bitmap
            && !group.in_table(group.block_bitmap)
            && !group.in_table(group.inode_bitmap);
        let counters = Counters {
            free_blocks: get16(bytes, 12),
            free_inodes: get16(bytes, 14),
            directories: get16(bytes, 16),
        };
        if sane { Ok((group, counters)) } else { Err(FsError::Corrupted) }
    }

    #[inline]
    fn in_table(&self, block: u32) -> bool {
        block >= self.inode_table && block - self.inode_table < self.table_blocks
    }

    /// Whether a block of this group is for files: not one of the group's own.
    #[inline]
    pub(crate) fn is_data(&self, block: u32) -> bool {
        block >= self.start + self.head
            && block != self.block_bitmap
            && block != self.inode_bitmap
            && !self.in_table(block)
    }

    /// Blocks of the group that are its own.
    pub(crate) fn overhead(&self) -> u32 {
        self.head + 2 + self.table_blocks
    }
}

impl Counters {
    /// Stores the counters in a descriptor; the rest of it never changes.
    pub(crate) fn encode(&self, bytes: &mut [u8], offset: usize) {
        put16(bytes, offset + 12, self.free_blocks);
        put16(bytes, offset + 14, self.free_inodes);
        put16(bytes, offset + 16, self.directories);
    }
}

/// The attributes of an inode, without its block pointers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meta {
    /// Type and permission bits.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) accessed: u32,
    pub(crate) changed: u32,
    pub(crate) modified: u32,
    pub(crate) links: u16,
    /// Space used in units of 512 bytes, indirect and attribute blocks included.
    pub(crate) sectors: u32,
    pub(crate) flags: u32,
    pub(crate) generation: u32,
    /// The block of extended attributes, or 0.
    pub(crate) attribute_block: u32,
}

/// The block pointers: 12 direct, then single, double and triple indirect; or, in a short symbolic
/// link, its target; or, in a device node, its number.
pub(crate) type Pointers = [u32; 15];

/// Byte offset in an inode of the block pointers, and of the deletion time.
const POINTERS_OFFSET: usize = 40;
pub(crate) const DELETION_TIME_OFFSET: usize = 20;

impl Meta {
    /// Decodes an inode.
    pub(crate) fn decode(bytes: &[u8]) -> (Self, Pointers) {
        let mode = get16(bytes, 0);
        let mut size = u64::from(get32(bytes, 4));
        if FileType::from_mode(mode) == Some(FileType::Regular) {
            size |= u64::from(get32(bytes, 108)) << 32;
        }
        let meta = Self {
            mode,
            uid: u32::from(get16(bytes, 2)) | u32::from(get16(bytes, 120)) << 16,
            gid: u32::from(get16(bytes, 24)) | u32::from(get16(bytes, 122)) << 16,
            size,
            accessed: get32(bytes, 8),
            changed: get32(bytes, 12),
            modified: get32(bytes, 16),
            links: get16(bytes, 26),
            sectors: get32(bytes, 28),
            flags: get32(bytes, 32),
            generation: get32(bytes, 100),
            attribute_block: get32(bytes, 104),
        };
        let mut pointers = [0; 15];
        for (index, pointer) in pointers.iter_mut().enumerate() {
            *pointer = get32(bytes, POINTERS_OFFSET + 4 * index);
        }
        (meta, pointers)
    }

    /// Stores the inode. The deletion time, which belongs to the orphan list, is left alone.
    pub(crate) fn encode(&self, pointers: &Pointers, bytes: &mut [u8]) {
        let Some(bytes) = bytes.get_mut(..INODE_SIZE) else { return };
        put16(bytes, 0, self.mode);
        put16(bytes, 2, self.uid as u16);
        put32(bytes, 4, self.size as u32);
        put32(bytes, 8, self.accessed);
        put32(bytes, 12, self.changed);
        put32(bytes, 16, self.modified);
        put16(bytes, 24, self.gid as u16);
        put16(bytes, 26, self.links);
        put32(bytes, 28, self.sectors);
        put32(bytes, 32, self.flags);
        put(bytes, POINTERS_OFFSET, pointers.map(u32::to_le_bytes).as_flattened());
        put32(bytes, 100, self.generation);
        put32(bytes, 104, self.attribute_block);
        if self.file_type() == Some(FileType::Regular) {
            put32(bytes, 108, (self.size >> 32) as u32);
        }
        put16(bytes, 120, (self.uid >> 16) as u16);
        put16(bytes, 122, (self.gid >> 16) as u16);
    }

    pub(crate) fn file_type(&self) -> Option<FileType> {
        FileType::from_mode(self.mode)
    }

    /// Sectors that the block of extended attributes takes.
    pub(crate) fn attribute_sectors(&self, block_size: usize) -> u32 {
        if self.attribute_block == 0 { 0 } else { (block_size / 512) as u32 }
    }

    /// Whether the block pointers are pointers: not so in device nodes and in symbolic links that
    /// are stored in their place.
    pub(crate) fn has_blocks(&self, block_size: usize) -> bool {
        match self.file_type() {
            Some(FileType::Regular | FileType::Directory) => true,
            Some(FileType::Symlink) => self.sectors != self.attribute_sectors(block_size),
            _ => false,
        }
    }
}

/// A time as ext2 stores it: signed seconds.
pub(crate) fn to_disk_time(time: Time) -> u32 {
    time.seconds.clamp(i32::MIN.into(), i32::MAX.into()) as i32 as u32
}

pub(crate) fn from_disk_time(seconds: u32) -> Time {
    Time { seconds: (seconds as i32).into(), nanoseconds: 0 }
}

/// The type code of a directory entry.
pub(crate) fn entry_type(file_type: FileType) -> u8 {
    match file_type {
        FileType::Regular => 1,
        FileType::Directory => 2,
        FileType::CharacterDevice => 3,
        FileType::BlockDevice => 4,
        FileType::Fifo => 5,
        FileType::Socket => 6,
        FileType::Symlink => 7,
    }
}

/// The file type that an entry's code names.
pub(crate) fn from_entry_type(code: u8) -> Option<FileType> {
    Some(match code {
        1 => FileType::Regular,
        2 => FileType::Directory,
        3 => FileType::CharacterDevice,
        4 => FileType::BlockDevice,
        5 => FileType::Fifo,
        6 => FileType::Socket,
        7 => FileType::Symlink,
        _ => return None,
    })
}
