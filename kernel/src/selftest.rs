//! Tests of the kernel itself, run by `selftest=NAME` on the command line: each ends the
//! machine, with status 0 if it passed. Those that provoke a panic pass by ending as a panic
//! does (QEMU's exit status 255) with the right report on the console.

use crate::arch::{Arch, Architecture};

/// Runs the test that the command line names, if it names one.
pub(crate) fn run(command_line: &str) {
    let words = command_line.split_ascii_whitespace().take_while(|&word| word != "--");
    for name in words.filter_map(|word| word.strip_prefix("selftest=")) {
        let failures = match name {
            "protection" => Arch::check_protection().err().unwrap_or(0),
            "nofault" => nofault(),
            "clock" => clock(),
            "panic" => provoke_panic(command_line),
            "write-text" => write_text(),
            "stack-overflow" => overflow(1),
            _ => {
                log::error!("no self-test is called {name}");
                1
            }
        };
        Arch::power_off(u8::from(failures != 0));
    }
}

/// Reads memory that is not there: nothing is copied, and nothing else happens.
fn nofault() -> usize {
    let known = [0x5au8; 16];
    let addresses = [
        // Unmapped, not canonical, the last byte, a user address, the device window.
        (0xffff_9000_0000_0000, 16),
        (0x1234_5678_9abc_def0, 16),
        (usize::MAX - 3, 16),
        (0x40_0000, 16),
        (Arch::KERNEL_MAP_END, 16),
        (known.as_ptr() as usize, 0),
    ];
    let mut failures = 0;
    for (address, expected) in addresses {
        let mut to = [0u8; 16];
        // SAFETY: `to` is valid for 16 bytes.
        let left = unsafe { Arch::copy_nofault(to.as_mut_ptr(), address, to.len()) };
        if left != expected || (left == 0) != (to == known) {
            log::error!("nofault: {left} bytes not copied from {address:#x}, not {expected}");
            failures += 1;
        }
    }
    failures
}

/// Time passes, forward only, and about as fast as 1,000 readings suggest.
fn clock() -> usize {
    let start = Arch::now_ns();
    let mut last = start;
    for _ in 0..1000 {
        let now = Arch::now_ns();
        if now < last {
            log::error!("clock: {now} after {last}");
            return 1;
        }
        last = now;
    }
    let date = Arch::boot_epoch_seconds();
    // 2020 to 2100.
    let plausible = (1_577_836_800..4_102_444_800).contains(&date);
    log::info!("clock: {} ns for 1000 readings, booted at {date}", last - start);
    usize::from(last == start || !plausible)
}

/// Two frames that must appear in the backtrace.
#[inline(never)]
fn provoke_panic(command_line: &str) -> usize {
    core::hint::black_box(fail(command_line))
}

#[inline(never)]
#[expect(clippy::panic, reason = "this is what the test is for")]
fn fail(command_line: &str) -> usize {
    panic!("provoked by the command line {command_line:?}");
}

/// Writes to the kernel's own code.
fn write_text() -> usize {
    let text = write_text as *const () as *mut u8;
    // SAFETY: not sound: the page is read-only, and the test is that this faults.
    unsafe { text.write_volatile(0xcc) };
    1
}

/// Recurses until the guard page stops it.
#[expect(unconditional_recursion, reason = "this is what the test is for")]
#[inline(never)]
fn overflow(depth: usize) -> usize {
    let room = core::hint::black_box([depth; 32]);
    overflow(depth + 1) + room.iter().sum::<usize>()
}
