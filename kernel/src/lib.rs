//! Lemma: a kernel whose behaviour is changed while it runs by verified BPF programs.
//!
//! [`init`] is the whole order of start-up on one screen. Dependencies point downward only:
//! `syscall` and `bpf` use `file` and `mcore`, those use `mem`, and `mem` uses `arch`;
//! everything may use the crates under `kernel/crates`, which never use the kernel.
#![no_std]
#![deny(clippy::expect_used)]

extern crate alloc;

pub mod arch;
pub mod syscall;
