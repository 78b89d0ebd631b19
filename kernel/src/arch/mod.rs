//! The architecture layer: the only code that knows which CPU it is on.
//!
//! [`traits`] is the contract; this file is the one switch. Everything above uses
//! [`Arch`] (the type that implements [`Architecture`]) and the neutral types re-exported
//! here, and is the same on every machine. What a machine calls in the kernel above it stands
//! in [`up`].
//!
//! What the machines do alike stands in files beside this one, over what each says of itself in
//! its folder: the kernel's page tables ([`paging`]) and users' ([`table`]), the parts of the
//! image ([`image`]), instructions that may fault ([`fixup`]), who called whom ([`call_chain`]),
//! what the boot loader passed ([`boot_info`]), calling further CPUs ([`secondary`]).

mod boot_info;
mod call_chain;
pub mod cpu_set;
mod fixup;
mod image;
mod paging;
mod secondary;
mod table;
mod traits;
mod up;

pub use traits::{
    Architecture, BootInfo, CacheMode, CpuSet, CpuStart, FaultAccess, Framebuffer, IrqError,
    IrqHandler, IrqLine, MAX_CPUS, MapError, Mapping, MemoryKind, MemoryRegion, MessageInterrupt,
    PAGE_SIZE, PageTable, PciHost, PciWindow, PhysAddr, Protection, RamDisk, SignalCall,
    SignalStack, TrapFrame, UserFault, VirtioRegisters,
};

pub use abi::numbers;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "aarch64")]
use aarch64 as machine;
#[cfg(target_arch = "aarch64")]
pub use aarch64::Aarch64 as Arch;
#[cfg(target_arch = "aarch64")]
pub use kernel_abi::machine::aarch64 as abi;

/// What this machine's Linux lays out and numbers in its own way.
#[cfg(target_arch = "x86_64")]
pub use kernel_abi::machine::x86_64 as abi;
/// What the shared parts of this layer find in each machine's folder.
#[cfg(target_arch = "x86_64")]
use x86_64 as machine;
#[cfg(target_arch = "x86_64")]
pub use x86_64::X86_64 as Arch;
