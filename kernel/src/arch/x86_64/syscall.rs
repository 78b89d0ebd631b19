//! The two ways in for system calls: the `syscall` instruction and interrupt 0x80.
//!
//! Both build a [`Frame`] on the task's kernel stack and call [`syscall_handler`]. The
//! instruction's way is the hot one: it returns by SYSRET if the frame still says what SYSRET
//! would load, and by IRET otherwise (a signal, `execve`, a changed frame).

use core::arch::global_asm;

use x86_64::registers::model_specific::Msr;

use super::asm::{forbid_user_access, restore_registers, save_registers};
use super::cpu::{self, KERNEL_STACK, STAR, USER_CODE, USER_DATA, USER_STACK};
use super::frame::{Frame, R11, RCX, RFLAGS, RIP};
use crate::arch::up;

const MSR_STAR: u32 = 0xc000_0081;
const MSR_LSTAR: u32 = 0xc000_0082;
const MSR_SFMASK: u32 = 0xc000_0084;
/// Cleared on entry: CF..OF, TF, IF, DF, IOPL, NT, RF, AC, ID. Interrupts stay off until the
/// stack is switched.
const FLAGS_CLEARED: u64 = 0x0025_7fd5;
/// RF and TF: SYSRET does not restore the one and traps too early with the other.
const RESUME_OR_TRAP: u32 = 0x0001_0100;

// SYSCALL leaves the return address in rcx and the flags in r11, and switches no stack.
// SYSRET to a non-canonical address faults in the kernel on a user's stack (Intel SDM vol. 2,
// SYSRET), hence the test of the address: below 2^47.
global_asm!(
    r#"
    .text
    .balign 64
    .global syscall_entry
syscall_entry:
    swapgs
    mov gs:[{user_stack}], rsp
    mov rsp, gs:[{kernel_stack}]
    push {user_data}
    push qword ptr gs:[{user_stack}]
    push r11
    push {user_code}
    push rcx
    push rax
    push rdi
    "#,
    save_registers!(),
    r#"
    mov rdi, rsp
    sti
    call {handler}
    mov rcx, [rsp + {rcx}]
    cmp rcx, [rsp + {rip}]
    jne 2f
    mov r11, [rsp + {r11}]
    cmp r11, [rsp + {rflags}]
    jne 2f
    shr rcx, 47
    jnz 2f
    test r11d, {resume_or_trap}
    jnz 2f
    "#,
    restore_registers!(),
    r#"
    mov rsp, [rsp + 32]
    swapgs
    sysretq
2:  swapgs
    "#,
    restore_registers!(),
    r#"
    add rsp, 8
    iretq

    .balign 16
    .global syscall_interrupt_entry
syscall_interrupt_entry:
    swapgs
    push rax
    push rdi
    "#,
    save_registers!(),
    r#"
    cld
    "#,
    forbid_user_access!(),
    r#"
    mov rdi, rsp
    sub rsp, 8
    sti
    call {handler}
    add rsp, 8
    jmp 2b

    .balign 16
    .global enter_user_frame
enter_user_frame:
    mov rsp, rdi
    jmp 2b
    "#,
    user_stack = const USER_STACK,
    kernel_stack = const KERNEL_STACK,
    user_data = const USER_DATA,
    user_code = const USER_CODE,
    rcx = const RCX,
    r11 = const R11,
    rip = const RIP,
    rflags = const RFLAGS,
    resume_or_trap = const RESUME_OR_TRAP,
    handler = sym syscall_handler,
);

unsafe extern "C" {
    static syscall_entry: u8;
    static syscall_interrupt_entry: u8;
    fn enter_user_frame(frame: &Frame) -> !;
}

/// Runs one system call. Entered with interrupts on, returns with them off, ready to leave.
extern "C" fn syscall_handler(frame: &mut Frame) {
    crate::syscall::dispatch_syscall(frame);
    super::irq_disable();
    up::return_to_user(frame);
}

/// Tells this CPU where `syscall` goes.
pub(super) fn init() {
    // SAFETY: the values name this file's entry and the selectors of cpu.rs.
    unsafe {
        Msr::new(MSR_STAR).write(STAR);
        Msr::new(MSR_LSTAR).write((&raw const syscall_entry) as u64);
        Msr::new(MSR_SFMASK).write(FLAGS_CLEARED);
    }
}

/// Where the gate of interrupt 0x80 points.
pub(super) fn interrupt_entry() -> usize {
    (&raw const syscall_interrupt_entry) as usize
}

/// Leaves the kernel with every register from `frame`.
pub(super) fn enter_user(frame: &Frame) -> ! {
    debug_assert!(frame.cs == cpu::USER_CODE as usize);
    // SAFETY: the frame is a complete one for user mode; interrupts are off, so nobody uses
    // the stack that is left behind.
    unsafe { enter_user_frame(frame) }
}
