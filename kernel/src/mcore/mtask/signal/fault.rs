//! The signals for faults of user mode.

use alloc::sync::Arc;

use super::send::{end_process, force};
use super::{SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGTRAP, SignalInfo};
use crate::arch::{Arch, Architecture, TrapFrame, UserFault};
use crate::mcore::context::current;
use crate::mcore::mtask::process::Process;
use crate::mcore::mtask::{family, timer};
use crate::mem::demand::FaultError;
use crate::mem::fault::Unresolved;

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
            let task = current();
            if task.pid() == family::INIT_PID && make_room() {
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
    let others = family::list()
        .into_iter()
        .filter(|process| process.pid() != family::INIT_PID && process.exit_status().is_none());
    let Some(victim) = others.max_by_key(size).filter(|victim| size(victim) > 0) else {
        return false;
    };
    log::warn!("out of memory: killed process {} for the first one", victim.pid());
    end_process(&victim, SIGKILL);
    // Its memory comes back when it has run.
    const WAIT_NS: u64 = 1_000_000;
    let _ = timer::sleep_until(timer::now_ns() + WAIT_NS);
    true
}
