//! The kernel's own mappings: stacks for tasks, each with an unmapped guard page below it.
//!
//! Stacks that are no longer used are kept, mapped, for the next task: making a task then
//! touches no page table. Others are unmapped; before their addresses are used again, every CPU
//! forgets what was there. [`KERNEL_STACK_BYTES`] is what a system call may use.

use alloc::vec::Vec;

use kernel_sync::SpinLock;

use super::memapi::OutOfMemory;
use super::phys;
use crate::arch::{Arch, Architecture, CacheMode, PAGE_SIZE, Protection};

/// The length of a kernel stack. Unoptimised code needs more.
pub const KERNEL_STACK_BYTES: usize = if cfg!(debug_assertions) { 64 * 1024 } else { 32 * 1024 };
/// A guard page and the stack above it. They lie side by side from the start of the kernel's
/// mapping range.
pub const SLOT_BYTES: usize = KERNEL_STACK_BYTES + PAGE_SIZE;
/// The part of the kernel's mapping range that stacks may take; the rest is for code pages.
pub const AREA_BYTES: usize = (Arch::KERNEL_MAP_END - Arch::KERNEL_MAP_START) / 2;
/// How many unused stacks stay mapped.
const KEPT: usize = 32;

struct Stacks {
    /// Slots whose stacks are mapped and not used.
    kept: Vec<u32>,
    /// Slots that are not mapped.
    unmapped: Vec<u32>,
    /// Of these, so many from the first that no CPU remembers.
    forgotten: usize,
    /// Somebody is making the CPUs forget the others, which are to stay in their places.
    forgetting: bool,
    /// All slots from this one on have never been used.
    next: u32,
}

static STACKS: SpinLock<Stacks> = SpinLock::new(Stacks {
    kept: Vec::new(),
    unmapped: Vec::new(),
    forgotten: 0,
    forgetting: false,
    next: 0,
});

impl Stacks {
    /// An unmapped slot that can be mapped anew.
    fn take_forgotten(&mut self) -> Option<u32> {
        self.forgotten = self.forgotten.checked_sub(1)?;
        Some(self.unmapped.swap_remove(self.forgotten))
    }

    /// A slot that was never used.
    fn fresh(&mut self) -> Result<u32, OutOfMemory> {
        if (self.next as usize + 1) * SLOT_BYTES > AREA_BYTES {
            return Err(OutOfMemory);
        }
        // Room for every slot in both lists, so that freeing does not allocate.
        let slots = self.next as usize + 1;
        let missing = slots.saturating_sub(self.unmapped.len());
        self.unmapped.try_reserve(missing).map_err(|_| OutOfMemory)?;
        self.kept.try_reserve(KEPT).map_err(|_| OutOfMemory)?;
        self.next += 1;
        Ok(self.next - 1)
    }
}

/// The first address after the range in which stacks are mapped; up to
/// `Arch::KERNEL_MAP_END` belongs to executable BPF code.
pub const CODE_AREA_START: usize = Arch::KERNEL_MAP_START + AREA_BYTES;

/// A mapped kernel stack.
pub struct KernelStack {
    slot: u32,
}

impl KernelStack {
    /// A stack, contents undefined.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new() -> Result<Self, OutOfMemory> {
        let slot = {
            let mut stacks = STACKS.lock();
            if let Some(slot) = stacks.kept.pop() {
                return Ok(Self { slot });
            }
            if stacks.forgotten == 0 && !stacks.unmapped.is_empty() && !stacks.forgetting {
                stacks.forgetting = true;
                let count = stacks.unmapped.len();
                drop(stacks);
                Arch::flush_kernel();
                stacks = STACKS.lock();
                (stacks.forgetting, stacks.forgotten) = (false, count);
            }
            match stacks.take_forgotten() {
                Some(slot) => slot,
                None => stacks.fresh()?,
            }
        };
        let stack = Self { slot };
        let mapped = stack.pages().all(|page| {
            phys::alloc_frame().is_some_and(|frame| {
                let protection = Protection::READ | Protection::WRITE;
                let result = Arch::map_kernel(page, frame, protection, CacheMode::Normal);
                if result.is_err() {
                    phys::release(frame);
                }
                result.is_ok()
            })
        });
        if !mapped {
            stack.unmap();
            core::mem::forget(stack);
            return Err(OutOfMemory);
        }
        Ok(stack)
    }

    /// One past the highest address; a multiple of the page size.
    pub fn top(&self) -> usize {
        self.bottom() + KERNEL_STACK_BYTES
    }

    /// The lowest address. The page below it is not mapped.
    pub fn bottom(&self) -> usize {
        Arch::KERNEL_MAP_START + self.slot as usize * SLOT_BYTES + PAGE_SIZE
    }

    /// Keeps the stack for good; where it ends.
    pub fn keep(self) -> usize {
        let top = self.top();
        core::mem::forget(self);
        top
    }

    fn pages(&self) -> impl Iterator<Item = usize> {
        (self.bottom()..self.top()).step_by(PAGE_SIZE)
    }

    fn unmap(&self) {
        for page in self.pages() {
            if let Some(frame) = Arch::unmap_kernel(page) {
                phys::release(frame);
            }
        }
        STACKS.lock().unmapped.push(self.slot);
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        let mut stacks = STACKS.lock();
        if stacks.kept.len() < KEPT {
            stacks.kept.push(self.slot);
        } else {
            drop(stacks);
            self.unmap();
        }
    }
}

/// Whether `address` lies in the guard page of some kernel stack: a fault there is an overflow.
pub fn is_stack_guard(address: usize) -> bool {
    let Some(offset) = address.checked_sub(Arch::KERNEL_MAP_START) else { return false };
    offset < AREA_BYTES && offset % SLOT_BYTES < PAGE_SIZE
}
