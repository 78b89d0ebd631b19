//! Tasks: processes and threads, who runs when, and how they wait, signal, begin and end.
//!
//! [`context`] is what each CPU knows; `mtask` holds the rest:
//!
//! | file | what |
//! |---|---|
//! | `task.rs`, `process.rs` | a thread; what its process shares |
//! | `family.rs` | the table of processes: parents, children, groups, who is waited for |
//! | `scheduler.rs`, `timer.rs` | switching, waking, sleeping, the CPU's one-shot timer |
//! | `balance.rs` | which CPU runs a task |
//! | `event_timer.rs`, `interval.rs` | timers that nobody waits for; a process's interval timer |
//! | `wait.rs`, `futex.rs` | wait queues; waiting on a word of memory |
//! | `robust.rs` | futexes whose owner ends |
//! | `signal/`, `delivery.rs` | signals: sending, choosing, running handlers |
//! | `credentials.rs` | who a process is |
//! | `job.rs` | readers in the terminal's background |
//! | `start.rs` | the first process |
//! | `fork.rs`, `exec.rs`, `exit.rs` | the beginning, change and end of processes |
//! | `quiescent.rs` | when no CPU can hold what was read before |
//!
//! The kernel is not preempted: a task leaves its CPU when it waits, and when it returns to
//! user mode with its slice used up. So it stays on its CPU, and [`this_cpu`] stays true, until it
//! calls something that may wait: another CPU may be the one that goes on with it.
//!
//! **Lock order** (all spin locks, interrupts off): `family`, then a process's signals, then its
//! threads, then a run queue. The locks of a wait queue, a futex queue (of two, the lower one
//! first), a timer queue, a process's resources and its credentials are taken under none of these,
//! and of these none is taken under them. Never two run queues at a time: a task that moves is
//! nowhere in between. Under all of them memory may be allocated. Nobody waits for another CPU to
//! answer an interrupt with a spin lock held or interrupts off.

pub mod context;
pub mod mtask;

pub use context::{CpuContext, can_sleep, current, is_running, this_cpu, try_current};
pub use mtask::credentials::Credentials;
pub use mtask::family::{process, signal_process_group};
pub use mtask::process::Process;
pub use mtask::quiescent::{EPOCH, reading, reading_in_interrupt, synchronize};
pub use mtask::scheduler::{
    TaskEntry, give_way, idle, leave_unused_space, other_cpu, return_to_user, spawn_kernel_thread,
    timer_interrupt, yield_now,
};
pub use mtask::start::start_init;
pub use mtask::task::Task;
pub use mtask::timer::{now_ns, sleep_until};
pub use mtask::wait::{Interrupted, WaitQueue};

use crate::mem;

/// Makes tasks possible on the boot CPU, whose present thread becomes its idle task. Needs the
/// heap; called once, interrupts off. Afterwards locks may sleep and threads may be spawned;
/// [`idle`] lets them run.
pub fn init() {
    context::init_boot_cpu();
    mtask::futex::install();
    mem::fault::register(mem::fault::Tasks {
        current_space: || context::try_current().and_then(|task| task.space().cloned()),
        signal: mtask::signal::fault,
        give_way: mtask::scheduler::give_way_if_possible,
        make_room: mtask::signal::out_of_memory,
        each_space: mtask::family::each_space,
    });
}

/// Starts the other CPUs. After [`init`], interrupts off.
pub fn start_other_cpus() {
    context::start_others();
}
