//! Sending signals, and what those do that no handler takes: a process stops, goes on or ends.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::pending::{Pending, Signals};
use super::{
    DEFAULT, IGNORE, PENDING_LIMIT, REAL_TIME_FIRST, SA_NOCLDSTOP, SIGCHLD, SIGCONT, SIGKILL,
    SIGNAL_LAST, SIGSTOP, STOPPING, SignalInfo, bit, is_ignored,
};
use crate::mcore::context::current;
use crate::mcore::mtask::family;
use crate::mcore::mtask::process::{CONTINUED, NOT_ENDING, Process};
use crate::mcore::mtask::scheduler::{prod, wake};
use crate::mcore::mtask::task::{Task, TaskState};

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
        resume(process);
    }
    let mut signals = process.signals.lock();
    let action = signals.action(signal);
    // The first process gets only what it has a handler for.
    let protected = process.pid() == family::INIT_PID && action.handler == DEFAULT;
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
pub(super) fn discard(process: &Process, signals: &mut Signals, mask: u64) {
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
pub(in crate::mcore::mtask) fn stop(process: &Arc<Process>, signal: u32) {
    if signal != SIGSTOP && family::is_orphaned(process.group()) {
        return;
    }
    {
        // A SIGCONT that has come since this thread took the signal has undone it.
        let signals = process.signals.lock();
        if !signals.stop_taken {
            return;
        }
        process.stopped.store(signal, Ordering::Release);
        process.report.store(signal, Ordering::Release);
    }
    end_other_threads(process);
    tell_parent(process, SignalInfo { code: 5, value: signal as usize, ..SignalInfo::of(process) });
}

/// `SIGCONT` has come: undoes what stops the process, be it pending, taken or done.
fn resume(process: &Arc<Process>) {
    {
        let mut signals = process.signals.lock();
        discard(process, &mut signals, STOPPING);
        signals.stop_taken = false;
        if process.stopped.swap(0, Ordering::AcqRel) == 0 {
            return;
        }
        process.report.store(CONTINUED, Ordering::Release);
    }
    process.stop_event.wake_all();
    let info = SignalInfo { code: 6, value: SIGCONT as usize, ..SignalInfo::of(process) };
    tell_parent(process, info);
}

/// Tells the parent that the process was stopped or continued.
fn tell_parent(process: &Process, info: SignalInfo) {
    let Some(parent) = family::process(process.parent()) else { return };
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
pub(in crate::mcore::mtask) fn end_process(process: &Process, status: u32) -> bool {
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
pub(in crate::mcore::mtask) fn end_other_threads(process: &Process) {
    for thread in process.threads() {
        thread.attention.store(true, Ordering::SeqCst);
        if !wake(Arc::clone(&thread), TaskState::Sleeping)
            && !wake(Arc::clone(&thread), TaskState::Killable)
        {
            prod(&thread);
        }
    }
}

/// Sends the running task a signal that it has to take now.
pub(in crate::mcore::mtask) fn force(signal: u32, info: SignalInfo) {
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
