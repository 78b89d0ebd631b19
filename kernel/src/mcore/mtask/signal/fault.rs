//! The signals for faults of user mode.

use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use super::send::{end_process, force};
use super::{SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGTRAP, SignalInfo};
use crate::arch::{Arch, Architecture, TrapFrame, UserFault};
use crate::mcore::context::current;
use crate::mcore::mtask::process::Process;
use crate::mcore::mtask::{family, scheduler, timer};
use crate::mem::demand::FaultError;
use crate::mem::fault::Unresolved;
use crate::mem::phys;

type Frame = <Arch as Architecture>::Frame;

/// Sends the running task the signal for a fault that nothing resolves. It cannot be put off:
/// if the task blocks or ignores it, the process ends.
pub(in crate::mcore) fn fault(frame: &mut Frame, fault: Unresolved) {
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
            // Back in user mode it tries again, or ends.
            out_of_memory();
            return;
        }
        Unresolved::Other(UserFault::IllegalInstruction) => (SIGILL, SignalInfo::fault(2, at)),
        Unresolved::Other(UserFault::Arithmetic) => (SIGFPE, SignalInfo::fault(1, at)),
        Unresolved::Other(UserFault::Breakpoint) => (SIGTRAP, SignalInfo::fault(1, at)),
        Unresolved::Other(UserFault::Bus) => (SIGBUS, SignalInfo::fault(1, 0)),
        Unresolved::Other(_) => (SIGSEGV, SignalInfo { code: 0x80, ..SignalInfo::fault(0, 0) }),
    };
    force(signal, info);
}

/// There is no memory for a page that the running task needs: it can try again after this, or
/// (`false`) it is ended itself.
pub(in crate::mcore) fn out_of_memory() -> bool {
    let task = current();
    if task.must_end() {
        return false;
    }
    if make_room() {
        return true;
    }
    log::warn!("out of memory: killed process {} ({})", task.pid(), task.name());
    force(SIGKILL, SignalInfo::KERNEL);
    false
}

/// Of all memory, what a process has at least that is ended for another one: one part of so many.
/// Where nobody has as much, memory is in what processes do not have alone, and ending the largest
/// would hit bystanders.
const LARGE_PART: usize = 8;

/// When a process was last ended for want of memory.
static LAST_KILL: AtomicU64 = AtomicU64::new(0);

/// How long its memory may take to come back before another one is ended too.
const GRACE_NS: u64 = 500_000_000;

/// Makes room for the running process by ending the one that has most memory, but never the first
/// one, without which nothing goes on; `false` if there is no other to be ended.
fn make_room() -> bool {
    // What the last one had comes back when it has run.
    let now = timer::now_ns();
    let last = LAST_KILL.load(Ordering::Relaxed);
    if last != 0 && now.saturating_sub(last) < GRACE_NS {
        const WAIT_NS: u64 = 1_000_000;
        if timer::sleep_until(now + WAIT_NS).is_err() {
            // A signal does not let it sleep: the other one has to run all the same.
            scheduler::yield_now();
        }
        return true;
    }
    let own = current().pid();
    let large = phys::stats().total / LARGE_PART;
    let least = if own == family::INIT_PID { 1 } else { large };
    let size = |process: &Arc<Process>| process.space().map_or(0, |space| space.resident_pages());
    let others = family::list().into_iter().filter(|process| {
        let first = process.pid() == family::INIT_PID;
        !first && process.exit_status().is_none() && size(process) >= least
    });
    let victim = others.max_by_key(size);
    // Another CPU may have ended one meanwhile, who is no candidate any more: this one waits for its
    // memory, whoever would be next.
    if LAST_KILL.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return true;
    }
    let Some(victim) = victim.filter(|victim| victim.pid() != own) else { return false };
    let name = victim.first_thread().map_or_else(String::new, |thread| thread.name());
    log::warn!("out of memory: killed process {} ({name}) for {own}", victim.pid());
    end_process(&victim, SIGKILL);
    true
}
