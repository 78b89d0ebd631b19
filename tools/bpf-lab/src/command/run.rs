//! `bpf-lab run`: verifies a program and runs it on what files hold.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::print_json;
use crate::engine::{EngineKind, Ready};
use crate::host::Host;
use crate::input::{ProgramArguments, VerifierArguments, refused};
use crate::test_run::{self, Input};

/// The command line of `bpf-lab run`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    program: ProgramArguments,
    #[command(flatten)]
    verifier: VerifierArguments,
    /// What runs the program
    #[arg(long, value_enum, default_value_t)]
    engine: EngineKind,
    /// The packet, message or option's value, for a program that takes one; for any other, memory
    /// that is its context
    #[arg(long, value_name = "FILE")]
    memory: Option<PathBuf>,
    /// The context; where it has pointers (to a packet, a socket), its numbers, from offset 0
    #[arg(long, value_name = "FILE")]
    context: Option<PathBuf>,
    /// How often to run, on the same memory and fields; the last result counts
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    /// Write the memory (or context) after the run to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the program and prints r0.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let loaded = arguments.program.load_one()?;
    let name = loaded.program.name.clone();
    let profile = arguments.program.profile;
    let verified = arguments
        .verifier
        .verify(loaded.program, profile)
        .map_err(|rejection| refused(&name, &rejection))?;
    let ready = Ready::new(&verified, arguments.engine, profile)?;
    let mut input = Input {
        data: read(arguments.memory.as_deref())?,
        fields: read(arguments.context.as_deref())?,
    };
    let host = Host::printing();
    let mut result = 0;
    for _ in 0..arguments.repeat.max(1) {
        result = test_run::run_on(&ready, &verified, &mut input, &host)?;
    }
    if let Some(path) = &arguments.output {
        let memory = input.data.as_deref().or(input.fields.as_deref()).unwrap_or_default();
        std::fs::write(path, memory).with_context(|| path.display().to_string())?;
    }
    if arguments.program.json {
        return print_json(&json!({
            "name": name, "type": verified.prog_type.name(), "engine": arguments.engine.to_string(),
            "r0": result, "worst_case": verified.proof().worst_case,
        }));
    }
    println!("r0 = {result} ({result:#x})");
    Ok(())
}

fn read(path: Option<&Path>) -> Result<Option<Vec<u8>>> {
    let Some(path) = path else { return Ok(None) };
    std::fs::read(path).map(Some).with_context(|| path.display().to_string())
}
