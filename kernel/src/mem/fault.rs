//! Page faults: where the architecture's trap code hands them in.
//!
//! Which address space is current, how a task gets a signal, and how it gives way to others, is
//! known above this module; `mcore` registers that once ([`register`]).

use alloc::sync::Arc;

use kernel_sync::OnceCell;

use super::address_space::AddressSpace;
use super::demand::FaultError;
use super::layout::user_end;
use crate::arch::{Arch, Architecture, FaultAccess, UserFault};

type Frame = <Arch as Architecture>::Frame;

/// Calls what it is given with several address spaces, one at a time.
pub type EachSpace = fn(&mut dyn FnMut(&AddressSpace));

/// What this module needs of the tasks.
pub struct Tasks {
    /// The address space of the running task, if it has one.
    pub current_space: fn() -> Option<Arc<AddressSpace>>,
    /// Sends the running task the signal for a fault that nothing resolves.
    pub signal: fn(&mut Frame, Unresolved),
    /// Lets another task run if it is its turn and the caller may wait.
    pub give_way: fn(),
    /// There is no memory for a page that the running task needs: ends a process that has much, or
    /// waits for what one has that ends. `false`: the task has to end itself.
    pub make_room: fn() -> bool,
    /// Hands over the address space of each process, one at a time; some perhaps several times.
    pub each_space: EachSpace,
}

/// A fault of the running task that becomes a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// A page fault at this address.
    Page(usize, FaultError),
    /// Any other.
    Other(UserFault),
}

static TASKS: OnceCell<Tasks> = OnceCell::new();

/// Registers the tasks. Called once, at start-up; a second call changes nothing.
pub fn register(tasks: Tasks) {
    let _ = TASKS.set(tasks);
}

/// Lets another task run if it is its turn: for what takes long. No spin lock is held; where the
/// caller may not wait, nothing happens.
pub(super) fn give_way() {
    if let Some(tasks) = TASKS.get() {
        (tasks.give_way)();
    }
}

/// Calls `each` with the address space of each process. No spin lock is held.
pub(super) fn each_space(each: &mut dyn FnMut(&AddressSpace)) {
    if let Some(tasks) = TASKS.get() {
        (tasks.each_space)(each);
    }
}

fn resolve(address: usize, access: FaultAccess) -> Result<(), FaultError> {
    if address >= user_end() {
        return Err(FaultError::NotMapped);
    }
    let space = TASKS.get().and_then(|tasks| (tasks.current_space)());
    space.ok_or(FaultError::NotMapped)?.resolve(address, access)
}

/// A fault in user mode: resolved, or turned into a signal that the return to user mode
/// delivers. Interrupts are on; may sleep.
pub fn handle_user_fault(frame: &mut Frame, fault: UserFault) {
    let unresolved = match fault {
        UserFault::Page { address, access, .. } => match resolve(address, access) {
            Ok(()) => return,
            Err(error) => Unresolved::Page(address, error),
        },
        other => Unresolved::Other(other),
    };
    if let Some(tasks) = TASKS.get() {
        (tasks.signal)(frame, unresolved);
    }
}

/// A fault on a user address in one of the kernel's copy functions: `true` if the access can
/// be tried again. May sleep; where memory is used up, as long as it takes to get some.
pub fn resolve_kernel_access(address: usize, access: FaultAccess) -> bool {
    loop {
        match resolve(address, access) {
            Ok(()) => return true,
            Err(FaultError::OutOfMemory) => {
                if !TASKS.get().is_some_and(|tasks| (tasks.make_room)()) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}
