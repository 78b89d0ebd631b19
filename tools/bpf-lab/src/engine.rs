//! [`Ready`]: a program made ready to run, by the engine that was asked for.
//!
//! The one file here with `unsafe`: it runs programs that nobody verified, where the user asked
//! for that, in a process of their own (`batch::pool`).

use std::fmt;
use std::ptr;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::ValueEnum;
use kernel_bpf::helper::KernelServices;
use kernel_bpf::interpreter::{Interpreter, PacketContext};
use kernel_bpf::map::Map;
use kernel_bpf::profile::{CloudProfile, EmbeddedProfile};
use kernel_bpf::program::Program;
use kernel_bpf::trusted::Trust;
use kernel_bpf::verifier::{Verified, VerifyOptions};
use serde::Deserialize;

/// What runs a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EngineKind {
    #[default]
    Interpreter,
    Jit,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interpreter => "interpreter",
            Self::Jit => "jit",
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
        match self {
            Self::Cloud => VerifyOptions::cloud(),
            Self::Embedded => VerifyOptions::embedded(),
        }
    }

    /// Creates a map with the profile's memory.
    pub(crate) fn create_map(
        self,
        def: kernel_bpf::map::MapDef,
    ) -> Result<Map, kernel_bpf::map::MapError> {
        let environment = crate::host::map_environment();
        match self {
            Self::Cloud => Map::create::<CloudProfile>(def, &environment),
            Self::Embedded => Map::create::<EmbeddedProfile>(def, &environment),
        }
    }
}

/// A program that can be run any number of times.
pub(crate) enum Ready {
    Cloud(Interpreter<CloudProfile>),
    Embedded(Interpreter<EmbeddedProfile>),
}

fn interpreter_only(engine: EngineKind) -> Result<()> {
    if engine == EngineKind::Jit {
        bail!("there is no JIT for this machine");
    }
    Ok(())
}

impl Ready {
    /// Prepares a verified program.
    pub(crate) fn new(
        program: &Verified<Program<Arc<Map>>>,
        engine: EngineKind,
        profile: Profile,
    ) -> Result<Self> {
        interpreter_only(engine)?;
        Ok(match profile {
            Profile::Cloud => Self::Cloud(Interpreter::new(program)?),
            Profile::Embedded => Self::Embedded(Interpreter::new(program)?),
        })
    }

    /// Runs on raw context bytes; `None` if there are fewer than the program may access.
    pub(crate) fn run(&self, context: &mut [u8], services: &dyn KernelServices) -> Option<u64> {
        match self {
            Self::Cloud(ready) => ready.run(context, services),
            Self::Embedded(ready) => ready.run(context, services),
        }
    }

    /// Runs a program of a packet type.
    pub(crate) fn run_packet(
        &self,
        context: &mut PacketContext<'_>,
        services: &dyn KernelServices,
    ) -> u64 {
        match self {
            Self::Cloud(ready) => ready.run_packet(context, services),
            Self::Embedded(ready) => ready.run_packet(context, services),
        }
    }
}

/// A program that nobody verified, ready to run. Whoever makes one says that it may.
pub(crate) struct Trusted(Interpreter<CloudProfile>);

impl Trusted {
    /// Prepares a program on the user's word. Running it may do anything that this process may.
    pub(crate) fn new(
        program: &Program<Arc<Map>>,
        engine: EngineKind,
        trust: &Trust,
    ) -> Result<Self> {
        interpreter_only(engine)?;
        // SAFETY: the user vouches for the program; the tool says so where it is asked for.
        let ready = unsafe { Interpreter::<CloudProfile>::new_trusted(program, trust) }?;
        Ok(Self(ready))
    }

    /// Runs with r1 the address of `memory`, or 0 without.
    pub(crate) fn run(&self, memory: Option<&mut [u8]>, services: &dyn KernelServices) -> u64 {
        let (address, bytes) =
            memory.map_or((ptr::null_mut(), 0), |memory| (memory.as_mut_ptr(), memory.len()));
        // SAFETY: as in `new`.
        unsafe { self.0.run_at(address, bytes, services) }
    }

    /// Runs on a packet.
    pub(crate) fn run_packet(
        &self,
        context: &mut PacketContext<'_>,
        services: &dyn KernelServices,
    ) -> u64 {
        self.0.run_packet(context, services)
    }
}
