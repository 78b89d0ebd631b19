//! How Arm's GICv3 (IHI 0069) names the CPUs of a machine, and finds what each has of its own.
//!
//! A CPU has a place in up to four levels, its [`Affinity`]; registers write that in three ways.
//! [`redistributors`] walks a region of redistributors, of which each CPU has one. Reading and
//! writing the registers is the caller's work.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::expect_used, clippy::indexing_slicing)]

#[cfg(test)]
extern crate std;

mod affinity;
mod redistributor;

pub use affinity::{Affinity, signal_to_others};
pub use redistributor::{FRAME_BYTES, TYPE_REGISTER, redistributors};
