//! The BPF engine: decode, verify, run.
//!
//! `bytes → insn → Program → verifier → Verified<Program> → interpreter → run(context)`.
//! Nothing that the verifier has not accepted can be run, because only the verifier
//! makes [`verifier::Verified`].
#![no_std]

extern crate alloc;
#[cfg(test)]
#[macro_use]
extern crate std;

pub mod asm;
pub mod btf;
#[cfg(test)]
mod checking;
pub mod disasm;
pub mod helper;
pub mod hook;
pub mod insn;
pub mod interpreter;
pub mod loader;
pub mod map;
pub mod memory;
pub mod profile;
pub mod prog_type;
pub mod program;
pub mod verifier;
