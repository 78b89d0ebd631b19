//! What Linux lays out or numbers differently on each architecture. Every module here has the
//! same items; the kernel's `arch` layer chooses one.
//!
//! | item | what |
//! |---|---|
//! | `numbers` | the system calls' numbers |
//! | `MIN_SIGNAL_STACK` | the smallest alternate signal stack |
//! | `EPOLL_DATA` | where `struct epoll_event` has its data |
//! | `stat` | `struct stat` |
//! | `open_flags`, `user_open_flags` | the flags of `open(2)`, to and from x86_64's values |
//! | `SignalActionWords`, `signal_action`, `signal_action_words` | the kernel's `struct sigaction` |
//! | `clone_arguments` | the arguments of `clone(2)` in x86_64's order |

pub mod aarch64;
mod generic;
pub mod riscv64;
pub mod signal_action;
pub mod x86_64;
