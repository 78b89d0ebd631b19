//! AArch64: a machine with a device tree, GICv2 or GICv3, the generic timer and a PL011.
//!
//! One file per noun. The contract ([`Architecture`]) finds what it needs in them
//! (`implementation.rs`).
//!
//! [`Architecture`]: crate::arch::Architecture

mod asm;
mod boot;
pub(in crate::arch) mod bpf;
pub(in crate::arch) mod console;
pub(in crate::arch) mod context;
pub(in crate::arch) mod cpu;
mod entry;
pub(in crate::arch) mod frame;
mod gic;
pub(in crate::arch) mod irq;
pub(in crate::arch) mod layout;
pub(in crate::arch) mod mask;
mod memory;
pub(in crate::arch) mod mmu;
pub(in crate::arch) mod order;
pub(in crate::arch) mod platform;
pub(in crate::arch) mod power;
pub(in crate::arch) mod protection;
pub(in crate::arch) mod signal;
pub(in crate::arch) mod smp;
pub(in crate::arch) mod stack;
pub(in crate::arch) mod syscall;
pub(in crate::arch) mod timer;
mod trap;
pub(in crate::arch) mod user;

pub(in crate::arch) use entry::Entry;

pub(in crate::arch) use super::device_tree::init_paging;
pub(in crate::arch) use super::overflow_stack::guard_pages;
use super::traits::BootInfo;

/// The AArch64 machine.
#[derive(Debug)]
pub struct Aarch64;

/// See [`crate::arch::Architecture::NAME`].
pub(in crate::arch) const NAME: &str = "aarch64";
/// EM_AARCH64.
pub(in crate::arch) const ELF_MACHINE: u16 = 183;

/// See [`crate::arch::Architecture::init_cpu`].
pub(in crate::arch) fn init_cpu() {
    cpu::init();
    trap::init();
}

/// See [`crate::arch::Architecture::init_devices`].
pub(in crate::arch) fn init_devices(boot: &BootInfo) {
    platform::init(boot.device_tree);
    irq::init();
    timer::init();
}
