//! Signals (`signal(7)`): which there are, and what they do. Handlers are run by
//! [`delivery`](super::delivery).
//!
//! | file | |
//! |---|---|
//! | `pending` | what a process does on signals, which are pending, taking them |
//! | `send` | sending them, stopping, continuing and ending processes |
//! | `fault` | the signals for faults |
//! | `mask` | which signals a task looks at |

mod fault;
mod mask;
mod pending;
mod send;

use super::super::context::current;
use super::process::Process;

pub(in crate::mcore) use fault::{fault, out_of_memory};
pub(super) use mask::pass_on;
pub use mask::{end_suspension, mask, set_mask, set_stack, stack, suspend_with};
pub use pending::{Signals, exchange_action, pending, wait_for};
pub(super) use pending::{Taken, reaps_children, take};
pub use send::send;
pub(super) use send::{end_other_threads, end_process, force, stop};

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
pub const SIGTTOU: u32 = 22;
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
