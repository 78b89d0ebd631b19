//! `bpf-lab bench`: how long a program takes to verify, to prepare, and to run.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::print_json;
use crate::engine::{EngineKind, Ready};
use crate::host::Host;
use crate::input::{ProgramArguments, VerifierArguments, refused};
use crate::test_run::{self, Input};

/// The command line of `bpf-lab bench`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    program: ProgramArguments,
    #[command(flatten)]
    verifier: VerifierArguments,
    /// What runs the program
    #[arg(long, value_enum, default_value_t)]
    engine: EngineKind,
    /// The packet or the memory that the program runs on
    #[arg(long, value_name = "FILE")]
    memory: Option<PathBuf>,
    /// How long to measure each step
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 200)]
    time: u64,
}

/// Rounds of which the middle one counts.
const ROUNDS: usize = 11;

/// Measures and prints.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let loaded = arguments.program.load_one()?;
    let profile = arguments.program.profile;
    let name = loaded.program.name.clone();
    let slots = loaded.program.insns.len();
    let verified = arguments
        .verifier
        .verify(loaded.program, profile)
        .map_err(|rejection| refused(&name, &rejection))?;
    let data = match &arguments.memory {
        Some(path) => Some(std::fs::read(path).with_context(|| path.display().to_string())?),
        None => None,
    };
    let mut input = Input { data, fields: None };
    let host = Host::default();
    let limit = Duration::from_millis(arguments.time);
    let options = profile.verify_options();
    let copy = verified.get().clone();
    let verify = nanoseconds(limit, || {
        black_box(kernel_bpf::verifier::verify(copy.clone(), &options).is_ok());
        Ok(())
    })?;
    let prepare = nanoseconds(limit, || {
        black_box(Ready::new(&verified, arguments.engine, profile)?);
        Ok(())
    })?;
    let ready = Ready::new(&verified, arguments.engine, profile)?;
    let run = nanoseconds(limit, || {
        black_box(test_run::run_on(&ready, &verified, &mut input, &host)?);
        Ok(())
    })?;
    let explored = verified.proof().processed;
    if arguments.program.json {
        return print_json(&json!({
            "name": name, "engine": arguments.engine.to_string(), "slots": slots,
            "explored": explored, "verify_ns": verify, "prepare_ns": prepare, "run_ns": run,
        }));
    }
    println!("{name}: {slots} slots, medians of {ROUNDS} rounds");
    println!("  verify  {verify:12.1} ns, {:.1} ns for each of {explored} explored", {
        verify / explored.max(1) as f64
    });
    println!("  prepare {prepare:12.1} ns, {:.1} ns a slot", prepare / slots.max(1) as f64);
    println!("  run     {run:12.1} ns with the {}", arguments.engine);
    Ok(())
}

/// What one call takes: the median of rounds that fill `limit` together.
fn nanoseconds(limit: Duration, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let slice = limit / ROUNDS as u32;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let (start, mut calls) = (Instant::now(), 0u32);
        // A clock reading for each batch of calls, so that short ones are measured too.
        let mut batch = 1;
        while start.elapsed() < slice {
            for _ in 0..batch {
                work()?;
            }
            calls += batch;
            batch = (batch * 2).min(1 << 12);
        }
        rounds.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(calls.max(1)));
    }
    rounds.sort_by(f64::total_cmp);
    Ok(rounds.get(ROUNDS / 2).copied().unwrap_or_default())
}
