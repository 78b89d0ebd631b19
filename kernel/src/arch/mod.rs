//! The architecture layer: the only code that knows which CPU it is on.
//!
//! [`traits`] is the contract; this file is the one switch. Everything above uses
//! [`Arch`] (the type that implements [`Architecture`]) and the neutral types re-exported
//! here, and is the same on every machine. What a machine calls in the kernel above it stands
//! in [`up`].

mod traits;
mod up;

pub use traits::{
    Architecture, BootInfo, CacheMode, FaultAccess, IrqError, IrqHandler, IrqLine, MapError,
    Mapping, MemoryKind, MemoryRegion, MessageInterrupt, PAGE_SIZE, PageTable, PciHost, PhysAddr,
    Protection, SignalCall, SignalStack, TrapFrame, UserFault,
};

pub use abi::numbers;

#[cfg(target_arch = "x86_64")]
mod x86_64;
/// What this machine's Linux lays out and numbers in its own way.
#[cfg(target_arch = "x86_64")]
pub use kernel_abi::machine::x86_64 as abi;
#[cfg(target_arch = "x86_64")]
pub use x86_64::X86_64 as Arch;
