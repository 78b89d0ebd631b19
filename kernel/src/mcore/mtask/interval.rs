//! The interval timer of a process that counts real time (`setitimer(2)`, `ITIMER_REAL`): it sends
//! `SIGALRM` when it expires, once or again and again.

use alloc::sync::{Arc, Weak};

use super::event_timer::{self, Expiry, TimerKey};
use super::process::Process;
use super::signal::{self, SIGALRM, SignalInfo};
use super::timer::now_ns;
use crate::mem::OutOfMemory;

/// The state of a process's timer.
#[derive(Default)]
pub(super) struct Interval {
    /// Its place in the list of timers, and when it expires; `None` while it is not set.
    set: Option<(TimerKey, u64)>,
    /// From one expiry to the next, in nanoseconds; 0: only once.
    period: u64,
    /// How often it was set: an expiry of an earlier setting does not count.
    generation: u64,
}

/// What is left of a timer, and its period, in nanoseconds; all 0 if it is not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerValue {
    pub left: u64,
    pub period: u64,
}

struct Alarm {
    process: Weak<Process>,
    generation: u64,
    deadline: u64,
}

impl Interval {
    fn value(&self) -> TimerValue {
        match self.set {
            // Not zero while it is set.
            Some((_, deadline)) => {
                TimerValue { left: deadline.saturating_sub(now_ns()).max(1), period: self.period }
            }
            None => TimerValue::default(),
        }
    }
}

/// The timer of a process.
pub fn get(process: &Process) -> TimerValue {
    process.interval.lock().value()
}

/// Sets the timer of a process, or ends it if nothing is `left`; what it was.
///
/// # Errors
/// If there is no memory for it; then it is as it was.
pub fn set(process: &Arc<Process>, new: TimerValue) -> Result<TimerValue, OutOfMemory> {
    let mut interval = process.interval.lock();
    let old = interval.value();
    let generation = interval.generation + 1;
    let set = if new.left == 0 {
        None
    } else {
        let deadline = now_ns().saturating_add(new.left);
        let alarm = Alarm { process: Arc::downgrade(process), generation, deadline };
        Some((event_timer::set(deadline, Arc::new(alarm))?, deadline))
    };
    let before = core::mem::replace(&mut interval.set, set);
    interval.period = new.period;
    interval.generation = generation;
    drop(interval);
    if let Some((key, _)) = before {
        event_timer::cancel(key);
    }
    Ok(old)
}

impl Expiry for Alarm {
    fn expire(&self, now_ns: u64) {
        let Some(process) = self.process.upgrade() else { return };
        let mut interval = process.interval.lock();
        if interval.generation != self.generation || process.exit_status().is_some() {
            return;
        }
        interval.set = None;
        // Times that were missed are not made up for, but the rhythm stays.
        if let Some(missed) = now_ns.saturating_sub(self.deadline).checked_div(interval.period) {
            let deadline =
                self.deadline.saturating_add((missed + 1).saturating_mul(interval.period));
            let process = Weak::clone(&self.process);
            let next = Self { process, generation: self.generation, deadline };
            interval.set =
                event_timer::set(deadline, Arc::new(next)).ok().map(|key| (key, deadline));
        }
        drop(interval);
        signal::send(&process, SIGALRM, SignalInfo::KERNEL, None);
    }
}
