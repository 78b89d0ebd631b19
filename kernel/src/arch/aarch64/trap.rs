//! Exceptions and interrupts: the vectors, the entry code, the decision who handles what.
//!
//! While a user runs, SP_EL1 is the end of the task's kernel stack: that is where the CPU
//! enters, and what leaving the kernel puts there again. Entries store a [`Frame`]; a system
//! call goes straight to [`syscall_handler`](super::syscall). An exception of the kernel itself
//! looks first whether its frame can be stored at all: if not, the stack has overflowed, and
//! the report runs on a stack of its own. TPIDRRO_EL0, which nobody else uses, holds a register
//! meanwhile, and is cleared, because users can read it.
//!
//! Faults of user mode go up to `mem` and `mcore`; faults of the kernel on instructions that
//! user.rs registered are fixed up; any other ends in a panic.

use core::arch::{asm, global_asm};

use super::asm::{read_register, write_register};
use super::frame::{Frame, IRQ_MASKED, SIZE};
use super::layout::USER_END;
use super::{irq, syscall};
use crate::arch::fixup::{Fixup, fixup};
use crate::arch::image::linker_symbols;
use crate::arch::traits::{FaultAccess, TrapFrame, UserFault};
use crate::arch::up;

/// Why the entry code calls [`trap_handler`].
const SYNCHRONOUS: usize = 0;
const INTERRUPT: usize = 1;
const SYSTEM_ERROR: usize = 2;
const STACK_OVERFLOW: usize = 3;
/// A vector that nothing here uses.
const UNEXPECTED: usize = 4;

// Classes of exceptions (ESR_EL1.EC; Arm Architecture Reference Manual, D24.2.40).
const UNKNOWN: u64 = 0x00;
const FLOATING_POINT_ACCESS: u64 = 0x07;
const ILLEGAL_STATE: u64 = 0x0e;
pub(super) const SUPERVISOR_CALL: u64 = 0x15;
const SYSTEM_REGISTER: u64 = 0x18;
const VECTOR_ACCESS: u64 = 0x19;
const USER_INSTRUCTION_ABORT: u64 = 0x20;
const INSTRUCTION_ABORT: u64 = 0x21;
const PC_ALIGNMENT: u64 = 0x22;
const USER_DATA_ABORT: u64 = 0x24;
const DATA_ABORT: u64 = 0x25;
const SP_ALIGNMENT: u64 = 0x26;
const FLOATING_POINT: u64 = 0x2c;
const SERROR: u64 = 0x2f;
const BREAKPOINT_FIRST: u64 = 0x30;
const BREAKPOINT_LAST: u64 = 0x35;
const BRK: u64 = 0x3c;

/// The name that the panic prints.
fn exception_name(class: u64) -> &'static str {
    match class {
        UNKNOWN => "undefined instruction",
        FLOATING_POINT_ACCESS | VECTOR_ACCESS => "floating-point access",
        ILLEGAL_STATE => "illegal execution state",
        SUPERVISOR_CALL => "supervisor call",
        SYSTEM_REGISTER => "system-register access",
        USER_INSTRUCTION_ABORT | INSTRUCTION_ABORT | USER_DATA_ABORT | DATA_ABORT => "page fault",
        PC_ALIGNMENT => "misaligned program counter",
        SP_ALIGNMENT => "misaligned stack pointer",
        FLOATING_POINT => "floating-point exception",
        SERROR => "system error",
        BREAKPOINT_FIRST..=BREAKPOINT_LAST => "debug exception",
        BRK => "breakpoint",
        _ => "unknown exception",
    }
}

global_asm!(
    r#"
    // Stores x0 to x29; x30, the interrupted stack pointer, ELR and SPSR follow.
    .macro SAVE_REGISTERS
    stp x0, x1, [sp, #0]
    stp x2, x3, [sp, #16]
    stp x4, x5, [sp, #32]
    stp x6, x7, [sp, #48]
    stp x8, x9, [sp, #64]
    stp x10, x11, [sp, #80]
    stp x12, x13, [sp, #96]
    stp x14, x15, [sp, #112]
    stp x16, x17, [sp, #128]
    stp x18, x19, [sp, #144]
    stp x20, x21, [sp, #160]
    stp x22, x23, [sp, #176]
    stp x24, x25, [sp, #192]
    stp x26, x27, [sp, #208]
    stp x28, x29, [sp, #224]
    .endm

    .macro USER_ENTRY kind
    .balign 128
    sub sp, sp, #{size}
    SAVE_REGISTERS
    mov x1, #\kind
    b user_entry
    .endm

    .macro KERNEL_ENTRY kind
    .balign 128
    sub sp, sp, #{size}
    SAVE_REGISTERS
    mov x1, #\kind
    add x2, sp, #{size}
    b kernel_entry
    .endm

    .text
    .balign 2048
    .global exception_vectors
exception_vectors:
    // From this level on SP_EL0: never.
    KERNEL_ENTRY {unexpected}
    KERNEL_ENTRY {unexpected}
    KERNEL_ENTRY {unexpected}
    KERNEL_ENTRY {unexpected}
    // From this level: is there room for the frame?
    .balign 128
    msr tpidrro_el0, x0
    mov x0, sp
    sub x0, x0, #{size}
    at s1e1w, x0
    isb
    mrs x0, par_el1
    tbnz x0, #0, stack_overflow
    mrs x0, tpidrro_el0
    msr tpidrro_el0, xzr
    b kernel_synchronous
    KERNEL_ENTRY {interrupt}
    KERNEL_ENTRY {unexpected}
    KERNEL_ENTRY {system_error}
    // From user mode.
    USER_ENTRY {synchronous}
    USER_ENTRY {interrupt}
    USER_ENTRY {unexpected}
    USER_ENTRY {system_error}
    // From 32-bit user mode: never.
    USER_ENTRY {unexpected}
    USER_ENTRY {unexpected}
    USER_ENTRY {unexpected}
    USER_ENTRY {unexpected}

    .balign 64
user_entry:
    mrs x2, sp_el0
    mrs x3, elr_el1
    mrs x4, spsr_el1
    stp x30, x2, [sp, #240]
    stp x3, x4, [sp, #256]
    mov x29, xzr
    mov x30, xzr
    mrs x2, esr_el1
    cbnz x1, 2f
    lsr x3, x2, #26
    cmp x3, #{supervisor_call}
    b.ne 2f
    stp x0, x8, [sp, #272]
    mov x0, sp
    msr daifclr, #2
    bl {syscall}
    b user_return
2:  mov x3, #-1
    stp x0, x3, [sp, #272]
    mov x0, sp
    bl {handler}
user_return:
    mov x0, sp
    add x1, sp, #{size}
    // x0: a frame of user mode; x1: where the kernel stack ends. Interrupts are off.
    .global leave_kernel
leave_kernel:
    mov sp, x1
    ldp x30, x2, [x0, #240]
    ldp x3, x4, [x0, #256]
    msr sp_el0, x2
    msr elr_el1, x3
    msr spsr_el1, x4
    ldp x2, x3, [x0, #16]
    ldp x4, x5, [x0, #32]
    ldp x6, x7, [x0, #48]
    ldp x8, x9, [x0, #64]
    ldp x10, x11, [x0, #80]
    ldp x12, x13, [x0, #96]
    ldp x14, x15, [x0, #112]
    ldp x16, x17, [x0, #128]
    ldp x18, x19, [x0, #144]
    ldp x20, x21, [x0, #160]
    ldp x22, x23, [x0, #176]
    ldp x24, x25, [x0, #192]
    ldp x26, x27, [x0, #208]
    ldp x28, x29, [x0, #224]
    ldp x0, x1, [x0, #0]
    eret

stack_overflow:
    msr tpidr_el0, x1                   // a user's, who will not run again
    ldr x0, =overflow_stack_taken
1:  ldxr x1, [x0]
    cbnz x1, 3f
    stxr w1, x0, [x0]
    cbnz w1, 1b
    mrs x1, tpidr_el0
    ldr x0, =overflow_stack_top
    sub x0, x0, #{size}
    str x1, [x0, #8]
    mov x1, sp
    mov sp, x0
    mrs x0, tpidrro_el0
    msr tpidrro_el0, xzr
    str x0, [sp, #0]
    str x1, [sp, #248]
    ldr x1, [sp, #8]
    SAVE_REGISTERS
    mov x1, #{overflow}
    ldr x2, [sp, #248]
    b kernel_entry
3:  wfi                                 // another CPU is reporting: it stops all
    b 3b

    .balign 64
kernel_synchronous:
    sub sp, sp, #{size}
    SAVE_REGISTERS
    mov x1, #{synchronous}
    add x2, sp, #{size}
kernel_entry:
    mrs x3, elr_el1
    mrs x4, spsr_el1
    stp x30, x2, [sp, #240]
    stp x3, x4, [sp, #256]
    mov x3, #-1
    stp x0, x3, [sp, #272]
    mov x0, sp
    mrs x2, esr_el1
    bl {handler}
    ldp x3, x4, [sp, #256]
    msr elr_el1, x3
    msr spsr_el1, x4
    ldp x2, x3, [sp, #16]
    ldp x4, x5, [sp, #32]
    ldp x6, x7, [sp, #48]
    ldp x8, x9, [sp, #64]
    ldp x10, x11, [sp, #80]
    ldp x12, x13, [sp, #96]
    ldp x14, x15, [sp, #112]
    ldp x16, x17, [sp, #128]
    ldp x18, x19, [sp, #144]
    ldp x20, x21, [sp, #160]
    ldp x22, x23, [sp, #176]
    ldp x24, x25, [sp, #192]
    ldp x26, x27, [sp, #208]
    ldp x28, x29, [sp, #224]
    ldr x30, [sp, #240]
    ldp x0, x1, [sp, #0]
    add sp, sp, #{size}
    eret
    .ltorg
    "#,
    size = const SIZE,
    synchronous = const SYNCHRONOUS,
    interrupt = const INTERRUPT,
    system_error = const SYSTEM_ERROR,
    overflow = const STACK_OVERFLOW,
    unexpected = const UNEXPECTED,
    supervisor_call = const SUPERVISOR_CALL,
    syscall = sym syscall::syscall_handler,
    handler = sym trap_handler,
);

linker_symbols! {
    vectors = exception_vectors;
}

/// Tells this CPU where its vectors are. System errors are taken from here on.
pub(super) fn init() {
    // SAFETY: the table is complete and aligned, and its entries lead to entry code.
    unsafe {
        write_register!("vbar_el1", vectors() as u64);
        asm!("isb", "msr daifclr, #4", options(nostack, preserves_flags));
    }
}

/// Everything but system calls. Interrupts are off.
extern "C" fn trap_handler(frame: &mut Frame, kind: usize, syndrome: u64) {
    match kind {
        INTERRUPT => irq::handle(frame),
        SYNCHRONOUS if frame.from_user() => user_exception(frame, syndrome),
        SYNCHRONOUS => return kernel_exception(frame, syndrome),
        STACK_OVERFLOW => {
            let address = fault_address();
            up::fatal_exception(frame, "kernel stack overflow", syndrome, Some(address))
        }
        SYSTEM_ERROR => up::fatal_exception(frame, exception_name(SERROR), syndrome, None),
        _ => up::fatal_exception(frame, "exception by an unused vector", syndrome, None),
    }
    if frame.from_user() {
        up::return_to_user(frame);
    }
}

fn class(syndrome: u64) -> u64 {
    syndrome >> 26 & 0x3f
}

/// What was accessed, where the syndrome says that this register holds it.
fn fault_address() -> usize {
    read_register!("far_el1") as usize
}

/// An abort's status (ISS.DFSC, IFSC).
fn status(syndrome: u64) -> u64 {
    syndrome & 0x3f
}

/// Whether an abort is about a translation, which `mem` can deal with: the entry is missing
/// (also: the address is too large), lacks the access flag, or forbids the access.
fn is_page_fault(syndrome: u64) -> bool {
    matches!(status(syndrome), 0x00..=0x0f)
}

fn access(syndrome: u64) -> FaultAccess {
    const WRITE: u64 = 1 << 6;
    const CACHE_MAINTENANCE: u64 = 1 << 8;
    match class(syndrome) {
        USER_INSTRUCTION_ABORT | INSTRUCTION_ABORT => FaultAccess::Execute,
        // Cleaning a cache counts as a write to the CPU only.
        _ if syndrome & (WRITE | CACHE_MAINTENANCE) == WRITE => FaultAccess::Write,
        _ => FaultAccess::Read,
    }
}

fn page_fault(syndrome: u64) -> UserFault {
    // Permission faults have statuses 0x0c to 0x0f.
    let present = status(syndrome) & 0x3c == 0x0c;
    UserFault::Page { address: fault_address(), access: access(syndrome), present }
}

/// An exception in user mode: the task's affair.
fn user_exception(frame: &mut Frame, syndrome: u64) {
    let fault = match class(syndrome) {
        USER_INSTRUCTION_ABORT | USER_DATA_ABORT if is_page_fault(syndrome) => page_fault(syndrome),
        USER_DATA_ABORT | PC_ALIGNMENT | SP_ALIGNMENT | USER_INSTRUCTION_ABORT => UserFault::Bus,
        FLOATING_POINT => UserFault::Arithmetic,
        BRK | BREAKPOINT_FIRST..=BREAKPOINT_LAST => UserFault::Breakpoint,
        _ => UserFault::IllegalInstruction,
    };
    super::mask::enable();
    up::handle_user_fault(frame, fault);
    super::mask::disable();
}

/// An exception in the kernel: an expected one of a user copy, or a bug.
fn kernel_exception(frame: &mut Frame, syndrome: u64) {
    let class = class(syndrome);
    let address = matches!(class, DATA_ABORT | INSTRUCTION_ABORT).then(fault_address);
    if let (DATA_ABORT | UNKNOWN, Some(fixup)) = (class, fixup(frame.pc)) {
        let address = address.unwrap_or(usize::MAX);
        if fixup.kind == Fixup::RESOLVE && address < USER_END && is_page_fault(syndrome) {
            let access = access(syndrome);
            if frame.pstate & IRQ_MASKED == 0 {
                super::mask::enable();
            }
            let resolved = up::resolve_kernel_access(address, access);
            super::mask::disable();
            if resolved {
                return;
            }
        }
        frame.pc = fixup.target;
        return;
    }
    up::fatal_exception(frame, exception_name(class), syndrome, address);
}
