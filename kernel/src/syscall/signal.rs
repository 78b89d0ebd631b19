//! Signals: `kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo rt_sigaction rt_sigprocmask
//! rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigreturn sigaltstack pause`.

use alloc::sync::Arc;

use kernel_abi::Errno;
use kernel_abi::machine::signal_action::SignalAction;

use super::time::read_timespec;
use super::{Frame, SyscallResult};
use crate::arch::abi::{self, MIN_SIGNAL_STACK};
use crate::arch::{SignalStack, TrapFrame};
use crate::mcore::mtask::delivery::{
    SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, info_words, is_on, return_from_handler,
};
use crate::mcore::mtask::family::{self, INIT_PID};
use crate::mcore::mtask::signal::{
    self, Action, SIGKILL, SIGNAL_LAST, SIGSTOP, SignalInfo, exchange_action, mask, set_mask,
};
use crate::mcore::{Process, WaitQueue, current, now_ns};
use crate::mem::user::{read_user, write_user};

/// Bytes of the kernel's `sigset_t`.
const SET_BYTES: usize = 8;

fn signal_number(value: usize) -> Result<u32, Errno> {
    match u32::try_from(value) {
        Ok(signal) if signal <= SIGNAL_LAST => Ok(signal),
        _ => Err(Errno::EINVAL),
    }
}

fn check_permission(target: &Process) -> Result<(), Errno> {
    let credentials = current().process().credentials();
    if credentials.may_signal(&target.credentials()) { Ok(()) } else { Err(Errno::EPERM) }
}

/// `kill(2)`.
pub fn kill([pid, signal, ..]: [usize; 6]) -> SyscallResult {
    let signal = signal_number(signal)?;
    let task = current();
    let own = task.process();
    if pid as i32 > 0 && pid as u32 == own.pid() {
        signal::send(own, signal, SignalInfo::user(), None);
        return Ok(0);
    }
    let targets = match pid as i32 {
        0 => in_group(own.group()),
        -1 => {
            let mut all = family::list();
            all.retain(|process| process.pid() != INIT_PID && process.pid() != own.pid());
            all
        }
        pid if pid > 0 => {
            let target = family::process(pid as u32).ok_or(Errno::ESRCH)?;
            check_permission(&target)?;
            signal::send(&target, signal, SignalInfo::user(), None);
            return Ok(0);
        }
        i32::MIN => return Err(Errno::ESRCH),
        group => in_group(group.unsigned_abs()),
    };
    if targets.is_empty() {
        return Err(Errno::ESRCH);
    }
    let mut result = Err(Errno::EPERM);
    for target in &targets {
        if check_permission(target).is_ok() {
            signal::send(target, signal, SignalInfo::user(), None);
            result = Ok(0);
        }
    }
    result
}

fn in_group(group: u32) -> alloc::vec::Vec<Arc<Process>> {
    let mut all = family::list();
    all.retain(|process| process.group() == group);
    all
}

/// `tgkill(2)`.
pub fn tgkill([group, tid, signal, ..]: [usize; 6]) -> SyscallResult {
    if group as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    send_to_thread(Some(group as u32), tid, signal)
}

/// `tkill(2)`.
pub fn tkill([tid, signal, ..]: [usize; 6]) -> SyscallResult {
    send_to_thread(None, tid, signal)
}

fn send_to_thread(group: Option<u32>, tid: usize, signal: usize) -> SyscallResult {
    if tid as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    let signal = signal_number(signal)?;
    send_info_to_thread(group, tid as u32, signal, SignalInfo::thread())
}

fn send_info_to_thread(
    group: Option<u32>,
    tid: u32,
    signal: u32,
    info: SignalInfo,
) -> SyscallResult {
    let thread = family::thread(tid).ok_or(Errno::ESRCH)?;
    if group.is_some_and(|group| group != thread.pid()) {
        return Err(Errno::ESRCH);
    }
    check_permission(thread.process())?;
    let sent = signal::send(thread.process(), signal, info, Some(&thread));
    if sent { Ok(0) } else { Err(Errno::EAGAIN) }
}

/// What a caller says of a signal for `target`, a `siginfo_t`: its code, its sender, its value.
/// What the kernel says of signals, only the kernel may say, but to oneself.
fn info_from_user(address: usize, target: u32) -> Result<SignalInfo, Errno> {
    const TKILL: i32 = -6;
    let [_, code, sender, value] = read_user::<[u64; 4]>(address)?;
    let code = code as i32;
    if (code >= 0 || code == TKILL) && target != current().pid() {
        return Err(Errno::EPERM);
    }
    Ok(SignalInfo::queued(code, sender as u32, (sender >> 32) as u32, value as usize))
}

/// `rt_sigqueueinfo(2)`, which `sigqueue(3)` calls.
pub fn rt_sigqueueinfo([pid, signal, info, ..]: [usize; 6]) -> SyscallResult {
    let info = info_from_user(info, pid as u32)?;
    let signal = signal_number(signal)?;
    let target = family::process(pid as u32).ok_or(Errno::ESRCH)?;
    check_permission(&target)?;
    if signal::send(&target, signal, info, None) { Ok(0) } else { Err(Errno::EAGAIN) }
}

/// `rt_tgsigqueueinfo(2)`.
pub fn rt_tgsigqueueinfo([group, tid, signal, info, ..]: [usize; 6]) -> SyscallResult {
    if group as i32 <= 0 || tid as i32 <= 0 {
        return Err(Errno::EINVAL);
    }
    let info = info_from_user(info, group as u32)?;
    send_info_to_thread(Some(group as u32), tid as u32, signal_number(signal)?, info)
}

/// `rt_sigtimedwait(2)`: takes one of the signals of a set, and returns its number.
pub fn rt_sigtimedwait([set, info, time, set_bytes, ..]: [usize; 6]) -> SyscallResult {
    if set_bytes != SET_BYTES {
        return Err(Errno::EINVAL);
    }
    let wanted = read_user::<u64>(set)?;
    let deadline = match time {
        0 => u64::MAX,
        address => now_ns().saturating_add(read_timespec(address)?),
    };
    let (signal, taken) = signal::wait_for(wanted, deadline)?.ok_or(Errno::EAGAIN)?;
    if info != 0 {
        write_user(info, info_words(signal, &taken))?;
    }
    Ok(signal as usize)
}

/// `rt_sigaction(2)`.
pub fn rt_sigaction([signal, new, old, set_bytes, ..]: [usize; 6]) -> SyscallResult {
    if set_bytes != SET_BYTES {
        return Err(Errno::EINVAL);
    }
    let signal = signal_number(signal)?;
    if signal == 0 || (new != 0 && matches!(signal, SIGKILL | SIGSTOP)) {
        return Err(Errno::EINVAL);
    }
    let new = if new == 0 {
        None
    } else {
        let SignalAction { handler, flags, restorer, mask } =
            abi::signal_action(read_user::<abi::SignalActionWords>(new)?);
        let (handler, restorer) = (handler as usize, restorer as usize);
        Some(Action { handler, flags, restorer, mask })
    };
    let before = exchange_action(signal, new);
    if old != 0 {
        let Action { handler, flags, restorer, mask } = before;
        let (handler, restorer) = (handler as u64, restorer as u64);
        let action = SignalAction { handler, flags, restorer, mask };
        write_user(old, abi::signal_action_words(&action))?;
    }
    Ok(0)
}

/// `rt_sigprocmask(2)`.
pub fn rt_sigprocmask([how, set, old, set_bytes, ..]: [usize; 6]) -> SyscallResult {
    if set_bytes != SET_BYTES {
        return Err(Errno::EINVAL);
    }
    let before = mask();
    if set != 0 {
        let set = read_user::<u64>(set)?;
        let new = match how {
            0 => before | set,
            1 => before & !set,
            2 => set,
            _ => return Err(Errno::EINVAL),
        };
        set_mask(new);
    }
    if old != 0 {
        write_user(old, before)?;
    }
    Ok(0)
}

/// `rt_sigpending(2)`.
pub fn rt_sigpending([set, set_bytes, ..]: [usize; 6]) -> SyscallResult {
    if set_bytes > SET_BYTES {
        return Err(Errno::EINVAL);
    }
    let pending = (signal::pending() & mask()).to_ne_bytes();
    crate::mem::user::copy_to_user(set, pending.get(..set_bytes).unwrap_or_default())?;
    Ok(0)
}

/// Waits for a signal, and nothing else.
fn wait_for_signal() -> SyscallResult {
    static NOTHING: WaitQueue = WaitQueue::new();
    NOTHING.wait_until(|| None::<usize>).map_err(Errno::from)
}

/// `pause(2)`.
pub fn pause(_: [usize; 6]) -> SyscallResult {
    wait_for_signal()
}

/// `rt_sigsuspend(2)`.
pub fn rt_sigsuspend([set, set_bytes, ..]: [usize; 6]) -> SyscallResult {
    if set_bytes != SET_BYTES {
        return Err(Errno::EINVAL);
    }
    let set = read_user::<u64>(set)?;
    signal::suspend_with(set);
    wait_for_signal()
}

/// `rt_sigreturn(2)`.
pub fn rt_sigreturn(frame: &mut Frame, _: [usize; 6]) -> SyscallResult {
    return_from_handler(frame);
    // The register that holds a result is the interrupted program's own.
    Ok(frame.return_value())
}

/// `sigaltstack(2)`.
pub fn sigaltstack(frame: &mut Frame, [new, old, ..]: [usize; 6]) -> SyscallResult {
    let stack = signal::stack();
    let on_stack = is_on(&stack, frame.stack_pointer());
    let wanted = if new == 0 { None } else { Some(read_user::<[u64; 3]>(new)?) };
    if let Some([start, flags, size]) = wanted {
        if on_stack {
            return Err(Errno::EPERM);
        }
        let (start, flags, size) = (start as usize, flags as u32, size as usize);
        let new = match flags & !SS_AUTODISARM {
            SS_DISABLE => SignalStack::default(),
            0 | SS_ONSTACK if size < MIN_SIGNAL_STACK => return Err(Errno::ENOMEM),
            0 | SS_ONSTACK => SignalStack { start, size, flags: flags & SS_AUTODISARM },
            _ => return Err(Errno::EINVAL),
        };
        signal::set_stack(new);
    }
    if old != 0 {
        let state = if stack.size == 0 {
            SS_DISABLE
        } else if on_stack {
            SS_ONSTACK
        } else {
            0
        };
        let flags = u64::from(stack.flags | state);
        write_user(old, [stack.start as u64, flags, stack.size as u64])?;
    }
    Ok(0)
}
