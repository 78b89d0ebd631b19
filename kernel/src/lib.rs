//! Lemma: a kernel whose behaviour is changed while it runs by verified BPF programs.
//!
//! [`init`] is the whole order of start-up on one screen. Dependencies point downward only:
//! `syscall` and `bpf` use `file` and `mcore`, those use `mem`, and `mem` uses `arch`;
//! everything may use the crates under `kernel/crates`, which never use the kernel.
#![no_std]
#![deny(clippy::expect_used)]

extern crate alloc;

pub mod arch;
pub mod bpf;
pub mod command_line;
pub mod driver;
pub mod file;
pub mod log;
pub mod mcore;
pub mod mem;
pub mod panic;
pub mod random;
mod selftest;
mod start;
pub mod symbols;
pub mod syscall;

use arch::{Arch, Architecture, BootInfo};
use command_line::CommandLine;

/// Starts the kernel: each step needs those above it. Ends as the boot CPU's idle loop; user
/// space is started by a thread of its own, because the disk has to be waited for.
pub fn init(boot: &'static BootInfo) -> ! {
    Arch::init_cpu();
    log::init(boot.command_line);
    let command_line = CommandLine::install(boot.command_line);
    ::log::info!("Lemma {}, started by {}", env!("CARGO_PKG_VERSION"), boot.protocol);
    ::log::info!("command line: {:?}", boot.command_line);
    for region in boot.memory {
        let end = region.start.0 + region.length;
        ::log::debug!("memory: {:#014x}..{end:#014x} {:?}", region.start.0, region.kind);
    }
    mem::init(boot, command_line.compiles_programs());
    Arch::init_paging(boot);
    Arch::init_devices(boot);
    mcore::init();
    mcore::start_other_cpus();
    driver::init(boot);
    random::init();
    selftest::run(boot.command_line);
    bpf::init();
    file::init(boot.command_line);
    if mcore::spawn_kernel_thread("start", start::user_space).is_err() {
        ::log::error!("no memory for the first thread");
        Arch::abort();
    }
    mcore::idle()
}
