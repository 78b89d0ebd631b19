//! The console's device: a 16550 at COM1, by ports.

use super::port::{inb, outb};
use crate::arch::ns16550::{Registers, Uart};

const COM1: u16 = 0x3f8;
/// 115200 baud.
const DIVISOR: u16 = 1;

/// The ports from COM1 on.
pub(super) struct Ports;

impl Registers for Ports {
    fn get(&self, register: usize) -> u8 {
        inb(COM1 + register as u16)
    }

    fn set(&self, register: usize, value: u8) {
        outb(COM1 + register as u16, value);
    }
}

/// The device, which may not be there.
pub(super) const DEVICE: Uart<Ports> = Uart(Ports);

/// Sets it up.
pub(super) fn init() {
    DEVICE.init(Some(DIVISOR));
}
