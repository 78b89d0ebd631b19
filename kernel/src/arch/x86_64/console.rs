//! The boot console: COM1, written by polling. Works from the first instruction to the last;
//! `driver/uart.rs` adds interrupts and input to the same device.

use super::port::{inb, outb};

const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const TRANSMIT_EMPTY: u8 = 0x20;
/// Bytes that fit when the transmitter is empty.
const FIFO: usize = 16;

/// 115200 baud, 8N1, FIFOs on, interrupts off.
pub(super) fn init() {
    for (register, value) in [(1, 0x00), (3, 0x80), (0, 1), (1, 0), (3, 0x03), (2, 0x07), (4, 0x0b)]
    {
        outb(COM1 + register, value);
    }
}

/// Writes bytes as they are. Gives up on a byte that the device does not take, so that a
/// machine without COM1 still boots.
pub(super) fn write(bytes: &[u8]) {
    for chunk in bytes.chunks(FIFO) {
        let mut patience = 100_000u32;
        while inb(LINE_STATUS) & TRANSMIT_EMPTY == 0 && patience > 0 {
            patience -= 1;
        }
        for &byte in chunk {
            outb(COM1, byte);
        }
    }
}
