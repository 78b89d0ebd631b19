//! Advisory locks: `flock`, and `fcntl` on ranges, of processes and of descriptions.

use super::family;
use super::proc::sleeps;
use crate::calls::{self, close, dup, fcntl, in_child, make, open};
use crate::check::{Outcome, check, equal, fails, ok};
use alloc::format;
use lemma_rt::general::{
    __NR_flock, F_GETLK, F_OFD_SETLK, F_SETLK, F_SETLKW, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN,
    O_RDONLY, O_RDWR, O_WRONLY,
};
use lemma_rt::{Errno, sys};

family!("locks":
    of_descriptions, whole_waits, ranges, range_told, close_releases, end_releases, range_waits,
    description_ranges, errors
);

fn flock(fd: i32, operation: u32) -> Result<usize, Errno> {
    calls::raw(__NR_flock as usize, [fd as usize, operation as usize, 0, 0, 0, 0])
}

const SHARED: u64 = 0;
const EXCLUSIVE: u64 = 1;
const NONE: u64 = 2;

/// A `struct flock` from the start of the file: type, start, length.
fn range(kind: u64, start: u64, length: u64) -> [u64; 4] {
    [kind, start, length, 0]
}

fn set(fd: i32, command: u32, mut lock: [u64; 4]) -> Result<i32, Errno> {
    fcntl(fd, command, lock.as_mut_ptr() as usize)
}

/// What another process finds in the way of a lock: type, start, length, holder.
fn found(fd: i32, lock: [u64; 4]) -> Result<[u64; 4], Errno> {
    let shared = calls::map_shared(4096)?;
    // SAFETY: mapped above, page-aligned, for as long as this process lives.
    let place = unsafe { &mut *(shared as *mut [u64; 4]) };
    *place = lock;
    let status = in_child(|| i32::from(fcntl(fd, F_GETLK, shared).is_err()))?;
    // SAFETY: as above; the child and the kernel have written to it.
    let told = unsafe { (shared as *const [u64; 4]).read_volatile() };
    calls::munmap(shared, 4096)?;
    if status.exited() == Some(0) { Ok(told) } else { Err(Errno::CHILD) }
}

/// Whether another process could lock.
fn free(fd: i32, lock: [u64; 4]) -> Result<bool, Errno> {
    let status = in_child(|| match set(fd, F_SETLK, lock) {
        Ok(_) => 0,
        Err(Errno::AGAIN | Errno::ACCESS) => 1,
        Err(_) => 2,
    })?;
    match status.exited() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(Errno::CHILD),
    }
}

fn of_descriptions() -> Outcome {
    ok!(make(c"a", b"x"));
    let (one, two) = (ok!(open(c"a", O_RDWR, 0)), ok!(open(c"a", O_RDONLY, 0)));
    ok!(flock(one, LOCK_SH));
    ok!(flock(two, LOCK_SH));
    fails!(flock(one, LOCK_EX | LOCK_NB), AGAIN);
    ok!(flock(two, LOCK_UN));
    ok!(flock(one, LOCK_EX | LOCK_NB));
    fails!(flock(two, LOCK_SH | LOCK_NB), AGAIN);
    // A duplicate, also in a child, is the same description: it is its lock, too.
    let same = ok!(dup(one));
    ok!(flock(same, LOCK_EX | LOCK_NB));
    let status = ok!(in_child(|| i32::from(flock(one, LOCK_SH | LOCK_NB).is_err())));
    equal!(status.exited(), Some(0));
    ok!(flock(one, LOCK_EX));
    ok!(close(one));
    fails!(flock(two, LOCK_SH | LOCK_NB), AGAIN);
    ok!(close(same));
    ok!(flock(two, LOCK_EX | LOCK_NB));
    Ok(())
}

fn whole_waits() -> Outcome {
    ok!(make(c"a", b"x"));
    let fd = ok!(open(c"a", O_RDWR, 0));
    ok!(flock(fd, LOCK_EX));
    let child = match ok!(sys::fork()) {
        Some(pid) => pid,
        None => {
            let done = open(c"a", O_RDWR, 0).and_then(|own| flock(own, LOCK_EX));
            sys::exit(i32::from(done.is_err()));
        }
    };
    calls::pause_for(20);
    ok!(flock(fd, LOCK_UN));
    equal!(ok!(sys::wait_for(child)).exited(), Some(0));
    Ok(())
}

fn ranges() -> Outcome {
    ok!(make(c"a", b"0123456789"));
    let fd = ok!(open(c"a", O_RDWR, 0));
    ok!(set(fd, F_SETLK, range(EXCLUSIVE, 2, 4)));
    equal!(free(fd, range(SHARED, 0, 2)), Ok(true));
    equal!(free(fd, range(SHARED, 5, 1)), Ok(false));
    equal!(free(fd, range(SHARED, 6, 0)), Ok(true));
    equal!(free(fd, range(EXCLUSIVE, 0, 0)), Ok(false));
    // One's own locks are never in the way; the middle becomes free.
    ok!(set(fd, F_SETLK, range(SHARED, 0, 0)));
    ok!(set(fd, F_SETLK, range(NONE, 3, 2)));
    equal!(free(fd, range(SHARED, 0, 0)), Ok(true));
    equal!(free(fd, range(EXCLUSIVE, 3, 2)), Ok(true));
    equal!(free(fd, range(EXCLUSIVE, 2, 2)), Ok(false));
    Ok(())
}

fn range_told() -> Outcome {
    ok!(make(c"a", b"0123456789"));
    let fd = ok!(open(c"a", O_RDWR, 0));
    ok!(set(fd, F_SETLK, range(EXCLUSIVE, 7, 0)));
    ok!(set(fd, F_SETLK, range(SHARED, 2, 3)));
    let me = calls::getpid() as u64;
    equal!(found(fd, range(EXCLUSIVE, 0, 0)), Ok([SHARED, 2, 3, me]));
    equal!(found(fd, range(SHARED, 0, 0)), Ok([EXCLUSIVE, 7, 0, me]));
    let [kind, ..] = ok!(found(fd, range(EXCLUSIVE, 0, 2)));
    equal!(kind & 0xffff, NONE);
    Ok(())
}

fn close_releases() -> Outcome {
    ok!(make(c"a", b"x"));
    let (one, two) = (ok!(open(c"a", O_RDWR, 0)), ok!(open(c"a", O_RDONLY, 0)));
    ok!(set(one, F_SETLK, range(EXCLUSIVE, 0, 0)));
    equal!(free(one, range(SHARED, 0, 0)), Ok(false));
    // Any descriptor of the file will do.
    ok!(close(two));
    equal!(free(one, range(SHARED, 0, 0)), Ok(true));
    Ok(())
}

fn end_releases() -> Outcome {
    ok!(make(c"a", b"x"));
    let fd = ok!(open(c"a", O_RDWR, 0));
    let status = ok!(in_child(|| i32::from(set(fd, F_SETLK, range(EXCLUSIVE, 0, 0)).is_err())));
    equal!(status.exited(), Some(0));
    ok!(set(fd, F_SETLK, range(EXCLUSIVE, 0, 0)));
    Ok(())
}

fn range_waits() -> Outcome {
    ok!(make(c"a", b"x"));
    let fd = ok!(open(c"a", O_RDWR, 0));
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    let (parent, mut refused) = (calls::getpid(), [0; 2]);
    ok!(calls::pipe2(&mut refused, 0));
    let child = match ok!(sys::fork()) {
        Some(pid) => pid,
        None => {
            let _ = close(refused[1]);
            let locked = set(fd, F_SETLK, range(EXCLUSIVE, 0, 0));
            let _ = calls::write(ends[1], b"x");
            let told = calls::read(refused[0], &mut [0]);
            let waits = sleeps(&format!("{parent}"));
            // The end releases it.
            sys::exit(i32::from(locked.is_err() || told != Ok(1) || waits.is_err()));
        }
    };
    equal!(calls::read(ends[0], &mut [0]), Ok(1));
    fails!(set(fd, F_SETLK, range(SHARED, 0, 0)), AGAIN);
    equal!(calls::write(refused[1], b"x"), Ok(1));
    ok!(set(fd, F_SETLKW, range(SHARED, 0, 0)));
    equal!(ok!(sys::wait_for(child)).exited(), Some(0));
    Ok(())
}

fn description_ranges() -> Outcome {
    ok!(make(c"a", b"x"));
    let (one, two) = (ok!(open(c"a", O_RDWR, 0)), ok!(open(c"a", O_RDWR, 0)));
    ok!(set(one, F_OFD_SETLK, range(EXCLUSIVE, 0, 5)));
    fails!(set(two, F_OFD_SETLK, range(EXCLUSIVE, 4, 5)), AGAIN);
    fails!(set(one, F_SETLK, range(SHARED, 0, 1)), AGAIN);
    ok!(set(two, F_OFD_SETLK, range(EXCLUSIVE, 5, 5)));
    let third = ok!(open(c"a", O_RDWR, 0));
    ok!(close(third));
    fails!(set(two, F_OFD_SETLK, range(EXCLUSIVE, 4, 5)), AGAIN);
    ok!(close(one));
    ok!(set(two, F_OFD_SETLK, range(EXCLUSIVE, 0, 5)));
    Ok(())
}

fn errors() -> Outcome {
    ok!(make(c"a", b"x"));
    let (reads, writes) = (ok!(open(c"a", O_RDONLY, 0)), ok!(open(c"a", O_WRONLY, 0)));
    fails!(set(reads, F_SETLK, range(EXCLUSIVE, 0, 0)), BADF);
    fails!(set(writes, F_SETLK, range(SHARED, 0, 0)), BADF);
    fails!(set(reads, F_SETLK, range(7, 0, 0)), INVAL);
    fails!(set(reads, F_SETLK, range(SHARED | 9 << 16, 0, 0)), INVAL);
    fails!(set(reads, F_SETLK, range(SHARED, 0, -1i64 as u64)), INVAL);
    fails!(set(reads, F_SETLK, range(SHARED, i64::MAX as u64, 5)), OVERFLOW);
    fails!(fcntl(reads, F_SETLK, 1), FAULT);
    fails!(flock(reads, 0), INVAL);
    fails!(flock(99, LOCK_EX), BADF);
    // The bytes before the end.
    ok!(set(reads, F_SETLK, range(SHARED | 2 << 16, 0, -1i64 as u64)));
    check!(!ok!(free(writes, range(EXCLUSIVE, 0, 1))));
    equal!(free(writes, range(EXCLUSIVE, 1, 0)), Ok(true));
    Ok(())
}
