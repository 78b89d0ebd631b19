//! Lemma: a kernel whose behaviour is changed while it runs by verified BPF programs.
//!
//! [`init`] is the whole order of start-up on one screen. Dependencies point downward only:
//! `syscall` and `bpf` use `file` and `mcore`, those use `mem`, and `mem` uses `arch`;
//! everything may use the crates under `kernel/crates`, which never use the kernel.
#![no_std]
#![deny(clippy::expect_used)]

extern crate alloc;

pub mod arch;
pub mod driver;
pub mod file;
pub mod log;
pub mod mcore;
pub mod mem;
pub mod panic;
pub mod random;
mod selftest;
pub mod symbols;
pub mod syscall;

use arch::{Arch, Architecture, BootInfo};

/// Starts the kernel.
pub fn init(boot: &'static BootInfo) -> ! {
    Arch::init_cpu();
    log::init(boot.command_line);
    ::log::info!("Lemma {}, started by {}", env!("CARGO_PKG_VERSION"), boot.protocol);
    ::log::info!("command line: {:?}", boot.command_line);
    for region in boot.memory {
        let end = region.start.0 + region.length;
        ::log::debug!("memory: {:#014x}..{end:#014x} {:?}", region.start.0, region.kind);
    }
    mem::init(boot);
    Arch::init_paging(boot);
    Arch::init_devices(boot);
    driver::init();
    selftest::run(boot.command_line);
    Arch::power_off(0)
}
