//! Compiled BPF programs: what the compiler may use of this CPU and of this kernel.

use alloc::sync::Arc;

use kernel_bpf::interpreter::LoadError;
use kernel_bpf::jit::aarch64::Aarch64;
use kernel_bpf::jit::memory::CodeMemory;
use kernel_bpf::jit::{Clock, Compiled, Intrinsics, Machine, Options};
use kernel_bpf::map::Map;
use kernel_bpf::profile::ActiveProfile;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::Verified;

use super::cpu::{FEATURES, ID, has};
use super::{smp, timer};

/// See [`crate::arch::Architecture::compile`].
pub(in crate::arch) fn compile(
    program: &Verified<Program<Arc<Map>>>,
    memory: &'static dyn CodeMemory,
    blind: Option<u64>,
) -> Result<Compiled, LoadError> {
    let machine = Machine { lse: has(&FEATURES.lse), ..Machine::default() };
    // In the kernel, TPIDR_EL1 points to this CPU's block; a CPU's number needs 32 bits.
    let ktime = Some(Clock::Counter { factor: timer::factor() });
    let intrinsics = Intrinsics { cpu_id: i32::try_from(ID).ok(), ktime };
    let options = Options { machine, intrinsics, memory, blind };
    // SAFETY: the emitter is for this machine, and what it may use is there on every CPU.
    let compiled = unsafe { Compiled::new::<ActiveProfile, Aarch64>(program, &options) }?;
    // The caches know the new code; other CPUs may still hold what they fetched before.
    smp::synchronise_others();
    Ok(compiled)
}
