//! Helpers: the functions that programs may call.
//!
//! [`proto`] declares them as data: numbers, arguments, results, costs. What they
//! do is in [`call`] (with `format` and `bytes` for what is in memory, `network` for packets,
//! and [`callback`] for those that call back); what that needs of the kernel is in [`services`].

mod bytes;
pub mod call;
pub mod callback;
mod format;
#[cfg(test)]
pub(crate) mod mock;
mod network;
pub mod proto;
pub mod services;
pub mod table;
#[cfg(test)]
mod tests;

pub use call::{Environment, Helper, implementation, is_implemented, quick_lookup};
pub use proto::{Arg, HelperProto, Ret};
pub use services::{Fault, KernelServices};
pub use table::by_id;
