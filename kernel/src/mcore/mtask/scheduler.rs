//! Who runs when: the run queues, the switch, and preemption on the way back to user mode.
//!
//! A task is in exactly one place: on a CPU (which holds a reference to it), in that CPU's run
//! queue, waiting, held by whoever will wake it, or on its way to another CPU, held by who moves
//! it. Waking happens under the run queue's lock of the task's CPU, and so does the decision to
//! leave the CPU: a wake-up that comes between a task's decision to wait and its leaving finds
//! the task still current and only undoes the decision. One that comes while the CPU is leaving
//! the task's stack (`Task::on_cpu`) queues it there, and nobody moves it from there until the
//! CPU has left it ([`finish_switch`]). Which CPU runs a task is `balance.rs`.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use kernel_sched::{Entity, SLICE_NS, nice};

use super::super::context::{self, CpuContext, current, this_cpu};
use super::process::Process;
use super::task::{Task, TaskState};
use super::{balance, delivery, exit, family, timer};
use crate::arch::{Arch, Architecture};
use crate::mem::{AddressSpace, OutOfMemory};

type Frame = <Arch as Architecture>::Frame;

/// What a thread of the kernel does.
pub type TaskEntry = fn();

/// Why the running task calls the scheduler.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It waits, unless it has been woken already, or has ended.
    Block,
    /// Its slice is over, or somebody more urgent is ready.
    Preempt,
    /// It gives way.
    Yield,
}

/// Starts a thread of the kernel. It ends when `entry` returns.
///
/// # Errors
/// If there is no memory for it.
pub fn spawn_kernel_thread(name: &str, entry: TaskEntry) -> Result<Arc<Task>, OutOfMemory> {
    if !family::count_task() {
        return Err(OutOfMemory);
    }
    let tid = family::allocate_tid();
    let task = Task::of_kernel(tid, name, kernel_thread, entry as usize);
    let task = Arc::new(task.inspect_err(|_| family::uncount_task())?);
    Process::kernel().threads.lock().push(Arc::clone(&task));
    start(Arc::clone(&task))?;
    Ok(task)
}

/// The first code of a thread of the kernel.
extern "C" fn kernel_thread(entry: usize) -> ! {
    finish_switch();
    // SAFETY: `spawn_kernel_thread` made the number from a `TaskEntry`.
    let entry: TaskEntry = unsafe { core::mem::transmute(entry) };
    Arch::irq_enable();
    entry();
    exit::end_thread()
}

/// Puts a new task into the run queue of a CPU that has little to do.
pub(super) fn start(task: Arc<Task>) -> Result<(), OutOfMemory> {
    balance::make_room(family::task_count())?;
    let cpu = balance::for_new(&task);
    task.cpu.store(cpu.number, Ordering::Relaxed);
    let mut queue = cpu.run_queue.lock();
    let entity = queue.start();
    task.set_entity(entity);
    let affinity = task.affinity();
    queue.requeue(task, entity);
    let queued = queue.len();
    cpu.queued.store(queued, Ordering::Relaxed);
    drop(queue);
    let idle = !cpu.is_busy();
    announce(cpu, idle, queued, affinity);
    Ok(())
}

/// Puts a task that is nowhere into the run queue of a CPU, where it is so far behind the others.
/// The task's CPU is set already.
pub(super) fn arrive(cpu: &CpuContext, task: Arc<Task>, lag: i64) {
    let mut queue = cpu.run_queue.lock();
    let entity = queue.arriving(lag);
    let (entity, at_once) = queue.waking(entity, running(cpu));
    task.set_entity(entity);
    let affinity = task.affinity();
    queue.requeue(task, entity);
    let queued = queue.len();
    cpu.queued.store(queued, Ordering::Relaxed);
    drop(queue);
    announce(cpu, at_once, queued, affinity);
}

/// How long the running task of a CPU has run, unless it is idle. The run queue is locked.
fn running(cpu: &CpuContext) -> Option<Entity> {
    let running = cpu.current.load(Ordering::Relaxed);
    if core::ptr::eq(running, Arc::as_ptr(&cpu.idle)) {
        return None;
    }
    // SAFETY: the CPU holds a reference to its current task, and does not change it while the
    // queue is locked.
    let running = unsafe { &*running };
    let mut entity = running.entity();
    let ran = Arch::now_ns().saturating_sub(cpu.since.load(Ordering::Relaxed));
    entity.virtual_ns += nice::virtual_time(ran, running.nice());
    Some(entity)
}

/// Has a CPU look at its run queue, in which there are so many tasks now, the last of which may run
/// on the CPUs in `affinity`: `at_once`, or when the running task has had its slice.
fn announce(cpu: &CpuContext, at_once: bool, queued: usize, affinity: u64) {
    if at_once {
        cpu.need_resched.store(true, Ordering::Release);
    }
    if cpu.number == Arch::cpu_id() {
        expect_slice_end(cpu);
    } else if at_once || queued == 1 {
        Arch::interrupt_cpu(cpu.number);
    }
    if cpu.is_busy() {
        balance::offer(affinity);
    }
}

/// Wakes a task that waits in `state`; `false` if it does not.
pub(super) fn wake(task: Arc<Task>, state: TaskState) -> bool {
    loop {
        let number = task.cpu.load(Ordering::Relaxed);
        let Some(cpu) = context::cpu(number) else { return false };
        let mut queue = cpu.run_queue.lock();
        if task.cpu.load(Ordering::Relaxed) != number {
            continue;
        }
        if !task.end_wait(state) {
            return false;
        }
        let current = cpu.current.load(Ordering::Relaxed);
        if core::ptr::eq(current, Arc::as_ptr(&task)) {
            // It has not left the CPU yet, and will not.
            return true;
        }
        if Arch::cpus_online() > 1 && !task.on_cpu.load(Ordering::Acquire) {
            let target = balance::for_woken(&task, cpu);
            if target.number != number {
                let lag = queue.lag(task.entity());
                task.cpu.store(target.number, Ordering::Relaxed);
                drop(queue);
                arrive(target, task, lag);
                return true;
            }
        }
        let (entity, at_once) = queue.waking(task.entity(), running(cpu));
        task.set_entity(entity);
        let affinity = task.affinity();
        queue.requeue(task, entity);
        let queued = queue.len();
        cpu.queued.store(queued, Ordering::Relaxed);
        drop(queue);
        announce(cpu, at_once, queued, affinity);
        return true;
    }
}

/// Has a task that runs on another CPU come into the kernel, where it looks at its `attention`.
pub(super) fn prod(task: &Task) {
    // In this order: a task that is on a CPU has been moved there before.
    if task.on_cpu.load(Ordering::SeqCst) {
        let number = task.cpu.load(Ordering::Relaxed);
        if number != Arch::cpu_id() {
            Arch::interrupt_cpu(number);
        }
    }
}

/// Sees to it that the running task is interrupted at the end of its slice, now that another
/// one waits. The CPU is this one.
fn expect_slice_end(cpu: &CpuContext) {
    if !cpu.is_busy() {
        return;
    }
    let irq = Arch::irq_save();
    let end = cpu.since.load(Ordering::Relaxed) + SLICE_NS;
    if end < cpu.slice_end.get() {
        cpu.slice_end.set(end);
        timer::interrupt_at(cpu, end);
    }
    Arch::irq_restore(irq);
}

/// Waits until woken. The caller has set its state and told a waker of itself; if it has been
/// woken since, returns at once.
pub(super) fn block() {
    switch(Reason::Block);
}

/// Lets another task run, if one waits.
pub fn yield_now() {
    switch(Reason::Yield);
}

/// Lets another task run if it is its turn: for what takes long in the kernel. Unlike one that
/// yields, the running task gives up nothing of its share.
pub fn give_way() {
    if this_cpu().need_resched.load(Ordering::Relaxed) {
        switch(Reason::Preempt);
    }
}

/// The same where it is not known whether the caller may wait.
pub(in super::super) fn give_way_if_possible() {
    if this_cpu().need_resched.load(Ordering::Relaxed) && context::can_sleep() {
        switch(Reason::Preempt);
    }
}

fn switch(reason: Reason) {
    let irq = Arch::irq_save();
    let cpu = this_cpu();
    let previous = cpu.current.load(Ordering::Relaxed);
    // SAFETY: the CPU holds a reference to its current task.
    let running = unsafe { &*previous };
    let mut queue = cpu.run_queue.lock();
    let idle = core::ptr::eq(previous, Arc::as_ptr(&cpu.idle));
    if reason == Reason::Block && !idle && running.state() == TaskState::Running {
        drop(queue);
        Arch::irq_restore(irq);
        return;
    }
    let runs_on = !idle && reason != Reason::Block;
    let moves = runs_on && !running.may_run_on(cpu.number);
    if runs_on && !moves && queue.is_empty() {
        cpu.need_resched.store(false, Ordering::Relaxed);
        drop(queue);
        Arch::irq_restore(irq);
        return;
    }
    // Account for the time that it has run.
    let now = Arch::now_ns();
    let ran = now.saturating_sub(cpu.since.load(Ordering::Relaxed));
    cpu.since.store(now, Ordering::Relaxed);
    running.add_run_ns(ran);
    let mut entity = running.entity();
    entity.virtual_ns += nice::virtual_time(ran, running.nice());
    let goes_on = runs_on && !moves;
    if goes_on {
        // SAFETY: the CPU's reference moves to the queue.
        let task = unsafe { Arc::from_raw(previous) };
        if reason == Reason::Yield {
            entity = queue.yielding(entity);
        }
        queue.requeue(task, entity);
    }
    let next = queue.pop();
    running.set_entity(entity);
    let next = next.unwrap_or_else(|| Arc::clone(&cpu.idle));
    let queued = queue.len();
    cpu.queued.store(queued, Ordering::Relaxed);
    let next = Arc::into_raw(next).cast_mut();
    let same = core::ptr::eq(previous, next);
    if !same {
        // SAFETY: the reference that was taken from the queue is the CPU's now.
        unsafe { &*next }.on_cpu.store(true, Ordering::SeqCst);
        cpu.current.store(next, Ordering::Relaxed);
        cpu.left.set(previous);
    }
    // SAFETY: the CPU holds a reference to it.
    let stays = unsafe { &*next }.may_run_on(cpu.number);
    // While the queue is locked: who queues a task afterwards may ask for another switch.
    cpu.need_resched.store(!stays, Ordering::Relaxed);
    drop(queue);
    if goes_on && !same {
        balance::offer(running.affinity());
    }
    if queued > 0 {
        cpu.slice_end.set(now + SLICE_NS);
        timer::interrupt_at(cpu, now + SLICE_NS);
    } else {
        cpu.slice_end.set(u64::MAX);
    }
    if same {
        if idle {
            // The queue was empty: the idle task's reference was taken once more.
            // SAFETY: made by `Arc::into_raw` above; the CPU holds another.
            drop(unsafe { Arc::from_raw(next) });
        }
        Arch::irq_restore(irq);
        return;
    }
    if !goes_on {
        // SAFETY: the CPU's reference moves here; it is dropped after the switch.
        cpu.previous.set(Some(unsafe { Arc::from_raw(previous) }));
        cpu.moves.set(moves);
    }
    cpu.switches.store(cpu.switches.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    // SAFETY: both are kept alive: `next` by the CPU, `previous` by the queue, in which it stays
    // while `on_cpu` is set, by `cpu.previous`, or as the idle task; interrupts are off and this
    // is their CPU.
    unsafe { switch_to(cpu, running, &*next) };
    finish_switch();
    Arch::irq_restore(irq);
}

/// # Safety
/// `from` is the running task and `to` one that is saved, both on this CPU and alive until they
/// run again; interrupts are off.
unsafe fn switch_to(cpu: &CpuContext, from: &Task, to: &Task) {
    let (old, new) = (from.own(), to.own());
    if !from.is_kernel() {
        // SAFETY: the state of a running task is used by nobody else.
        Arch::save_fp(unsafe { &mut *old.fp.get() });
        old.thread_pointer.set(Arch::thread_pointer());
    }
    if !to.is_kernel() {
        // SAFETY: the state of a task that is being switched to is used by nobody else.
        Arch::restore_fp(unsafe { &*new.fp.get() });
        Arch::set_thread_pointer(new.thread_pointer.get());
        Arch::set_kernel_stack(to.stack_top());
        // SAFETY: this is the task's CPU, with interrupts off.
        if let Some(space) = unsafe { new.space() } {
            activate(cpu, space);
        }
    }
    // SAFETY: the caller's promise.
    unsafe { Arch::switch(old.context.get(), new.context.get()) };
}

/// Makes `space` the active one of this CPU and keeps it while it is. Interrupts off.
pub(super) fn activate(cpu: &CpuContext, space: &Arc<AddressSpace>) {
    let active = cpu.space.take();
    if let Some(same) = active.as_ref().filter(|active| Arc::ptr_eq(active, space)) {
        if !same.is_active() {
            // It was left while there was no task of it here.
            same.activate();
        }
        cpu.space.set(active);
        return;
    }
    space.activate();
    cpu.space.set(Some(Arc::clone(space)));
    // Only now is nothing of the old one in use here.
    if let Some(old) = active {
        old.deactivated();
    }
}

/// Has this CPU use no user's page tables any more, if it runs no user's task: whether it did.
/// Interrupts off. The space stays noted, and is activated again by the next task of it.
pub fn leave_unused_space() -> bool {
    if !context::is_running() || !current().is_kernel() {
        return false;
    }
    let cpu = this_cpu();
    let space = cpu.space.take();
    Arch::activate_kernel();
    if let Some(space) = &space {
        space.deactivated();
    }
    cpu.space.set(space);
    true
}

/// What a task does first after it was switched to: lets go of the one before.
pub(super) fn finish_switch() {
    let cpu = this_cpu();
    let left = cpu.left.replace(core::ptr::null());
    // SAFETY: null, or the task before, which is kept alive: in the run queue while `on_cpu` is
    // set, by `cpu.previous`, or as the idle task.
    if let Some(left) = unsafe { left.as_ref() } {
        // All that this CPU has written for the task is seen by the CPU that sees this.
        left.on_cpu.store(false, Ordering::Release);
    }
    let previous = cpu.previous.take();
    if cpu.moves.replace(false)
        && let Some(task) = previous
    {
        balance::send_away(cpu, task);
    }
}

/// What the CPU does when no task can run; never returns. Called by its first thread.
pub fn idle() -> ! {
    Arch::irq_disable();
    // What start-up did until here was work.
    this_cpu().since.store(Arch::now_ns(), Ordering::Relaxed);
    loop {
        let cpu = this_cpu();
        if cpu.waiting() > 0 || balance::look_for_work(cpu) {
            switch(Reason::Block);
            continue;
        }
        Arch::wait_for_interrupt();
        balance::stop_looking(cpu);
    }
}

/// The CPU's timer has interrupted. Interrupts off.
pub fn timer_interrupt(frame: &mut Frame) {
    if !context::is_running() {
        return;
    }
    let cpu = this_cpu();
    let now = Arch::now_ns();
    let deadline = cpu.timer_set.replace(u64::MAX);
    timer::observe(cpu, frame, now, deadline.min(now));
    timer::expire(cpu, now);
    if cpu.slice_end.get() <= now {
        cpu.slice_end.set(u64::MAX);
        cpu.need_resched.store(true, Ordering::Relaxed);
        balance::push(cpu, now);
    }
    timer::program(cpu);
}

/// Another CPU has interrupted this one: there may be a task in the run queue, a change of the
/// timer's ticks, or something for the running task to look at on its way to user mode.
/// Interrupts off.
pub fn other_cpu() {
    if !context::is_running() {
        return;
    }
    let cpu = this_cpu();
    timer::follow_tick(cpu);
    if cpu.waiting() > 0 {
        expect_slice_end(cpu);
    }
}

/// Before each return to user mode, interrupts off: gives way if others should run, and sees
/// to signals. Returns with interrupts off.
#[inline]
pub fn return_to_user(frame: &mut Frame) {
    let cpu = this_cpu();
    // Ordered behind the task's being on this CPU, which who wants attention looks at (`prod`).
    if cpu.need_resched.load(Ordering::Relaxed) || current().attention.load(Ordering::SeqCst) {
        return_slowly(frame);
    }
}

#[cold]
fn return_slowly(frame: &mut Frame) {
    loop {
        if this_cpu().need_resched.load(Ordering::Relaxed) {
            switch(Reason::Preempt);
        } else if current().attention.load(Ordering::Relaxed) {
            Arch::irq_enable();
            delivery::deliver(frame);
            Arch::irq_disable();
        } else {
            return;
        }
    }
}
