//! Job control, as far as the terminal asks for it (POSIX, 11.1.4): what becomes of a process
//! that reads the terminal while another group is in its foreground.

use core::sync::atomic::Ordering;

use super::super::context::current;
use super::family;
use super::signal::{self, IGNORE, SIGPIPE, SIGTTIN, SignalInfo, bit};
use super::wait::Interrupted;

/// What a read from the background comes to.
pub enum Background {
    /// Its group has been told to stop; when it goes on, the system call starts again.
    Stopped(Interrupted),
    /// It does not stop, or nobody would continue it: the read fails.
    Refused,
}

/// Deals with the running task, which is in its terminal's background and reads.
pub fn read_in_background() -> Background {
    let task = current();
    let process = task.process();
    let ignores = process.signals.lock().action(SIGTTIN).handler == IGNORE;
    let blocks = task.blocked.load(Ordering::Relaxed) & bit(SIGTTIN) != 0;
    let group = process.group();
    if ignores || blocks || family::is_orphaned(group) {
        return Background::Refused;
    }
    family::signal_process_group(group, SIGTTIN);
    Background::Stopped(Interrupted::noted())
}

/// The running thread has written what nobody will read: a signal tells it, and no other thread.
#[cold]
pub fn broken_pipe() {
    let task = current();
    signal::send(task.process(), SIGPIPE, SignalInfo::user(), Some(&task.to_arc()));
}
