//! Scheduling decisions that need no hardware: who runs next, who is to be woken when, and who
//! waits.
//!
//! [`RunQueue`] orders the runnable tasks of one CPU by virtual run time; [`TimerQueue`]
//! orders sleepers by deadline; [`Waiters`] keeps those that wait in their order; [`nice`] says how
//! fast virtual time passes. They are generic over what they queue, allocate only when
//! they are told to make room, and take logarithmic time. The kernel's `mcore` holds one of
//! each per CPU, behind a lock.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::expect_used)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod nice;
mod run_queue;
mod timer_queue;
mod waiters;

pub use run_queue::{Entity, RunQueue, SLICE_NS, WAKE_UP_CREDIT_NS};
pub use timer_queue::{TimerId, TimerQueue};
pub use waiters::Waiters;
