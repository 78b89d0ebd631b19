//! AArch64.

pub use super::generic::{clone_arguments, stat};
pub use super::signal_action::with_restorer::{
    SignalActionWords, signal_action, signal_action_words,
};
pub use crate::syscall::generic as numbers;

/// Where `struct epoll_event`, aligned as usual, has its data: behind the events.
pub const EPOLL_DATA: usize = 8;

/// The smallest alternate signal stack (`MINSIGSTKSZ`).
pub const MIN_SIGNAL_STACK: usize = 5120;

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

#[cfg(test)]
mod tests {
    use super::{open_flags, user_open_flags};

    #[test]
    fn flags_go_there_and_back() {
        // O_RDWR, O_CREAT, O_CLOEXEC are the same everywhere.
        assert_eq!(open_flags(0o200_0102), 0o200_0102);
        for bit in 0..32 {
            assert_eq!(user_open_flags(open_flags(1 << bit)), 1 << bit);
        }
        assert_eq!(open_flags(0o4_0000), 0o20_0000);
    }
}
