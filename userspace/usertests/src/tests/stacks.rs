//! Signals for one thread, with a value, and handlers on a stack of their own.

use super::family;
use crate::calls::{self, raw};
use crate::check::{Outcome, check, equal, fails, ok};
use core::sync::atomic::{AtomicUsize, Ordering};
use lemma_rt::general::{
    __NR_get_robust_list, __NR_rt_sigtimedwait, __NR_rt_tgsigqueueinfo, __NR_set_robust_list,
    __NR_sigaltstack, __NR_tkill, SA_ONSTACK, SIGUSR1,
};
use lemma_rt::{Result, signal};

family!("stacks": to_a_thread, with_a_value, other_stack, other_stack_errors, robust_list);

fn tkill(tid: usize, signal: u32) -> Result<usize> {
    raw(__NR_tkill as usize, [tid, signal as usize, 0, 0, 0, 0])
}

fn to_a_thread() -> Outcome {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: i32) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler changes an atomic.
    ok!(unsafe { signal::set_handler(SIGUSR1 as i32, count as *const () as usize, 0, 0) });
    let own = ok!(calls::gettid()) as usize;
    equal!(tkill(own, SIGUSR1), Ok(0));
    equal!(COUNT.load(Ordering::Relaxed), 1);
    // Signal 0 only asks.
    equal!(tkill(own, 0), Ok(0));
    fails!(tkill(0, SIGUSR1), INVAL);
    fails!(tkill(usize::MAX, SIGUSR1), INVAL);
    fails!(tkill(own, 65), INVAL);
    fails!(tkill(4_000_000, SIGUSR1), SRCH);
    Ok(())
}

fn queue(group: usize, tid: usize, signal: u32, info: &[u64; 16]) -> Result<usize> {
    let info = info.as_ptr() as usize;
    raw(__NR_rt_tgsigqueueinfo as usize, [group, tid, signal as usize, info, 0, 0])
}

fn with_a_value() -> Outcome {
    const QUEUED: u64 = -1i32 as u32 as u64;
    let (own, tid) = (calls::getpid() as usize, ok!(calls::gettid()) as usize);
    let mask = 1u64 << (SIGUSR1 - 1);
    ok!(signal::set_mask(0, mask));
    let mut info = [0u64; 16];
    (info[1], info[2], info[3]) = (QUEUED, 77 | 88 << 32, 0x1234_5678_9abc);
    equal!(queue(own, tid, SIGUSR1, &info), Ok(0));
    let mut found = [0u64; 16];
    let arguments = [(&raw const mask) as usize, found.as_mut_ptr() as usize, 0, 8, 0, 0];
    equal!(raw(__NR_rt_sigtimedwait as usize, arguments), Ok(SIGUSR1 as usize));
    // SAFETY: the array lives; the kernel has written into it.
    let found = unsafe { found.as_ptr().cast::<[u64; 16]>().read_volatile() };
    equal!(found[0] as u32, SIGUSR1);
    equal!((found[1] & 0xffff_ffff, found[2], found[3]), (info[1], info[2], info[3]));
    fails!(queue(0, tid, SIGUSR1, &info), INVAL);
    fails!(queue(own, 0, SIGUSR1, &info), INVAL);
    fails!(queue(own, 4_000_000, SIGUSR1, &info), SRCH);
    fails!(queue(own, tid, 65, &info), INVAL);
    fails!(raw(__NR_rt_tgsigqueueinfo as usize, [own, tid, 0, 8, 0, 0]), FAULT);
    // What the kernel says of a signal, a process cannot say to another one.
    let parent = ok!(calls::getppid()) as usize;
    fails!(queue(parent, parent, 0, &[0; 16]), PERM);
    Ok(())
}

/// `sigaltstack`: the address, the flags and the size.
fn stack(new: Option<[u64; 3]>) -> Result<[u64; 3]> {
    let mut old = [0u64; 3];
    let new = new.as_ref().map_or(0, |new| core::ptr::from_ref(new) as usize);
    raw(__NR_sigaltstack as usize, [new, old.as_mut_ptr() as usize, 0, 0, 0, 0])?;
    // SAFETY: the array lives; the kernel has written into it.
    let [start, flags, size] = unsafe { old.as_ptr().cast::<[u64; 3]>().read_volatile() };
    // The upper half of the flags is padding.
    Ok([start, flags & u64::from(u32::MAX), size])
}

const SIZE: usize = 64 << 10;
const ON_STACK: u64 = 1;
const DISABLED: u64 = 2;

/// Where a handler ran, what it was told of its stack, and whether it could change that.
static PLACE: AtomicUsize = AtomicUsize::new(0);
static FLAGS: AtomicUsize = AtomicUsize::new(0);
static CHANGED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn look(_: i32) {
    let here = 0u8;
    PLACE.store((&raw const here) as usize, Ordering::Relaxed);
    FLAGS.store(stack(None).map_or(99, |[_, flags, _]| flags as usize), Ordering::Relaxed);
    let refused = stack(Some([0, DISABLED, 0])) == Err(lemma_rt::Errno::PERM);
    CHANGED.store(usize::from(!refused), Ordering::Relaxed);
}

fn other_stack() -> Outcome {
    let handler = look as *const () as usize;
    let flags = SA_ONSTACK as usize;
    // SAFETY: the handler changes atomics, and makes calls that change no memory.
    ok!(unsafe { signal::set_handler(SIGUSR1 as i32, handler, flags, 0) });
    let tid = ok!(calls::gettid()) as usize;
    equal!(ok!(stack(None))[1], DISABLED);
    let memory = ok!(calls::map(SIZE));
    let new = [memory as u64, 0, SIZE as u64];
    ok!(stack(Some(new)));
    equal!(stack(None), Ok(new));
    ok!(tkill(tid, SIGUSR1));
    let place = PLACE.load(Ordering::Relaxed);
    check!((memory..memory + SIZE).contains(&place), " {place:x}, not in {memory:x}");
    equal!(FLAGS.load(Ordering::Relaxed) as u64, ON_STACK);
    equal!(CHANGED.load(Ordering::Relaxed), 0);
    // Outside of the handler it can be taken away; then the ordinary stack serves.
    equal!(stack(Some([0, DISABLED, 0])), Ok(new));
    ok!(tkill(tid, SIGUSR1));
    let place = PLACE.load(Ordering::Relaxed);
    check!(!(memory..memory + SIZE).contains(&place), " {place:x}, in {memory:x}");
    equal!(FLAGS.load(Ordering::Relaxed) as u64, DISABLED);
    Ok(())
}

fn other_stack_errors() -> Outcome {
    let memory = ok!(calls::map(SIZE)) as u64;
    fails!(stack(Some([memory, 0, 100])), NOMEM);
    fails!(stack(Some([memory, 5, SIZE as u64])), INVAL);
    fails!(raw(__NR_sigaltstack as usize, [8, 0, 0, 0, 0, 0]), FAULT);
    fails!(raw(__NR_sigaltstack as usize, [0, 8, 0, 0, 0, 0]), FAULT);
    equal!(ok!(stack(None))[1], DISABLED);
    Ok(())
}

/// The list of a thread's locks is kept as it was given.
fn robust_list() -> Outcome {
    let set =
        |head: usize, length: usize| raw(__NR_set_robust_list as usize, [head, length, 0, 0, 0, 0]);
    // An empty list: its head leads to itself.
    let mut head = [0usize; 3];
    head[0] = head.as_ptr() as usize;
    let address = head.as_ptr() as usize;
    ok!(set(address, 24));
    fails!(set(address, 23), INVAL);
    let (mut found, mut length) = (0usize, 0usize);
    let room = [(&raw mut found) as usize, (&raw mut length) as usize];
    let get = |tid: usize, room: [usize; 2]| {
        raw(__NR_get_robust_list as usize, [tid, room[0], room[1], 0, 0, 0])
    };
    for tid in [0, ok!(calls::gettid()) as usize] {
        ok!(get(tid, room));
        equal!((found, length), (address, 24));
    }
    fails!(get(4_000_000, room), SRCH);
    fails!(get(0, [8, room[1]]), FAULT);
    ok!(set(0, 24));
    Ok(())
}
