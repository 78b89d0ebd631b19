//! Threads on `clone`, and `futex` waiting. For tests and measurements: no thread-local
//! storage, no destructors; a thread runs one function and ends.

use crate::{Result, arch, syscall};
use alloc::boxed::Box;
use core::marker::PhantomData;
use core::ptr::null;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use linux_raw_sys::general::{
    __NR_futex, __NR_mmap, __NR_munmap, CLONE_CHILD_CLEARTID, CLONE_FILES, CLONE_FS,
    CLONE_PARENT_SETTID, CLONE_SIGHAND, CLONE_SYSVSEM, CLONE_THREAD, CLONE_VM, MAP_ANONYMOUS,
    MAP_PRIVATE, PROT_READ, PROT_WRITE,
};

const STACK: usize = 64 << 10;

/// What a thread shares with its creator: all that POSIX threads share.
pub const FLAGS: u32 = CLONE_VM
    | CLONE_FS
    | CLONE_FILES
    | CLONE_SIGHAND
    | CLONE_THREAD
    | CLONE_SYSVSEM
    | CLONE_PARENT_SETTID
    | CLONE_CHILD_CLEARTID;

/// Memory for the stack of a thread.
pub struct Stack(usize);

/// A running thread. Dropping it waits for its end.
pub struct Thread<'a> {
    /// The thread's number; the kernel clears it and wakes us when the thread has ended.
    tid: Box<AtomicI32>,
    /// The stack, if it is the thread's alone.
    own: Option<Stack>,
    /// The stack, if it is someone else's.
    borrowed: PhantomData<&'a mut Stack>,
}

impl Stack {
    /// Maps memory.
    pub fn new() -> Result<Self> {
        // SAFETY: maps fresh memory.
        unsafe {
            syscall!(
                __NR_mmap,
                null::<u8>(),
                STACK,
                PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS,
                -1isize,
                0usize
            )
        }
        .map(Self)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: a thread holds or borrows its stack until it has ended.
        let _ = unsafe { syscall!(__NR_munmap, self.0, STACK) };
    }
}

/// Starts a thread that runs `function(argument)` on a stack of its own.
pub fn spawn(function: extern "C" fn(usize), argument: usize) -> Result<Thread<'static>> {
    let stack = Stack::new()?;
    let mut thread = start(&stack, function, argument)?;
    thread.own = Some(stack);
    Ok(thread)
}

/// Starts a thread on a stack that is there already.
pub fn spawn_on(
    stack: &mut Stack,
    function: extern "C" fn(usize),
    argument: usize,
) -> Result<Thread<'_>> {
    start(stack, function, argument)
}

/// The callers see to it that the stack lives as long as the thread.
fn start<'a>(stack: &Stack, function: extern "C" fn(usize), argument: usize) -> Result<Thread<'a>> {
    let thread = Thread { tid: Box::new(AtomicI32::new(-1)), own: None, borrowed: PhantomData };
    let (top, tid) = (stack.0 + STACK, thread.tid.as_ptr());
    // SAFETY: the stack and the tid live until the thread has been waited for.
    let result = unsafe { arch::clone_thread(FLAGS as usize, top, tid, function, argument) };
    match crate::sys::check(result) {
        Ok(_) => Ok(thread),
        Err(error) => {
            thread.tid.store(0, Ordering::Relaxed);
            Err(error)
        }
    }
}

impl Thread<'_> {
    /// Waits until the thread has ended.
    pub fn join(self) {
        drop(self);
    }
}

impl Drop for Thread<'_> {
    fn drop(&mut self) {
        loop {
            let tid = self.tid.load(Ordering::Acquire);
            if tid == 0 {
                break;
            }
            // SAFETY: only waits. Not a private futex: the kernel's wake-up is not one either.
            let _ = unsafe {
                syscall!(__NR_futex, self.tid.as_ptr(), 0usize, tid, null::<u8>(), 0usize, 0usize)
            };
        }
        // Only now may the stack go.
        self.own = None;
    }
}

/// `FUTEX_WAIT` with the private flag: sleeps while the word holds `value`.
pub fn futex_wait(word: &AtomicU32, value: u32) {
    while word.load(Ordering::Acquire) == value {
        // SAFETY: only waits.
        let _ = unsafe {
            syscall!(__NR_futex, word.as_ptr(), 128usize, value, null::<u8>(), 0usize, 0usize)
        };
    }
}

/// `FUTEX_WAKE` with the private flag: wakes up to `count` sleepers, returns how many.
pub fn futex_wake(word: &AtomicU32, count: u32) -> usize {
    // SAFETY: only wakes.
    unsafe { syscall!(__NR_futex, word.as_ptr(), 129usize, count) }.unwrap_or(0)
}
