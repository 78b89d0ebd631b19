//! Clocks and sleeping: `clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time
//! times`.

use kernel_abi::Errno;

use super::SyscallResult;
use crate::arch::{Arch, Architecture};
use crate::mcore::mtask::exec::CLOCK_TICKS;
use crate::mcore::{current, now_ns, sleep_until};
use crate::mem::user::{UserPtr, read_user, write_user};

const SECOND: u64 = 1_000_000_000;

const REALTIME: usize = 0;
const MONOTONIC: usize = 1;
const PROCESS_CPUTIME: usize = 2;
const THREAD_CPUTIME: usize = 3;
const MONOTONIC_RAW: usize = 4;
const REALTIME_COARSE: usize = 5;
const MONOTONIC_COARSE: usize = 6;
const BOOTTIME: usize = 7;
const TAI: usize = 11;

/// Nanoseconds since 1970-01-01 UTC.
pub fn wall_clock_ns() -> u64 {
    (Arch::boot_epoch_seconds() * SECOND).saturating_add(now_ns())
}

/// Nanoseconds that the running task has been on a CPU.
pub fn thread_ns() -> u64 {
    current().run_ns()
}

/// Nanoseconds that the running process has been on CPUs.
pub fn process_ns() -> u64 {
    current().process().run_ns()
}

fn read_clock(clock: usize) -> Result<u64, Errno> {
    match clock {
        REALTIME | REALTIME_COARSE | TAI => Ok(wall_clock_ns()),
        MONOTONIC | MONOTONIC_RAW | MONOTONIC_COARSE | BOOTTIME => Ok(now_ns()),
        PROCESS_CPUTIME => Ok(process_ns()),
        THREAD_CPUTIME => Ok(thread_ns()),
        _ => Err(Errno::EINVAL),
    }
}

/// A time as `struct timespec`.
pub fn to_timespec(ns: u64) -> [u64; 2] {
    [ns / SECOND, ns % SECOND]
}

/// Reads a `struct timespec` that names a length of time or a point in it, in nanoseconds.
pub fn read_timespec(address: usize) -> Result<u64, Errno> {
    let [seconds, nanoseconds] = read_user::<[i64; 2]>(address)?;
    let seconds = u64::try_from(seconds).map_err(|_| Errno::EINVAL)?;
    let nanoseconds = u64::try_from(nanoseconds).map_err(|_| Errno::EINVAL)?;
    if nanoseconds >= SECOND {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(SECOND).saturating_add(nanoseconds))
}

/// A deadline on the scale of `now_ns` for a point of time on `clock`.
pub fn deadline_of(clock_is_real: bool, point: u64) -> u64 {
    if clock_is_real { point.saturating_sub(Arch::boot_epoch_seconds() * SECOND) } else { point }
}

/// `clock_gettime(2)`.
pub fn clock_gettime([clock, to, ..]: [usize; 6]) -> SyscallResult {
    let ns = read_clock(clock)?;
    write_user(to, to_timespec(ns))?;
    Ok(0)
}

/// `clock_getres(2)`.
pub fn clock_getres([clock, to, ..]: [usize; 6]) -> SyscallResult {
    read_clock(clock)?;
    if to != 0 {
        write_user(to, to_timespec(1))?;
    }
    Ok(0)
}

/// `clock_settime(2)`: the clock is the machine's and is not set.
pub fn clock_settime([clock, from, ..]: [usize; 6]) -> SyscallResult {
    read_timespec(from)?;
    if clock == REALTIME { Err(Errno::EPERM) } else { Err(Errno::EINVAL) }
}

/// `gettimeofday(2)`.
pub fn gettimeofday([to, zone, ..]: [usize; 6]) -> SyscallResult {
    if to != 0 {
        let ns = wall_clock_ns();
        write_user(to, [ns / SECOND, ns % SECOND / 1000])?;
    }
    if zone != 0 {
        // Minutes west, daylight saving: UTC.
        write_user(zone, [0u32; 2])?;
    }
    Ok(0)
}

/// `time(2)`.
pub fn time([to, ..]: [usize; 6]) -> SyscallResult {
    let seconds = wall_clock_ns() / SECOND;
    if to != 0 {
        UserPtr::<u64>::new(to).write(seconds)?;
    }
    Ok(seconds as usize)
}

/// `times(2)`. All of a task's time counts as user time.
pub fn times([to, ..]: [usize; 6]) -> SyscallResult {
    let ticks = |ns: u64| ns / (SECOND / CLOCK_TICKS as u64);
    if to != 0 {
        let children = current().process().children_ns();
        write_user(to, [ticks(process_ns()), 0, ticks(children), 0])?;
    }
    Ok(ticks(now_ns()) as usize)
}

/// `nanosleep(2)`.
pub fn nanosleep([request, remaining, ..]: [usize; 6]) -> SyscallResult {
    let length = read_timespec(request)?;
    sleep_for(length, remaining)
}

/// `clock_nanosleep(2)`.
pub fn clock_nanosleep([clock, flags, request, remaining, ..]: [usize; 6]) -> SyscallResult {
    const ABSOLUTE: usize = 1;
    match clock {
        REALTIME | MONOTONIC | BOOTTIME | TAI => {}
        PROCESS_CPUTIME => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    }
    let point = read_timespec(request)?;
    if flags & ABSOLUTE != 0 {
        sleep_until(deadline_of(matches!(clock, REALTIME | TAI), point))?;
        Ok(0)
    } else {
        sleep_for(point, remaining)
    }
}

/// Sleeps so many nanoseconds; tells what is left of them if a signal comes first.
fn sleep_for(length: u64, remaining: usize) -> SyscallResult {
    let deadline = current().wait_deadline(length);
    let slept = sleep_until(deadline);
    if slept.is_err() {
        current().note_interrupted_wait(deadline);
        if remaining != 0 {
            write_user(remaining, to_timespec(deadline.saturating_sub(now_ns())))?;
        }
    }
    slept?;
    Ok(0)
}
