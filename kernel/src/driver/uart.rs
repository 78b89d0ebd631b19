//! The serial console's device, a 16550 at COM1, with interrupts.
//!
//! Input goes to the receiver that the terminal registered ([`set_receiver`]), byte by byte,
//! from the interrupt. When the receiver is full, the device is not read any further, so that
//! the sender is held back; [`resume_input`] goes on. Output of user programs ([`write`]) goes
//! into the device as long as it takes bytes at once, and into a buffer after that, which the
//! interrupt empties. The log and the panic write by polling (`Arch::console_write`), after
//! [`flush`], so that lines stay in order.
//!
//! Locking: `PORT` guards the device's registers and the output buffer. Receivers are called
//! without it.

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, Ordering};

use kernel_sync::{OnceCell, SpinLock};

use crate::arch::port::{inb, outb};
use crate::arch::{Arch, Architecture, serial_line};

// Registers (National PC16550D, table II).
const BASE: u16 = 0x3f8;
const DATA: u16 = BASE;
const INTERRUPT_ENABLE: u16 = BASE + 1;
const INTERRUPT_IDENTITY: u16 = BASE + 2;
const LINE_STATUS: u16 = BASE + 5;

const ENABLE_RECEIVE: u8 = 1;
const ENABLE_TRANSMIT: u8 = 2;
const DATA_READY: u8 = 1;
const TRANSMIT_EMPTY: u8 = 0x20;
/// What the line status reads as where there is no device.
const ABSENT: u8 = 0xff;
/// Bytes that fit when the transmitter is empty.
const FIFO: usize = 16;
/// Bytes of output that are kept.
const OUTPUT_SIZE: usize = 4096;

/// The terminal above the device. All run in interrupt context: no sleeping.
#[derive(Clone, Copy, Debug)]
pub struct Receiver {
    /// Whether `receive` has room for another byte.
    pub ready: fn() -> bool,
    /// Takes a byte of input.
    pub receive: fn(u8),
    /// There is room for output again.
    pub writable: fn(),
}

struct Port {
    output: VecDeque<u8>,
    /// What the interrupt-enable register holds.
    enabled: u8,
}

static PORT: SpinLock<Port> = SpinLock::new(Port { output: VecDeque::new(), enabled: 0 });
static RECEIVER: OnceCell<Receiver> = OnceCell::new();
/// There is a device, and interrupts of it arrive.
static RUNNING: AtomicBool = AtomicBool::new(false);

impl Port {
    fn enable(&mut self, bits: u8, on: bool) {
        let enabled = if on { self.enabled | bits } else { self.enabled & !bits };
        if enabled != self.enabled {
            self.enabled = enabled;
            outb(INTERRUPT_ENABLE, enabled);
        }
    }

    /// Moves output into the device while it takes some; asks for an interrupt for the rest.
    fn transmit(&mut self) {
        while !self.output.is_empty() && inb(LINE_STATUS) & TRANSMIT_EMPTY != 0 {
            for byte in self.output.drain(..self.output.len().min(FIFO)) {
                outb(DATA, byte);
            }
        }
        let more = !self.output.is_empty();
        self.enable(ENABLE_TRANSMIT, more);
    }
}

/// Writes output without waiting; returns how many bytes were taken, which is 0 when the
/// buffer is full. [`Receiver::writable`] is called when there is room again.
pub fn write(bytes: &[u8]) -> usize {
    let mut port = PORT.lock();
    let mut taken = 0;
    for chunk in bytes.chunks(FIFO) {
        let direct = port.output.is_empty()
            && RUNNING.load(Ordering::Relaxed)
            && inb(LINE_STATUS) & TRANSMIT_EMPTY != 0;
        if direct {
            for &byte in chunk {
                outb(DATA, byte);
            }
            taken += chunk.len();
        } else {
            let room = OUTPUT_SIZE - port.output.len().min(OUTPUT_SIZE);
            let part = chunk.get(..chunk.len().min(room)).unwrap_or(&[]);
            port.output.extend(part);
            taken += part.len();
            if part.len() < chunk.len() {
                break;
            }
        }
    }
    if !RUNNING.load(Ordering::Relaxed) {
        // No interrupt will come: the console takes it by polling.
        let (first, second) = port.output.as_slices();
        Arch::console_write(first);
        Arch::console_write(second);
        port.output.clear();
    } else if !port.output.is_empty() {
        port.transmit();
    }
    taken
}

/// Writes all buffered output by polling, so that what follows comes after it. Does nothing if
/// the buffer is in use: in a panic, its user may never come back.
pub(crate) fn flush() {
    if let Some(mut port) = PORT.try_lock() {
        let (first, second) = port.output.as_slices();
        Arch::console_write(first);
        Arch::console_write(second);
        port.output.clear();
    }
}

/// Registers the terminal; the first one stays. Input that arrived before is delivered.
pub fn set_receiver(receiver: Receiver) {
    // A second receiver is ignored, as the documentation says.
    let _ = RECEIVER.set(receiver);
    resume_input();
}

/// The receiver has room again: reads what the device holds, and listens again.
pub fn resume_input() {
    if RUNNING.load(Ordering::Relaxed) {
        receive();
    }
}

/// Hands the device's input to the receiver until one of them has no more.
fn receive() {
    let Some(receiver) = RECEIVER.get() else { return };
    loop {
        let mut port = PORT.lock();
        if !(receiver.ready)() {
            // Not read: the device's FIFO fills, and the sender is held back.
            port.enable(ENABLE_RECEIVE, false);
            return;
        }
        port.enable(ENABLE_RECEIVE, true);
        if inb(LINE_STATUS) & DATA_READY == 0 {
            return;
        }
        let byte = inb(DATA);
        drop(port);
        (receiver.receive)(byte);
    }
}

fn interrupt(_: usize) {
    // Reading the identity takes a transmit interrupt back.
    inb(INTERRUPT_IDENTITY);
    receive();
    let room = {
        let mut port = PORT.lock();
        if port.enabled & ENABLE_TRANSMIT == 0 {
            return;
        }
        port.transmit();
        port.output.len() <= OUTPUT_SIZE / 2
    };
    if room && let Some(receiver) = RECEIVER.get() {
        (receiver.writable)();
    }
}

/// Connects the interrupt. `Arch` has set the line's speed and format.
pub(super) fn init() {
    if inb(LINE_STATUS) == ABSENT {
        log::warn!("uart: no serial port");
        return;
    }
    PORT.lock().output.reserve(OUTPUT_SIZE);
    match Arch::irq_line(serial_line(), interrupt, 0) {
        Ok(()) => RUNNING.store(true, Ordering::Relaxed),
        Err(error) => log::warn!("uart: no interrupt: {error:?}; no input"),
    }
}
