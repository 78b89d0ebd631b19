//! What `execve` needs to know of a file, without a machine: [`executable`] checks an ELF
//! program and says which parts to map where, [`script`] reads a `#!` line, and [`stack`]
//! lays out what a new program finds on its stack.
//!
//! Everything here reads bytes that a user wrote. A malformed file is an error; it never
//! panics and never yields a range outside what the caller allowed.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::expect_used, clippy::indexing_slicing)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod executable;
pub mod script;
pub mod stack;

pub use executable::{ElfError, Executable, Header, Limits, Segment, SegmentRights};
pub use script::{Script, ScriptError};
pub use stack::{Arguments, ArgumentsError, AuxiliaryType, StackImage, StackRequest};

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;
