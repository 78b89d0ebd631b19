//! New processes and threads: `fork(2)`, `vfork(2)`, `clone(2)`.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::super::context::current;
use super::family::{self, INIT_PID};
use super::process::{Process, Resources};
use super::scheduler::{finish_switch, return_to_user, start};
use super::signal::{SIGCHLD, SIGNAL_LAST};
use super::task::{Own, Task};
use crate::arch::{Arch, Architecture, TrapFrame};
use crate::mem::OutOfMemory;
use crate::mem::memapi::may_allocate;
use crate::mem::user::write_user;
use crate::mem::virt::{KERNEL_STACK_BYTES, KernelStack};

type Frame = <Arch as Architecture>::Frame;

bitflags::bitflags! {
    /// Flags of `clone(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CloneFlags: u64 {
        const VM = 0x100;
        const FS = 0x200;
        const FILES = 0x400;
        const SIGHAND = 0x800;
        const VFORK = 0x4000;
        const PARENT = 0x8000;
        const THREAD = 0x1_0000;
        const SYSVSEM = 0x4_0000;
        const SETTLS = 0x8_0000;
        const PARENT_SETTID = 0x10_0000;
        const CHILD_CLEARTID = 0x20_0000;
        const DETACHED = 0x40_0000;
        const CHILD_SETTID = 0x100_0000;
    }
}

/// What a thread has to have in common with its siblings.
const THREAD_NEEDS: CloneFlags = CloneFlags::VM.union(CloneFlags::SIGHAND);

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct CloneRequest {
    pub flags: CloneFlags,
    /// The signal that tells the parent of the end; 0 for none.
    pub exit_signal: u32,
    /// The child's stack pointer; 0: the parent's.
    pub stack: usize,
    pub thread_pointer: usize,
    pub parent_tid: usize,
    pub child_tid: usize,
}

impl CloneRequest {
    /// What `fork(2)` asks for.
    pub const FORK: Self = Self {
        flags: CloneFlags::empty(),
        exit_signal: SIGCHLD,
        stack: 0,
        thread_pointer: 0,
        parent_tid: 0,
        child_tid: 0,
    };
}

/// Why nothing was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloneError {
    /// Flags that contradict each other or are not implemented.
    Invalid,
    OutOfMemory,
    /// Too many threads.
    TooMany,
    /// The parent is ending.
    Ending,
}

impl From<OutOfMemory> for CloneError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Memory that must be free for a new process besides its page tables.
const FORK_BYTES: usize = 2 * KERNEL_STACK_BYTES;

/// Makes a process or a thread that goes on as the running one does, with 0 as its result.
/// Returns its number.
///
/// # Errors
/// As [`CloneError`] says; then nothing has been made.
pub fn clone(frame: &Frame, request: &CloneRequest) -> Result<u32, CloneError> {
    let flags = request.flags;
    if (flags.contains(CloneFlags::THREAD) && !flags.contains(THREAD_NEEDS))
        || flags.contains(CloneFlags::SIGHAND) != flags.contains(CloneFlags::THREAD)
        || (flags.contains(CloneFlags::PARENT) && current().pid() == INIT_PID)
        || request.exit_signal > SIGNAL_LAST
    {
        return Err(CloneError::Invalid);
    }
    may_allocate(FORK_BYTES)?;
    if !family::count_task() {
        return Err(CloneError::TooMany);
    }
    let made = make(frame, request);
    if made.is_err() {
        family::uncount_task();
    }
    let (task, new_process) = made?;
    let tid = task.tid();
    if flags.contains(CloneFlags::PARENT_SETTID) {
        // Linux ignores an address that is not there, too.
        let _ = write_user(request.parent_tid, tid);
    }
    if let Err(error) = enter(&task, new_process.as_ref()) {
        if let (Some(space), true) = (
            new_process.as_ref().and_then(|process| process.space()),
            flags.contains(CloneFlags::VM),
        ) {
            // It joined this one's.
            space.leave();
        }
        family::uncount_task();
        return Err(error);
    }
    if let (Some(process), true) = (new_process, flags.contains(CloneFlags::VFORK)) {
        // A signal that ends this process ends the wait; any other waits with it.
        let released = || (process.released.load(Ordering::Acquire) != 0).then_some(());
        let _ = process.release_event.wait_killable(released);
    }
    Ok(tid)
}

/// Makes the task and, unless it is a thread of this one, its process.
fn make(
    frame: &Frame,
    request: &CloneRequest,
) -> Result<(Arc<Task>, Option<Arc<Process>>), CloneError> {
    let flags = request.flags;
    let parent = current();
    let stack = KernelStack::new()?;
    let (Some(space), Some(files), Some(fs)) = (parent.space(), parent.files(), parent.fs()) else {
        return Err(CloneError::Invalid);
    };
    let space =
        if flags.contains(CloneFlags::VM) { Arc::clone(space) } else { Arc::new(space.fork()?) };
    let files =
        if flags.contains(CloneFlags::FILES) { Arc::clone(files) } else { Arc::new(files.fork()) };
    let fs = if flags.contains(CloneFlags::FS) { Arc::clone(fs) } else { Arc::new(fs.fork()) };
    let tid = family::allocate_tid();
    let thread = flags.contains(CloneFlags::THREAD);
    let process = if thread {
        Arc::clone(parent.process())
    } else {
        if flags.contains(CloneFlags::VM) {
            space.join();
        }
        let resources = Resources {
            space: Some(Arc::clone(&space)),
            files: Some(Arc::clone(&files)),
            fs: Some(Arc::clone(&fs)),
            arguments: parent.process().arguments(),
            environment: parent.process().environment(),
            executable: parent.process().executable(),
        };
        let maker = parent.process();
        let signals = maker.signals.lock().fork();
        let process = Process::new(tid, maker, signals, resources, request.exit_signal);
        if flags.contains(CloneFlags::PARENT) {
            // A sibling: the parent is told of its end as of this one's.
            process.parent.store(maker.parent(), Ordering::Relaxed);
            let exit_signal = maker.exit_signal.load(Ordering::Relaxed);
            process.exit_signal.store(exit_signal, Ordering::Relaxed);
        }
        Arc::new(process)
    };

    let mut child_frame = frame.clone();
    child_frame.set_return(0);
    if request.stack != 0 {
        child_frame.set_stack_pointer(request.stack);
    }
    let context = start_context(&stack, child_frame);
    let mut fp = <Arch as Architecture>::FpState::default();
    Arch::save_fp(&mut fp);
    let thread_pointer = if flags.contains(CloneFlags::SETTLS) {
        request.thread_pointer
    } else {
        Arch::thread_pointer()
    };
    let own = Own::of_user(context, fp, thread_pointer, Some(space), Some(files), Some(fs));
    if flags.contains(CloneFlags::CHILD_CLEARTID) {
        own.clear_child_tid.set(request.child_tid);
    }
    if flags.contains(CloneFlags::CHILD_SETTID) {
        own.set_child_tid.set(request.child_tid);
    }
    if !flags.contains(CloneFlags::VM) || flags.contains(CloneFlags::VFORK) {
        own.signal_stack.set(parent.private().signal_stack.get());
    }
    let task = Task::build(tid, Arc::clone(&process), Some(stack), own, parent.name_bytes());
    task.blocked.store(parent.blocked.load(Ordering::Relaxed), Ordering::Relaxed);
    task.set_affinity(parent.affinity());
    task.set_nice(parent.nice());
    Ok((Arc::new(task), (!thread).then_some(process)))
}

/// Puts the frame at the top of a new stack, and makes a context below it that leaves for user
/// mode with it.
pub(super) fn start_context(stack: &KernelStack, frame: Frame) -> <Arch as Architecture>::Context {
    let at = (stack.top() - size_of::<Frame>()) & !15;
    // SAFETY: the stack is new and nobody else's; the frame lies in it, aligned.
    unsafe { (at as *mut Frame).write(frame) };
    Arch::new_context(at, first_return, at)
}

/// The first code of a user's task: what `start_context` prepared. Interrupts are off.
extern "C" fn first_return(frame: usize) -> ! {
    finish_switch();
    // SAFETY: `start_context` put the frame there, above this stack, for this task alone.
    let frame = unsafe { &mut *(frame as *mut Frame) };
    let task = current();
    let child_tid = task.private().set_child_tid.replace(0);
    if child_tid != 0 {
        Arch::irq_enable();
        // An address that is not there is the user's affair.
        let _ = write_user(child_tid, task.tid());
        Arch::irq_disable();
    }
    return_to_user(frame);
    Arch::enter_user(frame)
}

/// Makes a new task known, and lets it run. If its process is ending, it is not.
fn enter(task: &Arc<Task>, new_process: Option<&Arc<Process>>) -> Result<(), CloneError> {
    let process = task.process();
    {
        let mut threads = process.threads.lock();
        if new_process.is_none() && (process.exit_status().is_some() || process.is_exclusive()) {
            return Err(CloneError::Ending);
        }
        threads.try_reserve(1).map_err(|_| CloneError::OutOfMemory)?;
        threads.push(Arc::clone(task));
        if process.is_stopped() {
            // Who stopped the process may have told its threads before this was one.
            task.attention.store(true, Ordering::SeqCst);
        }
    }
    match new_process {
        Some(process) => family::insert(Arc::clone(process)),
        None => family::insert_thread(task.tid(), process.pid()),
    }
    // The run queue has room for every task, or else this one ends at once.
    if start(Arc::clone(task)).is_err() {
        log::error!("no memory for the run queue");
        undo(task, new_process);
        return Err(CloneError::OutOfMemory);
    }
    Ok(())
}

fn undo(task: &Arc<Task>, new_process: Option<&Arc<Process>>) {
    task.process().threads.lock().retain(|thread| !Arc::ptr_eq(thread, task));
    match new_process {
        Some(process) => family::forget(process),
        None => family::remove_thread(task.tid()),
    }
}
