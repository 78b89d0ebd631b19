//! [`Task`]: one thread of execution, of a user's process or of the kernel.

use alloc::string::String;
use alloc::sync::Arc;
use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::{
    AtomicBool, AtomicI8, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

use kernel_sched::Entity;
use kernel_sync::SpinLock;
use kernel_vfs::{FdTable, FsContext};

use super::super::context::{Current, cpu};
use super::process::Process;
use crate::arch::{Arch, Architecture, SignalStack};
use crate::mem::virt::KernelStack;
use crate::mem::{AddressSpace, OutOfMemory};

type Context = <Arch as Architecture>::Context;
type FpState = <Arch as Architecture>::FpState;

/// Names a thread; equal to the process's number for its first thread.
pub type Tid = u32;

/// The length of a task's name with its terminator: Linux's `TASK_COMM_LEN`.
pub const NAME_BYTES: usize = 16;

/// What a task is doing, as the scheduler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TaskState {
    /// On a CPU or in a run queue.
    Running = 0,
    /// Waiting; a signal ends it.
    Sleeping = 1,
    /// Waiting for something that will come; signals have to wait too.
    Waiting = 2,
    /// Will not run again.
    Dead = 3,
    /// Waiting; only what ends the process ends it.
    Killable = 4,
}

impl TaskState {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Running,
            1 => Self::Sleeping,
            2 => Self::Waiting,
            4 => Self::Killable,
            _ => Self::Dead,
        }
    }

    /// The letter in `/proc/PID/stat`.
    pub fn letter(self) -> char {
        match self {
            Self::Running => 'R',
            Self::Sleeping => 'S',
            Self::Waiting | Self::Killable => 'D',
            Self::Dead => 'Z',
        }
    }
}

/// What only the task itself uses, through [`Current`], or the scheduler while the task is not
/// running. Nothing else reaches it, so cells suffice.
pub struct Own {
    pub(super) context: UnsafeCell<Context>,
    pub(super) fp: UnsafeCell<FpState>,
    pub(super) thread_pointer: Cell<usize>,
    space: UnsafeCell<Option<Arc<AddressSpace>>>,
    files: UnsafeCell<Option<Arc<FdTable>>>,
    fs: UnsafeCell<Option<Arc<FsContext>>>,
    pub(super) signal_stack: Cell<SignalStack>,
    /// The signal mask to put back when the pending signal has been dealt with
    /// (`rt_sigsuspend`).
    pub(super) saved_mask: Cell<Option<u64>>,
    /// Where to store a zero and wake a futex when the thread ends.
    pub(super) clear_child_tid: Cell<usize>,
    /// Where a new thread stores its own number before it returns to user mode.
    pub(super) set_child_tid: Cell<usize>,
    /// `set_robust_list`: where the list of futexes is that it holds, and the length of its head.
    pub(super) robust_list: Cell<(usize, usize)>,
    /// A wait of the present system call was ended by a signal.
    pub(super) interrupted: Cell<bool>,
    /// Until when the system call that is about to start again waits
    /// ([`Current::wait_deadline`]).
    pub(super) wait_deadline: Cell<Option<u64>>,
}

/// A thread.
pub struct Task {
    tid: AtomicU32,
    process: Arc<Process>,
    stack: Option<KernelStack>,
    own: Own,
    state: AtomicU8,
    /// The CPU whose run queue it belongs to; changed under the lock of that run queue, or by who
    /// is moving the task.
    pub(in super::super) cpu: AtomicUsize,
    /// A CPU runs it, or has not yet let go of its stack.
    pub(super) on_cpu: AtomicBool,
    /// The CPUs that it may run on, a bit for each.
    affinity: AtomicU64,
    nice: AtomicI8,
    /// Its [`Entity::virtual_ns`]; changed under the run queue's lock.
    virtual_ns: AtomicU64,
    /// Nanoseconds that it has run.
    run_ns: AtomicU64,
    /// Signals or an end to deal with before returning to user mode.
    pub(in super::super) attention: AtomicBool,
    /// The queue of `futex.rs` that it waits in, plus one; 0 for none. Changed under the lock of
    /// that queue.
    pub(super) futex_place: AtomicUsize,
    /// The deadline of its alarm has come (`timer.rs`).
    pub(super) alarm_expired: AtomicBool,
    /// Signals sent to this thread, bit `n - 1` for signal `n`.
    pub(super) pending: AtomicU64,
    /// Signals that it holds off. Written by the task itself only.
    pub(super) blocked: AtomicU64,
    /// Signals that it waits for although it may hold them off. Written by the task itself only.
    pub(super) awaited: AtomicU64,
    name: SpinLock<[u8; NAME_BYTES]>,
    /// What no other task ever has; 0 once the task has given up what it had.
    identity: AtomicU64,
    /// A thread of the kernel: runs no user code.
    kernel: bool,
}

// SAFETY: `own` is reached through `Current`, which only the running task has, and by the
// scheduler on the task's CPU; all else is atomic or locked.
unsafe impl Sync for Task {}

impl Task {
    pub(super) fn build(
        tid: Tid,
        process: Arc<Process>,
        stack: Option<KernelStack>,
        own: Own,
        name: [u8; NAME_BYTES],
    ) -> Self {
        let kernel = process.pid() == 0;
        static LAST: AtomicU64 = AtomicU64::new(0);
        let identity = AtomicU64::new(LAST.fetch_add(1, Ordering::Relaxed) + 1);
        Self {
            tid: AtomicU32::new(tid),
            process,
            stack,
            own,
            state: AtomicU8::new(TaskState::Running as u8),
            cpu: AtomicUsize::new(Arch::cpu_id()),
            on_cpu: AtomicBool::new(false),
            affinity: AtomicU64::new(u64::MAX),
            nice: AtomicI8::new(0),
            virtual_ns: AtomicU64::new(0),
            run_ns: AtomicU64::new(0),
            attention: AtomicBool::new(false),
            futex_place: AtomicUsize::new(0),
            alarm_expired: AtomicBool::new(false),
            pending: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            awaited: AtomicU64::new(0),
            name: SpinLock::new(name),
            identity,
            kernel,
        }
    }

    /// The task that a CPU's first thread becomes. Only a further CPU uses its stack: the boot
    /// CPU has one.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub(in super::super) fn idle(cpu: usize) -> Result<Arc<Self>, OutOfMemory> {
        // Its context is written when the CPU first leaves it; a stack is needed to make one.
        let stack = KernelStack::new()?;
        let own = Own::of_kernel(Arch::new_context(stack.top(), never, 0));
        let task = Self::build(0, Process::kernel(), Some(stack), own, name_from(b"idle"));
        task.cpu.store(cpu, Ordering::Relaxed);
        Ok(Arc::new(task))
    }

    /// A thread of the kernel that starts at `entry(argument)` with interrupts off.
    pub(super) fn of_kernel(
        tid: Tid,
        name: &str,
        entry: extern "C" fn(usize) -> !,
        argument: usize,
    ) -> Result<Self, OutOfMemory> {
        let stack = KernelStack::new()?;
        let own = Own::of_kernel(Arch::new_context(stack.top(), entry, argument));
        Ok(Self::build(tid, Process::kernel(), Some(stack), own, name_from(name.as_bytes())))
    }

    /// A number that no other task has had or will have; 0 for a task at its end, for which
    /// nothing may be kept any more.
    #[inline]
    pub fn identity(&self) -> u64 {
        self.identity.load(Ordering::Relaxed)
    }

    /// Ends the task's identity, and returns it.
    pub(super) fn take_identity(&self) -> u64 {
        self.identity.swap(0, Ordering::Relaxed)
    }

    /// The thread's number.
    #[inline]
    pub fn tid(&self) -> Tid {
        self.tid.load(Ordering::Relaxed)
    }

    /// `execve` in another thread than the first takes over the process's number.
    pub(super) fn set_tid(&self, tid: Tid) {
        self.tid.store(tid, Ordering::Relaxed);
    }

    /// The process that it belongs to.
    #[inline]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// The process's number.
    #[inline]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Runs no user code.
    #[inline]
    pub fn is_kernel(&self) -> bool {
        self.kernel
    }

    /// What it is doing.
    pub fn state(&self) -> TaskState {
        TaskState::from_u8(self.state.load(Ordering::SeqCst))
    }

    #[inline]
    pub(super) fn set_state(&self, state: TaskState) {
        // Ordered before the looks at what could end the wait, which follow.
        self.state.store(state as u8, Ordering::SeqCst);
    }

    /// Ends a wait: `true` for the one caller that did it.
    #[inline]
    pub(super) fn end_wait(&self, from: TaskState) -> bool {
        let to = TaskState::Running as u8;
        self.state.compare_exchange(from as u8, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The name, without terminator.
    pub fn name(&self) -> String {
        let name = *self.name.lock();
        let text = name.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// The name with its terminator, as `bpf_get_current_comm` gives it.
    pub fn name_bytes(&self) -> [u8; NAME_BYTES] {
        *self.name.lock()
    }

    /// The name, unless it is being changed: for a kernel that has failed and cannot wait.
    pub fn try_name_bytes(&self) -> Option<[u8; NAME_BYTES]> {
        self.name.try_lock().map(|name| *name)
    }

    /// Sets the name, cut to 15 bytes.
    pub fn set_name(&self, name: &[u8]) {
        *self.name.lock() = name_from(name);
    }

    /// Nanoseconds on a CPU, up to now.
    pub fn run_ns(&self) -> u64 {
        loop {
            let number = self.cpu.load(Ordering::Relaxed);
            let Some(cpu) = cpu(number) else { return 0 };
            // Under the lock, so that the present run is counted once.
            let _queue = cpu.run_queue.lock();
            if self.cpu.load(Ordering::Relaxed) != number {
                continue;
            }
            let running = core::ptr::eq(cpu.current.load(Ordering::Relaxed), self);
            let since = cpu.since.load(Ordering::Relaxed);
            let now = if running { Arch::now_ns().saturating_sub(since) } else { 0 };
            return self.run_ns.load(Ordering::Relaxed) + now;
        }
    }

    /// The CPU that it runs on, or ran on last.
    pub fn cpu(&self) -> usize {
        self.cpu.load(Ordering::Relaxed)
    }

    /// The CPUs that it may run on, a bit for each.
    pub fn affinity(&self) -> u64 {
        self.affinity.load(Ordering::Relaxed)
    }

    pub(super) fn set_affinity(&self, cpus: u64) {
        self.affinity.store(cpus, Ordering::SeqCst);
    }

    /// Its nice value, from -20 to 19.
    #[inline]
    pub fn nice(&self) -> i8 {
        self.nice.load(Ordering::Relaxed)
    }

    /// Sets the nice value, which is one.
    pub fn set_nice(&self, nice: i8) {
        self.nice.store(nice, Ordering::Relaxed);
    }

    /// Whether it may run on this CPU.
    #[inline]
    pub(super) fn may_run_on(&self, cpu: usize) -> bool {
        self.affinity() >> cpu & 1 != 0
    }

    /// What the run queue knows of it. The run queue of its CPU is locked.
    #[inline]
    pub(super) fn entity(&self) -> Entity {
        Entity { virtual_ns: self.virtual_ns.load(Ordering::Relaxed) }
    }

    #[inline]
    pub(super) fn set_entity(&self, entity: Entity) {
        self.virtual_ns.store(entity.virtual_ns, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn add_run_ns(&self, ns: u64) {
        // Only the task's CPU writes it.
        self.run_ns.store(self.run_ns.load(Ordering::Relaxed) + ns, Ordering::Relaxed);
    }

    /// One past the top of the kernel stack.
    pub fn stack_top(&self) -> usize {
        self.stack.as_ref().map_or(0, KernelStack::top)
    }

    /// What belongs to the task alone, for the scheduler.
    #[inline]
    pub(super) fn own(&self) -> &Own {
        &self.own
    }
}

impl Current {
    /// What belongs to this task alone.
    #[inline]
    pub(super) fn private(&self) -> &Own {
        &self.own
    }

    /// The user's address space; `None` in a thread of the kernel.
    #[inline]
    pub fn space(&self) -> Option<&Arc<AddressSpace>> {
        // SAFETY: only this task uses it while it runs, and changes it only through
        // `replace_space`.
        unsafe { (*self.own.space.get()).as_ref() }
    }

    /// The open files; `None` in a thread of the kernel.
    #[inline]
    pub fn files(&self) -> Option<&Arc<FdTable>> {
        // SAFETY: as in `space`.
        unsafe { (*self.own.files.get()).as_ref() }
    }

    /// Root, working directory and umask; `None` in a thread of the kernel.
    #[inline]
    pub fn fs(&self) -> Option<&Arc<FsContext>> {
        // SAFETY: as in `space`.
        unsafe { (*self.own.fs.get()).as_ref() }
    }

    /// Where the thread's end is noted (`set_tid_address`).
    pub fn set_clear_child_tid(&self, address: usize) {
        self.own.clear_child_tid.set(address);
    }

    /// The list of futexes that the thread holds, as it told (`set_robust_list`).
    pub fn robust_list(&self) -> (usize, usize) {
        self.own.robust_list.get()
    }

    /// Keeps the list.
    pub fn set_robust_list(&self, head: usize, length: usize) {
        self.own.robust_list.set((head, length));
    }

    /// When a wait of so many nanoseconds ends: counted from now, or, in a system call that starts
    /// again after the process was stopped and continued, from when it first began.
    pub fn wait_deadline(&self, nanoseconds: u64) -> u64 {
        let noted = self.own.wait_deadline.take();
        noted.unwrap_or_else(|| Arch::now_ns().saturating_add(nanoseconds))
    }

    /// The same for a wait until `deadline`.
    pub fn wait_until_deadline(&self, deadline: u64) -> u64 {
        self.own.wait_deadline.take().unwrap_or(deadline)
    }

    /// Notes until when the wait that a signal has ended would have lasted.
    pub fn note_interrupted_wait(&self, deadline: u64) {
        self.own.wait_deadline.set(Some(deadline));
    }

    /// Sets the address space; what it was.
    ///
    /// # Safety
    /// The caller holds nothing that `space` returned. Interrupts are off, unless the caller
    /// activates the new one before the task runs user code.
    pub(super) unsafe fn replace_space(
        &self,
        space: Option<Arc<AddressSpace>>,
    ) -> Option<Arc<AddressSpace>> {
        // SAFETY: only this task uses it while it runs; the caller's promise.
        unsafe { core::mem::replace(&mut *self.own.space.get(), space) }
    }

    /// Sets the open files; what they were.
    ///
    /// # Safety
    /// The caller holds nothing that `files` returned.
    pub(super) unsafe fn replace_files(&self, files: Option<Arc<FdTable>>) -> Option<Arc<FdTable>> {
        // SAFETY: as in `replace_space`.
        unsafe { core::mem::replace(&mut *self.own.files.get(), files) }
    }

    /// Sets root, working directory and umask; what they were.
    ///
    /// # Safety
    /// The caller holds nothing that `fs` returned.
    pub(super) unsafe fn replace_fs(&self, fs: Option<Arc<FsContext>>) -> Option<Arc<FsContext>> {
        // SAFETY: as in `replace_space`.
        unsafe { core::mem::replace(&mut *self.own.fs.get(), fs) }
    }
}

impl Own {
    fn of_kernel(context: Context) -> Self {
        Self::of_user(context, FpState::default(), 0, None, None, None)
    }

    /// The private part of a new thread.
    pub(super) fn of_user(
        context: Context,
        fp: FpState,
        thread_pointer: usize,
        space: Option<Arc<AddressSpace>>,
        files: Option<Arc<FdTable>>,
        fs: Option<Arc<FsContext>>,
    ) -> Self {
        Self {
            context: UnsafeCell::new(context),
            fp: UnsafeCell::new(fp),
            thread_pointer: Cell::new(thread_pointer),
            space: UnsafeCell::new(space),
            files: UnsafeCell::new(files),
            fs: UnsafeCell::new(fs),
            signal_stack: Cell::new(SignalStack::default()),
            saved_mask: Cell::new(None),
            clear_child_tid: Cell::new(0),
            set_child_tid: Cell::new(0),
            robust_list: Cell::new((0, 0)),
            interrupted: Cell::new(false),
            wait_deadline: Cell::new(None),
        }
    }

    /// The address space, for the scheduler.
    ///
    /// # Safety
    /// The task is not running, or this is its CPU with interrupts off.
    #[inline]
    pub(super) unsafe fn space(&self) -> Option<&Arc<AddressSpace>> {
        // SAFETY: the caller's promise.
        unsafe { (*self.space.get()).as_ref() }
    }
}

/// A name cut to fit, filled with zeros.
pub(super) fn name_from(text: &[u8]) -> [u8; NAME_BYTES] {
    let mut name = [0; NAME_BYTES];
    for (to, from) in name.iter_mut().take(NAME_BYTES - 1).zip(text) {
        *to = *from;
    }
    name
}

/// The idle task is never started: it is what the CPU did before it had tasks.
extern "C" fn never(_: usize) -> ! {
    loop {
        Arch::wait_for_interrupt();
    }
}
