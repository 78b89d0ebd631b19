//! BPF from user space: what the `bpf` tool and init share.
//!
//! | module | |
//! |---|---|
//! | [`attributes`] | `union bpf_attr`, a block of bytes |
//! | [`calls`] | the commands of `bpf(2)` |
//! | [`object`] | loading a compiled object: maps, types, programs, pins |
//! | [`info`] | what the kernel says of programs, maps and hooks |
//! | [`find`] | programs and maps by number, name or path |
//! | [`values`] | keys and values as text, by their types |
//! | [`signing`] | which objects may be loaded |
//! | [`ring`] | reading a ring buffer |
//! | [`table`] | columns that line up, times with units |
//!
//! Everything is as on Linux, so it works there too, but for the hooks.
#![no_std]

extern crate alloc;

pub mod attributes;
pub mod calls;
pub mod find;
pub mod info;
pub mod object;
pub mod ring;
pub mod signing;
pub mod table;
pub mod values;

/// Where programs and maps are pinned.
pub const PINS: &str = "/sys/fs/bpf";

/// The attach types of Lemma's hooks, by name.
pub fn attach_type(hook: &str) -> Option<u32> {
    kernel_bpf::hook::by_name(hook).map(|hook| hook.attach_type)
}

/// The names of the hooks, for messages.
pub fn hook_names() -> alloc::string::String {
    let names: alloc::vec::Vec<&str> =
        kernel_bpf::hook::HOOKS.iter().map(|hook| hook.name).collect();
    names.join(", ")
}
