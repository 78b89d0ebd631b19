//! Times contenders in turn.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::time::{ClockId, clock_gettime};

use crate::programs::Source;
use crate::{lemma, linux, native, peers};

/// How long to measure.
pub(crate) struct Effort {
    /// Times each contender is measured.
    pub(crate) rounds: usize,
    /// How long one measurement takes.
    pub(crate) slice: Duration,
}

pub(crate) const FULL: Effort = Effort { rounds: 21, slice: Duration::from_millis(4) };
pub(crate) const QUICK: Effort = Effort { rounds: 5, slice: Duration::from_millis(1) };

/// Runs a program a number of times; what the last run returned.
type Runs = Box<dyn FnMut(u32) -> u64>;
/// Runs a program a number of times, and tells the time.
type Timed = Box<dyn FnMut(u32) -> Duration>;

/// Something that runs a program.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    runs: Runs,
    /// Where the clock is elsewhere.
    timed: Option<Timed>,
}

impl Contender {
    /// `run` runs the program once; the loop around it is compiled with it.
    pub(crate) fn new(name: &'static str, mut run: impl FnMut() -> u64 + 'static) -> Self {
        let runs = move |count| {
            let mut result = 0;
            for _ in 0..count {
                result = black_box(run());
            }
            result
        };
        Self { name, runs: Box::new(runs), timed: None }
    }

    /// Runs the program once.
    fn run(&mut self) -> u64 {
        (self.runs)(1)
    }

    /// For a contender that measures itself.
    pub(crate) fn with_clock(self, timed: impl FnMut(u32) -> Duration + 'static) -> Self {
        Self { timed: Some(Box::new(timed)), ..self }
    }

    /// Nanoseconds for one of `count` runs.
    fn time(&mut self, count: u32) -> f64 {
        let elapsed = match &mut self.timed {
            Some(timed) => timed(count),
            None => {
                let start = processor_time();
                (self.runs)(count);
                processor_time().saturating_sub(start)
            }
        };
        elapsed.as_secs_f64() * 1e9 / f64::from(count)
    }

    /// How many runs fill a slice of time.
    fn calibrate(&mut self, slice: Duration) -> u32 {
        let mut count = 1;
        loop {
            let nanoseconds = self.time(count) * f64::from(count);
            let wanted = slice.as_secs_f64() * 1e9;
            if nanoseconds * 2.0 > wanted || count > 1 << 24 {
                let scaled = f64::from(count) * wanted / nanoseconds.max(1.0);
                return (scaled as u32).max(1);
            }
            count *= 2;
        }
    }
}

/// What one program took with each contender.
pub(crate) struct ProgramTimes {
    pub(crate) name: &'static str,
    /// BPF instructions of the program.
    pub(crate) insns: usize,
    /// Contender and nanoseconds in each round, `native` first.
    pub(crate) times: Vec<(&'static str, Vec<f64>)>,
}

impl ProgramTimes {
    /// Median nanoseconds.
    pub(crate) fn nanoseconds(&self, contender: &str) -> Option<f64> {
        Some(median(self.rounds(contender)?.to_vec()))
    }

    /// Median over the rounds of one's time by the other's in the same round.
    pub(crate) fn ratio(&self, contender: &str, to: &str) -> Option<f64> {
        let (one, other) = (self.rounds(contender)?, self.rounds(to)?);
        Some(median(one.iter().zip(other).map(|(a, b)| a / b).collect()))
    }

    fn rounds(&self, contender: &str) -> Option<&[f64]> {
        let found = self.times.iter().find(|(name, _)| *name == contender);
        found.map(|(_, rounds)| rounds.as_slice())
    }
}

/// What this thread has had of a processor: others that use the machine do not count.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The middle one; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The geometric mean; 1 of none.
pub(crate) fn geometric_mean(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().map(|value| value.ln()).sum();
    (sum / values.len().max(1) as f64).exp()
}

/// Measures one program with everything that can run it.
pub(crate) fn program(
    source: &Source,
    effort: &Effort,
    notes: &mut Vec<String>,
) -> Result<ProgramTimes> {
    let mut contenders = vec![native::contender(source)?, lemma::interpreter(source)?];
    let others = [
        ("jit", lemma::jit(source)),
        ("rbpf interpreter", peers::rbpf_interpreter(source)),
        ("rbpf jit", peers::rbpf_jit(source)),
        ("sbpf jit", peers::sbpf_jit(source)),
        ("linux", linux::contender(source)),
    ];
    for (name, contender) in others {
        match contender {
            Ok(contender) => contenders.push(contender),
            Err(error) => notes.push(format!("{}: {name} skipped: {error:#}", source.name)),
        }
    }
    // All must agree on the result: Linux returns its lower half.
    let expected = contenders.first_mut().map(Contender::run).unwrap_or_default();
    for contender in contenders.iter_mut().skip(1) {
        let result = contender.run();
        let mask = if contender.name == "linux" { 0xffff_ffff } else { u64::MAX };
        if result != expected & mask {
            bail!("{}: {} returned {result:#x}, not {expected:#x}", source.name, contender.name);
        }
    }
    Ok(ProgramTimes {
        name: source.name,
        insns: source.plain.insns.len() / 8,
        times: in_turn(contenders, effort),
    })
}

/// Times contenders round by round, each once in every round.
pub(crate) fn in_turn(
    mut contenders: Vec<Contender>,
    effort: &Effort,
) -> Vec<(&'static str, Vec<f64>)> {
    let counts: Vec<u32> =
        contenders.iter_mut().map(|contender| contender.calibrate(effort.slice)).collect();
    let mut times: Vec<(&'static str, Vec<f64>)> =
        contenders.iter().map(|contender| (contender.name, Vec::new())).collect();
    for _ in 0..effort.rounds {
        for ((contender, count), (_, rounds)) in contenders.iter_mut().zip(&counts).zip(&mut times)
        {
            rounds.push(contender.time(*count));
        }
    }
    times
}
