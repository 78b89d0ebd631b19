//! The two ways in for system calls: the `syscall` instruction and interrupt 0x80.
//!
//! Both build a [`Frame`] on the task's kernel stack and call [`syscall_handler`]. The
//! instruction's way is the hot one. It returns by SYSRET, which destroys rcx and r11, unless
//! the frame says that it is not the system call's any more (`execve`, `rt_sigreturn`): then
//! by IRET, which restores every register, and single-steps as a debugger expects.

use core::arch::global_asm;

use x86_64::registers::model_specific::Msr;

use super::asm::{forbid_user_access, restore_registers, save_registers};
use super::cpu::{self, KERNEL_STACK, STAR, USER_CODE, USER_DATA, USER_STACK};
use super::frame::{Frame, ORIG_RAX};
use crate::arch::up;

const MSR_STAR: u32 = 0xc000_0081;
const MSR_LSTAR: u32 = 0xc000_0082;
const MSR_SFMASK: u32 = 0xc000_0084;
/// Cleared on entry: CF..OF, TF, IF, DF, IOPL, NT, RF, AC, ID. Interrupts stay off until the
/// stack is switched.
const FLAGS_CLEARED: u64 = 0x0025_7fd5;

// SYSCALL leaves the return address in rcx and the flags in r11, and switches no stack.
// SYSRET to a non-canonical address would fault in the kernel on a user's stack (Intel SDM
// vol. 2, SYSRET); a frame never holds one: frame.rs sees to that, and the last page below
// 2^47 cannot be mapped, so SYSCALL never leaves one either.
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
    cmp qword ptr [rsp + {orig_rax}], -1
    je 2f
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    pop rax
    pop r10
    pop r9
    pop r8
    pop rax
    pop rdx
    pop rdx
    pop rsi
    pop rdi
    mov rcx, [rsp + 8]
    mov r11, [rsp + 24]
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
    orig_rax = const ORIG_RAX,
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
    super::mask::disable();
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
pub(in crate::arch) fn enter_user(frame: &Frame) -> ! {
    debug_assert!(frame.cs == cpu::USER_CODE as usize);
    // SAFETY: the frame is a complete one for user mode; interrupts are off, so nobody uses
    // the stack that is left behind.
    unsafe { enter_user_frame(frame) }
}
