//! Waiting on a word of memory until another task says that it has changed: `futex(2)`, and
//! the same for the kernel's own sleeping locks.
//!
//! Waiters stand in one of a fixed number of queues, found by the address that they wait on.
//! Whether the word still has the expected value is looked at under the queue's lock, so a
//! wake-up after the word has changed cannot be missed. A waiter for whom there is no memory in the
//! queue returns at once, after others have run: waits may end without a reason.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use kernel_sched::Waiters;
use kernel_sync::{IrqState, Platform};

use super::super::context::current;
use super::scheduler::{block, yield_now};
use super::task::{Task, TaskState};
use super::timer::Alarm;
use super::wait::{Interrupted, wake_any};
use crate::arch::{Arch, Architecture};
use crate::mem::backing::SharedMemory;
use crate::mem::user::{Fault, is_user_range, read_user, read_user_nofault};

/// What waiters have in common: what the address belongs to, and the address in that.
#[derive(Clone)]
pub struct Key {
    owner: usize,
    address: usize,
    /// The owner, where the waiter's address space may give it up before the wait ends.
    _memory: Option<SharedMemory>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        (self.owner, self.address) == (other.owner, other.address)
    }
}

struct Waiter {
    key: Key,
    /// `FUTEX_WAIT_BITSET`: woken by calls that share a bit.
    bits: u32,
    task: Arc<Task>,
}

const QUEUES: usize = 64;

static FUTEXES: [Waiters<Waiter>; QUEUES] = [const { Waiters::new() }; QUEUES];

/// How a wait on a futex ended without a wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FutexError {
    /// The word did not have the expected value.
    Changed,
    Interrupted,
    TimedOut,
    /// The address is not accessible.
    Fault,
    /// The address is not aligned.
    Misaligned,
}

impl From<Fault> for FutexError {
    fn from(_: Fault) -> Self {
        Self::Fault
    }
}

impl From<Interrupted> for FutexError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

/// The queue of a key: an index in [`FUTEXES`], for it is taken from as many bits.
fn place(key: &Key) -> usize {
    let mixed = (key.address >> 2 ^ key.owner >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed >> (usize::BITS - QUEUES.ilog2())
}

fn queue(place: usize) -> &'static Waiters<Waiter> {
    FUTEXES.get(place).unwrap_or(&FUTEXES[0])
}

/// Notes, under the queue's lock, in which queue a task waits.
fn set_place(task: &Task, place: Option<usize>) {
    // Ordered before a waker's look at the task's state: the task sets that before it looks here.
    task.futex_place.store(place.map_or(0, |place| place + 1), Ordering::SeqCst);
}

impl Key {
    /// The key of a user's word: of this address space, or, unless `private`, of the memory
    /// that a shared mapping shows there.
    ///
    /// # Errors
    /// If the address cannot be one of a futex.
    pub fn of_user(address: usize, private: bool) -> Result<Self, FutexError> {
        if !address.is_multiple_of(4) {
            return Err(FutexError::Misaligned);
        }
        let task = current();
        let space = task.space().filter(|_| is_user_range(address, 4)).ok_or(FutexError::Fault)?;
        let shared = if private { None } else { space.shared_memory(address) };
        Ok(match shared {
            Some((memory, address)) => {
                Self { owner: memory.identity(), address, _memory: Some(memory) }
            }
            None => Self { owner: Arc::as_ptr(space) as usize, address, _memory: None },
        })
    }

    fn of_kernel(word: &AtomicU32) -> Self {
        Self { owner: 0, address: core::ptr::from_ref(word) as usize, _memory: None }
    }
}

/// Waits on the user's word at `address` while it is `expected`, until `deadline` at most.
///
/// # Errors
/// As [`FutexError`] says.
pub fn wait(
    address: usize,
    private: bool,
    expected: u32,
    bits: u32,
    deadline: Option<u64>,
) -> Result<(), FutexError> {
    let key = Key::of_user(address, private)?;
    let place = place(&key);
    let task = current();
    let waiter = Waiter { key, bits, task: task.to_arc() };
    loop {
        let Some(mut waiters) = queue(place).lock_with_room() else {
            yield_now();
            return Ok(());
        };
        match read_user_nofault(address) {
            Ok(value) if value == expected => {
                task.set_state(TaskState::Sleeping);
                set_place(&task, Some(place));
                waiters.push_back(waiter);
                break;
            }
            Ok(_) => return Err(FutexError::Changed),
            Err(Fault) => {
                // Not in memory now: have it brought there, without the lock.
                drop(waiters);
                read_user::<u32>(address)?;
            }
        }
    }
    let alarm = deadline.map(Alarm::set);
    loop {
        // A waiter that is in no queue any more was taken out by a waker.
        let queued = task.futex_place.load(Ordering::SeqCst) != 0;
        let late = alarm.as_ref().is_some_and(Alarm::is_over);
        if !queued || late || task.has_signal() {
            let was_queued = remove();
            task.set_state(TaskState::Running);
            return match (was_queued, late) {
                (false, _) => Ok(()),
                (true, true) => Err(FutexError::TimedOut),
                (true, false) => Err(Interrupted::noted().into()),
            };
        }
        block();
        task.set_state(TaskState::Sleeping);
    }
}

/// Takes the running task out of its queue, which is not the one that it entered if it has been
/// requeued; `false` if a waker has done so.
fn remove() -> bool {
    let task = current();
    loop {
        let noted = task.futex_place.load(Ordering::Acquire);
        let Some(place) = noted.checked_sub(1) else { return false };
        let mut waiters = queue(place).lock();
        if task.futex_place.load(Ordering::Acquire) != noted {
            continue;
        }
        set_place(&task, None);
        let is_own = |waiter: &Waiter| core::ptr::eq(Arc::as_ptr(&waiter.task), &raw const *task);
        let at = waiters.iter().position(is_own);
        let waiter = at.and_then(|at| waiters.remove(at));
        drop(waiters);
        return waiter.is_some();
    }
}

/// Wakes up to `count` tasks that wait with `key` and share one of `bits`; how many it was.
pub fn wake(key: &Key, bits: u32, count: usize) -> usize {
    let mut woken = 0;
    while woken < count {
        let mut waiters = queue(place(key)).lock();
        let at = waiters.iter().position(|waiter| waiter.key == *key && waiter.bits & bits != 0);
        let Some(waiter) = at.and_then(|at| waiters.remove(at)) else { break };
        set_place(&waiter.task, None);
        drop(waiters);
        // The key is dropped here, without the lock: it may be the last to hold its memory.
        wake_any(waiter.task);
        woken += 1;
    }
    woken
}

/// Waiters that are moved at a time.
const BATCH: usize = 16;

/// Has up to `count` waiters with `from` wait with `to` instead, or wakes them where there is no
/// memory for that; how many it was. Those that come meanwhile keep nobody here.
pub fn requeue(from: &Key, to: &Key, count: usize) -> usize {
    let (first, second) = (place(from), place(to));
    let is_one = |waiter: &&Waiter| waiter.key == *from;
    let waiting = queue(first).lock().iter().filter(is_one).take(count).count();
    if from == to {
        return waiting;
    }
    let mut moved = 0;
    while moved < waiting {
        let mut old = [const { None }; BATCH];
        let batch = old.get_mut(..BATCH.min(waiting - moved)).unwrap_or_default();
        let full = move_some(first, second, (from, to), batch);
        let some = old.iter().flatten().count();
        // Their keys are dropped without the locks: as in `wake`.
        drop(old);
        moved += some;
        // Room for one is made without the locks, twice as much as there was.
        if full && queue(second).lock_with_room().is_none() {
            return moved + wake(from, u32::MAX, waiting - moved);
        }
        if some == 0 && !full {
            break;
        }
    }
    moved
}

/// Moves waiters with the first key, which is another than the second, to the other queue, and puts
/// the keys that they had into `old`, one after the other, until it is full. Says whether that queue
/// has no room for more.
fn move_some(
    first: usize,
    second: usize,
    (from, to): (&Key, &Key),
    old: &mut [Option<Key>],
) -> bool {
    if first == second {
        let mut waiters = queue(first).lock();
        let those = waiters.iter_mut().filter(|waiter| waiter.key == *from);
        for (slot, waiter) in old.iter_mut().zip(those) {
            *slot = Some(core::mem::replace(&mut waiter.key, to.clone()));
        }
        return false;
    }
    // A waiter is in one of the two at any moment, so both are locked, the lower one first.
    let mut lower = queue(first.min(second)).lock();
    let mut upper = queue(first.max(second)).lock();
    let (source, target) =
        if first < second { (&mut *lower, &mut *upper) } else { (&mut *upper, &mut *lower) };
    for slot in old {
        let Some(at) = source.iter().position(|waiter| waiter.key == *from) else { break };
        if target.len() == target.capacity() {
            return true;
        }
        let Some(mut waiter) = source.remove(at) else { break };
        *slot = Some(core::mem::replace(&mut waiter.key, to.clone()));
        set_place(&waiter.task, Some(second));
        target.push_back(waiter);
    }
    false
}

fn platform_wait(word: &AtomicU32, expected: u32) {
    if !super::super::context::is_running() {
        return;
    }
    let key = Key::of_kernel(word);
    let place = place(&key);
    let task = current();
    let waiter = Waiter { key, bits: u32::MAX, task: task.to_arc() };
    {
        let Some(mut waiters) = queue(place).lock_with_room() else {
            return yield_now();
        };
        if word.load(Ordering::Relaxed) != expected {
            return;
        }
        task.set_state(TaskState::Waiting);
        set_place(&task, Some(place));
        waiters.push_back(waiter);
    }
    block();
    remove();
}

fn platform_wake(word: &AtomicU32) {
    wake(&Key::of_kernel(word), u32::MAX, 1);
}

fn irq_save() -> IrqState {
    Arch::irq_save()
}

fn irq_restore(state: IrqState) {
    Arch::irq_restore(state);
}

static PLATFORM: Platform =
    Platform { irq_save, irq_restore, wait: platform_wait, wake: platform_wake };

/// Gives the kernel's locks interrupts to turn off and a way to sleep. Interrupts are off.
pub(in super::super) fn install() {
    kernel_sync::install(&PLATFORM);
}
