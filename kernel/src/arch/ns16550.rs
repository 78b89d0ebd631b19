//! A 16550 (National PC16550D, table II), however its registers are reached: by ports on PCs, in
//! memory elsewhere. [`Uart::write`] polls and works from the first line to the last; the rest is
//! for `driver/uart.rs`, which adds buffers and interrupts.

const DATA: usize = 0;
const INTERRUPT_ENABLE: usize = 1;
const INTERRUPT_IDENTITY: usize = 2;
const FIFO_CONTROL: usize = 2;
const LINE_CONTROL: usize = 3;
const MODEM_CONTROL: usize = 4;
const LINE_STATUS: usize = 5;

const ENABLE_RECEIVE: u8 = 1;
const ENABLE_TRANSMIT: u8 = 2;
const DATA_READY: u8 = 1;
const TRANSMIT_EMPTY: u8 = 0x20;
/// What the line status reads as where there is no device.
const ABSENT: u8 = 0xff;
/// Bytes that fit when the transmitter is empty.
const FIFO: usize = 16;
/// The first two registers are the divisor of the clock.
const DIVISOR_LATCH: u8 = 0x80;
const EIGHT_BITS: u8 = 3;
/// On, and emptied.
const FIFOS: u8 = 7;
/// Ready, and interrupts let through.
const READY: u8 = 0x0b;

/// How the registers are reached.
pub(super) trait Registers {
    fn get(&self, register: usize) -> u8;
    fn set(&self, register: usize, value: u8);
}

/// The device.
pub(super) struct Uart<R>(pub(super) R);

impl<R: Registers> Uart<R> {
    /// 8N1, FIFOs on, interrupts off; at the speed that the divisor says, or the one that
    /// firmware has set.
    pub(super) fn init(&self, divisor: Option<u16>) {
        self.0.set(INTERRUPT_ENABLE, 0);
        if let Some(divisor) = divisor {
            let [low, high] = divisor.to_le_bytes();
            self.0.set(LINE_CONTROL, DIVISOR_LATCH);
            self.0.set(DATA, low);
            self.0.set(INTERRUPT_ENABLE, high);
        }
        self.0.set(LINE_CONTROL, EIGHT_BITS);
        self.0.set(FIFO_CONTROL, FIFOS);
        self.0.set(MODEM_CONTROL, READY);
    }

    /// Writes bytes as they are. Gives up on a byte that the device does not take, so that a
    /// machine without one still boots.
    pub(super) fn write(&self, bytes: &[u8]) {
        for chunk in bytes.chunks(FIFO) {
            let mut patience = 100_000u32;
            while self.0.get(LINE_STATUS) & TRANSMIT_EMPTY == 0 && patience > 0 {
                patience -= 1;
            }
            for &byte in chunk {
                self.0.set(DATA, byte);
            }
        }
    }

    /// Whether there is a device.
    pub(super) fn is_there(&self) -> bool {
        self.0.get(LINE_STATUS) != ABSENT
    }

    /// See [`crate::arch::Architecture::serial_read`].
    #[inline]
    pub(super) fn read(&self) -> Option<u8> {
        (self.0.get(LINE_STATUS) & DATA_READY != 0).then(|| self.0.get(DATA))
    }

    /// See [`crate::arch::Architecture::serial_write`].
    #[inline]
    pub(super) fn write_some(&self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        for chunk in bytes.chunks(FIFO) {
            if self.0.get(LINE_STATUS) & TRANSMIT_EMPTY == 0 {
                break;
            }
            for &byte in chunk {
                self.0.set(DATA, byte);
            }
            taken += chunk.len();
        }
        taken
    }

    /// See [`crate::arch::Architecture::serial_listen`].
    pub(super) fn listen(&self, input: bool, room: bool) {
        let receive = if input { ENABLE_RECEIVE } else { 0 };
        let transmit = if room { ENABLE_TRANSMIT } else { 0 };
        self.0.set(INTERRUPT_ENABLE, receive | transmit);
    }

    /// Reading the identity takes a transmit interrupt back.
    #[inline]
    pub(super) fn acknowledge(&self) {
        self.0.get(INTERRUPT_IDENTITY);
    }
}
