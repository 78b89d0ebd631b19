//! The BPF engine: decode, verify, run.
//!
//! `bytes → insn → Program → verifier → Verified<Program> → interpreter or jit → run(context)`.
//! Nothing that the verifier has not accepted can be run, because only the verifier
//! makes [`verifier::Verified`].
//!
//! ```
//! use std::sync::Arc;
//! use kernel_bpf::interpreter::Interpreter;
//! use kernel_bpf::map::Map;
//! use kernel_bpf::profile::{ActiveProfile, PhysicalProfile};
//! use kernel_bpf::{asm, prog_type::ProgType, program::Program, verifier::verify};
//! # use kernel_bpf::helper::{Fault, KernelServices};
//! # struct Kernel;
//! # impl KernelServices for Kernel {
//! #     fn ktime_ns(&self) -> u64 { 0 }
//! #     fn current_pid_tgid(&self) -> u64 { 0 }
//! #     fn current_uid_gid(&self) -> u64 { 0 }
//! #     fn current_comm(&self, _: &mut [u8; 16]) {}
//! #     fn cpu_id(&self) -> usize { 0 }
//! #     fn random_u32(&self) -> u32 { 0 }
//! #     fn trace_print(&self, _: &[u8]) {}
//! #     fn read_user(&self, _: &mut [u8], _: u64) -> Result<(), Fault> { Err(Fault) }
//! #     fn read_kernel(&self, _: &mut [u8], _: u64) -> Result<(), Fault> { Err(Fault) }
//! #     fn ring_ready(&self, _: &Map) {}
//! # }
//!
//! let insns = asm::assemble("r0 = *(u64 *)(r1 + 8)\n r0 *= 2\n exit")?;
//! let program: Program<Arc<Map>> = Program::new(insns, ProgType::RawTracepoint, vec![]);
//! let verified = verify(program, &ActiveProfile::verify_options())?;
//! assert_eq!(verified.proof().worst_case, 3);
//! let ready = Interpreter::<ActiveProfile>::new(&verified)?;
//! let mut context = [0; 16];
//! context[8] = 21;
//! assert_eq!(ready.run(&mut context, &Kernel), Some(42));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`insn`], [`asm`], [`disasm`] | the instruction model, as bytes and as text |
//! | [`program`], [`prog_type`], [`hook`] | a program and the rules of its kind |
//! | [`verifier`] | accepts or refuses, and proves the cost |
//! | [`interpreter`], [`jit`], [`engine`] | run what was accepted: pre-decoded, as machine code, either |
//! | [`trusted`] | runs what tests of instructions vouch for, on a host |
//! | [`map`], [`memory`] | what programs and user space share, and where it lies |
//! | [`perf_ring`] | the buffers of perf events, for what programs send there |
//! | [`helper`] | what programs may call |
//! | [`btf`], [`loader`] | type information and object files |
//! | [`profile`] | how much of a machine all this may use |
//!
//! # Why a program cannot do harm
//!
//! 1. *Only what was verified runs.* [`verifier::Verified`] has no public constructor; both
//!    engines take nothing else, except in builds with the feature `trusted-programs`, which is
//!    refused at compile time for bare metal.
//! 2. *The verifier's claims hold on every run.* It follows every path with sets of states that
//!    are never smaller than what can happen; [`verifier`] has the argument in full. A checking
//!    interpreter runs random accepted programs and compares each concrete state with the claim.
//! 3. *The engines do what the instructions say.* Both are compared with an independent table of
//!    results, and with each other on random programs. They leave out only what is proved
//!    needless ([`verifier::InsnFacts`]); the compilers also go by what the verifier found in the
//!    text, where jumps lead and what is read later ([`verifier::Proof::live`]), which must be true
//!    for their code to be right.
//! 4. *What a program can reach stays there.* Maps live as long as the prepared program; elements
//!    taken out of them stay until every CPU has passed a quiescent point ([`map::Epoch`]), but that
//!    a full LRU map without spare elements gives one out again earlier, as Linux does: who stands
//!    on it then finds another key's value in the same memory; code is never writable and
//!    executable at once ([`jit::memory`]).
//!
//! This assumes that helpers do what they are declared to do ([`helper::proto`]), that an embedder
//! keeps the contracts of the `unsafe` traits that it implements ([`memory::Memory`],
//! [`jit::memory::CodeMemory`]), that whoever runs programs is online in the epoch of their maps,
//! under a number of its own, and announces no quiescent state inside a run, that
//! [`jit::Machine`] describes the CPU, and that compiler and CPU are right. Programs that run at
//! once on several CPUs read and write values as machines do, which Rust has no word for.
//!
#![doc = include_str!("tables.md")]
#![no_std]

#[cfg(target_endian = "big")]
compile_error!("the engine follows parts of numbers in memory as little-endian machines have them");

extern crate alloc;
#[cfg(any(test, feature = "host-jit"))]
#[cfg_attr(test, macro_use)]
extern crate std;

pub mod asm;
pub mod btf;
#[cfg(test)]
mod checking;
mod context;
pub mod disasm;
pub mod engine;
pub mod helper;
pub mod hook;
pub mod insn;
pub mod interpreter;
pub mod jit;
pub mod loader;
pub mod map;
pub mod memory;
pub mod perf_ring;
pub mod profile;
pub mod prog_type;
pub mod program;
mod resolve;
pub mod trusted;
pub mod verifier;
