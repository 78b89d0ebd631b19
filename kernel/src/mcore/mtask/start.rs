//! The first process, and what is done when it has ended.

use alloc::sync::Arc;

use kernel_sync::OnceCell;
use kernel_vfs::{FdTable, FsContext};

use super::credentials::Credentials;
use super::exec::{ExecError, ExecRequest, load};
use super::family::{self, INIT_PID};
use super::fork::start_context;
use super::process::{Process, Resources};
use super::scheduler::start;
use super::signal::{SIGCHLD, Signals};
use super::task::{Own, Task, name_from};
use crate::arch::{Arch, Architecture, TrapFrame};
use crate::mem::OutOfMemory;
use crate::mem::virt::KernelStack;

type Frame = <Arch as Architecture>::Frame;

static SHUT_DOWN: OnceCell<fn()> = OnceCell::new();

/// Says how the file systems are made safe before the machine stops by itself. A second call
/// changes nothing.
pub fn on_shut_down(files: fn()) {
    let _ = SHUT_DOWN.set(files);
}

/// Makes the file systems safe.
pub fn shut_down_files() {
    if let Some(files) = SHUT_DOWN.get() {
        files();
    }
}

/// Starts process 1 with this program, root directory and open files. When it ends, the
/// machine powers off with its status.
///
/// # Errors
/// If the program cannot be run; then there is no process.
pub fn start_init(
    request: ExecRequest<'_>,
    fs: Arc<FsContext>,
    files: Arc<FdTable>,
) -> Result<Arc<Process>, ExecError> {
    let loaded = load(request, Credentials::ROOT)?;
    let frame = Frame::user(loaded.entry, loaded.stack_pointer);
    let stack = KernelStack::new()?;
    let context = start_context(&stack, frame);
    let (resources, name) = loaded.into_resources();
    let space = resources.space.clone();
    let resources =
        Resources { files: Some(Arc::clone(&files)), fs: Some(Arc::clone(&fs)), ..resources };
    let kernel = Process::kernel();
    let process = Arc::new(Process::new(INIT_PID, &kernel, Signals::default(), resources, SIGCHLD));
    let fp = Default::default();
    let own = Own::of_user(context, fp, 0, space, Some(files), Some(fs));
    let name = name_from(&name);
    let task = Arc::new(Task::build(INIT_PID, Arc::clone(&process), Some(stack), own, name));
    process.threads.lock().push(Arc::clone(&task));
    if !family::count_task() {
        return Err(OutOfMemory.into());
    }
    family::insert(Arc::clone(&process));
    start(task)?;
    Ok(process)
}
