//! Which signals a task looks at, and the stack that it takes them on.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::{UNBLOCKABLE, bit};
use crate::arch::SignalStack;
use crate::mcore::context::current;
use crate::mcore::mtask::process::Process;
use crate::mcore::mtask::scheduler::{prod, wake};
use crate::mcore::mtask::task::{Task, TaskState};

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
    let process = task.process();
    let shared = process.shared_pending.load(Ordering::SeqCst) & mask;
    if shared != 0 && process.thread_count() > 1 {
        tell_threads(process, shared);
    }
}

/// The running task, which is not one of the process's threads any more, may have been told of
/// signals for the process: they are others' to take.
pub(in crate::mcore::mtask) fn pass_on(process: &Process) {
    let shared = process.shared_pending.load(Ordering::SeqCst);
    if shared != 0 {
        tell_threads(process, shared);
    }
}

/// Has those threads that look at some of these signals do so.
#[cold]
fn tell_threads(process: &Process, signals: u64) {
    for thread in process.threads() {
        let looked_at =
            !thread.blocked.load(Ordering::SeqCst) | thread.awaited.load(Ordering::SeqCst);
        if signals & looked_at != 0 {
            thread.attention.store(true, Ordering::SeqCst);
            if !wake(Arc::clone(&thread), TaskState::Sleeping) {
                prod(&thread);
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

impl Task {
    /// The signals that wait and are not blocked.
    pub(in crate::mcore::mtask) fn ready_signals(&self) -> u64 {
        let shared = self.process().shared_pending.load(Ordering::Relaxed);
        let looked_at =
            !self.blocked.load(Ordering::Relaxed) | self.awaited.load(Ordering::Relaxed);
        (shared | self.pending.load(Ordering::Relaxed)) & looked_at
    }

    /// Whether it has to be told of a signal: it does not block it, or waits for it.
    pub(super) fn looks_at(&self, signal: u32) -> bool {
        let looked_at = !self.blocked.load(Ordering::SeqCst) | self.awaited.load(Ordering::SeqCst);
        looked_at & bit(signal) != 0
    }

    /// Whether a signal stays pending although it is ignored: it is blocked or waited for.
    pub(super) fn keeps(&self, signal: u32) -> bool {
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
    pub fn must_end(&self) -> bool {
        self.process().exit_status().is_some() || self.process().excludes(self)
    }

    #[cold]
    fn must_return(&self) -> bool {
        self.must_end() || self.ready_signals() != 0
    }
}
