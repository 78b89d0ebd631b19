//! `bpf-lab verify`: is it accepted, and if not, why.

use anyhow::{Result, bail};
use clap::Args;
use kernel_bpf::verifier::Proof;
use serde_json::{Value, json};

use super::print_json;
use crate::input::{ProgramArguments, VerifierArguments, refused};

/// The command line of `bpf-lab verify`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    program: ProgramArguments,
    #[command(flatten)]
    verifier: VerifierArguments,
}

/// Verifies each program and says what came of it.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let programs = arguments.program.load()?;
    let count = programs.len();
    let mut errors = Vec::new();
    let mut values = Vec::new();
    for loaded in programs {
        let (name, section) = (loaded.program.name.clone(), loaded.section);
        let prog_type = loaded.program.prog_type.name();
        match arguments.verifier.verify(loaded.program, arguments.program.profile) {
            Ok(verified) => {
                if !arguments.program.json {
                    print!("{}", accepted(&name, prog_type, verified.proof()));
                }
                let mut value = proof_json(verified.proof());
                value["name"] = json!(name);
                value["section"] = json!(section);
                value["type"] = json!(prog_type);
                value["accepted"] = json!(true);
                values.push(value);
            }
            Err(rejection) => {
                if !arguments.program.json {
                    print!("{name} ({prog_type}): {rejection}");
                }
                let why: Value = serde_json::from_str(&rejection.to_json())?;
                values.push(json!({
                    "name": name, "section": section, "type": prog_type, "accepted": false,
                    "rejection": why,
                }));
                errors.push(refused(&name, &rejection));
            }
        }
    }
    if arguments.program.json {
        print_json(&Value::Array(values))?;
    }
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.remove(0)),
        refused => bail!("{refused} of {count} programs refused"),
    }
}

fn accepted(name: &str, prog_type: &str, proof: &Proof) -> String {
    format!(
        "{name} ({prog_type}): accepted
  at most {} instructions in a run, {} bytes of stack, {} frames
  {} instructions explored, {} states kept\n",
        proof.worst_case, proof.stack_depth, proof.call_depth, proof.processed, proof.total_states,
    )
}

/// What was found out about a program, for tools.
pub(crate) fn proof_json(proof: &Proof) -> Value {
    json!({
        "worst_case": proof.worst_case,
        "stack_depth": proof.stack_depth,
        "call_depth": proof.call_depth,
        "processed": proof.processed,
        "total_states": proof.total_states,
        "peak_states": proof.peak_states,
        "context_bytes": proof.max_ctx_offset,
        "helpers": proof.helpers,
        "tail_calls": proof.tail_calls,
        "writes_packet": proof.writes_packet,
    })
}
