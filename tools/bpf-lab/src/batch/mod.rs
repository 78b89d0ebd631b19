//! `bpf-lab batch`: many cases, one verdict a line, in the order of the cases.
//!
//! `case` is what comes in and `verdict` what goes out; `judge` gets from one to the other,
//! with `maps` for what a program refers to; `pool` keeps a crash to one case.

#![forbid(unsafe_code)]

mod case;
mod judge;
mod maps;
mod pool;
mod verdict;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Context, Result};
use clap::Args;

use crate::engine::{EngineKind, Profile};
use case::{MapKind, NamedKind};
use judge::Setting;
use pool::Pool;

/// Cases read ahead, for each job.
const AHEAD: usize = 16;

/// The command line of `bpf-lab batch`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Cases judged at a time
    #[arg(long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,
    /// How map kinds are made: JSON lines with `kind`, `ops` and `patch_fd`
    #[arg(long, value_name = "FILE")]
    map_kinds: Option<PathBuf>,
    /// Whose limits apply
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
    /// What runs programs of cases that do not say
    #[arg(long, value_enum, default_value_t)]
    engine: EngineKind,
    /// Judge in this process: what the tool starts itself with
    #[arg(long, hide = true)]
    worker: bool,
}

fn default_jobs() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Judges the cases on standard input.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let kinds = match &arguments.map_kinds {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            read_kinds(&text).with_context(|| path.display().to_string())?
        }
        None => HashMap::new(),
    };
    if arguments.worker {
        let setting = Setting { kinds, profile: arguments.profile, engine: arguments.engine };
        return pool::worker(&setting);
    }
    judge_all(arguments.jobs.max(1), &worker_arguments(arguments))
}

fn read_kinds(text: &str) -> Result<HashMap<String, MapKind>> {
    let mut kinds = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let kind: NamedKind =
            serde_json::from_str(line).with_context(|| format!("line {}", number + 1))?;
        kinds.insert(kind.kind, kind.map);
    }
    Ok(kinds)
}

fn worker_arguments(arguments: &Arguments) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["batch".into(), "--worker".into()];
    if let Some(path) = &arguments.map_kinds {
        words.extend(["--map-kinds".into(), path.into()]);
    }
    let profile = match arguments.profile {
        Profile::Cloud => "cloud",
        Profile::Embedded => "embedded",
    };
    words.extend(["--profile".into(), profile.into()]);
    words.extend(["--engine".into(), arguments.engine.to_string().into()]);
    words
}

/// Deals the lines of standard input out to `jobs` processes, and writes their verdicts in
/// the order of the lines, each as soon as all before it are there.
fn judge_all(jobs: usize, worker: &[OsString]) -> Result<()> {
    let (cases, queue) = sync_channel::<(usize, String)>(jobs * AHEAD);
    let queue = Mutex::new(queue);
    let (verdicts, results) = sync_channel::<(usize, String)>(jobs * AHEAD);
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (queue, verdicts) = (&queue, verdicts.clone());
            scope.spawn(move || {
                let mut pool = Pool::new(worker.to_vec());
                loop {
                    // A poisoned lock would mean that another job panicked: end this one too.
                    let Ok(next) = queue.lock().map(|queue| queue.recv()) else { break };
                    let Ok((number, case)) = next else { break };
                    if verdicts.send((number, pool.judge(&case))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(verdicts);
        let writer = scope.spawn(move || write_in_order(results.iter()));
        let mut read = Ok(());
        for (number, line) in io::stdin().lock().lines().enumerate() {
            // A line that is no text is an error on that line; a failing input ends all.
            let line = match line {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
                Err(error) => {
                    read = Err(error).context("cannot read the cases");
                    break;
                }
                Ok(line) => line,
            };
            if cases.send((number, line)).is_err() {
                break;
            }
        }
        drop(cases);
        let written = writer.join().map_err(|_| anyhow::anyhow!("the writer failed"))?;
        written.context("cannot write the verdicts").and(read)
    })
}

fn write_in_order(results: impl Iterator<Item = (usize, String)>) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    for (number, verdict) in results {
        waiting.insert(number, verdict);
        while let Some(verdict) = waiting.remove(&next) {
            writeln!(output, "{verdict}")?;
            output.flush()?;
            next += 1;
        }
    }
    Ok(())
}
