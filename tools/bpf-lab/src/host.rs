//! The machine that helpers see: this process, this clock, and no memory to probe.

#![forbid(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use kernel_bpf::helper::{Fault, KernelServices};
use kernel_bpf::map::{Epoch, Map, MapEnvironment};
use kernel_bpf::prog_type::perf_event::{self, PerfEvent, PerfEventContext};

/// What programs of perf events receive on this machine.
pub(crate) const PERF_EVENT: PerfEventContext = PerfEvent::<REGISTERS>::CONTEXT;

const REGISTERS: usize = if cfg!(target_arch = "aarch64") {
    perf_event::AARCH64_REGISTERS
} else if cfg!(target_arch = "riscv64") {
    perf_event::RISCV64_REGISTERS
} else {
    perf_event::X86_64_REGISTERS
};

/// The host as a kernel with one CPU.
#[derive(Debug, Default)]
pub(crate) struct Host {
    random: AtomicU32,
    /// Whether to show what programs print.
    print: bool,
}

impl Host {
    /// A host that shows on standard error what programs print.
    pub(crate) fn printing() -> Self {
        Self { print: true, ..Self::default() }
    }
}

impl KernelServices for Host {
    fn ktime_ns(&self) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        // Never 0: programs take that for "not yet".
        1 + u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn current_pid_tgid(&self) -> u64 {
        let id = u64::from(std::process::id());
        id << 32 | id
    }

    fn current_uid_gid(&self) -> u64 {
        0
    }

    fn current_comm(&self, name: &mut [u8; 16]) {
        for (to, from) in name.iter_mut().zip(b"bpf-lab\0") {
            *to = *from;
        }
    }

    fn current_task(&self) -> u64 {
        u64::from(std::process::id())
    }

    fn cpu_id(&self) -> usize {
        0
    }

    fn random_u32(&self) -> u32 {
        // Weyl's sequence, mixed: the same numbers in every run.
        let x = self.random.fetch_add(0x9e37_79b9, Ordering::Relaxed);
        let x = (x ^ x >> 16).wrapping_mul(0x85eb_ca6b);
        (x ^ x >> 13).wrapping_mul(0xc2b2_ae35)
    }

    fn trace_print(&self, text: &[u8]) {
        if self.print {
            eprint!("{}", String::from_utf8_lossy(text));
        }
    }

    fn read_user(&self, _: &mut [u8], _: u64) -> Result<(), Fault> {
        Err(Fault)
    }

    fn read_kernel(&self, _: &mut [u8], _: u64) -> Result<(), Fault> {
        Err(Fault)
    }

    fn ring_ready(&self, _: &Map) {}
}

/// Where maps are created: one CPU, and a hash that is the same in every run.
pub(crate) fn map_environment() -> MapEnvironment {
    static EPOCH: Epoch = Epoch::new();
    static ONLINE: OnceLock<()> = OnceLock::new();
    ONLINE.get_or_init(|| EPOCH.online(0));
    MapEnvironment { cpus: 1, seed: 0x004c_656d_6d61, epoch: &EPOCH }
}
