//! Helpers: the functions that programs may call.
//!
//! [`proto`] declares them as data: numbers, arguments, results, costs. What they
//! do is implemented beside it and in the kernel.

pub mod proto;
pub mod table;

pub use proto::{Arg, HelperProto, Ret};
pub use table::by_id;
