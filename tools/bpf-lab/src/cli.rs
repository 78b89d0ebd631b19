//! The command line.

#![forbid(unsafe_code)]

use std::ffi::OsString;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{batch, command, conformance, hex};

/// Verifies, runs, measures and signs BPF programs with Lemma's engine.
#[derive(Parser, Debug)]
#[command(name = "bpf-lab", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Say whether programs are accepted, and if not, why
    Verify(command::verify::Arguments),
    /// Verify a program and run it
    Run(command::run::Arguments),
    /// Show instructions as text
    Disasm(command::disasm::Arguments),
    /// Make instructions of text
    Asm(command::asm::Arguments),
    /// Show the machine code that the JIT makes, beside the instructions
    JitDump(command::jit_dump::Arguments),
    /// Show what programs cost at most, and which hooks can afford them
    Cost(command::cost::Arguments),
    /// Make keys, sign objects, and check signatures
    Sign(command::sign::Arguments),
    /// Measure how long a program takes to verify, prepare and run
    Bench(command::bench::Arguments),
    /// Judge many programs: JSON lines on standard input, a verdict for each on standard output
    Batch(batch::Arguments),
    /// Be a plugin of the bpf_conformance runner
    Conformance(conformance::Arguments),
}

/// Does what the command line says.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let cli = Cli::parse_from(plugin_order(arguments.collect()));
    match &cli.command {
        Command::Verify(arguments) => command::verify::main(arguments),
        Command::Run(arguments) => command::run::main(arguments),
        Command::Disasm(arguments) => command::disasm::main(arguments),
        Command::Asm(arguments) => command::asm::main(arguments),
        Command::JitDump(arguments) => command::jit_dump::main(arguments),
        Command::Cost(arguments) => command::cost::main(arguments),
        Command::Sign(arguments) => command::sign::main(arguments),
        Command::Bench(arguments) => command::bench::main(arguments),
        Command::Batch(arguments) => batch::main(arguments),
        Command::Conformance(arguments) => conformance::main(arguments),
    }
}

/// The `bpf_conformance` runner puts the memory before the plugin's options, and all of these
/// into one argument: `bpf-lab "aa bb" "conformance --engine jit"`. Brings the name of the
/// command to the front.
fn plugin_order(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    for argument in arguments {
        match argument.to_str() {
            Some(text) if text.starts_with("conformance ") => {
                words.extend(text.split_whitespace().map(OsString::from));
            }
            _ => words.push(argument),
        }
    }
    let is_memory = |word: &OsString| word.to_str().is_some_and(|text| hex::decode(text).is_ok());
    if words.get(1).is_some_and(is_memory) && words.get(2).is_some_and(|w| w == "conformance") {
        words.swap(1, 2);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_plugins_memory_may_come_first() {
        let order = |words: &[&str]| {
            let words = plugin_order(words.iter().map(OsString::from).collect());
            words.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>()
        };
        let expected = ["bpf-lab", "conformance", "aa bb", "--engine", "jit"];
        assert_eq!(order(&["bpf-lab", "aa bb", "conformance --engine jit"]), expected);
        assert_eq!(order(&["bpf-lab", "aa bb", "conformance", "--engine", "jit"]), expected);
        let prefixed = ["bpf-lab", "0xAA,0xbb", "conformance"];
        assert_eq!(order(&prefixed), ["bpf-lab", "conformance", "0xAA,0xbb"]);
        assert_eq!(order(&expected), expected);
        assert_eq!(order(&["bpf-lab", "disasm", "ab"]), ["bpf-lab", "disasm", "ab"]);
    }
}
