//! When is it certain that no CPU still uses what it may have read before some moment?
//!
//! Programs that run at hooks, the lists that lead to them, and the elements of maps are read
//! without a lock. Who reads them says so meanwhile, on its CPU ([`reading`]); between two such
//! sections the CPU is quiescent (P. McKenney and J. Slingwine, "Read-Copy Update", 1998).
//! [`EPOCH`] keeps the account of it: maps ask it when an element can be used again;
//! [`synchronize`] waits until every CPU has been quiescent.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};

use kernel_bpf::map::Epoch;

use super::super::context::CpuContext;
use super::scheduler::yield_now;
use crate::arch::{Arch, Architecture};

/// Tells when no CPU can still see what was taken away.
pub static EPOCH: Epoch = Epoch::new();

/// This CPU begins to take part. Interrupts off.
pub(in super::super) fn online(cpu: &CpuContext) {
    EPOCH.online(cpu.number);
    EPOCH.offline(cpu.number);
}

/// While this lives, what its CPU reads stays. Its holder does not wait.
#[must_use]
pub struct Reading {
    /// It is the section that was entered first: an interrupt may come in the middle of another.
    outermost: bool,
    /// Belongs to this CPU.
    not_send: PhantomData<*mut ()>,
}

/// Begins to read. The caller is a task. If much that others have taken away cannot be used again
/// yet, because a CPU has been in a section for long (it may be one of a virtual machine that does
/// not run just now), waits for that first: maps have little to spare.
#[inline]
pub fn reading() -> Reading {
    if Arch::cpus_online() > 1
        && EPOCH.now().wrapping_sub(SETTLED.load(Ordering::Relaxed)) > BACKLOG
    {
        catch_up();
    }
    reading_in_interrupt()
}

/// The same, in an interrupt, which may have come in the middle of a section.
#[inline]
pub fn reading_in_interrupt() -> Reading {
    Reading { outermost: EPOCH.enter(Arch::cpu_id()), not_send: PhantomData }
}

/// So much may wait to be used again.
const BACKLOG: u64 = 16;
/// A CPU that stays in a section for longer than this is not waited for.
const PATIENCE_NS: u64 = 100_000_000;

/// What was retired up to this tag can be used again.
static SETTLED: AtomicU64 = AtomicU64::new(0);

#[cold]
fn catch_up() {
    let tag = EPOCH.now();
    let start = Arch::now_ns();
    while !EPOCH.is_safe(tag) && Arch::now_ns().saturating_sub(start) < PATIENCE_NS {
        Arch::relax();
    }
    SETTLED.fetch_max(tag, Ordering::Relaxed);
}

impl Drop for Reading {
    #[inline]
    fn drop(&mut self) {
        if self.outermost {
            EPOCH.offline(Arch::cpu_id());
        }
    }
}

/// Waits until no CPU uses what was taken away before the call. The caller is a task, and reads
/// nothing itself.
pub fn synchronize() {
    let tag = EPOCH.retire();
    while !EPOCH.is_safe(tag) {
        yield_now();
        Arch::relax();
    }
}
