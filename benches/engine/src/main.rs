//! Measures the BPF engine, in one run with its peers: native code of the same C, rbpf,
//! solana-sbpf, and the host's Linux where it allows BPF.
//!
//! `programs` compiles the twelve programs; `native`, `lemma`, `peers` and `linux` make them
//! ready to run; `measure` times contenders in turn, so that a slow moment of the machine hits
//! all of them alike; `engine` has the figures that are not about those programs (verifier,
//! load, maps); `emulated` counts instructions of the JITs for other machines; `table` compares figures with what is asked of them, and prints.
//!
//! Start it with `cargo bench --bench engine`.

mod emulated;
mod engine;
mod lemma;
mod linux;
mod measure;
mod native;
mod peers;
mod programs;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

/// Measures the BPF engine beside native code, rbpf, solana-sbpf and the host's Linux
#[derive(Parser, Debug)]
#[command(name = "engine-bench")]
struct Arguments {
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer and shorter rounds: for a first look
    #[arg(long)]
    quick: bool,
    /// Only programs whose names contain this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// What `cargo bench` passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("engine-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let effort = if arguments.quick { measure::QUICK } else { measure::FULL };
    let programs = programs::compile(&arguments.only)?;
    let mut notes = Vec::new();
    let mut results = Vec::new();
    for program in &programs {
        results.push(measure::program(program, &effort, &mut notes)?);
    }
    let engine = engine::measure(&programs, &effort)?;
    let counts = emulated::measure(&programs, &mut notes)?;
    let report = table::Report::new(&results, &engine, &counts, notes);
    print!("{report}");
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report.json())?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
