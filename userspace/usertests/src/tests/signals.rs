//! Signals: handlers, masks, interruption, what ends and stops processes.

use super::family;
use super::proc::sleeps;
use crate::calls::{self, in_child};
use crate::check::{Failure, Outcome, check, equal, fails, mostly, ok};
use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use lemma_rt::general::{
    __NR_rt_sigqueueinfo, __NR_rt_sigtimedwait, SA_NODEFER, SA_RESETHAND, SA_RESTART, SA_SIGINFO,
    SIGALRM, SIGCHLD, SIGCONT, SIGINT, SIGKILL, SIGSEGV, SIGSTOP, SIGTERM, SIGUSR1, SIGUSR2,
    timespec,
};
use lemma_rt::{signal, sys};

family!("signals":
    handled, default_kills, ignored, blocked, pending_once, mask_during_handler, reset_hand,
    information, interrupts_sleep, restarts_read, interrupts_read, child_signal, kill_errors,
    groups, stop_and_continue, continue_undoes_stop, fault_handled, registers_survive, suspended, inherited, action_errors,
    action_layout, sleeps_on_after_stop, poll_with_mask, real_time_queue, awaited, queue_errors
);

static COUNT: AtomicUsize = AtomicUsize::new(0);
static LAST: AtomicI32 = AtomicI32::new(0);
static NESTED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(number: i32) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    LAST.store(number, Ordering::Relaxed);
}

fn handle(number: u32, flags: u32, mask: u64) -> lemma_rt::Result<()> {
    // SAFETY: the handler changes atomics, no more.
    unsafe { signal::set_handler(number as i32, count as *const () as usize, flags as usize, mask) }
}

/// Sends a signal to this process, whose handler changes memory: a wrapper that tells the compiler
/// otherwise, as `rustix`'s of `kill` does, would let it read what was there before.
fn raise(number: u32) -> lemma_rt::Result<()> {
    let kill = lemma_rt::general::__NR_kill as usize;
    calls::raw(kill, [calls::getpid() as usize, number as usize, 0, 0, 0, 0]).map(drop)
}

fn counted() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// The bit of a signal in a mask.
const fn bit(number: u32) -> u64 {
    1 << (number - 1)
}

fn handled() -> Outcome {
    ok!(handle(SIGUSR1, 0, 0));
    for round in 1..=10 {
        ok!(raise(SIGUSR1));
        equal!(counted(), round);
    }
    equal!(LAST.load(Ordering::Relaxed), SIGUSR1 as i32);
    ok!(calls::tgkill(calls::getpid(), ok!(calls::gettid()), SIGUSR1));
    equal!(counted(), 11);
    Ok(())
}

fn default_kills() -> Outcome {
    for number in [SIGTERM, SIGINT, SIGKILL, SIGUSR1, SIGALRM, 1, 3, 6] {
        let status = ok!(in_child(|| {
            // Who started us may have had it ignored, as nohup(1) does; SIGKILL cannot be.
            let _ = signal::reset(number as i32);
            let _ = raise(number);
            0
        }));
        equal!(status.signaled(), Some(number as i32));
    }
    // These do nothing by default.
    for number in [SIGCHLD, SIGCONT, 23, 28] {
        let status = ok!(in_child(|| {
            let _ = raise(number);
            5
        }));
        equal!(status.exited(), Some(5));
    }
    Ok(())
}

fn ignored() -> Outcome {
    ok!(signal::ignore(SIGTERM as i32));
    ok!(raise(SIGTERM));
    ok!(signal::reset(SIGTERM as i32));
    // SIGKILL and SIGSTOP cannot be ignored.
    fails!(signal::ignore(SIGKILL as i32), INVAL);
    fails!(signal::ignore(SIGSTOP as i32), INVAL);
    Ok(())
}

fn blocked() -> Outcome {
    ok!(handle(SIGUSR1, 0, 0));
    equal!(signal::set_mask(0, bit(SIGUSR1)), Ok(0));
    ok!(raise(SIGUSR1));
    equal!(counted(), 0);
    let mut pending = 0;
    ok!(calls::rt_sigpending(&mut pending, 8));
    equal!(pending, bit(SIGUSR1));
    equal!(signal::set_mask(1, bit(SIGUSR1)), Ok(bit(SIGUSR1)));
    equal!(counted(), 1);
    // These cannot be blocked.
    ok!(signal::set_mask(2, u64::MAX));
    equal!(signal::set_mask(2, 0), Ok(!(bit(SIGKILL) | bit(SIGSTOP))));
    fails!(signal::set_mask(7, 0), INVAL);
    Ok(())
}

fn pending_once() -> Outcome {
    ok!(handle(SIGUSR1, 0, 0));
    ok!(signal::set_mask(0, bit(SIGUSR1)));
    for _ in 0..5 {
        ok!(raise(SIGUSR1));
    }
    ok!(signal::set_mask(2, 0));
    equal!(counted(), 1);
    Ok(())
}

extern "C" fn nested(number: i32) {
    // Raised again inside its handler, it comes after it.
    let depth = COUNT.fetch_add(1, Ordering::Relaxed);
    if depth == 0 {
        let _ = raise(number as u32);
        if COUNT.load(Ordering::Relaxed) != 1 {
            NESTED.store(1, Ordering::Relaxed);
        }
    }
}

fn mask_during_handler() -> Outcome {
    let address = nested as *const () as usize;
    // SAFETY: the handler makes system calls and changes atomics.
    ok!(unsafe { signal::set_handler(SIGUSR1 as i32, address, 0, 0) });
    ok!(raise(SIGUSR1));
    equal!((counted(), NESTED.load(Ordering::Relaxed)), (2, 0));
    // With SA_NODEFER it comes at once.
    COUNT.store(0, Ordering::Relaxed);
    // SAFETY: the same.
    ok!(unsafe { signal::set_handler(SIGUSR1 as i32, address, SA_NODEFER as usize, 0) });
    ok!(raise(SIGUSR1));
    equal!((counted(), NESTED.load(Ordering::Relaxed)), (2, 1));
    Ok(())
}

fn reset_hand() -> Outcome {
    ok!(handle(SIGUSR1, SA_RESETHAND, 0));
    ok!(raise(SIGUSR1));
    equal!(counted(), 1);
    let status = ok!(in_child(|| {
        let _ = raise(SIGUSR1);
        0
    }));
    equal!(status.signaled(), Some(SIGUSR1 as i32));
    Ok(())
}

static SENDER: AtomicI32 = AtomicI32::new(0);

extern "C" fn informed(number: i32, information: *const i32, _: *const u8) {
    // SAFETY: the kernel's siginfo: number, error, code, padding, then the sender's pid.
    let (own, sender) = unsafe { (information.read(), information.add(4).read()) };
    if own == number {
        SENDER.store(sender, Ordering::Relaxed);
    }
}

fn information() -> Outcome {
    let address = informed as *const () as usize;
    // SAFETY: the handler reads what the kernel gives it.
    ok!(unsafe { signal::set_handler(SIGUSR1 as i32, address, SA_SIGINFO as usize, 0) });
    let me = calls::getpid();
    let Some(pid) = ok!(sys::fork()) else {
        let sent = sys::kill(me, SIGUSR1 as i32);
        sys::exit(i32::from(sent.is_err()));
    };
    equal!(ok!(sys::wait_for(pid)).code(), 0);
    equal!(SENDER.load(Ordering::Relaxed), pid);
    Ok(())
}

/// A child that sends a signal to this process when that waits, and ends some time after.
fn send_later(number: u32) -> lemma_rt::Result<i32> {
    let me = calls::getpid();
    match sys::fork()? {
        Some(pid) => Ok(pid),
        None => {
            let waits = sleeps(&format!("{me}")).is_ok();
            let _ = sys::kill(me, number as i32);
            calls::pause_for(100);
            sys::exit(if waits { 3 } else { 4 })
        }
    }
}

fn interrupts_sleep() -> Outcome {
    ok!(handle(SIGUSR1, 0, 0));
    let pid = ok!(send_later(SIGUSR1));
    let mut left = timespec { tv_sec: 0, tv_nsec: 0 };
    fails!(calls::nanosleep(&timespec { tv_sec: 600, tv_nsec: 0 }, &mut left), INTR);
    equal!(counted(), 1);
    check!((480..600).contains(&left.tv_sec), " left: {}", left.tv_sec);
    equal!(ok!(sys::wait_for(pid)).code(), 3);
    Ok(())
}

fn restarts_read() -> Outcome {
    ok!(handle(SIGUSR1, SA_RESTART, 0));
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    let me = calls::getpid();
    let Some(pid) = ok!(sys::fork()) else {
        let waits = sleeps(&format!("{me}"));
        let _ = sys::kill(me, SIGUSR1 as i32);
        calls::pause_for(100);
        let _ = calls::write(ends[1], b"x");
        sys::exit(i32::from(waits.is_err()))
    };
    let mut byte = [0];
    equal!(calls::read(ends[0], &mut byte), Ok(1));
    equal!((counted(), &byte), (1, b"x"));
    equal!(ok!(sys::wait_for(pid)).code(), 0);
    // wait4 goes on as well.
    let pid = ok!(send_later(SIGUSR1));
    let mut status = 0;
    equal!(calls::wait4(pid, &mut status, 0), Ok(pid));
    equal!((counted(), status), (2, 3 << 8));
    Ok(())
}

fn interrupts_read() -> Outcome {
    ok!(handle(SIGUSR1, 0, 0));
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    let pid = ok!(send_later(SIGUSR1));
    fails!(calls::read(ends[0], &mut [0]), INTR);
    // Ignored signals interrupt nothing.
    equal!(ok!(sys::wait_for(pid)).code(), 3);
    ok!(signal::ignore(SIGUSR1 as i32));
    let pid = ok!(send_later(SIGUSR1));
    let mut status = 0;
    equal!(calls::wait4(pid, &mut status, 0), Ok(pid));
    equal!(status, 3 << 8);
    Ok(())
}

fn child_signal() -> Outcome {
    ok!(handle(SIGCHLD, SA_RESTART, 0));
    equal!(ok!(in_child(|| 0)).code(), 0);
    equal!(counted(), 1);
    // Ignored, children leave no status behind.
    ok!(signal::ignore(SIGCHLD as i32));
    let Some(pid) = ok!(sys::fork()) else { sys::exit(0) };
    fails!(sys::wait(pid, 0), CHILD);
    Ok(())
}

fn kill_errors() -> Outcome {
    fails!(sys::kill(i32::MAX, 0), SRCH);
    fails!(sys::kill(calls::getpid(), 65), INVAL);
    fails!(sys::kill(calls::getpid(), -1), INVAL);
    ok!(sys::kill(calls::getpid(), 0));
    fails!(calls::tgkill(calls::getpid(), i32::MAX, 0), SRCH);
    fails!(calls::tgkill(calls::getpid(), -1, 0), INVAL);
    Ok(())
}

fn groups() -> Outcome {
    let Some(pid) = ok!(sys::fork()) else {
        let _ = calls::setpgid(0, 0);
        let child = match sys::fork() {
            Ok(Some(child)) => child,
            _ => {
                calls::pause_for(20_000);
                sys::exit(0)
            }
        };
        // The group gets it, its parent does not matter.
        let _ = signal::ignore(SIGTERM as i32);
        let _ = sys::kill(0, SIGTERM as i32);
        let ended = sys::wait_for(child).map(|status| status.signaled());
        sys::exit(i32::from(ended != Ok(Some(SIGTERM as i32))))
    };
    equal!(ok!(sys::wait_for(pid)).code(), 0);
    Ok(())
}

fn stop_and_continue() -> Outcome {
    const WUNTRACED: u32 = 2;
    const WCONTINUED: u32 = 8;
    let shared = ok!(calls::map_shared(4096));
    let Some(pid) = ok!(sys::fork()) else {
        loop {
            calls::poke(shared, calls::peek(shared).wrapping_add(1));
            calls::pause_for(1);
        }
    };
    while calls::peek(shared) == 0 {
        calls::pause_for(1);
    }
    ok!(sys::kill(pid, SIGSTOP as i32));
    let mut status = 0;
    equal!(calls::wait4(pid, &mut status, WUNTRACED), Ok(pid));
    equal!(sys::Status(status).stopped(), Some(SIGSTOP as i32));
    let before = calls::peek(shared);
    calls::pause_for(50);
    equal!(calls::peek(shared), before);
    ok!(sys::kill(pid, SIGCONT as i32));
    equal!(calls::wait4(pid, &mut status, WCONTINUED), Ok(pid));
    equal!(status, 0xffff);
    while calls::peek(shared) == before {
        calls::pause_for(1);
    }
    ok!(sys::kill(pid, SIGKILL as i32));
    equal!(ok!(sys::wait_for(pid)).signaled(), Some(SIGKILL as i32));
    Ok(())
}

/// `SIGCONT` undoes every stop that was sent before it, be it pending or about to be done.
fn continue_undoes_stop() -> Outcome {
    let shared = ok!(calls::map_shared(4096));
    let Some(pid) = ok!(sys::fork()) else {
        loop {
            calls::poke(shared, calls::peek(shared).wrapping_add(1));
            let _ = calls::getppid();
        }
    };
    for _ in 0..300 {
        for _ in 0..10 {
            ok!(sys::kill(pid, SIGSTOP as i32));
            ok!(sys::kill(pid, SIGCONT as i32));
        }
        let before = calls::peek(shared);
        let mut left = 60_000;
        while calls::peek(shared) == before && left > 0 {
            calls::pause_for(1);
            left -= 1;
        }
        check!(left > 0, ": it stays stopped");
    }
    ok!(sys::kill(pid, SIGKILL as i32));
    equal!(ok!(sys::wait_for(pid)).signaled(), Some(SIGKILL as i32));
    Ok(())
}

static FAULT_PAGE: AtomicUsize = AtomicUsize::new(0);

extern "C" fn repair(_: i32, information: *const usize, _: *const u8) {
    // SAFETY: the kernel's siginfo; the fault's address follows 16 bytes.
    let address = unsafe { information.add(2).read() };
    COUNT.store(address, Ordering::Relaxed);
    let page = FAULT_PAGE.load(Ordering::Relaxed);
    let _ = calls::mprotect(page, 4096, 3);
}

/// A handler may mend what caused a fault; the instruction is then repeated.
fn fault_handled() -> Outcome {
    let page = ok!(calls::map(4096));
    ok!(calls::mprotect(page, 4096, 1));
    FAULT_PAGE.store(page, Ordering::Relaxed);
    let address = repair as *const () as usize;
    // SAFETY: the handler makes a system call and changes atomics.
    ok!(unsafe { signal::set_handler(SIGSEGV as i32, address, SA_SIGINFO as usize, 0) });
    calls::poke(page + 123, 9);
    equal!(calls::peek(page + 123), 9);
    equal!(counted(), page + 123);
    // Blocked, a fault kills all the same.
    ok!(calls::mprotect(page, 4096, 1));
    let status = ok!(in_child(|| {
        let _ = signal::set_mask(0, bit(SIGSEGV));
        calls::poke(page, 1);
        0
    }));
    equal!(status.signaled(), Some(SIGSEGV as i32));
    Ok(())
}

/// Signals in the middle of a computation do not change it.
fn registers_survive() -> Outcome {
    extern "C" fn disturb(_: i32) {
        // Uses vector registers, as compilers like to.
        let mut values = [0.0f64; 16];
        for (index, value) in values.iter_mut().enumerate() {
            *value = core::hint::black_box(index as f64) * 1.5;
        }
        core::hint::black_box(values);
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
    let address = disturb as *const () as usize;
    // SAFETY: the handler computes and changes an atomic.
    ok!(unsafe { signal::set_handler(SIGUSR1 as i32, address, SA_RESTART as usize, 0) });
    let compute = || {
        let (mut sum, mut product, mut hash) = (0.0f64, 1.0f64, 17u64);
        for index in 0..3_000_000u64 {
            sum += index as f64 * 0.5;
            product *= 1.000_000_1;
            hash = hash.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(index);
        }
        (sum.to_bits(), product.to_bits(), hash)
    };
    let expected = compute();
    let me = calls::getpid();
    let Some(pid) = ok!(sys::fork()) else {
        for _ in 0..200 {
            let _ = sys::kill(me, SIGUSR1 as i32);
            calls::pause_for(1);
        }
        sys::exit(0)
    };
    let mut rounds = 0;
    let mut status = 0;
    while calls::wait4(pid, &mut status, lemma_rt::general::WNOHANG) == Ok(0) && rounds < 1000 {
        equal!(compute(), expected);
        rounds += 1;
    }
    check!(counted() > 0);
    Ok(())
}

fn suspended() -> Outcome {
    ok!(handle(SIGUSR2, 0, 0));
    ok!(signal::set_mask(0, bit(SIGUSR2)));
    let pid = ok!(send_later(SIGUSR2));
    fails!(calls::rt_sigsuspend(&0, 8), INTR);
    equal!(counted(), 1);
    // Afterwards it is blocked again.
    equal!(signal::set_mask(2, 0), Ok(bit(SIGUSR2)));
    equal!(ok!(sys::wait_for(pid)).code(), 3);
    fails!(calls::rt_sigsuspend(&0, 7), INVAL);
    Ok(())
}

fn inherited() -> Outcome {
    ok!(handle(SIGUSR1, 0, 0));
    ok!(signal::set_mask(0, bit(SIGUSR2)));
    let status = ok!(in_child(|| {
        let _ = raise(SIGUSR1);
        let handled = counted() == 1;
        let blocked = signal::set_mask(0, 0) == Ok(bit(SIGUSR2));
        i32::from(!(handled && blocked))
    }));
    equal!(status.code(), 0);
    equal!(counted(), 0);
    // What is pending is not inherited.
    ok!(raise(SIGUSR2));
    let status = ok!(in_child(|| {
        let mut pending = 0;
        let _ = calls::rt_sigpending(&mut pending, 8);
        i32::from(pending != 0)
    }));
    equal!(status.code(), 0);
    Ok(())
}

fn action_errors() -> Outcome {
    let number = lemma_rt::general::__NR_rt_sigaction as usize;
    fails!(calls::raw(number, [0, 0, 0, 8, 0, 0]), INVAL);
    fails!(calls::raw(number, [65, 0, 0, 8, 0, 0]), INVAL);
    fails!(calls::raw(number, [10, 0, 0, 4, 0, 0]), INVAL);
    fails!(calls::raw(number, [10, 8, 0, 8, 0, 0]), FAULT);
    fails!(calls::raw(number, [10, 0, 8, 8, 0, 0]), FAULT);
    equal!(calls::raw(number, [10, 0, 0, 8, 0, 0]), Ok(0));
    Ok(())
}

/// `rt_sigaction` writes the structure of this machine's headers, and not a word more.
fn action_layout() -> Outcome {
    const CANARY: u64 = 0x1122_3344_5566_7788;
    let number = lemma_rt::general::__NR_rt_sigaction as usize;
    let address = nested_other as *const () as usize;
    // SAFETY: the handler makes system calls and changes atomics.
    ok!(unsafe { signal::set_handler(SIGUSR1 as i32, address, 0, bit(SIGUSR2)) });
    ok!(handle(SIGUSR2, 0, 0));
    let mut old = [CANARY; 8];
    let at = old.as_mut_ptr() as usize;
    equal!(calls::raw(number, [SIGUSR1 as usize, 0, at, 8, 0, 0]), Ok(0));
    let words = size_of::<lemma_rt::general::kernel_sigaction>() / 8;
    equal!(old[0], address as u64);
    equal!(old[words - 1], bit(SIGUSR2));
    equal!(old[words..], [CANARY; 8][words..]);
    // The mask is in force during the handler, which raises the other signal.
    ok!(raise(SIGUSR1));
    equal!((counted(), NESTED.load(Ordering::Relaxed)), (1, 0));
    Ok(())
}

extern "C" fn nested_other(_: i32) {
    let _ = raise(SIGUSR2);
    NESTED.store(counted(), Ordering::Relaxed);
}

/// Stopping and continuing a process does not end its sleep, nor lengthen it.
fn sleeps_on_after_stop() -> Outcome {
    mostly(stop_sleepers)
}

/// Stops and continues two that sleep, and looks how long each does.
fn stop_sleepers() -> Result<Result<(), String>, Failure> {
    let mut longest = 0;
    let start = calls::monotonic();
    let mut sleepers = [0; 2];
    for (pid, poll) in sleepers.iter_mut().zip([false, true]) {
        *pid = match ok!(sys::fork()) {
            Some(pid) => pid,
            None if poll => sys::exit(match calls::poll(&mut [], 1500) {
                Ok(0) => 0,
                Ok(_) => 1,
                Err(error) => error.raw_os_error(),
            }),
            None => {
                let (time, mut left) = (milliseconds(1500), milliseconds(0));
                let slept = calls::nanosleep(&time, &mut left);
                sys::exit(slept.map_or_else(|error| error.raw_os_error(), |_| 0));
            }
        };
    }
    for number in [SIGSTOP, SIGCONT, SIGSTOP, SIGCONT] {
        calls::pause_for(250);
        for pid in sleepers {
            ok!(sys::kill(pid, number as i32));
        }
    }
    let continued = calls::monotonic() - start;
    for pid in sleepers {
        equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
        let lasted = calls::monotonic() - start;
        // Begun anew, it would last 1.5 s from then, and without that half a second.
        check!(lasted >= 1_500_000_000, ": {lasted} ns");
        longest = longest.max(lasted);
    }
    let in_time = longest < continued + 1_400_000_000;
    Ok(if in_time { Ok(()) } else { Err(format!("continued at {continued}, awake at {longest}")) })
}

fn milliseconds(count: i64) -> timespec {
    timespec { tv_sec: count / 1000, tv_nsec: count % 1000 * 1_000_000 }
}

/// `ppoll` lets signals through while it waits that are blocked before and after.
fn poll_with_mask() -> Outcome {
    ok!(handle(SIGUSR1, SA_RESTART, 0));
    ok!(signal::set_mask(2, bit(SIGUSR1)));
    // One that waits already.
    ok!(raise(SIGUSR1));
    equal!(counted(), 0);
    let mut left = milliseconds(9000);
    fails!(calls::ppoll(&mut [], Some(&mut left), Some(0)), INTR);
    equal!(counted(), 1);
    check!((1..9).contains(&left.tv_sec), ": {left:?}");
    // The old mask is there again, also when no signal came.
    equal!(signal::set_mask(0, 0), Ok(bit(SIGUSR1)));
    let mut left = milliseconds(20);
    equal!(calls::ppoll(&mut [], Some(&mut left), Some(0)), Ok(0));
    equal!((left.tv_sec, left.tv_nsec), (0, 0));
    equal!(signal::set_mask(0, 0), Ok(bit(SIGUSR1)));
    equal!(counted(), 1);
    // What the given mask blocks has to wait; what is ready is told at once.
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    ok!(calls::write(ends[1], b"x"));
    ok!(raise(SIGUSR1));
    equal!(calls::ppoll(&mut [(ends[0], 1)], None, Some(bit(SIGUSR1))), Ok(1));
    equal!(counted(), 1);
    ok!(signal::set_mask(2, 0));
    equal!(counted(), 2);
    fails!(calls::ppoll_raw(0, 0, 0, &raw const COUNT as usize, 4), INVAL);
    Ok(())
}

/// Sends a signal with a value to this process.
fn queue(number: u32, value: u64) -> lemma_rt::Result<usize> {
    const SI_QUEUE: u64 = -1i32 as u32 as u64;
    let info = [u64::from(number), SI_QUEUE, calls::getpid() as u64, value];
    // The kernel reads all of the structure.
    let mut whole = [0u64; 16];
    whole[..4].copy_from_slice(&info);
    let arguments = [calls::getpid() as usize, number as usize, whole.as_ptr() as usize, 0, 0, 0];
    calls::raw(__NR_rt_sigqueueinfo as usize, arguments)
}

/// Waits for one of the signals in `set`, at most so many milliseconds: its number and value.
fn wait_for(set: u64, most: i64) -> lemma_rt::Result<(usize, u64)> {
    let time = milliseconds(most);
    let mut info = [0u64; 16];
    let (set, info_at) = (core::ptr::from_ref(&set) as usize, info.as_mut_ptr() as usize);
    let arguments = [set, info_at, core::ptr::from_ref(&time) as usize, 8, 0, 0];
    let number = calls::raw(__NR_rt_sigtimedwait as usize, arguments)?;
    Ok((number, info[3]))
}

/// A real-time signal that no library uses.
const REAL_TIME: u32 = 40;

fn real_time_queue() -> Outcome {
    ok!(handle(REAL_TIME, 0, 0));
    ok!(signal::set_mask(0, bit(REAL_TIME)));
    for _ in 0..3 {
        ok!(raise(REAL_TIME));
    }
    ok!(signal::set_mask(2, 0));
    equal!(counted(), 3);
    // In order, each with its value.
    ok!(signal::set_mask(0, bit(REAL_TIME) | bit(REAL_TIME + 1)));
    ok!(queue(REAL_TIME + 1, 7));
    for value in [u64::MAX, 2, 3] {
        ok!(queue(REAL_TIME, value));
    }
    let both = bit(REAL_TIME) | bit(REAL_TIME + 1);
    for value in [u64::MAX, 2, 3] {
        equal!(wait_for(both, 0), Ok((REAL_TIME as usize, value)));
    }
    equal!(wait_for(both, 0), Ok((REAL_TIME as usize + 1, 7)));
    fails!(wait_for(both, 0), AGAIN);
    Ok(())
}

fn awaited() -> Outcome {
    // Blocked, or else the default action or the handler may come first.
    ok!(signal::set_mask(0, bit(SIGUSR1) | bit(SIGCHLD)));
    fails!(wait_for(bit(SIGUSR1), 5), AGAIN);
    ok!(raise(SIGUSR1));
    equal!(wait_for(bit(SIGUSR1), 60_000).map(|(number, _)| number), Ok(SIGUSR1 as usize));
    // It wakes who waits, though it is ignored by default.
    let (parent, child) = (calls::getpid(), ok!(sys::fork()));
    if child.is_none() {
        sys::exit(i32::from(sleeps(&format!("{parent}")).is_err()));
    }
    equal!(wait_for(bit(SIGCHLD), 60_000).map(|(number, _)| number), Ok(SIGCHLD as usize));
    equal!(ok!(sys::wait_for(child.unwrap_or(0))).exited(), Some(0));
    // Another signal's handler ends the wait.
    ok!(handle(SIGUSR2, 0, 0));
    let child = ok!(sys::fork());
    if child.is_none() {
        let waits = sleeps(&format!("{parent}")).is_ok();
        sys::exit(i32::from(!waits || sys::kill(parent, SIGUSR2 as i32).is_err()));
    }
    fails!(wait_for(bit(SIGUSR1), 60_000), INTR);
    equal!(counted(), 1);
    equal!(ok!(sys::wait_for(child.unwrap_or(0))).exited(), Some(0));
    Ok(())
}

fn queue_errors() -> Outcome {
    fails!(queue(65, 0), INVAL);
    equal!(queue(0, 0), Ok(0));
    // What the kernel says of a signal, a process cannot say to another one.
    let kernel = [0u64, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let to_init = [1, 0, kernel.as_ptr() as usize, 0, 0, 0];
    fails!(calls::raw(__NR_rt_sigqueueinfo as usize, to_init), PERM);
    let own = calls::getpid() as usize;
    fails!(calls::raw(__NR_rt_sigqueueinfo as usize, [own, 0, 1, 0, 0, 0]), FAULT);
    fails!(calls::raw(__NR_rt_sigtimedwait as usize, [1, 0, 0, 8, 0, 0]), FAULT);
    fails!(calls::raw(__NR_rt_sigtimedwait as usize, [0, 0, 0, 7, 0, 0]), INVAL);
    Ok(())
}
