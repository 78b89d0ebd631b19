//! Exceptions and interrupts: the entry code, the decision who handles what.
//!
//! `sscratch` tells where a trap came from: it is 0 while the kernel runs, and this CPU's block
//! while a user does. Entries store a [`Frame`]; a system call goes straight to
//! [`syscall_handler`](super::syscall). Where a trap of the kernel itself finds no room for its
//! frame, because that would lie in the guard page below the stack, the stack has overflowed. The
//! report runs on a stack of its own. Any other address may fault, however near: a program may
//! ask for any (`bpf_probe_read_kernel`).
//!
//! Faults of user mode go up to `mem` and `mcore`; faults of the kernel on instructions that
//! user.rs registered are fixed up; any other ends in a panic.

use core::arch::global_asm;

use super::asm::{status, write_csr};
use super::frame::{Frame, SIZE, SYSTEM_CALL};
use super::layout::{KERNEL_MAP_START, USER_END};
use super::{context, cpu, irq, mmu, syscall};
use crate::arch::fixup::{Fixup, fixup};
use crate::arch::image::linker_symbols;
use crate::arch::traits::{FaultAccess, PAGE_SIZE, TrapFrame, UserFault};
use crate::arch::up;

// Causes (`scause`; RISC-V Privileged Architecture, table "Supervisor cause register values").
const INTERRUPT: usize = 1 << 63;
const FETCH_MISALIGNED: usize = 0;
const FETCH_ACCESS: usize = 1;
const ILLEGAL_INSTRUCTION: usize = 2;
const BREAKPOINT: usize = 3;
const LOAD_MISALIGNED: usize = 4;
const LOAD_ACCESS: usize = 5;
const STORE_MISALIGNED: usize = 6;
const STORE_ACCESS: usize = 7;
const FETCH_PAGE: usize = 12;
const LOAD_PAGE: usize = 13;
const STORE_PAGE: usize = 15;

/// The name that the panic prints.
fn exception_name(cause: usize) -> &'static str {
    match cause {
        FETCH_MISALIGNED => "misaligned program counter",
        FETCH_ACCESS | LOAD_ACCESS | STORE_ACCESS => "access fault",
        ILLEGAL_INSTRUCTION => "illegal instruction",
        BREAKPOINT => "breakpoint",
        LOAD_MISALIGNED | STORE_MISALIGNED => "misaligned access",
        FETCH_PAGE | LOAD_PAGE | STORE_PAGE => "page fault",
        _ => "unknown exception",
    }
}

global_asm!(
    r#"
    // Stores x1 and x5 to x31 in the frame at sp; x5 must have been kept.
    .macro SAVE_REGISTERS
    sd x1, 8(sp)
    sd x3, 24(sp)
    .irp number, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    sd x\number, (8 * \number)(sp)
    .endr
    .endm

    // Loads x1, x3 and x5 to x31 from the frame at \base, but for x10.
    .macro LOAD_REGISTERS base
    ld x1, 8(\base)
    ld x3, 24(\base)
    .irp number, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    ld x\number, (8 * \number)(\base)
    .endr
    .endm

    // What the CPU says of the trap; a0 is kept as the first argument. The kernel's own accesses
    // do not reach users' pages.
    .macro SAVE_TRAP
    li t0, {user_memory}
    csrr t1, sepc
    csrrc t2, sstatus, t0
    csrr t3, stval
    csrr t4, scause
    sd t2, 256(sp)
    sd t3, 264(sp)
    sd t4, 272(sp)
    sd a0, 280(sp)
    .endm

    .text
    .option push
    .option arch, +a, +m
    .balign 4
    .global trap_entry
trap_entry:
    csrrw tp, sscratch, tp
    bnez tp, user_entry
    csrrw tp, sscratch, zero
    sd t0, {scratch}(tp)
    ld t0, {new_pages}(tp)
    bnez t0, new_pages
1:  sd t1, {second_scratch}(tp)
    addi t0, sp, -{size}                // in a guard page?
    lla t1, boot_stack_guard
    sub t1, t0, t1
    srli t1, t1, {page_shift}
    beqz t1, stack_overflow
    li t1, {stacks}
    sub t0, t0, t1
    li t1, {stacks_bytes}
    bgeu t0, t1, 6f
    li t1, {stack_slot}
    remu t0, t0, t1
    srli t0, t0, {page_shift}
    beqz t0, stack_overflow
6:  ld t1, {second_scratch}(tp)
    ld t0, {scratch}(tp)
    addi sp, sp, -{size}
    SAVE_REGISTERS
    addi t0, sp, {size}
    sd t0, 16(sp)
    sd tp, 32(sp)
    SAVE_TRAP
    sd t1, 0(sp)
    mv a0, sp
    call {handler}
    mv a0, sp
    ld t0, 0(a0)
    ld t1, 256(a0)
    csrw sepc, t0
    csrw sstatus, t1
    sc.d zero, zero, (a0)               // no reservation outlives the trap
    LOAD_REGISTERS a0
    ld a0, 80(sp)
    addi sp, sp, {size}
    sret

    // The fault may come from what this CPU remembers of pages that were not there then: if it
    // is that, it does not come again.
new_pages:
    sd zero, {new_pages}(tp)
    sfence.vma
    csrr t0, scause
    addi t0, t0, -{first_page_fault}
    sltiu t0, t0, 4
    beqz t0, 1b
    ld t0, {scratch}(tp)
    sret

stack_overflow:
    lla t0, overflow_stack_taken
    amoswap.d t0, sp, (t0)
4:  bnez t0, 4b                         // another CPU reports
    lla t0, overflow_stack_top - {size}
    sd sp, 16(t0)
    mv sp, t0
    ld t0, {scratch}(tp)
    ld t1, {second_scratch}(tp)
    SAVE_REGISTERS
    sd tp, 32(sp)
    SAVE_TRAP
    sd t1, 0(sp)
    mv a0, sp
    call {overflow}

    .balign 4
user_entry:
    sd sp, {scratch}(tp)
    ld sp, {new_pages}(tp)
    bnez sp, 5f
1:  ld sp, {kernel_stack}(tp)
    addi sp, sp, -{size}
    SAVE_REGISTERS
    ld t0, {scratch}(tp)
    sd t0, 16(sp)
    csrrw t0, sscratch, zero
    sd t0, 32(sp)
    sd t0, {thread_pointer}(tp)
    SAVE_TRAP
    mv s0, zero
    mv ra, zero
    li t0, {system_call}
    bne t4, t0, 2f
    addi t1, t1, 4
    sd t1, 0(sp)
    csrsi sstatus, {interrupts}
    mv a0, sp
    call {syscall}
    j 3f
2:  sd t1, 0(sp)
    mv a0, sp
    call {handler}
3:  mv a0, sp
    // a0: a frame of user mode. Interrupts are off.
    .global leave_kernel
leave_kernel:
    li t0, {from_kernel}
    csrc sstatus, t0
    li t0, {previous_interrupts}
    csrs sstatus, t0
    ld t0, 0(a0)
    csrw sepc, t0
    sc.d zero, zero, (a0)               // no reservation is another task's
    csrw sscratch, tp
    ld tp, {thread_pointer}(tp)
    ld sp, 16(a0)
    LOAD_REGISTERS a0
    ld a0, 80(a0)
    sret

    // The kernel stack may be of such pages.
5:  sd zero, {new_pages}(tp)
    sfence.vma
    j 1b
    .option pop
    "#,
    size = const SIZE,
    scratch = const cpu::SCRATCH,
    second_scratch = const cpu::SECOND_SCRATCH,
    page_shift = const PAGE_SIZE.ilog2(),
    stacks = const KERNEL_MAP_START,
    stacks_bytes = const up::STACK_AREA_BYTES,
    stack_slot = const up::STACK_SLOT_BYTES,
    kernel_stack = const cpu::KERNEL_STACK,
    new_pages = const cpu::NEW_PAGES,
    first_page_fault = const FETCH_PAGE,
    thread_pointer = const cpu::THREAD_POINTER,
    user_memory = const status::USER_MEMORY,
    interrupts = const status::INTERRUPTS,
    previous_interrupts = const status::PREVIOUS_INTERRUPTS,
    from_kernel = const status::FROM_KERNEL,
    system_call = const SYSTEM_CALL,
    syscall = sym syscall::syscall_handler,
    handler = sym trap_handler,
    overflow = sym overflow_handler,
);

linker_symbols! {
    entry = trap_entry;
}

/// Tells this CPU where it enters the kernel.
pub(super) fn init() {
    // SAFETY: the entry code is complete; while the kernel runs, `sscratch` is 0.
    unsafe {
        write_csr!("sscratch", 0usize);
        write_csr!("stvec", entry());
    }
}

/// Everything but system calls. Interrupts are off.
extern "C" fn trap_handler(frame: &mut Frame) {
    let from_user = frame.from_user();
    if frame.cause & INTERRUPT != 0 {
        irq::handle(frame, frame.cause & !INTERRUPT);
    } else if from_user {
        user_exception(frame);
    } else {
        return kernel_exception(frame);
    }
    if from_user {
        up::return_to_user(frame);
    }
}

extern "C" fn overflow_handler(frame: &mut Frame) -> ! {
    up::fatal_exception(frame, "kernel stack overflow", frame.cause as u64, Some(frame.value))
}

/// How memory was accessed, if a translation did not allow it.
fn page_fault(cause: usize) -> Option<FaultAccess> {
    match cause {
        FETCH_PAGE => Some(FaultAccess::Execute),
        LOAD_PAGE => Some(FaultAccess::Read),
        STORE_PAGE => Some(FaultAccess::Write),
        _ => None,
    }
}

/// An exception in user mode: the task's affair.
fn user_exception(frame: &mut Frame) {
    let (cause, address) = (frame.cause, frame.value);
    let fault = match cause {
        ILLEGAL_INSTRUCTION if context::enable_fp() => return,
        ILLEGAL_INSTRUCTION => UserFault::IllegalInstruction,
        BREAKPOINT => UserFault::Breakpoint,
        _ => match page_fault(cause) {
            // Which of the two it is, the CPU does not say.
            Some(access) => UserFault::Page { address, access, present: false },
            None => UserFault::Bus,
        },
    };
    super::mask::enable();
    up::handle_user_fault(frame, fault);
    super::mask::disable();
    if page_fault(cause).is_some() {
        mmu::flush(address);
    }
}

/// An exception in the kernel: an expected one of a user copy, or a bug.
fn kernel_exception(frame: &mut Frame) {
    let (cause, address) = (frame.cause, frame.value);
    if let Some(fixup) = fixup(frame.pc)
        && cause != FETCH_PAGE
    {
        if let Some(access) = page_fault(cause)
            && fixup.kind == Fixup::RESOLVE
            && address < USER_END
        {
            if frame.status & status::PREVIOUS_INTERRUPTS != 0 {
                super::mask::enable();
            }
            let resolved = up::resolve_kernel_access(address, access);
            super::mask::disable();
            if resolved {
                mmu::flush(address);
                return;
            }
        }
        frame.pc = fixup.target;
        return;
    }
    let accessed = !matches!(cause, ILLEGAL_INSTRUCTION | BREAKPOINT);
    let address = accessed.then_some(address);
    up::fatal_exception(frame, exception_name(cause), cause as u64, address);
}
