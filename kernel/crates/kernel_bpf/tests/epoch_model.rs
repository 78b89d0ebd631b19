//! The epoch in a model of weakly ordered memory: loom tries every interleaving of the threads
//! and every value that a load may return under C11's rules, and reports a value that is
//! reused while a reader is at it.
//!
//! The model is the protocol of every map here: a head leads to an element; a writer puts the
//! head elsewhere, retires the element, and writes over it when [`Epoch::is_safe`] says so.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, AtomicUsize, fence};
use loom::thread;

use kernel_bpf::map::Epoch;
use kernel_bpf::map::epoch::Word;

/// A number in the model's memory.
struct Modelled(AtomicU64);

impl Word for Modelled {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_add(value, order)
    }

    fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_max(value, order)
    }

    fn fence(order: Ordering) {
        fence(order);
    }
}

/// A map with one key, whose element is at first number 0 and then number 1.
struct Model {
    epoch: Epoch<Modelled, 2>,
    head: AtomicUsize,
    elements: [UnsafeCell<u64>; 2],
}

impl Model {
    fn new() -> Arc<Self> {
        let epoch = Epoch::with_words(|first| Modelled(AtomicU64::new(first)));
        let elements = [UnsafeCell::new(10), UnsafeCell::new(11)];
        Arc::new(Self { epoch, head: AtomicUsize::new(0), elements })
    }

    /// A program: looks the key up and reads the value twice.
    fn read(&self) {
        let at = self.head.load(Ordering::Acquire);
        for _ in 0..2 {
            // SAFETY: loom reports a write at the same time; that is the test.
            let value = self.elements[at].with(|value| unsafe { *value });
            assert_eq!(value, 10 + at as u64, "a value changed under its reader");
        }
    }

    /// Replaces the element, and writes over the old one as soon as that is safe. Returns
    /// whether it was.
    fn replace(&self) -> bool {
        self.head.store(1, Ordering::Release);
        let tag = self.epoch.retire();
        let safe = self.epoch.is_safe(tag);
        if safe {
            // SAFETY: as in `read`.
            self.elements[0].with_mut(|value| unsafe { *value = 99 });
        }
        safe
    }
}

/// Runs a reader beside a writer, in every order.
fn explore(prepare: fn(&Model), reader: fn(&Model)) -> (u32, u32) {
    use std::sync::atomic::AtomicU32;
    let (reused, kept) = (AtomicU32::new(0), AtomicU32::new(0));
    let counters = std::sync::Arc::new((reused, kept));
    let inside = std::sync::Arc::clone(&counters);
    loom::model(move || {
        let model = Model::new();
        prepare(&model);
        let thread = {
            let model = Arc::clone(&model);
            thread::spawn(move || reader(&model))
        };
        let counter = if model.replace() { &inside.0 } else { &inside.1 };
        counter.fetch_add(1, Ordering::Relaxed);
        thread.join().unwrap();
    });
    (counters.0.load(Ordering::Relaxed), counters.1.load(Ordering::Relaxed))
}

#[test]
fn a_value_stays_until_its_reader_is_quiet() {
    let (reused, kept) = explore(
        |model| model.epoch.online(0),
        |model| {
            model.read();
            model.epoch.quiesce(0);
            model.read();
        },
    );
    // Both happen: the reader was quiet before, or it was not.
    assert!(reused > 0 && kept > 0, "{reused} {kept}");
}

/// The writer's own CPU and one that was quiet long ago do not stand for the reader's.
#[test]
fn every_cpu_is_waited_for() {
    let online = |model: &Model| {
        model.epoch.online(0);
        model.epoch.online(1);
    };
    let readers: [fn(&Model); 2] = [
        |model| {
            model.epoch.quiesce(1);
            model.read();
            model.epoch.quiesce(0);
        },
        |model| {
            model.epoch.quiesce(0);
            model.read();
            model.epoch.quiesce(1);
        },
    ];
    for reader in readers {
        let (reused, kept) = explore(online, reader);
        assert!(reused > 0 && kept > 0, "{reused} {kept}");
    }
}

#[test]
fn a_cpu_that_comes_online_or_goes_offline_is_counted_in_time() {
    let (reused, kept) = explore(
        |_| {},
        |model| {
            model.epoch.online(0);
            model.read();
            model.epoch.offline(0);
        },
    );
    assert!(reused > 0 && kept > 0, "{reused} {kept}");
}

#[test]
fn a_section_is_counted_in_time() {
    let (reused, kept) = explore(
        |model| {
            model.epoch.online(0);
            model.epoch.offline(0);
        },
        |model| {
            assert!(model.epoch.enter(0));
            model.read();
            model.epoch.offline(0);
        },
    );
    assert!(reused > 0 && kept > 0, "{reused} {kept}");
}

#[test]
#[should_panic]
fn the_model_notices_a_reuse_that_does_not_wait() {
    explore(
        |model| model.epoch.online(0),
        |model| {
            // Quiet while it still holds the value: what programs must not do.
            let at = model.head.load(Ordering::Acquire);
            model.epoch.quiesce(0);
            // SAFETY: as in `read`.
            model.elements[at].with(|value| unsafe { *value });
        },
    );
}
