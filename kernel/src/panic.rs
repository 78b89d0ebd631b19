//! The kernel's last word: what is said when it cannot go on, and how the machine then ends.
//!
//! A panic of the code and an exception that nothing resolves both end here. Everything is
//! written to the console by polling, without locks and without allocation. Subsystems
//! contribute through [`describe_with`]: the task, its system call, the running program. A
//! second failure on the way does not repeat any of that: it ends the machine at once.

use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::arch::{Arch, Architecture, TrapFrame};
use crate::driver::uart;
use crate::log::write_emergency;
use crate::symbols;

/// Writes one line about the state of a subsystem. Must not lock, allocate or wait: the state
/// may be damaged and any lock may be held.
pub type Describer = fn(&mut dyn Write) -> fmt::Result;

/// How many describers there can be.
const DESCRIBERS: usize = 8;
/// How many return addresses are shown.
const DEPTH: usize = 32;

static DESCRIBE: [AtomicUsize; DESCRIBERS] = [const { AtomicUsize::new(0) }; DESCRIBERS];
static PANICKING: AtomicBool = AtomicBool::new(false);

/// Adds a describer; one that finds no room is not called.
pub fn describe_with(describer: Describer) {
    let value = describer as usize;
    for slot in &DESCRIBE {
        if slot.compare_exchange(0, value, Ordering::Release, Ordering::Relaxed).is_ok() {
            return;
        }
    }
}

/// Whether the kernel is in its last word: then nothing should wait for anything.
pub fn in_progress() -> bool {
    PANICKING.load(Ordering::Relaxed)
}

/// Writes to the console without a buffer of its own.
struct Emergency;

impl Write for Emergency {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_emergency(format_args!("{text}"));
        Ok(())
    }
}

/// The first caller goes on; any later one ends the machine.
fn enter() {
    Arch::irq_disable();
    if PANICKING.swap(true, Ordering::Relaxed) {
        Arch::console_write(b"\r\n(failed again while reporting; stopping)\r\n");
        Arch::abort();
    }
    // What users wrote before comes first.
    uart::flush();
}

/// Everything after the first lines.
fn finish(addresses: &[usize]) -> ! {
    for slot in &DESCRIBE {
        let value = slot.load(Ordering::Acquire);
        if value == 0 {
            break;
        }
        // SAFETY: only `describe_with` stores here, and what it stores is a `Describer`.
        let describer = unsafe { core::mem::transmute::<usize, Describer>(value) };
        // The console cannot fail; a describer that does has said what it could.
        let _ = describer(&mut Emergency);
        write_emergency(format_args!("\n"));
    }
    write_emergency(format_args!("backtrace:\n"));
    for (index, &address) in addresses.iter().enumerate() {
        // A return address may be the first byte of the next function: look one back.
        match symbols::lookup(address.wrapping_sub(1)) {
            Some(symbol) => write_emergency(format_args!(
                "  {index:2}: {address:#018x} {:#}+{:#x}\n",
                rustc_demangle::demangle(symbol.name),
                symbol.offset + 1,
            )),
            None => write_emergency(format_args!("  {index:2}: {address:#018x}\n")),
        }
    }
    write_emergency(format_args!("end of kernel panic\n"));
    Arch::abort()
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
    finish(addresses.get(..count).unwrap_or(&[]))
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
    finish(addresses.get(..count).unwrap_or(&[]))
}
