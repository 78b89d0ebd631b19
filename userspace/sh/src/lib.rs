//! The parts of the shell that need no system: its grammar, its expansions, its line editor.
//! They are tested on the host; `main.rs` puts them to work.
//!
//! | module | from → to |
//! |---|---|
//! | [`parser`] | text → [`ast`] |
//! | [`expand`] | a word of the tree → the arguments it stands for, over a [`expand::Context`] |
//! | [`arithmetic`] | the inside of `$((…))` → a number |
//! | [`condition`] | the arguments of `test` → true or false |
//! | [`pattern`] | `*`, `?`, `[…]` against a name |
//! | [`editor`] | bytes from a keyboard → a line, and what the screen must show |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod arithmetic;
pub mod ast;
pub mod condition;
pub mod editor;
pub mod expand;
pub mod parser;
pub mod pattern;

/// Text as the shell handles it: bytes, most often UTF-8.
pub type Bytes = alloc::vec::Vec<u8>;
