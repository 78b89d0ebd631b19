//! Event polls: `epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2`.

use kernel_abi::Errno;
use kernel_vfs::OpenFlags;

use super::SyscallResult;
use super::errno::OrErrno;
use super::path::Caller;
use super::poll::{Patience, with_mask};
use super::time::read_timespec;
use crate::arch::abi::{self, EPOLL_DATA};
use crate::file::epoll::{EventPoll, Interest};
use crate::mem::user::{copy_from_user, copy_to_user};

/// Bytes of `struct epoll_event`.
const EVENT_BYTES: usize = EPOLL_DATA + 8;

/// The operations of `epoll_ctl`.
const ADD: usize = 1;
const DELETE: usize = 2;
const MODIFY: usize = 3;

/// `epoll_create(2)`: the size means nothing, but has to be one.
pub fn epoll_create([size, ..]: [usize; 6]) -> SyscallResult {
    if size as i32 <= 0 { Err(Errno::EINVAL) } else { epoll_create1([0; 6]) }
}

/// `epoll_create1(2)`.
pub fn epoll_create1([flags, ..]: [usize; 6]) -> SyscallResult {
    let flags = OpenFlags::from_bits(abi::open_flags(flags as u32)).ok_or(Errno::EINVAL)?;
    if !OpenFlags::CLOSE_ON_EXEC.contains(flags) {
        return Err(Errno::EINVAL);
    }
    let caller = Caller::new();
    let files = caller.files()?;
    files.check_room().or_errno()?;
    let close_on_exec = flags.contains(OpenFlags::CLOSE_ON_EXEC);
    files.install(EventPoll::create()?, close_on_exec).or_errno().map(|fd| fd as usize)
}

/// `epoll_ctl(2)`.
pub fn epoll_ctl([epoll, operation, fd, event, ..]: [usize; 6]) -> SyscallResult {
    let operation = operation as u32 as usize;
    let mut bytes = [0; EVENT_BYTES];
    if operation != DELETE {
        copy_from_user(&mut bytes, event)?;
    }
    let caller = Caller::new();
    let outer = caller.file(epoll)?;
    let file = caller.file(fd)?;
    if file.file().activity(kernel_vfs::Readiness::all()).is_none() {
        return Err(Errno::EPERM);
    }
    let set = outer.file().downcast_ref::<EventPoll>().ok_or(Errno::EINVAL)?;
    let (events, data) = bytes.split_at(EPOLL_DATA);
    let wanted = Interest {
        events: events.first_chunk().map_or(0, |events| u32::from_ne_bytes(*events)),
        data: data.first_chunk().map_or(0, |data| u64::from_ne_bytes(*data)),
    };
    let fd = fd as u32;
    match operation {
        ADD => set.add(fd, &file, wanted)?,
        MODIFY => set.modify(fd, &file, wanted)?,
        DELETE => set.remove(fd, &file)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Waits until there are events, at most `most`, and writes them to `events`; how many.
fn wait(epoll: usize, events: usize, most: usize, patience: Patience) -> SyscallResult {
    let most = usize::try_from(most as i32).map_err(|_| Errno::EINVAL)?;
    if most == 0 || most > i32::MAX as usize / EVENT_BYTES {
        return Err(Errno::EINVAL);
    }
    let outer = Caller::new().file(epoll)?;
    let set = outer.file().downcast_ref::<EventPoll>().ok_or(Errno::EINVAL)?;
    let look = || Some(set.take(most)).filter(|found| !found.is_empty());
    let found = patience.wait(look)?.unwrap_or_default();
    for (index, event) in found.iter().enumerate() {
        let mut bytes = [0; EVENT_BYTES];
        let (told, data) = bytes.split_at_mut(EPOLL_DATA);
        if let (Some(told), Some(data)) = (told.first_chunk_mut(), data.first_chunk_mut()) {
            *told = event.found.events.to_ne_bytes();
            *data = event.found.data.to_ne_bytes();
        }
        if copy_to_user(events.wrapping_add(index * EVENT_BYTES), &bytes).is_err() {
            set.give_back(found.get(index..).unwrap_or(&[]));
            return if index > 0 { Ok(index) } else { Err(Errno::EFAULT) };
        }
    }
    Ok(found.len())
}

/// `epoll_wait(2)`.
pub fn epoll_wait([epoll, events, most, milliseconds, ..]: [usize; 6]) -> SyscallResult {
    epoll_pwait([epoll, events, most, milliseconds, 0, 0])
}

/// `epoll_pwait(2)`: with the signal mask at `mask`, if there is one, while it waits.
pub fn epoll_pwait(
    [epoll, events, most, milliseconds, mask, set_bytes]: [usize; 6],
) -> SyscallResult {
    let patience = Patience::of_milliseconds(milliseconds);
    masked_wait(epoll, events, most, patience, mask, set_bytes)
}

/// `epoll_pwait2(2)`: up to a time in nanoseconds.
pub fn epoll_pwait2([epoll, events, most, time, mask, set_bytes]: [usize; 6]) -> SyscallResult {
    let patience = match time {
        0 => Patience::Forever,
        address => Patience::of(read_timespec(address)?),
    };
    masked_wait(epoll, events, most, patience, mask, set_bytes)
}

fn masked_wait(
    epoll: usize,
    events: usize,
    most: usize,
    patience: Patience,
    mask: usize,
    set_bytes: usize,
) -> SyscallResult {
    let result = with_mask(mask, set_bytes, || wait(epoll, events, most, patience));
    patience.note_if_interrupted(result);
    result
}
