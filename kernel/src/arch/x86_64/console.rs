//! The console's device: a 16550 at COM1, by ports.

use super::irq;
use super::port::{inb, outb};
use crate::arch::ns16550::{Registers, Uart};
use crate::arch::traits::IrqLine;

const COM1: u16 = 0x3f8;
const COM1_LINE: u8 = 4;
/// 115200 baud.
const DIVISOR: u16 = 1;

/// The ports from COM1 on.
struct Ports;

impl Registers for Ports {
    fn get(&self, register: usize) -> u8 {
        inb(COM1 + register as u16)
    }

    fn set(&self, register: usize, value: u8) {
        outb(COM1 + register as u16, value);
    }
}

/// The device, which may not be there.
const DEVICE: Uart<Ports> = Uart(Ports);

/// Sets it up.
pub(super) fn init() {
    DEVICE.init(Some(DIVISOR));
}

/// See [`crate::arch::Architecture::console_write`].
pub(in crate::arch) fn write(bytes: &[u8]) {
    DEVICE.write(bytes);
}

/// See [`crate::arch::Architecture::serial_line`].
pub(in crate::arch) fn line() -> Option<IrqLine> {
    DEVICE.is_there().then(|| irq::isa_line(COM1_LINE))
}

/// See [`crate::arch::Architecture::serial_read`].
#[inline]
pub(in crate::arch) fn read() -> Option<u8> {
    DEVICE.read()
}

/// See [`crate::arch::Architecture::serial_write`].
#[inline]
pub(in crate::arch) fn write_some(bytes: &[u8]) -> usize {
    DEVICE.write_some(bytes)
}

/// See [`crate::arch::Architecture::serial_listen`].
pub(in crate::arch) fn listen(input: bool, room: bool) {
    DEVICE.listen(input, room);
}

/// See [`crate::arch::Architecture::serial_acknowledge`].
#[inline]
pub(in crate::arch) fn acknowledge() {
    DEVICE.acknowledge();
}
