//! The Linux interface as data: error numbers, system-call numbers, constants and structures.
//! No logic beyond encoding and decoding.
//!
//! Sources: the Linux user-space headers of the kernel's `include/uapi` (names and values) and
//! the manual pages, section 2. What differs between architectures is in a module named for
//! the architecture; the kernel chooses one in its `arch` layer.
#![no_std]
#![forbid(unsafe_code)]

pub mod bpf;
mod errno;
pub mod file;
pub mod machine;
pub mod perf;
pub mod syscall;

pub use errno::Errno;
