//! Programs: the verifier ends, and what it accepts runs alike in both engines.

#![no_main]

use std::sync::Arc;

use kernel_bpf::interpreter::{Interpreter, PacketContext};
use kernel_bpf::jit::host::{HostMemory, machine};
use kernel_bpf::jit::x86_64::X86_64;
use kernel_bpf::jit::{Compiled, Intrinsics, Options};
use kernel_bpf::map::Map;
use kernel_bpf::profile::CloudProfile;
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Verified, verify};
use kernel_bpf_fuzz::{Host, maps, options};
use libfuzzer_sys::fuzz_target;

/// Runs up to this bound only: the rest is checked, not run.
const MOST: u64 = 100_000;

fuzz_target!(|bytes: &[u8]| {
    let Some(([kind, flags], insns)) = bytes.split_first_chunk() else { return };
    let prog_type = ProgType::ALL[usize::from(*kind) % ProgType::ALL.len()];
    let program = || {
        let maps = maps();
        let by_index = |index: u32| maps.get(index as usize).cloned();
        let mut program =
            Program::from_bytes(insns, prog_type, |_| None, by_index, Arc::ptr_eq).ok()?;
        program.gpl_compatible = true;
        program.expected_attach_type = u32::from(flags >> 1);
        verify(program, &options(flags & 1 != 0)).ok()
    };
    // Each engine gets maps of its own, so that both begin alike.
    let (Some(one), Some(other)) = (program(), program()) else { return };
    let proof = one.proof();
    assert!(proof.stack_depth <= 512 && proof.call_depth <= 8);
    let Ok(interpreter) = Interpreter::<CloudProfile>::new(&one) else { return };
    if proof.worst_case > MOST {
        return;
    }
    let interpreted = run(
        &one,
        |context| interpreter.run(context, &Host),
        |packet| interpreter.run_packet(packet, &Host),
    );
    let Some(memory) = HostMemory::get() else { return };
    let options =
        Options { machine: machine(), intrinsics: Intrinsics::default(), memory, blind: None };
    // SAFETY: the emitter is of this machine, whose CPU was asked.
    let compiled = unsafe { Compiled::new::<CloudProfile, X86_64>(&other, &options) };
    let Ok(compiled) = compiled else { return };
    let ran = run(
        &other,
        |context| compiled.run(context, &Host),
        |packet| compiled.run_packet(packet, &Host),
    );
    // Addresses differ from run to run: only what cannot hold one is compared.
    if flags & 1 != 0 {
        assert_eq!(interpreted, ran);
    }
});

/// Runs a program on zeros, as its type wants them.
fn run(
    program: &Verified<Program<Arc<Map>>>,
    raw: impl FnOnce(&mut [u8]) -> Option<u64>,
    packet: impl FnOnce(&mut PacketContext<'_>) -> Option<u64>,
) -> Option<u64> {
    let mut bytes = [0x5a; 64];
    match PacketContext::new(program.prog_type, &mut bytes) {
        Some(mut context) => packet(&mut context),
        None => raw(&mut vec![0; program.proof().max_ctx_offset as usize]),
    }
}
