//! The end of threads and processes, and waiting for it (`_exit(2)`, `wait4(2)`).

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use kernel_sync::OnceCell;

use super::super::context::current;
use super::family::{self, Found, INIT_PID, WaitRequest};
use super::futex;
use super::process::Process;
use super::robust;
use super::scheduler::block;
use super::signal;
use super::task::TaskState;
use super::wait::Interrupted;
use crate::arch::{Arch, Architecture};
use crate::mem::user::write_user;

/// Is told the identity of each user task that ends, by the task itself.
pub type Observer = fn(u64);

static OBSERVER: OnceCell<Observer> = OnceCell::new();

/// Says who is told of tasks that end; who keeps something for them is above this module. A
/// second call changes nothing.
pub fn set_observer(observer: Observer) {
    let _ = OBSERVER.set(observer);
}

/// Ends the process of the running task with this exit code, and the task.
pub fn exit_group(code: u32) -> ! {
    signal::end_process(current().process(), (code & 0xff) << 8);
    end_thread()
}

/// Ends the running thread; with the last one of a process, the process, with this exit code
/// unless another end was decided.
pub fn exit(code: u32) -> ! {
    end_with((code & 0xff) << 8)
}

/// Ends the running thread: gives up what it has, tells who waits, and never runs again.
pub(super) fn end_thread() -> ! {
    end_with(0)
}

/// Ends the thread. `status`, in the form of `wait4`, is the process's if this is its last thread
/// and no other end was decided.
fn end_with(status: u32) -> ! {
    leave(status);
    loop {
        current().set_state(TaskState::Dead);
        block();
    }
}

/// All that must be dropped before the stack is left for good is local to this function.
fn leave(status: u32) {
    let task = current();
    let process = Arc::clone(task.process());
    robust::release();
    let child_tid = task.private().clear_child_tid.replace(0);
    if child_tid != 0 && (process.thread_count() > 1 || is_space_shared()) {
        // An address that is not there is the user's affair.
        let _ = write_user(child_tid, 0u32);
        if let Ok(key) = futex::Key::of_user(child_tid, false) {
            futex::wake(&key, u32::MAX, 1);
        }
    }
    let identity = task.take_identity();
    if let Some(observer) = OBSERVER.get() {
        observer(identity);
    }
    let last = {
        let mut threads = process.threads.lock();
        let at =
            threads.iter().position(|thread| core::ptr::eq(Arc::as_ptr(thread), &raw const *task));
        let own = at.map(|at| threads.remove(at));
        process.ended_threads_ns.fetch_add(task.run_ns(), Ordering::Relaxed);
        let last = threads.is_empty();
        drop(threads);
        drop(own);
        last
    };
    family::uncount_task();
    if task.is_kernel() {
        return;
    }
    if task.tid() != process.pid() {
        family::remove_thread(task.tid());
    }
    if last {
        signal::end_process(&process, status);
        end_process(&process);
    } else {
        signal::pass_on(&process);
        if process.sole_thread.load(Ordering::Relaxed) != 0 {
            // `execve` in another thread waits to be alone.
            process.release_event.wake_all();
        }
    }
    // SAFETY: nothing of these is borrowed here. The address space stays active on this CPU,
    // which keeps its own reference, until another one is.
    let own =
        unsafe { (task.replace_files(None), task.replace_fs(None), task.replace_space(None)) };
    drop(own);
}

fn is_space_shared() -> bool {
    current().space().is_some_and(|space| space.is_shared())
}

/// The end of a process whose last thread is the running task.
fn end_process(process: &Arc<Process>) {
    if process.pid() == INIT_PID {
        end_of_init(process);
    }
    let task = current();
    // SAFETY: nothing of these is borrowed here.
    let own = unsafe { (task.replace_files(None), task.replace_fs(None)) };
    let shared = process.with_resources(|resources| {
        (resources.files.take(), resources.fs.take(), resources.executable.take())
    });
    // Closing happens here, before the parent knows.
    drop(own);
    drop(shared);
    let space = process.with_resources(|resources| resources.space.take());
    if let Some(space) = space {
        space.leave();
    }
    process.release_parent();
    family::end(process);
}

/// The first process has ended: so does the machine, with its status.
fn end_of_init(process: &Process) -> ! {
    let status = process.exit_status().unwrap_or(0);
    let (killed, code) = (status & 0x7f, status >> 8 & 0xff);
    if killed == 0 {
        log::info!("init has ended with status {code}: powering off");
    } else {
        log::error!("init was killed by signal {killed}: powering off");
    }
    super::start::shut_down_files();
    Arch::power_off(if killed == 0 { code } else { 128 + killed }.min(255) as u8)
}

/// Why there is nothing to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError {
    NoChild,
    Interrupted,
}

impl From<Interrupted> for WaitError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

/// Waits for a child to change; the child and its wait status. `Ok(None)` if it was not to wait
/// and none has.
///
/// # Errors
/// If there is no such child, or a signal came first.
pub fn wait(request: &WaitRequest) -> Result<Option<(Arc<Process>, u32)>, WaitError> {
    let parent = Arc::clone(current().process());
    let look = || match family::find_changed(parent.pid(), request) {
        Found::NoChild => Some(Err(WaitError::NoChild)),
        Found::NotYet => request.no_hang.then_some(Ok(None)),
        Found::Changed(child, status) => Some(Ok(Some((child, status)))),
    };
    let changed = parent.child_event.wait_until(look)??;
    if let Some((child, _)) = &changed
        && child.exit_status().is_some()
        && !request.keep
    {
        let ns = child.run_ns() + child.children_ns();
        parent.children_ns.fetch_add(ns, Ordering::Relaxed);
    }
    Ok(changed)
}
