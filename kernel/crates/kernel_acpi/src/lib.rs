//! Reads the ACPI tables that describe a PC (ACPI Specification 6.5).
//!
//! Only static tables, no AML: [`Rsdp`] leads to the root table, [`root_entries`] lists the
//! others, and [`Madt`], [`Fadt`], [`Hpet`], [`Mcfg`] and [`sleep_type_s5`] say what the kernel
//! needs. All of them read plain bytes and return nothing rather than fail on damaged ones;
//! mapping the tables is the caller's work.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::expect_used, clippy::indexing_slicing)]

#[cfg(test)]
extern crate std;

mod bytes;
mod fadt;
mod madt;
mod rsdp;
mod tables;

pub use fadt::{Fadt, GenericAddress, sleep_type_s5};
pub use madt::{Madt, MadtEntry, Polarity, Trigger};
pub use rsdp::{Rsdp, root_entries};
pub use tables::{HEADER_SIZE, Hpet, Mcfg, McfgEntry, checksum_is_right, signature_and_length};
