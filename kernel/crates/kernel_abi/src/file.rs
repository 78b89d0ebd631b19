//! Files: flags, modes, requests and structures of the file system calls (`linux/fcntl.h`,
//! `linux/stat.h`, `asm/ioctls.h`, and the manual pages named).

/// `openat(2)` and the like: relative to the working directory.
pub const AT_FDCWD: i32 = -100;
/// Do not follow a symbolic link at the end of the path.
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// `unlinkat(2)`: remove a directory.
pub const AT_REMOVEDIR: u32 = 0x200;
/// `faccessat2(2)`: check with the effective identity.
pub const AT_EACCESS: u32 = 0x200;
/// `linkat(2)`: follow a symbolic link at the end of the old path.
pub const AT_SYMLINK_FOLLOW: u32 = 0x400;
/// Do not mount automatically; there is nothing of the kind.
pub const AT_NO_AUTOMOUNT: u32 = 0x800;
/// An empty path means the descriptor itself.
pub const AT_EMPTY_PATH: u32 = 0x1000;
/// `statx(2)`: how fresh the answer has to be; it always is.
pub const AT_STATX_SYNC_TYPE: u32 = 0x6000;

/// `renameat2(2)`.
pub const RENAME_NOREPLACE: u32 = 1;
pub const RENAME_EXCHANGE: u32 = 2;

/// `lseek(2)`.
pub const SEEK_SET: u32 = 0;
pub const SEEK_CUR: u32 = 1;
pub const SEEK_END: u32 = 2;
pub const SEEK_DATA: u32 = 3;
pub const SEEK_HOLE: u32 = 4;

/// `fcntl(2)`.
pub const F_DUPFD: u32 = 0;
pub const F_GETFD: u32 = 1;
pub const F_SETFD: u32 = 2;
pub const F_GETFL: u32 = 3;
pub const F_SETFL: u32 = 4;
pub const F_DUPFD_CLOEXEC: u32 = 1030;
pub const FD_CLOEXEC: u32 = 1;

/// `mount(2)`: flags that change nothing here are accepted.
pub const MS_RDONLY: u32 = 1;
pub const MS_REMOUNT: u32 = 32;
pub const MS_NODIRATIME: u32 = 2048;
pub const MS_SILENT: u32 = 32768;
pub const MS_RELATIME: u32 = 1 << 21;
pub const MS_STRICTATIME: u32 = 1 << 24;
pub const MS_LAZYTIME: u32 = 1 << 25;
pub const MS_SYNCHRONOUS: u32 = 16;
pub const MS_DIRSYNC: u32 = 128;
/// The magic number that very old programs put in the upper half of the flags.
pub const MS_MGC_VAL: u32 = 0xc0ed_0000;
pub const MS_MGC_MSK: u32 = 0xffff_0000;

/// `umount2(2)`.
pub const MNT_FORCE: u32 = 1;
pub const MNT_DETACH: u32 = 2;
pub const MNT_EXPIRE: u32 = 4;
pub const UMOUNT_NOFOLLOW: u32 = 8;

/// `utimensat(2)`: nanoseconds that mean "now" and "leave it".
pub const UTIME_NOW: i64 = 0x3fff_ffff;
pub const UTIME_OMIT: i64 = 0x3fff_fffe;

/// Most buffers in `readv(2)` and `writev(2)`.
pub const IOV_MAX: usize = 1024;
/// Most bytes that one call transfers (`read(2)`, NOTES).
pub const MAX_RW_COUNT: usize = 0x7fff_f000;

/// `ioctl(2)` requests.
pub mod ioctl {
    pub const FBIOGET_VSCREENINFO: u32 = 0x4600;
    pub const FBIOPUT_VSCREENINFO: u32 = 0x4601;
    pub const FBIOGET_FSCREENINFO: u32 = 0x4602;
    pub const FBIOPAN_DISPLAY: u32 = 0x4606;
    pub const FBIOBLANK: u32 = 0x4611;
    pub const FBIO_WAITFORVSYNC: u32 = 0x4004_4620;
    pub const KDSETMODE: u32 = 0x4b3a;
    pub const KDGETMODE: u32 = 0x4b3b;
    pub const TCGETS: u32 = 0x5401;
    pub const TCSETS: u32 = 0x5402;
    pub const TCSETSW: u32 = 0x5403;
    pub const TCSETSF: u32 = 0x5404;
    pub const TCSBRK: u32 = 0x5409;
    pub const TCFLSH: u32 = 0x540b;
    pub const TIOCSCTTY: u32 = 0x540e;
    pub const TIOCGPGRP: u32 = 0x540f;
    pub const TIOCSPGRP: u32 = 0x5410;
    pub const TIOCOUTQ: u32 = 0x5411;
    pub const TIOCGWINSZ: u32 = 0x5413;
    pub const TIOCSWINSZ: u32 = 0x5414;
    pub const FIONREAD: u32 = 0x541b;
    pub const TIOCNOTTY: u32 = 0x5422;
    pub const TIOCGSID: u32 = 0x5429;
    pub const FIONBIO: u32 = 0x5421;
    pub const FIONCLEX: u32 = 0x5450;
    pub const FIOCLEX: u32 = 0x5451;
    /// Sectors of 512 bytes; bytes in a sector; bytes.
    pub const BLKGETSIZE: u32 = 0x1260;
    pub const BLKSSZGET: u32 = 0x1268;
    pub const BLKGETSIZE64: u32 = 0x8008_1272;
    pub const BLKFLSBUF: u32 = 0x1261;
}

/// What `stat(2)` tells, before it is laid out for a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    pub device: u64,
    pub inode: u64,
    pub links: u64,
    /// Type and permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// The device that a device node names.
    pub node_device: u64,
    pub size: u64,
    pub block_size: u32,
    /// Units of 512 bytes.
    pub blocks: u64,
    /// Last access, modification, status change: seconds and nanoseconds.
    pub times: [(i64, u32); 3],
}

/// What `statfs(2)` tells, before it is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatFs {
    pub magic: u64,
    pub block_size: u64,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
    /// The file system's number: that of `st_dev`.
    pub id: u64,
    pub name_max: u64,
    pub flags: u64,
}

impl StatFs {
    /// `struct statfs` of 64-bit machines (`asm-generic/statfs.h`), as 15 words.
    pub fn words(&self) -> [u64; 15] {
        [
            self.magic,
            self.block_size,
            self.blocks,
            self.blocks_free,
            self.blocks_available,
            self.inodes,
            self.inodes_free,
            self.id,
            self.name_max,
            self.block_size,
            // ST_VALID.
            self.flags | 0x20,
            0,
            0,
            0,
            0,
        ]
    }
}

/// `struct linux_dirent64` (`getdents64(2)`).
pub mod dirent64 {
    /// Bytes before the name.
    pub const HEADER: usize = 19;

    /// Bytes that an entry with a name of `name` bytes takes, its terminator included.
    pub const fn length(name: usize) -> usize {
        (HEADER + name + 1).next_multiple_of(8)
    }

    /// The bytes before the name.
    pub fn header(inode: u64, next: u64, length: u16, kind: u8) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let (ino, rest) = out.split_at_mut(8);
        let (off, rest) = rest.split_at_mut(8);
        let (reclen, kind_byte) = rest.split_at_mut(2);
        ino.copy_from_slice(&inode.to_ne_bytes());
        off.copy_from_slice(&next.to_ne_bytes());
        reclen.copy_from_slice(&length.to_ne_bytes());
        kind_byte.copy_from_slice(&[kind]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{StatFs, dirent64};

    #[test]
    fn structures_have_the_sizes_of_linux() {
        assert_eq!(size_of_val(&StatFs::default().words()), 120);
        assert_eq!(dirent64::length(1), 24);
        assert_eq!(dirent64::length(4), 24);
        assert_eq!(dirent64::length(5), 32);
        let header = dirent64::header(1, 2, 24, 4);
        assert_eq!((header[0], header[8], header[16], header[18]), (1, 2, 24, 4));
    }
}
