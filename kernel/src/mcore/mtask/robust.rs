//! Futexes that a thread holds when it ends: their next owners are told so (`set_robust_list(2)`).
//!
//! The thread has a list of them in its own memory (`struct robust_list_head`, uapi/linux/futex.h),
//! which may hold anything, lead in a circle, or not be there: it is followed as far as it goes,
//! with a limit.

use super::super::context::current;
use super::futex::{self, Key};
use super::scheduler::give_way;
use crate::mem::user::{Fault, read_user};

/// Bits of a futex word: others wait; the owner has died; who is the owner.
const WAITERS: u32 = 1 << 31;
const OWNER_DIED: u32 = 1 << 30;
const OWNER: u32 = OWNER_DIED - 1;

/// `ROBUST_LIST_LIMIT`: no more are looked at.
const LIMIT: usize = 2048;
/// A word that others keep changing is left to them after so many attempts.
const ATTEMPTS: usize = 64;

/// A link of the list: where the next entry is, and whether that inherits priorities.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Link {
    entry: usize,
    inherits: bool,
}

fn link(address: usize) -> Result<Link, Fault> {
    let word = read_user::<usize>(address)?;
    Ok(Link { entry: word & !1, inherits: word & 1 != 0 })
}

/// Goes through the running thread's list, for it ends or changes its program; its address space
/// is still there. The thread has none afterwards.
pub(super) fn release() {
    let (head, _) = current().private().robust_list.replace((0, 0));
    if head != 0 {
        // A list that is not there, or ends in nowhere, is the user's affair.
        let _ = walk(head);
    }
}

fn walk(head: usize) -> Result<(), Fault> {
    const WORD: usize = size_of::<usize>();
    let mut next = link(head)?;
    let offset = read_user::<usize>(head.wrapping_add(WORD))?;
    // The one that the thread was about to take or to give back.
    let pending = link(head.wrapping_add(2 * WORD))?;
    for _ in 0..LIMIT {
        if next.entry == head {
            break;
        }
        // Before the futex is given up: its next owner may use the entry for something else.
        let after = link(next.entry);
        if next.entry != pending.entry {
            give_up(next.entry.wrapping_add(offset), next.inherits, false)?;
        }
        next = after?;
        give_way();
    }
    if pending.entry != 0 {
        give_up(pending.entry.wrapping_add(offset), pending.inherits, true)?;
    }
    Ok(())
}

/// Marks a futex, if the running thread holds it, and wakes one who waits for it.
fn give_up(address: usize, inherits: bool, pending: bool) -> Result<(), Fault> {
    if !address.is_multiple_of(align_of::<u32>()) {
        return Err(Fault);
    }
    let task = current();
    let mut value = read_user::<u32>(address)?;
    if pending && !inherits && value & OWNER == 0 {
        // It was given back already, but perhaps nobody was woken yet.
        wake_one(address);
        return Ok(());
    }
    for _ in 0..ATTEMPTS {
        if value & OWNER != task.tid() {
            return Ok(());
        }
        let space = task.space().ok_or(Fault)?;
        let marked = value & WAITERS | OWNER_DIED;
        let before = space.compare_exchange(address, value, marked).map_err(|_| Fault)?;
        if before == value {
            if !inherits && value & WAITERS != 0 {
                wake_one(address);
            }
            return Ok(());
        }
        value = before;
    }
    Ok(())
}

fn wake_one(address: usize) {
    if let Ok(key) = Key::of_user(address, false) {
        futex::wake(&key, u32::MAX, 1);
    }
}
