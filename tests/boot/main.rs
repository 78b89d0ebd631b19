//! Boot tests: each starts Lemma in QEMU, works at its console as a user would, and judges by
//! exit statuses and by what the user programs report. Every disk is checked afterwards.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly")]

mod bench;
mod bpf;
mod c;
mod clock;
mod commands;
mod devices;
mod embedded;
mod emulated;
mod files;
mod guest;
mod hostile;
mod kernel;
mod linux;
mod media;
mod memory;
mod objects;
mod readme;
mod reports;
mod screen;
mod session;
mod shell;
mod smp;
mod system;
mod terminal;
mod usertests;
