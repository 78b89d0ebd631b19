//! `usertests exhaust`: memory is used up, and the system goes on.
//!
//! Who touches more than there is is killed, and nobody else. Who asks for something when there is
//! nothing left is told so (`ENOMEM`) and can go on; when memory has come back, the same works again.
//! For a machine of one's own, with little memory.

use crate::calls::{self, mmap, poke};
use crate::check::{Failure, Outcome, check, equal, ok};
use crate::shared::Shared;
use core::sync::atomic::{AtomicU32, Ordering};
use lemma_rt::general::{
    __NR_epoll_create1, __NR_eventfd2, __NR_execve, __NR_mremap, __NR_read, __NR_socketpair,
    MAP_ANONYMOUS, MAP_POPULATE, MAP_PRIVATE, MAP_SHARED, O_CREAT, O_RDONLY, O_RDWR, PROT_READ,
    PROT_WRITE, SIGKILL, WNOHANG,
};
use lemma_rt::rustix::system::sysinfo;
use lemma_rt::thread::spawn;
use lemma_rt::{Errno, Result, eprintln, error_text, println, sys};

const PAGE: usize = 4096;
/// What is taken at once.
const CHUNK: usize = 1 << 20;
/// More than a small machine has.
const CHUNKS: usize = 4096;
/// What a bystander takes, touches and gives back, again and again.
const ROUND_PAGES: usize = 16;
/// How often it does so after another one has used memory up.
const ROUNDS_AFTER: u32 = 20;

/// Runs it; the exit status.
pub(crate) fn main() -> i32 {
    let directory = c"/tmp/exhaust";
    let prepared = calls::mkdir(directory, 0o755).and_then(|_| calls::chdir(directory));
    if let Err(error) = prepared {
        eprintln!("usertests: exhaust: {}", error_text(error));
        return 2;
    }
    let outcome = greedy_dies_alone()
        .and_then(|()| who_has_most_pays())
        .and_then(|()| asking_fails_in_order());
    let _ = calls::chdir(c"/");
    crate::harness::remove(directory.to_bytes());
    match outcome {
        Ok(()) => {
            println!("usertests: exhaust: memory was used up, and all else went on");
            0
        }
        Err(Failure::Differs(text) | Failure::Skipped(text)) => {
            eprintln!("usertests: exhaust: {text}");
            1
        }
    }
}

/// A process that touches memory without end is killed. Another one, which needs a little again and
/// again, is not.
fn greedy_dies_alone() -> Outcome {
    for how in [Take::Touch, Take::Read, Take::Touch] {
        let shared = ok!(Shared::<[AtomicU32; 2]>::new());
        let [rounds, stop] = shared.get();
        let Some(bystander) = ok!(sys::fork()) else { sys::exit(take_a_little(rounds, stop)) };
        while rounds.load(Ordering::Relaxed) == 0 {
            calls::pause_for(1);
        }
        let Some(greedy) = ok!(sys::fork()) else { sys::exit(take_without_end(how)) };
        let status = ok!(sys::wait_for(greedy));
        equal!((status.signaled(), status.exited()), (Some(SIGKILL as i32), None));
        // The bystander goes on after it.
        let before = rounds.load(Ordering::Relaxed);
        while rounds.load(Ordering::Relaxed) < before + ROUNDS_AFTER {
            equal!(ok!(sys::wait(bystander, WNOHANG)).map(|(_, status)| status.code()), None);
            calls::pause_for(1);
        }
        stop.store(1, Ordering::Relaxed);
        equal!(ok!(sys::wait_for(bystander)).exited(), Some(0));
    }
    Ok(())
}

/// How a page comes into memory.
#[derive(Clone, Copy, PartialEq)]
enum Take {
    /// The process touches it.
    Touch,
    /// The kernel does, on its behalf.
    Read,
}

/// Takes pages that are mapped; `zero` is where to read from.
fn take(how: Take, zero: i32, start: usize, pages: usize) -> Result<()> {
    if how == Take::Touch {
        (0..pages).for_each(|page| poke(start + page * PAGE, 1));
        return Ok(());
    }
    let read = calls::raw(__NR_read as usize, [zero as usize, start, pages * PAGE, 0, 0, 0])?;
    if read == pages * PAGE { Ok(()) } else { Err(Errno::FAULT) }
}

/// Maps it all before: where memory ends, asking would be refused, and nobody killed.
fn take_without_end(how: Take) -> i32 {
    let Ok(zero) = calls::open(c"/dev/zero", O_RDONLY, 0) else { return 1 };
    let all = sysinfo().totalram as usize / CHUNK * CHUNK;
    let (Ok(one), Ok(two)) = (calls::map(all), calls::map(all)) else { return 2 };
    for start in (one..one + all).chain(two..two + all).step_by(CHUNK) {
        if take(how, zero, start, CHUNK / PAGE).is_err() {
            return 3;
        }
    }
    4
}

fn take_a_little(rounds: &AtomicU32, stop: &AtomicU32) -> i32 {
    while stop.load(Ordering::Relaxed) == 0 {
        let start = loop {
            match calls::map(ROUND_PAGES * PAGE) {
                Ok(start) => break start,
                Err(Errno::NOMEM) => calls::pause_for(1),
                Err(_) => return 1,
            }
        };
        for page in 0..ROUND_PAGES {
            poke(start + page * PAGE, 1);
        }
        if calls::munmap(start, ROUND_PAGES * PAGE).is_err() {
            return 2;
        }
        rounds.fetch_add(1, Ordering::Relaxed);
        calls::pause_for(2);
    }
    0
}

/// Whoever needs the next page gets it, from the process that has them all.
fn who_has_most_pays() -> Outcome {
    let zero = ok!(calls::open(c"/dev/zero", O_RDONLY, 0));
    for how in [Take::Touch, Take::Read] {
        let length = ROUND_PAGES * PAGE;
        let start = ok!(calls::map(length));
        let holder = ok!(Holder::new());
        check!(holder.has_everything());
        ok!(take(how, zero, start, ROUND_PAGES));
        equal!(ok!(sys::wait_for(holder.pid)).signaled(), Some(SIGKILL as i32));
        ok!(calls::munmap(start, length));
    }
    ok!(calls::close(zero));
    Ok(())
}

/// A process that takes all memory and holds it. It and its parent talk by memory that both have:
/// anything else would need more.
struct Holder {
    pid: i32,
    word: Shared<AtomicU32>,
}

/// What the holder's word says: it is to begin; it has everything; it is to end.
const BEGIN: u32 = 1;
const HAS_EVERYTHING: u32 = 2;
const END: u32 = 3;

impl Holder {
    fn new() -> Result<Self> {
        let word = Shared::<AtomicU32>::new()?;
        word.get().store(0, Ordering::Relaxed);
        match sys::fork()? {
            Some(pid) => Ok(Self { pid, word }),
            None => sys::exit(hold_everything(word.get())),
        }
    }

    /// Lets it begin and waits until it has everything; `false` if it ends instead. Both have been
    /// where they will be then: what they write has been copied for each since the fork.
    fn has_everything(&self) -> bool {
        const TURNS: usize = 5;
        for _ in 0..TURNS {
            if !self.lives() {
                return false;
            }
            calls::pause_for(1);
        }
        self.word.get().store(BEGIN, Ordering::Release);
        while self.word.get().load(Ordering::Acquire) != HAS_EVERYTHING {
            if !self.lives() {
                return false;
            }
            calls::pause_for(1);
        }
        true
    }

    fn lives(&self) -> bool {
        sys::wait(self.pid, WNOHANG).is_ok_and(|ended| ended.is_none())
    }

    /// Has it end and give everything back; its exit status.
    fn end(self) -> Result<Option<i32>> {
        self.word.get().store(END, Ordering::Release);
        sys::wait_for(self.pid).map(sys::Status::exited)
    }
}

/// Takes memory, without touching it by itself, until it is refused, and holds it; what comes free
/// meanwhile it takes too.
fn hold_everything(word: &AtomicU32) -> i32 {
    let protection = PROT_READ | PROT_WRITE;
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    while word.load(Ordering::Acquire) != BEGIN {
        calls::pause_for(1);
    }
    for _ in 0..CHUNKS {
        match mmap(0, CHUNK, protection, flags, -1, 0) {
            Ok(_) => {}
            Err(Errno::NOMEM) => {
                word.store(HAS_EVERYTHING, Ordering::Release);
                while word.load(Ordering::Acquire) != END {
                    let _ = mmap(0, PAGE, protection, flags, -1, 0);
                    calls::pause_for(1);
                }
                return 0;
            }
            Err(_) => return 2,
        }
    }
    3
}

/// A way to ask for something that takes memory; what has been given is given back.
type Ask = (&'static str, fn() -> Result<()>);

const ASKS: [Ask; 14] = [
    ("mmap", || release(calls::map(PAGE)?)),
    ("shared mmap", || release(calls::map_shared(PAGE)?)),
    ("mremap", || {
        let start = calls::map(PAGE)?;
        let moved = calls::raw(__NR_mremap as usize, [start, PAGE, 2 * PAGE, 1, 0, 0]);
        moved.and_then(|start| calls::munmap(start, 2 * PAGE)).map(drop)
    }),
    ("brk", || {
        let end = calls::brk(0)?;
        match calls::brk(end + PAGE)? {
            moved if moved == end + PAGE => calls::brk(end).map(drop),
            _ => Err(Errno::NOMEM),
        }
    }),
    ("fork", || match sys::fork()? {
        None => sys::exit(0),
        Some(pid) => sys::wait_for(pid).map(drop),
    }),
    ("thread", || {
        extern "C" fn nothing(_: usize) {}
        spawn(nothing, 0).map(|thread| thread.join())
    }),
    ("execve", || {
        // A path that is there, and is no program, is found so only after its memory was asked for.
        let strings = [0_usize];
        let list = strings.as_ptr() as usize;
        let path = c"/tmp/exhaust/text".as_ptr() as usize;
        match calls::raw(__NR_execve as usize, [path, list, list, 0, 0, 0]) {
            Err(Errno::NOEXEC) => Ok(()),
            result => result.map(drop),
        }
    }),
    ("pipe", || {
        let mut ends = [0; 2];
        calls::pipe2(&mut ends, 0)?;
        calls::close(ends[0])?;
        calls::close(ends[1]).map(drop)
    }),
    ("socketpair", || {
        let mut ends = [0; 2];
        let pair = (&raw mut ends) as usize;
        calls::raw(__NR_socketpair as usize, [1, 1, 0, pair, 0, 0])?;
        calls::close(ends[0])?;
        calls::close(ends[1]).map(drop)
    }),
    ("eventfd2", || close(calls::raw(__NR_eventfd2 as usize, [0; 6])?)),
    ("epoll_create1", || close(calls::raw(__NR_epoll_create1 as usize, [0; 6])?)),
    ("a perf event and its buffer", || {
        let event = calls::program_event()?;
        let buffer = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, event, 0);
        calls::close(event)?;
        calls::munmap(buffer?, 2 * PAGE).map(drop)
    }),
    ("open", || calls::close(calls::open(c"/dev/null", O_RDONLY, 0)?).map(drop)),
    ("creating a file", || {
        calls::close(calls::open(c"new", O_RDWR | O_CREAT, 0o600)?)?;
        calls::unlink(c"new").map(drop)
    }),
];

fn release(start: usize) -> Result<()> {
    calls::munmap(start, PAGE).map(drop)
}

fn close(fd: usize) -> Result<()> {
    calls::close(fd as i32).map(drop)
}

unsafe extern "C" {
    /// This program's ELF header, by the linker.
    static __ehdr_start: [u8; 64];
}

/// Brings all of this program into memory, as its program headers list it (System V ABI, ELF64).
fn touch_program() {
    const LOAD: u32 = 1;
    let header = &raw const __ehdr_start as usize;
    // SAFETY: the ELF header and the program headers are in the first segment.
    let word = |at: usize| unsafe { (at as *const usize).read_unaligned() };
    let headers = header + word(header + 32);
    for at in (0..word(header + 56) & 0xffff).map(|index| headers + index * 56) {
        if word(at) as u32 != LOAD {
            continue;
        }
        let (start, length) = (word(at + 16), word(at + 40));
        for page in (start..start + length).step_by(PAGE) {
            // SAFETY: inside a segment, which can be read.
            unsafe { (page as *const u8).read_volatile() };
        }
    }
}

/// Each way to ask works, is refused while another process holds all memory, and works again.
fn asking_fails_in_order() -> Outcome {
    ok!(calls::make(c"text", b"no program"));
    ok!(calls::chmod(c"text", 0o755));
    // What is touched below has been touched before: nothing has to be brought into memory, of the
    // program and of what it works with.
    touch_program();
    ask_all(&mut |result| result.is_ok())?;
    let holder = ok!(Holder::new());
    ask_all(&mut |_| true)?;
    check!(holder.has_everything());
    ask_all(&mut |result| result == Err(Errno::NOMEM))?;
    // The holder has not been made to pay for it.
    check!(holder.lives());
    equal!(holder.end(), Ok(Some(0)));
    ask_all(&mut |result| result.is_ok())
}

/// Asks in each way until the answer is `right`, which may take a moment: a page comes free here and
/// there.
fn ask_all(right: &mut dyn FnMut(Result<()>) -> bool) -> Outcome {
    const TRIES: usize = 1000;
    for (name, ask) in ASKS {
        let mut result = ask();
        for _ in 0..TRIES {
            if right(result) {
                break;
            }
            calls::pause_for(1);
            result = ask();
        }
        check!(right(result), " {name}: {result:?}");
    }
    Ok(())
}
