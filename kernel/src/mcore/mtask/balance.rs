//! Which CPU runs a task: the one that it ran on before, unless that has something else to do and
//! another one has not.
//!
//! A task that becomes ready goes to an idle CPU if there is one ([`for_woken`], [`for_new`]). A
//! CPU that finds nothing to run looks whether tasks wait elsewhere ([`look_for_work`]); one whose
//! tasks have to share it passes some on to a CPU with less to do ([`push`]). A task never goes
//! where `sched_setaffinity` does not let it.
//!
//! [`IDLE`] is the set of CPUs that wait for something to do. A CPU enters itself, then looks at
//! the others' queues; who queues a task looks at the set afterwards ([`offer`]), and so does a CPU
//! that puts its running task back: so no task waits for long while a CPU that may run it does too.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering, fence};

use super::super::context::{self, CpuContext, cpus, current, this_cpu};
use super::scheduler::{arrive, yield_now};
use super::task::Task;
use crate::arch::cpu_set::numbers;
use crate::arch::{Arch, Architecture, CpuSet};
use crate::mem::OutOfMemory;

/// CPUs that wait for something to do.
static IDLE: CpuSet = CpuSet::new();

/// How often a CPU looks whether it should pass tasks on.
const BALANCE_NS: u64 = 16_000_000;

/// How long tasks share a CPU while another one has just one task less.
const TURN_NS: u64 = 48_000_000;

/// Tasks that every run queue and every queue of sleepers has room for.
static ROOM: AtomicUsize = AtomicUsize::new(0);

/// Makes room for so many tasks on every CPU, so that waking does not allocate.
///
/// # Errors
/// If there is no memory for it.
pub(super) fn make_room(tasks: usize) -> Result<(), OutOfMemory> {
    let needed = tasks + 2;
    if needed <= ROOM.load(Ordering::Relaxed) {
        return Ok(());
    }
    let more = needed + needed / 2 + 8;
    for cpu in cpus() {
        cpu.run_queue.lock().reserve(more).map_err(|_| OutOfMemory)?;
        cpu.sleepers.lock().reserve(more).map_err(|_| OutOfMemory)?;
    }
    ROOM.fetch_max(more, Ordering::Relaxed);
    Ok(())
}

/// An idle CPU that the task may run on; it counts as busy from now on.
fn claim_idle(task: &Task) -> Option<&'static CpuContext> {
    let candidates = numbers(IDLE.bits() & task.affinity());
    candidates.filter(|&number| IDLE.remove(number)).find_map(context::cpu)
}

/// What a CPU has to do: tasks that wait, and the one that runs.
fn load(cpu: &CpuContext) -> usize {
    cpu.waiting() + usize::from(cpu.is_busy())
}

/// The CPU with the least to do of those that the task may run on.
fn least_loaded(task: &Task) -> Option<&'static CpuContext> {
    cpus().filter(|cpu| task.may_run_on(cpu.number)).min_by_key(|cpu| load(cpu))
}

/// Where a new task begins.
pub(super) fn for_new(task: &Task) -> &'static CpuContext {
    if Arch::cpus_online() == 1 {
        return this_cpu();
    }
    claim_idle(task).or_else(|| least_loaded(task)).unwrap_or_else(this_cpu)
}

/// Where a task goes on that was waiting, and ran on `before`.
pub(super) fn for_woken(task: &Task, before: &'static CpuContext) -> &'static CpuContext {
    let may_stay = task.may_run_on(before.number);
    if may_stay && (!before.is_busy() && before.waiting() == 0) {
        IDLE.remove(before.number);
        return before;
    }
    if let Some(idle) = claim_idle(task) {
        return idle;
    }
    if may_stay { before } else { least_loaded(task).unwrap_or(before) }
}

/// A task that may run on these CPUs has been put into the run queue of one that does not run it
/// at once: an idle one may.
#[inline]
pub(super) fn offer(affinity: u64) {
    if Arch::cpus_online() == 1 {
        return;
    }
    // The queue was filled before: one that enters itself now will see it.
    fence(Ordering::SeqCst);
    if let Some(number) = numbers(IDLE.bits() & affinity).next() {
        Arch::interrupt_cpu(number);
    }
}

/// What came of an attempt to move a task.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pulled {
    One,
    /// There is none that may go there.
    None,
    /// There is one, whose stack its CPU is just leaving.
    Soon,
}

/// Moves a task that waits on `from` to `to`.
fn pull(from: &CpuContext, to: &CpuContext) -> Pulled {
    let mut queue = from.run_queue.lock();
    let mut soon = false;
    let taken = queue.take(|task| {
        let may = task.may_run_on(to.number);
        let left = !task.on_cpu.load(Ordering::Acquire);
        soon |= may && !left;
        may && left
    });
    let Some((task, entity)) = taken else {
        return if soon { Pulled::Soon } else { Pulled::None };
    };
    let lag = queue.lag(entity);
    task.cpu.store(to.number, Ordering::Relaxed);
    from.queued.store(queue.len(), Ordering::Relaxed);
    drop(queue);
    arrive(to, task, lag);
    Pulled::One
}

/// Looks for a task that waits on another CPU and has it run on this one, which is idle: whether
/// there is one to run now. If not, the CPU is entered in [`IDLE`]. Interrupts off.
pub(super) fn look_for_work(cpu: &CpuContext) -> bool {
    if Arch::cpus_online() == 1 {
        return false;
    }
    IDLE.insert(cpu.number);
    fence(Ordering::SeqCst);
    loop {
        let mut soon = false;
        for other in cpus().filter(|other| other.number != cpu.number && other.waiting() > 0) {
            match pull(other, cpu) {
                Pulled::One => break,
                Pulled::None => {}
                Pulled::Soon => soon = true,
            }
        }
        if cpu.waiting() > 0 {
            stop_looking(cpu);
            return true;
        }
        if !soon {
            return false;
        }
        Arch::relax();
    }
}

/// This CPU is not idle any more, or looks again.
pub(super) fn stop_looking(cpu: &CpuContext) {
    if Arch::cpus_online() > 1 {
        IDLE.remove(cpu.number);
    }
}

/// Tasks have to share this CPU: passes one on, now and then, to a CPU with less to do; with just
/// one task less, in turn, so that of five tasks on four CPUs not always the same two share one.
/// Interrupts off.
pub(super) fn push(cpu: &CpuContext, now: u64) {
    let since = now.saturating_sub(cpu.balanced.get());
    if Arch::cpus_online() == 1 || since < BALANCE_NS {
        return;
    }
    cpu.balanced.set(now);
    if since > 2 * BALANCE_NS {
        // It was not shared until now.
        cpu.shared_since.set(now);
    }
    let turn_is_over = now.saturating_sub(cpu.shared_since.get()) >= TURN_NS;
    let mut tried = 1u64 << cpu.number;
    // The one with the least to do first; none of the tasks may be one that runs there.
    while let Some(target) = least_loaded_but(tried, cpu.number) {
        let more = load(cpu).saturating_sub(load(target));
        if more == 0 || (more == 1 && !turn_is_over) {
            return;
        }
        if pull(cpu, target) == Pulled::One {
            cpu.shared_since.set(now);
            return;
        }
        tried |= 1 << target.number;
    }
}

/// The CPU with the least to do of those that are not in a set. Beginning behind `from`, so that
/// among equals each has its turn.
fn least_loaded_but(set: u64, from: usize) -> Option<&'static CpuContext> {
    let online = Arch::cpus_online();
    let others = (1..online).map(|step| (from + step) % online);
    let others = others.filter(|number| set >> number & 1 == 0).filter_map(context::cpu);
    others.min_by_key(|other| load(other))
}

/// Finds another CPU for a task that is nowhere, has left this one, and may not come back.
pub(super) fn send_away(cpu: &CpuContext, task: Arc<Task>) {
    let lag = cpu.run_queue.lock().lag(task.entity());
    settle(task, lag);
}

fn settle(task: Arc<Task>, lag: i64) {
    let target = for_new(&task);
    task.cpu.store(target.number, Ordering::Relaxed);
    arrive(target, task, lag);
}

/// Lets a task run on these CPUs only, a bit for each, of which at least one is online. When this
/// returns it runs on none of the others.
pub fn set_affinity(task: &Arc<Task>, mask: u64) {
    task.set_affinity(mask);
    loop {
        let number = task.cpu.load(Ordering::Relaxed);
        let Some(cpu) = context::cpu(number) else { return };
        let mut queue = cpu.run_queue.lock();
        if task.cpu.load(Ordering::Relaxed) != number {
            continue;
        }
        if task.may_run_on(number) {
            return;
        }
        let own = core::ptr::eq(&raw const *current(), Arc::as_ptr(task));
        let left = !task.on_cpu.load(Ordering::Acquire);
        if left {
            let taken = queue.take(|queued| Arc::ptr_eq(queued, task));
            let Some((task, entity)) = taken else { return };
            let lag = queue.lag(entity);
            cpu.queued.store(queue.len(), Ordering::Relaxed);
            drop(queue);
            return settle(task, lag);
        }
        drop(queue);
        if !own {
            cpu.need_resched.store(true, Ordering::Release);
            Arch::interrupt_cpu(number);
        }
        // It goes on its way to user mode, or here.
        yield_now();
        Arch::relax();
    }
}
