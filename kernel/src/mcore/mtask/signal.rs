//! Signals (`signal(7)`): what they do by default, which are pending, and sending them.
//! Handlers are run by [`delivery`](super::delivery).
//!
//! Each signal is pending at most once, for the process or for a thread; real-time signals are
//! queued, in the order in which they are sent.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::super::context::current;
use super::process::{CONTINUED, NOT_ENDING, Process};
use super::scheduler::{prod, wake};
use super::task::{Task, TaskState, Tid};
use super::wait::{Interrupted, WaitQueue};
use crate::arch::{Arch, Architecture, SignalStack, UserFault};
use crate::mem::demand::FaultError;
use crate::mem::fault::Unresolved;

type Frame = <Arch as Architecture>::Frame;

/// The highest signal.
pub const SIGNAL_LAST: u32 = 64;
/// The first real-time signal.
const REAL_TIME_FIRST: u32 = 32;
/// As many signals as wait for a process and its threads (`RLIMIT_SIGPENDING`).
pub const PENDING_LIMIT: usize = 1024;

pub const SIGILL: u32 = 4;
pub const SIGTRAP: u32 = 5;
pub const SIGBUS: u32 = 7;
pub const SIGFPE: u32 = 8;
pub const SIGKILL: u32 = 9;
pub const SIGSEGV: u32 = 11;
pub const SIGPIPE: u32 = 13;
pub const SIGALRM: u32 = 14;
pub const SIGINT: u32 = 2;
pub const SIGCHLD: u32 = 17;
pub const SIGCONT: u32 = 18;
pub const SIGSTOP: u32 = 19;
const SIGTSTP: u32 = 20;
pub const SIGTTIN: u32 = 21;
const SIGTTOU: u32 = 22;
const SIGURG: u32 = 23;
const SIGWINCH: u32 = 28;

/// Handler values (`SIG_DFL`, `SIG_IGN`).
pub const DEFAULT: usize = 0;
pub const IGNORE: usize = 1;

/// Flags of `sigaction(2)`.
pub const SA_NOCLDSTOP: u64 = 1;
pub const SA_NOCLDWAIT: u64 = 2;
pub const SA_SIGINFO: u64 = 4;
pub const SA_RESTORER: u64 = 0x0400_0000;
pub const SA_ONSTACK: u64 = 0x0800_0000;
pub const SA_RESTART: u64 = 0x1000_0000;
pub const SA_NODEFER: u64 = 0x4000_0000;
pub const SA_RESETHAND: u64 = 0x8000_0000;

/// Signals that cannot be caught, ignored or blocked.
pub const UNBLOCKABLE: u64 = bit(SIGKILL) | bit(SIGSTOP);

/// Signals that stop a process.
const STOPPING: u64 = bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);

/// The bit of a signal in a mask.
pub const fn bit(signal: u32) -> u64 {
    1 << ((signal - 1) & 63)
}

/// What a process does on a signal: the kernel's `struct sigaction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    pub handler: usize,
    pub flags: u64,
    pub restorer: usize,
    pub mask: u64,
}

/// Where a signal came from: what `siginfo_t` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    pub code: i32,
    pub pid: u32,
    pub uid: u32,
    /// The address of a fault, the status of a child, or what `sigqueue(3)` passes.
    pub value: usize,
}

impl SignalInfo {
    /// From the kernel (`SI_KERNEL`).
    pub const KERNEL: Self = Self { code: 0x80, pid: 0, uid: 0, value: 0 };

    /// From `kill(2)` (`SI_USER`).
    pub fn user() -> Self {
        Self::of(current().process())
    }

    /// From another process's `sigqueue(3)`, with its code and value.
    pub fn queued(code: i32, pid: u32, uid: u32, value: usize) -> Self {
        Self { code, pid, uid, value }
    }

    /// From `tgkill(2)` (`SI_TKILL`).
    pub fn thread() -> Self {
        Self { code: -6, ..Self::user() }
    }

    #[inline]
    fn of(process: &Process) -> Self {
        Self { code: 0, pid: process.pid(), uid: process.credentials().uid, value: 0 }
    }

    /// What happened to a child, from its wait status.
    pub fn of_status(process: &Process, status: u32) -> Self {
        let of = Self::of(process);
        match status & 0xff {
            0x7f => Self { code: 5, value: (status >> 8 & 0xff) as usize, ..of },
            0xff => Self { code: 6, value: SIGCONT as usize, ..of },
            _ => Self::child(process),
        }
    }

    /// The end of a child (`CLD_EXITED`, `CLD_KILLED`).
    pub fn child(process: &Process) -> Self {
        let status = process.exit_status().unwrap_or(0);
        let killed = status & 0x7f;
        let (code, value) = if killed == 0 { (1, status >> 8 & 0xff) } else { (2, killed) };
        let uid = process.credentials().uid;
        Self { code, pid: process.pid(), uid, value: value as usize }
    }

    const fn fault(code: i32, address: usize) -> Self {
        Self { code, pid: 0, uid: 0, value: address }
    }
}

/// A signal that waits to be dealt with.
#[derive(Clone, Copy, Debug)]
struct Pending {
    signal: u32,
    thread: Option<Tid>,
    info: SignalInfo,
}

/// The signal state of a process.
#[derive(Default)]
pub struct Signals {
    /// Only what differs from the default, at most one for each signal.
    actions: Vec<(u32, Action)>,
    pending: Vec<Pending>,
}

impl Signals {
    /// What a forked child has: the actions, nothing pending.
    pub(super) fn fork(&self) -> Self {
        Self { actions: self.actions.clone(), pending: Vec::new() }
    }

    /// What `execve` leaves: handlers become defaults, what is ignored stays so.
    pub(super) fn reset_handlers(&mut self) {
        self.actions.retain(|(_, action)| action.handler == IGNORE);
        for (_, action) in &mut self.actions {
            *action = Action { handler: IGNORE, ..Action::default() };
        }
    }

    /// What is done on `signal`.
    pub fn action(&self, signal: u32) -> Action {
        let found = self.actions.iter().find(|(number, _)| *number == signal);
        found.map_or_else(Action::default, |&(_, action)| action)
    }

    fn set_action(&mut self, signal: u32, action: Action) {
        self.actions.retain(|(number, _)| *number != signal);
        if action != Action::default() {
            self.actions.push((signal, action));
        }
    }

    /// Takes the most urgent signal of `task` among `wanted`: faults first, then the lowest number.
    fn take(&mut self, task: &Task, wanted: u64) -> Option<(u32, SignalInfo)> {
        const URGENT: u64 = bit(SIGSEGV) | bit(SIGBUS) | bit(SIGFPE) | bit(SIGILL) | bit(SIGTRAP);
        let shared = &task.process().shared_pending;
        let own = task.pending.load(Ordering::Relaxed);
        let ready = (shared.load(Ordering::Relaxed) | own) & wanted;
        let choice = if ready & URGENT == 0 { ready } else { ready & URGENT };
        if choice == 0 {
            return None;
        }
        let signal = choice.trailing_zeros() + 1;
        let own = own & bit(signal) != 0;
        let thread = own.then(|| task.tid());
        let is_one = |pending: &Pending| pending.signal == signal && pending.thread == thread;
        let at = self.pending.iter().position(is_one);
        let info = match at {
            Some(at) if at + 1 == self.pending.len() => self.pending.pop(),
            Some(at) => Some(self.pending.remove(at)),
            None => None,
        };
        let info = info.map_or(SignalInfo::KERNEL, |pending| pending.info);
        if signal >= REAL_TIME_FIRST && self.pending.iter().any(is_one) {
            // Another one waits behind it.
        } else if own {
            task.pending.fetch_and(!bit(signal), Ordering::Relaxed);
        } else {
            shared.fetch_and(!bit(signal), Ordering::Relaxed);
        }
        Some((signal, info))
    }
}

/// What happens on a signal without a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DefaultAction {
    Ignore,
    Terminate,
    Stop,
}

pub(super) fn default_action(signal: u32) -> DefaultAction {
    match signal {
        SIGCHLD | SIGCONT | SIGURG | SIGWINCH => DefaultAction::Ignore,
        SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => DefaultAction::Stop,
        _ => DefaultAction::Terminate,
    }
}

fn is_ignored(action: &Action, signal: u32) -> bool {
    action.handler == IGNORE
        || (action.handler == DEFAULT && default_action(signal) == DefaultAction::Ignore)
}

/// A signal that has been taken to be dealt with, and what is to be done.
pub(super) struct Taken {
    pub signal: u32,
    pub info: SignalInfo,
    pub action: Action,
}

/// Takes the next signal of the running task.
pub(super) fn take() -> Option<Taken> {
    let task = current();
    if task.ready_signals() == 0 {
        return None;
    }
    let mut signals = task.process().signals.lock();
    let (signal, info) = signals.take(&task, !task.blocked.load(Ordering::Relaxed))?;
    let action = signals.action(signal);
    if action.flags & SA_RESETHAND != 0 && action.handler > IGNORE {
        signals.set_action(signal, Action::default());
    }
    Some(Taken { signal, info, action })
}

/// Waits until one of the `wanted` signals is pending, blocked or not, up to `deadline` on the
/// scale of `now_ns`, and takes it (`sigtimedwait(2)`); `None` if the time has passed.
///
/// # Errors
/// If another signal came first.
pub fn wait_for(wanted: u64, deadline: u64) -> Result<Option<(u32, SignalInfo)>, Interrupted> {
    static NOTHING: WaitQueue = WaitQueue::new();
    let task = current();
    let look = || task.process().signals.lock().take(&task, wanted & !UNBLOCKABLE);
    task.awaited.store(wanted, Ordering::SeqCst);
    let result = NOTHING.wait_deadline(look, deadline);
    task.awaited.store(0, Ordering::SeqCst);
    result
}

/// Whether a process does not want its children to become zombies.
pub(super) fn reaps_children(process: &Process) -> bool {
    let action = process.signals.lock().action(SIGCHLD);
    action.handler == IGNORE || action.flags & SA_NOCLDWAIT != 0
}

/// Sends a signal to a process, or to one of its threads; `false` if too many wait for it already.
/// Those that the kernel sends, or that are pending only once, are always taken.
pub fn send(
    process: &Arc<Process>,
    signal: u32,
    info: SignalInfo,
    thread: Option<&Arc<Task>>,
) -> bool {
    if signal == 0 || signal > SIGNAL_LAST || process.exit_status().is_some() {
        return true;
    }
    if signal == SIGCONT {
        discard(process, &mut process.signals.lock(), STOPPING);
        resume(process);
    }
    let mut signals = process.signals.lock();
    let action = signals.action(signal);
    // The first process gets only what it has a handler for.
    let protected = process.pid() == super::family::INIT_PID && action.handler == DEFAULT;
    if protected && info.code != SignalInfo::fault(1, 0).code {
        return true;
    }
    if is_ignored(&action, signal) && !is_kept(process, signal, thread) {
        return true;
    }
    if signal == SIGKILL {
        drop(signals);
        end_process(process, SIGKILL);
        return true;
    }
    let queues = signal >= REAL_TIME_FIRST;
    if queues && signals.pending.len() >= PENDING_LIMIT {
        return false;
    }
    if bit(signal) & STOPPING != 0 {
        discard(process, &mut signals, bit(SIGCONT));
    }
    let pending = match thread {
        Some(task) => task.pending.fetch_or(bit(signal), Ordering::SeqCst),
        None => process.shared_pending.fetch_or(bit(signal), Ordering::SeqCst),
    };
    if pending & bit(signal) != 0 && !queues {
        return true;
    }
    signals.pending.push(Pending { signal, thread: thread.map(|task| task.tid()), info });
    drop(signals);
    // Who is to look at it: the thread, or the first that does not hold it off. One that holds it
    // off from now on looks for it then (`set_mask`).
    let target = match thread {
        Some(task) => Some(Arc::clone(task)),
        None => process.threads.lock().iter().find(|task| task.looks_at(signal)).cloned(),
    };
    if let Some(task) = target {
        notify(&task, signal);
    }
    true
}

/// Whether a signal stays pending although it is ignored: somebody holds it off or waits for it.
fn is_kept(process: &Process, signal: u32, thread: Option<&Arc<Task>>) -> bool {
    match thread {
        Some(task) => task.keeps(signal),
        None => process.threads.lock().iter().any(|task| task.keeps(signal)),
    }
}

/// Drops pending signals of the process and its threads.
fn discard(process: &Process, signals: &mut Signals, mask: u64) {
    if signals.pending.iter().all(|pending| bit(pending.signal) & mask == 0) {
        return;
    }
    signals.pending.retain(|pending| bit(pending.signal) & mask == 0);
    process.shared_pending.fetch_and(!mask, Ordering::Relaxed);
    for thread in process.threads.lock().iter() {
        thread.pending.fetch_and(!mask, Ordering::Relaxed);
    }
}

/// Stops the process of the running task; its threads wait on their way to user mode. Signals
/// from the terminal do not stop a process that nobody would continue.
pub(super) fn stop(process: &Arc<Process>, signal: u32) {
    if signal != SIGSTOP && super::family::is_orphaned(process.group()) {
        return;
    }
    process.stopped.store(signal, Ordering::Release);
    process.report.store(signal, Ordering::Release);
    end_other_threads(process);
    tell_parent(process, SignalInfo { code: 5, value: signal as usize, ..SignalInfo::of(process) });
}

/// `SIGCONT` has come.
fn resume(process: &Arc<Process>) {
    if process.stopped.swap(0, Ordering::AcqRel) == 0 {
        return;
    }
    process.report.store(CONTINUED, Ordering::Release);
    process.stop_event.wake_all();
    let info = SignalInfo { code: 6, value: SIGCONT as usize, ..SignalInfo::of(process) };
    tell_parent(process, info);
}

/// Tells the parent that the process was stopped or continued.
fn tell_parent(process: &Process, info: SignalInfo) {
    let Some(parent) = super::family::process(process.parent()) else { return };
    if parent.signals.lock().action(SIGCHLD).flags & SA_NOCLDSTOP == 0 {
        send(&parent, SIGCHLD, info, None);
    }
    parent.child_event.wake_all();
}

/// Has a thread look at its signals.
fn notify(task: &Arc<Task>, signal: u32) {
    if task.looks_at(signal) {
        task.attention.store(true, Ordering::SeqCst);
        // A task that is about to sleep looks for signals after it has said so.
        if task.state() == TaskState::Sleeping {
            wake(Arc::clone(task), TaskState::Sleeping);
        } else {
            prod(task);
        }
    }
}

/// Decides the end of a process, with `status` as `wait4` reports it; each thread ends on its
/// way to user mode. `false` if it was decided before.
pub(super) fn end_process(process: &Process, status: u32) -> bool {
    let first = process
        .ending
        .compare_exchange(NOT_ENDING, status as usize, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok();
    if first {
        end_other_threads(process);
        process.stop_event.wake_all();
    }
    first
}

/// Makes every thread of the process look whether it is to end or to stop.
pub(super) fn end_other_threads(process: &Process) {
    for thread in process.threads() {
        thread.attention.store(true, Ordering::SeqCst);
        if !wake(Arc::clone(&thread), TaskState::Sleeping)
            && !wake(Arc::clone(&thread), TaskState::Killable)
        {
            prod(&thread);
        }
    }
}

/// Sends the running task the signal for a fault that nothing resolves. It cannot be put off:
/// if the task blocks or ignores it, the process ends.
pub(in super::super) fn fault(frame: &mut Frame, fault: Unresolved) {
    use crate::arch::TrapFrame;
    let at = frame.instruction_pointer();
    let (signal, info) = match fault {
        Unresolved::Page(address, FaultError::NotMapped) => {
            (SIGSEGV, SignalInfo::fault(1, address))
        }
        Unresolved::Page(address, FaultError::Forbidden) => {
            (SIGSEGV, SignalInfo::fault(2, address))
        }
        Unresolved::Page(address, FaultError::BeyondFile) => {
            (SIGBUS, SignalInfo::fault(2, address))
        }
        Unresolved::Page(_, FaultError::OutOfMemory) => {
            let task = current();
            if task.pid() == super::family::INIT_PID && make_room() {
                // Back in user mode it tries again.
                return;
            }
            log::warn!("out of memory: killed process {} ({})", task.pid(), task.name());
            (SIGKILL, SignalInfo::KERNEL)
        }
        Unresolved::Other(UserFault::IllegalInstruction) => (SIGILL, SignalInfo::fault(2, at)),
        Unresolved::Other(UserFault::Arithmetic) => (SIGFPE, SignalInfo::fault(1, at)),
        Unresolved::Other(UserFault::Breakpoint) => (SIGTRAP, SignalInfo::fault(1, at)),
        Unresolved::Other(UserFault::Bus) => (SIGBUS, SignalInfo::fault(1, 0)),
        Unresolved::Other(_) => (SIGSEGV, SignalInfo { code: 0x80, ..SignalInfo::fault(0, 0) }),
    };
    force(signal, info);
}

/// Ends the process that has most memory, for the first process, without which nothing goes on;
/// `false` if there is no other.
fn make_room() -> bool {
    let size = |process: &Arc<Process>| process.space().map_or(0, |space| space.resident_pages());
    let others = super::family::list().into_iter().filter(|process| {
        process.pid() != super::family::INIT_PID && process.exit_status().is_none()
    });
    let Some(victim) = others.max_by_key(size).filter(|victim| size(victim) > 0) else {
        return false;
    };
    log::warn!("out of memory: killed process {} for the first one", victim.pid());
    end_process(&victim, SIGKILL);
    // Its memory comes back when it has run.
    const WAIT_NS: u64 = 1_000_000;
    let _ = super::timer::sleep_until(super::timer::now_ns() + WAIT_NS);
    true
}

/// Sends the running task a signal that it has to take now.
pub(super) fn force(signal: u32, info: SignalInfo) {
    let task = current();
    let process = task.process();
    let mut signals = process.signals.lock();
    let action = signals.action(signal);
    let blocked = task.blocked.load(Ordering::Relaxed) & bit(signal) != 0;
    if signal == SIGKILL || blocked || action.handler <= IGNORE {
        drop(signals);
        end_process(process, signal);
        task.attention.store(true, Ordering::Release);
        return;
    }
    let tid = Some(task.tid());
    if task.pending.fetch_or(bit(signal), Ordering::Relaxed) & bit(signal) == 0 {
        signals.pending.push(Pending { signal, thread: tid, info });
    }
    task.attention.store(true, Ordering::Release);
}

/// `sigaction(2)`: the old action of a signal, and a new one.
pub fn exchange_action(signal: u32, new: Option<Action>) -> Action {
    let task = current();
    let mut signals = task.process().signals.lock();
    let old = signals.action(signal);
    if let Some(mut new) = new {
        new.mask &= !UNBLOCKABLE;
        signals.set_action(signal, new);
        // What is ignored is not pending either (POSIX, 2.4.3).
        if is_ignored(&new, signal) {
            discard(task.process(), &mut signals, bit(signal));
        }
    }
    old
}

/// The running task's signal mask.
pub fn mask() -> u64 {
    current().blocked.load(Ordering::Relaxed)
}

/// Sets the running task's signal mask, and has it look at what that lets through.
pub fn set_mask(mask: u64) {
    let task = current();
    task.blocked.store(mask & !UNBLOCKABLE, Ordering::SeqCst);
    if task.ready_signals() != 0 {
        task.attention.store(true, Ordering::Relaxed);
    }
    // A signal for the process that this task now blocks may be another thread's to take.
    let process = task.process();
    let shared = process.shared_pending.load(Ordering::SeqCst) & mask;
    if shared != 0 && process.thread_count() > 1 {
        for thread in process.threads() {
            if shared & !thread.blocked.load(Ordering::Relaxed) != 0 {
                thread.attention.store(true, Ordering::SeqCst);
                if !wake(Arc::clone(&thread), TaskState::Sleeping) {
                    prod(&thread);
                }
            }
        }
    }
}

/// Sets the mask until the next signal has been dealt with (`rt_sigsuspend`, `ppoll`).
pub fn suspend_with(new: u64) {
    current().private().saved_mask.set(Some(mask()));
    set_mask(new);
}

/// Puts the mask back that was there before [`suspend_with`]: no signal has come.
pub fn end_suspension() {
    if let Some(mask) = current().private().saved_mask.take() {
        set_mask(mask);
    }
}

/// The running task's alternate signal stack; its size is 0 if there is none.
pub fn stack() -> SignalStack {
    current().private().signal_stack.get()
}

/// Sets it.
pub fn set_stack(stack: SignalStack) {
    current().private().signal_stack.set(stack);
}

/// The running task's pending signals, blocked or not.
pub fn pending() -> u64 {
    let task = current();
    let shared = task.process().shared_pending.load(Ordering::Relaxed);
    task.pending.load(Ordering::Relaxed) | shared
}

impl Task {
    /// The signals that wait and are not blocked.
    pub(super) fn ready_signals(&self) -> u64 {
        let shared = self.process().shared_pending.load(Ordering::Relaxed);
        let looked_at =
            !self.blocked.load(Ordering::Relaxed) | self.awaited.load(Ordering::Relaxed);
        (shared | self.pending.load(Ordering::Relaxed)) & looked_at
    }

    /// Whether it has to be told of a signal: it does not block it, or waits for it.
    fn looks_at(&self, signal: u32) -> bool {
        let looked_at = !self.blocked.load(Ordering::SeqCst) | self.awaited.load(Ordering::SeqCst);
        looked_at & bit(signal) != 0
    }

    /// Whether a signal stays pending although it is ignored: it is blocked or waited for.
    fn keeps(&self, signal: u32) -> bool {
        let kept = self.blocked.load(Ordering::SeqCst) | self.awaited.load(Ordering::SeqCst);
        kept & bit(signal) != 0
    }

    /// Whether a wait has to end for a signal, or for the end of the process. Asked by the
    /// task itself.
    #[inline]
    pub fn has_signal(&self) -> bool {
        self.attention.load(Ordering::SeqCst) && self.must_return()
    }

    /// Whether the task has to end: its process does, or another thread goes on alone.
    pub(super) fn must_end(&self) -> bool {
        self.process().exit_status().is_some() || self.process().excludes(self)
    }

    #[cold]
    fn must_return(&self) -> bool {
        self.must_end() || self.ready_signals() != 0
    }
}
