//! Waiting for descriptors: `poll ppoll select pselect6`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_abi::Errno;
use kernel_vfs::{DESCRIPTOR_LIMIT, OpenFile, Readiness};

use super::SyscallResult;
use super::errno::OrErrno;
use super::path::Caller;
use super::time::{read_timespec, to_timespec};
use crate::file::poll;
use crate::mcore::mtask::signal;
use crate::mcore::{current, now_ns};
use crate::mem::user::{read_user, write_user};

/// `POLLNVAL`: the descriptor is not open.
const INVALID: u16 = 0x20;

/// How long a wait for readiness may last.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    /// Only a look.
    None,
    /// Up to a time on the scale of `now_ns`.
    Until(u64),
    Forever,
}

impl Patience {
    /// For so many nanoseconds from now.
    pub(super) fn of(nanoseconds: u64) -> Self {
        match nanoseconds {
            0 => Self::None,
            nanoseconds => Self::Until(current().wait_deadline(nanoseconds)),
        }
    }

    /// For so many milliseconds, which are an `int`; negative is for ever.
    pub(super) fn of_milliseconds(milliseconds: usize) -> Self {
        match u64::try_from(milliseconds as i32) {
            Ok(milliseconds) => Self::of(milliseconds * 1_000_000),
            Err(_) => Self::Forever,
        }
    }

    /// Waits until `look` returns something; `None` if the time has passed.
    pub(super) fn wait<T>(self, mut look: impl FnMut() -> Option<T>) -> Result<Option<T>, Errno> {
        match (look(), self) {
            (Some(found), _) => Ok(Some(found)),
            (None, Self::None) => Ok(None),
            (None, Self::Until(deadline)) => poll::wait(look, Some(deadline)).or_errno(),
            (None, Self::Forever) => poll::wait(look, None).or_errno(),
        }
    }

    /// A wait that a signal has ended, without a handler's having run, goes on until the same time.
    pub(super) fn note_if_interrupted(self, result: SyscallResult) {
        if let (Err(Errno::EINTR), Self::Until(deadline)) = (result, self) {
            current().note_interrupted_wait(deadline);
        }
    }

    /// What is left, as `struct timespec`; `None` for ever.
    fn left(self) -> Option<[u64; 2]> {
        match self {
            Self::None => Some([0; 2]),
            Self::Until(deadline) => Some(to_timespec(deadline.saturating_sub(now_ns()))),
            Self::Forever => None,
        }
    }
}

/// `poll(2)`: milliseconds; negative is for ever.
pub fn poll([list, count, timeout, ..]: [usize; 6]) -> SyscallResult {
    let patience = Patience::of_milliseconds(timeout);
    let result = wait_for_list(list, count, patience);
    patience.note_if_interrupted(result);
    result
}

/// Does `wait` with the signal mask at `mask`, if there is one.
pub(super) fn with_mask(
    mask: usize,
    set_bytes: usize,
    wait: impl FnOnce() -> SyscallResult,
) -> SyscallResult {
    if mask != 0 {
        if set_bytes != size_of::<u64>() {
            return Err(Errno::EINVAL);
        }
        signal::suspend_with(read_user(mask)?);
    }
    let result = wait();
    if mask != 0 && result != Err(Errno::EINTR) {
        // Otherwise the signal is dealt with first.
        signal::end_suspension();
    }
    result
}

/// Waits by `wait`, with the signal mask at `mask`, if there is one, up to the `struct timespec` at
/// `time`, at which it leaves what is left.
fn masked_wait(
    time: usize,
    mask: usize,
    set_bytes: usize,
    wait: impl FnOnce(Patience) -> SyscallResult,
) -> SyscallResult {
    let patience = match time {
        0 => Patience::Forever,
        address => Patience::of(read_timespec(address)?),
    };
    let result = with_mask(mask, set_bytes, || wait(patience));
    if let Some(left) = patience.left() {
        // Memory that cannot be written is not an error here, as on Linux.
        let _ = write_user(time, left);
    }
    result
}

/// `ppoll(2)`: with the signal mask at `mask`, if there is one, while it waits; leaves at `time`
/// what is left of the time.
pub fn ppoll([list, count, time, mask, set_bytes, _]: [usize; 6]) -> SyscallResult {
    masked_wait(time, mask, set_bytes, |patience| wait_for_list(list, count, patience))
}

/// A descriptor that is waited for.
struct Watched {
    file: Option<Arc<OpenFile>>,
    /// What is waited for, as `poll` says it.
    wanted: u16,
    /// What has been found.
    found: u16,
    /// What it is found to be where there is no file.
    without: u16,
}

impl Watched {
    /// Looks; whether anything was found.
    fn look(&mut self) -> bool {
        self.found = match &self.file {
            Some(file) => file.file().readiness().events() & self.wanted,
            None => self.without,
        };
        self.found != 0
    }
}

/// Waits until something is found at one of the `watched`; at how many it is.
fn wait_for_any(watched: &mut [Watched], patience: Patience) -> SyscallResult {
    let look = || {
        let ready = watched.iter_mut().map(|watched| usize::from(watched.look())).sum();
        (ready > 0).then_some(ready)
    };
    Ok(patience.wait(look)?.unwrap_or(0))
}

fn room(count: usize) -> Result<Vec<Watched>, Errno> {
    let mut watched = Vec::new();
    watched.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    Ok(watched)
}

/// Waits until one of `count` descriptors in the user's list of `struct pollfd` is ready; how many
/// are.
fn wait_for_list(list: usize, count: usize, patience: Patience) -> SyscallResult {
    if count > DESCRIPTOR_LIMIT as usize {
        return Err(Errno::EINVAL);
    }
    let caller = Caller::new();
    let mut watched = room(count)?;
    for index in 0..count {
        let address = list.checked_add(8 * index).ok_or(Errno::EFAULT)?;
        // Descriptor, events, returned events; one word.
        let word: u64 = read_user(address)?;
        let ignored = (word as i32) < 0;
        watched.push(Watched {
            file: if ignored { None } else { caller.file(word as u32 as usize).ok() },
            wanted: (word >> 32) as u16 | (Readiness::ERROR | Readiness::HANG_UP).bits(),
            found: 0,
            without: if ignored { 0 } else { INVALID },
        });
    }
    let ready = wait_for_any(&mut watched, patience)?;
    for (index, watched) in watched.iter().enumerate() {
        // The returned events are the last two of eight bytes.
        write_user(list.wrapping_add(8 * index + 6), watched.found)?;
    }
    Ok(ready)
}

/// The sets of `select(2)`: to be read, to be written, exceptions; a bit for each descriptor.
type Sets = [[u64; DESCRIPTOR_LIMIT as usize / 64]; 3];

/// What makes a descriptor a member of each set, as on Linux.
const MEMBERSHIP: [Readiness; 3] = [
    Readiness::READ.union(Readiness::HANG_UP).union(Readiness::ERROR),
    Readiness::WRITE.union(Readiness::ERROR),
    Readiness::PRIORITY,
];

/// Waits until one of the descriptors below `count` in the three sets is ready, and leaves in the
/// sets those that are; how many members they have then.
fn wait_for_sets(count: usize, sets: [usize; 3], patience: Patience) -> SyscallResult {
    let count = usize::try_from(count as i32).map_err(|_| Errno::EINVAL)?;
    let count = count.min(DESCRIPTOR_LIMIT as usize);
    let words = count.div_ceil(64);
    let mut wanted: Sets = Default::default();
    for (set, &address) in wanted.iter_mut().zip(&sets).filter(|(_, address)| **address != 0) {
        for (index, word) in set.iter_mut().take(words).enumerate() {
            *word = read_user(address.checked_add(8 * index).ok_or(Errno::EFAULT)?)?;
        }
    }
    let is_in = |sets: &Sets, set: usize, fd: usize| {
        let word = sets.get(set).and_then(|words| words.get(fd / 64));
        word.is_some_and(|word| word >> (fd % 64) & 1 != 0)
    };
    let caller = Caller::new();
    let mut watched = Vec::new();
    let mut descriptors = Vec::new();
    for fd in 0..count {
        let mut events = Readiness::empty();
        for (set, membership) in MEMBERSHIP.into_iter().enumerate() {
            events.set(membership, is_in(&wanted, set, fd));
        }
        if !events.is_empty() {
            watched.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            descriptors.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            let file = Some(caller.file(fd)?);
            watched.push(Watched { file, wanted: events.bits(), found: 0, without: 0 });
            descriptors.push(fd);
        }
    }
    wait_for_any(&mut watched, patience)?;
    let mut found: Sets = Default::default();
    let mut members = 0;
    for (&fd, watched) in descriptors.iter().zip(&watched) {
        for (set, membership) in MEMBERSHIP.into_iter().enumerate() {
            if is_in(&wanted, set, fd)
                && watched.found & membership.bits() != 0
                && let Some(word) = found.get_mut(set).and_then(|words| words.get_mut(fd / 64))
            {
                *word |= 1 << (fd % 64);
                members += 1;
            }
        }
    }
    for (set, address) in found.iter().zip(sets).filter(|(_, address)| *address != 0) {
        for (index, word) in set.iter().take(words).enumerate() {
            write_user(address.wrapping_add(8 * index), *word)?;
        }
    }
    Ok(members)
}

/// `select(2)`: leaves at `time`, a `struct timeval`, what is left of it.
pub fn select([count, read, write, except, time, _]: [usize; 6]) -> SyscallResult {
    const MICROSECOND: u64 = 1000;
    let patience = match time {
        0 => Patience::Forever,
        address => {
            let [seconds, microseconds] = read_user::<[i64; 2]>(address)?;
            let seconds = u64::try_from(seconds).map_err(|_| Errno::EINVAL)?;
            let microseconds = u64::try_from(microseconds).map_err(|_| Errno::EINVAL)?;
            let length = seconds.saturating_mul(1_000_000).saturating_add(microseconds);
            Patience::of(length.saturating_mul(MICROSECOND))
        }
    };
    let result = wait_for_sets(count, [read, write, except], patience);
    if let Some([seconds, nanoseconds]) = patience.left() {
        // Memory that cannot be written is not an error here, as on Linux.
        let _ = write_user(time, [seconds, nanoseconds / MICROSECOND]);
    }
    result
}

/// `pselect6(2)`: `select` with a `struct timespec`, and with a signal mask while it waits.
pub fn pselect6([count, read, write, except, time, mask]: [usize; 6]) -> SyscallResult {
    // The sixth argument is the address of a pair: the mask's address and its size.
    let [mask, set_bytes] = if mask == 0 { [0; 2] } else { read_user::<[usize; 2]>(mask)? };
    masked_wait(time, mask, set_bytes, |patience| {
        wait_for_sets(count, [read, write, except], patience)
    })
}
