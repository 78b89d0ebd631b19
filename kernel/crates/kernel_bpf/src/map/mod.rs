//! Maps: what programs and user space share.
//!
//! [`def`] says what a map is declared to be, and what the verifier asks of one.
//! [`Map`] is a map that exists: `object` says what it is, `user_side` has its operations for system
//! calls, `program_side` those for programs, `contents` those on programs, maps and events that it
//! holds; `create` makes it. Behind it is one kind of storage:
//!
//! | module | types of map |
//! |---|---|
//! | `array` | array, per-CPU array |
//! | `hash` | hash, per-CPU hash, LRU hash, LRU per-CPU hash |
//! | `lpm_trie` | LPM trie |
//! | `queue` | queue, stack |
//! | `bloom` | bloom filter |
//! | [`ringbuf`] | ring buffer |
//! | `prog_array` | program array |
//! | `nested` | array of maps, hash of maps |
//! | [`events`] | perf event array |
//! | [`stack_trace`] | stack trace |
//! | [`task_storage`] | task local storage |
//!
//! `elements` and `slots` are what those are made of, `value` knows of locks inside values,
//! [`epoch`] tells when nobody can see a removed element any more, and `changes` when system
//! calls no longer change a map. The embedded profile
//! has all of these types; there `BPF_F_NO_PREALLOC` takes all memory beforehand too.

#![forbid(unsafe_code)]

mod array;
pub(crate) mod bloom;
mod changes;
mod contents;
mod create;
pub mod def;
mod elements;
pub mod epoch;
mod error;
pub mod events;
mod hash;
mod keyed_hash;
mod lpm_trie;
mod nested;
mod object;
mod prog_array;
mod program_side;
mod queue;
pub mod ringbuf;
mod slots;
pub mod stack_trace;
pub mod task_storage;
#[cfg(test)]
mod tests;
mod user_side;
pub(crate) mod value;

pub use array::ArrayLookup;
pub use changes::Writer;
pub use create::MapExtras;
pub use def::{KernelPointer, MapDef, MapRef, MapType, ValueFields};
pub use epoch::Epoch;
pub use error::{F_LOCK, MapError, UpdateMode};
pub use events::EventSink;
pub use hash::Rows;
pub use object::{Map, MapEnvironment};
pub use prog_array::{Engine, MAX_TAIL_CALLS, ProgramKind, TailEntry, TailTarget};
pub(crate) use prog_array::{Executable, Needs};
pub use program_side::SlotLookup;
pub(crate) use program_side::within;
pub use ringbuf::{RingBuffer, UserPage};
