//! Lemma's engine: verified, with the program's memory in a map's value.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use kernel_bpf::helper::{Fault, KernelServices};
use kernel_bpf::interpreter::{Interpreter, PacketContext};
use kernel_bpf::jit::Compiled;
use kernel_bpf::loader::{Object, ObjectProgram};
use kernel_bpf::map::{Epoch, Map, MapEnvironment};
use kernel_bpf::profile::CloudProfile;
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Verified, VerifyOptions, verify};

use crate::measure::Contender;
use crate::programs::{Source, pattern};

/// A kernel with one CPU and nothing going on.
pub(crate) struct Idle;

impl KernelServices for Idle {
    fn ktime_ns(&self) -> u64 {
        0
    }
    fn current_pid_tgid(&self) -> u64 {
        0
    }
    fn current_uid_gid(&self) -> u64 {
        0
    }
    fn current_comm(&self, _: &mut [u8; 16]) {}
    fn cpu_id(&self) -> usize {
        0
    }
    fn random_u32(&self) -> u32 {
        0
    }
    fn trace_print(&self, _: &[u8]) {}
    fn read_user(&self, _: &mut [u8], _: u64) -> Result<(), Fault> {
        Err(Fault)
    }
    fn read_kernel(&self, _: &mut [u8], _: u64) -> Result<(), Fault> {
        Err(Fault)
    }
    fn ring_ready(&self, _: &Map) {}
}

/// Where maps are created.
pub(crate) fn environment() -> MapEnvironment {
    static EPOCH: Epoch = Epoch::new();
    static ONLINE: std::sync::Once = std::sync::Once::new();
    ONLINE.call_once(|| EPOCH.online(0));
    MapEnvironment { cpus: 1, seed: 7, epoch: &EPOCH }
}

/// Verifies the program, with the pattern in its memory.
pub(crate) fn verified(source: &Source) -> Result<Verified<Program<Arc<Map>>>> {
    let program = to_program(&source.verifiable)?;
    verify(program, &VerifyOptions::cloud())
        .map_err(|rejection| anyhow!("{}: {rejection}", source.name))
}

/// The program of an object, with new maps.
pub(crate) fn to_program(object: &Object) -> Result<Program<Arc<Map>>> {
    let maps = object.maps.iter().map(|declared| {
        let map = Map::create::<CloudProfile>(declared.def, &environment())?;
        map.update(&[0; 4], &pattern(), 0)?;
        Ok(Arc::new(map))
    });
    let maps: Vec<Arc<Map>> = maps.collect::<Result<_>>()?;
    Ok(program_of(object)?.to_program(object, &maps, Arc::ptr_eq)?)
}

fn program_of(object: &Object) -> Result<&ObjectProgram> {
    object.programs.first().context("an object without a program")
}

/// A classifier's packet, which stays for all runs.
fn context() -> Result<PacketContext<'static>> {
    let packet = Box::leak(Box::new([0; 64]));
    PacketContext::new(ProgType::SchedCls, packet).context("classifiers take packets")
}

/// Compiles for this machine.
#[cfg(target_arch = "x86_64")]
pub(crate) fn compile(program: &Verified<Program<Arc<Map>>>) -> Result<Compiled> {
    use kernel_bpf::jit::host::{HostMemory, machine};
    use kernel_bpf::jit::x86_64::X86_64;
    use kernel_bpf::jit::{Intrinsics, Options};

    let memory = HostMemory::get().context("no executable memory could be reserved")?;
    let intrinsics = Intrinsics::default();
    let options = Options { machine: machine(), intrinsics, memory, blind: None };
    // SAFETY: the emitter is of this target, and the host itself says what its CPU can do.
    Ok(unsafe { Compiled::new::<CloudProfile, X86_64>(program, &options) }?)
}

/// There is no emitter for this machine.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn compile(_: &Verified<Program<Arc<Map>>>) -> Result<Compiled> {
    anyhow::bail!("there is no JIT for this machine");
}

/// A program as compiled code.
pub(crate) fn jit(source: &Source) -> Result<Contender> {
    let ready = compile(&verified(source)?)?;
    let mut context = context()?;
    Ok(Contender::new("jit", move || ready.run_packet(&mut context, &Idle).unwrap_or_default()))
}

/// A program in the interpreter.
pub(crate) fn interpreter(source: &Source) -> Result<Contender> {
    let ready = Interpreter::<CloudProfile>::new(&verified(source)?)?;
    let mut context = context()?;
    Ok(Contender::new("interpreter", move || {
        ready.run_packet(&mut context, &Idle).unwrap_or_default()
    }))
}
