//! What each CPU knows: the task that it runs, the tasks that wait to run on it, its sleepers.
//!
//! The CPU's per-CPU register points to its [`CpuContext`], whose first word is the running
//! task, so [`current`] is two loads. A CPU changes its own context with interrupts off; others
//! only take its locks, and read what is atomic.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::Cell;
use core::marker::PhantomData;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use kernel_sched::{RunQueue, TimerQueue};
use kernel_sync::SpinLock;

use super::mtask::quiescent;
use super::mtask::task::Task;
use crate::arch::{Arch, Architecture, CpuStart, MAX_CPUS};
use crate::mem::{AddressSpace, OutOfMemory};

/// One CPU.
pub struct CpuContext {
    /// The running task: one strong reference, as a raw pointer. Changed under the run queue's
    /// lock.
    pub(super) current: AtomicPtr<Task>,
    /// The running task has to give way before it returns to user mode.
    pub(super) need_resched: AtomicBool,
    pub(super) number: usize,
    /// Runs when nothing else can.
    pub(super) idle: Arc<Task>,
    pub(super) run_queue: SpinLock<RunQueue<Arc<Task>>>,
    /// How many tasks are in the run queue: changed under its lock, read without.
    pub(super) queued: AtomicUsize,
    /// When this CPU last looked whether another one has less to do.
    pub(super) balanced: Cell<u64>,
    /// Since when its tasks have to share it, or when it last passed one on.
    pub(super) shared_since: Cell<u64>,
    pub(super) sleepers: SpinLock<TimerQueue<Arc<Task>>>,
    /// When the running task has had its slice, if others wait.
    pub(super) slice_end: Cell<u64>,
    /// When the running task was put on the CPU or last accounted for. Changed under the run
    /// queue's lock.
    pub(super) since: AtomicU64,
    /// When the timer will interrupt; `u64::MAX` if it will not.
    pub(super) timer_set: Cell<u64>,
    /// A further reason for the timer to interrupt, period in nanoseconds; 0 for none.
    pub(super) tick_ns: AtomicU64,
    pub(super) next_tick: Cell<u64>,
    /// The task that ran before, whose stack the one after it finds left when it runs.
    pub(super) left: Cell<*const Task>,
    /// The same, if it is not in the run queue again and has to be let go of.
    pub(super) previous: Cell<Option<Arc<Task>>>,
    /// It may not run on this CPU any more, and goes to another one.
    pub(super) moves: Cell<bool>,
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

    /// Context switches since start-up.
    pub fn switches(&self) -> u64 {
        self.switches.load(Ordering::Relaxed)
    }

    /// Where the program that runs at a hook on this CPU is noted.
    #[inline]
    pub fn program(&self) -> &AtomicPtr<()> {
        &self.program
    }

    /// Nanoseconds without a task to run.
    pub fn idle_ns(&self) -> u64 {
        self.idle.run_ns()
    }

    /// Tasks that could run and wait for the CPU.
    pub fn waiting(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Whether it has a task to run.
    pub fn is_busy(&self) -> bool {
        !core::ptr::eq(self.current.load(Ordering::Relaxed), Arc::as_ptr(&self.idle))
    }
}

/// The context of a CPU that will have this number, for good.
fn new(number: usize) -> Result<&'static CpuContext, OutOfMemory> {
    let idle = Task::idle(number)?;
    Ok(Box::leak(Box::new(CpuContext {
        current: AtomicPtr::new(Arc::into_raw(Arc::clone(&idle)).cast_mut()),
        need_resched: AtomicBool::new(false),
        number,
        idle,
        run_queue: SpinLock::new(RunQueue::new()),
        queued: AtomicUsize::new(0),
        balanced: Cell::new(0),
        shared_since: Cell::new(0),
        sleepers: SpinLock::new(TimerQueue::new()),
        slice_end: Cell::new(u64::MAX),
        since: AtomicU64::new(Arch::now_ns()),
        timer_set: Cell::new(u64::MAX),
        tick_ns: AtomicU64::new(0),
        next_tick: Cell::new(u64::MAX),
        left: Cell::new(core::ptr::null()),
        previous: Cell::new(None),
        moves: Cell::new(false),
        space: Cell::new(None),
        switches: AtomicU64::new(0),
        program: AtomicPtr::new(core::ptr::null_mut()),
    })))
}

/// Makes a context this CPU's; its present thread becomes the idle task. Interrupts off.
fn adopt(context: &'static CpuContext) {
    context.since.store(Arch::now_ns(), Ordering::Relaxed);
    // SAFETY: the context stays for good.
    unsafe { Arch::set_cpu_local(core::ptr::from_ref(context).cast_mut().cast()) };
    quiescent::online(context);
    if let Some(slot) = CPUS.get(context.number) {
        slot.store(core::ptr::from_ref(context).cast_mut(), Ordering::Release);
    }
}

/// Gives the boot CPU its context. Interrupts off.
#[expect(clippy::expect_used, reason = "start-up cannot go on without it")]
pub(super) fn init_boot_cpu() {
    adopt(new(Arch::cpu_id()).expect("no memory for the boot CPU's context"));
}

/// Starts every further CPU that there is; each waits for tasks then.
pub(super) fn start_others() {
    let found = Arch::cpus_found();
    for index in 1..found {
        let number = Arch::cpus_online();
        let Ok(context) = new(number) else {
            log::error!("no memory for CPU {number}");
            break;
        };
        let start = CpuStart {
            number,
            stack_top: context.idle.stack_top(),
            entry: further_cpu,
            argument: core::ptr::from_ref(context) as usize,
        };
        if !Arch::start_cpu(index, start) {
            log::error!("CPU {index} of {found} does not start");
            continue;
        }
        // It is on its way.
        while cpu(number).is_none() {
            Arch::relax();
        }
    }
    let (online, named) = (Arch::cpus_online(), Arch::cpus_named());
    log::info!("{online} of {found} CPUs at work");
    if online < named {
        log::warn!("{} of the {named} CPUs that firmware names are not used", named - online);
    }
}

/// The first code of a further CPU, interrupts off.
extern "C" fn further_cpu(context: usize) -> ! {
    // SAFETY: `start_others` made the number from a context that stays for good.
    adopt(unsafe { &*(context as *const CpuContext) });
    super::idle()
}
