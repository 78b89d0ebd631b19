//! The physical profiles: how much of a machine the engine may use.
//!
//! [`CloudProfile`] takes memory from the heap and verifies up to a million instructions;
//! [`EmbeddedProfile`] has a fixed pool, small limits, and allocates nothing once a program
//! is loaded. Cargo features choose [`ActiveProfile`]; both types always exist, so tests can
//! compare them.

#![forbid(unsafe_code)]

use crate::helper;
use crate::memory::{HeapMemory, Memory, StaticPool};
use crate::verifier::VerifyOptions;

#[cfg(all(feature = "profile-cloud", feature = "profile-embedded"))]
compile_error!("choose one profile: profile-cloud or profile-embedded, not both");
#[cfg(not(any(feature = "profile-cloud", feature = "profile-embedded")))]
compile_error!("choose a profile: enable the feature profile-cloud or profile-embedded");

/// The limits and the memory of a kind of machine.
pub trait PhysicalProfile: Send + Sync + 'static {
    /// The name, as tools print it.
    const NAME: &'static str;
    /// Most instructions in one program, as `BPF_PROG_LOAD` counts them (8 bytes each).
    const MAX_INSTRUCTIONS: usize;
    /// Bytes of stack for a program and everything it calls.
    const STACK_BYTES: usize;
    /// Greatest worst-case bound that is accepted, in executed instructions.
    const MAX_WORST_CASE: u64;
    /// Most bytes that one map may take.
    const MAX_MAP_BYTES: usize;
    /// Whether maps may take memory after they were created.
    const GROWS: bool;
    /// How much work the verifier may do, which helpers there are.
    fn verify_options() -> VerifyOptions;
    /// Where maps and prepared programs live.
    fn memory() -> &'static dyn Memory;
}

/// A machine with memory to spare.
#[derive(Clone, Copy, Debug)]
pub struct CloudProfile;

impl PhysicalProfile for CloudProfile {
    const NAME: &'static str = "cloud";
    const MAX_INSTRUCTIONS: usize = 1_000_000;
    const STACK_BYTES: usize = 512;
    const MAX_WORST_CASE: u64 = u64::MAX;
    const MAX_MAP_BYTES: usize = isize::MAX as usize / 2;
    const GROWS: bool = true;

    fn verify_options() -> VerifyOptions {
        VerifyOptions { helper_available: Some(helper::is_implemented), ..VerifyOptions::cloud() }
    }

    fn memory() -> &'static dyn Memory {
        &HeapMemory
    }
}

/// A small machine whose memory is planned beforehand.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedProfile;

impl EmbeddedProfile {
    /// The pool that every map and prepared program comes from.
    pub fn pool() -> &'static StaticPool {
        static POOL: StaticPool = StaticPool::new();
        &POOL
    }
}

impl PhysicalProfile for EmbeddedProfile {
    const NAME: &'static str = "embedded";
    const MAX_INSTRUCTIONS: usize = 4_096;
    const STACK_BYTES: usize = 512;
    const MAX_WORST_CASE: u64 = 1 << 20;
    const MAX_MAP_BYTES: usize = 256 * 1024;
    const GROWS: bool = false;

    fn verify_options() -> VerifyOptions {
        VerifyOptions {
            helper_available: Some(helper::is_implemented),
            ..VerifyOptions::embedded()
        }
    }

    fn memory() -> &'static dyn Memory {
        Self::pool()
    }
}

/// The profile that this build was configured for.
#[cfg(all(feature = "profile-cloud", not(feature = "profile-embedded")))]
pub type ActiveProfile = CloudProfile;
/// The profile that this build was configured for.
#[cfg(all(feature = "profile-embedded", not(feature = "profile-cloud")))]
pub type ActiveProfile = EmbeddedProfile;
