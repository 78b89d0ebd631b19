//! x86_64: a PC with ACPI, local APIC and a 64-bit CPU.
//!
//! One file per noun. The contract ([`Architecture`]) finds what it needs in them
//! (`implementation.rs`).
//!
//! [`Architecture`]: crate::arch::Architecture

mod acpi;
mod asm;
mod boot;
pub(in crate::arch) mod bpf;
pub(in crate::arch) mod console;
pub(in crate::arch) mod context;
pub(in crate::arch) mod cpu;
mod entry;
mod fp;
pub(in crate::arch) mod frame;
pub(in crate::arch) mod irq;
pub(in crate::arch) mod layout;
pub(in crate::arch) mod mask;
pub(in crate::arch) mod mmu;
pub(in crate::arch) mod order;
pub(in crate::arch) mod platform;
mod port;
pub(in crate::arch) mod power;
pub(in crate::arch) mod protection;
pub(in crate::arch) mod signal;
pub(in crate::arch) mod smp;
pub(in crate::arch) mod stack;
pub(in crate::arch) mod syscall;
pub(in crate::arch) mod timer;
mod trap;
mod tsc_sync;
pub(in crate::arch) mod user;

pub(in crate::arch) use cpu::guard_pages;
pub(in crate::arch) use entry::Entry;

pub(in crate::arch) use super::paging::init as init_paging;
use super::traits::BootInfo;

/// The x86_64 machine.
#[derive(Debug)]
pub struct X86_64;

/// See [`crate::arch::Architecture::NAME`].
pub(in crate::arch) const NAME: &str = "x86_64";
/// EM_X86_64.
pub(in crate::arch) const ELF_MACHINE: u16 = 62;

/// See [`crate::arch::Architecture::init_cpu`].
pub(in crate::arch) fn init_cpu() {
    cpu::init();
    trap::create_idt();
}

/// See [`crate::arch::Architecture::init_devices`].
pub(in crate::arch) fn init_devices(boot: &BootInfo) {
    acpi::init(boot.rsdp);
    irq::init();
    timer::init(boot.command_line);
    smp::init();
}
