//! The kernel's last word: what is said when it cannot go on, and how the machine then ends.
//!
//! A panic of the code and an exception that nothing resolves both end here. Everything is
//! written to the console by polling, without locks and without allocation: the registers, the
//! task, its system call, the BPF program that runs, who called whom. The other CPUs are stopped
//! first. A second failure on the way does not repeat any of that: it ends the machine at once. A
//! display shows the same; for how long, `panic=` on the command line says, as on Linux.

use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::arch::{Arch, Architecture, TrapFrame};
use crate::bpf::program::describe_running;
use crate::command_line::CommandLine;
use crate::driver::{display, uart};
use crate::log::write_emergency;
use crate::mcore;
use crate::symbols;

/// How many return addresses are shown.
const DEPTH: usize = 32;
/// How many words of the stack are searched for the instruction of a BPF program.
const SEARCHED: usize = 256;

/// Nobody has failed.
const NOBODY: usize = usize::MAX;

/// The CPU that is saying its last word.
static PANICKING: AtomicUsize = AtomicUsize::new(NOBODY);

/// Whether the kernel is in its last word: then nothing should wait for anything.
pub fn in_progress() -> bool {
    PANICKING.load(Ordering::Relaxed) != NOBODY
}

/// Writes to the console without a buffer of its own.
struct Emergency;

impl Write for Emergency {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_emergency(format_args!("{text}"));
        Ok(())
    }
}

/// The first caller goes on, alone; if it fails again, that ends the machine.
fn enter() {
    Arch::irq_disable();
    let own = Arch::cpu_id();
    let first = PANICKING.compare_exchange(NOBODY, own, Ordering::SeqCst, Ordering::SeqCst);
    match first {
        Ok(_) => Arch::stop_others(),
        Err(failed) if failed == own => {
            Arch::console_write(b"\r\n(failed again while reporting; stopping)\r\n");
            Arch::abort();
        }
        Err(_) => loop {
            // Another CPU is speaking, and stops this one.
            Arch::relax();
        },
    }
    // What users wrote before comes first.
    uart::flush();
}

/// Everything after the first lines.
fn finish(addresses: &[usize], registers: &[u64], stack: usize) -> ! {
    // Writing to the console cannot fail.
    let _ = describe_task();
    let at = addresses.first().map_or(0, |address| address.wrapping_sub(1));
    let _ = describe_running(&mut Emergency, at, registers, stack_words(stack));
    write_emergency(format_args!("backtrace:\n"));
    for (index, &address) in addresses.iter().enumerate() {
        // A return address may be the first byte of the next function: look one back.
        match symbols::lookup(address.wrapping_sub(1)) {
            Some(symbol) => write_emergency(format_args!(
                "  {index:2}: {address:#018x} {}+{:#x}\n",
                symbol.name,
                symbol.offset + 1,
            )),
            None => write_emergency(format_args!("  {index:2}: {address:#018x}\n")),
        }
    }
    write_emergency(format_args!("end of kernel panic\n"));
    display::show_last_words();
    stay();
    Arch::abort()
}

/// Leaves the last words on the display for as long as the command line says.
fn stay() {
    let seconds = CommandLine::get().value("panic").and_then(|value| value.parse().ok());
    let end = match seconds.unwrap_or(-1_i64) {
        0 => u64::MAX,
        seconds @ 1.. => {
            Arch::now_ns().saturating_add(seconds.unsigned_abs().saturating_mul(1_000_000_000))
        }
        _ => return,
    };
    while Arch::now_ns() < end {
        Arch::relax();
    }
}

/// The words of the stack, upwards from `start`, as far as they can be read.
fn stack_words(start: usize) -> impl Iterator<Item = usize> {
    let start = start.next_multiple_of(size_of::<usize>());
    (0..SEARCHED).map_while(move |index| {
        let mut word = [0; size_of::<usize>()];
        let address = start.checked_add(index * size_of::<usize>())?;
        // SAFETY: `word` is valid for its length.
        let left = unsafe { Arch::copy_nofault(word.as_mut_ptr(), address, word.len()) };
        (left == 0).then(|| usize::from_ne_bytes(word))
    })
}

/// The running task, and how it came into the kernel.
fn describe_task() -> fmt::Result {
    let Some(task) = mcore::try_current() else {
        return writeln!(Emergency, "task: none yet");
    };
    let name = task.try_name_bytes();
    let name = name.as_ref().map_or(&b"?"[..], |name| name);
    let name = name.split(|&byte| byte == 0).next().unwrap_or(&[]);
    write!(Emergency, "task: {} of process {} ({})", task.tid(), task.pid(), name.escape_ascii())?;
    match Arch::user_frame(task.stack_top()) {
        _ if task.is_kernel() => writeln!(Emergency, ", a thread of the kernel"),
        Some(frame) if frame.in_syscall() => {
            let (number, args) = frame.syscall();
            let from = frame.instruction_pointer();
            writeln!(Emergency, ", in system call {number} with {args:x?} from {from:#x}")?;
            writeln!(Emergency, "its registers:\n{frame}")
        }
        Some(frame) => {
            writeln!(Emergency, ", entered at {:#x}", frame.instruction_pointer())?;
            writeln!(Emergency, "its registers:\n{frame}")
        }
        None => writeln!(Emergency, ", never in user mode"),
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut addresses = [0; DEPTH];
    let count = Arch::backtrace(&mut addresses);
    enter();
    write_emergency(format_args!("\nKERNEL PANIC on CPU {}: {}\n", Arch::cpu_id(), info.message()));
    if let Some(location) = info.location() {
        write_emergency(format_args!("at {location}\n"));
    }
    let stack = core::ptr::from_ref(&addresses) as usize;
    finish(addresses.get(..count).unwrap_or(&[]), &[], stack)
}

/// An exception that nothing resolves. `address` is what was accessed, where that is known.
pub(crate) fn exception(
    frame: &<Arch as Architecture>::Frame,
    name: &str,
    error: u64,
    address: Option<usize>,
) -> ! {
    enter();
    write_emergency(format_args!(
        "\nKERNEL PANIC on CPU {}: {name} in {} mode, error code {error:#x}\n",
        Arch::cpu_id(),
        if frame.from_user() { "user" } else { "kernel" },
    ));
    if let Some(address) = address {
        write_emergency(format_args!("accessing {address:#018x}\n"));
    }
    write_emergency(format_args!("{frame}\n"));
    let mut addresses = [0; DEPTH];
    let mut count = 0;
    if let Some((first, rest)) = addresses.split_first_mut() {
        // Where it happened, as if it were a return address.
        *first = frame.instruction_pointer().wrapping_add(1);
        count = 1 + Arch::backtrace_from(frame.frame_pointer(), rest);
    }
    let addresses = addresses.get(..count).unwrap_or(&[]);
    finish(addresses, frame.pt_regs().as_ref(), frame.stack_pointer())
}
