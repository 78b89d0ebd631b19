//! `bpf-lab disasm`: instructions as text, which `bpf-lab asm` reads back.

use anyhow::Result;
use clap::Args;
use kernel_bpf::insn::Insn;
use serde_json::{Value, json};

use super::print_json;
use crate::input::{Loaded, ProgramArguments};

/// The command line of `bpf-lab disasm`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    program: ProgramArguments,
    /// Without slot numbers and source lines
    #[arg(long)]
    plain: bool,
}

/// Prints each program.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let programs = arguments.program.load()?;
    if arguments.program.json {
        return print_json(&Value::Array(programs.iter().map(as_json).collect()));
    }
    let several = programs.len() > 1;
    for loaded in &programs {
        if several || !loaded.section.is_empty() {
            println!("; {} ({})", loaded.program.name, loaded.section);
        }
        print!("{}", text(loaded, arguments.plain));
    }
    Ok(())
}

/// One instruction a line; what helps a reader is in comments.
fn text(loaded: &Loaded, plain: bool) -> String {
    let program = &loaded.program;
    let mut out = String::new();
    for (slot, insn) in program.insns.iter().enumerate() {
        if *insn == Insn::WideTail {
            continue;
        }
        if plain {
            out.push_str(&format!("{insn}\n"));
            continue;
        }
        if let Some(function) = program.func_info.iter().find(|f| f.insn as usize == slot) {
            out.push_str(&format!("; {}:\n", function.name));
        }
        if let Some(line) = program.line_info.iter().find(|line| line.insn as usize == slot) {
            out.push_str(&format!("; {}:{}  {}\n", line.file, line.line, line.text.trim()));
        }
        out.push_str(&format!("{:<44}; {slot}\n", insn.to_string()));
    }
    out
}

fn as_json(loaded: &Loaded) -> Value {
    let program = &loaded.program;
    let insns = program.insns.iter().enumerate().filter(|(_, insn)| **insn != Insn::WideTail);
    let insns = insns.map(|(slot, insn)| {
        let line = program.line_of(slot);
        json!({
            "slot": slot,
            "text": insn.to_string(),
            "file": line.map(|line| &*line.file),
            "line": line.map(|line| line.line),
        })
    });
    json!({
        "name": program.name, "section": loaded.section, "type": program.prog_type.name(),
        "insns": insns.collect::<Vec<_>>(),
    })
}
