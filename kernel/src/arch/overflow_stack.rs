//! The stack for reporting that another has overflowed, on machines whose CPUs have no stack for
//! exceptions alone.
//!
//! All CPUs share it: the first that needs it takes it for good (each machine's `trap.rs`), for the
//! report is the last thing that the kernel does.

use core::arch::global_asm;

use super::image::{boot_stack_guard, linker_symbols};

global_asm!(
    r#"
    .section .bss.stacks, "aw", @nobits
    .balign 4096
    .global overflow_stack_guard
overflow_stack_guard:
    .skip 4096
    .skip 16384
    .global overflow_stack_top
overflow_stack_top:
    .bss
    .balign 8
    .global overflow_stack_taken
overflow_stack_taken:
    .skip 8
    .text
    "#
);

linker_symbols! {
    overflow_guard = overflow_stack_guard;
}

/// The guard pages below the boot CPU's stacks.
pub(super) fn guard_pages() -> impl Iterator<Item = usize> {
    [boot_stack_guard(), overflow_guard()].into_iter()
}
