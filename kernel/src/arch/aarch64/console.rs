//! The console's device: a PL011 (Arm DDI 0183), where the device tree says. [`write`] polls
//! and works from the first line to the last; the rest is for `driver/uart.rs`, which adds
//! buffers and interrupts.

use core::sync::atomic::{AtomicUsize, Ordering};

use kernel_fdt::{Device, DeviceTree};

use crate::arch::device_tree;
use crate::arch::traits::{BootInfo, IrqLine};

const COMPATIBLE: &str = "arm,pl011";

const DATA: usize = 0x00;
const FLAGS: usize = 0x18;
const LINE_CONTROL: usize = 0x2c;
const CONTROL: usize = 0x30;
const INTERRUPT_MASK: usize = 0x38;
const INTERRUPT_CLEAR: usize = 0x44;

const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;
/// 8 bits, FIFOs on.
const LINE: u32 = 0x70;
/// On, in both directions.
const ENABLE: u32 = 0x301;
/// Input has come, or has come and is getting no more.
const RECEIVE: u32 = 1 << 4 | 1 << 6;
const TRANSMIT: u32 = 1 << 5;
const ALL: u32 = 0x7ff;

/// Where the registers are mapped; 0: there is no device that is known.
static BASE: AtomicUsize = AtomicUsize::new(0);

/// The console's device in the tree, if it is one that is known here.
pub(super) fn device<'a>(tree: &DeviceTree<'a>) -> Option<Device<'a>> {
    let console = tree.console().filter(|device| device.is_compatible(COMPATIBLE));
    console.or_else(|| tree.find(&[COMPATIBLE]))
}

/// Where the console's registers are, by the boot loader's device tree.
pub(in crate::arch) fn registers(boot: &BootInfo) -> Option<(u64, u64)> {
    let bytes = device_tree::bytes(boot.device_tree?.0)?;
    device(&DeviceTree::read(bytes)?)?.registers().next()
}

fn get(base: usize, register: usize) -> u32 {
    // SAFETY: the registers are mapped at `base`.
    unsafe { ((base + register) as *const u32).read_volatile() }
}

fn set(base: usize, register: usize, value: u32) {
    // SAFETY: as in `get`.
    unsafe { ((base + register) as *mut u32).write_volatile(value) };
}

/// The device's registers are mapped here now. Firmware has set its speed; interrupts are off.
pub(super) fn init(base: usize) {
    for (register, value) in
        [(INTERRUPT_MASK, 0), (INTERRUPT_CLEAR, ALL), (LINE_CONTROL, LINE), (CONTROL, ENABLE)]
    {
        set(base, register, value);
    }
    moved(base);
}

/// The registers are mapped elsewhere now, or nowhere (0).
pub(in crate::arch) fn moved(base: usize) {
    BASE.store(base, Ordering::Relaxed);
}

fn base() -> Option<usize> {
    Some(BASE.load(Ordering::Relaxed)).filter(|&base| base != 0)
}

/// See [`crate::arch::Architecture::serial_line`].
pub(in crate::arch) fn line() -> Option<IrqLine> {
    device_tree::console_line().filter(|_| base().is_some())
}

/// Writes bytes as they are. Gives up on a byte that the device does not take.
pub(in crate::arch) fn write(bytes: &[u8]) {
    let Some(base) = base() else { return };
    for &byte in bytes {
        let mut patience = 100_000u32;
        while get(base, FLAGS) & TRANSMIT_FULL != 0 && patience > 0 {
            patience -= 1;
        }
        set(base, DATA, u32::from(byte));
    }
}

/// See [`crate::arch::Architecture::serial_read`].
#[inline]
pub(in crate::arch) fn read() -> Option<u8> {
    let base = base()?;
    (get(base, FLAGS) & RECEIVE_EMPTY == 0).then(|| get(base, DATA) as u8)
}

/// See [`crate::arch::Architecture::serial_write`].
#[inline]
pub(in crate::arch) fn write_some(bytes: &[u8]) -> usize {
    let Some(base) = base() else { return 0 };
    let mut taken = 0;
    for &byte in bytes {
        if get(base, FLAGS) & TRANSMIT_FULL != 0 {
            break;
        }
        set(base, DATA, u32::from(byte));
        taken += 1;
    }
    taken
}

/// See [`crate::arch::Architecture::serial_listen`].
pub(in crate::arch) fn listen(input: bool, room: bool) {
    let receive = if input { RECEIVE } else { 0 };
    let transmit = if room { TRANSMIT } else { 0 };
    if let Some(base) = base() {
        set(base, INTERRUPT_MASK, receive | transmit);
    }
}

/// Takes all interrupts of the device back.
#[inline]
pub(in crate::arch) fn acknowledge() {
    if let Some(base) = base() {
        set(base, INTERRUPT_CLEAR, ALL);
    }
}
