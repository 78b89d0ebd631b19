//! A gate that operations pass, and that can be closed: whoever closes it sleeps until those that
//! are inside have left, and nobody enters any more.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::platform::platform;

const CLOSED: u32 = 1 << 31;

/// Lets any number of operations in while it is open. Closed by one thread at a time: those that
/// may close it need a lock among themselves.
pub struct Gate {
    /// How many are inside, and [`CLOSED`].
    state: AtomicU32,
}

impl Gate {
    /// A gate with nobody inside.
    pub const fn new(open: bool) -> Self {
        Self { state: AtomicU32::new(if open { 0 } else { CLOSED }) }
    }

    /// Enters until the pass is dropped; `None` if the gate is closed, or about to be. Not to be
    /// waited for by one that is inside already: the gate may close between.
    #[inline]
    pub fn enter(&self) -> Option<Pass<'_>> {
        let open = |state| if state & CLOSED == 0 { Some(state + 1) } else { None };
        self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, open).ok()?;
        Some(Pass { gate: self })
    }

    /// Whether operations are let in.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) & CLOSED == 0
    }

    /// Lets nobody in any more, and sleeps until everybody has left.
    pub fn close(&self) {
        let mut state = self.state.fetch_or(CLOSED, Ordering::Acquire) | CLOSED;
        while state != CLOSED {
            (platform().wait)(&self.state, state);
            state = self.state.load(Ordering::Acquire);
        }
    }

    /// Lets operations in again.
    pub fn open(&self) {
        self.state.fetch_and(!CLOSED, Ordering::Release);
    }
}

/// Proof that its holder is inside a [`Gate`], which is not closed meanwhile.
#[must_use]
pub struct Pass<'a> {
    gate: &'a Gate,
}

impl Drop for Pass<'_> {
    #[inline]
    fn drop(&mut self) {
        // The last one to leave a closed gate tells who waits for it.
        if self.gate.state.fetch_sub(1, Ordering::Release) == CLOSED | 1 {
            (platform().wake)(&self.gate.state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Gate;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::thread;

    #[test]
    fn nobody_is_inside_of_a_closed_gate() {
        let gate = Arc::new(Gate::new(true));
        let inside = Arc::new(AtomicU32::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let passed = Arc::new([const { AtomicU32::new(0) }; 3]);
        let threads: std::vec::Vec<_> = (0..passed.len())
            .map(|index| {
                let (gate, inside, stop) = (gate.clone(), inside.clone(), stop.clone());
                let passed = passed.clone();
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let Some(_pass) = gate.enter() else { continue };
                        inside.fetch_add(1, Ordering::Relaxed);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::Relaxed);
                        passed[index].fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for _ in 0..200 {
            gate.close();
            assert!(!gate.is_open());
            assert!(gate.enter().is_none());
            for _ in 0..100 {
                assert_eq!(inside.load(Ordering::Relaxed), 0);
            }
            gate.open();
            thread::yield_now();
        }
        // Each passes, however late it was started.
        let start = std::time::Instant::now();
        while passed.iter().any(|passed| passed.load(Ordering::Relaxed) == 0) {
            assert!(start.elapsed().as_secs() < 60, "{passed:?}");
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
