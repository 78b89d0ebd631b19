//! What a process does on each signal, and which signals are pending.
//!
//! Each signal is pending at most once, for the process or for a thread; real-time signals are
//! queued, in the order in which they are sent.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::send::discard;
use super::{
    Action, IGNORE, REAL_TIME_FIRST, SA_NOCLDWAIT, SA_RESETHAND, SIGBUS, SIGCHLD, SIGFPE, SIGILL,
    SIGSEGV, SIGTRAP, STOPPING, SignalInfo, UNBLOCKABLE, bit, is_ignored,
};
use crate::mcore::context::current;
use crate::mcore::mtask::process::Process;
use crate::mcore::mtask::task::{Task, Tid};
use crate::mcore::mtask::wait::{Interrupted, WaitQueue};

/// A signal that waits to be dealt with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) signal: u32,
    pub(super) thread: Option<Tid>,
    pub(super) info: SignalInfo,
}

/// The signal state of a process.
#[derive(Default)]
pub struct Signals {
    /// Only what differs from the default, at most one for each signal.
    actions: Vec<(u32, Action)>,
    pub(super) pending: Vec<Pending>,
    /// A thread has taken a signal that stops the process, and no `SIGCONT` has come since.
    pub(super) stop_taken: bool,
}

impl Signals {
    /// What a forked child has: the actions, nothing pending.
    pub(in crate::mcore::mtask) fn fork(&self) -> Self {
        Self { actions: self.actions.clone(), pending: Vec::new(), stop_taken: false }
    }

    /// What `execve` leaves: handlers become defaults, what is ignored stays so.
    pub(in crate::mcore::mtask) fn reset_handlers(&mut self) {
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
        self.stop_taken |= bit(signal) & STOPPING != 0;
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

/// A signal that has been taken to be dealt with, and what is to be done.
pub(in crate::mcore::mtask) struct Taken {
    pub signal: u32,
    pub info: SignalInfo,
    pub action: Action,
}

/// Takes the next signal of the running task.
pub(in crate::mcore::mtask) fn take() -> Option<Taken> {
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
pub(in crate::mcore::mtask) fn reaps_children(process: &Process) -> bool {
    let action = process.signals.lock().action(SIGCHLD);
    action.handler == IGNORE || action.flags & SA_NOCLDWAIT != 0
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

/// The running task's pending signals, blocked or not.
pub fn pending() -> u64 {
    let task = current();
    let shared = task.process().shared_pending.load(Ordering::Relaxed);
    task.pending.load(Ordering::Relaxed) | shared
}
