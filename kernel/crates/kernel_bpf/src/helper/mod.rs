//! Helpers: the functions that programs may call.
//!
//! [`proto`] declares them as data: numbers, arguments, results, costs. What they do is in
//! [`call`], with `maps`, `rings`, `packet` (and `checksum`), `task` and `text` (with `format`, and
//! `template`, which the verifier asks too) for those about such, `reads` for those that read memory
//! which may not be there, `bytes` for what needs memory only, and [`callback`] for those that call
//! back; what that needs of the kernel is in [`services`].

mod bytes;
pub mod call;
pub mod callback;
mod checksum;
mod format;
mod maps;
#[cfg(test)]
pub(crate) mod mock;
mod packet;
pub mod proto;
mod reads;
mod rings;
pub mod services;
pub mod table;
mod task;
pub(crate) mod template;
#[cfg(test)]
mod tests;
mod text;

pub use call::{Environment, Helper, implementation, is_implemented, quick_lookup};
pub use proto::{Arg, HelperProto, Ret};
pub use services::{Fault, KernelServices};
pub use table::by_id;
