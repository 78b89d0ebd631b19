//! The architecture layer: the only code that knows which CPU it is on.
//!
//! [`traits`] is the contract; this file is the one switch, behind which `implementation.rs` finds
//! what keeps the contract under the same names in each machine's folder. Everything above uses
//! [`Arch`] (the type that implements [`Architecture`]) and the neutral types re-exported
//! here, and is the same on every machine. What a machine calls in the kernel above it stands
//! in [`up`].
//!
//! What the machines do alike stands in files beside this one, over what each says of itself in
//! its folder: the kernel's page tables ([`paging`]) and users' ([`table`]), their entries
//! ([`page_entry`]), the parts of the image ([`image`]), instructions that may fault ([`fixup`]),
//! copies by them ([`copy_nofault`]), who called whom ([`call_chain`]), what the boot loader passed
//! ([`boot_info`]), calling further CPUs ([`secondary`]), what one CPU owns ([`per_cpu`]), who
//! handles which interrupt ([`interrupts`]), sets of CPUs ([`cpu_set`]), signal frames as bytes
//! ([`signal_bytes`]), and the test of what protects the kernel ([`protection`]).
//!
//! Machines with a device tree share how it is read ([`device_tree`]), where their flat image is
//! ([`flat_image`]), which copy is for which side of the user's border ([`copy_by_side`]), a stack
//! for the report of an overflow ([`overflow_stack`]), how QEMU is told of the end
//! ([`semihosting`]), and how a counter's ticks become time ([`ticks`]); a serial port that several
//! have is in [`ns16550`].

mod boot_info;
mod call_chain;
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod copy_by_side;
mod copy_nofault;
pub mod cpu_set;
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod device_tree;
mod fixup;
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod flat_image;
mod image;
mod implementation;
mod interrupts;
#[cfg(any(target_arch = "x86_64", target_arch = "riscv64"))]
mod ns16550;
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod overflow_stack;
mod page_entry;
mod paging;
mod per_cpu;
mod protection;
mod secondary;
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod semihosting;
mod signal_bytes;
mod table;
mod ticks;
mod traits;
mod up;

pub use traits::{
    Architecture, BootInfo, CacheMode, Counts, CpuSet, CpuStart, EachInterrupt, FaultAccess,
    Framebuffer, IrqError, IrqHandler, IrqLine, MAX_CPUS, MapError, Mapping, MemoryKind,
    MemoryRegion, MessageInterrupt, PAGE_SIZE, PageTable, PciHost, PciWindow, PhysAddr, Protection,
    RamDisk, SIGNAL_INFO_WORDS, SignalCall, SignalStack, TrapFrame, UserFault, VirtioRegisters,
};

pub use abi::numbers;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "aarch64")]
use aarch64 as machine;
#[cfg(target_arch = "aarch64")]
pub use aarch64::Aarch64 as Arch;
#[cfg(target_arch = "aarch64")]
pub use kernel_abi::machine::aarch64 as abi;
#[cfg(target_arch = "riscv64")]
pub use kernel_abi::machine::riscv64 as abi;
#[cfg(target_arch = "riscv64")]
use riscv64 as machine;
#[cfg(target_arch = "riscv64")]
pub use riscv64::Riscv64 as Arch;

/// What this machine's Linux lays out and numbers in its own way.
#[cfg(target_arch = "x86_64")]
pub use kernel_abi::machine::x86_64 as abi;
/// What the shared parts of this layer find in each machine's folder.
#[cfg(target_arch = "x86_64")]
use x86_64 as machine;
#[cfg(target_arch = "x86_64")]
pub use x86_64::X86_64 as Arch;
