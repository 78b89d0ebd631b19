//! Firmware's services (RISC-V Supervisor Binary Interface 1.0): what of them is used here.

use core::arch::asm;

/// An extension's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
enum Extension {
    Time = 0x5449_4d45,
    Interrupt = 0x0073_5049,
    Harts = 0x0048_534d,
    RemoteFence = 0x5246_4e43,
    Reset = 0x5352_5354,
}

/// Why firmware did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Error(pub(super) isize);

/// Calls a function of an extension.
#[inline]
fn call(extension: Extension, function: usize, arguments: [usize; 4]) -> Result<usize, Error> {
    let [first, second, third, fourth] = arguments;
    let (error, value): (isize, usize);
    // SAFETY: firmware changes a0 and a1 alone; what the calls made here do to the machine is
    // the kernel's to decide.
    unsafe {
        asm!("ecall", inlateout("a0") first => error, inlateout("a1") second => value,
            in("a2") third, in("a3") fourth, in("a6") function, in("a7") extension as usize,
            options(nostack));
    }
    if error == 0 { Ok(value) } else { Err(Error(error)) }
}

/// Interrupts this hart when the time register reaches `ticks`; takes the timer's interrupt back.
pub(super) fn set_timer(ticks: u64) {
    // Every firmware has it; without it, there is no other timer.
    let _ = call(Extension::Time, 0, [ticks as usize, 0, 0, 0]);
}

/// Starts a stopped hart at a physical address, address translation off, its number in a0.
pub(super) fn start_hart(hart: u64, entry: u64) -> Result<(), Error> {
    call(Extension::Harts, 0, [hart as usize, entry as usize, 0, 0]).map(drop)
}

/// A software interrupt for a hart.
pub(super) fn interrupt(hart: u64) {
    // It has been started, so firmware can reach it.
    let _ = call(Extension::Interrupt, 0, [1, hart as usize, 0, 0]);
}

/// A base that means all harts, whatever the mask.
const ALL_HARTS: usize = usize::MAX;

/// Makes a hart, or all of them (`None`), forget the translations of a range of addresses, and
/// returns then.
pub(super) fn fence_translations(hart: Option<u64>, start: usize, length: usize) {
    let base = hart.map_or(ALL_HARTS, |hart| hart as usize);
    let _ = call(Extension::RemoteFence, 1, [1, base, start, length]);
}

/// Makes the instruction fetches of all harts see what was written, and returns then.
pub(super) fn fence_code_everywhere() {
    let _ = call(Extension::RemoteFence, 0, [1, ALL_HARTS, 0, 0]);
}

/// Powers the machine off, or resets it; returns where firmware cannot.
pub(super) fn reset(again: bool) {
    const SHUT_DOWN: usize = 0;
    const COLD_REBOOT: usize = 1;
    let kind = if again { COLD_REBOOT } else { SHUT_DOWN };
    let _ = call(Extension::Reset, 0, [kind, 0, 0, 0]);
}
