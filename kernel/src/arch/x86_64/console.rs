//! The console's device: a 16550 at COM1 (National PC16550D, table II). [`write`] polls and
//! works from the first instruction to the last; the rest is for `driver/uart.rs`, which adds
//! buffers and interrupts.

use super::port::{inb, outb};

const COM1: u16 = 0x3f8;
const DATA: u16 = COM1;
const INTERRUPT_ENABLE: u16 = COM1 + 1;
const INTERRUPT_IDENTITY: u16 = COM1 + 2;
const LINE_STATUS: u16 = COM1 + 5;

const ENABLE_RECEIVE: u8 = 1;
const ENABLE_TRANSMIT: u8 = 2;
const DATA_READY: u8 = 1;
const TRANSMIT_EMPTY: u8 = 0x20;
/// What the line status reads as where there is no device.
const ABSENT: u8 = 0xff;
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
            outb(DATA, byte);
        }
    }
}

/// Whether there is a device.
pub(super) fn is_there() -> bool {
    inb(LINE_STATUS) != ABSENT
}

/// See [`crate::arch::Architecture::serial_read`].
#[inline]
pub(super) fn read() -> Option<u8> {
    (inb(LINE_STATUS) & DATA_READY != 0).then(|| inb(DATA))
}

/// See [`crate::arch::Architecture::serial_write`].
#[inline]
pub(super) fn write_some(bytes: &[u8]) -> usize {
    let mut taken = 0;
    for chunk in bytes.chunks(FIFO) {
        if inb(LINE_STATUS) & TRANSMIT_EMPTY == 0 {
            break;
        }
        for &byte in chunk {
            outb(DATA, byte);
        }
        taken += chunk.len();
    }
    taken
}

/// See [`crate::arch::Architecture::serial_listen`].
pub(super) fn listen(input: bool, room: bool) {
    let receive = if input { ENABLE_RECEIVE } else { 0 };
    let transmit = if room { ENABLE_TRANSMIT } else { 0 };
    outb(INTERRUPT_ENABLE, receive | transmit);
}

/// Reading the identity takes a transmit interrupt back.
#[inline]
pub(super) fn acknowledge() {
    inb(INTERRUPT_IDENTITY);
}
