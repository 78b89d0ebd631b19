//! Files of the whole system: `/proc/meminfo` and the like.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use kernel_vfs::mount;

use super::super::{COMMAND_LINE, VFS, mounting};
use crate::arch::{Arch, Architecture, PAGE_SIZE};
use crate::mcore::context;
use crate::mcore::mtask::exec::CLOCK_TICKS;
use crate::mcore::mtask::family;
use crate::mem::phys;

/// A file in the root of `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SystemFile {
    CommandLine,
    Cpus,
    FileSystems,
    Interrupts,
    LoadAverage,
    Memory,
    Stat,
    Uptime,
    Version,
}

impl SystemFile {
    pub(super) const ALL: &[Self] = &[
        Self::CommandLine,
        Self::Cpus,
        Self::FileSystems,
        Self::Interrupts,
        Self::LoadAverage,
        Self::Memory,
        Self::Stat,
        Self::Uptime,
        Self::Version,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CommandLine => "cmdline",
            Self::Cpus => "cpuinfo",
            Self::FileSystems => "filesystems",
            Self::Interrupts => "interrupts",
            Self::LoadAverage => "loadavg",
            Self::Memory => "meminfo",
            Self::Stat => "stat",
            Self::Uptime => "uptime",
            Self::Version => "version",
        }
    }

    pub(super) fn text(self) -> Vec<u8> {
        match self {
            Self::CommandLine => format!("{}\n", COMMAND_LINE.get().copied().unwrap_or("")),
            Self::Cpus => cpus(),
            Self::FileSystems => file_systems(),
            Self::Interrupts => interrupts(),
            Self::LoadAverage => load_average(),
            Self::Memory => memory(),
            Self::Stat => stat(),
            Self::Uptime => uptime(),
            Self::Version => {
                format!("Lemma version {} ({})\n", env!("CARGO_PKG_VERSION"), Arch::NAME)
            }
        }
        .into_bytes()
    }
}

/// The CPUs that run tasks; of what firmware and registers say of each, how it translates
/// addresses, where Linux tells it.
fn cpus() -> String {
    let translation = Arch::translation();
    let translation = translation.map(|mode| format!("mmu\t\t: {mode}\n")).unwrap_or_default();
    context::cpus().map(|cpu| format!("processor\t: {}\n{translation}\n", cpu.number())).collect()
}

/// How many tasks run or could.
fn running() -> usize {
    context::cpus().map(|cpu| cpu.waiting() + usize::from(cpu.is_busy())).sum()
}

fn file_systems() -> String {
    mounting::kinds()
        .map(|(name, disk)| format!("{}\t{name}\n", if disk { "" } else { "nodev" }))
        .collect()
}

/// How often each CPU was interrupted, and by what, in Linux's columns.
fn interrupts() -> String {
    let mut out = format!("{:11}", "");
    // Writing to a string does not fail.
    for cpu in context::cpus() {
        let _ = write!(out, "CPU{:<8}", cpu.number());
    }
    out.push('\n');
    Arch::interrupts(&mut |name, counts, what| {
        let _ = write!(out, "{:>3}: ", format!("{name}"));
        for cpu in context::cpus() {
            let _ = write!(out, "{:>10} ", counts.of(cpu.number()));
        }
        let _ = writeln!(out, " {what}");
    });
    out
}

fn memory() -> String {
    let statistics = phys::stats();
    let kilobytes = |frames: usize| frames * (PAGE_SIZE / 1024);
    let mounts = mount::mounts(&VFS);
    let cached: u64 = mounts.iter().map(|mount| mount.file_system().memory_use()).sum();
    let mut out = String::new();
    for (name, frames) in [
        ("MemTotal:", statistics.total),
        ("MemFree:", statistics.free),
        ("MemAvailable:", statistics.free.saturating_sub(statistics.reserve)),
        ("Buffers:", 0),
        ("Cached:", cached as usize / PAGE_SIZE),
        ("SwapTotal:", 0),
        ("SwapFree:", 0),
    ] {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name:<16}{:>8} kB", kilobytes(frames));
    }
    out
}

/// The time without work has more digits than Linux gives it: `bench` subtracts it.
fn uptime() -> String {
    const SECOND: u64 = 1_000_000_000;
    let hundredths = Arch::now_ns() / 10_000_000;
    let idle = context::cpus().map(|cpu| cpu.idle_ns()).sum::<u64>();
    let (seconds, rest) = (idle / SECOND, idle % SECOND);
    format!("{}.{:02} {seconds}.{rest:09}\n", hundredths / 100, hundredths % 100)
}

/// How many tasks could run now; averages are not kept.
fn load_average() -> String {
    let tasks = family::task_count();
    let running = running();
    let last = family::list().last().map_or(0, |process| process.pid());
    format!("0.00 0.00 0.00 {running}/{tasks} {last}\n")
}

/// The line of a CPU, or of all, in `/proc/stat`: time with tasks, which counts as the user's, and
/// without, in ticks. What is not told apart is zero.
fn processor_times(name: &str, busy_ns: u64, idle_ns: u64) -> String {
    let ticks = |ns: u64| ns / (1_000_000_000 / CLOCK_TICKS as u64);
    format!("cpu{name} {} 0 0 {} 0 0 0 0 0 0\n", ticks(busy_ns), ticks(idle_ns))
}

fn stat() -> String {
    let now = Arch::now_ns();
    let idle: Vec<u64> = context::cpus().map(|cpu| cpu.idle_ns().min(now)).collect();
    let all_idle: u64 = idle.iter().sum();
    let mut out = processor_times(" ", now * idle.len() as u64 - all_idle, all_idle);
    for (number, idle) in idle.iter().enumerate() {
        out.push_str(&processor_times(&format!("{number}"), now - idle, *idle));
    }
    let boot = Arch::boot_epoch_seconds();
    let switches: u64 = context::cpus().map(|cpu| cpu.switches()).sum();
    let processes = family::count();
    let running = running();
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "ctxt {switches}\nbtime {boot}\nprocesses {processes}\nprocs_running {running}\n\
         procs_blocked 0\n"
    );
    out
}
