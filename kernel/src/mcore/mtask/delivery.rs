//! Dealing with signals on the way to user mode: default actions, handlers, and the system
//! call that a signal interrupted.

use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;

use super::super::context::current;
use super::exit::end_thread;
use super::signal::{
    self, DEFAULT, DefaultAction, IGNORE, SA_NODEFER, SA_ONSTACK, SA_RESTART, SA_RESTORER, SIGCHLD,
    SIGSEGV, SignalInfo, Taken, UNBLOCKABLE, bit,
};
use crate::arch::{
    Arch, Architecture, SIGNAL_INFO_WORDS, SignalCall, SignalStack, TrapFrame, numbers as nr,
};
use crate::mem::signal_page;
use crate::mem::user::{copy_from_user_uninit, copy_to_user};

type Frame = <Arch as Architecture>::Frame;

/// `SS_ONSTACK`, `SS_DISABLE`, `SS_AUTODISARM`.
pub const SS_ONSTACK: u32 = 1;
pub const SS_DISABLE: u32 = 2;
pub const SS_AUTODISARM: u32 = 1 << 31;

/// `-EINTR` as a system call returns it.
const INTERRUPTED: usize = kernel_abi::Errno::EINTR.to_return_value();

/// Deals with what the running task was told to look at: its end, or signals. Interrupts are
/// on.
pub(super) fn deliver(frame: &mut Frame) {
    let task = current();
    // Read, too: what was done before it was set is seen by the looks that follow.
    task.attention.swap(false, Ordering::SeqCst);
    wait_while_stopped();
    if task.must_end() {
        end_thread();
    }
    let interrupted =
        task.private().interrupted.replace(false) && frame.return_value() == INTERRUPTED;
    let mut number = interrupted.then(|| frame.syscall().0);
    let mut waited_for_time = false;
    while let Some(taken) = signal::take() {
        if taken.action.handler > IGNORE {
            // A call that is made again after this begins to wait anew.
            waited_for_time |= task.private().wait_deadline.take().is_some();
        }
        if let Some(call) = number.take_if(|_| taken.action.handler > IGNORE)
            && taken.action.flags & SA_RESTART != 0
            && !waited_for_time
            && restarts(call)
        {
            frame.restart_syscall(call);
        }
        handle(frame, &taken);
        wait_while_stopped();
        if task.process().exit_status().is_some() {
            end_thread();
        }
    }
    // No handler has run: the system call goes on as if nothing had been, and one that waits
    // for a time waits for the rest of it (`wait_deadline`).
    if let Some(call) = number {
        frame.restart_syscall(call);
    }
    signal::end_suspension();
}

/// A thread of a stopped process goes no further until it is continued or has to end.
#[inline]
fn wait_while_stopped() {
    if current().process().is_stopped() {
        wait_for_continuation();
    }
}

#[cold]
fn wait_for_continuation() {
    let task = current();
    let process = task.process();
    process
        .stop_event
        .wait_uninterruptible(|| (!process.is_stopped() || task.must_end()).then_some(()));
}

/// Which system calls start again after a handler with `SA_RESTART` (`signal(7)`): all that
/// can be interrupted, but for those that wait for a signal or for a time. Those that may wait for
/// a time or without end, as `futex`, note the time when they are interrupted.
fn restarts(number: usize) -> bool {
    // An array, because a machine's Linux may lack some, all by the same number.
    const NEVER: [usize; 12] = [
        nr::PAUSE,
        nr::NANOSLEEP,
        nr::CLOCK_NANOSLEEP,
        nr::RT_SIGSUSPEND,
        nr::RT_SIGTIMEDWAIT,
        nr::POLL,
        nr::PPOLL,
        nr::SELECT,
        nr::PSELECT6,
        nr::EPOLL_WAIT,
        nr::EPOLL_PWAIT,
        nr::EPOLL_PWAIT2,
    ];
    !NEVER.contains(&number)
}

fn handle(frame: &mut Frame, taken: &Taken) {
    match taken.action.handler {
        IGNORE => {}
        DEFAULT => {
            let task = current();
            match signal::default_action(taken.signal) {
                DefaultAction::Ignore => {}
                DefaultAction::Terminate => {
                    signal::end_process(task.process(), taken.signal);
                }
                DefaultAction::Stop => signal::stop(task.process(), taken.signal),
            }
        }
        _ => {
            if !enter_handler(frame, taken) {
                // The stack is not there: what a handler for this could do, it could not.
                signal::end_process(current().process(), SIGSEGV);
            }
        }
    }
}

/// Whether a stack pointer is on an alternate stack.
pub fn is_on(stack: &SignalStack, pointer: usize) -> bool {
    stack.size != 0 && pointer.wrapping_sub(stack.start) < stack.size
}

fn enter_handler(frame: &mut Frame, taken: &Taken) -> bool {
    let task = current();
    let own = task.private();
    let action = &taken.action;
    let restorer = match signal_page::address() {
        _ if action.flags & SA_RESTORER != 0 => action.restorer,
        Some(address) => address,
        None => return false,
    };
    let stack = own.signal_stack.get();
    let on_stack = is_on(&stack, frame.stack_pointer());
    let switch = action.flags & SA_ONSTACK != 0 && stack.size != 0 && !on_stack;
    let mask = signal::mask();
    let flags = if stack.size == 0 { SS_DISABLE } else { stack.flags };
    let call = SignalCall {
        signal: taken.signal,
        info: info_beginning(taken.signal, &taken.info),
        handler: action.handler,
        restorer,
        mask: own.saved_mask.take().unwrap_or(mask),
        stack_top: switch.then(|| stack.start.wrapping_add(stack.size)),
        signal_stack: SignalStack { flags, ..stack },
    };
    let entered = Arch::push_signal_frame(frame, &call, &mut |address, bytes| {
        copy_to_user(address, bytes).is_ok()
    });
    if entered {
        if stack.flags & SS_AUTODISARM != 0 {
            own.signal_stack.set(SignalStack::default());
        }
        let own_bit = if action.flags & SA_NODEFER == 0 { bit(taken.signal) } else { 0 };
        signal::set_mask(mask | action.mask | own_bit);
    }
    entered
}

/// `rt_sigreturn(2)`: back to what the handler interrupted. `false` if the frame is not there;
/// then the process is ending.
pub fn return_from_handler(frame: &mut Frame) -> bool {
    let task = current();
    let own = task.private();
    let mut read = |address: usize, bytes: &mut [MaybeUninit<u8>]| {
        copy_from_user_uninit(bytes, address).is_ok()
    };
    // SAFETY: after a copy that succeeds, every byte is there.
    let popped = unsafe { Arch::pop_signal_frame(frame, &mut read) };
    let Some((mask, stack)) = popped else {
        signal::force(SIGSEGV, SignalInfo::KERNEL);
        return false;
    };
    signal::set_mask(mask & !UNBLOCKABLE);
    if stack.flags & SS_DISABLE == 0 && !is_on(&own.signal_stack.get(), frame.stack_pointer()) {
        let flags = stack.flags & SS_AUTODISARM;
        own.signal_stack.set(SignalStack { flags, ..stack });
    }
    true
}

/// `siginfo_t` as words.
pub fn info_words(signal: u32, info: &SignalInfo) -> [u64; 16] {
    let mut words = [0; 16];
    let (beginning, _) = words.split_at_mut(SIGNAL_INFO_WORDS);
    beginning.copy_from_slice(&info_beginning(signal, info));
    words
}

/// The words of `siginfo_t` that may be other than zero (`sigaction(2)`, "The siginfo_t argument";
/// the layout of 64-bit little-endian machines).
fn info_beginning(signal: u32, info: &SignalInfo) -> [u64; SIGNAL_INFO_WORDS] {
    let (number, code) = (u64::from(signal), u64::from(info.code as u32));
    let is_fault = info.code > 0 && info.code < 0x80 && signal != SIGCHLD;
    if is_fault {
        return [number, code, info.value as u64, 0];
    }
    let sender = u64::from(info.pid) | u64::from(info.uid) << 32;
    // What `sigqueue(3)` passes may be a pointer; a status is an `int`.
    let value = if info.code < 0 { info.value as u64 } else { u64::from(info.value as u32) };
    [number, code, sender, value]
}
