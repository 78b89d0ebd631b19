//! `bpf-lab cost`: what a program costs at most, and which hooks can afford it.

use anyhow::Result;
use clap::Args;
use kernel_bpf::helper;
use kernel_bpf::hook::HOOKS;
use kernel_bpf::prog_type::ProgType;
use serde_json::{Value, json};

use super::print_json;
use super::verify::proof_json;
use crate::engine::Profile;
use crate::input::{ProgramArguments, VerifierArguments, refused};

/// The command line of `bpf-lab cost`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    program: ProgramArguments,
    #[command(flatten)]
    verifier: VerifierArguments,
}

/// Prints the bound of each program, with the helpers that it counts.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let mut values = Vec::new();
    for loaded in arguments.program.load()? {
        let name = loaded.program.name.clone();
        let own_hook = (loaded.program.prog_type == ProgType::LemmaHook)
            .then_some(loaded.program.expected_attach_type);
        let verified = arguments
            .verifier
            .verify(loaded.program, arguments.program.profile)
            .map_err(|rejection| refused(&name, &rejection))?;
        let proof = verified.proof();
        let helpers: Vec<_> = proof.helpers.iter().filter_map(|id| helper::by_id(*id)).collect();
        let hooks: Vec<_> = HOOKS
            .iter()
            .filter(|hook| own_hook.is_none_or(|own| own == hook.attach_type))
            .map(|hook| match arguments.program.profile {
                Profile::Cloud => (hook.name, hook.budget_cloud),
                Profile::Embedded => (hook.name, hook.budget_embedded),
            })
            .collect();
        if arguments.program.json {
            let mut value = proof_json(proof);
            value["name"] = json!(name);
            value["helper_costs"] = helpers
                .iter()
                .map(|helper| json!({ "name": helper.name, "cost": helper.cost }))
                .collect();
            value["hooks"] = hooks
                .iter()
                .map(|(hook, budget)| {
                    json!({ "name": hook, "budget": budget, "fits": proof.worst_case <= *budget })
                })
                .collect();
            values.push(value);
            continue;
        }
        println!("{name}: at most {} instructions in a run", proof.worst_case);
        println!("  stack: {} bytes in {} frames", proof.stack_depth, proof.call_depth);
        for helper in helpers {
            println!("  helper bpf_{}: counts {} for each call", helper.name, helper.cost);
        }
        for (hook, budget) in hooks {
            let fits = if proof.worst_case <= budget { "fits" } else { "is over budget" };
            println!("  hook {hook}: {fits} ({} of {budget})", proof.worst_case);
        }
    }
    if arguments.program.json {
        print_json(&Value::Array(values))?;
    }
    Ok(())
}
