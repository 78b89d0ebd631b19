//! What each CPU knows: the task that it runs, the tasks that wait to run on it, its sleepers.
//!
//! The CPU's per-CPU register points to its [`CpuContext`], whose first word is the running
//! task, so [`current`] is two loads. A CPU changes its own context with interrupts off; others
//! only take its locks.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::Cell;
use core::marker::PhantomData;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use kernel_sched::{RunQueue, TimerQueue};
use kernel_sync::SpinLock;

use super::mtask::task::Task;
use crate::arch::{Arch, Architecture};
use crate::mem::AddressSpace;

/// The most CPUs that the kernel keeps track of.
pub const MAX_CPUS: usize = 64;

/// One CPU.
pub struct CpuContext {
    /// The running task: one strong reference, as a raw pointer.
    pub(super) current: AtomicPtr<Task>,
    /// The running task has to give way before it returns to user mode.
    pub(super) need_resched: AtomicBool,
    /// The CPU is in its idle loop or in user mode, or has been since the last look.
    pub(super) quiescent: AtomicU64,
    pub(super) number: usize,
    /// Runs when nothing else can.
    pub(super) idle: Arc<Task>,
    pub(super) run_queue: SpinLock<RunQueue<Arc<Task>>>,
    pub(super) sleepers: SpinLock<TimerQueue<Arc<Task>>>,
    /// When the running task has had its slice, if others wait.
    pub(super) slice_end: Cell<u64>,
    /// When the running task was put on the CPU or last accounted for.
    pub(super) since: Cell<u64>,
    /// When the timer will interrupt; `u64::MAX` if it will not.
    pub(super) timer_set: Cell<u64>,
    /// A further reason for the timer to interrupt, period in nanoseconds; 0 for none.
    pub(super) tick_ns: AtomicU64,
    pub(super) next_tick: Cell<u64>,
    /// The task that ran before, while the one after it has not let go of it.
    pub(super) previous: Cell<Option<Arc<Task>>>,
    /// Whose address space is active; kept until another one is.
    pub(super) space: Cell<Option<Arc<AddressSpace>>>,
    /// Context switches since start-up.
    pub(super) switches: AtomicU64,
    /// For the layer that runs programs at hooks: which one runs here, null if none does.
    program: AtomicPtr<()>,
}

// SAFETY: the cells are used by the CPU itself only, with interrupts off; the rest is atomic
// or locked.
unsafe impl Sync for CpuContext {}

static CPUS: [AtomicPtr<CpuContext>; MAX_CPUS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];

/// The running task. Not to be kept beyond the call it was asked for in.
#[derive(Clone, Copy)]
pub struct Current {
    task: &'static Task,
    /// Belongs to this task: not to be sent to another.
    not_send: PhantomData<*mut ()>,
}

impl Deref for Current {
    type Target = Task;
    #[inline]
    fn deref(&self) -> &Task {
        self.task
    }
}

impl Current {
    /// A reference of one's own.
    pub fn to_arc(self) -> Arc<Task> {
        // SAFETY: the CPU holds one strong reference to the running task, made by
        // `Arc::into_raw`; this adds another.
        unsafe {
            Arc::increment_strong_count(self.task);
            Arc::from_raw(self.task)
        }
    }
}

/// This CPU's context. Meaningful while the caller cannot be moved to another CPU: always in
/// the kernel, as long as it does not wait.
#[inline]
pub fn this_cpu() -> &'static CpuContext {
    // SAFETY: `init_cpu` has stored a leaked box; nothing before it calls this.
    unsafe { &*Arch::cpu_local().cast::<CpuContext>() }
}

/// The running task.
#[inline]
pub fn current() -> Current {
    // SAFETY: a CPU with a context always has a running task, which it holds a reference to;
    // `Current` does not outlive the task's being current, for only the task has it.
    let task = unsafe { &*this_cpu().current.load(Ordering::Relaxed) };
    Current { task, not_send: PhantomData }
}

/// The running task, if tasks exist yet.
#[inline]
pub fn try_current() -> Option<Current> {
    (!Arch::cpu_local().is_null()).then(current)
}

/// Whether tasks exist yet: whether [`current`] may be called.
pub fn is_running() -> bool {
    !Arch::cpu_local().is_null()
}

/// Whether the caller may wait: it is a task, not the idle loop or the start-up code, and
/// interrupts are on.
pub fn can_sleep() -> bool {
    is_running()
        && Arch::irqs_enabled()
        && !core::ptr::eq(&raw const *current(), Arc::as_ptr(&this_cpu().idle))
}

/// A CPU's context by its number.
pub fn cpu(number: usize) -> Option<&'static CpuContext> {
    let pointer = CPUS.get(number)?.load(Ordering::Acquire);
    // SAFETY: null, or a leaked box.
    unsafe { pointer.as_ref() }
}

/// All CPUs that run tasks.
pub fn cpus() -> impl Iterator<Item = &'static CpuContext> {
    (0..MAX_CPUS).map_while(cpu)
}

impl CpuContext {
    /// The CPU's number.
    pub fn number(&self) -> usize {
        self.number
    }

    /// When the running task was put on the CPU, for the CPU itself.
    pub fn running_since(&self) -> u64 {
        self.since.get()
    }

    /// Context switches since start-up.
    pub fn switches(&self) -> u64 {
        self.switches.load(Ordering::Relaxed)
    }

    /// Where the program that runs at a hook on this CPU is noted.
    #[inline]
    pub fn program(&self) -> &AtomicPtr<()> {
        &self.program
    }

    /// Nanoseconds without a task to run, up to the last time one was found.
    pub fn idle_ns(&self) -> u64 {
        self.idle.run_ns()
    }

    /// Tasks that could run and wait for the CPU.
    pub fn waiting(&self) -> usize {
        self.run_queue.lock().len()
    }
}

/// Gives this CPU its context; its present thread becomes the idle task. Interrupts off.
pub(super) fn init_cpu() {
    let number = Arch::cpu_id();
    let idle = Task::idle(number);
    let context = Box::leak(Box::new(CpuContext {
        current: AtomicPtr::new(Arc::into_raw(Arc::clone(&idle)).cast_mut()),
        need_resched: AtomicBool::new(false),
        quiescent: AtomicU64::new(0),
        number,
        idle,
        run_queue: SpinLock::new(RunQueue::new()),
        sleepers: SpinLock::new(TimerQueue::new()),
        slice_end: Cell::new(u64::MAX),
        since: Cell::new(Arch::now_ns()),
        timer_set: Cell::new(u64::MAX),
        tick_ns: AtomicU64::new(0),
        next_tick: Cell::new(u64::MAX),
        previous: Cell::new(None),
        space: Cell::new(None),
        switches: AtomicU64::new(0),
        program: AtomicPtr::new(core::ptr::null_mut()),
    }));
    if let Some(slot) = CPUS.get(number) {
        slot.store(context, Ordering::Release);
    }
    // SAFETY: the box is leaked: valid for good.
    unsafe { Arch::set_cpu_local(core::ptr::from_mut(context).cast()) };
}
