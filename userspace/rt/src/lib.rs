//! What a Rust program without libc needs in order to be an ordinary static Linux program.
//!
//! A program says `lemma_rt::entry!(main)` with `fn main() -> i32`; that gives it `_start`, a
//! panic handler and a heap. Then it has:
//!
//! | module | what for |
//! |---|---|
//! | [`rustix`] | typed system calls, re-exported; used wherever it has the call |
//! | [`sys`] | the system calls that `rustix` does not have, or that must be made exactly so: fork, exec, wait, signals, terminals, `bpf`, `reboot` |
//! | [`fd`] | descriptors by number, for programs that arrange them for others |
//! | [`thread`] | threads on `clone` and waiting on `futex` |
//! | [`io`] | `print!`, `eprint!`, whole files, error texts |
//! | [`start`](mod@start) | arguments, environment, auxiliary vector |
//!
//! Only [`arch`] knows which CPU this is. The programs run on Linux as they do on Lemma; that is
//! how they are developed and tested.
#![no_std]

extern crate alloc;

pub mod arch;
pub mod fd;
mod heap;
pub mod io;
pub mod signal;
pub mod start;
pub mod sys;
pub mod thread;

pub use heap::Heap;
pub use io::{error_text, panic, show};
pub use linux_raw_sys::{errno, general, ioctl};
pub use rustix;
pub use rustix::io::Errno;
pub use start::{arguments, auxiliary, environment, environment_pointers, start, variable};

/// The result of a system call.
pub type Result<T> = core::result::Result<T, Errno>;

/// Makes the binary a program: defines `_start`, which calls `$main` (a `fn() -> i32`) and exits
/// with what it returns, and everything that [`runtime!`] defines.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        $crate::runtime!();

        /// The program's first instructions.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub extern "C" fn _start() -> ! {
            $crate::arch::first_instructions!(begin)
        }

        extern "C" fn begin(stack: *const usize) -> ! {
            // SAFETY: called by `_start` alone, with the stack pointer that the kernel set up.
            unsafe { $crate::start(stack, $main) }
        }
    };
}

/// Defines the panic handler and the heap, for a binary that defines `_start` itself.
#[macro_export]
macro_rules! runtime {
    () => {
        #[global_allocator]
        static HEAP: $crate::Heap = $crate::Heap::new();

        #[panic_handler]
        fn on_panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::panic(info)
        }
    };
}
