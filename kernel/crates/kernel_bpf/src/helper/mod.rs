//! Helpers: the functions that programs may call.
//!
//! [`proto`] declares them as data: numbers, arguments, results, costs. What they
//! do is in [`call`] (with `format` for text, and [`callback`] for those that call back); what that needs of the kernel is in
//! [`services`].

pub mod call;
pub mod callback;
mod format;
#[cfg(test)]
pub(crate) mod mock;
pub mod proto;
pub mod services;
pub mod table;
#[cfg(test)]
mod tests;

pub use call::{Environment, Helper, implementation, is_implemented, quick_lookup};
pub use proto::{Arg, HelperProto, Ret};
pub use services::{Fault, KernelServices};
pub use table::by_id;
