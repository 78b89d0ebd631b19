//! The plain data of the file system interface: kinds, permissions, metadata, flags.

/// Longest name of one directory entry, in bytes (Linux `NAME_MAX`).
pub const NAME_MAX: usize = 255;
/// Longest path, in bytes without the terminating NUL (Linux `PATH_MAX` − 1).
pub const PATH_MAX: usize = 4095;
/// Symbolic links followed in one resolution before it fails (`path_resolution(7)`).
pub const SYMLINK_LIMIT: u32 = 40;
/// Largest file offset: an `off_t` is signed.
pub const OFFSET_MAX: u64 = i64::MAX as u64;

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    Regular,
    Directory,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Fifo,
    Socket,
}

impl FileType {
    /// The file-type bits of `st_mode` (`inode(7)`, `S_IFMT`).
    #[inline]
    pub const fn mode_bits(self) -> u16 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharacterDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::Regular => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }

    /// The type that a full mode names, if it names one.
    pub const fn from_mode(mode: u16) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o010_000 => Self::Fifo,
            0o020_000 => Self::CharacterDevice,
            0o040_000 => Self::Directory,
            0o060_000 => Self::BlockDevice,
            0o100_000 => Self::Regular,
            0o120_000 => Self::Symlink,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// `d_type` of `getdents64(2)` (`DT_*`): the mode's type bits shifted down.
    pub const fn directory_entry_type(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }
}

/// Seconds and nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanoseconds: u32,
}

/// Who may do what to an inode: the bits that path resolution needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// The low twelve bits of the mode (set-id, sticky, rwxrwxrwx).
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
}

/// What `stat(2)` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub inode: u64,
    pub file_type: FileType,
    /// The low twelve bits of the mode.
    pub mode: u16,
    pub links: u32,
    pub uid: u32,
    pub gid: u32,
    /// For a device node, which device: major << 8 | minor.
    pub device: u32,
    /// Bytes.
    pub size: u64,
    /// Preferred size of a transfer, bytes.
    pub block_size: u32,
    /// Space used, in units of 512 bytes.
    pub blocks: u64,
    pub accessed: Time,
    pub modified: Time,
    pub changed: Time,
}

impl Metadata {
    /// The whole of `st_mode`.
    #[inline]
    pub const fn full_mode(&self) -> u16 {
        self.file_type.mode_bits() | self.mode
    }
}

/// Changes to an inode's attributes; `None` leaves one as it is. The caller has checked that
/// they are allowed. The status-change time is set by the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    /// The low twelve bits.
    pub mode: Option<u16>,
    /// Bits to take off the mode, whatever it is when the change is made.
    pub without: u16,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub accessed: Option<Time>,
    pub modified: Option<Time>,
}

/// Owner and permission bits of an inode that is about to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The low twelve bits, the umask already taken off.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
}

/// What to create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewNode<'a> {
    Regular,
    Directory,
    /// With its target, 1 to 4095 bytes.
    Symlink(&'a [u8]),
    /// A named pipe or a socket, whose `device` is 0; or a device node.
    Special {
        file_type: FileType,
        device: u32,
    },
}

/// What `statfs(2)` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSystemStatistics {
    /// `f_type`: the magic number from `statfs(2)`.
    pub magic: u32,
    /// Bytes in a block.
    pub block_size: u32,
    pub blocks: u64,
    pub blocks_free: u64,
    /// Free to ordinary users.
    pub blocks_available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
    pub name_max: u32,
}

bitflags::bitflags! {
    /// How a file is opened, and the status flags of an open file. The values are those of
    /// `open(2)` on x86_64; the kernel translates where an architecture differs.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        const WRITE_ONLY = 0o1;
        const READ_WRITE = 0o2;
        const CREATE = 0o100;
        const EXCLUSIVE = 0o200;
        const NO_TTY = 0o400;
        const TRUNCATE = 0o1000;
        const APPEND = 0o2000;
        const NONBLOCK = 0o4000;
        const DSYNC = 0o1_0000;
        const DIRECT = 0o4_0000;
        const LARGE_FILE = 0o10_0000;
        const DIRECTORY = 0o20_0000;
        const NO_FOLLOW = 0o40_0000;
        const NO_ATIME = 0o100_0000;
        const CLOSE_ON_EXEC = 0o200_0000;
        const SYNC = 0o400_0000;
        const PATH = 0o1000_0000;
    }
}

impl OpenFlags {
    /// The two access-mode bits (`O_ACCMODE`).
    pub const ACCESS_MODE: Self = Self::WRITE_ONLY.union(Self::READ_WRITE);

    /// Reading is allowed. With both bits of the access mode set neither is (`open(2)`, NOTES).
    #[inline]
    pub const fn readable(self) -> bool {
        self.bits() & Self::WRITE_ONLY.bits() == 0 && self.bits() & Self::PATH.bits() == 0
    }

    /// Writing is allowed.
    #[inline]
    pub const fn writable(self) -> bool {
        matches!(self.bits() & 3, 1 | 2) && self.bits() & Self::PATH.bits() == 0
    }

    /// What has to be allowed to open a file so: 4 read, 2 write.
    pub const fn wanted_access(self) -> u16 {
        let wanted = match self.bits() & 3 {
            0 => 4,
            1 => 2,
            _ => 6,
        };
        if self.bits() & Self::TRUNCATE.bits() != 0 { wanted | 2 } else { wanted }
    }
}

bitflags::bitflags! {
    /// What could be done now without waiting; the values of `poll(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Readiness: u16 {
        const READ = 0x1;
        const PRIORITY = 0x2;
        const WRITE = 0x4;
        const ERROR = 0x8;
        const HANG_UP = 0x10;
        /// Nothing more will come (`POLLRDHUP`): the other side of a socket has said so.
        const READ_CLOSED = 0x2000;
    }
}

impl Readiness {
    /// As `poll(2)` and `epoll(7)` tell it: with the names that System V has for reading and
    /// writing.
    #[must_use]
    pub const fn events(self) -> u16 {
        const READ_NORMAL: u16 = 0x40;
        const WRITE_NORMAL: u16 = 0x100;
        let mut events = self.bits();
        if self.contains(Self::READ) {
            events |= READ_NORMAL;
        }
        if self.contains(Self::WRITE) {
            events |= WRITE_NORMAL;
        }
        events
    }
}

/// On whose behalf an operation is done.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    pub groups: &'a [u32],
}

impl Identity<'_> {
    /// The superuser, for the kernel's own operations.
    pub const ROOT: Identity<'static> = Identity { uid: 0, gid: 0, groups: &[] };

    fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }

    /// Whether `wanted` (a sum of 4 read, 2 write, 1 execute or search) is allowed on an inode,
    /// as `path_resolution(7)` has it: the owner's bits, else the group's, else the others';
    /// the superuser may all, but executes only what somebody may execute.
    #[inline]
    pub fn may(&self, wanted: u16, permissions: &Permissions, file_type: FileType) -> bool {
        if self.uid == 0 {
            return wanted & 1 == 0
                || file_type == FileType::Directory
                || permissions.mode & 0o111 != 0;
        }
        let shift = if self.uid == permissions.uid {
            6
        } else if self.in_group(permissions.gid) {
            3
        } else {
            0
        };
        (permissions.mode >> shift) & wanted == wanted
    }

    /// Whether this may change the attributes of an inode: its owner or the superuser.
    #[inline]
    pub fn owns(&self, permissions: &Permissions) -> bool {
        self.uid == 0 || self.uid == permissions.uid
    }

    /// Whether `chown` to group `gid` is allowed for an owner who is not the superuser, and
    /// whether the set-group-id bit may stay.
    pub fn has_group(&self, gid: u32) -> bool {
        self.uid == 0 || self.in_group(gid)
    }
}

#[cfg(test)]
mod tests {
    use super::{FileType, Identity, Permissions};

    #[test]
    fn mode_bits_round_trip() {
        for kind in [
            FileType::Regular,
            FileType::Directory,
            FileType::Symlink,
            FileType::CharacterDevice,
            FileType::BlockDevice,
            FileType::Fifo,
            FileType::Socket,
        ] {
            assert_eq!(FileType::from_mode(kind.mode_bits() | 0o7777), Some(kind));
        }
        assert_eq!(FileType::from_mode(0o777), None);
        assert_eq!(FileType::Directory.directory_entry_type(), 4);
    }

    #[test]
    fn the_first_matching_class_decides() {
        // The owner is not helped by the bits of the others.
        let file = Permissions { mode: 0o077, uid: 7, gid: 8 };
        let owner = Identity { uid: 7, gid: 8, groups: &[] };
        let member = Identity { uid: 1, gid: 1, groups: &[8] };
        let other = Identity { uid: 1, gid: 1, groups: &[] };
        assert!(!owner.may(4, &file, FileType::Regular));
        assert!(member.may(7, &file, FileType::Regular));
        assert!(other.may(7, &file, FileType::Regular));
        let secret = Permissions { mode: 0o600, uid: 7, gid: 8 };
        assert!(!member.may(4, &secret, FileType::Regular));
        assert!(Identity::ROOT.may(6, &secret, FileType::Regular));
        assert!(!Identity::ROOT.may(1, &secret, FileType::Regular));
        assert!(Identity::ROOT.may(1, &secret, FileType::Directory));
    }
}
