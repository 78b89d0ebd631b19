//! Interval timers: `alarm getitimer setitimer`. Only real time is counted: `ITIMER_VIRTUAL` and
//! `ITIMER_PROF` are refused.

use kernel_abi::Errno;

use super::SyscallResult;
use crate::mcore::current;
use crate::mcore::mtask::interval::{self, TimerValue};
use crate::mem::user::{read_user, write_user};

const SECOND: u64 = 1_000_000_000;
const MICROSECOND: u64 = 1000;
/// `ITIMER_REAL`.
const REAL: usize = 0;

fn check(which: usize) -> Result<(), Errno> {
    if which == REAL { Ok(()) } else { Err(Errno::EINVAL) }
}

/// A `struct timeval` in nanoseconds.
fn nanoseconds([seconds, microseconds]: [i64; 2]) -> Result<u64, Errno> {
    let seconds = u64::try_from(seconds).map_err(|_| Errno::EINVAL)?;
    let microseconds = u64::try_from(microseconds).map_err(|_| Errno::EINVAL)?;
    if microseconds >= 1_000_000 {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(SECOND).saturating_add(microseconds * MICROSECOND))
}

/// The value as `struct itimerval`: period, then what is left; what is set is not zero.
fn words(value: TimerValue) -> [u64; 4] {
    let timeval = |ns: u64| [ns / SECOND, ns % SECOND / MICROSECOND];
    let [period, microseconds] = timeval(value.period);
    let [left, rest] = timeval(if value.left == 0 { 0 } else { value.left.max(MICROSECOND) });
    [period, microseconds, left, rest]
}

/// `alarm(2)`: seconds, rounded to the nearest, and not to zero.
pub fn alarm([seconds, ..]: [usize; 6]) -> SyscallResult {
    let left = u64::from(seconds as u32) * SECOND;
    let old = interval::set(current().process(), TimerValue { left, period: 0 })?;
    let rounded = old.left.saturating_add(SECOND / 2) / SECOND;
    Ok(if old.left == 0 { 0 } else { rounded.max(1) } as usize)
}

/// `getitimer(2)`.
pub fn getitimer([which, to, ..]: [usize; 6]) -> SyscallResult {
    check(which)?;
    write_user(to, words(interval::get(current().process())))?;
    Ok(0)
}

/// `setitimer(2)`. Without a new value it ends the timer, as on Linux.
pub fn setitimer([which, new, old, ..]: [usize; 6]) -> SyscallResult {
    check(which)?;
    let value = if new == 0 {
        TimerValue::default()
    } else {
        let [period, microseconds, left, rest] = read_user::<[i64; 4]>(new)?;
        TimerValue {
            period: nanoseconds([period, microseconds])?,
            left: nanoseconds([left, rest])?,
        }
    };
    let before = interval::set(current().process(), value)?;
    if old != 0 {
        write_user(old, words(before))?;
    }
    Ok(0)
}
