//! Maps: what programs and user space share.
//!
//! [`def`] says what a map is declared to be, and what the verifier asks of one.

pub mod def;

pub use def::{MapDef, MapRef, MapType};
