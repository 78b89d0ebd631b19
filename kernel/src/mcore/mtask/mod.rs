//! The parts of a task's life. See [`super`] for the table of files.

pub mod balance;
pub mod credentials;
pub mod delivery;
pub mod event_timer;
pub mod exec;
pub mod exit;
pub mod family;
pub mod fork;
pub mod futex;
pub mod interval;
pub mod job;
pub mod process;
pub mod quiescent;
mod robust;
pub mod scheduler;
pub mod signal;
pub mod start;
pub mod task;
pub mod timer;
pub mod wait;
