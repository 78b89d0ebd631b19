//! [`Process`]: what the threads of a program share, and what is left of it for its parent.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use kernel_sync::{Mutex, OnceCell, SpinLock};
use kernel_vfs::{Dentry, FdTable, FsContext};

use super::credentials::Credentials;
use super::interval::Interval;
use super::signal::Signals;
use super::task::Task;
use super::wait::WaitQueue;
use crate::arch::{Arch, Architecture};
use crate::mem::AddressSpace;

/// Names a process.
pub type Pid = u32;

/// The resources that other processes can look at (`/proc`); the threads have their own
/// references.
#[derive(Default)]
pub struct Resources {
    pub space: Option<Arc<AddressSpace>>,
    pub files: Option<Arc<FdTable>>,
    pub fs: Option<Arc<FsContext>>,
    /// The arguments, each with its terminator.
    pub arguments: Option<Arc<Vec<u8>>>,
    /// The environment that it began with, likewise.
    pub environment: Option<Arc<Vec<u8>>>,
    /// The program.
    pub executable: Option<Arc<Dentry>>,
}

/// A process. Its place among the others is kept by [`family`](super::family).
pub struct Process {
    pid: Pid,
    /// The parent's number; changed by `family` when the parent ends.
    pub(super) parent: AtomicU32,
    pub(super) group: AtomicU32,
    pub(super) session: AtomicU32,
    pub(super) threads: SpinLock<Vec<Arc<Task>>>,
    pub(super) signals: SpinLock<Signals>,
    /// Bits of the signals that are pending for the process as a whole; changed under the
    /// lock of `signals`.
    pub(super) shared_pending: AtomicU64,
    resources: SpinLock<Resources>,
    credentials: SpinLock<Credentials>,
    /// Others with the same identity may see what it has; changed under the lock of the credentials.
    dumpable: AtomicBool,
    /// Where the parent waits for its children.
    pub(super) child_event: WaitQueue,
    /// The signal that has stopped the process; 0 while it runs. Changed under the lock of
    /// `signals`.
    pub(super) stopped: AtomicU32,
    /// Where its threads wait while it is stopped.
    pub(super) stop_event: WaitQueue,
    /// A change that the parent has not been told by `wait4`: 0, the signal that stopped the
    /// process, or [`CONTINUED`].
    pub(super) report: AtomicU32,
    /// The status that `wait4` reports, once the process is to end: [`NOT_ENDING`] before.
    pub(super) ending: AtomicUsize,
    /// Where a `vfork`ing parent waits for `execve` or the end, and whether it has come.
    pub(super) released: AtomicU32,
    pub(super) release_event: WaitQueue,
    /// The signal that tells the parent of the end: `SIGCHLD`, or as `clone` said.
    pub(super) exit_signal: AtomicU32,
    /// Nanoseconds run by threads that have ended (changed under the lock of the threads), and by
    /// children that were waited for.
    pub(super) ended_threads_ns: AtomicU64,
    pub(super) children_ns: AtomicU64,
    /// The thread that goes on alone (`execve`); 0 if there is none. Changed under the lock of
    /// the threads.
    pub(super) sole_thread: AtomicU32,
    /// `execve` has been done since the process was forked (`setpgid` asks).
    pub(super) has_execed: AtomicU32,
    /// Its interval timer; a lock that may sleep.
    pub(super) interval: Mutex<Interval>,
    started_ns: u64,
}

/// The value of `Process::report` after the process was continued; also its wait status.
pub(super) const CONTINUED: u32 = 0xffff;

/// The value of `Process::ending` while no end is decided.
pub(super) const NOT_ENDING: usize = usize::MAX;

static KERNEL: OnceCell<Arc<Process>> = OnceCell::new();

impl Process {
    /// A process without threads, not yet in the family.
    pub(super) fn new(
        pid: Pid,
        parent: &Self,
        signals: Signals,
        resources: Resources,
        exit_signal: u32,
    ) -> Self {
        Self {
            pid,
            parent: AtomicU32::new(parent.pid),
            group: AtomicU32::new(parent.group()),
            session: AtomicU32::new(parent.session()),
            credentials: SpinLock::new(parent.credentials()),
            dumpable: AtomicBool::new(parent.is_dumpable()),
            ..Self::blank(pid, signals, resources, exit_signal)
        }
    }

    fn blank(pid: Pid, signals: Signals, resources: Resources, exit_signal: u32) -> Self {
        Self {
            pid,
            parent: AtomicU32::new(0),
            group: AtomicU32::new(0),
            session: AtomicU32::new(0),
            threads: SpinLock::new(Vec::new()),
            signals: SpinLock::new(signals),
            shared_pending: AtomicU64::new(0),
            resources: SpinLock::new(resources),
            credentials: SpinLock::new(Credentials::ROOT),
            dumpable: AtomicBool::new(true),
            child_event: WaitQueue::new(),
            stopped: AtomicU32::new(0),
            stop_event: WaitQueue::new(),
            report: AtomicU32::new(0),
            ending: AtomicUsize::new(NOT_ENDING),
            released: AtomicU32::new(0),
            release_event: WaitQueue::new(),
            exit_signal: AtomicU32::new(exit_signal),
            ended_threads_ns: AtomicU64::new(0),
            children_ns: AtomicU64::new(0),
            sole_thread: AtomicU32::new(0),
            has_execed: AtomicU32::new(0),
            interval: Mutex::new(Interval::default()),
            started_ns: Arch::now_ns(),
        }
    }

    /// The process of the kernel's own threads, number 0.
    pub fn kernel() -> Arc<Self> {
        if let Some(kernel) = KERNEL.get() {
            return Arc::clone(kernel);
        }
        let kernel = Arc::new(Self::blank(0, Signals::default(), Resources::default(), 0));
        // If it was set meanwhile, that one counts.
        let _ = KERNEL.set(Arc::clone(&kernel));
        KERNEL.get().map_or(kernel, Arc::clone)
    }

    /// The process's number.
    #[inline]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The parent's number; 0 for the first process.
    #[inline]
    pub fn parent(&self) -> Pid {
        self.parent.load(Ordering::Relaxed)
    }

    /// The process group.
    pub fn group(&self) -> Pid {
        self.group.load(Ordering::Relaxed)
    }

    /// The session.
    pub fn session(&self) -> Pid {
        self.session.load(Ordering::Relaxed)
    }

    /// When it began, on the scale of `now_ns`.
    pub fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// Who it is.
    #[inline]
    pub fn credentials(&self) -> Credentials {
        *self.credentials.lock()
    }

    /// Whether others with the same identity may see what it has (`PR_GET_DUMPABLE`). Not so since
    /// it became somebody else, until it runs another program: what it knows is from before.
    pub fn is_dumpable(&self) -> bool {
        self.dumpable.load(Ordering::Relaxed)
    }

    /// `PR_SET_DUMPABLE`.
    pub fn set_dumpable(&self, dumpable: bool) {
        self.dumpable.store(dumpable, Ordering::Relaxed);
    }

    /// Whether it may see what `other` keeps from others (`PTRACE_MODE_READ` of ptrace(2)).
    pub fn may_inspect(&self, other: &Self) -> bool {
        if self.pid == other.pid {
            return true;
        }
        let (own, theirs) = (self.credentials(), other.credentials());
        let same = [theirs.uid, theirs.euid, theirs.suid] == [own.euid; 3]
            && [theirs.gid, theirs.egid, theirs.sgid] == [own.egid; 3];
        own.is_privileged() || same && other.is_dumpable()
    }

    /// Changes who it is; `false` if `change` refuses.
    pub fn change_credentials(
        &self,
        change: impl FnOnce(Credentials) -> Option<Credentials>,
    ) -> bool {
        let mut credentials = self.credentials.lock();
        let changed = change(*credentials);
        if let Some(new) = changed {
            if (new.euid, new.egid) != (credentials.euid, credentials.egid) {
                self.set_dumpable(false);
            }
            *credentials = new;
        }
        changed.is_some()
    }

    /// The threads, first the oldest.
    pub fn threads(&self) -> Vec<Arc<Task>> {
        self.threads.lock().clone()
    }

    /// How many threads there are.
    pub fn thread_count(&self) -> usize {
        self.threads.lock().len()
    }

    /// The oldest thread, which stands for the process; `None` when all have ended.
    pub fn first_thread(&self) -> Option<Arc<Task>> {
        self.threads.lock().first().cloned()
    }

    /// The address space; `None` when the process has ended, and for the kernel.
    pub fn space(&self) -> Option<Arc<AddressSpace>> {
        self.resources.lock().space.clone()
    }

    /// The open files.
    pub fn files(&self) -> Option<Arc<FdTable>> {
        self.resources.lock().files.clone()
    }

    /// Root and working directory.
    pub fn fs(&self) -> Option<Arc<FsContext>> {
        self.resources.lock().fs.clone()
    }

    /// The program's arguments, each with its terminator.
    pub fn arguments(&self) -> Option<Arc<Vec<u8>>> {
        self.resources.lock().arguments.clone()
    }

    /// The environment that the program began with, each string with its terminator.
    pub fn environment(&self) -> Option<Arc<Vec<u8>>> {
        self.resources.lock().environment.clone()
    }

    /// The program.
    pub fn executable(&self) -> Option<Arc<Dentry>> {
        self.resources.lock().executable.clone()
    }

    /// Changes the resources under their lock. What `with` returns is dropped without it.
    pub(super) fn with_resources<R>(&self, with: impl FnOnce(&mut Resources) -> R) -> R {
        with(&mut self.resources.lock())
    }

    /// The status of the end, in the form of `wait4`, once it is decided.
    pub fn exit_status(&self) -> Option<u32> {
        let ending = self.ending.load(Ordering::Acquire);
        (ending != NOT_ENDING).then_some(ending as u32)
    }

    /// Whether a signal has stopped it.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire) != 0
    }

    /// Nanoseconds run by all threads, ended ones included.
    pub fn run_ns(&self) -> u64 {
        let threads = self.threads.lock();
        let running: u64 = threads.iter().map(|thread| thread.run_ns()).sum();
        running + self.ended_threads_ns.load(Ordering::Relaxed)
    }

    /// Nanoseconds run by children that were waited for.
    pub fn children_ns(&self) -> u64 {
        self.children_ns.load(Ordering::Relaxed)
    }

    /// Makes `task` the thread that goes on alone; `false` if another one is.
    pub(super) fn claim_exclusive(&self, task: &Task) -> bool {
        let _threads = self.threads.lock();
        let free = self.sole_thread.load(Ordering::Relaxed) == 0;
        if free {
            self.sole_thread.store(task.tid(), Ordering::Release);
        }
        free
    }

    pub(super) fn release_exclusive(&self) {
        self.sole_thread.store(0, Ordering::Release);
    }

    /// Whether one thread is going on alone.
    pub(super) fn is_exclusive(&self) -> bool {
        self.sole_thread.load(Ordering::Acquire) != 0
    }

    /// Whether `task` has to end because another thread goes on alone.
    pub(super) fn excludes(&self, task: &Task) -> bool {
        let sole = self.sole_thread.load(Ordering::Acquire);
        sole != 0 && sole != task.tid()
    }

    /// Lets a `vfork`ing parent go on.
    pub(super) fn release_parent(&self) {
        if self.released.swap(1, Ordering::AcqRel) == 0 {
            self.release_event.wake_all();
        }
    }
}
