//! x86_64.

pub use super::signal_action::with_restorer::{
    SignalActionWords, signal_action, signal_action_words,
};
pub use crate::syscall::x86_64 as numbers;

use crate::file::Stat;

/// Where `struct epoll_event`, packed here, so that 32-bit programs have the same, has its data: behind the events.
pub const EPOLL_DATA: usize = 4;

/// The smallest alternate signal stack (`MINSIGSTKSZ`).
pub const MIN_SIGNAL_STACK: usize = 2048;

/// `struct stat` (`asm/stat.h`), as 18 words.
#[inline]
pub fn stat(stat: &Stat) -> [u64; 18] {
    let [accessed, modified, changed] = stat.times;
    [
        stat.device,
        stat.inode,
        stat.links,
        u64::from(stat.mode) | u64::from(stat.uid) << 32,
        u64::from(stat.gid),
        stat.node_device,
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
        0,
        0,
    ]
}

/// The kernel's values of a user's flags of `open(2)`: the same here.
#[inline]
pub const fn open_flags(user: u32) -> u32 {
    user
}

/// The user's values of the kernel's flags.
#[inline]
pub const fn user_open_flags(flags: u32) -> u32 {
    flags
}

/// Flags, stack, parent's and child's place for the thread's number, thread pointer.
#[inline]
pub const fn clone_arguments(arguments: [usize; 6]) -> [usize; 6] {
    arguments
}

#[cfg(test)]
mod tests {
    use super::stat;
    use crate::file::Stat;

    #[test]
    fn the_structure_has_linux_s_size() {
        assert_eq!(size_of_val(&stat(&Stat::default())), 144);
    }

    #[test]
    fn mode_and_owner_share_a_word() {
        let words = stat(&Stat { mode: 0o100644, uid: 7, gid: 8, ..Stat::default() });
        assert_eq!((words[3], words[4]), (7 << 32 | 0o100644, 8));
    }
}
