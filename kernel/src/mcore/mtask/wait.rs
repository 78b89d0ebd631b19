//! Waiting for something to become true: [`WaitQueue`].
//!
//! ```text
//! waiter:  queue.wait_until(|| take_what_is_there())?
//! waker:   make it true; queue.wake_one()
//! ```
//!
//! The waiter enters the queue before it looks, so a wake-up between looking and sleeping is
//! not lost. Wakers may be interrupt handlers. A waiter for whom there is no memory in the queue
//! looks again and again instead, and lets others run between.

use alloc::sync::Arc;

use kernel_sched::Waiters;

use super::super::context::{Current, current};
use super::scheduler::{block, wake, yield_now};
use super::task::{Task, TaskState};
use super::timer::Alarm;

/// A signal ended the wait: `EINTR`, or the system call starts again (`signal(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted(());

impl Interrupted {
    /// Notes in the running task that its system call was interrupted.
    pub(super) fn noted() -> Self {
        current().private().interrupted.set(true);
        Self(())
    }
}

/// Tasks that wait for the same thing, first come, first woken.
pub struct WaitQueue {
    waiters: Waiters<Arc<Task>>,
}

impl WaitQueue {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self { waiters: Waiters::new() }
    }

    /// Waits until `ready` returns something. `ready` is called by the waiting task, without
    /// any lock of the queue, at the start and after each wake-up.
    ///
    /// # Errors
    /// If a signal comes first.
    pub fn wait_until<T>(&self, ready: impl FnMut() -> Option<T>) -> Result<T, Interrupted> {
        self.wait(ready, TaskState::Sleeping)
    }

    /// The same, holding signals off: for what is sure to come soon.
    pub fn wait_uninterruptible<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Ok(value) = self.wait(&mut ready, TaskState::Waiting) {
                return value;
            }
        }
    }

    /// The same, for what may be long in coming: the end of the process ends the wait.
    ///
    /// # Errors
    /// If the task has to end.
    pub fn wait_killable<T>(&self, ready: impl FnMut() -> Option<T>) -> Result<T, Interrupted> {
        self.wait(ready, TaskState::Killable)
    }

    /// As `wait_until`, up to `deadline` on the scale of `now_ns`; `None` when it has passed.
    ///
    /// # Errors
    /// If a signal comes first.
    pub fn wait_deadline<T>(
        &self,
        mut ready: impl FnMut() -> Option<T>,
        deadline: u64,
    ) -> Result<Option<T>, Interrupted> {
        if let Some(value) = ready() {
            return Ok(Some(value));
        }
        let alarm = Alarm::set(deadline);
        self.wait(
            || match ready() {
                Some(value) => Some(Some(value)),
                None if alarm.is_over() => Some(None),
                None => None,
            },
            TaskState::Sleeping,
        )
    }

    #[inline]
    fn wait<T>(
        &self,
        mut ready: impl FnMut() -> Option<T>,
        state: TaskState,
    ) -> Result<T, Interrupted> {
        if let Some(value) = ready() {
            return Ok(value);
        }
        let task = current();
        loop {
            let entered = self.enter(task, state);
            let value = ready();
            let signal = match state {
                TaskState::Sleeping => task.has_signal(),
                TaskState::Killable => task.must_end(),
                _ => false,
            };
            if value.is_some() || signal {
                let was_there = self.leave(task);
                task.set_state(TaskState::Running);
                if entered && !was_there {
                    // A waker has chosen this task, which did not need it: another one may.
                    self.wake_one();
                }
                return value.ok_or_else(Interrupted::noted);
            }
            if !entered {
                yield_now();
                continue;
            }
            block();
            // Whoever else woke it left it in the queue.
            self.leave(task);
            if let Some(value) = ready() {
                return Ok(value);
            }
        }
    }

    /// Puts the task in, from when on it may be woken; `false` if there is no memory.
    fn enter(&self, task: Current, state: TaskState) -> bool {
        let waiter = task.to_arc();
        let Some(mut waiters) = self.waiters.lock_with_room() else { return false };
        task.set_state(state);
        waiters.push_back(waiter);
        true
    }

    /// Takes the task out; `false` if a waker has.
    fn leave(&self, task: Current) -> bool {
        let mut waiters = self.waiters.lock();
        let at =
            waiters.iter().position(|waiter| core::ptr::eq(Arc::as_ptr(waiter), &raw const *task));
        let waiter = at.and_then(|at| waiters.remove(at));
        drop(waiters);
        waiter.is_some()
    }

    /// Wakes the task that has waited longest.
    pub fn wake_one(&self) {
        loop {
            let Some(task) = self.waiters.lock().pop_front() else { return };
            if wake_any(task) {
                return;
            }
        }
    }

    /// Wakes all.
    pub fn wake_all(&self) {
        // Those that enter while this runs have looked later.
        let mut count = self.waiters.lock().len();
        while count > 0 {
            let Some(task) = self.waiters.lock().pop_front() else { return };
            wake_any(task);
            count -= 1;
        }
    }

    /// Whether somebody waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.lock().is_empty()
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

/// Wakes a task however it waits; `false` if it was awake.
pub(super) fn wake_any(task: Arc<Task>) -> bool {
    let state = task.state();
    let waits = matches!(state, TaskState::Sleeping | TaskState::Waiting | TaskState::Killable);
    waits && wake(task, state)
}
