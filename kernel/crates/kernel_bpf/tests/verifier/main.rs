//! The verifier from outside: its rules one by one, its bounds, and its soundness on
//! random programs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod callbacks;
mod common;
mod fields;
mod fuzz;
mod globals;
mod identity;
mod loops;
mod machine;
mod memory;
mod messages;
mod objects;
mod paths;
mod pruning;
mod random;
mod rules;
mod text;
mod traps;
mod types;
