//! The context of perf events, `struct bpf_perf_event_data`.
//!
//! It begins with the registers of the program that was interrupted, and so is not the same on
//! every machine. Who embeds the engine says how many bytes they are
//! ([`crate::verifier::VerifyOptions::perf_event`]).

use super::context::{Access, Context, ContextRule, Field};

/// Bytes of `struct pt_regs` of x86_64.
pub const X86_64_REGISTERS: usize = 168;
/// Bytes of `struct user_pt_regs` of AArch64.
pub const AARCH64_REGISTERS: usize = 272;
/// Bytes of `struct user_regs_struct` of RISC-V.
pub const RISCV64_REGISTERS: usize = 256;

/// Perf events where `bpf_user_pt_regs_t` (`asm/bpf_perf_event.h`) has this many bytes.
#[derive(Debug)]
pub struct PerfEvent<const REGISTERS: usize>;

/// What programs of perf events receive on some machine: numbers, which [`PerfEvent::CONTEXT`]
/// sees to.
#[derive(Clone, Copy, Debug)]
pub struct PerfEventContext(Context);

impl PerfEventContext {
    /// The rules of access.
    #[must_use]
    pub const fn rules(self) -> Context {
        self.0
    }
}

impl<const REGISTERS: usize> PerfEvent<REGISTERS> {
    const OFFSET: u16 = {
        assert!(REGISTERS.is_multiple_of(8) && REGISTERS < 4096);
        REGISTERS as u16
    };

    /// What programs receive.
    pub const CONTEXT: PerfEventContext = PerfEventContext(Context {
        name: "struct bpf_perf_event_data",
        size: Self::OFFSET as u32 + 16,
        rule: ContextRule::Words(&[
            Field { read: Access::UpTo(8), ..Field::scalar("sample_period", Self::OFFSET, 8) },
            Field { read: Access::UpTo(8), ..Field::scalar("addr", Self::OFFSET + 8, 8) },
        ]),
    });
}
