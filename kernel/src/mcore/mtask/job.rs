//! Job control, as far as the terminal asks for it (POSIX, 11.1.4): what becomes of a process
//! that reads or changes the terminal while another group is in its foreground.

use core::sync::atomic::Ordering;

use super::super::context::current;
use super::family;
use super::signal::{self, IGNORE, SIGPIPE, SIGTTIN, SIGTTOU, SignalInfo, bit};
use super::wait::Interrupted;

/// What an access from the background comes to.
pub enum Background {
    /// Its group has been told to stop; when it goes on, the system call starts again.
    Stopped(Interrupted),
    /// It does not stop, or nobody would continue it: the access fails.
    Refused,
}

/// Deals with the running task, which is in its terminal's background and reads.
pub fn read_in_background() -> Background {
    if takes_no_notice_of(SIGTTIN) { Background::Refused } else { stop_group(SIGTTIN) }
}

/// Deals with the running task, which is in its terminal's background and changes the terminal;
/// `None` if it may: shells, which do so, take no notice of the signal.
pub fn change_in_background() -> Option<Background> {
    (!takes_no_notice_of(SIGTTOU)).then(|| stop_group(SIGTTOU))
}

/// Whether the running task ignores or blocks a signal.
fn takes_no_notice_of(signal: u32) -> bool {
    let task = current();
    let ignores = task.process().signals.lock().action(signal).handler == IGNORE;
    ignores || task.blocked.load(Ordering::Relaxed) & bit(signal) != 0
}

/// Tells the running task's group to stop, if somebody would continue it.
fn stop_group(signal: u32) -> Background {
    let group = current().process().group();
    if family::is_orphaned(group) {
        return Background::Refused;
    }
    family::signal_process_group(group, signal);
    Background::Stopped(Interrupted::noted())
}

/// The running thread has written what nobody will read: a signal tells it, and no other thread.
#[cold]
pub fn broken_pipe() {
    let task = current();
    signal::send(task.process(), SIGPIPE, SignalInfo::user(), Some(&task.to_arc()));
}
