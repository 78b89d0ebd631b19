//! When is it certain that no CPU still uses what it may have read before some moment?
//!
//! Programs that run at hooks, and the lists that lead to them, are read without a lock and
//! without sleeping. So a CPU that has switched tasks, been idle, or been in user mode since
//! has let go of whatever it had read: it has passed a *quiescent state* (P. McKenney and J.
//! Slingwine, "Read-Copy Update", 1998). [`synchronize`] waits until all CPUs have; [`defer`]
//! has something done after that.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use kernel_sync::SpinLock;

use super::super::context::{CpuContext, cpus, this_cpu};
use super::scheduler::{spawn_kernel_thread, yield_now};
use super::wait::WaitQueue;

/// Work that is put off until nobody can use what it frees.
pub type Deferred = Box<dyn FnOnce() + Send>;

static DEFERRED: SpinLock<Vec<Deferred>> = SpinLock::new(Vec::new());
static DEFERRED_EVENT: WaitQueue = WaitQueue::new();
static THREAD_RUNS: AtomicBool = AtomicBool::new(false);

/// Set in a CPU's counter while it is idle.
const IDLE: u64 = 1;

/// This CPU has let go of everything. Interrupts off.
#[inline]
pub(super) fn passed(cpu: &CpuContext) {
    // Only the CPU itself writes it.
    let count = cpu.quiescent.load(Ordering::Relaxed);
    cpu.quiescent.store(count.wrapping_add(2), Ordering::Release);
}

pub(super) fn enter_idle(cpu: &CpuContext) {
    cpu.quiescent.store(cpu.quiescent.load(Ordering::Relaxed) | IDLE, Ordering::SeqCst);
}

pub(super) fn leave_idle(cpu: &CpuContext) {
    let count = cpu.quiescent.load(Ordering::Relaxed) & !IDLE;
    cpu.quiescent.store(count.wrapping_add(2), Ordering::SeqCst);
}

/// Waits until every CPU has passed a quiescent state. May sleep; the caller holds nothing
/// that it waits for.
pub fn synchronize() {
    let own = this_cpu().number;
    // The caller runs in the kernel and uses nothing itself, so its own CPU is past it: what
    // it interrupts or is interrupted by on this CPU begins or ends as a whole.
    for cpu in cpus().filter(|cpu| cpu.number != own) {
        let before = cpu.quiescent.load(Ordering::SeqCst);
        while before & IDLE == 0 && cpu.quiescent.load(Ordering::SeqCst) == before {
            yield_now();
        }
    }
}

/// Runs `work` in a thread of the kernel after every CPU has passed a quiescent state. May be
/// called anywhere, also by what runs at a hook.
pub fn defer(work: Deferred) {
    DEFERRED.lock().push(work);
    DEFERRED_EVENT.wake_one();
}

/// Starts the thread that does deferred work, once.
pub(super) fn start_thread() {
    if !THREAD_RUNS.swap(true, Ordering::Relaxed)
        && spawn_kernel_thread("deferred", run_deferred).is_err()
    {
        THREAD_RUNS.store(false, Ordering::Relaxed);
        log::error!("no memory for the thread that does deferred work");
    }
}

fn run_deferred() {
    loop {
        let work = DEFERRED_EVENT.wait_uninterruptible(|| {
            let mut deferred = DEFERRED.lock();
            (!deferred.is_empty()).then(|| core::mem::take(&mut *deferred))
        });
        synchronize();
        for work in work {
            work();
        }
    }
}
