//! Exceptions and interrupts: the interrupt descriptor table, the entry code, the decision
//! who handles what.
//!
//! Every vector has a stub that pushes what the CPU did not (so that [`Frame`] is complete)
//! and joins one of two paths. The common path trusts the saved CS to say whether GS must be
//! swapped. The paranoid path is for what can interrupt the first or last instructions of any
//! other entry (NMI, machine check, double fault, debug): it runs on its own stack, at whose
//! top stands the address of the CPU's block, and sets the GS base from there.
//!
//! Faults of user mode go up to `mem` and `mcore`; faults of the kernel on instructions that
//! user.rs registered are fixed up; any other ends in a panic.

use core::arch::global_asm;
use core::cell::UnsafeCell;

use x86_64::PrivilegeLevel;
use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::registers::control::Cr2;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::idt::PageFaultErrorCode;

use super::asm::{forbid_user_access, restore_registers, save_registers};
use super::cpu::{self, KERNEL_CODE};
use super::frame::{CS, Frame, ORIG_RAX};
use super::layout;
use super::{irq, syscall};
use crate::arch::fixup::{Fixup, fixup};
use crate::arch::traits::{FaultAccess, TrapFrame, UserFault};
use crate::arch::up;

/// The vector of the system-call interrupt.
pub(super) const SYSCALL_VECTOR: u8 = 0x80;

// Exceptions (Intel SDM vol. 3, table 6-1).
const DIVIDE: u8 = 0;
const DEBUG: u8 = 1;
const NMI: u8 = 2;
const BREAKPOINT: u8 = 3;
const OVERFLOW: u8 = 4;
const BOUND: u8 = 5;
const INVALID_OPCODE: u8 = 6;
const DOUBLE_FAULT: u8 = 8;
const SEGMENT_NOT_PRESENT: u8 = 11;
const STACK_SEGMENT: u8 = 12;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
const X87: u8 = 16;
const ALIGNMENT: u8 = 17;
const MACHINE_CHECK: u8 = 18;
const SIMD: u8 = 19;
const EXCEPTIONS: u8 = 32;

/// The name that the panic prints.
pub(super) fn exception_name(vector: u8) -> &'static str {
    match vector {
        DIVIDE => "divide error",
        DEBUG => "debug exception",
        NMI => "non-maskable interrupt",
        BREAKPOINT => "breakpoint",
        OVERFLOW => "overflow",
        BOUND => "bound range exceeded",
        INVALID_OPCODE => "invalid opcode",
        7 => "device not available",
        DOUBLE_FAULT => "double fault",
        10 => "invalid TSS",
        SEGMENT_NOT_PRESENT => "segment not present",
        STACK_SEGMENT => "stack-segment fault",
        GENERAL_PROTECTION => "general protection fault",
        PAGE_FAULT => "page fault",
        X87 => "x87 floating-point error",
        ALIGNMENT => "alignment check",
        MACHINE_CHECK => "machine check",
        SIMD => "SIMD floating-point exception",
        20 => "virtualization exception",
        21 => "control-protection exception",
        _ => "unknown exception",
    }
}

global_asm!(
    r#"
    .macro STUB vector
    .balign 16
    .if (\vector != 8) && (\vector != 10) && (\vector != 11) && (\vector != 12) && (\vector != 13) && (\vector != 14) && (\vector != 17) && (\vector != 21)
    push -1
    .endif
    push rdi
    mov edi, \vector
    .if (\vector == 1) || (\vector == 2) || (\vector == 8) || (\vector == 18)
    jmp paranoid_entry
    .else
    jmp trap_entry
    .endif
    .endm

    .text
    .balign 16
    .global trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    STUB vector
    .set vector, vector + 1
    .endr

    .balign 16
trap_entry:
    "#,
    save_registers!(),
    r#"
    cld
    "#,
    forbid_user_access!(),
    r#"
    test byte ptr [rsp + {cs}], 3
    jz 2f
    swapgs
2:  mov esi, edi
trap_call:
    mov rdx, [rsp + {orig_rax}]
    mov qword ptr [rsp + {orig_rax}], -1
    mov rdi, rsp
    sub rsp, 8
    call {handler}
    add rsp, 8
trap_return:
    test byte ptr [rsp + {cs}], 3
    jz 3f
    swapgs
3:
    "#,
    restore_registers!(),
    r#"
    add rsp, 8
    iretq

paranoid_entry:
    "#,
    save_registers!(),
    r#"
    cld
    "#,
    forbid_user_access!(),
    r#"
    test byte ptr [rsp + {cs}], 3
    jz 4f
    // From user mode GS is certain; go on where a task may sleep: on its kernel stack.
    swapgs
    mov r12d, edi
    mov rsi, rsp
    mov rsp, gs:[{kernel_stack}]
    sub rsp, 21 * 8 - 8
    mov rdi, rsp
    mov ecx, 21
    rep movsq
    mov esi, r12d
    jmp trap_call
4:  mov esi, edi
    mov ecx, 0xc0000101
    rdmsr
    mov ebx, eax
    mov r12d, edx
    mov eax, [rsp + 21 * 8]
    mov edx, [rsp + 21 * 8 + 4]
    wrmsr
    mov rdx, [rsp + {orig_rax}]
    mov qword ptr [rsp + {orig_rax}], -1
    mov rdi, rsp
    sub rsp, 8
    call {handler}
    add rsp, 8
    mov ecx, 0xc0000101
    mov eax, ebx
    mov edx, r12d
    wrmsr
    jmp 3b
    "#,
    cs = const CS,
    orig_rax = const ORIG_RAX,
    kernel_stack = const cpu::KERNEL_STACK,
    handler = sym trap_handler,
);

unsafe extern "C" {
    /// 256 stubs of 16 bytes.
    static trap_stubs: u8;
}
const STUB_SIZE: usize = 16;

/// A gate of the interrupt descriptor table (Intel SDM vol. 3, figure 6-8).
#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    offset_low: u16,
    selector: u16,
    ist: u8,
    kind: u8,
    offset_middle: u16,
    offset_high: u32,
    reserved: u32,
}

impl Gate {
    const MISSING: Self = Self {
        offset_low: 0,
        selector: 0,
        ist: 0,
        kind: 0,
        offset_middle: 0,
        offset_high: 0,
        reserved: 0,
    };

    /// An interrupt gate (interrupts off on entry). `ist`: 0 for none, else index + 1.
    fn new(handler: usize, ist: u8, from: PrivilegeLevel) -> Self {
        Self {
            offset_low: handler as u16,
            selector: KERNEL_CODE,
            ist,
            kind: 0x8e | (from as u8) << 5,
            offset_middle: (handler >> 16) as u16,
            offset_high: (handler >> 32) as u32,
            reserved: 0,
        }
    }
}

#[repr(C, align(16))]
struct Idt(UnsafeCell<[Gate; 256]>);

// SAFETY: written by `create_idt` on the boot CPU before any CPU loads it; read by hardware.
unsafe impl Sync for Idt {}

static IDT: Idt = Idt(UnsafeCell::new([Gate::MISSING; 256]));

/// Fills the interrupt descriptor table, which all CPUs share, and loads it.
pub(super) fn create_idt() {
    let stubs = (&raw const trap_stubs) as usize;
    // SAFETY: on the boot CPU, before the table is loaded: nobody else looks at it.
    let gates = unsafe { &mut *IDT.0.get() };
    for (vector, gate) in (0u8..=255).zip(gates.iter_mut()) {
        let stub = stubs + usize::from(vector) * STUB_SIZE;
        let (ist, from) = match vector {
            DEBUG => (cpu::IST_DEBUG + 1, PrivilegeLevel::Ring0),
            NMI => (cpu::IST_NMI + 1, PrivilegeLevel::Ring0),
            DOUBLE_FAULT => (cpu::IST_DOUBLE_FAULT + 1, PrivilegeLevel::Ring0),
            MACHINE_CHECK => (cpu::IST_MACHINE_CHECK + 1, PrivilegeLevel::Ring0),
            BREAKPOINT | OVERFLOW | SYSCALL_VECTOR => (0, PrivilegeLevel::Ring3),
            _ => (0, PrivilegeLevel::Ring0),
        };
        let handler = if vector == SYSCALL_VECTOR { syscall::interrupt_entry() } else { stub };
        *gate = Gate::new(handler, ist as u8, from);
    }
    load_idt();
}

/// Loads the table, which `create_idt` has filled, on this CPU.
pub(super) fn load_idt() {
    let pointer = DescriptorTablePointer {
        limit: (size_of::<Idt>() - 1) as u16,
        base: VirtAddr::new(IDT.0.get() as u64),
    };
    // SAFETY: the table is complete, and its gates point to entry code for their vectors.
    unsafe { lidt(&pointer) };
}

/// Every vector but the system call's. Interrupts are off.
extern "C" fn trap_handler(frame: &mut Frame, vector: u8, error: u64) {
    if vector >= EXCEPTIONS {
        irq::handle(vector, frame);
    } else if frame.from_user() {
        user_exception(frame, vector, error);
    } else {
        kernel_exception(frame, vector, error);
        return;
    }
    if frame.from_user() {
        up::return_to_user(frame);
    }
}

fn page_fault_access(error: PageFaultErrorCode) -> FaultAccess {
    if error.contains(PageFaultErrorCode::INSTRUCTION_FETCH) {
        FaultAccess::Execute
    } else if error.contains(PageFaultErrorCode::CAUSED_BY_WRITE) {
        FaultAccess::Write
    } else {
        FaultAccess::Read
    }
}

/// An exception in user mode: the task's affair, unless it is the machine's.
fn user_exception(frame: &mut Frame, vector: u8, error: u64) {
    let fault = match vector {
        PAGE_FAULT => {
            let error = PageFaultErrorCode::from_bits_truncate(error);
            UserFault::Page {
                address: Cr2::read_raw() as usize,
                access: page_fault_access(error),
                present: error.contains(PageFaultErrorCode::PROTECTION_VIOLATION),
            }
        }
        DIVIDE | X87 | SIMD => UserFault::Arithmetic,
        DEBUG | BREAKPOINT => UserFault::Breakpoint,
        INVALID_OPCODE => UserFault::IllegalInstruction,
        SEGMENT_NOT_PRESENT | STACK_SEGMENT | ALIGNMENT => UserFault::Bus,
        OVERFLOW | BOUND | GENERAL_PROTECTION => UserFault::Protection,
        NMI => return non_maskable(),
        _ => up::fatal_exception(frame, exception_name(vector), error, None),
    };
    super::mask::enable();
    up::handle_user_fault(frame, fault);
    super::mask::disable();
}

/// An exception in the kernel: an expected one of a user copy, or a bug.
fn kernel_exception(frame: &mut Frame, vector: u8, error: u64) {
    let address = (vector == PAGE_FAULT).then(|| Cr2::read_raw() as usize);
    match (vector, fixup(frame.rip)) {
        (NMI, _) => return non_maskable(),
        (PAGE_FAULT, Some(fixup)) => {
            let address = address.unwrap_or(0);
            if fixup.kind == Fixup::RESOLVE && address < layout::USER_END {
                let access = page_fault_access(PageFaultErrorCode::from_bits_truncate(error));
                let irqs_were_on = frame.rflags & 1 << 9 != 0;
                if irqs_were_on {
                    super::mask::enable();
                }
                let resolved = up::resolve_kernel_access(address, access);
                super::mask::disable();
                if resolved {
                    return;
                }
            }
            frame.rip = fixup.target;
            return;
        }
        (GENERAL_PROTECTION | STACK_SEGMENT, Some(fixup)) => {
            frame.rip = fixup.target;
            return;
        }
        _ => {}
    }
    let stack_overflow = vector == DOUBLE_FAULT && {
        let address = Cr2::read_raw() as usize;
        address.abs_diff(frame.rsp) < 2 * 4096
    };
    let name = if stack_overflow {
        "kernel stack overflow (double fault)"
    } else {
        exception_name(vector)
    };
    let address = if vector == DOUBLE_FAULT { Some(Cr2::read_raw() as usize) } else { address };
    up::fatal_exception(frame, name, error, address)
}

/// Another CPU's way to stop this one, whatever it does; or hardware's to say that something
/// failed.
fn non_maskable() {
    super::smp::stop_if_told();
    super::console::write(b"Lemma: non-maskable interrupt, reason unknown\r\n");
}
