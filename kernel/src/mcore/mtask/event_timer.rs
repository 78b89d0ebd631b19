//! Timers that nobody waits for: at its time each is told so ([`Expiry`]), by a thread of the
//! kernel that sleeps until the next is due. [`timer`](super::timer) wakes tasks that do wait.
//!
//! Lock order: the list of timers comes after whatever an [`Expiry`] locks; none of it is held
//! while one is told.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use kernel_sync::{Mutex, SpinLock};

use super::scheduler::spawn_kernel_thread;
use super::timer::now_ns;
use super::wait::WaitQueue;
use crate::mem::OutOfMemory;
use crate::mem::memapi::may_allocate;

/// What is told that its time has come.
pub trait Expiry: Send + Sync {
    /// The timer is due; it is not in the list any more. Called in a thread of the kernel, soon
    /// after the deadline.
    fn expire(&self, now_ns: u64);
}

/// Names a timer until it has expired or been cancelled. Timers with one deadline expire in the
/// order in which they were set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey {
    deadline: u64,
    number: u64,
}

struct Timers {
    list: BTreeMap<TimerKey, Arc<dyn Expiry>>,
    last: u64,
}

static TIMERS: SpinLock<Timers> = SpinLock::new(Timers { list: BTreeMap::new(), last: 0 });
/// Where the thread waits.
static THREAD: WaitQueue = WaitQueue::new();
/// Whether there is a thread.
static STARTED: Mutex<bool> = Mutex::new(false);

/// What an entry of the list takes, with its share of the tree.
const ENTRY_BYTES: usize = 128;

/// Has `expiry` told at `deadline`, on the scale of [`now_ns`]. Called by tasks.
///
/// # Errors
/// If there is no memory for it.
pub fn set(deadline: u64, expiry: Arc<dyn Expiry>) -> Result<TimerKey, OutOfMemory> {
    may_allocate(ENTRY_BYTES)?;
    {
        let mut started = STARTED.lock();
        if !*started {
            spawn_kernel_thread("timers", run)?;
            *started = true;
        }
    }
    let mut timers = TIMERS.lock();
    timers.last += 1;
    let key = TimerKey { deadline, number: timers.last };
    timers.list.insert(key, expiry);
    let first = timers.list.keys().next() == Some(&key);
    drop(timers);
    if first {
        THREAD.wake_all();
    }
    Ok(key)
}

/// Takes a timer out of the list, if it is still there.
pub fn cancel(key: TimerKey) {
    // Dropped without the lock.
    let expiry = TIMERS.lock().list.remove(&key);
    drop(expiry);
}

/// The next timer that is due.
fn take_due(now: u64) -> Option<Arc<dyn Expiry>> {
    let mut timers = TIMERS.lock();
    let entry = timers.list.first_entry()?;
    (entry.key().deadline <= now).then(|| entry.remove())
}

fn next_deadline() -> u64 {
    TIMERS.lock().list.keys().next().map_or(u64::MAX, |key| key.deadline)
}

fn run() {
    loop {
        let now = now_ns();
        if let Some(expiry) = take_due(now) {
            expiry.expire(now);
            continue;
        }
        let deadline = next_deadline();
        let earlier = || (next_deadline() < deadline).then_some(());
        // Nobody sends signals to a thread of the kernel.
        let _ = THREAD.wait_deadline(earlier, deadline);
    }
}
