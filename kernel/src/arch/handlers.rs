//! Who handles which interrupt of an interrupt controller, where its numbers are few. Handlers
//! are set once and read without a lock.

use kernel_sync::OnceCell;

use super::traits::{IrqError, IrqHandler};

/// Handlers that one interrupt can have, for lines that devices share.
const SHARED: usize = 4;

type Slot = OnceCell<(IrqHandler, usize)>;

/// The handlers of the interrupts below `COUNT`.
pub(super) struct Handlers<const COUNT: usize>([[Slot; SHARED]; COUNT]);

impl<const COUNT: usize> Handlers<COUNT> {
    pub(super) const fn new() -> Self {
        Self([const { [const { Slot::new() }; SHARED] }; COUNT])
    }

    /// Puts a handler into an interrupt's first free slot.
    pub(super) fn add(
        &self,
        number: u32,
        handler: IrqHandler,
        argument: usize,
    ) -> Result<(), IrqError> {
        let slots = self.0.get(number as usize).ok_or(IrqError::NoSuchLine)?;
        if slots.iter().any(|slot| slot.set((handler, argument)).is_ok()) {
            Ok(())
        } else {
            Err(IrqError::Exhausted)
        }
    }

    /// Runs an interrupt's handlers. Interrupts are off.
    pub(super) fn run(&self, number: u32) {
        for slot in self.0.get(number as usize).into_iter().flatten() {
            let Some(&(handler, argument)) = slot.get() else { break };
            handler(argument);
        }
    }
}
