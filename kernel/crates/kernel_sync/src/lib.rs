//! Locks, once-cells, and what else CPUs agree by, for code that runs in the kernel and, unchanged,
//! in host tests.
//!
//! | type | waits by | may be taken in an interrupt | use for |
//! |---|---|---|---|
//! | [`SpinLock`] | spinning, interrupts off | yes | short sections that never sleep |
//! | [`TaskLock`] | spinning | no | the same, for what interrupts never touch |
//! | [`Mutex`] | sleeping | no | sections that may wait for a device |
//! | [`Gate`] | sleeping, to close it | no | operations that must have ended before something |
//! | [`RwLock`] | spinning | no | read-mostly tables |
//! | [`OnceCell`] | never | reading yes | values set once at start-up |
//!
//! What these need from the machine (turning interrupts off, sleeping) comes from one
//! [`Platform`] that the kernel installs at start-up; before that, and on the host, the
//! default platform leaves interrupts alone and waits by spinning.
//!
//! **Lock order.** A thread that holds a spinning lock takes only further spinning locks and
//! never sleeps, a `SpinLock` last; a `Mutex` is taken before any `SpinLock`. Modules that lock state their
//! own order in their first paragraph.
#![no_std]
#![deny(clippy::expect_used, clippy::indexing_slicing)]

#[cfg(test)]
extern crate std;

pub mod counters;
mod gate;
pub mod irq;
mod mutex;
mod once;
mod platform;
mod rwlock;
mod spin;
mod task_lock;

pub use gate::{Gate, Pass};
pub use mutex::{Mutex, MutexGuard};
pub use once::OnceCell;
pub use platform::{IrqState, Platform, install};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use spin::{SpinLock, SpinLockGuard};
pub use task_lock::{TaskLock, TaskLockGuard};
