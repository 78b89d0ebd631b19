//! GICv2m (Arm Server Base System Architecture): a frame that turns the writes of devices into
//! interrupts of the distributor.

use super::distributor::{get, map};
use crate::arch::aarch64::platform::Registers;
use crate::arch::traits::MessageInterrupt;

/// Which interrupts it has; where devices write.
const TYPE: usize = 0x008;
const SET: u64 = 0x040;

/// Interrupts that devices cause by writing their number.
pub(in crate::arch::aarch64) struct Messages {
    address: u64,
    next: u32,
    end: u32,
}

impl Messages {
    /// The frame says which interrupts it has: the first and how many.
    pub(super) fn find(registers: Registers) -> Option<Self> {
        let kind = get(map(registers)?, TYPE);
        let (first, count) = (kind >> 16 & 0x3ff, kind & 0x3ff);
        Some(Self { address: registers.0 + SET, next: first, end: first + count })
    }

    /// One that nobody has yet: what the device writes, and its number.
    pub(in crate::arch::aarch64) fn take(&mut self) -> Option<(MessageInterrupt, u32)> {
        let number = self.next;
        if number >= self.end {
            return None;
        }
        self.next += 1;
        Some((MessageInterrupt { address: self.address, data: number }, number))
    }
}
