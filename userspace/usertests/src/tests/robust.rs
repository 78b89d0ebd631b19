//! Futexes whose owner ends (`set_robust_list`).

use super::family;
use crate::calls::{self, in_child};
use crate::check::{Outcome, check, equal, ok};
use crate::shared::Shared;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use lemma_rt::general::{__NR_futex, __NR_set_robust_list};
use lemma_rt::sys;
use lemma_rt::thread::{futex_wait, futex_wake, spawn};

family!("robust": futexes_of_the_dead, odd_lists);

static REPLY: AtomicU32 = AtomicU32::new(0);
static GO: AtomicU32 = AtomicU32::new(0);

/// Bits of a futex word: others wait; the owner has died.
const WAITERS: u32 = 1 << 31;
const OWNER_DIED: u32 = 1 << 30;

/// An entry of a list of futexes that a thread holds, with its futex.
#[repr(C)]
struct Held {
    next: AtomicUsize,
    word: AtomicU32,
}

impl Held {
    const fn new() -> Self {
        Self { next: AtomicUsize::new(0), word: AtomicU32::new(0) }
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }
}

/// `struct robust_list_head`.
#[repr(C)]
struct Head {
    first: AtomicUsize,
    offset: AtomicUsize,
    pending: AtomicUsize,
}

static HEAD: Head = Head {
    first: AtomicUsize::new(0),
    offset: AtomicUsize::new(core::mem::offset_of!(Held, word)),
    pending: AtomicUsize::new(0),
};
static HELD: [Held; 4] = [const { Held::new() }; 4];

fn head() -> usize {
    &raw const HEAD as usize
}

fn set_list() -> bool {
    calls::raw(__NR_set_robust_list as usize, [head(), size_of::<Head>(), 0, 0, 0, 0]).is_ok()
}

fn own_tid() -> u32 {
    calls::gettid().unwrap_or(0) as u32
}

/// Takes two futexes, one of which somebody waits for; is about to take a third; has one of
/// another's in its list.
extern "C" fn dies_holding(_: usize) {
    let tid = own_tid();
    let [first, second, pending, other] = &HELD;
    first.word.store(tid | WAITERS, Ordering::Relaxed);
    second.word.store(tid, Ordering::Relaxed);
    pending.word.store(tid, Ordering::Relaxed);
    other.word.store(tid + 1, Ordering::Relaxed);
    HEAD.first.store(first.address(), Ordering::Relaxed);
    first.next.store(other.address(), Ordering::Relaxed);
    other.next.store(second.address(), Ordering::Relaxed);
    second.next.store(head(), Ordering::Relaxed);
    HEAD.pending.store(pending.address(), Ordering::Relaxed);
    REPLY.store(if set_list() { tid } else { u32::MAX }, Ordering::Release);
    futex_wake(&REPLY, 1);
    // Until the other thread waits, or is about to.
    while GO.load(Ordering::Acquire) == 0 {
        futex_wait(&GO, 0);
    }
    calls::pause_for(20);
}

/// Whoever waits for a futex whose owner ends is woken, and sees that he did.
fn futexes_of_the_dead() -> Outcome {
    let thread = ok!(spawn(dies_holding, 0));
    while REPLY.load(Ordering::Acquire) == 0 {
        futex_wait(&REPLY, 0);
    }
    let tid = REPLY.load(Ordering::Relaxed);
    check!(tid != u32::MAX);
    GO.store(1, Ordering::Release);
    futex_wake(&GO, 1);
    let [first, second, pending, other] = &HELD;
    while first.word.load(Ordering::Acquire) == tid | WAITERS {
        // Shared, as such futexes are.
        let word = first.word.as_ptr() as usize;
        let _ = calls::raw(__NR_futex as usize, [word, 0, (tid | WAITERS) as usize, 0, 0, 0]);
    }
    equal!(first.word.load(Ordering::Relaxed), OWNER_DIED | WAITERS);
    thread.join();
    equal!(second.word.load(Ordering::Relaxed), OWNER_DIED);
    equal!(pending.word.load(Ordering::Relaxed), OWNER_DIED);
    equal!(other.word.load(Ordering::Relaxed), tid + 1);
    Ok(())
}

/// Lists that lead in a circle, or nowhere, end; a program that is started leaves its
/// predecessor's futexes; nobody has the list of who made him.
fn odd_lists() -> Outcome {
    let shared: Shared<[AtomicU32; 1]> = ok!(Shared::new());
    let word = &shared.get()[0];
    let path = lemma_rt::rustix::fs::readlink("/proc/self/exe", alloc::vec::Vec::new());
    let path = path.unwrap_or_else(|_| c"/bin/usertests".into());
    let offset = core::ptr::from_ref(word) as usize - HELD[0].address();
    let hold = |next: usize| {
        HEAD.offset.store(offset, Ordering::Relaxed);
        HEAD.first.store(HELD[0].address(), Ordering::Relaxed);
        HELD[0].next.store(next, Ordering::Relaxed);
        word.store(own_tid(), Ordering::Relaxed);
        set_list()
    };
    for next in [HELD[0].address(), 8, usize::MAX - 7] {
        let status = ok!(in_child(|| i32::from(!hold(next))));
        equal!(status.exited(), Some(0));
        equal!(word.load(Ordering::Relaxed), OWNER_DIED);
    }
    // The head is not there at all.
    let number = __NR_set_robust_list as usize;
    let status = ok!(in_child(|| {
        i32::from(calls::raw(number, [16, size_of::<Head>(), 0, 0, 0, 0]).is_err())
    }));
    equal!(status.exited(), Some(0));
    let status = ok!(in_child(|| {
        if !hold(head()) {
            return 1;
        }
        // The child's own child does not hold it.
        let inner = in_child(|| 0).map(|status| status.exited());
        if inner != Ok(Some(0)) || word.load(Ordering::Relaxed) != own_tid() {
            return 2;
        }
        let pid = alloc::ffi::CString::new(alloc::format!("{}", calls::getpid()));
        let words = [c"x".into(), c"--report".into(), c"pid".into(), pid.unwrap_or_default()];
        sys::execute(&path, &words, &[]);
        3
    }));
    equal!(status.exited(), Some(0));
    equal!(word.load(Ordering::Relaxed), OWNER_DIED);
    Ok(())
}
