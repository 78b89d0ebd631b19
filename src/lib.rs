//! What builds Lemma and boots it: the parts behind `cargo run`, shared with the boot tests.
//!
//! The way of one run, in the order in which it happens, a module each: [`setup`] finds the
//! programs that a build needs, and has [`apt`] install what the machine lacks; [`toolchain`]
//! picks the compiler for bare-metal code; [`compile`] builds kernel, user programs and BPF
//! objects; [`symbols`] makes the bootable image from the linked kernel; `root` says what is on
//! the root disk, [`image`] makes it, and [`media`] what firmware boots; [`machine`] describes
//! the machine to QEMU, [`firmware`] what may run on it first; [`qemu`] starts it and reads its
//! end; [`display`] finds where its picture can be shown, [`console`] connects the terminal to
//! it, [`monitor`] asks QEMU for screenshots. [`session`] talks to a guest as a person would, for
//! tests, [`evidence`] keeps what those have shown, and [`bench`] runs the measurements.
//! [`build`] ties the middle together.
#![forbid(unsafe_code)]

pub mod apt;
pub mod bench;
pub mod build;
pub mod cli;
pub mod compile;
pub mod console;
pub mod display;
pub mod evidence;
pub mod firmware;
pub mod image;
pub mod machine;
pub mod media;
pub mod monitor;
pub mod qemu;
mod root;
pub mod session;
pub mod setup;
pub mod symbols;
pub mod toolchain;
pub mod workspace;
