//! The console's device: a 16550 in memory, where the device tree says.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use kernel_fdt::{Device, DeviceTree};

use crate::arch::device_tree;
use crate::arch::ns16550::{Registers, Uart};
use crate::arch::traits::{BootInfo, IrqLine};

const COMPATIBLE: [&str; 3] = ["ns16550a", "ns16550", "snps,dw-apb-uart"];

/// Where the registers are mapped; 0: there is no device that is known.
static BASE: AtomicUsize = AtomicUsize::new(0);
/// How far apart they are: 2^SHIFT bytes; and whether they are words.
static SHIFT: AtomicU32 = AtomicU32::new(0);
static WORDS: AtomicU32 = AtomicU32::new(0);

/// The console's device in the tree, if it is one that is known here.
pub(super) fn device<'a>(tree: &DeviceTree<'a>) -> Option<Device<'a>> {
    let known = |device: &Device<'a>| COMPATIBLE.iter().any(|name| device.is_compatible(name));
    tree.console().filter(known).or_else(|| tree.find(&COMPATIBLE))
}

/// Where the console's registers are, by the boot loader's device tree.
pub(in crate::arch) fn registers(boot: &BootInfo) -> Option<(u64, u64)> {
    let bytes = device_tree::bytes(boot.device_tree?.0)?;
    device(&DeviceTree::read(bytes)?)?.registers().next()
}

/// Registers in memory.
struct Memory(usize);

impl Memory {
    fn address(&self, register: usize) -> usize {
        self.0 + (register << SHIFT.load(Ordering::Relaxed))
    }
}

impl Registers for Memory {
    fn get(&self, register: usize) -> u8 {
        let address = self.address(register);
        // SAFETY: the registers are mapped there, and as wide as the device tree says.
        unsafe {
            if WORDS.load(Ordering::Relaxed) != 0 {
                (address as *const u32).read_volatile() as u8
            } else {
                (address as *const u8).read_volatile()
            }
        }
    }

    fn set(&self, register: usize, value: u8) {
        let address = self.address(register);
        // SAFETY: as in `get`.
        unsafe {
            if WORDS.load(Ordering::Relaxed) != 0 {
                (address as *mut u32).write_volatile(u32::from(value));
            } else {
                (address as *mut u8).write_volatile(value);
            }
        }
    }
}

/// The device's registers are mapped here now. Firmware has set its speed.
pub(super) fn init(device: &Device<'_>, base: usize) {
    let number = |name| {
        let bytes = device.property(name)?.first_chunk().copied();
        bytes.map(u32::from_be_bytes)
    };
    SHIFT.store(number("reg-shift").unwrap_or(0).min(4), Ordering::Relaxed);
    WORDS.store(u32::from(number("reg-io-width") == Some(4)), Ordering::Relaxed);
    Uart(Memory(base)).init(None);
    moved(base);
}

/// The registers are mapped elsewhere now, or nowhere (0).
pub(in crate::arch) fn moved(base: usize) {
    BASE.store(base, Ordering::Relaxed);
}

/// The device, if there is one.
#[inline]
fn uart() -> Option<Uart<Memory>> {
    Some(BASE.load(Ordering::Relaxed)).filter(|&base| base != 0).map(|base| Uart(Memory(base)))
}

/// See [`crate::arch::Architecture::console_write`].
pub(in crate::arch) fn write(bytes: &[u8]) {
    if let Some(uart) = uart() {
        uart.write(bytes);
    }
}

/// See [`crate::arch::Architecture::serial_line`].
pub(in crate::arch) fn line() -> Option<IrqLine> {
    uart().filter(Uart::is_there).and_then(|_| device_tree::console_line())
}

/// See [`crate::arch::Architecture::serial_read`].
#[inline]
pub(in crate::arch) fn read() -> Option<u8> {
    uart()?.read()
}

/// See [`crate::arch::Architecture::serial_write`].
#[inline]
pub(in crate::arch) fn write_some(bytes: &[u8]) -> usize {
    uart().map_or(0, |uart| uart.write_some(bytes))
}

/// See [`crate::arch::Architecture::serial_listen`].
pub(in crate::arch) fn listen(input: bool, room: bool) {
    if let Some(uart) = uart() {
        uart.listen(input, room);
    }
}

/// See [`crate::arch::Architecture::serial_acknowledge`].
#[inline]
pub(in crate::arch) fn acknowledge() {
    if let Some(uart) = uart() {
        uart.acknowledge();
    }
}
