//! No event is lost and none is counted twice while programs are attached, replaced and detached.

use super::Until;
use crate::calls;
use crate::check::{Outcome, check, equal, ok};
use crate::shared::Shared;
use crate::tests::bpf::{
    ARRAY, EXIT, PER_CPU_ARRAY, available, create, hooks_available, instruction, load_hook,
    new_map, number, set,
};
use ::bpf::calls::{self as commands, Map};
use ::bpf::info::MapInfo;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel_abi::bpf::attach_type::SYS_ENTER;
use lemma_rt::general::__NR_getppid;
use lemma_rt::rustix::fd::{AsFd, AsRawFd, OwnedFd};
use lemma_rt::{println, sys};

/// Processes whose calls are counted.
const CALLERS: usize = 3;
/// How often a program is replaced between its attachment and its end.
const REPLACEMENTS: u64 = 50;

// What is the case when a call is made, which says so in its argument. The callers never pause.
/// No program is attached: nothing is counted.
const DETACHED: usize = 0;
/// One may be: some calls are counted.
const ATTACHING: usize = 1;
/// One is, whichever: every call is counted.
const ATTACHED: usize = 2;
/// As while it is attached.
const DETACHING: usize = 3;
const PHASES: usize = 4;
/// No call is to be made any more.
const END: usize = 4;

/// What a caller tells.
struct Caller {
    /// The phase of the calls that it makes; those of another phase are over.
    phase: AtomicU64,
    /// Calls made in each.
    made: [AtomicU64; PHASES],
}

/// What the callers and the process that counts share.
struct Common {
    phase: AtomicU64,
    callers: [Caller; CALLERS],
}

/// Counts each call of `getppid` under its argument: by an atomic addition in one map, by an
/// ordinary one to this CPU's value in the other.
fn counting(shared: i32, per_cpu: i32) -> Vec<u64> {
    let lookup = |map| {
        [
            instruction(0xbf, 0xa2, 0, 0),
            instruction(0x07, 2, 0, -4),
            instruction(0x18, 0x11, 0, map),
            0,
            instruction(0x85, 0, 0, 1),
        ]
    };
    let mut program = Vec::from([
        instruction(0x79, 0x12, 0, 0),
        instruction(0x55, 2, 19, __NR_getppid as i32),
        instruction(0x79, 0x13, 8, 0),
        instruction(0x63, 0x3a, -4, 0),
    ]);
    program.extend(lookup(shared));
    program.extend([instruction(0x15, 0, 2, 0), set(1, 1), instruction(0xdb, 0x10, 0, 0)]);
    program.extend(lookup(per_cpu));
    program.extend([
        instruction(0x15, 0, 3, 0),
        instruction(0x79, 0x01, 0, 0),
        instruction(0x07, 1, 0, 1),
        instruction(0x7b, 0x10, 0, 0),
        set(0, 0),
        EXIT,
    ]);
    program
}

/// Makes calls, and counts them, until told to end.
fn caller(common: &Common, own: &Caller) -> ! {
    loop {
        let phase = common.phase.load(Ordering::Acquire) as usize;
        own.phase.store(phase as u64, Ordering::Release);
        let Some(made) = own.made.get(phase) else { sys::exit(0) };
        for _ in 0..100 {
            let call = calls::raw(__NR_getppid as usize, [phase, 0, 0, 0, 0, 0]);
            made.fetch_add(u64::from(call.is_ok()), Ordering::Relaxed);
        }
    }
}

impl Common {
    /// From when this returns on, the calls are made in this phase.
    fn enter(&self, phase: usize) {
        self.phase.store(phase as u64, Ordering::Release);
        while self.callers.iter().any(|own| own.phase.load(Ordering::Acquire) != phase as u64) {
            let _ = calls::sched_yield();
        }
    }

    fn made(&self, phase: usize) -> u64 {
        self.callers.iter().map(|own| own.made[phase].load(Ordering::Relaxed)).sum()
    }
}

/// The two maps in which programs count.
struct Counts {
    shared: Map,
    per_cpu: Map,
}

impl Counts {
    fn new() -> lemma_rt::Result<Self> {
        let shared = create(ARRAY, 4, 8, PHASES as u32)?;
        let fd = commands::create_map(&new_map(PER_CPU_ARRAY, 4, 8, PHASES as u32))?;
        Ok(Self { shared, per_cpu: MapInfo::of(fd.as_fd())?.open(fd) })
    }

    /// What both maps say of a phase.
    fn of(&self, phase: usize) -> lemma_rt::Result<(u64, u64)> {
        let key = (phase as u32).to_ne_bytes();
        let per_cpu = self.per_cpu.lookup(&key)?.chunks_exact(8).map(number).sum();
        Ok((number(&self.shared.lookup(&key)?), per_cpu))
    }
}

/// Attaches one of the programs, replaces it by the other and so on, and detaches the last.
fn one_cycle(common: &Common, programs: &mut [OwnedFd; 2], code: &[u64]) -> Outcome {
    common.enter(ATTACHING);
    ok!(commands::attach(programs[0].as_fd(), SYS_ENTER, None));
    common.enter(ATTACHED);
    for done in 1..=REPLACEMENTS {
        let [attached, spare] = &*programs;
        ok!(commands::attach(spare.as_fd(), SYS_ENTER, Some(attached.as_fd())));
        programs.swap(0, 1);
        // Now and then a new one, so that old code goes while it may still be running.
        if done % 16 == 0 {
            programs[1] = ok!(load_hook(code));
        }
    }
    common.enter(DETACHING);
    ok!(commands::detach(programs[0].as_fd(), SYS_ENTER));
    common.enter(DETACHED);
    Ok(())
}

/// Every call made while a program was attached has been counted, once, and none that was made
/// before or after.
fn compare(common: &Common, counts: &Counts) -> Outcome {
    equal!(ok!(counts.of(DETACHED)), (0, 0));
    let made = common.made(ATTACHED);
    equal!(ok!(counts.of(ATTACHED)), (made, made));
    for phase in [ATTACHING, DETACHING] {
        let (shared, per_cpu) = ok!(counts.of(phase));
        check!(shared == per_cpu && shared <= common.made(phase));
    }
    Ok(())
}

/// Attaches, replaces and detaches programs under the calls of other processes, at least so many
/// replacements, and until then; compares the counts each time.
pub(super) fn count_exactly(until: Until, replacements: u64) -> Outcome {
    available()?;
    hooks_available()?;
    let counts = ok!(Counts::new());
    let code = counting(counts.shared.fd.as_raw_fd(), counts.per_cpu.fd.as_raw_fd());
    let mut programs = [ok!(load_hook(&code)), ok!(load_hook(&code))];
    let common: Shared<Common> = ok!(Shared::new());
    let common = common.get();
    let mut children = Vec::new();
    for own in &common.callers {
        match ok!(sys::fork()) {
            Some(pid) => children.push(pid),
            None => caller(common, own),
        }
    }
    let mut cycles = 0;
    let mut outcome = Ok(());
    while outcome.is_ok() && (cycles * REPLACEMENTS < replacements || !until.is_past()) {
        outcome = one_cycle(common, &mut programs, &code).and_then(|()| compare(common, &counts));
        cycles += 1;
    }
    common.phase.store(END as u64, Ordering::Release);
    for pid in children {
        equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    }
    outcome?;
    compare(common, &counts)?;
    let (made, free) = (common.made(ATTACHED), common.made(DETACHED));
    check!(made > 0 && free > 0);
    println!(
        "stress: events: {made} calls counted over {} replacements and {cycles} attachments, \
         none of {free} others",
        cycles * REPLACEMENTS
    );
    Ok(())
}
