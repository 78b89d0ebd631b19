//! System calls: one door, [`dispatch_syscall`], and one table behind it.
//!
//! The architecture's entry code (interrupt 0x80 or the fast instruction) saves the user's
//! registers and calls [`dispatch_syscall`] with interrupts on. A handler decodes its
//! arguments, validates them, and only then changes anything; it returns the value for the
//! user or an [`Errno`]. Handlers stand in one file per family beside this one. A number that
//! is not in the table returns `ENOSYS`.
//!
//! Around the handler stand the hooks `sys_enter` and `sys_exit` (`crate::bpf::hooks`): with
//! no program attached each costs one load and one predicted branch.

pub mod errno;

use kernel_abi::Errno;

use crate::arch::{Arch, Architecture, TrapFrame, numbers as nr};

/// The user's registers on this machine.
pub type Frame = <Arch as Architecture>::Frame;

/// What a handler returns: the value for the user, or why not.
pub type SyscallResult = Result<usize, Errno>;

/// How a handler is called.
#[derive(Clone, Copy)]
enum Handler {
    /// Not implemented: `ENOSYS`.
    Missing,
    /// Needs its arguments only.
    Plain(fn([usize; 6]) -> SyscallResult),
    /// Reads or changes the user's registers too (`fork`, `execve`, `rt_sigreturn`).
    WithFrame(fn(&mut Frame, [usize; 6]) -> SyscallResult),
}

/// One more than the highest number in the table.
const TABLE_SIZE: usize = 470;

/// One line per system call: its number, and who handles it.
macro_rules! table {
    (plain { $($plain:ident => $plain_handler:path,)* } with_frame { $($frame:ident => $frame_handler:path,)* }) => {{
        let mut table = [Handler::Missing; TABLE_SIZE];
        $(table[nr::$plain] = Handler::Plain($plain_handler);)*
        $(table[nr::$frame] = Handler::WithFrame($frame_handler);)*
        table
    }};
}

static TABLE: [Handler; TABLE_SIZE] = table! {
    plain {
    }
    with_frame {
    }
};

/// Runs the system call that `frame` asks for and leaves its result in `frame`.
///
/// Interrupts are on; the caller is a user task on its own kernel stack.
pub fn dispatch_syscall(frame: &mut Frame) {
    let (number, args) = frame.syscall();
    let result = match TABLE.get(number) {
        Some(Handler::Plain(handler)) => handler(args),
        Some(Handler::WithFrame(handler)) => handler(frame, args),
        Some(Handler::Missing) | None => Err(Errno::ENOSYS),
    };
    frame.set_return(result.unwrap_or_else(Errno::to_return_value));
}

/// The numbers that this kernel implements, ascending.
pub fn implemented() -> impl Iterator<Item = usize> {
    TABLE
        .iter()
        .enumerate()
        .filter(|(_, handler)| !matches!(handler, Handler::Missing))
        .map(|(number, _)| number)
}
