//! What the machines that came after the first ones have in common (`asm-generic`).

use crate::file::Stat;

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
    use super::{clone_arguments, stat};
    use crate::file::Stat;

    #[test]
    fn the_structure_has_linux_s_size_and_places() {
        let words = stat(&Stat { mode: 0o100644, links: 3, uid: 7, gid: 8, ..Stat::default() });
        assert_eq!(size_of_val(&words), 128);
        assert_eq!((words[2], words[3]), (3 << 32 | 0o100644, 8 << 32 | 7));
    }

    #[test]
    fn clone_passes_the_thread_pointer_fourth() {
        assert_eq!(clone_arguments([1, 2, 3, 4, 5, 6]), [1, 2, 3, 5, 4, 6]);
    }
}
