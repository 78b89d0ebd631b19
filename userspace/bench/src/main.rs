//! What kernel operations cost, seen from a program that uses only system calls.
//!
//! `bench [-s PERCENT] [--dir DIRECTORY] [--disk|--no-disk] [ROW...]` prints a line `name value
//! unit` for each row whose name begins with one of the words; lines with `#` are remarks. The unit
//! `t/op` is ticks of the clock counter for one operation, the best of a few batches; under QEMU's
//! `-icount shift=0` a tick is an instruction. `--dir` says where the rows `file_*` find their file
//! `data` and make new ones; `/mnt` if it is not given. `--disk` measures these rows only, and
//! `--no-disk` all others: when a disk answers depends on the host, and what is measured after that
//! finds the clock and the memory as they happen to be.
//!
//! | file | rows |
//! |---|---|
//! | `measure` | how it is measured |
//! | `basic` | calls, files in memory |
//! | `memory`, `processes`, `threads` | mappings and faults; fork, pipes, yielding; futexes, signals |
//! | `programs` | `bpf(2)`, and programs at system-call entry |
//! | `disk` | a file on a disk |
//!
//! As the first process of a system (`init=/bin/bench`) it gives the rows that only that sees:
//! `boot_to_init`, the clock without what the kernel spent waiting for the disk (so it depends
//! on the counter being in nanoseconds, as it is under QEMU's `-icount`), and
//! `memory_free_at_init`.
#![no_std]
#![no_main]

extern crate alloc;

mod basic;
mod disk;
mod measure;
mod memory;
mod processes;
mod programs;
mod threads;

use alloc::format;
use alloc::vec::Vec;
use lemma_rt::Errno;
use lemma_rt::general::LINUX_REBOOT_CMD_POWER_OFF;
use lemma_rt::io::read_file;
use lemma_rt::rustix::fd::IntoRawFd;
use lemma_rt::rustix::fs::{Mode, OFlags, open};
use lemma_rt::rustix::mount::{MountFlags, mount};
use lemma_rt::rustix::process::getpid;
use lemma_rt::rustix::system::sysinfo;
use lemma_rt::{arch, arguments, eprintln, show, sys};
use measure::Bench;

lemma_rt::entry!(main);

fn main() -> i32 {
    let first = getpid().as_raw_nonzero().get() == 1;
    if first {
        open_console();
    }
    let mut bench = Bench::new();
    let words: Vec<&[u8]> = arguments().skip(1).collect();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            b"-s" => match words.next().and_then(|word| show(word).parse().ok()) {
                Some(percent) => bench.scale = percent,
                None => return usage(),
            },
            b"--dir" => match words.next() {
                Some(directory) => bench.directory = show(directory),
                None => return usage(),
            },
            b"--disk" => (bench.on_disk, bench.elsewhere) = (true, false),
            b"--no-disk" => (bench.on_disk, bench.elsewhere) = (false, true),
            option if option.starts_with(b"-") => return usage(),
            name => bench.wanted.push(show(name)),
        }
    }
    if first {
        if bench.wants("boot_to_init") {
            match idle_nanoseconds() {
                Some(idle) => bench.report("boot_to_init", (arch::counter() - idle) * 100, "ticks"),
                None => bench.failed("boot_to_init", Errno::NOENT),
            }
        }
        if bench.wants("memory_free_at_init") {
            let info = sysinfo();
            let free = info.freeram as u64 * u64::from(info.mem_unit);
            bench.report("memory_free_at_init", free * 100, "bytes");
        }
    }
    if bench.elsewhere {
        basic::run(&bench);
        memory::run(&bench);
        processes::run(&bench);
        threads::run(&bench);
        programs::run(&bench);
    }
    if bench.on_disk {
        disk::run(&bench);
    }
    if first {
        sys::reboot(LINUX_REBOOT_CMD_POWER_OFF, 0);
    }
    0
}

fn usage() -> i32 {
    eprintln!("usage: bench [-s PERCENT] [--dir DIRECTORY] [--disk|--no-disk] [ROW...]");
    2
}

/// How long the CPU had nothing to do, from the second number in `/proc/uptime`.
fn idle_nanoseconds() -> Option<u64> {
    let text = read_file("/proc/uptime").ok()?;
    let (seconds, fraction) =
        core::str::from_utf8(&text).ok()?.split_whitespace().nth(1)?.split_once('.')?;
    let fraction = format!("{fraction:0<9}");
    Some(seconds.parse::<u64>().ok()? * 1_000_000_000 + fraction.parse::<u64>().ok()?)
}

/// In the place of init, nothing is open and nothing mounted.
fn open_console() {
    for (kind, place) in [("devtmpfs", "/dev"), ("tmpfs", "/tmp"), ("proc", "/proc")] {
        // Mounted already, or the root has what is needed.
        let _ = mount("none", place, kind, MountFlags::empty(), None::<&core::ffi::CStr>);
    }
    // SAFETY: asks for the flags of a descriptor.
    let open_already = unsafe { lemma_rt::syscall!(lemma_rt::general::__NR_fcntl, 1, 1) }.is_ok();
    if !open_already {
        for _ in 0..3 {
            if let Ok(fd) = open("/dev/console", OFlags::RDWR, Mode::empty()) {
                // The lowest free number; it stays open for ever.
                let _ = IntoRawFd::into_raw_fd(fd);
            }
        }
    }
}
