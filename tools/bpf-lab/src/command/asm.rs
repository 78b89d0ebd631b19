//! `bpf-lab asm`: text to instructions.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use kernel_bpf::asm::assemble;
use kernel_bpf::insn::encode;
use serde_json::json;

use super::print_json;
use crate::hex;

/// The command line of `bpf-lab asm`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Assembly, as `bpf-lab disasm` writes it, with labels. `-` is standard input
    file: PathBuf,
    /// Write the instructions to this file, 8 bytes each
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the program in hexadecimal, one instruction a line.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let place = || arguments.file.display().to_string();
    let mut text = String::new();
    if arguments.file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
    } else {
        text = std::fs::read_to_string(&arguments.file).with_context(place)?;
    }
    let bytes = encode(&assemble(&text).with_context(place)?);
    if let Some(path) = &arguments.output {
        std::fs::write(path, &bytes).with_context(|| path.display().to_string())?;
    }
    if arguments.json {
        return print_json(&json!({ "insns": hex::encode(&bytes), "slots": bytes.len() / 8 }));
    }
    if arguments.output.is_none() {
        for insn in bytes.chunks(8) {
            println!("{}", hex::encode(insn));
        }
    }
    Ok(())
}
