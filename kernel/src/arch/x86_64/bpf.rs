//! Compiled BPF programs: what the compiler may use of this CPU and of this kernel.

use alloc::sync::Arc;

use kernel_bpf::interpreter::LoadError;
use kernel_bpf::jit::memory::CodeMemory;
use kernel_bpf::jit::x86_64::X86_64;
use kernel_bpf::jit::{Clock, Compiled, Intrinsics, Machine, Options};
use kernel_bpf::map::Map;
use kernel_bpf::profile::ActiveProfile;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::Verified;

use super::cpu::{FEATURES, ID, has};
use super::timer;

/// `bpf_ktime_get_ns`, where the TSC is not the clock.
extern "C" fn now_ns() -> u64 {
    timer::now_ns()
}

/// See [`crate::arch::Architecture::compile`].
pub(in crate::arch) fn compile(
    program: &Verified<Program<Arc<Map>>>,
    memory: &'static dyn CodeMemory,
    blind: Option<u64>,
) -> Result<Compiled, LoadError> {
    let machine = Machine { bmi2: has(&FEATURES.bmi2), ..Machine::default() };
    // In the kernel, GS points to this CPU's block; a CPU's number needs 32 bits.
    let ktime = match timer::tsc_factor() {
        Some(factor) => Clock::Counter { factor },
        None => Clock::Function(now_ns),
    };
    let intrinsics = Intrinsics { cpu_id: i32::try_from(ID).ok(), ktime: Some(ktime) };
    let options = Options { machine, intrinsics, memory, blind };
    // SAFETY: the emitter is for this machine, and what it may use is there on every CPU.
    unsafe { Compiled::new::<ActiveProfile, X86_64>(program, &options) }
}
