//! uname, sysinfo, unknown calls, old calls, and how bad pointers are answered.

use super::family;
use crate::calls::{self, make, open};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use lemma_rt::general::{
    __NR_clock_settime, __NR_fstat, __NR_getcwd, __NR_getdents64, __NR_getrandom, __NR_pread64,
    __NR_read, __NR_reboot, __NR_sethostname, __NR_sysinfo, __NR_syslog, __NR_uname, __NR_write,
    __NR_writev, O_RDWR, timespec,
};
use lemma_rt::rustix::system::{sysinfo, uname};
use lemma_rt::{Errno, arch};

family!("system":
    names, information, unknown_calls, bad_buffers, partly_bad_buffers, old_calls, reboot_refused,
    identity, statistics, host_name, kernel_log, clock_kept
);

fn names() -> Outcome {
    let names = uname();
    equal!(names.machine().to_bytes(), arch::NAME.as_bytes());
    check!(!names.sysname().to_bytes().is_empty());
    check!(!names.release().to_bytes().is_empty());
    fails!(calls::raw(__NR_uname as usize, [8, 0, 0, 0, 0, 0]), FAULT);
    fails!(calls::raw(__NR_uname as usize, [usize::MAX - 100, 0, 0, 0, 0, 0]), FAULT);
    Ok(())
}

fn information() -> Outcome {
    let info = sysinfo();
    check!(info.totalram > 0 && info.freeram > 0 && info.freeram <= info.totalram);
    check!(info.procs > 0 && info.mem_unit > 0);
    fails!(calls::raw(__NR_sysinfo as usize, [8, 0, 0, 0, 0, 0]), FAULT);
    Ok(())
}

fn unknown_calls() -> Outcome {
    for number in [5000, 100_000, 1 << 31, usize::MAX >> 1] {
        fails!(calls::raw(number, [0; 6]), NOSYS);
    }
    Ok(())
}

/// Addresses at which no user may read or write. With four levels of tables, the last page below
/// 2^47 is a user's on RISC-V; x86_64 leaves it free, and AArch64's users have as much again.
const BAD: [usize; 6] = [
    0,
    8,
    if cfg!(target_arch = "riscv64") { 1 << 48 } else { 0x7fff_ffff_f000 },
    1 << 47,
    0xffff_8000_0000_0000,
    usize::MAX - 15,
];

fn bad_buffers() -> Outcome {
    ok!(make(c"a", &[1; 100]));
    let fd = ok!(open(c"a", O_RDWR, 0)) as usize;
    let zero = ok!(open(c"/dev/zero", O_RDWR, 0)) as usize;
    let directory = ok!(open(c".", 0, 0)) as usize;
    for address in BAD {
        fails!(calls::raw(__NR_read as usize, [fd, address, 16, 0, 0, 0]), FAULT);
        fails!(calls::raw(__NR_read as usize, [zero, address, 16, 0, 0, 0]), FAULT);
        fails!(calls::raw(__NR_write as usize, [fd, address, 16, 0, 0, 0]), FAULT);
        fails!(calls::raw(__NR_pread64 as usize, [fd, address, 16, 0, 0, 0]), FAULT);
        fails!(calls::raw(__NR_fstat as usize, [fd, address, 0, 0, 0, 0]), FAULT);
        fails!(calls::raw(__NR_getrandom as usize, [address, 16, 0, 0, 0, 0]), FAULT);
        fails!(calls::raw(__NR_getdents64 as usize, [directory, address, 512, 0, 0, 0]), FAULT);
        fails!(calls::raw(__NR_getcwd as usize, [address, 512, 0, 0, 0, 0]), FAULT);
        fails!(calls::raw(__NR_writev as usize, [fd, address, 1, 0, 0, 0]), FAULT);
    }
    equal!(ok!(calls::content(c"a")), [1; 100]);
    Ok(())
}

/// What fits before the memory ends is done.
fn partly_bad_buffers() -> Outcome {
    let memory = ok!(calls::map(8192));
    ok!(calls::munmap(memory + 4096, 4096));
    for offset in 0..4096 {
        calls::poke(memory + offset, 3);
    }
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    // The kernel's own memory is not for sale either way: a partial count or EFAULT.
    let written = calls::raw(__NR_write as usize, [ends[1] as usize, memory + 4000, 200, 0, 0, 0]);
    check!(written == Ok(96) || written == Err(Errno::FAULT), " {written:?}");
    Ok(())
}

fn old_calls() -> Outcome {
    let Some(old) = arch::LEGACY_CALLS else { return Ok(()) };
    let path = |path: &core::ffi::CStr| path.as_ptr() as usize;
    let raw = |number, one, two, three| calls::raw(number, [one, two, three, 0, 0, 0]);
    ok!(raw(old.mkdir, path(c"d"), 0o755, 0));
    let fd = ok!(raw(old.open, path(c"d/a"), 0o102, 0o644));
    equal!(calls::write(fd as i32, b"x"), Ok(1));
    equal!(raw(old.dup2, fd, 60, 0), Ok(60));
    equal!(raw(old.dup2, fd, fd, 0), Ok(fd));
    fails!(raw(old.dup2, 99, 99, 0), BADF);
    let mut stat = calls::no_stat();
    let room = (&raw mut stat) as usize;
    ok!(raw(old.stat, path(c"d/a"), room, 0));
    equal!(stat.st_size, 1);
    ok!(raw(old.lstat, path(c"d/a"), room, 0));
    ok!(raw(old.access, path(c"d/a"), 4, 0));
    ok!(raw(old.rename, path(c"d/a"), path(c"d/b"), 0));
    ok!(calls::symlink(c"b", c"d/s"));
    let mut buffer = [0u8; 8];
    equal!(raw(old.readlink, path(c"d/s"), buffer.as_mut_ptr() as usize, 8), Ok(1));
    ok!(raw(old.unlink, path(c"d/b"), 0, 0));
    ok!(raw(old.unlink, path(c"d/s"), 0, 0));
    ok!(raw(old.rmdir, path(c"d"), 0, 0));
    let mut ends = [0i32; 2];
    ok!(raw(old.pipe, ends.as_mut_ptr() as usize, 0, 0));
    equal!(calls::write(ends[1], b"x"), Ok(1));
    let mut poll = [ends[0] as u32, 1];
    equal!(raw(old.poll, poll.as_mut_ptr() as usize, 1, 0), Ok(1));
    equal!(poll[1], 1 | 1 << 16);
    Ok(())
}

fn reboot_refused() -> Outcome {
    let reboot = |arguments| calls::raw(__NR_reboot as usize, arguments);
    if ok!(calls::geteuid()) != 0 {
        fails!(reboot([0xfee1_dead, 672_274_793, 0, 0, 0, 0]), PERM);
        return Ok(());
    }
    fails!(reboot([1, 2, 3, 4, 0, 0]), INVAL);
    fails!(reboot([0xfee1_dead, 672_274_793, 0x1234_5678, 0, 0, 0]), INVAL);
    Ok(())
}

fn identity() -> Outcome {
    equal!(calls::getuid(), calls::geteuid());
    equal!(calls::getgid(), calls::getegid());
    let mut tid = 0;
    equal!(calls::set_tid_address(&mut tid), Ok(calls::getpid()));
    Ok(())
}

/// What `top` reads.
fn statistics() -> Outcome {
    let text = ok!(calls::content(c"/proc/stat"));
    let text = alloc::string::String::from_utf8_lossy(&text).into_owned();
    let mut lines = text.lines();
    let all = lines.next().unwrap_or_default();
    check!(all.starts_with("cpu  "), "{all}");
    equal!(all.split_whitespace().skip(1).filter_map(|word| word.parse::<u64>().ok()).count(), 10);
    check!(lines.next().is_some_and(|line| line.starts_with("cpu0 ")), "{text}");
    check!(text.lines().any(|line| line.starts_with("procs_running ")), "{text}");
    Ok(())
}

/// To what it is: the machine is not ours.
fn host_name() -> Outcome {
    let set = |address: usize, length: usize| {
        calls::raw(__NR_sethostname as usize, [address, length, 0, 0, 0, 0])
    };
    let before = uname();
    let name = before.nodename().to_bytes();
    match set(name.as_ptr() as usize, name.len()) {
        Err(Errno::PERM) => skip!("this system lets nobody name it"),
        result => ok!(result),
    };
    equal!(uname().nodename().to_bytes(), name);
    fails!(set(name.as_ptr() as usize, 65), INVAL);
    fails!(set(name.as_ptr() as usize, usize::MAX), INVAL);
    fails!(set(8, 5), FAULT);
    let status = ok!(calls::in_child(|| {
        let changed = calls::setuid(1000);
        let refused = set(name.as_ptr() as usize, name.len());
        i32::from(changed.is_err() || refused != Err(Errno::PERM))
    }));
    equal!(status.exited(), Some(0));
    equal!(uname().nodename().to_bytes(), name);
    Ok(())
}

fn kernel_log() -> Outcome {
    const READ_ALL: usize = 3;
    const SIZE: usize = 10;
    let log = |action: usize, room: usize, length: usize| {
        calls::raw(__NR_syslog as usize, [action, room, length, 0, 0, 0])
    };
    let size = match log(SIZE, 0, 0) {
        Err(Errno::PERM) => skip!("this system shows nobody its log"),
        result => ok!(result),
    };
    check!(size >= 4096, " {size}");
    let mut text = alloc::vec![0u8; size];
    let room = text.as_mut_ptr() as usize;
    let length = ok!(log(READ_ALL, room, size));
    check!(length > 0 && length <= size, " {length} of {size}");
    // Lines begin with a level.
    check!(text.starts_with(b"<"), " {:?}", lemma_rt::show(&text[..length.min(80)]));
    // The newest that fit.
    let end = ok!(log(READ_ALL, room, 80));
    check!(end <= 80, " {end}");
    fails!(log(READ_ALL, 0, 80), INVAL);
    fails!(log(READ_ALL, room, usize::MAX), INVAL);
    fails!(log(READ_ALL, 8, size), FAULT);
    fails!(log(99, room, 80), INVAL);
    Ok(())
}

/// Not everybody sets the clock, and nobody to what is no time.
fn clock_kept() -> Outcome {
    const REAL: usize = 0;
    const MONOTONIC: usize = 1;
    let set = |clock: usize, time: &timespec| {
        let time = core::ptr::from_ref(time) as usize;
        calls::raw(__NR_clock_settime as usize, [clock, time, 0, 0, 0, 0])
    };
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    ok!(calls::clock_gettime(REAL as u32, &mut now));
    fails!(set(REAL, &timespec { tv_nsec: 1_000_000_000, ..now }), INVAL);
    fails!(set(REAL, &timespec { tv_sec: -1, ..now }), INVAL);
    fails!(set(MONOTONIC, &now), INVAL);
    fails!(calls::raw(__NR_clock_settime as usize, [REAL, 8, 0, 0, 0, 0]), FAULT);
    let status = ok!(calls::in_child(|| {
        let changed = calls::getuid() != Ok(0) || calls::setuid(1000).is_ok();
        i32::from(!changed || set(REAL, &now) != Err(Errno::PERM))
    }));
    equal!(status.exited(), Some(0));
    Ok(())
}
