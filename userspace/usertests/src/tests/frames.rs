//! What a handler finds on its stack, and what it may change there.

use super::family;
use crate::calls::{self, in_child};
use crate::check::{Outcome, equal, ok};
use core::sync::atomic::{AtomicUsize, Ordering};
use lemma_rt::general::{__NR_kill, SA_SIGINFO, SIGSEGV, SIGUSR1};
use lemma_rt::signal;

family!("frames": bad_frame, floating_point_in_frame, handlers_begin_afresh);

/// What a handler has found.
static FOUND: AtomicUsize = AtomicUsize::new(0);

/// Sends this process a signal, as `signals.rs` does it.
fn raise(number: u32) -> lemma_rt::Result<()> {
    let arguments = [calls::getpid() as usize, number as usize, 0, 0, 0, 0];
    calls::raw(__NR_kill as usize, arguments).map(drop)
}

/// Breaks XSAVE's header of the floating-point registers in the frame that the handler returns by,
/// and where the CPU has no XSAVE, which the frame has to tell, where they are: any bytes may be
/// registers there.
#[cfg(target_arch = "x86_64")]
extern "C" fn break_frame(_: i32, _: usize, context: usize) {
    /// `uc_mcontext.fpstate`.
    const FP_POINTER: usize = 224;
    /// Where `FP_XSTATE_MAGIC1` says that the area is XSAVE's.
    const MARK: usize = 464;
    /// In that area, behind the components' bits.
    const HEADER: usize = 520;
    const HAS_XSAVE: u32 = 1 << 27;
    let has_xsave = core::arch::x86_64::__cpuid(1).ecx & HAS_XSAVE != 0;
    // SAFETY: the kernel has put the structures there, for the handler to change.
    unsafe {
        let pointer = (context as *mut usize).byte_add(FP_POINTER);
        let area = pointer.read();
        match (has_xsave, ((area + MARK) as *const u32).read_unaligned()) {
            (true, 0x4650_5853) => ((area + HEADER) as *mut u64).write_unaligned(u64::MAX),
            // Where nothing is.
            (false, 0) => pointer.write(64),
            // Left as it is, which the test notices.
            _ => {}
        }
    }
}

/// Breaks the head of the record with the floating-point registers.
#[cfg(target_arch = "aarch64")]
extern "C" fn break_frame(_: i32, _: usize, context: usize) {
    /// `uc_mcontext.__reserved`.
    const RECORDS: usize = 464;
    // SAFETY: the kernel has put the structures there, for the handler to change.
    unsafe { ((context + RECORDS) as *mut u64).write(u64::MAX) };
}

/// Breaks the word behind the floating-point registers that must be zero.
#[cfg(target_arch = "riscv64")]
extern "C" fn break_frame(_: i32, _: usize, context: usize) {
    /// `uc_mcontext.sc_extdesc.reserved`.
    const RESERVED: usize = 948;
    // SAFETY: the kernel has put the structures there, for the handler to change.
    unsafe { ((context + RESERVED) as *mut u32).write(u32::MAX) };
}

fn bad_frame() -> Outcome {
    let status = ok!(in_child(|| {
        // SAFETY: the handler changes its frame, of which this process dies.
        let set = unsafe {
            let handler = break_frame as *const () as usize;
            signal::set_handler(SIGUSR1 as i32, handler, SA_SIGINFO as usize, 0)
        };
        if set.is_err() || raise(SIGUSR1).is_err() {
            return 1;
        }
        0
    }));
    equal!(status.signaled(), Some(SIGSEGV as i32));
    Ok(())
}

/// Where a frame has the floating-point register 6, its lower half.
fn register_in_frame(context: usize) -> *mut u64 {
    // `uc_mcontext.fpstate`, and XMM6 in that area.
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel has put the structure there.
    let at = unsafe { (context as *const usize).byte_add(224).read() } + 160 + 16 * 6;
    // V6 in the first record of `uc_mcontext.__reserved`.
    #[cfg(target_arch = "aarch64")]
    let at = context + 464 + 16 + 16 * 6;
    // f6 in `uc_mcontext.sc_fpregs`.
    #[cfg(target_arch = "riscv64")]
    let at = context + 432 + 8 * 6;
    at as *mut u64
}

const BEFORE: u64 = 0x0123_4567_89ab_cdef;
const AFTER: u64 = 0x1122_3344_5566_7788;

extern "C" fn change_register(_: i32, _: usize, context: usize) {
    let register = register_in_frame(context);
    // SAFETY: the kernel has put it there, for the handler to change.
    unsafe {
        FOUND.store(register.read() as usize, Ordering::Relaxed);
        register.write(AFTER);
    }
}

/// Sends this process a signal with [`BEFORE`] in the floating-point register 6: what is there
/// after the handler.
fn raise_with_register(number: u32) -> u64 {
    let mut register = BEFORE;
    let (pid, call) = (calls::getpid() as usize, __NR_kill as usize);
    // SAFETY: a system call; the handler changes the register, which the compiler knows.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!(
            "movq xmm6, {0}", "syscall", "movq {0}, xmm6",
            inout(reg) register, inout("rax") call => _, in("rdi") pid, in("rsi") number as usize,
            out("rcx") _, out("r11") _, out("xmm6") _,
        );
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!(
            "fmov d6, {0}", "svc #0", "fmov {0}, d6",
            inout(reg) register, in("x8") call, inout("x0") pid => _, in("x1") number as usize,
            out("v6") _,
        );
        #[cfg(target_arch = "riscv64")]
        core::arch::asm!(
            "fmv.d.x f6, {0}", "ecall", "fmv.x.d {0}, f6",
            inout(reg) register, in("a7") call, inout("a0") pid => _, in("a1") number as usize,
            out("f6") _,
        );
    }
    register
}

/// A handler finds the floating-point registers in its frame, and what it changes there is in the
/// registers when it has returned.
fn floating_point_in_frame() -> Outcome {
    let handler = change_register as *const () as usize;
    // SAFETY: the handler changes an atomic and its frame.
    ok!(unsafe { signal::set_handler(SIGUSR1 as i32, handler, SA_SIGINFO as usize, 0) });
    for _ in 0..3 {
        equal!(raise_with_register(SIGUSR1), AFTER);
        equal!(FOUND.load(Ordering::Relaxed) as u64, BEFORE);
    }
    Ok(())
}

#[cfg(target_arch = "x86_64")]
fn rounding() -> u32 {
    let mut word = 0u32;
    // SAFETY: stores four bytes.
    unsafe { core::arch::asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack)) };
    word
}

#[cfg(target_arch = "x86_64")]
extern "C" fn note_rounding(_: i32) {
    FOUND.store(rounding() as usize, Ordering::Relaxed);
}

/// What the program has set up for its own computations does not change those of a handler.
#[cfg(target_arch = "x86_64")]
fn handlers_begin_afresh() -> Outcome {
    static USUAL: u32 = 0x1f80;
    static TOWARDS_ZERO: u32 = 0x7f80;
    // SAFETY: the handler changes an atomic.
    ok!(unsafe { signal::set_handler(SIGUSR1 as i32, note_rounding as *const () as usize, 0, 0) });
    // SAFETY: loads four bytes; nothing is computed until the usual rounding is back.
    unsafe { core::arch::asm!("ldmxcsr [{}]", in(reg) &raw const TOWARDS_ZERO, options(nostack)) };
    let raised = raise(SIGUSR1);
    let after = rounding();
    // SAFETY: as above.
    unsafe { core::arch::asm!("ldmxcsr [{}]", in(reg) &raw const USUAL, options(nostack)) };
    ok!(raised);
    equal!(FOUND.load(Ordering::Relaxed), USUAL as usize);
    equal!(after, TOWARDS_ZERO);
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn handlers_begin_afresh() -> Outcome {
    crate::check::skip!("Linux leaves handlers what it interrupts on this machine")
}
