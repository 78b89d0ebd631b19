//! Time: the monotonic clock, this CPU's one-shot timer, and the date at start-up.
//!
//! The clock is the time-stamp counter if it counts at a constant rate, else the HPET; the
//! timer is the local APIC's. Both are calibrated in one window of a millisecond against the
//! best reference there is (HPET, ACPI's timer, the legacy timer).

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use x86_64::registers::model_specific::Msr;

use super::acpi;
use super::cpu::{FEATURES, has};
use super::irq::{
    CURRENT_COUNT, DIVIDE, INITIAL_COUNT, LVT_MASKED, LVT_TIMER, TIMER_VECTOR, apic_read,
    apic_write,
};
use super::port::{inb, inl, outb};
use crate::arch::paging::map_device;
use crate::arch::ticks::Rate;
use crate::arch::traits::PhysAddr;

const NANOS: u64 = 1_000_000_000;
/// The calibration window: 1/1000 s.
const WINDOW_PER_SECOND: u64 = 1000;
const MSR_TSC_DEADLINE: u32 = 0x6e0;
/// Divide by 4.
const DIVISOR: u32 = 0b0001;
const LVT_TSC_DEADLINE: u32 = 2 << 17;

/// Which counter is the clock: 0 is the TSC, else where the HPET's counter is mapped.
static CLOCK: AtomicUsize = AtomicUsize::new(0);
/// The counter's value at boot.
static CLOCK_BASE: AtomicU64 = AtomicU64::new(0);
static CLOCK_RATE: Rate = Rate::new();
/// As it was at start-up.
static TSC_RATE: Rate = Rate::new();
/// Of the local APIC's timer.
static TIMER_RATE: Rate = Rate::new();
static TSC_DEADLINE: AtomicBool = AtomicBool::new(false);
/// Seconds since 1970 when the clock read 0.
static EPOCH: AtomicI64 = AtomicI64::new(0);

#[inline]
fn tsc() -> u64 {
    // SAFETY: reads a counter; no memory is touched.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Whether the TSC is the clock.
pub(super) fn tsc_is_clock() -> bool {
    CLOCK.load(Ordering::Relaxed) == 0
}

/// So many nanoseconds in ticks of the TSC.
pub(super) fn tsc_ticks(nanoseconds: u64) -> u64 {
    TSC_RATE.to_ticks(nanoseconds)
}

/// See [`crate::arch::Architecture::now_ns`].
#[inline]
pub(in crate::arch) fn now_ns() -> u64 {
    let ticks = match CLOCK.load(Ordering::Relaxed) {
        0 => tsc(),
        // SAFETY: the HPET's main counter, mapped by `init` and never unmapped.
        counter => unsafe { (counter as *const u64).read_volatile() },
    };
    let ticks = ticks.wrapping_sub(CLOCK_BASE.load(Ordering::Relaxed));
    CLOCK_RATE.to_nanos(ticks)
}

/// What a tick of the TSC is worth, if that is the clock: nanoseconds, times 2^32.
pub(super) fn tsc_factor() -> Option<u64> {
    tsc_is_clock().then(|| CLOCK_RATE.factor())
}

/// See [`crate::arch::Architecture::counter`]: the TSC, also where it is not the clock. On a CPU
/// on which its rate changes, the lengths are approximate.
#[inline]
pub(in crate::arch) fn counter() -> u64 {
    tsc()
}

/// See [`crate::arch::Architecture::counter_ns`].
pub(in crate::arch) fn counter_ns(ticks: u64) -> u64 {
    TSC_RATE.to_nanos(ticks)
}

/// The HPET's registers (IA-PC HPET Specification 1.0a, section 2.3).
#[derive(Clone, Copy)]
struct Hpet {
    base: usize,
    hertz: u64,
    wide: bool,
}

impl Hpet {
    const COUNTER: usize = 0xf0;

    fn find() -> Option<Self> {
        const CONFIGURATION: usize = 0x10;
        let base = map_device(PhysAddr(acpi::platform().hpet?), 1024).ok()?;
        // SAFETY: the registers were just mapped.
        let capabilities = unsafe { (base as *const u64).read_volatile() };
        let femtoseconds = capabilities >> 32;
        if !(1..=100_000_000).contains(&femtoseconds) {
            return None;
        }
        let configuration = (base + CONFIGURATION) as *mut u64;
        // SAFETY: as above; bit 0 starts the counter, bit 1 stays off (no legacy interrupts).
        unsafe { configuration.write_volatile(configuration.read_volatile() & !2 | 1) };
        let hertz = 1_000_000_000_000_000 / femtoseconds;
        Some(Self { base, hertz, wide: capabilities & 1 << 13 != 0 })
    }
}

/// A counter of known frequency to measure the others by.
#[derive(Clone, Copy)]
enum Reference {
    Hpet(Hpet),
    /// ACPI's power-management timer: its port, and 24 bits or 32.
    Pm(u16, u32),
    /// The legacy timer's channel 2, which counts down from 65535.
    Pit,
}

impl Reference {
    fn find(hpet: Option<Hpet>) -> Self {
        if let Some(hpet) = hpet {
            return Self::Hpet(hpet);
        }
        match acpi::platform().fadt {
            Some(fadt) if fadt.pm_timer != 0 => {
                Self::Pm(fadt.pm_timer, if fadt.pm_timer_32 { u32::MAX } else { 0xff_ffff })
            }
            _ => {
                // Gate on, speaker off; channel 2, both bytes, mode 0 (Intel 8254).
                outb(0x61, inb(0x61) & !2 | 1);
                for (port, value) in [(0x43, 0xb0), (0x42, 0xff), (0x42, 0xff)] {
                    outb(port, value);
                }
                Self::Pit
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hpet(_) => "HPET",
            Self::Pm(..) => "ACPI timer",
            Self::Pit => "PIT",
        }
    }

    fn hertz(self) -> u64 {
        match self {
            Self::Hpet(hpet) => hpet.hertz,
            Self::Pm(..) => 3_579_545,
            Self::Pit => 1_193_182,
        }
    }

    /// Bits that count; the rest reads as zero.
    fn mask(self) -> u32 {
        match self {
            Self::Hpet(_) => u32::MAX,
            Self::Pm(_, mask) => mask,
            Self::Pit => 0xffff,
        }
    }

    fn read(self) -> u32 {
        match self {
            // SAFETY: the counter was mapped by `Hpet::find`; its low half may be read alone.
            Self::Hpet(hpet) => unsafe {
                ((hpet.base + Hpet::COUNTER) as *const u32).read_volatile()
            },
            Self::Pm(port, mask) => inl(port) & mask,
            Self::Pit => {
                // Latch channel 2, then both bytes; counted up for the caller.
                outb(0x43, 0x80);
                0xffff - (u32::from(inb(0x42)) | u32::from(inb(0x42)) << 8)
            }
        }
    }

    /// Reference, TSC and timer at one moment: the tightest of some tries, because the host
    /// may take the CPU away between two readings.
    fn sample(self) -> Sample {
        let one = || {
            let before = tsc();
            let reference = self.read();
            let timer = apic_read(CURRENT_COUNT);
            let after = tsc();
            Sample { reference, tsc: before + (after - before) / 2, timer, spread: after - before }
        };
        [one(), one(), one()].into_iter().min_by_key(|sample| sample.spread).unwrap_or_else(one)
    }
}

#[derive(Clone, Copy)]
struct Sample {
    reference: u32,
    tsc: u64,
    timer: u32,
    spread: u64,
}

/// Measures TSC and timer frequency, in hertz.
fn calibrate(reference: Reference) -> (u64, u64) {
    apic_write(DIVIDE, DIVISOR);
    apic_write(LVT_TIMER, LVT_MASKED);
    apic_write(INITIAL_COUNT, u32::MAX);
    let passed = |from: u32, to: u32| to.wrapping_sub(from) & reference.mask();
    let window = (reference.hertz() / WINDOW_PER_SECOND) as u32;
    let start = reference.sample();
    while passed(start.reference, reference.read()) < window {
        core::hint::spin_loop();
    }
    let end = reference.sample();
    apic_write(INITIAL_COUNT, 0);
    let elapsed = u64::from(passed(start.reference, end.reference)).max(1);
    let hertz = |ticks: u64| {
        (u128::from(ticks) * u128::from(reference.hertz()) / u128::from(elapsed)) as u64
    };
    (hertz(end.tsc.wrapping_sub(start.tsc)), hertz(u64::from(start.timer.wrapping_sub(end.timer))))
}

/// Starts the clock and the timer. `clock=hpet` on the command line chooses the HPET.
pub(super) fn init(command_line: &str) {
    let hpet = Hpet::find();
    let reference = Reference::find(hpet);
    let (tsc_hertz, timer_hertz) = calibrate(reference);
    TSC_RATE.set(tsc_hertz);
    TIMER_RATE.set(timer_hertz);
    let want_hpet = command_line.split_ascii_whitespace().any(|word| word == "clock=hpet");
    match hpet.filter(|hpet| hpet.wide && (want_hpet || !has(&FEATURES.constant_tsc))) {
        Some(hpet) => {
            let counter = hpet.base + Hpet::COUNTER;
            CLOCK.store(counter, Ordering::Relaxed);
            // SAFETY: the HPET's main counter, just mapped.
            let now = unsafe { (counter as *const u64).read_volatile() };
            CLOCK_BASE.store(now, Ordering::Relaxed);
            CLOCK_RATE.set(hpet.hertz);
        }
        None => {
            // From the CPU's start, so that the log shows how long firmware took.
            CLOCK_RATE.set(tsc_hertz);
        }
    }
    let deadline = has(&FEATURES.tsc_deadline) && tsc_is_clock();
    TSC_DEADLINE.store(deadline, Ordering::Relaxed);
    init_this_cpu();
    EPOCH.store(read_date() - (now_ns() / NANOS) as i64, Ordering::Relaxed);
    log::info!(
        "clock: {} (TSC {}.{:03} MHz), timer: {} ({}.{:03} MHz), measured by {}",
        if tsc_is_clock() { "TSC" } else { "HPET" },
        tsc_hertz / 1_000_000,
        tsc_hertz / 1000 % 1000,
        if deadline { "TSC deadline" } else { "local APIC" },
        timer_hertz / 1_000_000,
        timer_hertz / 1000 % 1000,
        reference.name(),
    );
}

/// Sets this CPU's timer up as `init` has found it to work on the boot CPU: the timers of all
/// count at the same rate.
pub(super) fn init_this_cpu() {
    let mode = if TSC_DEADLINE.load(Ordering::Relaxed) { LVT_TSC_DEADLINE } else { 0 };
    apic_write(DIVIDE, DIVISOR);
    apic_write(LVT_TIMER, u32::from(TIMER_VECTOR) | mode);
}

/// See [`crate::arch::Architecture::set_timer`].
pub(in crate::arch) fn set(deadline_ns: u64) {
    if TSC_DEADLINE.load(Ordering::Relaxed) {
        let ticks = match deadline_ns {
            // 0 disarms.
            u64::MAX => 0,
            _ => TSC_RATE.tick_at(deadline_ns, tsc()),
        };
        // SAFETY: the CPU has the MSR, and the timer is in this mode.
        unsafe { Msr::new(MSR_TSC_DEADLINE).write(ticks) };
        return;
    }
    let ticks = match deadline_ns {
        u64::MAX => 0,
        _ => {
            let left = deadline_ns.saturating_sub(now_ns());
            TIMER_RATE.to_ticks(left).clamp(1, u64::from(u32::MAX)) as u32
        }
    };
    apic_write(INITIAL_COUNT, ticks);
}

/// See [`crate::arch::Architecture::boot_epoch_seconds`].
pub(in crate::arch) fn boot_epoch_seconds() -> u64 {
    EPOCH.load(Ordering::Relaxed).max(0) as u64
}

/// A register of the real-time clock (Motorola MC146818).
fn rtc(register: u8) -> u8 {
    outb(0x70, register | 0x80);
    inb(0x71)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// The date and time, in seconds since 1970, when the clock is not in the middle of a change.
fn read_date() -> i64 {
    const UPDATING: u8 = 0x80;
    let read = || [0u8, 2, 4, 7, 8, 9].map(rtc);
    let mut last = read();
    for _ in 0..100_000 {
        if rtc(0x0a) & UPDATING != 0 {
            continue;
        }
        let again = read();
        if again == last {
            break;
        }
        last = again;
    }
    let status = rtc(0x0b);
    let (binary, day_hours) = (status & 4 != 0, status & 2 != 0);
    let decode =
        |value: u8| i64::from(if binary { value } else { (value >> 4) * 10 + (value & 15) });
    let [second, minute, hour, day, month, year] = last;
    let afternoon = !day_hours && hour & 0x80 != 0;
    let mut hour = decode(hour & 0x7f);
    if !day_hours {
        hour = hour % 12 + if afternoon { 12 } else { 0 };
    }
    let days = days(2000 + decode(year), decode(month), decode(day));
    ((days * 24 + hour) * 60 + decode(minute)) * 60 + decode(second)
}

/// See [`crate::arch::Architecture::hardware_random`].
pub(in crate::arch) fn hardware_random() -> Option<u64> {
    let (mut value, mut good): (u64, u8);
    for _ in 0..10 {
        // SAFETY: the CPU has the instruction; it writes a register and the carry flag.
        unsafe {
            if has(&FEATURES.rdseed) {
                asm!("rdseed {}", "setc {}", out(reg) value, out(reg_byte) good,
                    options(nomem, nostack));
            } else if has(&FEATURES.rdrand) {
                asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) good,
                    options(nomem, nostack));
            } else {
                return None;
            }
        }
        if good != 0 {
            return Some(value);
        }
    }
    None
}
