//! Fair scheduling by virtual run time, as in Linux's completely fair scheduler: each task counts
//! the nanoseconds that it has run, by its [nice value](crate::nice), and the one that has run
//! least runs next. A task that has slept does not get the time back for which it was asleep: on
//! waking it is placed a little before the least of those that wait, which lets it answer
//! soon, and no more. Each CPU has a scale of its own; a task that changes its CPU keeps its
//! distance to the others.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// How long a task may run while others wait.
pub const SLICE_NS: u64 = 4_000_000;

/// How far before the others a task is placed that wakes up.
pub const WAKE_UP_CREDIT_NS: u64 = SLICE_NS / 2;

/// What the scheduler knows of a task, kept with the task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entity {
    /// Nanoseconds run, on the scale of its CPU's queue.
    pub virtual_ns: u64,
}

struct Entry<T> {
    virtual_ns: u64,
    /// Order of arrival among equals.
    sequence: u64,
    task: T,
}

impl<T> Entry<T> {
    fn before(&self, other: &Self) -> bool {
        (self.virtual_ns, self.sequence) < (other.virtual_ns, other.sequence)
    }
}

/// The tasks of one CPU that could run and do not: a binary heap, least virtual time first.
pub struct RunQueue<T> {
    heap: Vec<Entry<T>>,
    sequence: u64,
    /// Virtual time that every queued or running task has reached; never goes back.
    floor: u64,
}

impl<T> RunQueue<T> {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { heap: Vec::new(), sequence: 0, floor: 0 }
    }

    /// Makes room, so that queueing up to `tasks` tasks does not allocate.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn reserve(&mut self, tasks: usize) -> Result<(), TryReserveError> {
        self.heap.try_reserve(tasks.saturating_sub(self.heap.len()))
    }

    /// How many tasks wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Where a new task starts: level with the others, having no claim on the past.
    pub fn start(&self) -> Entity {
        Entity { virtual_ns: self.floor }
    }

    /// Queues a task.
    #[inline]
    pub fn requeue(&mut self, task: T, entity: Entity) {
        self.push(task, entity.virtual_ns);
    }

    /// Where a task is queued that gives way: behind the one that would run next.
    #[must_use]
    pub fn yielding(&self, entity: Entity) -> Entity {
        let next = self.heap.first().map_or(0, |next| next.virtual_ns);
        Entity { virtual_ns: entity.virtual_ns.max(next) }
    }

    /// Where a task is queued that was asleep, and whether it should run before one that has
    /// run for `running`.
    #[must_use]
    pub fn waking(&self, entity: Entity, running: Option<Entity>) -> (Entity, bool) {
        let queued = self.heap.first().map(|next| next.virtual_ns);
        let least = running.map(|running| running.virtual_ns).into_iter().chain(queued).min();
        let earliest = self.floor.max(least.unwrap_or(0)).saturating_sub(WAKE_UP_CREDIT_NS);
        let entity = Entity { virtual_ns: entity.virtual_ns.max(earliest) };
        let first = running.is_none_or(|running| {
            entity.virtual_ns.saturating_add(WAKE_UP_CREDIT_NS / 2) < running.virtual_ns
        });
        (entity, first)
    }

    /// How far a task is behind the others of this CPU (ahead of them, if negative), which it
    /// takes along to another CPU, whose scale is another.
    #[must_use]
    pub fn lag(&self, entity: Entity) -> i64 {
        self.floor.wrapping_sub(entity.virtual_ns) as i64
    }

    /// Where a task stands that comes from another CPU, so far behind the others. What it was
    /// behind for longer than one that has just woken up is lost, for it was not for want of a
    /// CPU.
    #[must_use]
    pub fn arriving(&self, lag: i64) -> Entity {
        let lag = lag.min(WAKE_UP_CREDIT_NS as i64);
        Entity { virtual_ns: self.floor.saturating_add_signed(lag.saturating_neg()) }
    }

    /// Takes out a task that `accept` accepts, one that would not run soon if there are several.
    pub fn take(&mut self, accept: impl FnMut(&T) -> bool) -> Option<(T, Entity)> {
        let from_the_end = self.heap.iter().rev().map(|entry| &entry.task).position(accept)?;
        let last = self.heap.len() - 1;
        let at = last - from_the_end;
        self.heap.swap(at, last);
        let entry = self.heap.pop()?;
        if at < self.heap.len() {
            self.sift_up(at);
            self.sift_down(at);
        }
        Some((entry.task, Entity { virtual_ns: entry.virtual_ns }))
    }

    /// The task that runs next.
    pub fn pop(&mut self) -> Option<T> {
        let last = self.heap.len().checked_sub(1)?;
        self.heap.swap(0, last);
        let entry = self.heap.pop()?;
        self.sift_down(0);
        self.floor = self.floor.max(entry.virtual_ns);
        Some(entry.task)
    }

    fn push(&mut self, task: T, virtual_ns: u64) {
        self.sequence += 1;
        self.heap.push(Entry { virtual_ns, sequence: self.sequence, task });
        self.sift_up(self.heap.len() - 1);
    }

    fn sift_up(&mut self, mut index: usize) {
        while index > 0 {
            let parent = (index - 1) / 2;
            if !self.heap[index].before(&self.heap[parent]) {
                break;
            }
            self.heap.swap(index, parent);
            index = parent;
        }
    }

    fn sift_down(&mut self, mut index: usize) {
        loop {
            let mut child = 2 * index + 1;
            let Some(left) = self.heap.get(child) else { break };
            if self.heap.get(child + 1).is_some_and(|right| right.before(left)) {
                child += 1;
            }
            if !self.heap[child].before(&self.heap[index]) {
                break;
            }
            self.heap.swap(index, child);
            index = child;
        }
    }
}

impl<T> Default for RunQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Entity, RunQueue, SLICE_NS, WAKE_UP_CREDIT_NS};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn two_that_yield_take_turns() {
        let mut queue = RunQueue::new();
        let mut entities = [Entity::default(); 2];
        queue.requeue(1usize, entities[1]);
        let mut running = 0;
        let mut order = Vec::new();
        for _ in 0..6 {
            entities[running].virtual_ns += 500;
            entities[running] = queue.yielding(entities[running]);
            queue.requeue(running, entities[running]);
            running = queue.pop().unwrap();
            order.push(running);
        }
        assert_eq!(order, [1, 0, 1, 0, 1, 0]);
    }

    #[test]
    fn a_sleeper_preempts_a_hog_but_gets_no_lost_time_back() {
        let mut queue = RunQueue::new();
        let mut hog = Entity { virtual_ns: 0 };
        queue.requeue("hog", hog);
        queue.pop();
        hog.virtual_ns += 100 * SLICE_NS;
        let (sleeper, first) = queue.waking(Entity { virtual_ns: 0 }, Some(hog));
        assert!(first);
        assert_eq!(sleeper.virtual_ns, hog.virtual_ns - WAKE_UP_CREDIT_NS);
        assert!(!queue.waking(hog, Some(hog)).1);
        assert!(queue.waking(hog, None).1, "an idle CPU runs whoever comes");
    }

    #[test]
    fn a_task_that_moves_keeps_its_distance() {
        let mut from = RunQueue::new();
        from.requeue("other", Entity { virtual_ns: 100 * SLICE_NS });
        from.pop();
        let mut to = RunQueue::new();
        to.requeue("another", Entity { virtual_ns: 7 * SLICE_NS });
        to.pop();
        let ahead = from.lag(Entity { virtual_ns: 101 * SLICE_NS });
        assert_eq!(to.arriving(ahead).virtual_ns, 8 * SLICE_NS);
        let slept_long = from.lag(Entity { virtual_ns: 0 });
        assert_eq!(to.arriving(slept_long).virtual_ns, 7 * SLICE_NS - WAKE_UP_CREDIT_NS);
    }

    #[test]
    fn room_made_is_room_kept() {
        let mut queue = RunQueue::new();
        queue.reserve(10).unwrap();
        let capacity = queue.heap.capacity();
        for task in 0..10 {
            queue.requeue(task, Entity::default());
        }
        assert_eq!(queue.heap.capacity(), capacity);
    }

    proptest! {
        /// Tasks that always want to run get the same time, to within a slice or two, however
        /// their slices are cut short.
        #[test]
        fn hogs_share_evenly(count in 2usize..8, cuts in proptest::collection::vec(1u64..=SLICE_NS, 600)) {
            let mut queue = RunQueue::new();
            let mut entities = vec![Entity::default(); count];
            for (task, &entity) in entities.iter().enumerate() {
                queue.requeue(task, entity);
            }
            for cut in cuts {
                let task = queue.pop().unwrap();
                entities[task].virtual_ns += cut;
                queue.requeue(task, entities[task]);
            }
            let most = entities.iter().map(|entity| entity.virtual_ns).max().unwrap();
            let least = entities.iter().map(|entity| entity.virtual_ns).min().unwrap();
            prop_assert!(most - least <= SLICE_NS);
        }

        #[test]
        fn what_is_taken_is_gone_and_the_rest_stays_in_order(
            times in proptest::collection::vec(0u64..50, 1..60),
            which in any::<prop::sample::Index>(),
        ) {
            let mut queue = RunQueue::new();
            for (arrival, &virtual_ns) in times.iter().enumerate() {
                queue.requeue((virtual_ns, arrival), Entity { virtual_ns });
            }
            let wanted = which.index(times.len());
            let (task, entity) = queue.take(|&(_, arrival)| arrival == wanted).unwrap();
            prop_assert_eq!((task, entity.virtual_ns), ((times[wanted], wanted), times[wanted]));
            prop_assert!(queue.take(|&(_, arrival)| arrival == wanted).is_none());
            let out: Vec<_> = core::iter::from_fn(|| queue.pop()).collect();
            prop_assert_eq!(out.len(), times.len() - 1);
            prop_assert!(out.is_sorted());
        }

        #[test]
        fn comes_out_in_order(times in proptest::collection::vec(0u64..50, 0..200)) {
            let mut queue = RunQueue::new();
            for (arrival, &virtual_ns) in times.iter().enumerate() {
                queue.requeue((virtual_ns, arrival), Entity { virtual_ns });
            }
            let out: Vec<_> = core::iter::from_fn(|| queue.pop()).collect();
            prop_assert_eq!(out.len(), times.len());
            prop_assert!(out.is_sorted());
        }
    }
}
