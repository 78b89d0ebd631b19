//! RISC-V 64: a machine with a device tree, firmware that offers SBI, a PLIC and a 16550.
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
pub(in crate::arch) mod irq;
pub(in crate::arch) mod layout;
pub(in crate::arch) mod mask;
mod memory;
pub(in crate::arch) mod mmu;
pub(in crate::arch) mod order;
pub(in crate::arch) mod platform;
mod plic;
pub(in crate::arch) mod power;
pub(in crate::arch) mod protection;
mod sbi;
pub(in crate::arch) mod signal;
pub(in crate::arch) mod smp;
pub(in crate::arch) mod stack;
pub(in crate::arch) mod syscall;
pub(in crate::arch) mod timer;
mod trap;
pub(in crate::arch) mod user;

pub(in crate::arch) use entry::Entry;

use super::device_tree;
pub(in crate::arch) use super::overflow_stack::guard_pages;
use super::traits::BootInfo;

/// The RISC-V machine.
#[derive(Debug)]
pub struct Riscv64;

/// See [`crate::arch::Architecture::NAME`].
pub(in crate::arch) const NAME: &str = "riscv64";
/// EM_RISCV.
pub(in crate::arch) const ELF_MACHINE: u16 = 243;

/// See [`crate::arch::Architecture::init_cpu`].
pub(in crate::arch) fn init_cpu() {
    cpu::init();
    trap::init();
}

/// See [`crate::arch::Architecture::init_paging`].
pub(in crate::arch) fn init_paging(boot: &'static BootInfo) {
    device_tree::init_paging(boot);
    mmu::choose_levels(boot.command_line);
    log::info!("addresses of users: {}", mmu::translation().unwrap_or_default());
}

/// See [`crate::arch::Architecture::init_devices`].
pub(in crate::arch) fn init_devices(boot: &BootInfo) {
    platform::init(boot.device_tree);
    irq::init();
    timer::init();
}
