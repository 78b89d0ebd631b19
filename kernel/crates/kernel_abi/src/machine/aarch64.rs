//! AArch64.

pub use crate::syscall::generic as numbers;

use crate::file::Stat;

/// The smallest alternate signal stack (`MINSIGSTKSZ`).
pub const MIN_SIGNAL_STACK: usize = 5120;

/// `struct stat` (`asm-generic/stat.h`), as 16 words.
#[inline]
pub fn stat(stat: &Stat) -> [u64; 16] {
    let [accessed, modified, changed] = stat.times;
    [
        stat.device,
        stat.inode,
        u64::from(stat.mode) | stat.links << 32,
        u64::from(stat.uid) | u64::from(stat.gid) << 32,
        stat.node_device,
        0,
        stat.size,
        u64::from(stat.block_size),
        stat.blocks,
        accessed.0 as u64,
        u64::from(accessed.1),
        modified.0 as u64,
        u64::from(modified.1),
        changed.0 as u64,
        u64::from(changed.1),
        0,
    ]
}

/// Pairs of flags that differ from x86_64's: here, there (`asm/fcntl.h`).
const DIFFERENT: [(u32, u32); 4] = [
    // O_DIRECTORY, O_NOFOLLOW, O_DIRECT, O_LARGEFILE.
    (0o4_0000, 0o20_0000),
    (0o10_0000, 0o40_0000),
    (0o20_0000, 0o4_0000),
    (0o40_0000, 0o10_0000),
];

/// The kernel's values, which are x86_64's, of a user's flags of `open(2)`.
#[inline]
pub const fn open_flags(user: u32) -> u32 {
    let mut flags = user & !0o74_0000;
    let mut index = 0;
    while index < DIFFERENT.len() {
        let (here, there) = DIFFERENT[index];
        if user & here != 0 {
            flags |= there;
        }
        index += 1;
    }
    flags
}

/// The user's values of the kernel's flags: the four bits change places in pairs, so the way
/// back is the way there.
#[inline]
pub const fn user_open_flags(flags: u32) -> u32 {
    open_flags(flags)
}

/// Flags, stack, parent's and child's place for the thread's number, thread pointer: here a
/// user passes the thread pointer before the child's place (`clone(2)`, "C library/kernel
/// differences").
#[inline]
pub const fn clone_arguments(arguments: [usize; 6]) -> [usize; 6] {
    let [flags, stack, parent, thread_pointer, child, last] = arguments;
    [flags, stack, parent, child, thread_pointer, last]
}

#[cfg(test)]
mod tests {
    use super::{clone_arguments, open_flags, stat, user_open_flags};
    use crate::file::Stat;

    #[test]
    fn the_structure_has_linux_s_size_and_places() {
        let words = stat(&Stat { mode: 0o100644, links: 3, uid: 7, gid: 8, ..Stat::default() });
        assert_eq!(size_of_val(&words), 128);
        assert_eq!((words[2], words[3]), (3 << 32 | 0o100644, 8 << 32 | 7));
    }

    #[test]
    fn flags_go_there_and_back() {
        // O_RDWR, O_CREAT, O_CLOEXEC are the same everywhere.
        assert_eq!(open_flags(0o200_0102), 0o200_0102);
        for bit in 0..32 {
            assert_eq!(user_open_flags(open_flags(1 << bit)), 1 << bit);
        }
        assert_eq!(open_flags(0o4_0000), 0o20_0000);
    }

    #[test]
    fn clone_passes_the_thread_pointer_fourth() {
        assert_eq!(clone_arguments([1, 2, 3, 4, 5, 6]), [1, 2, 3, 5, 4, 6]);
    }
}
