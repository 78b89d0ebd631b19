//! [`VerifyOptions`]: who loads, and how much work the verifier may do.

use crate::btf::Btf;
use crate::prog_type::perf_event::{PerfEvent, PerfEventContext, X86_64_REGISTERS};

/// `prog_flags` of `BPF_PROG_LOAD` that the verifier follows.
pub mod load_flags {
    /// `BPF_F_STRICT_ALIGNMENT`.
    pub const STRICT_ALIGNMENT: u32 = 1;
    /// `BPF_F_TEST_STATE_FREQ`; for privileged loaders.
    pub const TEST_STATE_FREQ: u32 = 1 << 3;
    /// `BPF_F_SLEEPABLE`; the program says it, not the options.
    pub const SLEEPABLE: u32 = 1 << 4;
}

/// How to verify. Start from [`VerifyOptions::cloud`] or [`VerifyOptions::embedded`].
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// The loader has no privilege: pointers may not leak, be compared or be stored
    /// where user space can read them, and some helpers are out of reach.
    pub unprivileged: bool,
    /// Greatest number of instructions to explore.
    pub max_processed: u64,
    /// Greatest number of instructions (slots) of a program.
    pub max_insns: usize,
    /// Greatest number of states kept to prune with, over the whole program.
    pub max_states: usize,
    /// Bytes that states kept to prune with may take.
    pub max_state_bytes: usize,
    /// Bytes that the search as a whole may take: what is kept for each instruction, states,
    /// branches still to be followed, and the path.
    pub max_memory: usize,
    /// Greatest number of branches of one path whose other side is still to be followed.
    pub max_pending: usize,
    /// Every access must be aligned to its size (`BPF_F_STRICT_ALIGNMENT`).
    pub strict_alignment: bool,
    /// A state is kept wherever one may be (`BPF_F_TEST_STATE_FREQ`), so that short
    /// programs are pruned as long ones are; for tests of the verifier.
    pub every_state: bool,
    /// Use the embedded profile's budgets of hooks.
    pub embedded: bool,
    /// Refuses helpers that the kernel does not implement; `None`: those of the
    /// program type are all there.
    pub helper_available: Option<fn(i32) -> bool>,
    /// The kernel's types, for programs that are attached to kernel functions or follow
    /// pointers to kernel objects.
    pub kernel_btf: Option<&'static Btf>,
    /// What programs of perf events receive on the machine that will run them: a
    /// [`PerfEvent::CONTEXT`].
    pub perf_event: PerfEventContext,
    /// As `log_level` of `BPF_PROG_LOAD`: bit 0 and 1 the explored instructions (2:
    /// with states), bit 2 the statistics.
    pub log_level: u32,
    /// Keep, for each instruction, what was claimed of the registers before it (for
    /// the checking interpreter; costs memory).
    pub record_claims: bool,
}

impl VerifyOptions {
    /// For the cloud profile: heap memory, a million instructions of work.
    #[must_use]
    pub const fn cloud() -> Self {
        Self {
            unprivileged: false,
            max_processed: 1_000_000,
            max_insns: 1_000_000,
            max_states: 100_000,
            max_state_bytes: 36 << 20,
            max_memory: 56 << 20,
            // Linux's BPF_COMPLEXITY_LIMIT_JMP_SEQ.
            max_pending: 8192,
            strict_alignment: false,
            every_state: false,
            embedded: false,
            helper_available: None,
            kernel_btf: None,
            perf_event: PerfEvent::<X86_64_REGISTERS>::CONTEXT,
            log_level: 0,
            record_claims: false,
        }
    }

    /// For the embedded profile: little work and few states.
    #[must_use]
    pub const fn embedded() -> Self {
        Self {
            max_processed: 50_000,
            max_insns: 4_096,
            max_states: 128,
            max_state_bytes: 64 << 10,
            max_memory: 224 << 10,
            max_pending: 120,
            embedded: true,
            ..Self::cloud()
        }
    }

    /// The same where there is no more memory than this: what is too much for it is refused.
    #[must_use]
    pub fn within_memory(self, bytes: usize) -> Self {
        let max_memory = self.max_memory.min(bytes);
        // States that are not kept cost time only; branches that wait need the rest.
        let max_state_bytes = self.max_state_bytes.min(max_memory / 8 * 5);
        Self { max_memory, max_state_bytes, ..self }
    }

    /// The same for an unprivileged loader, with Linux's limit of 4096 instructions.
    #[must_use]
    pub const fn for_unprivileged(self) -> Self {
        let max_insns = if self.max_insns < 4096 { self.max_insns } else { 4096 };
        Self { unprivileged: true, max_insns, ..self }
    }

    /// The same with what the [`load_flags`] among `flags` ask for.
    #[must_use]
    pub const fn with_load_flags(self, flags: u32) -> Self {
        Self {
            strict_alignment: flags & load_flags::STRICT_ALIGNMENT != 0,
            every_state: flags & load_flags::TEST_STATE_FREQ != 0 && !self.unprivileged,
            ..self
        }
    }
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self::cloud()
    }
}
