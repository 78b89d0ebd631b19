//! The hooks: where programs run, and how they come and go while events are happening.
//!
//! A hook owns one pointer to an immutable list of attached programs. An event reads that
//! pointer once; with no program it is null, and the hook costs a load and a predicted branch.
//! A change builds a new list, swaps the pointer, waits until every CPU has left the hooks that it
//! was in, and frees the old one. So an event sees either the old list or the new one, whole:
//! a replacement loses no event and delivers none twice. Dispatch takes no lock, may happen in
//! an interrupt, and nests (the timer over a system call).
//!
//! What a hook is (context, budget, decisions) is declared in `kernel_bpf::hook`; the events
//! and their call sites are in [`super::events`]. At `sys_enter` every attached program runs,
//! in the order of attachment, so that observers see every event; the first that refuses
//! decides.
//!
//! Lock order: a hook's `entries` mutex comes after a link's and a program's state, before
//! spin locks only.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use kernel_bpf::hook::{self, HookDecl};
use kernel_sync::Mutex;

use super::events::{Decision, Event};
use super::program::ProgramCode;
use crate::mcore;

/// While a program is attached to the timer, it interrupts at least this often.
const TICK_NS: u64 = 4_000_000;
/// As many programs as one hook runs.
pub const MAX_PROGRAMS: usize = 64;

/// One program at one hook.
#[derive(Clone)]
struct Entry {
    attachment: AttachmentId,
    program: Arc<ProgramCode>,
}

/// The identity of an attachment, unique for as long as the system runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachmentId(u64);

impl AttachmentId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Why an attachment was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// No hook has this attach type or name.
    NoSuchHook,
    /// No program has this number.
    NoSuchProgram,
    /// The program's type does not belong at this hook.
    WrongType,
    /// The program's worst case is more than the hook's budget.
    OverBudget,
    /// The program reads its context beyond what this event has.
    ContextTooShort,
    /// The hook has as many programs as it runs.
    Full,
    /// The program is attached here already.
    AlreadyAttached,
    /// What was to be replaced or detached is not attached here.
    NotAttached,
    /// The link has no program any more.
    LinkDetached,
    /// This kind of link does not let go of its program.
    NotDetachable,
    /// The program to be replaced is not the one that the caller expected.
    NotExpected,
    /// No memory for the list.
    OutOfMemory,
}

/// One hook: its declaration, and the programs that run at it.
pub struct Hook {
    /// Index in `kernel_bpf::hook::HOOKS`.
    index: usize,
    list: AtomicPtr<Vec<Entry>>,
    /// The list as its changers see it; held while the pointer is being swapped.
    entries: Mutex<Vec<Entry>>,
    /// Events that found at least one program.
    runs: AtomicU64,
}

/// The hooks of this kernel, in the order of their declarations.
pub(super) static HOOKS: [Hook; 3] = [Hook::new(0), Hook::new(1), Hook::new(2)];

const _: () = assert!(hook::HOOKS.len() == HOOKS.len(), "each declared hook has its place here");

impl Hook {
    const fn new(index: usize) -> Self {
        Self {
            index,
            list: AtomicPtr::new(core::ptr::null_mut()),
            entries: Mutex::new(Vec::new()),
            runs: AtomicU64::new(0),
        }
    }

    /// All hooks.
    pub fn all() -> &'static [Self] {
        &HOOKS
    }

    /// The hook with this attach type.
    #[inline]
    pub fn by_attach_type(attach_type: u32) -> Option<&'static Self> {
        HOOKS.get((attach_type as usize).wrapping_sub(1))
    }

    /// The hook with this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        Self::by_attach_type(hook::by_name(name)?.attach_type)
    }

    /// What the hook is.
    pub fn declaration(&self) -> &'static HookDecl {
        match hook::HOOKS.get(self.index) {
            Some(declaration) => declaration,
            // The assertion above: there are as many hooks as declarations.
            None => &hook::HOOKS[0],
        }
    }

    /// Events that found at least one program.
    pub fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// The programs that are attached now, in the order in which they run.
    pub fn programs(&self) -> Vec<Arc<ProgramCode>> {
        self.entries.lock().iter().map(|entry| Arc::clone(&entry.program)).collect()
    }

    /// Attaches a program behind those that are there.
    pub fn attach(&self, program: Arc<ProgramCode>) -> Result<AttachmentId, AttachError> {
        program.check_hook(self.declaration())?;
        let mut entries = self.entries.lock();
        if entries.len() >= MAX_PROGRAMS {
            return Err(AttachError::Full);
        }
        let attachment = AttachmentId::next();
        self.publish(&mut entries, |list| list.push(Entry { attachment, program }))?;
        Ok(attachment)
    }

    /// Puts `program` in the place of an attachment: one swap, no event between the two.
    pub fn replace(&self, old: AttachmentId, program: Arc<ProgramCode>) -> Result<(), AttachError> {
        program.check_hook(self.declaration())?;
        let mut entries = self.entries.lock();
        if !entries.iter().any(|entry| entry.attachment == old) {
            return Err(AttachError::NotAttached);
        }
        self.publish(&mut entries, |list| {
            if let Some(entry) = list.iter_mut().find(|entry| entry.attachment == old) {
                entry.program = program;
            }
        })
    }

    /// Removes an attachment. When this returns, no CPU runs the program for it any more.
    pub fn detach(&self, old: AttachmentId) -> Result<(), AttachError> {
        let mut entries = self.entries.lock();
        if !entries.iter().any(|entry| entry.attachment == old) {
            return Err(AttachError::NotAttached);
        }
        self.publish(&mut entries, |list| list.retain(|entry| entry.attachment != old))
    }

    /// Makes `change` visible to events at once, then retires the list that they used before.
    fn publish(
        &self,
        entries: &mut Vec<Entry>,
        change: impl FnOnce(&mut Vec<Entry>),
    ) -> Result<(), AttachError> {
        let mut list = copy_of(entries, 1)?;
        change(&mut list);
        let working = copy_of(&list, 0)?;
        let list_is_empty = list.is_empty();
        let new = if list_is_empty { core::ptr::null_mut() } else { Box::into_raw(Box::new(list)) };
        let first_or_last = entries.is_empty() != list_is_empty;
        let old = self.list.swap(new, Ordering::AcqRel);
        if first_or_last && self.declaration().attach_type == hook::TIMER {
            // The CPUs tick only while somebody looks.
            let period = if list_is_empty { 0 } else { TICK_NS };
            mcore::mtask::timer::set_tick(period);
        }
        let before = core::mem::replace(entries, working);
        mcore::synchronize();
        if !old.is_null() {
            // SAFETY: `old` came from `Box::into_raw` in an earlier call of this function and
            // was unlinked by the swap; every event that could be reading it has since ended.
            drop(unsafe { Box::from_raw(old) });
        }
        drop(before);
        Ok(())
    }

    /// Whether an event at this hook has anything to do.
    #[inline(always)]
    pub fn active(&self) -> bool {
        !self.list.load(Ordering::Relaxed).is_null()
    }

    /// Runs every attached program for `event`; the first that refuses decides. The caller is
    /// [`mcore::reading`].
    #[inline(always)]
    pub(super) fn run(&self, event: &impl Event) -> Decision {
        let list = self.list.load(Ordering::Acquire);
        // SAFETY: the pointer is null or a published list, which is freed only after every CPU
        // has stopped reading; the caller has said that this one is.
        let Some(list) = (unsafe { list.as_ref() }) else { return Decision::Pass };
        self.runs.fetch_add(1, Ordering::Relaxed);
        match list.as_slice() {
            // Nothing has to be weighed.
            [only] => event.deliver(&only.program),
            several => run_several(several, event),
        }
    }
}

fn run_several(entries: &[Entry], event: &impl Event) -> Decision {
    let mut decision = Decision::Pass;
    for entry in entries {
        let answer = event.deliver(&entry.program);
        if decision == Decision::Pass {
            decision = answer;
        }
    }
    decision
}

fn copy_of(entries: &[Entry], more: usize) -> Result<Vec<Entry>, AttachError> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(entries.len() + more).map_err(|_| AttachError::OutOfMemory)?;
    copy.extend(entries.iter().cloned());
    Ok(copy)
}
