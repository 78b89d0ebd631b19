//! Those who want to run share the CPUs, also with programs that run in the kernel on a process's
//! behalf; and who waits is answered while they run. All is counted in work done, never in time.
//! With one CPU too.

use super::bpf::{ARRAY, SOCKET_FILTER, available, create, instruction, load, number, set};
use super::family;
use crate::calls;
use crate::check::{Failure, Outcome, check, equal, mostly, ok};
use crate::shared::Shared;
use ::bpf::calls as commands;
use ::bpf::calls::Map;
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use lemma_rt::general::SIGKILL;
use lemma_rt::rustix::fd::{AsFd, AsRawFd, OwnedFd};
use lemma_rt::{Result, sys};

family!("shares": program_and_processes, answers_come_in_order);

/// Processes that only run, at most.
const MOST: usize = 8;

/// How long one of them is watched alone, several times, and all together, in milliseconds.
const ALONE: i64 = 60;
const TOGETHER: i64 = 600;

/// Processes that only run: some in user mode, and perhaps one whose program runs in the kernel.
struct Hogs {
    /// How often each has gone round.
    rounds: Shared<[AtomicU64; MOST]>,
    /// How often the program has run.
    runs: Map,
    program: OwnedFd,
    children: Vec<i32>,
}

impl Hogs {
    /// Nobody runs yet.
    fn new() -> Result<Self> {
        let runs = create(ARRAY, 4, 8, 1)?;
        let program = load(SOCKET_FILTER, &long_loop(runs.fd.as_raw_fd()))?;
        Ok(Self { rounds: Shared::new()?, runs, program, children: Vec::new() })
    }

    /// Starts processes that count their rounds, each in a place of its own, and the one that has
    /// the kernel run the program. All are at work when it returns.
    fn start(&mut self, spinning: usize, with_program: bool) -> Result<()> {
        let before = self.work(spinning)?;
        for rounds in self.rounds.get().iter().take(spinning) {
            match sys::fork()? {
                Some(pid) => self.children.push(pid),
                None => spin(rounds),
            }
        }
        if with_program {
            match sys::fork()? {
                Some(pid) => self.children.push(pid),
                None => loop {
                    // Long enough for the others to want the CPU meanwhile.
                    let _ = commands::test(self.program.as_fd(), &[0; 64], &[], 1000);
                },
            }
        }
        let counters = if with_program { spinning + 1 } else { spinning };
        for _ in 0..30_000 {
            let now = self.work(spinning)?;
            if now.iter().zip(&before).take(counters).all(|(now, old)| now != old) {
                return Ok(());
            }
            calls::pause_for(1);
        }
        Err(lemma_rt::Errno::TIMEDOUT)
    }

    /// What the first `spinning` processes and the program have done so far.
    fn work(&self, spinning: usize) -> Result<Vec<u64>> {
        let rounds = self.rounds.get().iter().take(spinning);
        let mut work: Vec<u64> = rounds.map(|rounds| rounds.load(Ordering::Relaxed)).collect();
        work.push(number(&self.runs.lookup(&[0; 4])?));
        Ok(work)
    }

    /// What they do in so many milliseconds.
    fn watch(&self, spinning: usize, milliseconds: i64) -> Result<Vec<u64>> {
        let before = self.work(spinning)?;
        calls::pause_for(milliseconds);
        Ok(self.work(spinning)?.iter().zip(before).map(|(after, before)| after - before).collect())
    }

    /// Ends all.
    fn stop(&mut self) {
        for &pid in &self.children {
            let _ = sys::kill(pid, SIGKILL as i32);
        }
        for pid in self.children.drain(..) {
            let _ = sys::wait_for(pid);
        }
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Goes round for ever.
fn spin(rounds: &AtomicU64) -> ! {
    loop {
        for step in 0..1000 {
            core::hint::black_box(step);
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// A program that goes round a thousand times, and then counts its run.
fn long_loop(map: i32) -> Vec<u64> {
    let mut program =
        Vec::from([set(6, 1000), instruction(0x07, 6, 0, -1), instruction(0x55, 6, -2, 0)]);
    program.extend(super::bpf::counting(map));
    program
}

/// How many processes only run: three at least, and one for each CPU.
fn spinners() -> Result<usize> {
    Ok(super::cpus::allowed()?.len().clamp(3, MOST))
}

/// A process whose program runs in the kernel gets its share beside processes that run in user
/// mode, and no more: of what each does alone, each does about the same part.
fn program_and_processes() -> Outcome {
    available()?;
    mostly(|| {
        let parts = parts_of_each()?;
        let most = parts.iter().copied().max().unwrap_or(0);
        let least = parts.iter().copied().min().unwrap_or(0);
        let text = || format!("thousandths of processes, last of the program: {parts:?}");
        Ok(if least * 8 > most { Ok(()) } else { Err(text()) })
    })
}

/// What each does beside the others, in thousandths of what it does alone, in less time.
fn parts_of_each() -> core::result::Result<Vec<u64>, Failure> {
    let spinning = ok!(spinners());
    let mut hogs = ok!(Hogs::new());
    // By turns, because the machine may be emulated by one that has other things to do, too.
    let (mut process_alone, mut program_alone) = (0, 0);
    for _ in 0..3 {
        ok!(hogs.start(1, false));
        process_alone += ok!(hogs.watch(1, ALONE))[0];
        hogs.stop();
        ok!(hogs.start(0, true));
        program_alone += ok!(hogs.watch(0, ALONE))[0];
        hogs.stop();
    }
    check!(process_alone > 0 && program_alone > 0, " {process_alone} {program_alone}");

    ok!(hogs.start(spinning, true));
    let together = ok!(hogs.watch(spinning, TOGETHER));
    hogs.stop();
    let alone = |index| if index < spinning { process_alone } else { program_alone };
    Ok(together.iter().enumerate().map(|(index, work)| work * 1000 / alone(index)).collect())
}

/// A process that waits for a pipe answers questions while others only run: all of them before
/// those have done what they do in a while.
fn answers_come_in_order() -> Outcome {
    const QUESTIONS: u64 = 20;
    available()?;
    let spinning = ok!(spinners());
    let mut hogs = ok!(Hogs::new());
    let (mut there, mut back) = ([0; 2], [0; 2]);
    ok!(calls::pipe2(&mut there, 0));
    ok!(calls::pipe2(&mut back, 0));
    let Some(pid) = ok!(sys::fork()) else {
        let _ = (calls::close(there[1]), calls::close(back[0]));
        let mut question = [0; 8];
        while calls::read(there[0], &mut question) == Ok(8) {
            let answer = u64::from_ne_bytes(question) * 3;
            let _ = calls::write(back[1], &answer.to_ne_bytes());
        }
        sys::exit(0)
    };
    ok!(calls::close(there[0]));
    ok!(calls::close(back[1]));
    ok!(hogs.start(spinning, true));
    let of_all = |work: &[u64]| work.iter().take(spinning).sum::<u64>();
    let outcome = mostly(|| {
        let before = ok!(hogs.work(spinning));
        for question in 0..QUESTIONS {
            equal!(calls::write(there[1], &question.to_ne_bytes()), Ok(8));
            let mut answer = [0; 8];
            equal!(calls::read(back[0], &mut answer), Ok(8));
            equal!(u64::from_ne_bytes(answer), question * 3);
        }
        let meanwhile = of_all(&ok!(hogs.work(spinning))) - of_all(&before);
        let while_watched = of_all(&ok!(hogs.watch(spinning, TOGETHER)));
        let text = || format!("{meanwhile} rounds meanwhile, {while_watched} while watched");
        Ok(if meanwhile < while_watched { Ok(()) } else { Err(text()) })
    });
    hogs.stop();
    ok!(calls::close(there[1]));
    equal!(ok!(sys::wait_for(pid)).exited(), Some(0));
    outcome
}
