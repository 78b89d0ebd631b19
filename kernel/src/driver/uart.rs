//! The serial console's device, with interrupts.
//!
//! Input goes to the receiver that the terminal registered ([`set_receiver`]), byte by byte,
//! from the interrupt. When the receiver is full, the device is not read any further, so that
//! the sender is held back; [`resume_input`] goes on. Output of user programs ([`write`]) goes
//! into the device as long as it takes bytes at once, and into a buffer after that, which the
//! interrupt empties; the display's console shows it too. The log and the panic write by polling (`Arch::console_write`), after
//! [`flush`], so that lines stay in order.
//!
//! Which device that is and how its registers work, the architecture knows (`Arch::serial_*`).
//!
//! Locking: `PORT` guards the device's registers and the output buffer. Receivers are called
//! without it, and take input under `INPUT`, which comes before all other locks.

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, Ordering};

use kernel_sync::{OnceCell, SpinLock};

use super::display;
use crate::arch::{Arch, Architecture, IrqHandler};

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
    /// What interrupts now: input, and room for output.
    input: bool,
    room: bool,
}

static PORT: SpinLock<Port> =
    SpinLock::new(Port { output: VecDeque::new(), input: false, room: false });
static RECEIVER: OnceCell<Receiver> = OnceCell::new();
/// Held from where input is taken until the receiver has it: CPUs that did that at the same time
/// would change its order, or both fill the last place.
static INPUT: SpinLock<()> = SpinLock::new(());
/// There is a device, and interrupts of it arrive.
static RUNNING: AtomicBool = AtomicBool::new(false);

impl Port {
    fn listen(&mut self, input: bool, room: bool) {
        if (input, room) != (self.input, self.room) {
            (self.input, self.room) = (input, room);
            Arch::serial_listen(input, room);
        }
    }

    /// Moves output into the device while it takes some; asks for an interrupt for the rest.
    fn transmit(&mut self) {
        while !self.output.is_empty() {
            let taken = Arch::serial_write(self.output.as_slices().0);
            if taken == 0 {
                break;
            }
            self.output.drain(..taken.min(self.output.len()));
        }
        self.listen(self.input, !self.output.is_empty());
    }
}

/// Writes output without waiting; returns how many bytes were taken, which is 0 when the
/// buffer is full. [`Receiver::writable`] is called when there is room again.
pub fn write(bytes: &[u8]) -> usize {
    let mut port = PORT.lock();
    let running = RUNNING.load(Ordering::Relaxed);
    let mut taken = 0;
    if running && port.output.is_empty() {
        taken = Arch::serial_write(bytes);
    }
    let room = OUTPUT_SIZE - port.output.len().min(OUTPUT_SIZE);
    let rest = bytes.get(taken..).unwrap_or(&[]);
    let rest = rest.get(..room).unwrap_or(rest);
    port.output.extend(rest);
    taken += rest.len();
    if !running {
        // No interrupt will come: the console takes it by polling.
        let (first, second) = port.output.as_slices();
        Arch::console_write(first);
        Arch::console_write(second);
        port.output.clear();
    } else if !port.output.is_empty() {
        port.transmit();
    }
    drop(port);
    display::mirror(bytes.get(..taken).unwrap_or(bytes));
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

/// Hands over what was typed at another keyboard, as far as there is room for it. In an
/// interrupt.
pub(super) fn type_in(bytes: &[u8]) {
    let Some(receiver) = RECEIVER.get() else { return };
    let _one = INPUT.lock();
    for &byte in bytes {
        if (receiver.ready)() {
            (receiver.receive)(byte);
        }
    }
}

/// Hands the device's input to the receiver until one of them has no more.
fn receive() {
    let Some(receiver) = RECEIVER.get() else { return };
    let _one = INPUT.lock();
    loop {
        let mut port = PORT.lock();
        if !(receiver.ready)() {
            // Not read: the device's FIFO fills, and the sender is held back.
            let room = port.room;
            port.listen(false, room);
            return;
        }
        let room = port.room;
        port.listen(true, room);
        let Some(byte) = Arch::serial_read() else { return };
        drop(port);
        (receiver.receive)(byte);
    }
}

fn interrupt(_: usize) {
    Arch::serial_acknowledge();
    receive();
    let room = {
        let mut port = PORT.lock();
        if !port.room {
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
    let Some(line) = Arch::serial_line() else {
        log::warn!("uart: no serial port");
        return;
    };
    PORT.lock().output.reserve(OUTPUT_SIZE);
    match Arch::irq_line(line, IrqHandler { name: "serial", call: interrupt, argument: 0 }) {
        Ok(()) => RUNNING.store(true, Ordering::Relaxed),
        Err(error) => log::warn!("uart: no interrupt: {error:?}; no input"),
    }
}
