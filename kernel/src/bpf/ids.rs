//! Numbers for programs, maps, links and BTF: never zero, never given twice, and held
//! weakly, so that a number does not keep its object alive.
//!
//! Lock order: an [`IdTable`]'s lock is taken last and nothing is dropped under it, because
//! an object's `Drop` removes its own number.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};

use kernel_sync::SpinLock;

/// The live objects of one kind, by number.
pub struct IdTable<T> {
    inner: SpinLock<Inner<T>>,
}

struct Inner<T> {
    last: u32,
    live: BTreeMap<u32, Weak<T>>,
}

impl<T> IdTable<T> {
    /// An empty table.
    #[expect(
        clippy::new_without_default,
        reason = "a table is a part of the manager, never a temporary"
    )]
    pub const fn new() -> Self {
        Self { inner: SpinLock::new(Inner { last: 0, live: BTreeMap::new() }) }
    }

    /// Makes an object that knows its own number, and lists it. `None` when the numbers have
    /// run out.
    pub fn insert(&self, make: impl FnOnce(u32) -> T) -> Option<Arc<T>> {
        let id = {
            let mut inner = self.inner.lock();
            inner.last = inner.last.checked_add(1)?;
            inner.last
        };
        let object = Arc::new(make(id));
        self.inner.lock().live.insert(id, Arc::downgrade(&object));
        Some(object)
    }

    /// The object with this number, if it is alive.
    pub fn get(&self, id: u32) -> Option<Arc<T>> {
        self.inner.lock().live.get(&id)?.upgrade()
    }

    /// The first live object whose number is greater than `id`.
    pub fn next_after(&self, id: u32) -> Option<(u32, Arc<T>)> {
        let inner = self.inner.lock();
        let start = id.checked_add(1)?;
        inner.live.range(start..).find_map(|(&id, weak)| Some((id, weak.upgrade()?)))
    }

    /// Forgets a number; called by the object's `Drop`.
    pub fn remove(&self, id: u32) {
        let gone = self.inner.lock().live.remove(&id);
        drop(gone);
    }
}
