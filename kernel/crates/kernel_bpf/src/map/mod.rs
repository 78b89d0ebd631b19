//! Maps: what programs and user space share.
//!
//! [`def`] says what a map is declared to be, and what the verifier asks of one.
//! [`Map`] is a map that exists: [`object`] is its one face, `array`, `hash` (with
//! `elements`) and [`ringbuf`] are the kinds of storage behind it, and [`epoch`] tells when
//! nobody can see a removed element any more.

#![forbid(unsafe_code)]

mod array;
pub mod def;
mod elements;
pub mod epoch;
mod error;
mod hash;
mod object;
pub mod ringbuf;
#[cfg(test)]
mod tests;

pub use array::ArrayLookup;
pub use def::{MapDef, MapRef, MapType};
pub use epoch::Epoch;
pub use error::{MapError, UpdateMode};
pub use object::{Map, MapEnvironment};
pub use ringbuf::{RingBuffer, UserPage};
