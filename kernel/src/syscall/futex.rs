//! `futex(2)`: waiting for a word to change.

use kernel_abi::Errno;

use super::SyscallResult;
use super::time::{deadline_of, read_timespec};
use crate::mcore::current;
use crate::mcore::mtask::futex::{FutexError, Key, requeue, wait, wake};
use crate::mem::user::read_user;

const WAIT: usize = 0;
const WAKE: usize = 1;
const REQUEUE: usize = 3;
const CMP_REQUEUE: usize = 4;
const WAIT_BITSET: usize = 9;
const WAKE_BITSET: usize = 10;

const PRIVATE: usize = 128;
const CLOCK_REALTIME: usize = 256;

const ALL_BITS: u32 = u32::MAX;

/// `futex(2)`. Operations on priority-inheriting futexes and `WAKE_OP` are not implemented:
/// `ENOSYS`.
pub fn futex([address, operation, value, timeout, second, third]: [usize; 6]) -> SyscallResult {
    let operation = operation as u32 as usize;
    let private = operation & PRIVATE != 0;
    let real = operation & CLOCK_REALTIME != 0;
    let command = operation & !(PRIVATE | CLOCK_REALTIME);
    if real && command != WAIT_BITSET {
        return Err(Errno::ENOSYS);
    }
    let count = |value: usize| usize::try_from(value as i32).map_err(|_| Errno::EINVAL);
    match command {
        WAIT => {
            let deadline = if timeout == 0 {
                None
            } else {
                Some(current().wait_deadline(read_timespec(timeout)?))
            };
            wait_noting(address, private, value as u32, ALL_BITS, deadline)
        }
        WAIT_BITSET => {
            if third as u32 == 0 {
                return Err(Errno::EINVAL);
            }
            let deadline = if timeout == 0 {
                None
            } else {
                let deadline = deadline_of(real, read_timespec(timeout)?);
                Some(current().wait_until_deadline(deadline))
            };
            wait_noting(address, private, value as u32, third as u32, deadline)
        }
        // Linux wakes one for a count of zero or less.
        WAKE => {
            Ok(wake(&Key::of_user(address, private)?, ALL_BITS, (value as i32).max(1) as usize))
        }
        WAKE_BITSET => {
            if third as u32 == 0 {
                return Err(Errno::EINVAL);
            }
            let key = Key::of_user(address, private)?;
            Ok(wake(&key, third as u32, (value as i32).max(1) as usize))
        }
        REQUEUE | CMP_REQUEUE => {
            let (to_wake, to_move) = (count(value)?, count(timeout)?);
            let from = Key::of_user(address, private)?;
            let to = Key::of_user(second, private)?;
            if command == CMP_REQUEUE && read_user::<u32>(address)? != third as u32 {
                return Err(Errno::EAGAIN);
            }
            let woken = wake(&from, ALL_BITS, to_wake);
            let moved = requeue(&from, &to, to_move);
            // Of both commands, though `futex(2)` says otherwise (Linux, `futex_requeue`).
            Ok(woken + moved)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// Waits; if a signal ends that, notes until when it would have lasted.
fn wait_noting(
    address: usize,
    private: bool,
    expected: u32,
    bits: u32,
    deadline: Option<u64>,
) -> SyscallResult {
    let result = wait(address, private, expected, bits, deadline);
    if let (Err(FutexError::Interrupted), Some(deadline)) = (result, deadline) {
        current().note_interrupted_wait(deadline);
    }
    result?;
    Ok(0)
}
