//! [`Ready`]: a program made ready to run, by the engine that was asked for.
//!
//! It has `unsafe` because it runs programs that nobody verified, where the user asked for that,
//! in a process of their own (`batch::pool`).

use std::fmt;
use std::ptr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use kernel_bpf::helper::KernelServices;
use kernel_bpf::interpreter::{Interpreter, PacketContext};
use kernel_bpf::jit::Compiled;
#[cfg(target_arch = "x86_64")]
use kernel_bpf::jit::{
    Intrinsics, Options,
    host::{self, HostMemory},
    x86_64::X86_64,
};
use kernel_bpf::loader::{Object, ObjectError};
use kernel_bpf::map::{Map, MapDef, MapError, MapExtras, TailTarget};
use kernel_bpf::profile::{CloudProfile, EmbeddedProfile};
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::trusted::Trust;
use kernel_bpf::verifier::{Verified, VerifyOptions};
use serde::Deserialize;

use crate::emulated::{Foreign, MEMORY, Other};

/// What runs a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EngineKind {
    #[default]
    Interpreter,
    /// For this machine
    Jit,
    /// Under user-mode QEMU: for tests of single instructions, not for programs that are verified
    JitAarch64,
    /// The same for RISC-V
    JitRiscv64,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interpreter => "interpreter",
            Self::Jit => "jit",
            Self::JitAarch64 => "jit-aarch64",
            Self::JitRiscv64 => "jit-riscv64",
        })
    }
}

/// Which machine's limits apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Heap memory, a million instructions of work.
    #[default]
    Cloud,
    /// A fixed pool, small limits.
    Embedded,
}

impl Profile {
    /// The verifier's limits. The rules are those of the program type: a helper that this
    /// engine declares but does not implement is refused only when the program is to run.
    pub(crate) fn verify_options(self) -> VerifyOptions {
        let limits = match self {
            Self::Cloud => VerifyOptions::cloud(),
            Self::Embedded => VerifyOptions::embedded(),
        };
        VerifyOptions { perf_event: crate::host::PERF_EVENT, ..limits }
    }

    /// Creates an object's maps.
    pub(crate) fn create_maps(self, object: &Object) -> Result<Vec<Arc<Map>>, ObjectError> {
        let environment = crate::host::map_environment();
        match self {
            Self::Cloud => object.create_maps::<CloudProfile>(&environment),
            Self::Embedded => object.create_maps::<EmbeddedProfile>(&environment),
        }
    }

    /// Creates a map with the profile's memory.
    pub(crate) fn create_map(self, def: MapDef, extras: &MapExtras) -> Result<Map, MapError> {
        let environment = crate::host::map_environment();
        match self {
            Self::Cloud => Map::create_with::<CloudProfile>(def, extras, &environment),
            Self::Embedded => Map::create_with::<EmbeddedProfile>(def, extras, &environment),
        }
    }
}

impl Profile {
    /// What stands for a map of things that this machine has none of.
    pub(crate) fn stand_in(self, def: MapDef) -> Result<Map, MapError> {
        let environment = crate::host::map_environment();
        match self {
            Self::Cloud => Map::stand_in::<CloudProfile>(def, &environment),
            Self::Embedded => Map::stand_in::<EmbeddedProfile>(def, &environment),
        }
    }
}

/// A program that can be run any number of times.
pub(crate) enum Ready {
    Cloud(Interpreter<CloudProfile>),
    Embedded(Interpreter<EmbeddedProfile>),
    Compiled(Compiled),
}

/// How to compile for this host.
#[cfg(target_arch = "x86_64")]
pub(crate) fn jit_options() -> Result<Options> {
    let memory = HostMemory::get().context("no executable memory could be reserved")?;
    let (machine, intrinsics) = (host::machine(), Intrinsics::default());
    Ok(Options { machine, intrinsics, memory, blind: None })
}

/// Compiles a verified program for this host.
#[cfg(target_arch = "x86_64")]
pub(crate) fn compile(program: &Verified<Program<Arc<Map>>>, profile: Profile) -> Result<Compiled> {
    let options = jit_options()?;
    // SAFETY: the emitter is of this target, and the host itself says what its CPU can do.
    Ok(unsafe {
        match profile {
            Profile::Cloud => Compiled::new::<CloudProfile, X86_64>(program, &options),
            Profile::Embedded => Compiled::new::<EmbeddedProfile, X86_64>(program, &options),
        }
    }?)
}

/// The code of a compiled program, where it lies.
pub(crate) fn machine_code(compiled: &Compiled) -> &[u8] {
    let start = ptr::with_exposed_provenance(compiled.address());
    // SAFETY: the code is readable and does not change for as long as the program exists.
    unsafe { std::slice::from_raw_parts(start, compiled.code_bytes()) }
}

/// There is no emitter for this host.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn compile(_: &Verified<Program<Arc<Map>>>, _: Profile) -> Result<Compiled> {
    anyhow::bail!("there is no JIT for this machine");
}

impl Ready {
    /// Prepares a verified program.
    pub(crate) fn new(
        program: &Verified<Program<Arc<Map>>>,
        engine: EngineKind,
        profile: Profile,
    ) -> Result<Self> {
        Ok(match (engine, profile) {
            (EngineKind::Jit, _) => Self::Compiled(compile(program, profile)?),
            (EngineKind::JitAarch64 | EngineKind::JitRiscv64, _) => {
                bail!(
                    "only tests of single instructions run there: this program's maps and helpers are here"
                )
            }
            (EngineKind::Interpreter, Profile::Cloud) => Self::Cloud(Interpreter::new(program)?),
            (EngineKind::Interpreter, Profile::Embedded) => {
                Self::Embedded(Interpreter::new(program)?)
            }
        })
    }

    /// The program as a program array holds it.
    pub(crate) fn tail_target(self, id: u32) -> Result<Arc<TailTarget>> {
        Ok(Arc::new(match self {
            Self::Cloud(ready) => TailTarget::new(Arc::new(ready), |ready| ready, id),
            Self::Embedded(ready) => TailTarget::new(Arc::new(ready), |ready| ready, id),
            Self::Compiled(ready) => TailTarget::new(Arc::new(ready), |ready| ready, id),
        }))
    }

    /// Runs on raw context bytes; `None` if there are fewer than the program may access.
    pub(crate) fn run(&self, context: &mut [u8], services: &dyn KernelServices) -> Option<u64> {
        match self {
            Self::Cloud(ready) => ready.run(context, services),
            Self::Embedded(ready) => ready.run(context, services),
            Self::Compiled(ready) => ready.run(context, services),
        }
    }

    /// Runs a program of a packet type; `None` if the context is of another.
    pub(crate) fn run_packet(
        &self,
        context: &mut PacketContext<'_>,
        services: &dyn KernelServices,
    ) -> Option<u64> {
        match self {
            Self::Cloud(ready) => ready.run_packet(context, services),
            Self::Embedded(ready) => ready.run_packet(context, services),
            Self::Compiled(ready) => ready.run_packet(context, services),
        }
    }
}

/// A program that nobody verified, ready to run. Whoever makes one says that it may.
pub(crate) enum Trusted {
    Here(Ready),
    There(Foreign),
}

impl Trusted {
    /// Prepares a program on the user's word. Running it may do anything that this process may.
    pub(crate) fn new(
        program: &Program<Arc<Map>>,
        engine: EngineKind,
        trust: &Trust,
    ) -> Result<Self> {
        // SAFETY: the user vouches for the program; the tool says so where it is asked for.
        let here = |prepare: unsafe fn(&_, &_) -> Result<Ready>| unsafe { prepare(program, trust) };
        let there = |other| Foreign::new(program, trust, other).map(Self::There);
        match engine {
            EngineKind::Interpreter => here(interpret_trusted).map(Self::Here),
            EngineKind::Jit => here(compile_trusted).map(Self::Here),
            EngineKind::JitAarch64 => there(Other::Aarch64),
            EngineKind::JitRiscv64 => there(Other::Riscv64),
        }
    }

    /// Runs so often with r1 the address of `memory`, or 0 without; returns the last result.
    pub(crate) fn run(
        &self,
        memory: Option<&mut [u8]>,
        times: u32,
        services: &dyn KernelServices,
    ) -> Result<u64> {
        let ready = match self {
            Self::Here(ready) => ready,
            Self::There(foreign) => {
                return match memory {
                    Some(memory) => foreign.run(memory, MEMORY, times),
                    None => foreign.run(&mut [], 0, times),
                };
            }
        };
        let (address, bytes) =
            memory.map_or((ptr::null_mut(), 0), |memory| (memory.as_mut_ptr(), memory.len()));
        // SAFETY: as in `new`.
        let run = || unsafe {
            match ready {
                Ready::Cloud(ready) => ready.run_at(address, bytes, services),
                Ready::Embedded(ready) => ready.run_at(address, bytes, services),
                Ready::Compiled(ready) => ready.run_at(address, bytes, services),
            }
        };
        Ok((0..times).fold(0, |_, _| run()))
    }

    /// Runs so often on a packet; returns the last result.
    pub(crate) fn run_packet(
        &self,
        prog_type: ProgType,
        packet: &mut [u8],
        times: u32,
        services: &dyn KernelServices,
    ) -> Result<u64> {
        let what = "the type takes no packets";
        let mut context = PacketContext::new(prog_type, &mut *packet).context(what)?;
        match self {
            Self::Here(ready) => {
                let mut run = || ready.run_packet(&mut context, services);
                (0..times).try_fold(0, |_, _| run()).context(what)
            }
            Self::There(foreign) => {
                // The context, and the packet behind it.
                let elsewhere = "this type's context cannot be had in an emulator";
                let bytes = 8 * context.moved_to(0).context(elsewhere)?.len();
                let words = context.moved_to(MEMORY + bytes as u64).context(elsewhere)?;
                let mut memory: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
                memory.extend_from_slice(packet);
                let result = foreign.run(&mut memory, MEMORY, times)?;
                packet.copy_from_slice(memory.get(bytes..).unwrap_or_default());
                Ok(result)
            }
        }
    }
}

/// Prepares a program that nobody verified for the interpreter.
///
/// # Safety
/// The program keeps to what `trust` says, and to memory that it is given.
unsafe fn interpret_trusted(program: &Program<Arc<Map>>, trust: &Trust) -> Result<Ready> {
    // SAFETY: as the caller promises.
    Ok(Ready::Cloud(unsafe { Interpreter::new_trusted(program, trust) }?))
}

/// Compiles a program that nobody verified.
///
/// # Safety
/// The program keeps to what `trust` says, and to memory that it is given.
#[cfg(target_arch = "x86_64")]
unsafe fn compile_trusted(program: &Program<Arc<Map>>, trust: &Trust) -> Result<Ready> {
    // SAFETY: as in `compile`, and as the caller promises.
    let compiled = unsafe { Compiled::new_trusted::<X86_64>(program, trust, &jit_options()?) };
    Ok(Ready::Compiled(compiled?))
}

/// There is no emitter for this host.
///
/// # Safety
/// None: it refuses.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn compile_trusted(_: &Program<Arc<Map>>, _: &Trust) -> Result<Ready> {
    anyhow::bail!("there is no JIT for this machine");
}
