//! Time: sleeping until a deadline, and this CPU's one-shot timer, which is set to whatever
//! comes first: a sleeper's deadline, the end of a slice that others wait for, or a tick that
//! somebody asked for. An idle CPU without sleepers is not interrupted at all.

use core::sync::atomic::Ordering;

use kernel_sched::TimerId;
use kernel_sync::OnceCell;

use super::super::context::{CpuContext, cpus, current, this_cpu};
use super::scheduler::{block, wake};
use super::task::TaskState;
use super::wait::Interrupted;
use crate::arch::{Arch, Architecture};

type Frame = <Arch as Architecture>::Frame;

/// Nanoseconds since the machine started; never goes back.
#[inline]
pub fn now_ns() -> u64 {
    Arch::now_ns()
}

/// Has the timer interrupt at `deadline` at the latest. Interrupts off.
pub(super) fn interrupt_at(cpu: &CpuContext, deadline: u64) {
    if deadline < cpu.timer_set.get() {
        cpu.timer_set.set(deadline);
        Arch::set_timer(deadline);
    }
}

/// Sets the timer to the next event. Interrupts off.
pub(super) fn program(cpu: &CpuContext) {
    let sleeper = cpu.sleepers.lock().next_deadline().unwrap_or(u64::MAX);
    interrupt_at(cpu, sleeper.min(cpu.slice_end.get()).min(cpu.next_tick.get()));
}

/// Wakes the sleepers whose time has come. Interrupts off.
pub(super) fn expire(cpu: &CpuContext, now: u64) {
    loop {
        let expired = cpu.sleepers.lock().pop_expired(now);
        let Some(task) = expired else { break };
        task.alarm_expired.store(true, Ordering::Release);
        if !wake(alloc::sync::Arc::clone(&task), TaskState::Sleeping) {
            wake(task, TaskState::Waiting);
        }
    }
    let period = cpu.tick_ns.load(Ordering::Relaxed);
    if period == 0 {
        cpu.next_tick.set(u64::MAX);
    } else if cpu.next_tick.get() <= now || cpu.next_tick.get() == u64::MAX {
        // Ticks that were missed are not made up for.
        let next = cpu.next_tick.get().wrapping_add(period);
        cpu.next_tick.set(if next > now && next - now <= period { next } else { now + period });
    }
}

/// Told of each timer interrupt: the interrupted registers, the time now, the time that the
/// interrupt was due, and the period of the ticks; times in nanoseconds. Called in the interrupt.
pub type Observer = fn(&Frame, now: u64, deadline: u64, period: u64);

static OBSERVER: OnceCell<Observer> = OnceCell::new();

/// Says who is told of timer interrupts; who observes them is above this module. A second call
/// changes nothing.
pub fn set_observer(observer: Observer) {
    let _ = OBSERVER.set(observer);
}

/// Tells the observer of an interrupt that was due at `deadline`.
#[inline]
pub(super) fn observe(cpu: &CpuContext, frame: &Frame, now: u64, deadline: u64) {
    if let Some(observer) = OBSERVER.get() {
        observer(frame, now, deadline, cpu.tick_ns.load(Ordering::Relaxed));
    }
}

/// Has every CPU's timer interrupt at least every `period` nanoseconds; 0 ends that. For
/// programs that are attached to the timer.
pub fn set_tick(period: u64) {
    let irq = Arch::irq_save();
    let own = this_cpu();
    for cpu in cpus() {
        cpu.tick_ns.store(period, Ordering::Release);
        if cpu.number != own.number {
            Arch::interrupt_cpu(cpu.number);
        }
    }
    own.next_tick.set(u64::MAX);
    follow_tick(own);
    Arch::irq_restore(irq);
}

/// Begins or ends this CPU's ticks, as `set_tick` has said. Interrupts off.
pub(super) fn follow_tick(cpu: &CpuContext) {
    let period = cpu.tick_ns.load(Ordering::Acquire);
    if period == 0 {
        cpu.next_tick.set(u64::MAX);
    } else if cpu.next_tick.get() == u64::MAX {
        let next = Arch::now_ns() + period;
        cpu.next_tick.set(next);
        interrupt_at(cpu, next);
    }
}

/// A running alarm for the current task: wakes it at a deadline unless dropped before. A task has
/// one at most. That it has expired is noted in the task, because another CPU, on which the task
/// may go on, need not have reached that time.
pub(super) struct Alarm {
    deadline: u64,
    cpu: &'static CpuContext,
    id: TimerId,
}

impl Alarm {
    /// Wakes the running task at `deadline`.
    pub(super) fn set(deadline: u64) -> Self {
        let cpu = this_cpu();
        let task = current().to_arc();
        task.alarm_expired.store(false, Ordering::Relaxed);
        let id = cpu.sleepers.lock().insert(deadline, task);
        let irq = Arch::irq_save();
        interrupt_at(cpu, deadline);
        Arch::irq_restore(irq);
        Self { deadline, cpu, id }
    }

    /// Whether the deadline has come.
    pub(super) fn is_over(&self) -> bool {
        current().alarm_expired.load(Ordering::Acquire) || now_ns() >= self.deadline
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // The reference is dropped after the lock.
        let entry = self.cpu.sleepers.lock().cancel(self.id);
        drop(entry);
    }
}

/// Sleeps until `deadline`, on the scale of [`now_ns`].
///
/// # Errors
/// If a signal came first.
pub fn sleep_until(deadline: u64) -> Result<(), Interrupted> {
    let task = current();
    let alarm = Alarm::set(deadline);
    while !alarm.is_over() {
        task.set_state(TaskState::Sleeping);
        if task.has_signal() {
            task.set_state(TaskState::Running);
            return Err(Interrupted::noted());
        }
        if alarm.is_over() {
            task.set_state(TaskState::Running);
            break;
        }
        block();
    }
    Ok(())
}
