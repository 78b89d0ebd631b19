//! A program that does nothing: what `fork_execve_wait` starts.
#![no_std]
#![no_main]

extern crate alloc;

lemma_rt::entry!(main);

fn main() -> i32 {
    0
}
