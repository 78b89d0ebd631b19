//! No event is lost and none is counted twice while programs are replaced.

use super::Until;
use crate::calls;
use crate::check::{Outcome, check, equal, ok};
use crate::shared::Shared;
use crate::tests::bpf::{
    ARRAY, EXIT, PER_CPU_ARRAY, available, create, hooks_available, instruction, load_hook,
    new_map, number, set,
};
use ::bpf::calls as commands;
use ::bpf::info::MapInfo;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel_abi::bpf::attach_type::SYS_ENTER;
use lemma_rt::general::__NR_getppid;
use lemma_rt::rustix::fd::{AsFd, AsRawFd, OwnedFd};
use lemma_rt::{println, sys};

/// Processes whose calls are counted.
const CALLERS: usize = 3;

/// What they and the process that counts share.
struct Common {
    stop: AtomicU64,
    made: [AtomicU64; CALLERS],
}

/// Counts each call of `getppid`: by an atomic addition in one map, by an ordinary one to this
/// CPU's value in the other.
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
        instruction(0x55, 2, 18, __NR_getppid as i32),
        instruction(0x62, 10, -4, 0),
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

/// Makes calls until told to stop; how many is noted at the end.
fn caller(common: &Common, made: &AtomicU64) -> ! {
    let mut count = 0;
    while common.stop.load(Ordering::Acquire) == 0 {
        for _ in 0..100 {
            count += u64::from(calls::getppid().is_ok());
        }
    }
    made.store(count, Ordering::Release);
    sys::exit(0)
}

/// Replaces a program by its like, at least so often, and until then; then compares the counts.
pub(super) fn count_exactly(until: Until, replacements: u64) -> Outcome {
    available()?;
    hooks_available()?;
    let shared_map = ok!(create(ARRAY, 4, 8, 1));
    let fd = ok!(commands::create_map(&new_map(PER_CPU_ARRAY, 4, 8, 1)));
    let per_cpu_map = ok!(MapInfo::of(fd.as_fd())).open(fd);
    let code = counting(shared_map.fd.as_raw_fd(), per_cpu_map.fd.as_raw_fd());
    let mut attached: OwnedFd = ok!(load_hook(&code));
    let mut spare = ok!(load_hook(&code));
    // Before: nothing is counted.
    ok!(calls::getppid());
    equal!(number(&ok!(shared_map.lookup(&[0; 4]))), 0);

    ok!(commands::attach(attached.as_fd(), SYS_ENTER, None));
    let common: Shared<Common> = ok!(Shared::new());
    let common = common.get();
    let mut children = Vec::new();
    for made in &common.made {
        match ok!(sys::fork()) {
            Some(pid) => children.push(pid),
            None => caller(common, made),
        }
    }
    let mut done = 0;
    let mut outcome = Ok(());
    while outcome.is_ok() && (done < replacements || !until.is_past()) {
        outcome = commands::attach(spare.as_fd(), SYS_ENTER, Some(attached.as_fd()));
        core::mem::swap(&mut attached, &mut spare);
        done += 1;
        // Now and then a new one, so that old code goes while it may still be running.
        if done % 16 == 0 {
            spare = ok!(load_hook(&code));
        }
    }
    common.stop.store(1, Ordering::Release);
    for pid in children {
        equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    }
    ok!(outcome);
    let made: u64 = common.made.iter().map(|made| made.load(Ordering::Acquire)).sum();
    let look = || -> lemma_rt::Result<(u64, u64)> {
        let values = per_cpu_map.lookup(&[0; 4])?;
        let per_cpu = values.chunks_exact(8).map(number).sum();
        Ok((number(&shared_map.lookup(&[0; 4])?), per_cpu))
    };
    equal!(ok!(look()), (made, made));

    // After: nothing more.
    ok!(commands::detach(attached.as_fd(), SYS_ENTER));
    for _ in 0..100 {
        ok!(calls::getppid());
    }
    equal!(ok!(look()), (made, made));
    check!(made > 0);
    println!("stress: events: {made} calls counted over {done} replacements");
    Ok(())
}
