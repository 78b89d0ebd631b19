//! Interrupts as the machines have them alike: who handles a device's, and how often each CPU
//! had which (`/proc/interrupts`). Handlers are set once and read without a lock.

use alloc::boxed::Box;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use kernel_sync::OnceCell;

use super::machine::cpu;
use super::traits::{IrqError, IrqHandler, MAX_CPUS};

/// Handlers that one interrupt can have, for lines that devices share.
const SHARED: usize = 4;

/// How often each CPU had an interrupt.
#[derive(Debug)]
pub struct Counts([AtomicU64; MAX_CPUS]);

impl Counts {
    pub(super) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; MAX_CPUS])
    }

    /// This CPU has one. Interrupts are off, and nobody else writes its word.
    #[inline]
    pub(super) fn count(&self) {
        if let Some(own) = self.0.get(cpu::id()) {
            own.store(own.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// How often the CPU with this number had it.
    pub fn of(&self, number: usize) -> u64 {
        self.0.get(number).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// Takes each kind of interrupt: its name, how often each CPU had it, and what it is.
pub type EachInterrupt<'a> = &'a mut dyn FnMut(&dyn fmt::Display, &Counts, &dyn fmt::Display);

/// Where a device's interrupt comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    /// As `/proc/interrupts` names it.
    pub(super) controller: &'static str,
    pub(super) number: u32,
    pub(super) level: bool,
}

/// The interrupt of a device, or of several.
struct Device {
    source: Source,
    handlers: [OnceCell<IrqHandler>; SHARED],
    counts: Counts,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Source { controller, number, level } = self.source;
        let kind = if level { "Level" } else { "Edge" };
        write!(f, "{controller} {number:>3} {kind:<5}")?;
        for (index, handler) in self.handlers.iter().filter_map(OnceCell::get).enumerate() {
            write!(f, "{} {}", if index == 0 { "    " } else { "," }, handler.name)?;
        }
        Ok(())
    }
}

/// The interrupts of devices whose numbers are below `COUNT`.
pub(super) struct Devices<const COUNT: usize>([OnceCell<Box<Device>>; COUNT]);

impl<const COUNT: usize> Devices<COUNT> {
    pub(super) const fn new() -> Self {
        Self([const { OnceCell::new() }; COUNT])
    }

    /// Puts a handler into the first free slot of an interrupt, which comes from `source` if it
    /// has none yet: whether it had none.
    pub(super) fn add(
        &self,
        number: u32,
        source: Source,
        handler: IrqHandler,
    ) -> Result<bool, IrqError> {
        let place = self.0.get(number as usize).ok_or(IrqError::NoSuchLine)?;
        let first = place.get().is_none();
        if first {
            let handlers = [const { OnceCell::new() }; SHARED];
            // Who is first makes it.
            let _ = place.set(Box::new(Device { source, handlers, counts: Counts::new() }));
        }
        let device = place.get().ok_or(IrqError::Exhausted)?;
        if device.handlers.iter().any(|slot| slot.set(handler).is_ok()) {
            Ok(first)
        } else {
            Err(IrqError::Exhausted)
        }
    }

    /// Counts an interrupt and runs its handlers. Interrupts are off.
    pub(super) fn run(&self, number: u32) {
        let Some(device) = self.0.get(number as usize).and_then(OnceCell::get) else { return };
        device.counts.count();
        for handler in device.handlers.iter().map_while(OnceCell::get) {
            (handler.call)(handler.argument);
        }
    }

    /// Shows each that has a handler.
    pub(super) fn list(&self, each: EachInterrupt<'_>) {
        for device in self.0.iter().filter_map(OnceCell::get) {
            each(&device.source.number, &device.counts, &**device);
        }
    }
}
