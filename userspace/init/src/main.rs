//! The first process: puts the system in order, runs the shell, and ends the machine.
//!
//! The order of everything, top to bottom, is in [`main`]. The parts: `mounts` (which file
//! systems belong where), `programs` (the verified programs at work from the start, and the
//! banner), `session` (the console, and the program that runs on it), `shutdown`.
//!
//! With arguments (the words after `--` on the kernel's command line) init runs those instead of
//! the shell, on a system without BPF programs, so that what is measured or tested is alone. Either way the machine's exit status is that program's. Something that is missing
//! is reported and does not stop the rest.
#![no_std]
#![no_main]

extern crate alloc;

mod mounts;
mod programs;
mod session;
mod shutdown;

use alloc::vec::Vec;
use lemma_rt::{arguments, eprintln, rustix};

lemma_rt::runtime!();

/// The first instructions that run in user mode.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub extern "C" fn _start() -> ! {
    lemma_rt::arch::first_instructions!(begin)
}

extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: called by `_start` alone, with the stack pointer that the kernel set up.
    unsafe { lemma_rt::start(stack, main) }
}

fn main() -> i32 {
    if rustix::process::getpid().as_raw_nonzero().get() != 1 {
        eprintln!("init: this is the first process of a system; it cannot run as another one");
        return 1;
    }
    mounts::mount_all();
    session::open_console();
    shutdown::listen();

    let given: Vec<&[u8]> = arguments().skip(1).collect();
    let programs = if given.is_empty() { programs::load_all() } else { Vec::new() };
    if given.is_empty() {
        programs::banner(&programs);
    }
    // Their pins keep them from here on: who removes those is rid of them.
    drop(programs);
    let status = match session::start(&given) {
        Ok(pid) => session::wait_until_ended(pid),
        Err(status) => status,
    };
    shutdown::finish(status)
}
